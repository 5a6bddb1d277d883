{{/* The files that tetherd is given: secrets, identity token, roots, what it serves. All in one projected volume. */}}

{{/* The name of the Secret that the chart creates of secrets in `config`, or that External Secrets writes. */}}
{{- define "tetherd.secretName" -}}{{ include "tetherd.fullname" . }}{{- end -}}
{{- define "tetherd.externalSecretName" -}}{{ include "tetherd.fullname" . }}-auth{{- end -}}
{{- define "tetherd.serveName" -}}{{ include "tetherd.fullname" . }}-serve{{- end -}}

{{/* The sources of the projected volume. */}}
{{- define "tetherd.sources" -}}
{{- $auth := .Values.auth -}}
{{- if $auth.existingSecret }}
- secret:
    name: {{ $auth.existingSecret }}
    items:
      - key: {{ $auth.existingSecretKey }}
        path: auth_key
{{- end }}
{{- if $auth.externalSecret.store }}
- secret:
    name: {{ include "tetherd.externalSecretName" . }}
    items:
      - key: auth_key
        path: auth_key
{{- end }}
{{- $created := list -}}
{{- range splitList " " (include "tetherd.secretKeys" . | trim) -}}
{{- if get $.Values.config . -}}{{- $created = append $created . -}}{{- end -}}
{{- end -}}
{{- with $created }}
- secret:
    name: {{ include "tetherd.secretName" $ }}
    items:
      {{- range . }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- end }}
{{- with .Values.proxyAuth.existingSecret }}
- secret:
    name: {{ . }}
    items:
      - key: password
        path: socks_password
{{- end }}
{{- if and (eq (.role | default "") "gateway") .Values.gateway.usersSecret }}
- secret:
    name: {{ .Values.gateway.usersSecret }}
    items:
      - key: {{ .Values.gateway.usersSecretKey }}
        path: users.toml
{{- end }}
{{- with $auth.workloadIdentity }}
{{- if .clientId }}
- serviceAccountToken:
    path: id_token
    audience: {{ .audience | default (printf "api.tailscale.com/%s" .clientId) | quote }}
    expirationSeconds: {{ int64 .expirationSeconds }}
{{- end }}
{{- end }}
{{- with .Values.ca }}
{{- if .configMap }}
- configMap:
    name: {{ .configMap }}
    items:
      - key: {{ .key }}
        path: ca.pem
{{- else if .secret }}
- secret:
    name: {{ .secret }}
    items:
      - key: {{ .key }}
        path: ca.pem
{{- end }}
{{- end }}
{{- if .Values.serveConfig }}
- configMap:
    name: {{ include "tetherd.serveName" . }}
    items:
      - key: serve.json
        path: serve.json
{{- end }}
{{- end -}}

{{/* Volumes of a pod with tetherd in it, to stand in its `volumes`. */}}
{{- define "tetherd.volumes" -}}
- name: tetherd-tmp
  emptyDir:
    medium: Memory
    sizeLimit: 64Mi
{{- with include "tetherd.sources" . }}
- name: tetherd-files
  projected:
    # Of root and the pod's group; only tetherd's container has it mounted.
    defaultMode: {{ ternary 0400 (int $.Values.filesMode) (eq ($.role | default "") "gateway") }}
    sources:
      {{- trim . | nindent 6 }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
