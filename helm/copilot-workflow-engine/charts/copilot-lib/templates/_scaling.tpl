{{/* `extraMetrics`: YAML of more metrics than CPU and memory */}}
{{- define "copilot-lib.autoscaler" -}}
{{- $scaling := .values.autoscaling -}}
{{- if not (or $scaling.cpuPercent $scaling.memoryPercent .extraMetrics) }}
{{- fail (printf "%s is to be scaled by nothing: give autoscaling.cpuPercent or memoryPercent, or set autoscaling.enabled to false" .app) }}
{{- end -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "copilot-lib.metadata" (merge (dict "name" (printf "%s-hpa" .app)) .) | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ .app }}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    {{- range $name := list "cpu" "memory" }}
    {{- with index $scaling (printf "%sPercent" $name) }}
    - type: Resource
      resource:
        name: {{ $name }}
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
    {{- end }}
    {{- with .extraMetrics }}
    {{- . | nindent 4 }}
    {{- end }}
  {{- with $scaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
