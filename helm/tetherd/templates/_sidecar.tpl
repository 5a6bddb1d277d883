{{/*
For other charts, which list this one as a dependency. Each takes this chart's context:

  spec:
    initContainers:
      {{- include "tetherd.sidecar" .Subcharts.tetherd | nindent 6 }}
    containers:
      - name: app
        env:
          {{- include "tetherd.env" .Subcharts.tetherd | nindent 10 }}
    volumes:
      {{- include "tetherd.volumes" .Subcharts.tetherd | nindent 6 }}
*/}}

{{/* A native sidecar, to stand first in a pod's `initContainers`: it starts before the application and ends after it. */}}
{{- define "tetherd.sidecar" -}}
{{- include "tetherd.requireOneKey" . -}}
{{- $context := dict "Values" .Values "Chart" .Chart "Release" .Release "Capabilities" .Capabilities "role" "sidecar" "resources" .Values.resources -}}
- {{ include "tetherd.container" $context | nindent 2 | trim }}
  restartPolicy: Always
  ports:
    - name: tetherd-health
      containerPort: {{ include "tetherd.healthPort" . }}
  {{- with .Values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* What is never dialled for others, and the cluster's own: what `tetherd env` says in Kubernetes. */}}
{{- define "tetherd.noProxy" -}}
localhost,127.0.0.1,127.0.0.0/8,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23,fd20:ce::254,168.63.129.16,192.0.0.192,fd00:c1::a9fe:a9fe,fd00:42::42,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)
{{- range .Values.noProxy }},{{ . }}{{ end }}
{{- end -}}

{{/* Address of the sidecar's proxy as the application reaches it. */}}
{{- define "tetherd.proxyAddress" -}}
{{- $address := "" -}}
{{- range (include "tetherd.text" (.Values.config.socks_listen | default "127.0.0.1:1055") | splitList ",") -}}
{{- if and (not $address) (not (hasPrefix "unix:" .)) -}}{{- $address = . -}}{{- end -}}
{{- end -}}
{{- if not $address -}}
{{- fail "config.socks_listen: tetherd.env needs a TCP address in it, such as 127.0.0.1:1055" -}}
{{- end -}}
{{- regexReplaceAll "^(\\*|localhost|0\\.0\\.0\\.0|\\[::\\])?:([0-9]+)$" $address "127.0.0.1:${2}" -}}
{{- end -}}

{{/* The proxy variables, to stand in the `env` of the application's container. */}}
{{- define "tetherd.env" -}}
{{- include "tetherd.proxyVariables" . | trim -}}
{{- end -}}

{{- define "tetherd.proxyVariables" -}}
{{- $address := include "tetherd.proxyAddress" . -}}
{{- $user := "" -}}
{{- $secret := .Values.proxyAuth.existingSecret -}}
{{- if or $secret .Values.config.socks_password }}
{{- $user = "$(PROXY_USER):$(PROXY_PASSWORD)@" }}
# Within an address only letters, digits and - . _ ~ stand for themselves.
- name: PROXY_USER
  {{- if $secret }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: username
  {{- else }}
  value: {{ .Values.config.socks_user | quote }}
  {{- end }}
- name: PROXY_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $secret | default (include "tetherd.secretName" .) }}
      key: {{ ternary "password" "socks_password" (not (empty $secret)) }}
{{- end }}
{{- $http := printf "http://%s%s" $user $address }}
{{- $variables := dict "HTTP_PROXY" $http "HTTPS_PROXY" $http "NO_PROXY" (include "tetherd.noProxy" $) }}
{{- $form := .Values.config.env_all_proxy | default "http" }}
{{- if ne $form "off" }}{{ $_ := set $variables "ALL_PROXY" (printf "%s://%s%s" $form $user $address) }}{{ end }}
{{- range $name, $value := $variables }}
{{- range list $name (lower $name) }}
- name: {{ . }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}
