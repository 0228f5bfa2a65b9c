{{/* Names and labels. */}}
{{- define "jury.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "component" "coordinator"): the labels for selectors; they never change. */}}
{{- define "jury.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- with .pool }}
jury.dev/pool: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "jury.labels" -}}
{{ include "jury.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: jury
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of pods. They must not depend on the chart's version: otherwise a new chart alone would restart every worker. */}}
{{- define "jury.podLabels" -}}
{{ include "jury.selector" . }}
app.kubernetes.io/part-of: jury
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "jury.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "jury.workersService" -}}{{ include "jury.fullname" . }}-workers{{- end -}}
{{- define "jury.etcdName" -}}{{ include "jury.fullname" . }}-etcd{{- end -}}
{{- define "jury.tenantsSecret" -}}{{ default (printf "%s-tenants" (include "jury.fullname" .)) .Values.tenants.existingSecret }}{{- end -}}
{{- define "jury.tlsSecret" -}}{{ default (printf "%s-tls" (include "jury.fullname" .)) .Values.tls.existingSecret }}{{- end -}}
{{- define "jury.priorityClassName" -}}
{{- if .Values.priorityClass.name -}}{{ .Values.priorityClass.name }}{{- else if .Values.priorityClass.create -}}{{ include "jury.fullname" . }}{{- end -}}
{{- end -}}
{{- define "jury.ownEtcd" -}}{{ if and (eq .Values.directory.kind "etcd") (not .Values.directory.etcd.endpoints) }}yes{{ end }}{{- end -}}
{{/* The chart's own etcd uses TLS if the rest does, with the same certificate. */}}
{{- define "jury.ownEtcdTls" -}}{{ if and (include "jury.ownEtcd" .) .Values.tls.enabled }}yes{{ end }}{{- end -}}
{{/* Names of its members, one per line. */}}
{{- define "jury.etcdMembers" -}}
{{- $name := include "jury.etcdName" . -}}
{{- range $i := until (int .Values.directory.etcd.replicas) }}
- {{ $name }}-{{ $i }}.{{ $name }}.{{ $.Release.Namespace }}.svc
{{- end }}
{{- end -}}
{{/* A number, or a percentage. */}}
{{- define "jury.maxUnavailable" -}}
{{- with .Values.podDisruptionBudget.maxUnavailable -}}{{ if kindIs "string" . }}{{ . | quote }}{{ else }}{{ int . }}{{ end }}{{- end -}}
{{- end -}}
{{- define "jury.scheme" -}}{{ if .Values.tls.enabled }}https{{ else }}http{{ end }}{{- end -}}
