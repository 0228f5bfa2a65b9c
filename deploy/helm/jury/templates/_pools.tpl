{{/* A pool with its defaults, as YAML; fails if fields contradict each other. */}}
{{- define "jury.pool" -}}
{{- $pool := mergeOverwrite (deepCopy .root.Values.poolDefaults) (deepCopy .pool) -}}
{{- $at := printf "pool %q" $pool.name -}}
{{- if and (eq $pool.backend "upstream") (not $pool.upstream.url) -}}
{{- fail (printf "%s: backend upstream needs upstream.url, like http://vllm.models:8000" $at) -}}
{{- end -}}
{{- if and (eq $pool.backend "upstream") $pool.upstream.tlsSecret (not (hasPrefix "https://" $pool.upstream.url)) -}}
{{- fail (printf "%s: upstream.tlsSecret is for an upstream.url at https://" $at) -}}
{{- end -}}
{{- if and $pool.upstream.mutual (not $pool.upstream.tlsSecret) -}}
{{- fail (printf "%s: upstream.mutual needs upstream.tlsSecret, a secret with ca.crt, tls.crt and tls.key" $at) -}}
{{- end -}}
{{- if and (eq $pool.backend "vllm") (not $pool.vllm.model) -}}
{{- fail (printf "%s: backend vllm needs vllm.model, a repository of the hub or a folder below /weights" $at) -}}
{{- end -}}
{{- if and (eq $pool.backend "vllm") (lt (int $pool.gpu.count) 1) -}}
{{- fail (printf "%s: backend vllm needs gpu.count of at least 1" $at) -}}
{{- end -}}
{{- if and (eq $pool.backend "engine") (gt (int $pool.gpu.count) 1) -}}
{{- fail (printf "%s: gpu.count is %d, but a worker of the embedded engine computes on one GPU; set gpu.count: 1 and more replicas, or backend: vllm" $at (int $pool.gpu.count)) -}}
{{- end -}}
{{- if and $pool.modelName (ne $pool.backend "engine") -}}
{{- fail (printf "%s: modelName is for backend engine; with %s, model is the name already" $at $pool.backend) -}}
{{- end -}}
{{- if and .pool.tokenizer (eq $pool.backend "engine") -}}
{{- fail (printf "%s: tokenizer is for backend vllm and upstream; the engine reads that of its model" $at) -}}
{{- end -}}
{{- if not $pool.weightsClaim -}}
{{- range $name, $path := dict "model" (ternary $pool.model "" (eq $pool.backend "engine")) "tokenizer" $pool.tokenizer "vllm.model" $pool.vllm.model -}}
{{- if hasPrefix "/weights/" $path }}{{ fail (printf "%s: %s is %s, but there is no /weights without weightsClaim" $at $name $path) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and (gt (int $pool.vllm.nodes) 1) (ne $pool.backend "vllm") -}}
{{- fail (printf "%s: vllm.nodes above 1 needs backend: vllm" $at) -}}
{{- end -}}
{{- if and (eq $pool.cache.kind "claim") (not $pool.cache.claim) -}}
{{- fail (printf "%s: cache.kind claim needs cache.claim, the name of a PersistentVolumeClaim" $at) -}}
{{- end -}}
{{- if $pool.autoscaling.enabled -}}
{{- if eq $pool.role "meta" -}}
{{- fail (printf "%s: coordinators tell no demand of a Meta RM, so it cannot follow one; set replicas" $at) -}}
{{- end -}}
{{- if gt (int $pool.autoscaling.min) (int $pool.autoscaling.max) -}}
{{- fail (printf "%s: autoscaling.min (%d) is above autoscaling.max (%d)" $at (int $pool.autoscaling.min) (int $pool.autoscaling.max)) -}}
{{- end -}}
{{- if and (eq $pool.autoscaling.kind "hpa") (lt (int $pool.autoscaling.min) 1) -}}
{{- fail (printf "%s: an HPA does not scale to zero; set autoscaling.min: 1, or autoscaling.kind: keda" $at) -}}
{{- end -}}
{{- end -}}
{{- toYaml $pool -}}
{{- end -}}

{{/* The model name that requests use for a pool, as reported by its workers. With the embedded engine: the name in the catalogue, or that
of a GGUF file without its extension, or that of a folder, which has no extension (the dot in Qwen2.5-0.5B is part of the name). */}}
{{- define "jury.modelName" -}}
{{- $file := trimSuffix "/" .model -}}
{{- if .modelName -}}
{{- .modelName -}}
{{- else if ne .backend "engine" -}}
{{- .model -}}
{{- else if hasPrefix "hub:" $file -}}
{{- base $file | trimSuffix (ext $file) -}}
{{- else if eq (ext $file | lower) ".gguf" -}}
{{- base $file | trimSuffix (ext $file) -}}
{{- else -}}
{{- base $file -}}
{{- end -}}
{{- end -}}

