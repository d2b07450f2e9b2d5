{{/* The container that dumps or archives: name, args, mounts (volume → path), values (with resources) */}}
{{- define "copilot-data.backup-container" -}}
name: {{ .name }}
image: {{ include "copilot-lib.image" . }}
imagePullPolicy: {{ (include "copilot-lib.global" . | fromYaml).image.pullPolicy }}
command: [copilot]
args:
  {{- toYaml .args | nindent 2 }}
env:
  - name: BACKUP_DATABASE_URL # copilot_backup: reads everything, changes nothing
    valueFrom:
      secretKeyRef:
        name: {{ include "copilot-lib.operator-secret" . }}
        key: BACKUP_DATABASE_URL
  {{- range $name := list "S3_ENDPOINT" "S3_REGION" "S3_PATH_STYLE" }}
  - name: {{ $name }}
    valueFrom:
      configMapKeyRef:
        name: copilot-config
        key: {{ $name }}
        optional: true
  {{- end }}
  {{- range $name := list "S3_ACCESS_KEY_ID" "S3_SECRET_ACCESS_KEY" }}
  - name: {{ $name }}
    valueFrom:
      secretKeyRef:
        name: {{ include "copilot-lib.secret" $ }}
        key: {{ $name }}
        optional: true
  {{- end }}
{{ include "copilot-lib.container-security" . }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with include "copilot-lib.ca-mount" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- range $name, $path := .mounts }}
  - name: {{ $name }}
    mountPath: {{ $path }}
  {{- end }}
{{- end }}

{{/* It calls PostgreSQL and an object store, and nobody calls it: `policy`, `extraEgress` */}}
{{- define "copilot-data.backup-policy" -}}
{{- $egress := list
  (include "copilot-lib.to-dns" .)
  (include "copilot-lib.to-store" (merge (dict "store" "postgres") .))
  (include "copilot-lib.to-internet" (merge (dict "ports" (list 443)) .))
}}
{{- with .extraEgress }}{{ $egress = append $egress (toYaml .) }}{{ end }}
{{- include "copilot-lib.policy" (merge (dict "egress" (join "\n" $egress)) .) }}
{{- end }}
