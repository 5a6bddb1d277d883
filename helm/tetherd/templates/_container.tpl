{{/* What every tetherd container has in common. */}}

{{/* The port of `config.health_listen`. */}}
{{- define "tetherd.healthPort" -}}
{{- .Values.config.health_listen | default "[::]:9002" | splitList ":" | last -}}
{{- end -}}

{{- define "tetherd.securityContext" -}}
{{ include "tetherd.user" . }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Everything of the container but its ports, resources and lifecycle. */}}
{{- define "tetherd.container" -}}
name: tetherd
image: {{ include "tetherd.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "tetherd.environment" . | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "tetherd.securityContext" . | nindent 2 }}
{{- include "tetherd.probes" . | nindent 0 }}
# Where tetherd was killed and could say nothing, its last log lines do.
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - name: tetherd-tmp
    mountPath: /tmp
  {{- if include "tetherd.sources" . }}
  - name: tetherd-files
    mountPath: {{ include "tetherd.files" . }}
    readOnly: true
  {{- end }}
  {{- if and (eq .role "gateway") (include "tetherd.isPersistent" .) }}
  - name: state
    mountPath: /var/lib/tetherd
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The kubelet asks the pod's own address. */}}
{{- define "tetherd.probes" -}}
{{- $listen := .Values.config.health_listen | default "" | toString -}}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\]:)" $listen -}}
{{- fail (printf "config.health_listen: %s cannot be reached by the kubelet's probes: listen on [::]:9002 or 0.0.0.0:9002" $listen) -}}
{{- end -}}
{{- $port := include "tetherd.healthPort" . -}}
{{- $probes := .Values.probes -}}
startupProbe:
  httpGet:
    path: {{ ternary "/startupz" "/livez" $probes.startup.waitForTailnet }}
    port: {{ $port }}
  {{- toYaml (omit $probes.startup "waitForTailnet") | nindent 2 }}
livenessProbe:
  httpGet:
    path: /livez
    port: {{ $port }}
  {{- toYaml $probes.liveness | nindent 2 }}
{{- if $probes.readiness.enabled }}
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ $port }}
  {{- toYaml (omit $probes.readiness "enabled") | nindent 2 }}
{{- end }}
{{- end -}}
