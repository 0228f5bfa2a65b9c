{{/* Checks beyond the schema: values that have no effect, or contradict each other. Checks of a single pool are in jury.pool. */}}
{{- define "jury.refusals" -}}
{{- include "jury.tlsRefusals" . -}}
{{- include "jury.etcdRefusals" . -}}
{{- include "jury.poolsRefusals" . -}}
{{- if and .Values.tenants.existingSecret .Values.tenants.file }}{{ fail "tenants: existingSecret and file exclude each other; leave one empty" }}{{ end -}}
{{- with .Values.coordinator -}}
{{- if gt (int .defaultBudgetSeconds) (int .longestBudgetSeconds) -}}
{{- fail (printf "coordinator.defaultBudgetSeconds (%d) is above longestBudgetSeconds (%d): a coordinator that leaves would cut such requests off" (int .defaultBudgetSeconds) (int .longestBudgetSeconds)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "jury.tlsRefusals" -}}
{{- with .Values.tls -}}
{{- if and .enabled .certManager.enabled -}}
{{- if .existingSecret }}{{ fail "tls: existingSecret and certManager.enabled exclude each other; leave one out" }}{{ end -}}
{{- if not .certManager.issuer.name }}{{ fail "tls.certManager.issuer.name: empty; name an Issuer or ClusterIssuer whose CA is in its secrets" }}{{ end -}}
{{- else if and .enabled (not .existingSecret) -}}
{{- fail "tls.enabled: needs tls.existingSecret (tls.crt, tls.key, ca.crt) or tls.certManager.enabled" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Values set by the pool itself that its backend does not read; poolDefaults may be meant for other pools. */}}
{{- define "jury.idleFields" -}}
{{- $backend := default .root.Values.poolDefaults.backend .pool.backend -}}
{{- $idle := list -}}
{{- range $name, $value := dig "upstream" dict .pool -}}
{{- $read := or (eq $backend "upstream") (and (eq $backend "vllm") (eq $name "model")) -}}
{{- if and $value (not $read) }}{{ $idle = append $idle (printf "upstream.%s" $name) }}{{ end -}}
{{- end -}}
{{- range $name, $value := dig "vllm" dict .pool -}}
{{- if and $value (ne $backend "vllm") }}{{ $idle = append $idle (printf "vllm.%s" $name) }}{{ end -}}
{{- end -}}
{{- if and (eq $backend "upstream") (dig "gpu" "count" 0 .pool) }}{{ $idle = append $idle "gpu.count" }}{{ end -}}
{{- join ", " $idle -}}
{{- end -}}

{{- define "jury.poolsRefusals" -}}
{{- $scaled := dict -}}
{{- $names := list -}}
{{- $draws := "" -}}
{{- range .Values.pools -}}
{{- $pool := include "jury.pool" (dict "root" $ "pool" .) | fromYaml -}}
{{- $model := include "jury.modelName" $pool -}}
{{- $names = append $names $pool.name -}}
{{- if eq $pool.role "grm" }}{{ $draws = "yes" }}{{ end -}}
{{- if $pool.autoscaling.enabled -}}
{{- if hasKey $scaled $model -}}
{{- fail (printf "pools %q and %q: both scale for model %s, and each would answer its whole demand; set replicas of one" (get $scaled $model) $pool.name $model) -}}
{{- end -}}
{{- $_ := set $scaled $model $pool.name -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.directory.kind "kubernetes") (not $draws) }}{{ fail "pools: none has role: grm, so nobody draws samples" }}{{ end -}}
{{- with .Values.tests.pool -}}
{{- if not (has . $names) }}{{ fail (printf "tests.pool: no pool is called %q" .) }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "jury.etcdRefusals" -}}
{{- $own := include "jury.ownEtcd" . -}}
{{- with .Values.directory.etcd -}}
{{- if $own -}}
{{- range $name := list "tlsSecret" "mutual" "user" -}}
{{- if get $.Values.directory.etcd $name }}{{ fail (printf "directory.etcd.%s: is for an etcd that you run, at directory.etcd.endpoints; the chart's own has TLS with tls.enabled, and no users" $name) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range .endpoints -}}
{{- if and $.Values.directory.etcd.tlsSecret (hasPrefix "http://" .) }}{{ fail (printf "directory.etcd.endpoints: %s is called without TLS; write https:// for it, or leave directory.etcd.tlsSecret out" .) }}{{ end -}}
{{- end -}}
{{- if and .mutual (not .tlsSecret) }}{{ fail "directory.etcd.mutual: needs directory.etcd.tlsSecret, with tls.crt and tls.key to show to etcd" }}{{ end -}}
{{- if and .user (not .passwordSecret.name) }}{{ fail "directory.etcd.user: needs directory.etcd.passwordSecret.name" }}{{ end -}}
{{- end -}}
{{- end -}}
