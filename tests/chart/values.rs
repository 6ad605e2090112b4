//! Each value does what it says: what is rendered with it, and that there is none that nobody looks at.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::render::{self, CHART, name};

/// Values, an object (`Kind/name`), where in it, and what is there then; `null` where there must be nothing.
const TABLE: &[(&str, &str, &str, &str)] = &[
    (
        "nameOverride: other",
        "Deployment/oauthclient-operator-other",
        "/spec/selector/matchLabels/app.kubernetes.io~1name",
        "other",
    ),
    ("fullnameOverride: other", "Deployment/other", "/spec/template/spec/serviceAccountName", "other"),
    ("fullnameOverride: other", "ClusterRoleBinding/other-tenants", "/roleRef/name", "other-tenants"),
    (
        "fullnameOverride: other",
        "ValidatingAdmissionPolicyBinding/other-guard-installation",
        "/spec/policyName",
        "other-guard-installation",
    ),
    (
        "fullnameOverride: other",
        "ValidatingAdmissionPolicy/other-guard-secrets",
        "/spec/matchConditions/1/expression",
        "request.userInfo.username != 'system:serviceaccount:oauthclient-system:other'",
    ),
    ("commonLabels: {team: a}", "ClusterRole/oauthclient-edit", "/metadata/labels/team", "a"),
    ("commonLabels: {team: a}", "Deployment/oauthclient-operator", "/spec/template/metadata/labels/team", "a"),
    ("", "Namespace/oauthclient-system", "", "null"),
    (
        "namespace: {create: true}",
        "Namespace/oauthclient-system",
        "/metadata/labels/pod-security.kubernetes.io~1enforce",
        "restricted",
    ),
    ("crds: {install: false}", "CustomResourceDefinition/oauthclients.oauthclient.dev", "", "null"),
    ("", "Deployment/oauthclient-operator", IMAGE, concat!("oauthclient-operator:", env!("CARGO_PKG_VERSION"))),
    ("image: {repository: r.example/a/b, tag: v2}", "Deployment/oauthclient-operator", IMAGE, "r.example/a/b:v2"),
    (
        "image: {repository: r.example/a/b, tag: v2}",
        "Pod/oauthclient-operator-ready",
        "/spec/containers/0/image",
        "r.example/a/b:v2",
    ),
    (
        concat!(
            "image: {tag: v2, digest: 'sha256:",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "'}"
        ),
        "Deployment/oauthclient-operator",
        IMAGE,
        concat!("oauthclient-operator@sha256:", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ),
    (
        "image: {pullPolicy: Always}",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/containers/0/imagePullPolicy",
        "Always",
    ),
    (
        "imagePullSecrets: [{name: reg}]",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/imagePullSecrets",
        "[{name: reg}]",
    ),
    ("imagePullSecrets: [{name: reg}]", "Pod/oauthclient-operator-ready", "/spec/imagePullSecrets", "[{name: reg}]"),
    ("", "Deployment/oauthclient-operator", "/spec/replicas", "2"),
    ("replicas: 3", "Deployment/oauthclient-operator", "/spec/replicas", "3"),
    ("revisionHistoryLimit: 1", "Deployment/oauthclient-operator", "/spec/revisionHistoryLimit", "1"),
    ("watchNamespaces: [a, b]", "Deployment/oauthclient-operator", ARGS, "--watch-namespaces=a,b"),
    (
        "watchNamespaces: [a, b]",
        "RoleBinding/b/oauthclient-operator-tenants",
        "/roleRef/name",
        "oauthclient-operator-tenants",
    ),
    ("watchNamespaces: ['1234']", "RoleBinding/1234/oauthclient-operator-tenants", "/kind", "RoleBinding"),
    ("watchNamespaces: [a, b]", "ClusterRoleBinding/oauthclient-operator-tenants", "", "null"),
    ("watchNamespaces: [a, b]", "ClusterRoleBinding/oauthclient-operator", "/roleRef/name", "oauthclient-operator"),
    (
        "watchNamespaces: [a, b]\nadmission: {mutating: true}",
        "MutatingAdmissionPolicy/oauthclient-revocation-finalizer",
        "/spec/matchConstraints/namespaceSelector/matchExpressions/0/values",
        "[a, b]",
    ),
    (
        "workloadKinds: [x.example/v1/Run/runs]",
        "Deployment/oauthclient-operator",
        ARGS,
        "--workload-kind=x.example/v1/Run/runs",
    ),
    (
        "workloadKinds: [x.example/v1/Run/runs]",
        "ClusterRole/oauthclient-operator-tenants",
        "/rules/5",
        "{apiGroups: [x.example], resources: [runs], verbs: [get, list, watch]}",
    ),
    ("auditLog: /audit/log.jsonl", "Deployment/oauthclient-operator", ARGS, "--audit-log=/audit/log.jsonl"),
    (
        "traces: {endpoint: 'http://collector.monitoring.svc:4318'}",
        "Deployment/oauthclient-operator",
        ARGS,
        "--otlp-endpoint=http://collector.monitoring.svc:4318",
    ),
    (
        "networkPolicy: {enabled: true}\ntraces: {endpoint: 'http://collector.monitoring.svc:4318'}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/egress/3",
        "{ports: [{protocol: TCP, port: 4318}]}",
    ),
    (
        "networkPolicy: {enabled: true}\ntraces: {endpoint: 'https://collector.example/otlp'}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/egress/3/ports/0/port",
        "443",
    ),
    ("listenAddress: '[::]'", "Deployment/oauthclient-operator", ARGS, "--listen=[::]:8080"),
    ("leaseDurationSeconds: 30", "Deployment/oauthclient-operator", ARGS, "--lease-duration=30"),
    ("retentionDays: 400", "Deployment/oauthclient-operator", ARGS, "--retention-days=400"),
    ("terminationGracePeriodSeconds: 60", "Deployment/oauthclient-operator", ARGS, "--stop-within=55"),
    (
        "terminationGracePeriodSeconds: 60",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/terminationGracePeriodSeconds",
        "60",
    ),
    (
        "log: {level: 'warn,oauthclient_operator=debug'}",
        "Deployment/oauthclient-operator",
        ARGS,
        "--log=warn,oauthclient_operator=debug",
    ),
    ("log: {format: text}", "Deployment/oauthclient-operator", ARGS, "--log-format=text"),
    (
        "resources: {limits: {memory: 1Gi}}",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/containers/0/resources/limits/memory",
        "1Gi",
    ),
    ("runAsUser: 1000", "Deployment/oauthclient-operator", "/spec/template/spec/securityContext/runAsGroup", "1000"),
    ("runAsUser: 1000", "Deployment/oauthclient-operator", "/spec/template/spec/securityContext/fsGroup", "1000"),
    ("runAsUser: null", "Deployment/oauthclient-operator", "/spec/template/spec/securityContext/runAsUser", "null"),
    ("runAsUser: null", "Deployment/oauthclient-operator", "/spec/template/spec/securityContext/runAsNonRoot", "true"),
    ("podAnnotations: {a: b}", "Deployment/oauthclient-operator", "/spec/template/metadata/annotations/a", "b"),
    ("podLabels: {a: b}", "Deployment/oauthclient-operator", "/spec/template/metadata/labels/a", "b"),
    ("nodeSelector: {disk: ssd}", "Deployment/oauthclient-operator", "/spec/template/spec/nodeSelector", "{disk: ssd}"),
    (
        "tolerations: [{key: a, operator: Exists}]",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/tolerations",
        "[{key: a, operator: Exists}]",
    ),
    (
        "affinity: {nodeAffinity: {}}",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/affinity",
        "{nodeAffinity: {}}",
    ),
    (
        "",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/topologySpreadConstraints/1/topologyKey",
        "topology.kubernetes.io/zone",
    ),
    (
        "topologySpreadConstraints: []",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/topologySpreadConstraints",
        "null",
    ),
    ("priorityClassName: high", "Deployment/oauthclient-operator", "/spec/template/spec/priorityClassName", "high"),
    ("podDisruptionBudget: {enabled: false}", "PodDisruptionBudget/oauthclient-operator", "", "null"),
    (
        "podDisruptionBudget: {maxUnavailable: 50%}",
        "PodDisruptionBudget/oauthclient-operator",
        "/spec/maxUnavailable",
        "50%",
    ),
    ("service: {annotations: {a: b}}", "Service/oauthclient-operator", "/metadata/annotations/a", "b"),
    ("", "NetworkPolicy/oauthclient-operator", "", "null"),
    ("networkPolicy: {enabled: true}", "NetworkPolicy/oauthclient-operator", "/spec/policyTypes", "[Ingress, Egress]"),
    (
        "networkPolicy: {enabled: true}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/ingress",
        "[{ports: [{protocol: TCP, port: http}]}]",
    ),
    (
        "networkPolicy: {enabled: true, scrapeFrom: [{podSelector: {}}]}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/ingress/0/from/0",
        "{podSelector: {}}",
    ),
    (
        "networkPolicy: {enabled: true, scrapeFrom: [{podSelector: {}}]}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/ingress/0/from/1/podSelector/matchLabels/app.kubernetes.io~1name",
        "oauthclient-operator-test",
    ),
    (
        "networkPolicy: {enabled: true, dnsTo: [{podSelector: {}}]}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/egress/0/to",
        "[{podSelector: {}}]",
    ),
    (
        "networkPolicy: {enabled: true, apiServer: {ports: [16443]}}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/egress/1",
        "{ports: [{protocol: TCP, port: 16443}]}",
    ),
    (
        "networkPolicy: {enabled: true, apiServer: {cidrs: [10.0.0.1/32]}}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/egress/1/to",
        "[{ipBlock: {cidr: 10.0.0.1/32}}]",
    ),
    (
        "networkPolicy: {enabled: true, authorizationServers: {ports: [8443]}}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/egress/2/ports/0/port",
        "8443",
    ),
    (
        "networkPolicy: {enabled: true, authorizationServers: {cidrs: ['fd00::/8']}}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/egress/2/to/0/ipBlock/cidr",
        "fd00::/8",
    ),
    (
        "networkPolicy: {enabled: true, extraEgress: [{ports: [{port: 3128}]}]}",
        "NetworkPolicy/oauthclient-operator",
        "/spec/egress/3/ports/0/port",
        "3128",
    ),
    ("", "ServiceMonitor/oauthclient-operator", "", "null"),
    (
        "serviceMonitor: {enabled: true, labels: {release: prom}}",
        "ServiceMonitor/oauthclient-operator",
        "/metadata/labels/release",
        "prom",
    ),
    (
        "serviceMonitor: {enabled: true, interval: 10s}",
        "ServiceMonitor/oauthclient-operator",
        "/spec/endpoints",
        "[{port: http, path: /metrics, interval: 10s}]",
    ),
    (
        "serviceMonitor: {enabled: true, relabelings: [{action: drop}]}",
        "ServiceMonitor/oauthclient-operator",
        "/spec/endpoints/0/relabelings/0/action",
        "drop",
    ),
    (
        "serviceMonitor: {enabled: true, metricRelabelings: [{action: keep}]}",
        "ServiceMonitor/oauthclient-operator",
        "/spec/endpoints/0/metricRelabelings/0/action",
        "keep",
    ),
    (
        "podMonitor: {enabled: true, labels: {release: prom}}",
        "PodMonitor/oauthclient-operator",
        "/metadata/labels/release",
        "prom",
    ),
    (
        "podMonitor: {enabled: true, interval: 10s}",
        "PodMonitor/oauthclient-operator",
        "/spec/podMetricsEndpoints/0/interval",
        "10s",
    ),
    (
        "podMonitor: {enabled: true, relabelings: [{action: drop}]}",
        "PodMonitor/oauthclient-operator",
        "/spec/podMetricsEndpoints/0/relabelings/0/action",
        "drop",
    ),
    (
        "podMonitor: {enabled: true, metricRelabelings: [{action: keep}]}",
        "PodMonitor/oauthclient-operator",
        "/spec/podMetricsEndpoints/0/metricRelabelings/0/action",
        "keep",
    ),
    ("", "PrometheusRule/oauthclient-operator", "", "null"),
    (
        "prometheusRule: {enabled: true}",
        "PrometheusRule/oauthclient-operator",
        "/spec/groups/0/name",
        "oauthclient-operator",
    ),
    (
        "prometheusRule: {enabled: true, runbooks: 'https://git.example/x/'}",
        "PrometheusRule/oauthclient-operator",
        "/kind",
        "PrometheusRule",
    ),
    (
        "prometheusRule: {enabled: true, labels: {a: b}}",
        "PrometheusRule/oauthclient-operator",
        "/metadata/labels/a",
        "b",
    ),
    ("", "ConfigMap/oauthclient-operator-dashboard", "", "null"),
    (
        "dashboard: {enabled: true}",
        "ConfigMap/oauthclient-operator-dashboard",
        "/metadata/labels/grafana_dashboard",
        "1",
    ),
    (
        "dashboard: {enabled: true, namespace: grafana, labels: {a: b}}",
        "ConfigMap/grafana/oauthclient-operator-dashboard",
        "/metadata/labels/a",
        "b",
    ),
    (
        "dashboard: {enabled: true, annotations: {folder: x}}",
        "ConfigMap/oauthclient-operator-dashboard",
        "/metadata/annotations",
        "{folder: x}",
    ),
    ("", "ValidatingAdmissionPolicyBinding/oauthclient-approvers", "/spec/validationActions", "[Deny]"),
    ("admission: {governance: false}", "ValidatingAdmissionPolicyBinding/oauthclient-approvers", "", "null"),
    ("admission: {governance: false, mutating: true}", "MutatingAdmissionPolicy/oauthclient-requesters", "", "null"),
    (
        "admission: {mutating: true}",
        "MutatingAdmissionPolicyBinding/oauthclient-requesters",
        "/spec/policyName",
        "oauthclient-requesters",
    ),
    ("admission: {mutating: 'false'}", "MutatingAdmissionPolicy/oauthclient-requesters", "", "null"),
    (
        "admission: {mutating: true, finalizer: false}",
        "MutatingAdmissionPolicy/oauthclient-revocation-finalizer",
        "",
        "null",
    ),
    ("admission: {guard: false}", "ValidatingAdmissionPolicyBinding/oauthclient-guard", "", "null"),
    ("admission: {guard: false}", "ConfigMap/oauthclient-operator-uninstall", "", "null"),
    ("rbac: {create: false}", "ClusterRole/oauthclient-operator", "", "null"),
    ("rbac: {tenants: false}", "ClusterRole/oauthclient-edit", "", "null"),
    ("rbac: {tenants: false}", "ClusterRole/oauthclient-view", "", "null"),
    ("rbac: {auditor: false}", "ClusterRole/oauthclient-auditor", "", "null"),
    ("rbac: {approver: false}", "ClusterRole/oauthclient-approver", "", "null"),
    ("rbac: {platform: false}", "ClusterRole/oauthclient-platform", "", "null"),
    ("", "ClusterRole/oauthclient-approver", "/rules/0/verbs", "[get, list, watch, approve]"),
    ("", "ClusterRole/oauthclient-platform", "/rules/0/resources", "[authorizationservers, clientpolicies]"),
    ("serviceAccount: {create: false, name: theirs}", "ServiceAccount/theirs", "", "null"),
    ("serviceAccount: {create: false, name: theirs}", "RoleBinding/oauthclient-operator", "/subjects/0/name", "theirs"),
    (
        "serviceAccount: {create: false, name: theirs}",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/serviceAccountName",
        "theirs",
    ),
    ("serviceAccount: {annotations: {a: b}}", "ServiceAccount/oauthclient-operator", "/metadata/annotations/a", "b"),
    (
        "extraArgs: [--namespace=other]",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/containers/0/args/7",
        "--namespace=other",
    ),
    (
        "extraEnv: [{name: OTEL_SERVICE_NAME, value: p}]",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/containers/0/env/1/value",
        "p",
    ),
    (
        "extraEnvFrom: [{configMapRef: {name: c}}]",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/containers/0/envFrom/0/configMapRef/name",
        "c",
    ),
    (
        "extraVolumes: [{name: v, emptyDir: {}}]",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/volumes/0/name",
        "v",
    ),
    (
        "extraVolumes: [{name: v, emptyDir: {}}]\nextraVolumeMounts: [{name: v, mountPath: /v}]",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/containers/0/volumeMounts/0/name",
        "v",
    ),
    (
        "extraContainers: [{name: c, image: i}]",
        "Deployment/oauthclient-operator",
        "/spec/template/spec/containers/1/name",
        "c",
    ),
    (
        "extraObjects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-x'}}]",
        "ConfigMap/oauthclient-operator-x",
        "/apiVersion",
        "v1",
    ),
    ("extraObjects: ['{apiVersion: v1, kind: ConfigMap, metadata: {name: z}}']", "ConfigMap/z", "/apiVersion", "v1"),
];
const IMAGE: &str = "/spec/template/spec/containers/0/image";
/// One of the flags.
const ARGS: &str = "/spec/template/spec/containers/0/args";

/// The table's values, each once, for who puts what is rendered before an API server.
pub fn all() -> BTreeSet<&'static str> {
    TABLE.iter().map(|(values, ..)| *values).collect()
}

