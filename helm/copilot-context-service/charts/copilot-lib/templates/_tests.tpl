{{/* `helm test`: one request to this service's readiness, from a pod that may reach nothing else. */}}
{{- define "copilot-lib.service-test" -}}
{{- $test := merge (dict "app" (printf "%s-test" .app)) . -}}
{{- $url := printf "http://%s.%s.svc:%v/health/ready" .app .root.Release.Namespace .servicePort -}}
apiVersion: v1
kind: Pod
metadata:
  {{- include "copilot-lib.metadata" $test | nindent 2 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 60
  {{- include "copilot-lib.pod" . | nindent 2 }}
  containers:
    - name: test
      image: {{ include "copilot-lib.image" . }}
      imagePullPolicy: {{ (include "copilot-lib.global" . | fromYaml).image.pullPolicy }}
      command:
        - python
        - -c
        - import urllib.request; print(urllib.request.urlopen({{ $url | squote }}, timeout=10).read().decode())
      {{- include "copilot-lib.container-security" . | nindent 6 }}
      resources:
        {{- include "copilot-lib.small-resources" . | nindent 8 }}
---
{{ include "copilot-lib.policy" (merge (dict
  "policy" (printf "%s-test-policy" .app)
  "egress" (printf "%s\n%s" (include "copilot-lib.to-dns" .) (include "copilot-lib.to-app" (dict "to" .app "port" .port)))
) $test) }}
{{- end }}

{{/* Of a pod that makes one request */}}
{{- define "copilot-lib.small-resources" -}}
requests:
  memory: 64Mi
  cpu: 50m
limits:
  memory: 256Mi
  cpu: 500m
{{- end }}
