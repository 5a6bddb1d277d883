{{/* A value as a literal of CEL. Its maps and lists have elements of one type: `dyn` makes them so. */}}
{{- define "tetherd.cel" -}}
{{- if kindIs "map" . -}}
{ {{- $first := true }}{{ range $key, $value := . }}{{ if not $first }}, {{ end }}{{ $first = false }}{{ toJson $key }}: dyn({{ include "tetherd.cel" $value }}){{ end -}} }
{{- else if kindIs "slice" . -}}
[ {{- range $index, $value := . }}{{ if $index }}, {{ end }}dyn({{ include "tetherd.cel" $value }}){{ end -}} ]
{{- else if kindIs "float64" . -}}
{{- int64 . -}}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* The newest version of the API that the cluster has. Without a cluster its version says which one that is. */}}
{{- define "tetherd.admissionApi" -}}
{{- $group := "admissionregistration.k8s.io" -}}
{{- $has := .Capabilities.APIVersions -}}
{{- $version := include "tetherd.kubernetes" . -}}
{{- if .Values.injection.apiVersion -}}
{{- .Values.injection.apiVersion -}}
{{- else if or ($has.Has (printf "%s/v1/MutatingAdmissionPolicy" $group)) (semverCompare ">=1.36.0" $version) -}}
{{ $group }}/v1
{{- else if or ($has.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group)) (semverCompare ">=1.34.0" $version) -}}
{{ $group }}/v1beta1
{{- else if or ($has.Has (printf "%s/v1alpha1/MutatingAdmissionPolicy" $group)) (semverCompare ">=1.32.0" $version) -}}
{{ $group }}/v1alpha1
{{- else -}}
{{- fail (printf "injection: Kubernetes %s has no MutatingAdmissionPolicy: 1.32 or newer is needed" $version) -}}
{{- end -}}
{{- end -}}
