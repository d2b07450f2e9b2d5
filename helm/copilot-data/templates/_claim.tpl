{{/* A claim that outlives the release: `helm uninstall` deletes no data. */}}
{{- define "copilot-data.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "copilot-lib.metadata" (merge (dict "name" .name) .unit) | nindent 2 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  accessModes: [ReadWriteOnce]
  {{- with .values.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .values.storage }}
{{- end }}
