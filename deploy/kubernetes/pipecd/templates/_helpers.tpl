{{- define "pipecd.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "pipecd" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-pipecd" .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "pipecd.selector" -}}
app.kubernetes.io/name: pipecd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pipecd.labels" -}}
{{ include "pipecd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: pipecd
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "pipecd.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "pipecd.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "pipecd.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default (printf "v%s" .Chart.AppVersion)) -}}
{{- end -}}
{{- end -}}

{{- define "pipecd.configName" -}}
{{- ternary (printf "%s-config" (include "pipecd.fullname" .)) .Values.config.name .Values.config.create -}}
{{- end -}}

{{- define "pipecd.secretName" -}}
{{- ternary (printf "%s-secret" (include "pipecd.fullname" .)) .Values.secret.name .Values.secret.create -}}
{{- end -}}

{{- /* What a schema cannot say. Included by the Deployment. */ -}}
{{- define "pipecd.check" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is empty: build and push the image `controlplane` (see deploy/docker/README.md) and name it here" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) .Values.persistence.enabled -}}
{{- fail (printf "replicas is %d, but servers with a volume cannot share it: use PostgreSQL and a bucket with persistence.enabled=false, or set replicas to 1" (int .Values.replicas)) -}}
{{- end -}}
{{- if and .Values.secret.create (not (index .Values.secret.data "encryption-key")) -}}
{{- fail "secret.data.encryption-key is missing: create the key with `openssl rand -base64 64 > encryption-key` and add --set-file secret.data.encryption-key=encryption-key, or name an existing Secret with secret.create=false and secret.name" -}}
{{- else if and (not .Values.secret.create) (not .Values.secret.name) -}}
{{- fail "secret.name is empty: name the Secret with the key encryption-key, or set secret.create=true" -}}
{{- end -}}
{{- if not .Values.config.create -}}
{{- if not .Values.config.name -}}
{{- fail "config.name is empty: name the Secret with the key control-plane.yaml, or set config.create=true" -}}
{{- end -}}
{{- else if not .Values.config.data -}}
{{- fail "config.data is empty: add --set-file config.data=control-plane.yaml, or name an existing Secret with config.create=false and config.name" -}}
{{- else -}}
{{- $document := fromYaml .Values.config.data -}}
{{- if hasKey $document "Error" -}}
{{- fail (printf "config.data is not valid YAML: %s" $document.Error) -}}
{{- else if ne (toString $document.kind) "ControlPlane" -}}
{{- fail (printf "config.data has the kind %v, but must be the control plane's configuration file, with kind: ControlPlane" $document.kind) -}}
{{- end -}}
{{- if not .Values.persistence.enabled -}}
{{- range $key, $own := dict "datastore" "SQLITE" "filestore" "LOCAL" -}}
{{- $type := dig "spec" $key "type" $own $document -}}
{{- if eq (toString $type) $own -}}
{{- fail (printf "config.data: spec.%s.type is %s, which needs a volume: set persistence.enabled=true, or use %s" $key $own (ternary "POSTGRESQL" "S3, GCS or MINIO" (eq $key "datastore"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.gatewayAPI.enabled -}}
{{- fail "ingress.enabled and gatewayAPI.enabled are both set: choose one of them" -}}
{{- end -}}
{{- if and .Values.gatewayAPI.enabled (not .Values.gatewayAPI.parentRefs) -}}
{{- fail "gatewayAPI.parentRefs is empty: name the Gateway" -}}
{{- end -}}
{{- end -}}

{{- /* The host that people and agents connect to: the argument, or that of spec.address. */ -}}
{{- define "pipecd.host" -}}
{{- $host := .host -}}
{{- if and (not $host) .root.Values.config.create -}}
{{- $address := dig "spec" "address" "" (fromYaml .root.Values.config.data) -}}
{{- $host = (urlParse (toString $address)).hostname -}}
{{- end -}}
{{- if not $host -}}
{{- fail (printf "%s.host is empty, and spec.address of config.data has none: set one of them" .key) -}}
{{- end -}}
{{- $host -}}
{{- end -}}

{{- /* All gRPC services that are called from outside. */ -}}
{{- define "pipecd.grpcPaths" -}}
- /grpc.service.pipedservice.PipedService
- /grpc.service.apiservice.APIService
- /grpc.service.webservice.WebService
- /pipecd.v1.AgentService
- /pipecd.v1.ConsoleService
- /pipecd.v1.ProgramService
- /grpc.health.v1.Health
{{- end -}}
