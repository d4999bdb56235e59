{{/* Names and labels. */}}
{{- define "guardedvlm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "guardedvlm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "guardedvlm.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "guardedvlm.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Of everything of this release. */}}
{{- define "guardedvlm.instance" -}}
app.kubernetes.io/name: {{ include "guardedvlm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of one component: (dict "root" $ "component" "guard"). */}}
{{- define "guardedvlm.selector" -}}
{{ include "guardedvlm.instance" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "guardedvlm.labels" -}}
{{ include "guardedvlm.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* An image by its digest: (dict "root" $ "image" .Values.guard.image). A registry of the site goes before. */}}
{{- define "guardedvlm.image" -}}
{{- with .root.Values.registry -}}{{ trimSuffix "/" . }}/{{- end -}}
{{ .image.repository }}@{{ .image.digest }}
{{- end }}

{{/* Whether the replicas are more than one at all times. */}}
{{- define "guardedvlm.fewest" -}}
{{- if .Values.guard.autoscaling.enabled -}}{{ .Values.guard.autoscaling.minReplicas }}{{- else -}}{{ .Values.guard.replicas }}{{- end -}}
{{- end }}

{{/* Who delivers telemetry where; "" when nobody does. */}}
{{- define "guardedvlm.otlp" -}}
{{- if .Values.telemetry.collector.enabled -}}
https://{{ include "guardedvlm.fullname" . }}-collector.{{ .Release.Namespace }}.svc:4317
{{- else -}}
{{ .Values.telemetry.endpoint }}
{{- end -}}
{{- end }}

{{/* Where the guard finds the engine. */}}
{{- define "guardedvlm.inference" -}}
{{- if eq .Values.inference.mode "internal" -}}
{{ include "guardedvlm.fullname" . }}-inference.{{ .Release.Namespace }}.svc:8445
{{- else if eq .Values.inference.mode "external" -}}
{{ .Values.inference.external.address }}
{{- else -}}
embedded
{{- end -}}
{{- end }}

{{/* Secret of a certificate: (dict "root" $ "of" "guard"); one of the site's, or the one that cert-manager writes. */}}
{{- define "guardedvlm.tlsSecret" -}}
{{- default (printf "%s-%s-tls" (include "guardedvlm.fullname" .root) (kebabcase .of)) (get .root.Values.certificates.existingSecrets .of) -}}
{{- end }}

{{/* Certificates that this release needs, comma-separated. */}}
{{- define "guardedvlm.neededCertificates" -}}
guard
{{- if ne .Values.inference.mode "embedded" }},guardClient{{ end }}
{{- if eq .Values.inference.mode "internal" }},inference{{ end }}
{{- if .Values.console.enabled }},console{{ end }}
{{- if .Values.telemetry.collector.enabled }},collector{{ end }}
{{- end }}

{{/* Whether the guard's own settings of checkpoints have a file on a claim. */}}
{{- define "guardedvlm.checkpointFile" -}}
{{- if eq .Values.checkpoints.sink "file" -}}/mnt/checkpoints/checkpoints{{- end -}}
{{- end }}
