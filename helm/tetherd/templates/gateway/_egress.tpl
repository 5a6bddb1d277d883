{{/* Whither the gateway may connect. */}}

{{/* The pods of `helm test`. */}}
{{- define "tetherd.testPods" -}}
- podSelector:
    matchLabels:
      {{- include "tetherd.selectorLabels" . | nindent 6 }}
      app.kubernetes.io/component: test
{{- end -}}

{{/* All addresses but those of metadata services, loopback, link-local and private networks. */}}
{{- define "tetherd.publicNetworks" -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except:
      - 10.0.0.0/8
      - 100.64.0.0/10
      - 127.0.0.0/8
      # Metadata of Azure and of Oracle Cloud, and that of the others.
      - 168.63.129.16/32
      - 169.254.0.0/16
      - 172.16.0.0/12
      - 192.0.0.192/32
      - 192.168.0.0/16
- ipBlock:
    cidr: ::/0
    except:
      - ::1/128
      # Metadata of AWS, Google Cloud and Scaleway is in it.
      - fc00::/7
      - fe80::/10
{{- end -}}

{{/* The port of `config.control_url`, which Headscale has its relay on, too. */}}
{{- define "tetherd.controlPort" -}}
{{- $url := .Values.config.control_url | default "https://controlplane.tailscale.com" | urlParse -}}
{{- $given := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $given | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- end -}}

{{- define "tetherd.egress" -}}
{{- $egress := .Values.gateway.networkPolicy.egress -}}
egress:
  # Names, also where a cache of the node answers at a link-local address.
  - ports:
      - {port: 53, protocol: UDP}
      - {port: 53, protocol: TCP}
  - to:
      {{- include "tetherd.publicNetworks" . | nindent 6 }}
    ports:
      # Peers have any port; STUN has 3478.
      - {port: 1, endPort: 65535, protocol: UDP}
      {{- if eq (.Values.config.direct | default "deny") "allow" }}
      # config.direct: targets outside the tailnet.
      - {port: 1, endPort: 65535, protocol: TCP}
      {{- else }}
      # Control server, relays, and the services that keep or make keys.
      {{- range list "80" "443" (include "tetherd.controlPort" .) | uniq }}
      - {port: {{ . }}, protocol: TCP}
      {{- end }}
      {{- end }}
  {{- with $egress.privateNetworks }}
  - to:
      {{- range . }}
      - ipBlock:
          cidr: {{ . }}
      {{- end }}
  {{- end }}
  {{- if .Values.auth.secretsManager.secret }}
  # Credentials of EKS pod identity, and nothing else of the node's.
  - to:
      - ipBlock:
          cidr: 169.254.170.23/32
      - ipBlock:
          cidr: fd00:ec2::23/128
    ports:
      - {port: 80, protocol: TCP}
  {{- end }}
  {{- with $egress.rules }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
