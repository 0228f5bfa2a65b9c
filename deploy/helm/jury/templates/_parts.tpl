{{/* Parts that several kinds of pods share. */}}

{{- define "jury.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "jury.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* (dict "root" $ "selector" text): spreads pods of one kind over nodes and zones, if possible. */}}
{{- define "jury.spread" -}}
{{- if .root.Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range .root.Values.topologySpread.keys }}
  - maxSkew: 1
    topologyKey: {{ . | quote }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $.selector | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "jury.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Environment variables of all our processes. */}}
{{- define "jury.env" -}}
- name: JURY_LOG
  value: {{ .Values.log.filter | quote }}
- name: JURY_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- with .Values.otlpEndpoint }}
- name: JURY_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_IP
  valueFrom: { fieldRef: { fieldPath: status.podIP } }
{{- end -}}

{{/* (dict "root" $ "port" "grpc"): checks whether a process takes work. The kubelet's gRPC probe does not support TLS, so
with TLS the same answer is read from /healthz. Neither depends on the directory: a process is ready without it. */}}
{{- define "jury.probe" -}}
{{- if .root.Values.tls.enabled -}}
httpGet: { path: /healthz, port: metrics, scheme: HTTPS }
{{- else -}}
grpc: { port: {{ .port }}, service: {{ .service }} }
{{- end -}}
{{- end -}}

{{/* Checks whether a process answers at all. One that takes no work may be healthy, such as a worker that reloads its
model after losing its GPU. */}}
{{- define "jury.liveness" -}}
httpGet: { path: /livez, port: metrics, scheme: {{ include "jury.scheme" . | upper }} }
{{- end -}}

{{/* Options of a serving process for its certificate and for the clients that it accepts. (dict "root" $ "mutual" bool) */}}
{{- define "jury.serveTlsArgs" -}}
{{- if .root.Values.tls.enabled }}
- --tls-cert=/etc/jury/tls/tls.crt
- --tls-key=/etc/jury/tls/tls.key
{{- if .mutual }}
- --tls-client-ca=/etc/jury/tls/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{- define "jury.tlsMount" -}}
{{- if .Values.tls.enabled }}
- { name: tls, mountPath: /etc/jury/tls, readOnly: true }
{{- end }}
{{- if and (eq .Values.directory.kind "etcd") .Values.directory.etcd.tlsSecret }}
- { name: etcd, mountPath: /etc/jury/etcd, readOnly: true }
{{- end }}
{{- end -}}

{{- define "jury.tlsVolume" -}}
{{- if .Values.tls.enabled }}
- name: tls
  secret: { secretName: {{ include "jury.tlsSecret" . | quote }}, defaultMode: 0440 }
{{- end }}
{{- if and (eq .Values.directory.kind "etcd") .Values.directory.etcd.tlsSecret }}
- name: etcd
  secret: { secretName: {{ .Values.directory.etcd.tlsSecret | quote }}, defaultMode: 0440 }
{{- end }}
{{- end -}}

{{/* Addresses of etcd, comma-separated. */}}
{{- define "jury.etcdEndpoints" -}}
{{- if .Values.directory.etcd.endpoints -}}
{{- join "," .Values.directory.etcd.endpoints -}}
{{- else -}}
{{- $urls := list -}}
{{- range include "jury.etcdMembers" . | fromYamlArray -}}
{{- $urls = append $urls (printf "%s://%s:2379" (include "jury.scheme" $) .) -}}
{{- end -}}
{{- join "," $urls -}}
{{- end -}}
{{- end -}}

{{- define "jury.etcdArgs" -}}
- --etcd={{ include "jury.etcdEndpoints" . }}
- --cluster={{ default (printf "%s.%s" .Release.Namespace (include "jury.fullname" .)) .Values.directory.etcd.cluster }}
{{- if include "jury.ownEtcdTls" . }}
- --etcd-ca=/etc/jury/tls/ca.crt
- --etcd-cert=/etc/jury/tls/tls.crt
- --etcd-key=/etc/jury/tls/tls.key
{{- end }}
{{- with .Values.directory.etcd }}
{{- if .tlsSecret }}
- --etcd-ca=/etc/jury/etcd/ca.crt
{{- if .mutual }}
- --etcd-cert=/etc/jury/etcd/tls.crt
- --etcd-key=/etc/jury/etcd/tls.key
{{- end }}
{{- end }}
{{- with .user }}
- {{ printf "--etcd-user=%s" . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "jury.etcdEnv" -}}
{{- if and (eq .Values.directory.kind "etcd") .Values.directory.etcd.user }}
- name: JURY_ETCD_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .Values.directory.etcd.passwordSecret.name | quote }}, key: {{ .Values.directory.etcd.passwordSecret.key | quote }} } }
{{- end }}
{{- end -}}

{{/* Omitted if 0, which API servers before 1.33 reject. */}}
{{- define "jury.preStop" -}}
{{- with int .Values.preStopSeconds }}
lifecycle:
  preStop: { sleep: { seconds: {{ . }} } }
{{- end }}
{{- end -}}

{{/* (dict "root" $ "grace" seconds): the sum of preStop, the process's own grace, and time to exit. */}}
{{- define "jury.leaveSeconds" -}}{{ add .root.Values.preStopSeconds .grace 15 }}{{- end -}}
{{- define "jury.coordinatorGrace" -}}{{ int .Values.coordinator.longestBudgetSeconds }}{{- end -}}
{{/* Seconds until a pod of this pool serves: fetching (at most as long as loading), the server beside it, loading. */}}
{{- define "jury.startSeconds" -}}
{{- $load := int .startupSeconds -}}
{{- add $load (ternary $load 0 (eq (include "jury.fetches" .) "yes")) (ternary (int .vllm.startupSeconds) 0 (eq .backend "vllm")) -}}
{{- end -}}
{{/* A pool's longest sample, seconds, rounded up. */}}
{{- define "jury.workerGrace" -}}{{ divf .longestSample.tokens .longestSample.tokensPerSecond | ceil | int }}{{- end -}}
