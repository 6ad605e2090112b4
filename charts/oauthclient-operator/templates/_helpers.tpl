{{- define "oauthclient.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "oauthclient.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "oauthclient.serviceAccount" -}}
{{- default (include "oauthclient.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- /* Names of the guard's policies: each installation in a cluster has its own. */ -}}
{{- define "oauthclient.guard" -}}
{{- if eq (include "oauthclient.fullname" .) "oauthclient-operator" }}oauthclient-guard{{ else }}{{ include "oauthclient.fullname" . }}-guard{{ end }}
{{- end }}

{{- define "oauthclient.selectorLabels" -}}
app.kubernetes.io/name: {{ include "oauthclient.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* No version in them: what an upgrade does not change, it does not write. */ -}}
{{- define "oauthclient.labels" -}}
{{ include "oauthclient.selectorLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "oauthclient.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The restricted Pod Security profile and a read-only root; nothing here is for anybody to loosen. */ -}}
{{- define "oauthclient.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
# Volumes of extraVolumes are this group's.
fsGroup: {{ int64 . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "oauthclient.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "oauthclient.args" -}}
- --listen={{ .Values.listenAddress }}:8080
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
{{- range .Values.workloadKinds }}
- --workload-kind={{ . }}
{{- end }}
- --retention-days={{ int64 .Values.retentionDays }}
- --lease-duration={{ int64 .Values.leaseDurationSeconds }}
- --stop-within={{ sub (int64 .Values.terminationGracePeriodSeconds) 5 }}
- --audit-log={{ .Values.auditLog }}
{{- with .Values.traces.endpoint }}
- --otlp-endpoint={{ . }}
{{- end }}
- --log={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* "true" where the API server itself writes down who asks (Kubernetes 1.36 and newer). */ -}}
{{- define "oauthclient.mutating" -}}
{{- if eq (toString .Values.admission.mutating) "auto" }}
{{- and (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") }}
{{- else }}
{{- .Values.admission.mutating }}
{{- end }}
{{- end }}

{{- /* What the guard says of a client that lives. */ -}}
{{- define "oauthclient.lives" -}}
messageExpression: >-
  'the client of OAuthClient ' + params.spec.clientRef.namespace + '/' + params.spec.clientRef.name +
  ' is not revoked, and without this it could not be: delete the OAuthClients first; ' +
  'kubectl -n {{ .Release.Namespace }} get clientregistrations lists what lives'
{{- end }}
