//! Whether the chart gives the operator the rights that it needs, and no others: by what it asked the API server for.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Bed;
use super::audit::Request;

/// What the end-to-end stories have no occasion for, and whose stories do.
const ELSEWHERE: &[(&str, &str)] = &[
    ("governance", "create clientapprovals.oauthclient.dev in oauthclient-system"),
    ("governance", "create oauthclients.oauthclient.dev in oauthclient-system"),
    ("governance", "get validatingadmissionpolicies.admissionregistration.k8s.io"),
    ("governance", "get validatingadmissionpolicybindings.admissionregistration.k8s.io"),
    ("operator", "delete clientregistrations.oauthclient.dev in oauthclient-system"),
    ("sweep", "create events.events.k8s.io in default"),
];
/// Asked for by nobody: admission looks for it where a Secret gets its owner. Without it no Secret is published.
const LOOKED_FOR: &str = "update oauthclients/finalizers.oauthclient.dev";

fn right(verb: &str, resource: &str, group: &str, namespace: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
    format!("{verb} {resource}{dot}{group}{place}")
}

/// The right that a request shows to be needed: the one in its namespace where there is one, or else the one everywhere.
fn needed(r: &Request, granted: &BTreeSet<String>) -> String {
    let there = right(&r.verb, &r.resource, &r.group, &r.namespace);
    if granted.contains(&there) { there } else { right(&r.verb, &r.resource, &r.group, "") }
}

impl Bed {
    /// That nothing was refused to the operator for want of a right.
    pub fn no_right_was_missing(&self) {
        let refused: Vec<_> = self.operators_requests().into_iter().filter(|r| r.forbidden).collect();
        assert!(refused.is_empty(), "the chart does not let the operator do this: {refused:#?}");
    }

    /// That these tests, all told, used the rights that only they use.
    pub fn rights_are_used_that_only(&self, tests: &str) {
        let used = self.used(&self.granted());
        let idle: Vec<_> =
            ELSEWHERE.iter().filter(|(whose, right)| *whose == tests && !used.contains(*right)).collect();
        assert!(idle.is_empty(), "nothing needs it, take it out of the chart: {idle:#?}");
    }

    /// That every right was used, but for those that only other tests use.
    pub fn every_right_is_used(&self) {
        let granted = self.granted();
        let used = self.used(&granted);
        let elsewhere = |right: &str| right == LOOKED_FOR || ELSEWHERE.iter().any(|(_, r)| *r == right);
        assert!(granted.len() > 30, "{granted:#?}");
        let idle: Vec<_> = granted.iter().filter(|r| !used.contains(*r) && !elsewhere(r)).collect();
        assert!(idle.is_empty(), "nothing needs it, take it out of the chart: {idle:#?}");
        let known = |right: &str| granted.contains(right);
        assert!(known(LOOKED_FOR) && ELSEWHERE.iter().all(|(_, r)| known(r)), "the chart does not give it any more");
    }

    fn used(&self, granted: &BTreeSet<String>) -> BTreeSet<String> {
        self.operators_requests().iter().map(|request| needed(request, granted)).collect()
    }

    /// Each right that a binding gives the operator: in one namespace, or everywhere.
    fn granted(&self) -> BTreeSet<String> {
        let read = |what: &[&str]| -> Value {
            serde_json::from_str(&self.kubectl(&[&["get", "-o", "json"], what].concat())).expect("JSON")
        };
        let bindings = read(&["clusterrolebindings,rolebindings", "--all-namespaces"]);
        let ours = |b: &&Value| {
            let mut subjects = b["subjects"].as_array().into_iter().flatten();
            subjects.any(|s| s["kind"] == "ServiceAccount" && s["name"] == "oauthclient-operator")
        };
        let mut all = BTreeSet::new();
        for binding in bindings["items"].as_array().expect("bindings").iter().filter(ours) {
            let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
            let role = &binding["roleRef"];
            let (kind, name) = (role["kind"].as_str().expect("a kind"), role["name"].as_str().expect("a name"));
            let role = if kind == "Role" { read(&["-n", namespace, kind, name]) } else { read(&[kind, name]) };
            for rule in role["rules"].as_array().expect("rules") {
                for group in each(&rule["apiGroups"]) {
                    for resource in each(&rule["resources"]) {
                        all.extend(each(&rule["verbs"]).map(|verb| right(verb, resource, group, namespace)));
                    }
                }
            }
        }
        all
    }
}

fn each(values: &Value) -> impl Iterator<Item = &str> {
    values.as_array().into_iter().flatten().filter_map(Value::as_str)
}
