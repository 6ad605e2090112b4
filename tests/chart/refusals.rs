//! Values that are unknown or wrong are refused, and the refusal names them.

use crate::render;

#[rstest::rstest]
#[case("replica: 2", "replica")]
#[case("replicas: 0", "replicas")]
#[case("replicas: many", "replicas")]
#[case("image: {registry: r.example}", "registry")]
#[case("image: {repository: 'has space'}", "image.repository")]
#[case("image: {tag: ':latest'}", "image.tag")]
#[case("image: {digest: abc}", "image.digest")]
#[case("image: {pullPolicy: Sometimes}", "image.pullPolicy")]
#[case("imagePullSecrets: [regcred]", "imagePullSecrets.0")]
#[case("watchNamespaces: team-a", "watchNamespaces")]
#[case("watchNamespaces: [Team_A]", "watchNamespaces.0")]
#[case("watchNamespaces: [a, a]", "watchNamespaces")]
#[case("workloadKinds: [PipelineRun]", "workloadKinds.0")]
#[case("workloadKinds: [tekton.dev/v1/PipelineRun]", "workloadKinds.0")]
#[case("leaseDurationSeconds: 1", "leaseDurationSeconds")]
#[case("listenAddress: '127.0.0.1:80'", "listenAddress")]
#[case("retentionDays: -1", "retentionDays")]
#[case("retentionDays: 70000", "retentionDays")]
#[case("terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds")]
#[case("auditLog: audit.log", "auditLog")]
#[case("traces: {endpoint: 'collector:4318'}", "endpoint")]
#[case("traces: {endpoint: 'https://me:secret@collector'}", "endpoint")]
#[case("log: {format: xml}", "log.format")]
#[case("log: {level: 'in fo'}", "log.level")]
#[case("resources: {request: {cpu: 1}}", "request")]
#[case("resources: {limits: {memory: lots}}", "resources.limits.memory")]
#[case("runAsUser: 0", "runAsUser")]
#[case("podAnnotations: {a: 1}", "podAnnotations.a")]
#[case("tolerations: {key: a}", "tolerations")]
#[case("topologySpreadConstraints: zone", "topologySpreadConstraints")]
#[case("podDisruptionBudget: {maxUnavailable: half}", "podDisruptionBudget.maxUnavailable")]
#[case("networkPolicy: {enabled: 'yes'}", "networkPolicy.enabled")]
#[case("networkPolicy: {apiServer: {ports: [0]}}", "networkPolicy.apiServer.ports.0")]
#[case(
    "networkPolicy: {authorizationServers: {cidrs: [sso.corp.example]}}",
    "networkPolicy.authorizationServers.cidrs.0"
)]
#[case("serviceMonitor: {interval: often}", "serviceMonitor.interval")]
#[case("serviceMonitor: {enabled: true}\npodMonitor: {enabled: true}", "choose one")]
#[case("dashboard: {label: {}}", "label")]
#[case("admission: {mutating: maybe}", "admission.mutating")]
#[case("admission: {governence: false}", "governence")]
#[case("rbac: {clusterAdmin: true}", "clusterAdmin")]
#[case("serviceAccount: {name: Has_Capitals}", "serviceAccount.name")]
#[case("crds: {keep: false}", "keep")]
#[case("extraArgs: [info]", "extraArgs.0")]
#[case("extraEnv: [{value: x}]", "name")]
#[case("securityContext: {privileged: true}", "securityContext")]
#[case("podSecurityContext: {runAsNonRoot: false}", "podSecurityContext")]
#[case("insecureSkipTLSVerify: true", "insecureSkipTLSVerify")]
fn what_is_wrong_is_refused(#[case] values: &str, #[case] named: &str) {
    let said = render::text(values).expect_err(values);
    let path = said.replace('/', ".");
    assert!(path.contains(named), "{values}: {said}");
    assert!(said.len() < 600, "a page of text: {said}");
}
