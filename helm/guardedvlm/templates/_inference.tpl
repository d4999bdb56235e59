{{/* The command line of serve-inference. */}}
{{- define "guardedvlm.inferenceArguments" -}}
{{- $inference := .Values.inference -}}
- serve-inference
- --listen
- {{ printf "%s:8445" .Values.listenHost | quote }}
- --health-listen
- {{ printf "%s:8446" .Values.listenHost | quote }}
- --tls-certificate
- /etc/guardedvlm/tls/tls.crt
- --tls-key
- /etc/guardedvlm/tls/tls.key
- --client-ca
- /etc/guardedvlm/tls/ca.crt
{{- range $name, $_ := $inference.guardKeys }}
- --guard-key
- /etc/guardedvlm/site/clearance-{{ $name }}.pub
{{- end }}
- --engine
- {{ $inference.engine }}
{{- if ne $inference.engine "reader" }}
- --model
- /models/{{ $inference.model.path }}
{{- if $inference.model.manifest.existingConfigMap }}
- --manifest
- /etc/guardedvlm/manifest/{{ $inference.model.manifest.key }}
{{- end }}
{{- end }}
{{- if eq $inference.engine "transformers" }}
{{- with $inference.model.adapter }}
- --adapter
- /models/{{ . }}
{{- end }}
{{- with $inference.attention }}
- --attention
- {{ . }}
{{- end }}
{{- if $inference.offload }}
- --offload
{{- end }}
{{- if $inference.compile }}
- --compile
{{- end }}
{{- end }}
{{- if eq $inference.engine "vllm" }}
- --tensor-parallel-size
- {{ $inference.tensorParallelSize | quote }}
{{- with $inference.vllm.maxModelLen }}
- --max-model-len
- {{ . | quote }}
{{- end }}
{{- with $inference.vllm.maxNumSeqs }}
- --max-num-seqs
- {{ . | quote }}
{{- end }}
{{- with $inference.vllm.gpuMemoryUtilization }}
- --gpu-memory-utilization
- {{ . | quote }}
{{- end }}
{{- with $inference.vllm.kvCacheMemory }}
- --kv-cache-memory
- {{ . }}
{{- end }}
{{- if $inference.vllm.eager }}
- --eager
{{- end }}
{{- end }}
{{- end }}

{{/* GPUs are asked for as limits, which are requests too. */}}
{{- define "guardedvlm.inferenceResources" -}}
{{- $resources := deepCopy .Values.inference.resources -}}
{{- with .Values.inference.gpu -}}
{{- if .count -}}
{{- $limits := merge (dict .resource .count) (default dict $resources.limits) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- end -}}
{{ toYaml $resources }}
{{- end }}
