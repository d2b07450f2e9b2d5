{{/*
A service of ours: app, image, container, port, portVariable, values, command of its module.
Its pods, and the Service that Prometheus and `helm test` find them by.
*/}}
{{- define "copilot-lib.deployment" -}}
{{- $global := include "copilot-lib.global" . | fromYaml -}}
{{- $values := .values -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "copilot-lib.metadata" . | nindent 2 }}
spec:
  {{- /* Where an autoscaler rules, a number here would undo its work at every upgrade. */}}
  {{- if $values.replicas }}
  replicas: {{ $values.replicas }}
  {{- else if not $values.autoscaling.enabled }}
  replicas: {{ $values.autoscaling.minReplicas }}
  {{- end }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  selector:
    matchLabels:
      app: {{ .app }}
  template:
    metadata:
      labels:
        app: {{ .app }}
        {{- include "copilot-lib.pod-labels" . | nindent 8 }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "copilot-lib.pod" . | nindent 6 }}
      {{- /* 20 s: the last responses (3), then closing what is open, the pool's 5 the longest of it. */}}
      terminationGracePeriodSeconds: {{ add (int $values.preStopSeconds) (int $global.drainSeconds) 20 }}
      {{- include "copilot-lib.spread" . | nindent 6 }}
      {{- include "copilot-lib.placement" . | nindent 6 }}
      containers:
        - name: {{ .container }}
          image: {{ include "copilot-lib.image" . }}
          imagePullPolicy: {{ $global.image.pullPolicy }}
          ports:
            - name: http
              containerPort: {{ .port }}
          envFrom:
            - configMapRef:
                name: copilot-config
            - secretRef:
                name: {{ include "copilot-lib.secret" . }}
          env:
            - name: {{ .portVariable }}
              value: {{ .port | quote }}
            {{- with $values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- include "copilot-lib.container-security" . | nindent 10 }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          startupProbe:
            {{- include "copilot-lib.http-probe" (dict "probe" $values.probes.startup "port" .port) | nindent 12 }}
          livenessProbe:
            {{- include "copilot-lib.http-probe" (dict "probe" $values.probes.liveness "port" .port) | nindent 12 }}
          readinessProbe:
            {{- include "copilot-lib.http-probe" (dict "probe" $values.probes.readiness "port" .port) | nindent 12 }}
          {{- with $values.preStopSeconds }}
          lifecycle:
            preStop: # until no proxy sends requests here any more; the time counts as part of the grace period
              exec:
                command: [sleep, {{ . | quote }}]
          {{- end }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- with include "copilot-lib.ca-mount" . }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- with $values.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: {{ $global.tmpSize }}
        {{- with include "copilot-lib.ca-volume" . }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $values.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}

{{/* `servicePort`; `headless` for what nobody calls by its name */}}
{{- define "copilot-lib.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "copilot-lib.metadata" . | nindent 2 }}
spec:
  type: ClusterIP
  {{- if .headless }}
  clusterIP: None
  {{- end }}
  selector:
    app: {{ .app }}
  ports:
    - name: http
      port: {{ .servicePort }}
      targetPort: {{ .port }}
{{- end }}

{{- define "copilot-lib.disruption-budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "copilot-lib.metadata" (merge (dict "name" (printf "%s-pdb" .app)) .) | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      app: {{ .app }}
{{- end }}

{{/* `monitor`: its name */}}
{{- define "copilot-lib.service-monitor" -}}
{{- $global := include "copilot-lib.global" . | fromYaml -}}
{{- if include "copilot-lib.monitored" . -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "copilot-lib.metadata" (merge (dict "name" .monitor) .) | nindent 2 }}
    {{- with $global.monitoring.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      app: {{ .app }}
  endpoints:
    - port: http
      path: /metrics
      interval: 15s
{{- end }}
{{- end }}
