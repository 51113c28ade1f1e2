"""One manifest of each usual kind, written as users write them: with short forms and without defaults."""

from typing import Any

import yaml

_TEXT = """
kind: ServiceAccount
apiVersion: v1
metadata: {name: web}
---
kind: Role
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: web}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}
subjects: [{kind: ServiceAccount, name: web}]
---
kind: ConfigMap
apiVersion: v1
metadata: {name: settings}
data: {a: "1"}
---
kind: Secret
apiVersion: v1
metadata: {name: login}
stringData: {password: hunter2}
---
kind: Secret
apiVersion: v1
metadata: {name: tls}
type: kubernetes.io/tls
data: {tls.crt: YQ==, tls.key: Yg==}
---
kind: Service
apiVersion: v1
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
kind: Service
apiVersion: v1
metadata: {name: headless}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: a, port: 80}, {name: b, port: 81, protocol: UDP}]
---
kind: Deployment
apiVersion: apps/v1
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - name: web
        image: web
        ports: [{name: http, containerPort: 8080}]
        resources: {requests: {cpu: 0.1, memory: 1024Mi}, limits: {cpu: "1000m"}}
        env: [{name: A, value: ""}, {name: B, valueFrom: {secretKeyRef: {name: login, key: password}}}]
        readinessProbe: {httpGet: {port: http}}
        volumeMounts: [{name: settings, mountPath: /settings}]
      volumes: [{name: settings, configMap: {name: settings}}]
---
kind: StatefulSet
apiVersion: apps/v1
metadata: {name: db}
spec:
  serviceName: headless
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: "db:1"}]}
---
kind: DaemonSet
apiVersion: apps/v1
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: "agent:1"}], tolerations: [{operator: Exists}]}
---
kind: Job
apiVersion: batch/v1
metadata: {name: migrate}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: "migrate:1"}]}}}
---
kind: CronJob
apiVersion: batch/v1
metadata: {name: clean}
spec:
  schedule: "0 * * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: "clean:1"}]}}}}
---
kind: HorizontalPodAutoscaler
apiVersion: autoscaling/v2
metadata: {name: db}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: db}
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
kind: PodDisruptionBudget
apiVersion: policy/v1
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
kind: Ingress
apiVersion: networking.k8s.io/v1
metadata: {name: web}
spec:
  rules:
  - host: shop.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: web}
spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}
---
kind: PersistentVolumeClaim
apiVersion: v1
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
---
kind: LimitRange
apiVersion: v1
metadata: {name: limits}
spec: {limits: [{type: Container, defaultRequest: {cpu: 0.01}}]}
---
kind: ResourceQuota
apiVersion: v1
metadata: {name: quota}
spec: {hard: {pods: 100}}
"""
CORPUS: list[dict[str, Any]] = list(yaml.safe_load_all(_TEXT))
