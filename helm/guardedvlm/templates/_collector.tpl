{{/* Names of metrics stay as docs/telemetry.md has them, with _ for every other sign: alerts and dashboard ask for those. */}}
{{- define "guardedvlm.collectorSettings" -}}
{{- $forward := .Values.telemetry.collector.forward -}}
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {{ printf "%s:4317" .Values.listenHost | quote }}
        tls: {cert_file: /etc/guardedvlm/tls/tls.crt, key_file: /etc/guardedvlm/tls/tls.key}
processors:
  memory_limiter: {check_interval: 1s, limit_percentage: 80, spike_limit_percentage: 20}
exporters:
  prometheus:
    endpoint: {{ printf "%s:8889" .Values.listenHost | quote }}
    translation_strategy: UnderscoreEscapingWithoutSuffixes
    metric_expiration: 5m
  {{- if $forward.endpoint }}
  otlp:
    endpoint: {{ $forward.endpoint }}
    {{- if $forward.ca.existingSecret }}
    tls: {ca_file: /etc/guardedvlm/forward-ca/ca.crt}
    {{- end }}
    # The tail counts what was taken as delivered: it is handed on at once, or refused and sent again.
    sending_queue: {enabled: false}
    retry_on_failure: {enabled: false}
  {{- end }}
extensions:
  health_check: {endpoint: {{ printf "%s:13133" .Values.listenHost | quote }}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [otlp], processors: [memory_limiter], exporters: [prometheus]}
    {{- if $forward.endpoint }}
    traces: {receivers: [otlp], processors: [memory_limiter], exporters: [otlp]}
    logs: {receivers: [otlp], processors: [memory_limiter], exporters: [otlp]}
    {{- end }}
{{- end }}