{{/* Names that `jury models fetch` accepts, so neither a path nor another server's model. */}}
{{- define "jury.fetches" -}}
{{- if and .fetch (eq .backend "engine") (not (hasPrefix "/" .model)) -}}yes{{- end -}}
{{- end -}}

{{/* (dict "root" $ "pool" pool): the pod of a worker; the leader of a group if a server spans nodes. */}}
{{- define "jury.workerPod" -}}
{{- $root := .root -}}
{{- $pool := .pool -}}
{{- $grace := int (include "jury.workerGrace" $pool) -}}
{{- $labels := dict "root" $root "component" "worker" "pool" $pool.name -}}
metadata:
  labels:
    {{- include "jury.podLabels" $labels | nindent 4 }}
  {{- with $pool.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ if $root.Values.serviceAccount.create }}{{ include "jury.fullname" $root }}-worker{{ else }}default{{ end }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- include "jury.pullSecrets" $root | nindent 2 }}
  {{- with include "jury.priorityClassName" $root }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  # {{ int $root.Values.preStopSeconds }} s in which no new work is sent to it, {{ $grace }} s for the longest sample, 15 s to exit.
  terminationGracePeriodSeconds: {{ include "jury.leaveSeconds" (dict "root" $root "grace" $grace) }}
  securityContext:
    {{- include "jury.podSecurity" $root | nindent 4 }}
  {{- $initial := or (include "jury.fetches" $pool) (eq $pool.backend "vllm") }}
  {{- if $initial }}
  initContainers:
    {{- if include "jury.fetches" $pool }}
    - name: fetch
      image: {{ include "jury.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [models, fetch, {{ $pool.model | quote }}, --model-cache=/models]
      securityContext:
        {{- include "jury.containerSecurity" $root | nindent 8 }}
      resources:
        requests: { cpu: 250m, memory: 256Mi }
        limits: { cpu: "2", memory: 1Gi }
      volumeMounts:
        - { name: models, mountPath: /models }
        - { name: tmp, mountPath: /tmp }
      {{- with $pool.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- if eq $pool.backend "vllm" }}
    {{- include "jury.vllm" (dict "root" $root "pool" $pool "leader" true) | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: worker
      image: {{ include "jury.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - worker
        - --listen=0.0.0.0:7481
        - --metrics-listen=0.0.0.0:9481
        - --grace={{ $grace }}s
        - --role={{ $pool.role }}
        - --id=$(POD_NAME)
        {{- if eq $root.Values.directory.kind "etcd" }}
        {{- include "jury.etcdArgs" $root | nindent 8 }}
        - --advertise={{ include "jury.scheme" $root }}://$(POD_IP):7481
        {{- end }}
        - {{ printf "--model=%s" $pool.model | quote }}
        {{- if eq $pool.backend "engine" }}
        - --model-cache=/models
        {{- if gt (int $pool.gpu.count) 0 }}
        - --device=cuda:0
        {{- end }}
        {{- else }}
        - --backend=openai
        {{- if eq $pool.backend "vllm" }}
        - --url=http://127.0.0.1:8000
        {{- else }}
        - {{ printf "--url=%s" $pool.upstream.url | quote }}
        {{- if $pool.upstream.tlsSecret }}
        - --upstream-ca=/etc/jury/upstream/ca.crt
        {{- if $pool.upstream.mutual }}
        - --upstream-cert=/etc/jury/upstream/tls.crt
        - --upstream-key=/etc/jury/upstream/tls.key
        {{- end }}
        {{- end }}
        {{- end }}
        {{- with $pool.upstream.model }}
        - {{ printf "--upstream-model=%s" . | quote }}
        {{- end }}
        {{- with $pool.tokenizer }}
        - {{ printf "--tokenizer=%s" . | quote }}
        {{- end }}
        {{- end }}
        {{- include "jury.serveTlsArgs" (dict "root" $root "mutual" true) | nindent 8 }}
        {{- /* Coordinators present a certificate of the same secret. A trainer's has other names. */}}
        {{- if $root.Values.tls.enabled }}
        - --tls-client-name={{ include "jury.workersService" $root }}.{{ $root.Release.Namespace }}.svc
        {{- end }}
        {{- with $pool.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        {{- include "jury.env" $root | nindent 8 }}
        {{- include "jury.etcdEnv" $root | nindent 8 }}
        {{- if and (eq $pool.backend "upstream") $pool.upstream.apiKeySecret.name }}
        - name: JURY_UPSTREAM_API_KEY
          valueFrom: { secretKeyRef: { name: {{ $pool.upstream.apiKeySecret.name | quote }}, key: {{ $pool.upstream.apiKeySecret.key | quote }} } }
        {{- end }}
        {{- with $pool.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - { name: grpc, containerPort: 7481 }
        - { name: metrics, containerPort: 9481 }
      {{- $probe := include "jury.probe" (dict "root" $root "port" 7481 "service" "jury.v1.SamplingService") }}
      startupProbe:
        {{- $probe | nindent 8 }}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: {{ divf $pool.startupSeconds 5 | ceil | int }}
      readinessProbe:
        {{- $probe | nindent 8 }}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      livenessProbe:
        {{- include "jury.liveness" $root | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      {{- include "jury.preStop" $root | nindent 6 }}
      securityContext:
        {{- include "jury.containerSecurity" $root | nindent 8 }}
      resources:
        {{- if eq $pool.backend "engine" }}
        {{- include "jury.gpuResources" (dict "resources" $pool.resources "gpu" $pool.gpu) | nindent 8 }}
        {{- else }}
        {{- toYaml $pool.resources | nindent 8 }}
        {{- end }}
      volumeMounts:
        - { name: tmp, mountPath: /tmp }
        {{- if eq $pool.backend "engine" }}
        - { name: models, mountPath: /models }
        {{- end }}
        {{- if $pool.weightsClaim }}
        - { name: weights, mountPath: /weights, readOnly: true }
        {{- end }}
        {{- include "jury.tlsMount" $root | nindent 8 }}
        {{- if include "jury.upstreamSecret" $pool }}
        - { name: upstream, mountPath: /etc/jury/upstream, readOnly: true }
        {{- end }}
  {{- include "jury.workerVolumes" . | nindent 2 }}
  {{- include "jury.placement" . | nindent 2 }}
{{- end -}}

{{/* The secret with the certificates for a pool's upstream; empty if there is none. */}}
{{- define "jury.upstreamSecret" -}}
{{- if eq .backend "upstream" -}}{{ .upstream.tlsSecret }}{{- end -}}
{{- end -}}

{{/* Requests and limits with the GPUs in them. */}}
{{- define "jury.gpuResources" -}}
{{- $resources := deepCopy .resources -}}
{{- if gt (int .gpu.count) 0 -}}
{{- $limits := merge (dict .gpu.resource (int .gpu.count)) (default dict $resources.limits) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "jury.workerVolumes" -}}
volumes:
  - name: tmp
    # vLLM writes compiled code here.
    emptyDir: { sizeLimit: {{ ternary "8Gi" "1Gi" (eq .pool.backend "vllm") }} }
  {{- if ne .pool.backend "upstream" }}
  - name: models
    {{- with .pool.cache }}
    {{- if eq .kind "ephemeral" }}
    emptyDir: { sizeLimit: {{ .size }} }
    {{- else if eq .kind "claim" }}
    persistentVolumeClaim: { claimName: {{ .claim | quote }} }
    {{- else }}
    ephemeral:
      volumeClaimTemplate:
        spec:
          accessModes: [ReadWriteOnce]
          {{- with .className }}
          storageClassName: {{ . | quote }}
          {{- end }}
          resources: { requests: { storage: {{ .size }} } }
    {{- end }}
    {{- end }}
  {{- end }}
  {{- if eq .pool.backend "vllm" }}
  - name: shm
    emptyDir: { medium: Memory, sizeLimit: {{ .pool.vllm.sharedMemory }} }
  {{- end }}
  {{- with .pool.weightsClaim }}
  - name: weights
    persistentVolumeClaim: { claimName: {{ . | quote }}, readOnly: true }
  {{- end }}
  {{- include "jury.tlsVolume" .root | nindent 2 }}
  {{- with include "jury.upstreamSecret" .pool }}
  - name: upstream
    secret: { secretName: {{ . | quote }}, defaultMode: 0440 }
  {{- end }}
{{- end -}}

{{- define "jury.placement" -}}
{{- $selector := deepCopy .pool.nodeSelector -}}
{{- if .pool.gpu.type -}}{{- $_ := set $selector .pool.gpu.typeLabel .pool.gpu.type -}}{{- end -}}
{{- with $selector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := .pool.tolerations -}}
{{- if gt (int .pool.gpu.count) 0 -}}
{{- $tolerations = append $tolerations (dict "key" .pool.gpu.resource "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "jury.spread" (dict "root" .root "selector" (include "jury.selector" (dict "root" .root "component" "worker" "pool" .pool.name))) }}
{{- end -}}
