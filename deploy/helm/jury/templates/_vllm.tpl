{{/* (dict "root" $ "pool" pool "leader" bool): vLLM. Beside the worker it is an init container that keeps running
(restartPolicy: Always): it starts before the worker and ends after it, so that a leaving worker can finish its samples.
On the further nodes of a group it is the only container of the pod. */}}
{{- define "jury.vllm" -}}
{{- $pool := .pool -}}
{{- $nodes := int $pool.vllm.nodes -}}
- name: vllm
  image: {{ $pool.vllm.image | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- if .leader }}
  restartPolicy: Always
  {{- end }}
  command: [vllm, serve]
  args:
    - {{ $pool.vllm.model | quote }}
    - {{ printf "--served-model-name=%s" (default $pool.model $pool.upstream.model) | quote }}
    {{- if eq $pool.role "meta" }}
    - --runner=pooling
    {{- end }}
    - --tensor-parallel-size={{ int $pool.gpu.count }}
    {{- if gt $nodes 1 }}
    - --pipeline-parallel-size={{ $nodes }}
    - --nnodes={{ $nodes }}
    {{- if .leader }}
    - --node-rank=0
    - --master-addr=$(POD_IP)
    {{- else }}
    # LeaderWorkerSet sets both.
    - --node-rank=$(LWS_WORKER_INDEX)
    - --master-addr=$(LWS_LEADER_ADDRESS)
    - --headless
    {{- end }}
    {{- end }}
    {{- if .leader }}
    - --host=0.0.0.0
    - --port=8000
    {{- end }}
    {{- with $pool.vllm.args }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    # The user has no name in the image, but torch asks for one.
    - { name: USER, value: jury }
    - { name: HOME, value: /tmp }
    - { name: TORCHINDUCTOR_CACHE_DIR, value: /tmp/inductor }
    - { name: HF_HOME, value: /models }
    - { name: VLLM_CACHE_ROOT, value: /tmp/vllm }
    - { name: TRITON_CACHE_DIR, value: /tmp/triton }
    - name: POD_IP
      valueFrom: { fieldRef: { fieldPath: status.podIP } }
    {{- with $pool.vllm.hubTokenSecret }}
    {{- if .name }}
    - name: HF_TOKEN
      valueFrom: { secretKeyRef: { name: {{ .name | quote }}, key: {{ .key | quote }} } }
    {{- end }}
    {{- end }}
    {{- with $pool.vllm.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if .leader }}
  ports:
    - { name: openai, containerPort: 8000 }
  startupProbe:
    httpGet: { path: /health, port: openai }
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: {{ divf $pool.vllm.startupSeconds 10 | ceil | int }}
  # A hanging server is restarted; meanwhile the worker rejects groups.
  livenessProbe:
    httpGet: { path: /health, port: openai }
    periodSeconds: 10
    timeoutSeconds: 10
    failureThreshold: 6
  readinessProbe:
    httpGet: { path: /health, port: openai }
    periodSeconds: 5
    timeoutSeconds: 5
    failureThreshold: 3
  {{- end }}
  securityContext:
    {{- include "jury.containerSecurity" .root | nindent 4 }}
  resources:
    {{- include "jury.gpuResources" (dict "resources" $pool.vllm.resources "gpu" $pool.gpu) | nindent 4 }}
  volumeMounts:
    - { name: tmp, mountPath: /tmp }
    - { name: models, mountPath: /models }
    - { name: shm, mountPath: /dev/shm }
    {{- if $pool.weightsClaim }}
    - { name: weights, mountPath: /weights, readOnly: true }
    {{- end }}
{{- end -}}
