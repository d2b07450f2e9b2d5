{{/* A value as an environment variable has it. YAML's numbers are floats here: 50000000 would become 5e+07. */}}
{{- define "copilot-platform.text" -}}
{{- if and (kindIs "float64" .) (eq (toString (floor .)) (toString .)) }}{{ printf "%.0f" . | quote }}{{ else }}{{ toString . | quote }}{{ end }}
{{- end }}

{{/* Not empty where a Secret is this chart's to make: `root`; `existing`, the operator's own instead */}}
{{- define "copilot-platform.own-secret" -}}
{{- if not (or .existing .root.Values.externalSecrets.enabled) }}true{{ end }}
{{- end }}
