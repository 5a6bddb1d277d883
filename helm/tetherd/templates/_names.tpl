{{/* Names, labels and the image. Every template takes the chart's own context: `.` here, `.Subcharts.tetherd` in a chart that depends on it. */}}

{{/* As a label may be: no plus, as versions with build metadata have, and 63 characters. */}}
{{- define "tetherd.label" -}}
{{- . | replace "+" "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{- define "tetherd.name" -}}
{{- include "tetherd.label" (.Values.nameOverride | default .Chart.Name) -}}
{{- end -}}

{{/* Of the Services, too, whose names have no dots as that of a release may have. */}}
{{- define "tetherd.fullname" -}}
{{- $name := include "tetherd.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $name = .Release.Name -}}
{{- else -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- $name | replace "." "-" | trunc 48 | trimAll "-" -}}
{{- end -}}

{{- define "tetherd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tetherd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tetherd.labels" -}}
{{ include "tetherd.selectorLabels" . }}
app.kubernetes.io/version: {{ include "tetherd.label" .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ include "tetherd.label" (printf "%s-%s" .Chart.Name .Chart.Version) }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tetherd.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (.Chart.AppVersion | replace "+" "_" | trunc 128) }}
{{- end -}}
{{- end -}}

{{- define "tetherd.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tetherd.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}
