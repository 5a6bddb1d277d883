{{/* The settings as environment variables. Secrets never stand in it: they are files of the volume `tetherd-files`. */}}

{{/* Where the volume of secrets and other files is mounted. */}}
{{- define "tetherd.files" -}}/etc/tetherd{{- end -}}

{{/* The settings that hold a secret. */}}
{{- define "tetherd.secretKeys" -}}
auth_key oauth_client_secret id_token socks_password
{{- end -}}

{{/* What the chart itself sets for `role` (sidecar or gateway) where `config` says nothing. */}}
{{- define "tetherd.defaults" -}}
{{- $files := include "tetherd.files" . -}}
{{- $auth := .Values.auth -}}
runtime: kubernetes
{{- if and (eq .role "gateway") (include "tetherd.isPersistent" .) }}
state_dir: /var/lib/tetherd
logout: never
{{- else }}
# Kept over a crash of the container, gone with the pod.
state_dir: /tmp/state
logout: always
{{- end }}
{{- if or $auth.existingSecret $auth.externalSecret.store }}
auth_key_file: {{ $files }}/auth_key
{{- end }}
{{- with $auth.workloadIdentity }}
{{- if .clientId }}
oauth_client_id: {{ .clientId | quote }}
id_token_file: {{ $files }}/id_token
{{- end }}
{{- end }}
{{- with $auth.secretsManager.secret }}
auth_secret: {{ . | quote }}
{{- end }}
{{- if .Values.proxyAuth.existingSecret }}
socks_password_file: {{ $files }}/socks_password
{{- end }}
{{- if or .Values.ca.configMap .Values.ca.secret }}
ca_file: {{ $files }}/ca.pem
{{- end }}
{{- if .Values.serveConfig }}
serve_config: {{ $files }}/serve.json
{{- end }}
{{- if eq .role "gateway" }}
socks_listen: ["[::]:1055"]
{{- if .Values.gateway.usersSecret }}
users: {{ $files }}/users.toml
{{- end }}
# A gateway into the tailnet, and to nowhere else.
direct: deny
# UDP ASSOCIATE needs a way to a port of the pod's own choice, which a Service does not give.
udp: false
{{- end }}
{{- end -}}

{{/* All settings of `role` as YAML; secrets as their `_file` twins. */}}
{{- define "tetherd.settings" -}}
{{- $settings := include "tetherd.defaults" . | fromYaml -}}
{{- $secrets := splitList " " (include "tetherd.secretKeys" . | trim) -}}
{{- range $key, $value := .Values.config -}}
{{- if kindIs "invalid" $value -}}
{{- else if has $key $secrets -}}
{{- $_ := set $settings (printf "%s_file" $key) (printf "%s/%s" (include "tetherd.files" $) $key) -}}
{{- else -}}
{{- $_ := set $settings $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* One value as text: lists with commas, whole numbers without an exponent. */}}
{{- define "tetherd.text" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if kindIs "float64" . -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The `env` list of a tetherd container. */}}
{{- define "tetherd.environment" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- $settings := include "tetherd.settings" . | fromYaml }}
{{- range $key, $value := $settings }}
- name: TETHERD_{{ upper $key }}
  value: {{ include "tetherd.text" $value | quote }}
{{- end }}
{{- with .Values.proxyAuth.existingSecret }}
- name: TETHERD_SOCKS_USER
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: username
{{- end }}
{{- with .Values.auth.secretsManager.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
