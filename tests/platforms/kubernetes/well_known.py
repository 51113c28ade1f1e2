"""Manifests to the shape of well-known charts, reduced to what servers default, convert or reorder in them.

Written by hand. `NS` is the namespace of a test, which also makes names without a namespace unique.
"""

from typing import Any

import yaml

_TEXT = """
# ingress-nginx
{kind: IngressClass, apiVersion: networking.k8s.io/v1, metadata: {name: nginx-NS}, spec: {controller: k8s.io/ingress-nginx}}
---
kind: Deployment
apiVersion: apps/v1
metadata: {name: ingress-nginx-controller, labels: {app.kubernetes.io/name: ingress-nginx}}
spec:
  minReadySeconds: 0
  revisionHistoryLimit: 10
  selector: {matchLabels: {app.kubernetes.io/name: ingress-nginx}}
  template:
    metadata: {labels: {app.kubernetes.io/name: ingress-nginx}}
    spec:
      dnsPolicy: ClusterFirst
      nodeSelector: {kubernetes.io/os: linux}
      terminationGracePeriodSeconds: 300
      containers:
      - name: controller
        image: registry.k8s.io/ingress-nginx/controller:v1.12.0@sha256:e6b8de175acda6ca913891f0f727bca4527e797d52688cbe9fec9040d6f6b6fa
        args: [/nginx-ingress-controller, --election-id=ingress-nginx-leader]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: LD_PRELOAD, value: /usr/local/lib/libmimalloc.so}
        lifecycle: {preStop: {exec: {command: [/wait-shutdown]}}}
        livenessProbe: {failureThreshold: 5, httpGet: {path: /healthz, port: 10254, scheme: HTTP}}
        ports: [{name: http, containerPort: 80}, {name: https, containerPort: 443, protocol: TCP}]
        resources: {requests: {cpu: 100m, memory: 90Mi}}
        securityContext: {runAsUser: 101, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
---
kind: Service
apiVersion: v1
metadata: {name: ingress-nginx-controller}
spec:
  type: LoadBalancer
  ipFamilyPolicy: SingleStack
  ports:
  - {name: http, port: 80, targetPort: http, appProtocol: http}
  - {name: https, port: 443, targetPort: https, protocol: TCP}
  selector: {app.kubernetes.io/name: ingress-nginx}
---
# cert-manager
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: cert-manager-NS, labels: {aggregate-to-NS: "true"}}
rules:
- {apiGroups: [cert-manager.io], resources: [certificates, certificates/status], verbs: [update, patch]}
- {nonResourceURLs: [/metrics], verbs: [get]}
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: cert-manager-view-NS}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {aggregate-to-NS: "true"}}]}
rules: []
---
kind: ValidatingWebhookConfiguration
apiVersion: admissionregistration.k8s.io/v1
metadata: {name: cert-manager-NS}
webhooks:
- name: webhook.cert-manager.io
  admissionReviewVersions: [v1]
  sideEffects: None
  namespaceSelector: {matchExpressions: [{key: none-NS, operator: Exists}]}
  clientConfig: {service: {name: cert-manager-webhook, namespace: NS, path: /validate}}
  rules: [{apiGroups: [cert-manager.io], apiVersions: [v1], operations: [CREATE], resources: [certificates]}]
---
kind: CustomResourceDefinition
apiVersion: apiextensions.k8s.io/v1
metadata: {name: certificates.NS.cert-manager.io}
spec:
  group: NS.cert-manager.io
  scope: Namespaced
  names: {kind: Certificate, plural: certificates, shortNames: [cert]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Ready, type: string, jsonPath: .status.ready}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              secretName: {type: string}
              revisionHistoryLimit: {type: integer, default: 1}
              duration: {type: string}
              dnsNames: {type: array, items: {type: string}, x-kubernetes-list-type: set}
              issuerRef: {type: object, properties: {name: {type: string}, kind: {type: string, default: Issuer}}}
              usages: {type: array, items: {type: object, properties: {name: {type: string}, critical: {type: boolean, default: false}}}}
          status: {type: object, properties: {ready: {type: string}}}
---
kind: Certificate
apiVersion: NS.cert-manager.io/v1
metadata: {name: web}
spec: {secretName: web-tls, dnsNames: [b.example.com, a.example.com], issuerRef: {name: letsencrypt}, usages: [{name: any}]}
---
# prometheus
kind: StatefulSet
apiVersion: apps/v1
metadata: {name: prometheus-server}
spec:
  serviceName: prometheus-headless
  podManagementPolicy: OrderedReady
  replicas: 1
  selector: {matchLabels: {app: prometheus}}
  volumeClaimTemplates:
  - {metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: "8Gi"}}}}
  template:
    metadata: {labels: {app: prometheus}}
    spec:
      enableServiceLinks: true
      securityContext: {fsGroup: 65534, runAsNonRoot: true, runAsUser: 65534}
      initContainers: [{name: init, image: "busybox:1", command: [sh, -c, "true"]}]
      containers:
      - name: prometheus
        image: prom/prometheus:v3.0.1
        readinessProbe: {httpGet: {path: /-/ready, port: 9090}, initialDelaySeconds: 30, timeoutSeconds: 4}
        volumeMounts: [{name: data, mountPath: /data, subPath: ""}, {name: config, mountPath: /etc/config}]
      volumes: [{name: config, configMap: {name: prometheus-server}}]
---
kind: ConfigMap
apiVersion: v1
metadata: {name: prometheus-server}
data: {prometheus.yml: "global:\\n  scrape_interval: 1m\\n", alerts: "{}\\n"}
---
# grafana
{kind: Secret, apiVersion: v1, metadata: {name: grafana}, type: Opaque, stringData: {admin-user: admin}, data: {admin-password: c2VjcmV0}}
---
kind: Ingress
apiVersion: networking.k8s.io/v1
metadata: {name: grafana, annotations: {nginx.ingress.kubernetes.io/rewrite-target: /}}
spec:
  ingressClassName: nginx-NS
  tls: [{hosts: [grafana.example.com], secretName: grafana-tls}]
  rules:
  - {host: grafana.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: grafana, port: {name: http}}}}]}}
---
# redis, postgresql
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: redis}
spec:
  podSelector: {matchLabels: {app: redis}}
  policyTypes: [Ingress, Egress]
  egress: [{}]
  ingress: [{ports: [{port: 6379}], from: [{podSelector: {matchLabels: {redis-client: "true"}}}]}]
---
{kind: PodDisruptionBudget, apiVersion: policy/v1, metadata: {name: postgresql}, spec: {maxUnavailable: 1, selector: {matchLabels: {app: postgresql}}}}
---
{kind: Service, apiVersion: v1, metadata: {name: postgresql-hl}, spec: {clusterIP: None, publishNotReadyAddresses: true, ports: [{name: tcp-postgresql, port: 5432, targetPort: tcp-postgresql}], selector: {app: postgresql}}}
---
# kube-state-metrics, metrics-server, external-dns
{kind: ServiceAccount, apiVersion: v1, metadata: {name: kube-state-metrics}, automountServiceAccountToken: false, imagePullSecrets: [{name: registry}]}
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: metrics-server-NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cert-manager-NS}
subjects: [{kind: ServiceAccount, name: kube-state-metrics, namespace: NS}, {kind: User, name: someone}]
---
kind: Deployment
apiVersion: apps/v1
metadata: {name: external-dns}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: external-dns}}
  template:
    metadata: {labels: {app: external-dns}, annotations: {checksum/config: abc}}
    spec:
      serviceAccountName: kube-state-metrics
      shareProcessNamespace: false
      containers: [{name: external-dns, image: "external-dns:v0.15.0", resources: {limits: {cpu: 0.5, memory: 1024Mi}}, tty: false}]
      affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: external-dns}}}}]}}
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: external-dns}}}]
---
# argocd, keda, external-secrets
{kind: HorizontalPodAutoscaler, apiVersion: autoscaling/v1, metadata: {name: argocd-server}, spec: {minReplicas: 1, maxReplicas: 5, targetCPUUtilizationPercentage: 50, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: argocd-server}}}
---
kind: HorizontalPodAutoscaler
apiVersion: autoscaling/v2
metadata: {name: keda}
spec:
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: keda-none}
  behavior: {scaleDown: {stabilizationWindowSeconds: 300}}
  metrics:
  - {type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 80}}}
  - {type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 1000m}}}
---
{kind: PriorityClass, apiVersion: scheduling.k8s.io/v1, metadata: {name: external-secrets-NS}, value: 1000, description: for secrets}
---
# istio gateway, fluent-bit, cluster-autoscaler
kind: DaemonSet
apiVersion: apps/v1
metadata: {name: fluent-bit}
spec:
  selector: {matchLabels: {app: fluent-bit}}
  updateStrategy: {rollingUpdate: {maxUnavailable: 10%}}
  template:
    metadata: {labels: {app: fluent-bit}}
    spec:
      hostNetwork: false
      tolerations: [{operator: Exists}]
      containers:
      - {name: fluent-bit, image: "fluent-bit:3.2", volumeMounts: [{name: token, mountPath: /token, readOnly: true}]}
      volumes: [{name: token, projected: {sources: [{serviceAccountToken: {path: token}}]}}]
---
kind: CronJob
apiVersion: batch/v1
metadata: {name: cluster-autoscaler-cleanup}
spec:
  schedule: "*/5 * * * *"
  suspend: true
  jobTemplate: {spec: {backoffLimit: 2, template: {spec: {restartPolicy: OnFailure, containers: [{name: a, image: a}]}}}}
---
{kind: StorageClass, apiVersion: storage.k8s.io/v1, metadata: {name: fast-NS}, provisioner: ebs.csi.aws.com, parameters: {type: gp3}}
---
# Gateway API
kind: CustomResourceDefinition
apiVersion: apiextensions.k8s.io/v1
metadata: {name: httproutes.NS.gateway.example.com}
spec:
  group: NS.gateway.example.com
  scope: Namespaced
  names: {kind: HTTPRoute, plural: httproutes}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              rules:
                type: array
                default: [{matches: [{path: {type: PathPrefix, value: /}}]}]
                items:
                  type: object
                  properties:
                    matches: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}}
                    backendRefs:
                      type: array
                      items: {type: object, properties: {name: {type: string}, port: {type: integer}, weight: {type: integer, default: 1}, group: {type: string, default: ""}, kind: {type: string, default: Service}}}
---
kind: HTTPRoute
apiVersion: NS.gateway.example.com/v1
metadata: {name: web}
spec: {rules: [{backendRefs: [{name: web, port: 80}, {name: canary, port: 80, weight: 0}]}]}
"""  # noqa: E501


def well_known(namespace: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(_TEXT.replace("NS", namespace)))
