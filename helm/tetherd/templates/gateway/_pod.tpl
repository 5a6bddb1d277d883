{{/* What Deployment and StatefulSet of the gateway have in common. */}}

{{- define "tetherd.gatewayLabels" -}}
{{ include "tetherd.selectorLabels" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/* The port of the first address of `config.socks_listen` that other pods reach. */}}
{{- define "tetherd.gatewayPort" -}}
{{- $port := "" -}}
{{- range include "tetherd.text" (.Values.config.socks_listen | default "[::]:1055") | splitList "," -}}
{{- if and (not $port) (not (regexMatch "^ *(unix:|127\\.|localhost:|\\[::1\\]:)" .)) -}}
{{- $port = splitList ":" . | last -}}
{{- end -}}
{{- end -}}
{{- if not $port -}}
{{- fail "config.socks_listen: a gateway needs an address in it that other pods reach, such as [::]:1055" -}}
{{- end -}}
{{- $port -}}
{{- end -}}

{{/* Who can reach the gateway could use the tailnet: never without a password. */}}
{{- define "tetherd.requirePassword" -}}
{{- $config := .Values.config -}}
{{- $password := or $config.socks_password $config.socks_password_file -}}
{{- if and .Values.proxyAuth.existingSecret (or $config.socks_user $password) -}}
{{- fail "proxyAuth.existingSecret and config.socks_user or config.socks_password are given: the password comes from one place" -}}
{{- end -}}
{{- if and .Values.gateway.usersSecret $config.users -}}
{{- fail "gateway.usersSecret and config.users are given: the users come from one place" -}}
{{- end -}}
{{- $users := or .Values.gateway.usersSecret $config.users -}}
{{- if not (or .Values.proxyAuth.existingSecret (and $config.socks_user $password) (and $users (not (or $config.socks_user $password)))) -}}
{{- fail "gateway: needs a user and a password: set proxyAuth.existingSecret, or config.socks_user and config.socks_password, or gateway.usersSecret" -}}
{{- end -}}
{{- if $config.allow_open_proxy -}}
{{- fail "config.allow_open_proxy: a gateway asks for a password" -}}
{{- end -}}
{{- end -}}

{{/* Seconds of a time such as 20s or 2m; nothing for another form. */}}
{{- define "tetherd.seconds" -}}
{{- if regexMatch "^[0-9]+s$" . -}}{{ trimSuffix "s" . }}
{{- else if regexMatch "^[0-9]+m$" . -}}{{ mul (trimSuffix "m" .) 60 }}
{{- else if regexMatch "^[0-9]+ms$" . -}}1
{{- end -}}
{{- end -}}

{{/* The hook, the drain, up to 6 s for leaving the tailnet, and some to spare. */}}
{{- define "tetherd.gracePeriod" -}}
{{- $drain := include "tetherd.seconds" (.Values.config.drain_timeout | default "20s") -}}
{{- $given := .Values.gateway.terminationGracePeriodSeconds -}}
{{- if $drain -}}
{{- $needed := add (include "tetherd.preStopSeconds" .) $drain 6 | int -}}
{{- if and $given (lt (int $given) $needed) -}}
{{- fail (printf "gateway.terminationGracePeriodSeconds: %d is too short: preStopSeconds, config.drain_timeout and 6 s for leaving the tailnet make %d" (int $given) $needed) -}}
{{- end -}}
{{- $given | default (add $needed 9) | int -}}
{{- else -}}
{{- required "gateway.terminationGracePeriodSeconds: needed with this form of config.drain_timeout" $given | int -}}
{{- end -}}
{{- end -}}

{{- define "tetherd.gatewayPod" -}}
{{- include "tetherd.requireOneKey" . -}}
{{- include "tetherd.requirePassword" . -}}
{{- $gateway := .Values.gateway -}}
{{- $context := dict "Values" .Values "Chart" .Chart "Release" .Release "Capabilities" .Capabilities "role" "gateway" "resources" $gateway.resources -}}
metadata:
  labels:
    # Nothing of what changes with a version of the chart, which would replace the pods.
    {{- include "tetherd.gatewayLabels" . | nindent 4 }}
    {{- with $gateway.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: tetherd
    {{- with .Values.config.socks_password }}
    # It is read once, at the start. Everybody who sees pods sees this: no hash that is quickly tried.
    checksum/password: {{ derivePassword 1 "long" (toString .) "gateway" $.Release.Name | sha256sum | trunc 16 | quote }}
    {{- end }}
    {{- with $gateway.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tetherd.serviceAccountName" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
  # Variables of Services are none of tetherd's settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "tetherd.gracePeriod" . }}
  securityContext:
    {{- include "tetherd.user" . | nindent 4 }}
    {{- if not (include "tetherd.isOpenshift" .) }}
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
    seccompProfile:
      type: RuntimeDefault
  containers:
    - {{ include "tetherd.container" $context | nindent 6 | trim }}
      ports:
        - name: proxy
          containerPort: {{ include "tetherd.gatewayPort" . }}
        - name: tetherd-health
          containerPort: {{ include "tetherd.healthPort" . }}
      {{- with include "tetherd.preStopSeconds" . | int }}
      # Until every node has heard that the pod is leaving, connections still come, and are served.
      lifecycle:
        preStop:
          sleep:
            seconds: {{ . }}
      {{- end }}
      {{- with $gateway.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
  volumes:
    {{- include "tetherd.volumes" $context | nindent 4 }}
  {{- include "tetherd.placement" . | nindent 2 }}
{{- end -}}

{{/* On which nodes the pods run. */}}
{{- define "tetherd.placement" -}}
{{- $gateway := .Values.gateway -}}
topologySpreadConstraints:
{{- with $gateway.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "tetherd.gatewayLabels" $ | nindent 8 }}
    # The pods of a roll-out are spread among themselves.
    matchLabelKeys: [{{ ternary "controller-revision-hash" "pod-template-hash" (eq $gateway.kind "StatefulSet") }}]
  {{- end }}
{{- end }}
{{- with $gateway.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $gateway.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $gateway.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $gateway.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $gateway.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
