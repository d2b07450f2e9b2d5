{{/* Every template here takes a dict: `root` (the chart's own `.`), and what it names besides. */}}

{{/* The values under `global`, the defaults of this chart included. Use: include … | fromYaml */}}
{{- define "copilot-lib.global" -}}
{{ toYaml (index .root.Values "copilot-lib" "global") }}
{{- end }}

{{/* Labels of an object; `app` as the deployment guide has it, whatever the release is called. */}}
{{- define "copilot-lib.labels" -}}
app: {{ .app }}
{{ include "copilot-lib.pod-labels" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Those of a pod, beside `app`: nothing that changes with a chart's version, lest every upgrade restarts it. */}}
{{- define "copilot-lib.pod-labels" -}}
app.kubernetes.io/name: {{ .app }}
app.kubernetes.io/part-of: llm-copilot-agent
{{- end }}

{{/* `app`, and `name` where it is not the same */}}
{{- define "copilot-lib.metadata" -}}
name: {{ .name | default .app }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "copilot-lib.labels" . | nindent 2 }}
{{- end }}

{{/* Of one of our own images: `image` */}}
{{- define "copilot-lib.image" -}}
{{- $global := include "copilot-lib.global" . | fromYaml -}}
{{ $global.image.registry }}/{{ .image }}:{{ $global.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "copilot-lib.secret" -}}
{{- $global := include "copilot-lib.global" . | fromYaml -}}
{{ $global.existingSecret | default "copilot-secrets" }}
{{- end }}

{{- define "copilot-lib.operator-secret" -}}
{{- $global := include "copilot-lib.global" . | fromYaml -}}
{{ $global.existingOperatorSecret | default "copilot-operator" }}
{{- end }}

{{/* Not empty where ServiceMonitors and PrometheusRules are to be made */}}
{{- define "copilot-lib.monitored" -}}
{{- $wanted := (include "copilot-lib.global" . | fromYaml).monitoring.objects -}}
{{- $known := .root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{- if or (eq $wanted "always") (and (eq $wanted "auto") $known) }}true{{ end }}
{{- end }}
