{{/* Values that contradict one another stop the rendering with a sentence that says what to do. */}}
{{- define "guardedvlm.hasTest" -}}
{{- if and .Values.test.enabled .Values.test.token.existingSecret -}}true{{- end -}}
{{- end }}

{{- define "guardedvlm.check" -}}
{{- include "guardedvlm.checkImages" . -}}
{{- include "guardedvlm.checkGuard" . -}}
{{- include "guardedvlm.checkSettings" . -}}
{{- include "guardedvlm.checkPolicies" . -}}
{{- include "guardedvlm.checkCertificates" . -}}
{{- include "guardedvlm.checkInference" . -}}
{{- include "guardedvlm.checkScale" . -}}
{{- include "guardedvlm.checkSamples" . -}}
{{- include "guardedvlm.checkTelemetry" . -}}
{{- include "guardedvlm.checkConsole" . -}}
{{- include "guardedvlm.checkNetwork" . -}}
{{- end }}

{{- define "guardedvlm.checkImages" -}}
{{- $needed := dict "guard.image" .Values.guard.image -}}
{{- if eq .Values.inference.mode "internal" }}{{ $_ := set $needed "inference.image" .Values.inference.image }}{{ end -}}
{{- if .Values.console.enabled }}{{ $_ := set $needed "console.image" .Values.console.image }}{{ end -}}
{{- if .Values.telemetry.collector.enabled }}{{ $_ := set $needed "telemetry.collector.image" .Values.telemetry.collector.image }}{{ end -}}
{{- range $place, $image := $needed -}}
{{- if not $image.digest }}{{ fail (printf "%s.digest is empty: set the digest (sha256:...) of the image that you built or mirrored; a tag can come to mean another image" $place) }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "guardedvlm.checkGuard" -}}
{{- $guard := .Values.guard -}}
{{- if not (or $guard.listen.mutualTls $guard.listen.tokens) }}{{ fail "guard.listen takes no caller: set guard.listen.mutualTls, guard.listen.tokens or both" }}{{ end -}}
{{- if and $guard.listen.mutualTls (not $guard.clientCa.existingSecret) }}{{ fail "guard.listen.mutualTls needs the authority of the callers' certificates: set guard.clientCa.existingSecret, or guard.listen.mutualTls to false" }}{{ end -}}
{{- if and (not $guard.listen.mutualTls) $guard.clientCa.existingSecret }}{{ fail "guard.clientCa.existingSecret is for client certificates, and nobody is asked for one: set guard.listen.mutualTls to true, or leave the secret out" }}{{ end -}}
{{- if not $guard.keys.existingSecret }}{{ fail "guard.keys.existingSecret is empty: make a Secret with audit.key, tokens.key, clearance.key and ring.json (docs/operator.md, Keys) and name it; the chart makes no key" }}{{ end -}}
{{- if not $guard.tenants.existingSecret }}{{ fail "guard.tenants.existingSecret is empty: make a Secret with tenants.yaml and name it" }}{{ end -}}
{{- if and .Values.test.enabled .Values.test.token.existingSecret (not $guard.listen.tokens) }}{{ fail "test.token is a bearer token, and the guard takes none: set guard.listen.tokens to true, or leave test.token.existingSecret out" }}{{ end -}}
{{- range $guard.extraFiles -}}
{{- if eq (empty .secret) (empty .configMap) }}{{ fail (printf "guard.extraFiles %s: name one of secret and configMap" .name) }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "guardedvlm.checkSettings" -}}
{{- $settings := .Values.guard.settings -}}
{{- range $key, $instead := fromYaml (include "guardedvlm.ownSettings" .) -}}
{{- if hasKey $settings $key -}}
{{- fail (printf "guard.settings.%s is the chart's own: %s" $key (ternary "leave it out" (printf "set %s instead" $instead) (empty $instead))) -}}
{{- end -}}
{{- end -}}
{{- range $part, $keys := dict "checkpoints" (list "sink" "file") "tail" (list "inside" "state") "review" (list "folder" "sample_keys") -}}
{{- range $key := $keys -}}
{{- if hasKey (default dict (get $settings $part)) $key }}{{ fail (printf "guard.settings.%s.%s is the chart's own: leave it out%s" $part $key (ternary ", and set checkpoints.sink instead" "" (eq $part "checkpoints"))) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "guardedvlm.checkPolicies" -}}
{{- $policies := .Values.policies -}}
{{- if and $policies.files $policies.existingConfigMap }}{{ fail "policies.files and policies.existingConfigMap are both set: keep the one that you mean" }}{{ end -}}
{{- if not (or $policies.files $policies.existingConfigMap) }}{{ fail "there are no policies: set policies.files (--set-file 'policies.files.finance/policy\\.yaml=policies/finance/policy.yaml') or policies.existingConfigMap" }}{{ end -}}
{{- if and $policies.existingConfigMap (not (and $policies.items $policies.sha256)) }}{{ fail "policies.existingConfigMap needs two more: set policies.items, which key is which NAME/policy.yaml, and policies.sha256, a digest of its content that you change with it, so that the pods roll" }}{{ end -}}
{{- if and $policies.publicKey $policies.files -}}
{{- range $path, $_ := $policies.files -}}
{{- if and (hasSuffix "/policy.yaml" $path) (not (hasKey $policies.files (printf "%s.sig" $path))) }}{{ fail (printf "policies.publicKey demands signed policies, and %s.sig is not among policies.files: sign it (guardedvlm policy sign) and add the signature, or leave the key out" $path) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "guardedvlm.checkCertificates" -}}
{{- $certificates := .Values.certificates -}}
{{- $needed := splitList "," (include "guardedvlm.neededCertificates" .) -}}
{{- range $of, $secret := $certificates.existingSecrets -}}
{{- if and $secret $certificates.certManager.enabled }}{{ fail (printf "certificates.existingSecrets.%s is set and cert-manager would write that certificate too: set certificates.certManager.enabled to false, or leave the secret out" $of) }}{{ end -}}
{{- end -}}
{{- if $certificates.certManager.enabled -}}
{{- if not $certificates.certManager.issuer.name }}{{ fail "certificates.certManager.issuer.name is empty: name the issuer of your site, or set certificates.certManager.enabled to false and name certificates.existingSecrets" }}{{ end -}}
{{- if and (eq .Values.inference.mode "external") (not $certificates.certManager.internalIssuer.name) }}{{ fail "inference.mode is external, and its service does not know this release's own authority: set certificates.certManager.internalIssuer.name to the issuer that both sides know, or use certificates.existingSecrets.guardClient" }}{{ end -}}
{{- else -}}
{{- range $of := $needed -}}
{{- if not (get $certificates.existingSecrets $of) }}{{ fail (printf "certificates.existingSecrets.%s is empty and cert-manager is off: name the TLS Secret (tls.crt, tls.key, ca.crt), or set certificates.certManager.enabled to true" $of) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "guardedvlm.checkInference" -}}
{{- $inference := .Values.inference -}}
{{- $external := $inference.external -}}
{{- if and (eq $inference.mode "external") (not $external.address) }}{{ fail "inference.mode is external: set inference.external.address to HOST:PORT" }}{{ end -}}
{{- if and (ne $inference.mode "external") $external.address }}{{ fail (printf "inference.external.address is set and inference.mode is %s: set the mode to external, or leave the address out" $inference.mode) }}{{ end -}}
{{- if and (eq $inference.mode "internal") (not $inference.guardKeys) }}{{ fail "inference.guardKeys is empty: inference takes pixels with a guard's signature only; give it the public half of the guard's clearance.key (clearance.pub)" }}{{ end -}}
{{- if and (ne $inference.mode "internal") $inference.guardKeys }}{{ fail (printf "inference.guardKeys is for an engine that this chart runs, and inference.mode is %s: leave the keys out, or set the mode to internal" $inference.mode) }}{{ end -}}
{{- if eq $inference.mode "internal" -}}
{{- $gpus := int $inference.gpu.count -}}
{{- $parallel := int $inference.tensorParallelSize -}}
{{- if eq $inference.engine "reader" -}}
{{- if or $inference.model.existingClaim $gpus }}{{ fail "inference.engine reader has no weights and uses no GPU: set inference.gpu.count to 0 and leave inference.model.existingClaim out, or choose transformers or vllm" }}{{ end -}}
{{- else -}}
{{- if not $inference.model.existingClaim }}{{ fail (printf "inference.engine %s needs weights: set inference.model.existingClaim to the volume that holds them" $inference.engine) }}{{ end -}}
{{- if not $gpus }}{{ fail (printf "inference.engine %s needs a GPU: set inference.gpu.count, or choose the engine reader" $inference.engine) }}{{ end -}}
{{- end -}}
{{- if and (gt $parallel 1) (ne $inference.engine "vllm") }}{{ fail (printf "inference.tensorParallelSize is %d, and only the engine vllm computes on several GPUs so: set inference.engine to vllm, or the size to 1" $parallel) }}{{ end -}}
{{- if and (eq $inference.engine "vllm") (ne $parallel $gpus) }}{{ fail (printf "inference.tensorParallelSize is %d and inference.gpu.count is %d: set both to the number of GPUs of one pod" $parallel $gpus) }}{{ end -}}
{{- if and (ne $inference.engine "transformers") (or $inference.offload $inference.compile $inference.attention $inference.model.adapter) }}{{ fail (printf "inference.offload, compile, attention and model.adapter belong to the engine transformers, and inference.engine is %s: leave them out" $inference.engine) }}{{ end -}}
{{- $vllm := $inference.vllm }}
{{- if and (ne $inference.engine "vllm") (or $vllm.maxModelLen $vllm.maxNumSeqs $vllm.gpuMemoryUtilization $vllm.kvCacheMemory $vllm.eager) }}{{ fail (printf "inference.vllm belongs to the engine vllm, and inference.engine is %s: leave it out" $inference.engine) }}{{ end -}}
{{- if and $vllm.kvCacheMemory $vllm.gpuMemoryUtilization }}{{ fail "inference.vllm.kvCacheMemory stands instead of what gpuMemoryUtilization leaves: set one of them" }}{{ end -}}
{{- if and $inference.offload $inference.compile }}{{ fail "inference.compile records one graph on the GPU and inference.offload copies weights meanwhile: choose one" }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "guardedvlm.checkScale" -}}
{{- $guard := .Values.guard -}}
{{- $scaling := $guard.autoscaling -}}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}{{ fail (printf "guard.autoscaling.minReplicas is %d and maxReplicas %d: raise the one or lower the other" (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}{{ end -}}
{{- if and $scaling.enabled (not (dig "requests" "cpu" "" $guard.resources)) }}{{ fail "guard.autoscaling counts in parts of guard.resources.requests.cpu, which is not set: set it, or guard.autoscaling.enabled to false" }}{{ end -}}
{{- if and $guard.podDisruptionBudget.enabled (lt (int (include "guardedvlm.fewest" .)) 2) }}{{ fail "guard.podDisruptionBudget is for two replicas and more: raise guard.replicas (or guard.autoscaling.minReplicas), or set guard.podDisruptionBudget.enabled to false" }}{{ end -}}
{{- end }}

{{/* A replica that was scaled in sweeps nothing: what it kept for review would outlive its expiry on its volumes. */}}
{{- define "guardedvlm.checkSamples" -}}
{{- $policies := .Values.policies -}}
{{- if .Values.guard.autoscaling.enabled -}}
{{- range $path, $text := $policies.files -}}
{{- $review := default dict (get (ternary dict (fromYaml $text) (hasSuffix ".sig" $path)) "review") -}}
{{- if or (gt (float64 (default 0 $review.random)) 0.0) (gt (float64 (default 0 $review.margin)) 0.0) }}{{ fail (printf "guard.autoscaling takes replicas away, and the pictures that %s keeps for review would stay on their volumes beyond their days: set guard.autoscaling.enabled to false, or leave review out of the policy" $path) }}{{ end -}}
{{- end -}}
{{- if and $policies.existingConfigMap (not $policies.keepsNoSamples) }}{{ fail "guard.autoscaling takes replicas away, and pictures kept for review would stay on their volumes beyond their days: set policies.keepsNoSamples to true when no policy of policies.existingConfigMap has review, else guard.autoscaling.enabled to false" }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "guardedvlm.checkTelemetry" -}}
{{- $telemetry := .Values.telemetry -}}
{{- $told := include "guardedvlm.otlp" . -}}
{{- if and $telemetry.collector.enabled $telemetry.endpoint }}{{ fail "telemetry.endpoint and telemetry.collector.enabled are both set: for a collector of this release that hands on to yours set telemetry.collector.forward.endpoint, else set telemetry.collector.enabled to false" }}{{ end -}}
{{- if and .Values.monitoring.serviceMonitor.enabled (not $telemetry.collector.enabled) }}{{ fail "monitoring.serviceMonitor has nothing to scrape, for the service pushes OTLP: set telemetry.collector.enabled to true, or scrape your own collector and set monitoring.serviceMonitor.enabled to false" }}{{ end -}}
{{- if and (or .Values.monitoring.prometheusRule.enabled .Values.monitoring.dashboard.enabled) (not $told) }}{{ fail "monitoring.prometheusRule and monitoring.dashboard need telemetry: set telemetry.collector.enabled or telemetry.endpoint, or set both to false" }}{{ end -}}
{{- $checkpoints := .Values.checkpoints -}}
{{- if and (eq $checkpoints.sink "otlp") (not $told) }}{{ fail "checkpoints.sink is otlp and there is no telemetry: set telemetry.endpoint or telemetry.collector.enabled, or another sink" }}{{ end -}}
{{- if and (eq $checkpoints.sink "otlp") $telemetry.collector.enabled (not $telemetry.collector.forward.endpoint) }}{{ fail "checkpoints.sink is otlp and this release's collector keeps nothing: set telemetry.collector.forward.endpoint to where they are kept, or another sink" }}{{ end -}}
{{- if ne (eq $checkpoints.sink "file") (not (empty $checkpoints.existingClaim)) }}{{ fail "checkpoints.sink file and checkpoints.existingClaim belong together: name the volume, apart from the ledger's, or choose another sink and leave it out" }}{{ end -}}
{{- end }}

{{- define "guardedvlm.checkConsole" -}}
{{- $console := .Values.console -}}
{{- if $console.enabled -}}
{{- if not (or (has "ReadWriteMany" .Values.guard.ledger.accessModes)) }}{{ fail "console.enabled: a second pod reads the ledger's volume, and guard.ledger.accessModes has no ReadWriteMany: add it with a storage class that can, or run guardedvlm console on a copy and set console.enabled to false" }}{{ end -}}
{{- if not $console.instances }}{{ fail "console.instances is empty: name for each console the replica whose ledger it shows and the url by which reviewers reach it" }}{{ end -}}
{{- if not (and $console.login.issuer $console.login.clientId) }}{{ fail "the console lets nobody in without console.login.issuer and console.login.clientId: set both to those of your identity provider" }}{{ end -}}
{{- range $console.instances -}}
{{- if ge (int .replica) (int (include "guardedvlm.fewest" $)) }}{{ fail (printf "console.instances names replica %d, and there are %s, counted from 0: take it out, or raise guard.replicas" (int .replica) (include "guardedvlm.fewest" $)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "guardedvlm.checkNetwork" -}}
{{- $net := .Values.networkPolicy -}}
{{- if $net.enabled -}}
{{- if not $net.dns }}{{ fail "networkPolicy.dns is empty, and no pod could find another: name the pods that answer DNS" }}{{ end -}}
{{- if and (eq .Values.inference.mode "external") (not .Values.inference.external.peers) }}{{ fail "the guard may not reach inference.external.address: name it under inference.external.peers (for example ipBlock), or set networkPolicy.enabled to false" }}{{ end -}}
{{- if and .Values.telemetry.endpoint (not .Values.telemetry.peers) }}{{ fail "the guard may not reach telemetry.endpoint: name the collector under telemetry.peers, or set networkPolicy.enabled to false" }}{{ end -}}
{{- if and .Values.telemetry.collector.forward.endpoint (not .Values.telemetry.collector.forward.peers) }}{{ fail "the collector may not reach telemetry.collector.forward.endpoint: name it under telemetry.collector.forward.peers, or set networkPolicy.enabled to false" }}{{ end -}}
{{- if and .Values.monitoring.serviceMonitor.enabled (not .Values.monitoring.prometheus) }}{{ fail "Prometheus may not reach the collector: name its pods under monitoring.prometheus, or set networkPolicy.enabled to false" }}{{ end -}}
{{- if and .Values.console.enabled (not (and .Values.console.reviewers .Values.console.login.peers)) }}{{ fail "the console is cut off: name who reaches it under console.reviewers, and the identity provider under console.login.peers, or set networkPolicy.enabled to false" }}{{ end -}}
{{- range $rule := $net.inferenceEgress -}}
{{- if not (and $rule.to $rule.ports) }}{{ fail "a rule of networkPolicy.inferenceEgress without to or ports lets cleared pixels out to anywhere: name peers and ports" }}{{ end -}}
{{- range $peer := $rule.to -}}
{{- if has (dig "ipBlock" "cidr" "" $peer) (list "0.0.0.0/0" "::/0") }}{{ fail "networkPolicy.inferenceEgress names the whole internet: name the peers that inference needs, or none" }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
