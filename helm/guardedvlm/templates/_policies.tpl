{{/* One digest over all policies: another one rolls the pods. */}}
{{- define "guardedvlm.policiesDigest" -}}
{{- if .Values.policies.existingConfigMap -}}
{{ .Values.policies.sha256 }}
{{- else -}}
{{ toJson .Values.policies.files | sha256sum }}
{{- end -}}
{{- end }}

{{/* The policies as folders; names of a ConfigMap have no slash. */}}
{{- define "guardedvlm.policiesVolume" -}}
configMap:
  {{- if .Values.policies.existingConfigMap }}
  name: {{ .Values.policies.existingConfigMap }}
  items:
    {{- toYaml .Values.policies.items | nindent 4 }}
  {{- else }}
  name: {{ include "guardedvlm.fullname" . }}-policies
  items:
    {{- range $path, $_ := .Values.policies.files }}
    - {key: {{ replace "/" "." $path }}, path: {{ $path }}}
    {{- end }}
  {{- end }}
{{- end }}

{{/* Public keys of the site by file name. */}}
{{- define "guardedvlm.siteFiles" -}}
{{- with .Values.policies.publicKey }}
policy.pub: {{ . | quote }}
{{- end }}
{{- with .Values.console.evidenceKeys }}
evidence-keys.json: {{ . | quote }}
{{- end }}
{{- range $name, $pem := .Values.inference.guardKeys }}
clearance-{{ $name }}.pub: {{ $pem | quote }}
{{- end }}
{{- if not (or .Values.policies.publicKey .Values.console.evidenceKeys .Values.inference.guardKeys) }}
none: ""
{{- end }}
{{- end }}