#[test]
fn each_does_what_it_says() {
    let mut wrong = Vec::new();
    for values in all() {
        let rendered = render::objects(values);
        flags_are_known(values, &rendered);
        for (_, object, pointer, expected) in TABLE.iter().filter(|(v, ..)| *v == values) {
            let expected: Value = serde_yaml::from_str(expected).expect("YAML");
            let found = rendered.iter().find(|o| name(o) == *object);
            let found = found.and_then(|o| o.pointer(pointer)).cloned().unwrap_or_default();
            let held = found == expected
                || found.as_array().is_some_and(|all| *pointer == ARGS && all.contains(&expected))
                || found.as_str() == Some(&expected.to_string());
            if !held {
                wrong.push(format!("{values}: {object}{pointer}: {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn runbooks_are_where_they_are_said_to_be() {
    let rendered = render::objects("prometheusRule: {enabled: true, runbooks: 'https://git.example/x/'}");
    let alerts = rendered.iter().find(|o| o["kind"] == "PrometheusRule").expect("alerts");
    let rules = alerts["spec"]["groups"][0]["rules"].as_array().expect("rules");
    for rule in rules.iter().filter(|r| r["alert"].is_string()) {
        let url = rule["annotations"]["runbook_url"].as_str().expect("a runbook");
        assert!(url.starts_with("https://git.example/x/docs/runbooks/"), "{url}");
    }
}

/// The operator takes each flag that the chart gives it.
fn flags_are_known(values: &str, rendered: &[Value]) {
    for object in rendered {
        let containers = match object["kind"].as_str() {
            Some("Deployment") => &object["spec"]["template"]["spec"]["containers"],
            Some("Pod") => &object["spec"]["containers"],
            _ => continue,
        };
        let args = containers[0]["args"].as_array().expect("args").iter().map(|a| a.as_str().expect("a text"));
        let ends = if object["kind"] == "Pod" { "--help" } else { "--version" };
        let said = Command::new(env!("CARGO_BIN_EXE_oauthclient-operator")).args(args).arg(ends).output().expect("run");
        assert!(said.status.success(), "{values}: {}", String::from_utf8_lossy(&said.stderr));
    }
}

/// Paths of all values, as `a.b`; what is empty by default counts as one.
fn leaves(values: &Value, path: &str, into: &mut BTreeSet<String>) {
    let whole = ["resources", "labels", "annotations"].iter().any(|end| path.ends_with(end));
    match values.as_object().filter(|o| !o.is_empty() && !whole) {
        None => _ = into.insert(path.to_owned()),
        Some(members) => {
            for (key, value) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, into);
            }
        }
    }
}

fn defaults() -> (String, BTreeSet<String>) {
    let text = std::fs::read_to_string(format!("{CHART}/values.yaml")).expect("the values");
    let values: Value = serde_yaml::from_str(&text).expect("YAML");
    let mut paths = BTreeSet::new();
    leaves(&values, "", &mut paths);
    (text, paths)
}

#[test]
fn none_is_left_out_of_the_table() {
    let (_, all) = defaults();
    assert!(all.len() > 60, "{}", all.len());
    let mut set = BTreeSet::new();
    for (values, ..) in TABLE {
        let mut given = BTreeSet::new();
        leaves(&serde_yaml::from_str(values).unwrap_or_else(|e| panic!("{values}: {e}")), "", &mut given);
        set.extend(given);
    }
    let set = |path: &String| set.iter().any(|s| s == path || s.starts_with(&format!("{path}.")));
    let missing: Vec<&String> = all.iter().filter(|path| !set(path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn each_is_explained() {
    let (text, _) = defaults();
    let mut explained = false;
    for line in text.lines() {
        let bare = line.trim_start();
        if bare.is_empty() {
            explained = false;
        } else if bare.starts_with('#') {
            explained = true;
        } else {
            // A group is explained by its members, and what follows an explained line without a break shares what it says.
            let group = bare.ends_with(':');
            assert!(explained || group, "{line}: says nothing of itself");
        }
    }
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{CHART}/values.schema.json")).expect("the schema"))
            .expect("JSON");
    let mut open = Vec::new();
    unclosed(&schema, "", &mut open);
    assert!(open.is_empty(), "these take anything: {open:?}");
}

/// Objects of our own that take members which are not named.
fn unclosed(schema: &Value, path: &str, into: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        if schema["additionalProperties"] != json!(false) {
            into.push(path.to_owned());
        }
        for (key, value) in properties {
            unclosed(value, &format!("{path}.{key}"), into);
        }
    }
}
