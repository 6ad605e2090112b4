//! What the operator and its tenants may do, and what they may not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] =
    &stories![the_operator_has_the_manifests_rights_and_no_more, a_tenant_has_its_own_clients_and_no_more];

const OPERATOR: &str = "--as=system:serviceaccount:oauthclient-system:oauthclient-operator";

fn can(w: &World, who: &str, namespace: &str, verb: &str, what: &str) -> bool {
    let (what, sub) = what.split_once('/').unwrap_or((what, ""));
    let sub = format!("--subresource={sub}");
    w.try_kubectl(&["-n", namespace, "auth", "can-i", verb, what, &sub, who]).is_ok_and(|said| said.trim() == "yes")
}

/// `resource.group verb` for each right, without what any ServiceAccount has.
fn rights(w: &World, namespace: &str, who: &str) -> BTreeSet<String> {
    let anybody = all_rights(w, namespace, &format!("--as=system:serviceaccount:{}:default", w.namespace));
    all_rights(w, namespace, who).difference(&anybody).cloned().collect()
}

fn all_rights(w: &World, namespace: &str, who: &str) -> BTreeSet<String> {
    let text = w.kubectl(&["-n", namespace, "auth", "can-i", "--list", "--no-headers", who]);
    let mut all = BTreeSet::new();
    for line in text.lines() {
        let Some((what, verbs)) = line.split_once(' ').filter(|(what, _)| !what.starts_with('[')) else { continue };
        let verbs = verbs.rsplit_once('[').expect("verbs").1.trim_end_matches(']');
        all.extend(verbs.split(' ').map(|verb| format!("{what} {verb}")));
    }
    all
}

fn granted(rules: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in rules.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (what, verbs) = line.split_once(':').expect("resources: verbs");
        for what in what.split(' ') {
            all.extend(verbs.split_whitespace().map(|verb| format!("{what} {verb}")));
        }
    }
    all
}

/// Read from `deploy/operator.yaml` by a person: who widens it has to widen it here as well.
const EVERYWHERE: &str = "
    oauthclients.oauthclient.dev: get list watch patch delete
    authorizationservers.oauthclient.dev: get list watch patch
    oauthclients.oauthclient.dev/status authorizationservers.oauthclient.dev/status: update
    oauthclients.oauthclient.dev/finalizers: update
    clientpolicies.oauthclient.dev clientapprovals.oauthclient.dev: list watch
    validatingadmissionpolicies.admissionregistration.k8s.io: get
    validatingadmissionpolicybindings.admissionregistration.k8s.io: get
    namespaces pods jobs.batch cronjobs.batch: get list watch
    deployments.apps statefulsets.apps daemonsets.apps replicasets.apps: get list watch
    secrets: get list watch create update delete
    events.events.k8s.io: create
";
const AT_HOME: &str = "
    clientregistrations.oauthclient.dev: get list watch create patch delete
    clientregistrations.oauthclient.dev/status: update
    oauthclients.oauthclient.dev clientapprovals.oauthclient.dev: create
    configmaps: get create
    leases.coordination.k8s.io: get create update
    secrets: patch
";
/// The tests' own kind, by `tests/support/pipelinerun.yaml`.
const OF_THE_TESTS: &str = "pipelineruns.testing.example: get list watch";

