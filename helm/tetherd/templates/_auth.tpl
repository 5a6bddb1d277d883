{{/* Exactly one place gives the auth key; a mistake is better found here than in a pod that does not start. */}}

{{- define "tetherd.requireOneKey" -}}
{{- $auth := .Values.auth -}}
{{- $config := .Values.config -}}
{{- $given := list -}}
{{- if $auth.existingSecret -}}{{- $given = append $given "auth.existingSecret" -}}{{- end -}}
{{- if $auth.externalSecret.store -}}{{- $given = append $given "auth.externalSecret" -}}{{- end -}}
{{- if $auth.workloadIdentity.clientId -}}{{- $given = append $given "auth.workloadIdentity" -}}{{- end -}}
{{- if $auth.secretsManager.secret -}}{{- $given = append $given "auth.secretsManager" -}}{{- end -}}
{{- range list "auth_key" "auth_key_file" "auth_secret" "oauth_client_secret" "oauth_client_secret_file" "id_token" "id_token_file" "id_token_audience" -}}
{{- if get $config . -}}{{- $given = append $given (printf "config.%s" .) -}}{{- end -}}
{{- end -}}
{{- if gt (len $given) 1 -}}
{{- fail (printf "%s are given: the auth key comes from one place, remove the others" (join " and " $given)) -}}
{{- end -}}
{{- if and (empty $given) (empty .Values.extraEnv) (empty .Values.extraEnvFrom) -}}
{{- fail "no auth key: set auth.existingSecret, auth.externalSecret, auth.workloadIdentity, auth.secretsManager or config.auth_key" -}}
{{- end -}}
{{- if and $auth.workloadIdentity.clientId (empty $config.tags) -}}
{{- fail "auth.workloadIdentity: needs config.tags, such as tag:web: keys made by the API must be tagged" -}}
{{- end -}}
{{- end -}}

{{/* Only the gateway can have a volume that outlives its pod. */}}
{{- define "tetherd.isPersistent" -}}
{{- if and (eq .Values.gateway.kind "StatefulSet") .Values.gateway.persistence.enabled -}}true{{- end -}}
{{- end -}}
