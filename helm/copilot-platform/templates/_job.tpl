{{/*
A Job that Helm waits for, after the ConfigMap and the Secrets: app, weight (its place among such Jobs), command (a list),
operator, services (names of variables from the two Secrets). Its pod's log can be read for a week, or until the next one.
*/}}
{{- define "copilot-platform.job" -}}
{{- $migration := .root.Values.migration -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "copilot-lib.metadata" . | nindent 2 }}
  annotations:
    helm.sh/hook: post-install,post-upgrade
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: {{ $migration.backoffLimit }}
  activeDeadlineSeconds: {{ $migration.deadlineSeconds }}
  ttlSecondsAfterFinished: 604800
  template:
    metadata:
      labels:
        app: {{ .app }}
        {{- include "copilot-lib.pod-labels" . | nindent 8 }}
    spec:
      restartPolicy: Never
      {{- include "copilot-lib.pod" . | nindent 6 }}
      containers:
        - {{ include "copilot-platform.operator-container" . | nindent 10 | trim }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- with include "copilot-lib.ca-volume" . }}
        {{- . | nindent 8 }}
        {{- end }}
{{- end }}

{{/* Of the tools image, with what it needs of the Secrets and no more */}}
{{- define "copilot-platform.operator-container" -}}
name: {{ .app }}
image: {{ include "copilot-lib.image" (merge (dict "image" "tools") .) }}
imagePullPolicy: {{ (include "copilot-lib.global" . | fromYaml).image.pullPolicy }}
command:
  {{- toYaml .command | nindent 2 }}
env:
  {{- range .operator }}
  - name: {{ . }}
    valueFrom:
      secretKeyRef:
        name: {{ include "copilot-lib.operator-secret" $ }}
        key: {{ . }}
        {{- if ne . "MIGRATION_DATABASE_URL" }}
        optional: true
        {{- end }}
  {{- end }}
  {{- range .services }}
  - name: {{ . }}
    valueFrom:
      secretKeyRef:
        name: {{ include "copilot-lib.secret" $ }}
        key: {{ . }}
  {{- end }}
{{ include "copilot-lib.container-security" . }}
resources:
  {{- toYaml .root.Values.migration.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with include "copilot-lib.ca-mount" . }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* It calls PostgreSQL, and nobody calls it */}}
{{- define "copilot-platform.operator-policy" -}}
{{- $egress := printf "%s\n%s" (include "copilot-lib.to-dns" .) (include "copilot-lib.to-store" (merge (dict "store" "postgres") .)) -}}
{{- include "copilot-lib.policy" (merge (dict "policy" (printf "%s-policy" .app) "egress" $egress) .) }}
{{- end }}