fn the_operator_has_the_manifests_rights_and_no_more(w: &World) {
    let elsewhere = granted(&format!("{EVERYWHERE}\n{OF_THE_TESTS}"));
    assert_eq!(rights(w, &w.namespace, OPERATOR), elsewhere);
    let home = elsewhere.union(&granted(AT_HOME)).cloned().collect();
    assert_eq!(rights(w, "oauthclient-system", OPERATOR), home);
    // What the tenants' role gives everywhere hides what is given at home: that alone must do where tenants' is withdrawn.
    let role = w.kubectl(&["-n", "oauthclient-system", "get", "role", "oauthclient-operator", "-o", "json"]);
    let role: Value = serde_json::from_str(&role).expect("JSON");
    let secrets = role["rules"].as_array().expect("rules").iter().find(|r| r["resources"] == json!(["secrets"]));
    assert_eq!(secrets.expect("a rule")["verbs"], json!(["get", "create", "update", "patch", "delete"]));
    for (verb, what) in [
        ("update", "oauthclients"),
        ("update", "clientapprovals"),
        ("create", "clientpolicies"),
        ("approve", "authorizationservers"),
        ("create", "authorizationservers"),
        ("delete", "authorizationservers"),
        ("create", "serviceaccounts/token"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("create", "rolebindings"),
        ("escalate", "clusterroles"),
        ("bind", "clusterroles"),
        ("impersonate", "users"),
        ("delete", "namespaces"),
    ] {
        for namespace in [w.namespace.as_str(), "oauthclient-system"] {
            assert!(!can(w, OPERATOR, namespace, verb, what), "the operator may {verb} {what} in {namespace}");
        }
    }
    assert!(!can(w, OPERATOR, &w.namespace, "get", "clientregistrations"), "the ledger is at home only");
    for what in ["oauthclients", "clientapprovals"] {
        assert!(!can(w, OPERATOR, &w.namespace, "create", what), "tried in a dry run at home, and never for a tenant");
    }
}

fn a_tenant_has_its_own_clients_and_no_more(w: &World) {
    let tenant = format!("--as={}-tenant", w.namespace);
    let bound = format!("--user={}-tenant", w.namespace);
    w.kubectl(&["create", "rolebinding", "edit", "--clusterrole=edit", &bound]);
    // What it may do really works, Secret included.
    let spec = json!({
        "authorizationServerRef": {"name": w.namespace}, "owner": {"team": "data", "email": "data@corp.example"},
        "purpose": "A test", "scopes": ["reports.read"], "lifetime": {"ttl": "1h"},
    });
    let object = json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"name": "c", "namespace": w.namespace}, "spec": spec,
    });
    w.until("roles are aggregated", || can(w, &tenant, &w.namespace, "create", "oauthclients"));
    w.bed.kubectl_with(&["create", "-f", "-", &tenant], Some(&object.to_string())).expect("a tenant makes a client");
    w.wait("oauthclient/c", "condition=Ready");
    let entry = w.entry("c")["metadata"]["name"].as_str().expect("a name").to_owned();
    let system = "oauthclient-system";
    for (namespace, args) in [
        (system, vec!["get", "secrets"]),
        (system, vec!["get", "secret", "corp-registration"]),
        (system, vec!["get", "secret", &entry]),
        (system, vec!["get", "clientregistrations"]),
        (system, vec!["delete", "clientregistration", &entry]),
        (system, vec!["patch", "clientregistration", &entry, "--type=merge", "-p", r#"{"spec":{"attempt":2}}"#]),
        (system, vec!["create", "token", "oauthclient-operator"]),
        (
            &w.namespace,
            vec![
                "patch",
                "oauthclient/c",
                "--subresource=status",
                "--type=merge",
                "-p",
                r#"{"status":{"state":"Ready"}}"#,
            ],
        ),
        (
            &w.namespace,
            vec![
                "patch",
                "authorizationserver",
                &w.namespace,
                "--type=merge",
                "-p",
                r#"{"spec":{"allowedNamespaces":{"names":["*"]}}}"#,
            ],
        ),
        (&w.namespace, vec!["delete", "authorizationserver", &w.namespace]),
        (&w.namespace, vec!["get", "authorizationserver", &w.namespace]),
    ] {
        let all = [&["-n", namespace], args.as_slice(), &[&tenant]].concat();
        let refused = w.try_kubectl(&all).expect_err(&args.join(" "));
        assert!(refused.contains("Forbidden") || refused.contains("forbidden"), "{args:?}: {refused}");
    }
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        for what in ["clientregistrations", "authorizationservers", "oauthclients/status", "oauthclients/finalizers"] {
            for namespace in [w.namespace.as_str(), system] {
                assert!(!can(w, &tenant, namespace, verb, what), "a tenant may {verb} {what} in {namespace}");
            }
        }
    }
    // Strict clusters have owners' rights enforced, and so has this one: who may not touch finalizers of what owns
    // may not block its deletion.
    let uid = w.get("oauthclient/c")["metadata"]["uid"].clone();
    let owner = json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient", "name": "c", "uid": uid,
        "blockOwnerDeletion": true,
    });
    let dependent = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "owned", "namespace": w.namespace, "ownerReferences": [owner]},
    });
    let refused =
        w.bed.kubectl_with(&["create", "-f", "-", &tenant], Some(&dependent.to_string())).expect_err("refused");
    assert!(refused.contains("blockOwnerDeletion"), "{refused}");
    w.try_kubectl(&["delete", "oauthclient/c", "--timeout=120s", &tenant]).expect("a tenant deletes its client");
    assert!(w.live().is_empty());
}
