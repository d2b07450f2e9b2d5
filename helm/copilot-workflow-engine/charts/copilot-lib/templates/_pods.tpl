{{/* What every pod has in common. `user`, `group`: ids, 1000 where not given */}}
{{- define "copilot-lib.pod" -}}
{{- $global := include "copilot-lib.global" . | fromYaml -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $global.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 1000 }}
  runAsGroup: {{ .group | default .user | default 1000 }}
  fsGroup: {{ .group | default .user | default 1000 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "copilot-lib.container-security" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 1000 }}
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop:
      - ALL
{{- end }}

{{/* The certificates of global.caConfigMap, for whoever calls PostgreSQL or Redis; nothing, where none is named. */}}
{{- define "copilot-lib.ca-mount" -}}
{{- if (include "copilot-lib.global" . | fromYaml).caConfigMap -}}
- name: ca
  mountPath: /etc/copilot-ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "copilot-lib.ca-volume" -}}
{{- with (include "copilot-lib.global" . | fromYaml).caConfigMap -}}
- name: ca
  configMap:
    name: {{ . }}
{{- end }}
{{- end }}

{{/* Where the operator wants the pods: `values` */}}
{{- define "copilot-lib.placement" -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with index $.values $field }}
{{ dict $field . | toYaml }}
{{- end }}
{{- end }}
{{- end }}

{{/* Over nodes and zones, as far as there are some */}}
{{- define "copilot-lib.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        app: {{ $.app }}
  {{- end }}
{{- end }}

{{/* `probe`: its path and its times; `port` */}}
{{- define "copilot-lib.http-probe" -}}
httpGet:
  path: {{ .probe.path }}
  port: {{ .port }}
{{ omit .probe "path" | toYaml }}
{{- end }}
