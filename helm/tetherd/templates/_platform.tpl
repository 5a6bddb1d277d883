{{/* What the cluster is: its version, and whether it is OpenShift. */}}

{{/* The version as 1.30.0, without what distributions add: v1.30.2-eks-1552ad0, v1.29.3+k3s1, 1.30+. */}}
{{- define "tetherd.kubernetes" -}}
{{- regexFind "[0-9]+\\.[0-9]+" .Capabilities.KubeVersion.Version -}}.0
{{- end -}}

{{- define "tetherd.isOpenshift" -}}
{{- $has := .Capabilities.APIVersions -}}
{{- $group := "security.openshift.io/v1" -}}
{{- $found := or ($has.Has $group) ($has.Has (printf "%s/SecurityContextConstraints" $group)) -}}
{{- if ternary $found (eq (toString .Values.openshift) "true") (eq (toString .Values.openshift) "auto") -}}true{{- end -}}
{{- end -}}

{{/* The user of a container. OpenShift gives each namespace a range of its own, and refuses any other. */}}
{{- define "tetherd.user" -}}
runAsNonRoot: true
{{- if not (include "tetherd.isOpenshift" .) }}
runAsUser: 65532
runAsGroup: 65532
{{- end }}
{{- end -}}

{{/* Seconds for the hook of the gateway that sleeps; Kubernetes 1.29 refuses pods that have it. */}}
{{- define "tetherd.preStopSeconds" -}}
{{- if semverCompare ">=1.30.0" (include "tetherd.kubernetes" .) -}}
{{- int64 .Values.gateway.preStopSeconds -}}
{{- else -}}0{{- end -}}
{{- end -}}
