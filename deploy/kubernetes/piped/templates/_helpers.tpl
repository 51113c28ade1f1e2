{{- define "piped.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "piped" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-piped" .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "piped.selector" -}}
app.kubernetes.io/name: piped
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "piped.labels" -}}
{{ include "piped.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: pipecd
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "piped.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "piped.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "piped.image" -}}
{{- $repository := .Values.image.repository -}}
{{- if .Values.launcher.enabled -}}
{{- $repository = .Values.launcher.image.repository -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default (printf "v%s" .Chart.AppVersion)) -}}
{{- end -}}
{{- end -}}

{{- /* The configuration's source outside of the cluster, if any. */ -}}
{{- define "piped.remoteConfig" -}}
{{- with .Values.config -}}
{{- compact (list .awsSecret .awsSsmParameter .gcpSecret (ternary "git" "" $.Values.launcher.configFromGitRepo.enabled)) | join " " -}}
{{- end -}}
{{- end -}}

{{- define "piped.configName" -}}
{{- ternary (printf "%s-config" (include "piped.fullname" .)) .Values.config.name .Values.config.create -}}
{{- end -}}

{{- define "piped.secretName" -}}
{{- if .Values.secret.create -}}
{{- if .Values.secret.data -}}{{- printf "%s-secret" (include "piped.fullname" .) -}}{{- end -}}
{{- else -}}
{{- .Values.secret.name -}}
{{- end -}}
{{- end -}}

