{{/* The settings file of the guard. What the chart decides itself stands here; the rest is guard.settings. */}}
{{- define "guardedvlm.settings" -}}
{{- $guard := .Values.guard -}}
{{- $tls := dict "certificate" "/etc/guardedvlm/tls/tls.crt" "key" "/etc/guardedvlm/tls/tls.key" -}}
{{- if $guard.listen.mutualTls }}{{ $_ := set $tls "client_ca" "/etc/guardedvlm/client-ca/ca.crt" }}{{ end -}}
{{- $own := dict
  "listen" (printf "%s:8443" .Values.listenHost)
  "health_listen" (printf "%s:8444" .Values.listenHost)
  "tls" $tls
  "policies" "/etc/guardedvlm/policies"
  "tenants" "/etc/guardedvlm/tenants/tenants.yaml"
  "keys" "/run/guardedvlm/keys"
  "ledger" "/var/lib/guardedvlm/ledger"
  "review" (dict "folder" "/var/lib/guardedvlm/review" "sample_keys" "/var/lib/guardedvlm-state/review-keys")
  "checkpoints" (dict "sink" .Values.checkpoints.sink)
  "inference" (include "guardedvlm.inference" .)
  "drain_seconds" (float64 $guard.drainSeconds)
  "otel" "none"
-}}
{{- if and $guard.listen.mutualTls $guard.listen.tokens }}
{{- $_ := set $own "token_listen" (printf "%s:8447" .Values.listenHost) }}
{{- end }}
{{- with include "guardedvlm.checkpointFile" . }}{{ $_ := set $own.checkpoints "file" . }}{{ end }}
{{- if .Values.policies.publicKey }}
{{- $_ := set $own "policy_key" "/etc/guardedvlm/site/policy.pub" }}
{{- $_ := set $own "policies_issued" "/var/lib/guardedvlm-state/policies-issued.json" }}
{{- end }}
{{- if ne .Values.inference.mode "embedded" }}
{{- $client := "/etc/guardedvlm/inference-client" }}
{{- $_ := set $own "inference_tls" (dict "ca" (printf "%s/ca.crt" $client) "certificate" (printf "%s/tls.crt" $client) "key" (printf "%s/tls.key" $client)) }}
{{- end }}
{{- with include "guardedvlm.otlp" . }}
{{- $_ := set $own "otel" "otlp" }}
{{- $_ := set $own "otlp_endpoint" . }}
{{- $_ := set $own "tail" (dict "inside" false "state" "/var/lib/guardedvlm/ledger/tail") }}
{{- if include "guardedvlm.otlpCa" $ }}{{ $_ := set $own "otlp_ca" "/etc/guardedvlm/collector-ca/ca.crt" }}{{ end }}
{{- end }}
{{- toYaml (merge $own (deepCopy $guard.settings)) }}
{{- end }}

{{/* The Secret or ConfigMap with the collector's authority, "kind/name"; "" where the system's authorities do. */}}
{{- define "guardedvlm.otlpCa" -}}
{{- if .Values.telemetry.collector.enabled -}}
secret/{{ include "guardedvlm.tlsSecret" (dict "root" . "of" "collector") }}
{{- else if .Values.telemetry.ca.existingSecret -}}
secret/{{ .Values.telemetry.ca.existingSecret }}
{{- end -}}
{{- end }}

{{/* Keys that guard.settings may not have, and where they stand instead. */}}
{{- define "guardedvlm.ownSettings" -}}
listen: guard.listen
health_listen: ""
token_listen: guard.listen.tokens
tls: certificates
policies: policies
policy_key: policies.publicKey
policies_issued: ""
tenants: guard.tenants
keys: guard.keys
ledger: guard.ledger
inference: inference.mode
inference_tls: certificates
otel: telemetry
otlp_endpoint: telemetry.endpoint
otlp_ca: telemetry.ca
drain_seconds: guard.drainSeconds
signer: ""
signer_user: ""
{{- end }}

{{/* Settings of one console: (dict "root" $ "instance" .). */}}
{{- define "guardedvlm.consoleSettings" -}}
{{- $console := .root.Values.console -}}
{{- $login := dict "issuer" $console.login.issuer "client_id" $console.login.clientId "claim" $console.login.claim "role" $console.login.role -}}
{{- if $console.login.clientSecret.existingSecret }}{{ $_ := set $login "client_secret_file" "/etc/guardedvlm/login/client-secret" }}{{ end -}}
{{- if $console.login.ca.existingSecret }}{{ $_ := set $login "ca" "/etc/guardedvlm/login-ca/ca.crt" }}{{ end -}}
{{- $own := dict
  "listen" (printf "%s:8450" .root.Values.listenHost)
  "url" .instance.url
  "tls" (dict "certificate" "/etc/guardedvlm/tls/tls.crt" "key" "/etc/guardedvlm/tls/tls.key")
  "login" $login
  "policies" (list "/etc/guardedvlm/policies")
  "cache" "/var/cache/guardedvlm"
-}}
{{- if $console.evidenceKeys }}{{ $_ := set $own "keys" (list "/etc/guardedvlm/site/evidence-keys.json") }}{{ end -}}
{{- toYaml $own }}
{{- end }}
