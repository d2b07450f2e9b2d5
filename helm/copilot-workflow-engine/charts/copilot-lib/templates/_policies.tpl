{{/* Both ways for the pods of `app`: `ingress`, `egress` are YAML lists of rules; none of them: nothing passes. */}}
{{- define "copilot-lib.policy" -}}
{{- $global := include "copilot-lib.global" . | fromYaml -}}
{{- if $global.networkPolicy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "copilot-lib.metadata" (merge (dict "name" .policy) .) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      app: {{ .app }}
  policyTypes:
    - Ingress
    - Egress
  ingress:
    {{- .ingress | default "[]" | trim | nindent 4 }}
  egress:
    {{- .egress | default "[]" | trim | nindent 4 }}
{{- end }}
{{- end }}

{{/* From the pods of `apps` to `port` */}}
{{- define "copilot-lib.from-apps" -}}
- from:
    - podSelector:
        matchExpressions:
          - key: app
            operator: In
            values: {{ .apps | toJson }}
  ports:
    - protocol: TCP
      port: {{ .port }}
{{- end }}

{{/* From the namespace that `namespace` of the network policies' values describes, to `port` */}}
{{- define "copilot-lib.from-namespace" -}}
- from:
    - namespaceSelector:
        matchLabels:
          {{- index (include "copilot-lib.global" . | fromYaml).networkPolicy .namespace | toYaml | nindent 10 }}
  ports:
    - protocol: TCP
      port: {{ .port }}
{{- end }}

{{- define "copilot-lib.to-dns" -}}
{{- $policy := (include "copilot-lib.global" . | fromYaml).networkPolicy -}}
- to:
    - namespaceSelector:
        matchLabels:
          {{- toYaml $policy.dnsNamespace | nindent 10 }}
    {{- range $policy.dnsAddresses }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
{{- end }}

{{/* `store`: postgres, redis or collector */}}
{{- define "copilot-lib.to-store" -}}
{{- $store := index (include "copilot-lib.global" . | fromYaml).networkPolicy .store -}}
- to:
    {{- toYaml $store.to | nindent 4 }}
  ports:
    {{- range $store.ports }}
    - protocol: TCP
      port: {{ . }}
    {{- end }}
{{- end }}

{{/* The pods of one app: `to`, `port` */}}
{{- define "copilot-lib.to-app" -}}
- to:
    - podSelector:
        matchLabels:
          app: {{ .to }}
  ports:
    - protocol: TCP
      port: {{ .port }}
{{- end }}

{{/* Public addresses, at `ports` */}}
{{- define "copilot-lib.to-internet" -}}
{{- $policy := (include "copilot-lib.global" . | fromYaml).networkPolicy -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: {{ $policy.internetExcept | toJson }}
    - ipBlock:
        cidr: ::/0
        except: {{ $policy.internetExcept6 | toJson }}
  ports:
    {{- range .ports }}
    - protocol: TCP
      port: {{ . }}
    {{- end }}
{{- end }}

{{/* Of a service of ours: Prometheus, `helm test` and (`public`) the ingress come in; it reaches DNS, the stores, a collector, the internet. */}}
{{- define "copilot-lib.service-policy" -}}
{{- $ingress := list -}}
{{- if .public }}
{{- $ingress = append $ingress (include "copilot-lib.from-namespace" (merge (dict "namespace" "ingressNamespace") .)) }}
{{- end }}
{{- $ingress = append $ingress (include "copilot-lib.from-namespace" (merge (dict "namespace" "monitoringNamespace") .)) }}
{{- $ingress = append $ingress (include "copilot-lib.from-apps" (dict "apps" (list (printf "%s-test" .app)) "port" .port)) }}
{{- $egress := list (include "copilot-lib.to-dns" .) }}
{{- range $store := list "postgres" "redis" }}
{{- $egress = append $egress (include "copilot-lib.to-store" (merge (dict "store" $store) $)) }}
{{- end }}
{{- if (include "copilot-lib.global" . | fromYaml).networkPolicy.collector.to }}
{{- $egress = append $egress (include "copilot-lib.to-store" (merge (dict "store" "collector") .)) }}
{{- end }}
{{- $egress = append $egress (include "copilot-lib.to-internet" (merge (dict "ports" .values.internetPorts) .)) }}
{{- with .values.extraIngress }}{{ $ingress = append $ingress (toYaml .) }}{{ end }}
{{- with .values.extraEgress }}{{ $egress = append $egress (toYaml .) }}{{ end }}
{{- include "copilot-lib.policy" (merge (dict "ingress" (join "\n" $ingress) "egress" (join "\n" $egress)) .) }}
{{- end }}