{{- /* What a schema cannot say. Included by the Deployment. */ -}}
{{- define "piped.check" -}}
{{- $launcher := .Values.launcher -}}
{{- if and $launcher.enabled (not $launcher.image.repository) -}}
{{- fail "launcher.image.repository is empty: build and push the image `launcher` (see deploy/docker/README.md) and name it here" -}}
{{- else if and (not $launcher.enabled) (not .Values.image.repository) -}}
{{- fail "image.repository is empty: build and push the image `piped` (see deploy/docker/README.md) and name it here" -}}
{{- end -}}
{{- if and $launcher.configFromGitRepo.enabled (not $launcher.enabled) -}}
{{- fail "launcher.configFromGitRepo requires launcher.enabled=true: only the launcher reads the configuration from Git" -}}
{{- end -}}
{{- if $launcher.configFromGitRepo.enabled -}}
{{- range $key := list "repoUrl" "branch" "configFile" -}}
{{- if not (index $launcher.configFromGitRepo $key) -}}
{{- fail (printf "launcher.configFromGitRepo.%s is empty: set it, or disable launcher.configFromGitRepo" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $remote := include "piped.remoteConfig" . -}}
{{- if contains " " $remote -}}
{{- fail "only one of config.awsSecret, config.awsSsmParameter, config.gcpSecret and launcher.configFromGitRepo can be set" -}}
{{- end -}}
{{- if $remote -}}
{{- if .Values.config.data -}}
{{- fail "config.data is set, and another source of the configuration too: remove one of them" -}}
{{- end -}}
{{- else if not .Values.config.create -}}
{{- if not .Values.config.name -}}
{{- fail "config.name is empty: name the Secret or ConfigMap with the configuration, or set config.create=true" -}}
{{- end -}}
{{- else if not .Values.config.data -}}
{{- fail "config.data is empty: add --set-file config.data=piped.yaml, or name an existing object with config.create=false and config.name" -}}
{{- else -}}
{{- $document := fromYaml .Values.config.data -}}
{{- if hasKey $document "Error" -}}
{{- fail (printf "config.data is not valid YAML: %s" $document.Error) -}}
{{- else if ne (toString $document.kind) "Piped" -}}
{{- fail (printf "config.data has the kind %v, but must be the agent's configuration file, with kind: Piped" $document.kind) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.args.addLoginUserToPasswd .Values.containerSecurityContext.readOnlyRootFilesystem -}}
{{- fail "args.addLoginUserToPasswd writes /etc/passwd: set containerSecurityContext.readOnlyRootFilesystem=false" -}}
{{- end -}}
{{- end -}}

{{- define "piped.arguments" -}}
{{- $values := .Values -}}
{{- $launcher := .Values.launcher -}}
- {{ ternary "launcher" "piped" $launcher.enabled }}
{{- if $launcher.configFromGitRepo.enabled }}
- --config-from-git-repo=true
- {{ printf "--git-repo-url=%s" $launcher.configFromGitRepo.repoUrl | quote }}
- {{ printf "--git-branch=%s" $launcher.configFromGitRepo.branch | quote }}
- {{ printf "--git-piped-config-file=%s" $launcher.configFromGitRepo.configFile | quote }}
{{- with $launcher.configFromGitRepo.sshKeyFile }}
- {{ printf "--git-ssh-key-file=%s" . | quote }}
{{- end }}
{{- else if $values.config.awsSecret }}
{{- if $launcher.enabled }}
- --config-from-aws-secret=true
- {{ printf "--aws-secret-id=%s" $values.config.awsSecret | quote }}
{{- else }}
- {{ printf "--config-aws-secret=%s" $values.config.awsSecret | quote }}
{{- end }}
{{- else if $values.config.awsSsmParameter }}
{{- if $launcher.enabled }}
- --config-from-aws-ssm-parameter-store=true
- {{ printf "--aws-ssm-parameter=%s" $values.config.awsSsmParameter | quote }}
{{- else }}
- {{ printf "--config-aws-ssm-parameter=%s" $values.config.awsSsmParameter | quote }}
{{- end }}
{{- else if $values.config.gcpSecret }}
{{- if $launcher.enabled }}
- --config-from-gcp-secret=true
- {{ printf "--gcp-secret-id=%s" $values.config.gcpSecret | quote }}
{{- else }}
- {{ printf "--config-gcp-secret=%s" $values.config.gcpSecret | quote }}
{{- end }}
{{- else }}
- {{ printf "--config-file=/etc/piped-config/%s" $values.config.fileName | quote }}
{{- end }}
{{- if $launcher.enabled }}
{{- with $launcher.releases }}
- {{ printf "--releases=%s" . | quote }}
{{- end }}
{{- with $launcher.releaseKeyFile }}
- {{ printf "--release-key-file=%s" . | quote }}
{{- end }}
{{- with $launcher.defaultVersion }}
- {{ printf "--default-version=%s" . | quote }}
{{- end }}
{{- end }}
{{- if $values.args.insecure }}
- --insecure=true
{{- end }}
{{- with $values.args.certFile }}
- {{ printf "--cert-file=%s" . | quote }}
{{- end }}
- --enable-default-kubernetes-cloud-provider={{ $values.args.enableDefaultKubernetesCloudProvider }}
- --tools-dir=/var/lib/piped-tools
- --admin-host=0.0.0.0
- --admin-port=9085
- --grace-period={{ $values.args.gracePeriod }}s
- --log-encoding={{ $values.args.logEncoding }}
- --log-level={{ $values.args.logLevel }}
{{- if $values.args.addLoginUserToPasswd }}
- --add-login-user-to-passwd=true
{{- end }}
{{- range $values.args.extra }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- /* What the agent needs in a namespace. The verbs are those of pipecd.platforms.kubernetes.permissions. */ -}}
{{- define "piped.rules" -}}
# What applications contain.
- apiGroups: [""]
  resources: [configmaps, secrets, services, serviceaccounts, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, update, delete]
# Traffic routing.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [networking.istio.io]
  resources: [virtualservices, destinationrules]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [split.smi-spec.io]
  resources: [trafficsplits]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
# The live state, and the reasons of failed rollouts.
- apiGroups: [""]
  resources: [pods, pods/log, events]
  verbs: [get, list, watch]
# Those of a Deployment that is created again are labelled, and deleted later.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, watch, patch, delete]
{{- if eq .Values.rbac.scope "cluster" }}
# Applications may create their namespaces. Deleting one is left to people.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch, create, patch, update]
{{- end }}
{{- end -}}
