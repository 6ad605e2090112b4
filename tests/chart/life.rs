//! An installation's life by Helm, while a client lives: installed from nothing, upgraded, not uninstalled; then without one,
//! uninstalled and installed anew.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::people;
use crate::render::{self, CHART};
use crate::support::process::Running;
use crate::support::{Bed, World};
use crate::values;

const HOME: [&str; 2] = ["-n", "oauthclient-system"];
const RELEASE: &str = "oauthclient-operator";
const LIVES: &str = "is not revoked, and without this it could not be: delete the OAuthClients first";

#[test]
fn an_installation_lives_and_ends() {
    let mut bed = Bed::bare("chart");
    every_value_is_taken(&bed);
    // The release before this one: the same chart, of another version.
    let packed = bed.scratch("packed");
    let older = ["package", CHART, "--version", "0.0.9", "--app-version", "0.0.9", "--destination", &packed];
    bed.helm(&older).expect("package");
    bed.install(&format!("{packed}/oauthclient-operator-0.0.9.tgz"), &[]);
    bed.furnish();
    let operator = bed.ready_operator(&[]);
    operator_is_asked(&bed, operator.address());
    let w = World::new(&bed, "life");
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");

    there_is_no_second_one(&bed);
    people::roles_are_what_they_are_for(&w);
    let before = State::of(&w);
    upgrades_leave_clients_alone(&w, &before);
    operator.finish();
    let operator = bed.ready_operator(&[]);
    before.still(&w, "another process");
    is_not_uninstalled(&w, &before);
    before.still(&w, "it could not be uninstalled");

    w.kubectl(&["delete", "oauthclient", "c", "--timeout=120s"]);
    w.until("the client is revoked", || w.ledger().iter().all(|e| e["status"]["phase"] == "Revoked"));
    let entries = w.ledger();
    let id = installation(&bed);
    operator.finish();
    uninstalled(&w);
    assert_eq!(w.ledger(), entries, "the ledger stays");

    bed.install(CHART, &[]);
    bed.until_clients_are_taken();
    let operator = bed.ready_operator(&[]);
    assert_eq!(installation(&bed), id, "it knows its clients again");
    w.client("d", &json!({}));
    w.wait("oauthclient/d", "condition=Ready");
    w.kubectl(&["delete", "oauthclient", "d", "--timeout=120s"]);
    let refused = |line: &Value| line.to_string().to_lowercase().contains("forbidden");
    assert!(!operator.lines().iter().any(refused), "a right that the chart does not give: {:#?}", operator.lines());
    nothing_is_left(&w, operator);
}

/// What docs/install.md says of leaving nothing: while the operator runs it takes its finalizers off.
fn nothing_is_left(w: &World, operator: Running) {
    let delete = |what: &[&str]| w.bed.kubectl(&[&["delete", "--timeout=120s"], what].concat());
    delete(&["oauthclients", "--all", "--all-namespaces"]);
    delete(&["authorizationservers", "--all"]);
    delete(&["-n", "oauthclient-system", "clientregistrations", "--all"]);
    operator.finish();
    w.bed.helm(&[&HOME[..], &["uninstall", RELEASE]].concat()).expect("nothing lives");
    delete(&["namespace", "oauthclient-system"]);
    delete(&["-f", &format!("{CHART}/files/crds")]);
    let guard = ["oauthclient-guard", "oauthclient-guard-secrets", "oauthclient-guard-installation"];
    delete(&[&["validatingadmissionpolicybinding,validatingadmissionpolicy"], &guard[..]].concat());
    let all = "crd,validatingadmissionpolicies,mutatingadmissionpolicies,clusterroles,clusterrolebindings,namespaces";
    let left = w.bed.kubectl(&["get", all, "-o", "name"]);
    // `people` has bound the people's roles, which no chart does.
    let bound = ["approver", "auditor", "platform"]
        .map(|who| format!("clusterrolebinding.rbac.authorization.k8s.io/oauthclient-{who}"));
    let ours: Vec<&str> =
        left.lines().filter(|name| name.contains("oauthclient") && bound.iter().all(|b| b != name)).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

/// Objects of this release, as `kubectl get -o name` calls them.
fn objects(bed: &Bed) -> BTreeSet<String> {
    let manifest = bed.helm(&[&HOME[..], &["get", "manifest", RELEASE]].concat()).expect("the manifest");
    let found =
        bed.kubectl_with(&["get", "-o", "name", "--ignore-not-found", "-f", "-"], Some(&manifest)).expect("objects");
    found.lines().map(ToOwned::to_owned).collect()
}

fn installation(bed: &Bed) -> String {
    let id = ["get", "configmap", "oauthclient-operator-installation", "-o", "jsonpath={.data.id}"];
    bed.kubectl(&[&HOME[..], &id].concat())
}

/// What no upgrade may touch.
struct State {
    secret: Value,
    entries: Vec<Value>,
    clients: Vec<Value>,
    approvers: Vec<Value>,
}

impl State {
    fn of(w: &World) -> Self {
        // From here on they are counted anew.
        w.requests();
        let policy = |kind: &str| w.get(&format!("{kind}/oauthclient-approvers"));
        Self {
            secret: w.get("secret/c-oauth"),
            entries: w.entries("c"),
            clients: w.live(),
            approvers: vec![policy("validatingadmissionpolicy"), policy("validatingadmissionpolicybinding")],
        }
    }

    fn still(&self, w: &World, after: &str) {
        assert_eq!(w.requests().get("POST /reg"), None, "{after}: registered again");
        let now = Self::of(w);
        assert_eq!(now.secret, self.secret, "{after}: the Secret");
        assert_eq!(now.clients, self.clients, "{after}: another client at the server");
        let of = |entries: &[Value]| {
            entries.iter().map(|e| (e["metadata"]["uid"].clone(), e["spec"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(of(&now.entries), of(&self.entries), "{after}: the entry");
        assert!(w.token("c-oauth").is_ok(), "{after}: the client is refused");
        w.wait("oauthclient/c", "condition=Ready");
    }

    /// As [`State::still`], and approvals from before count.
    fn untouched(&self, w: &World, after: &str) {
        self.still(w, after);
        assert_eq!(Self::of(w).approvers, self.approvers, "{after}: approvals from before would count no more");
    }
}

/// What is rendered with each of the values that the table has is what the API server knows, field by field.
fn every_value_is_taken(bed: &Bed) {
    bed.kubectl(&["create", "namespace", "oauthclient-system"]);
    for namespace in ["1234", "a", "b", "grafana"] {
        bed.kubectl(&["create", "namespace", namespace]);
    }
    let (ours, theirs) = (format!("{CHART}/files/crds"), render::part("monitoring-kinds"));
    for folder in [&ours, &theirs] {
        // Theirs are too large for what kubectl keeps of an object that it applies.
        bed.kubectl(&["create", "-f", folder]);
    }
    bed.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]);
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for values in values::all() {
        for object in render::objects(values) {
            if seen.insert(object.to_string()) {
                all.push((values, object));
            }
        }
    }
    assert!(all.len() > 100, "{}", all.len());
    // Many at once, since each call costs half a second; of what is refused, each names itself.
    for some in all.chunks(40) {
        let items: Vec<&Value> = some.iter().map(|(_, object)| object).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        bed.dry_run(&list).unwrap_or_else(|e| panic!("{e}; of what is rendered with: {some:#?}"));
    }
    bed.kubectl(&["delete", "-f", &ours, "-f", &theirs]);
    bed.kubectl(&["delete", "namespace", "1234", "a", "b", "grafana", "--wait=false"]);
}

/// What `helm test` runs in a pod.
fn operator_is_asked(bed: &Bed, address: &str) {
    let check = |url: &str| {
        let mut run = Command::new(env!("CARGO_BIN_EXE_oauthclient-operator"));
        run.args(["check", url]).output().expect("run the operator")
    };
    let ready = check(&format!("http://{address}/readyz"));
    assert!(ready.status.success(), "{ready:?}");
    let lost = check(&format!("http://{address}/nowhere"));
    assert!(!lost.status.success() && String::from_utf8_lossy(&lost.stderr).contains("404"), "{lost:?}");
    // A pod of the bed's node runs nothing; that it comes to be shows that a namespace of the restricted profile takes it.
    let dry = [&HOME[..], &["test", RELEASE, "--timeout=1s"]].concat();
    let said = bed.helm(&dry).unwrap_or_else(|said| said);
    assert!(!said.contains("forbidden"), "{said}");
    bed.kubectl(&[&HOME[..], &["delete", "pod", "oauthclient-operator-ready", "--ignore-not-found"]].concat());
}

/// What there is once in a cluster is the first one's.
fn there_is_no_second_one(bed: &Bed) {
    let before = objects(bed);
    let second = ["install", "second", CHART, "-n", "second", "--create-namespace"];
    let refused = bed.helm(&second).expect_err("there is one already");
    assert!(refused.contains("cannot be imported into the current release"), "{refused}");
    assert_eq!(objects(bed), before);
    let theirs = bed.kubectl(&["get", "deployments,serviceaccounts,configmaps", "-n", "second", "-o", "name"]);
    assert!(!theirs.contains("second-"), "{theirs}");
}

fn upgrades_leave_clients_alone(w: &World, before: &State) {
    let upgrade = |set: &[&str]| {
        let args = ["upgrade", RELEASE, CHART, "--reset-values"];
        w.bed.helm(&[&HOME[..], &args, set].concat()).unwrap_or_else(|e| panic!("helm upgrade {set:?}: {e}"));
    };
    upgrade(&[]);
    before.untouched(w, "an upgrade to this version");
    let may = |namespace: &str| {
        let operator = "--as=system:serviceaccount:oauthclient-system:oauthclient-operator";
        w.bed.try_kubectl(&["auth", "can-i", "create", "secrets", "-n", namespace, operator]).is_ok()
    };
    assert!(may("default"), "everywhere, by default");
    upgrade(&["--set", "replicas=3", "--set", "watchNamespaces={life}", "--set", "log.level=debug"]);
    let deployment = w.bed.kubectl(&[&HOME[..], &["get", "deployment", RELEASE, "-o", "json"]].concat());
    let deployment: Value = serde_json::from_str(&deployment).expect("JSON");
    assert_eq!(deployment["spec"]["replicas"], 3);
    w.until("rights are where they are wanted", || may("life") && !may("default"));
    before.untouched(w, "an upgrade with other values");
    upgrade(&[]);
    w.until("rights are everywhere again", || may("default"));
    before.untouched(w, "an upgrade back");
}

fn is_not_uninstalled(w: &World, before: &State) {
    let helm = |args: &[&str]| w.bed.helm(&[&HOME[..], args].concat());
    let there = objects(w.bed);
    assert!(there.len() > 30, "{there:?}");
    // Nothing goes, and the release goes on.
    let refused = helm(&["uninstall", RELEASE]).expect_err("a client lives");
    assert!(refused.contains(LIVES) && refused.contains("life/c"), "{refused}");
    assert_eq!(objects(w.bed), there, "nothing is lost");
    let status = || {
        let json = helm(&["status", RELEASE, "-o", "json"]).expect("a release");
        serde_json::from_str::<Value>(&json).expect("JSON")
    };
    assert_eq!(status()["info"]["status"], "deployed");
    helm(&["upgrade", RELEASE, CHART]).expect("an upgrade after that");
    before.untouched(w, "uninstalling was refused");
    // Who leaves the hook out does not get far, also when asking twice.
    for _ in 0..2 {
        helm(&["uninstall", RELEASE, "--no-hooks"]).expect_err("a client lives");
    }
    let left = objects(w.bed);
    for kept in [
        "deployment.apps/oauthclient-operator",
        "serviceaccount/oauthclient-operator",
        "role.rbac.authorization.k8s.io/oauthclient-operator",
        "rolebinding.rbac.authorization.k8s.io/oauthclient-operator",
        "clusterrole.rbac.authorization.k8s.io/oauthclient-operator",
        "clusterrole.rbac.authorization.k8s.io/oauthclient-operator-tenants",
        "clusterrolebinding.rbac.authorization.k8s.io/oauthclient-operator",
        "configmap/oauthclient-operator-uninstall",
        "validatingadmissionpolicy.admissionregistration.k8s.io/oauthclient-guard",
        "validatingadmissionpolicybinding.admissionregistration.k8s.io/oauthclient-guard-installation",
        "customresourcedefinition.apiextensions.k8s.io/oauthclients.oauthclient.dev",
    ] {
        assert!(left.contains(kept), "{kept} is gone; left: {left:?}");
    }
    // Nor does who takes the parts one by one.
    for what in ["deployment", "serviceaccount", "role", "rolebinding", "clusterrole", "clusterrolebinding"] {
        let delete = [&HOME[..], &["delete", what, "oauthclient-operator", "--wait=false"]].concat();
        let refused = w.bed.try_kubectl(&delete).expect_err(what);
        assert!(refused.contains(LIVES), "{what}: {refused}");
    }
    let delete = [&HOME[..], &["delete", "configmap", "oauthclient-operator-installation"]].concat();
    assert!(w.bed.try_kubectl(&delete).expect_err("the id").contains(LIVES));
    let revision = status()["version"].to_string();
    helm(&["rollback", RELEASE, &revision]).expect("what docs/install.md says to do then");
    assert_eq!(objects(w.bed), there, "all is there again");
    w.bed.until_clients_are_taken();
}

fn uninstalled(w: &World) {
    let kept = w.bed.helm(&[&HOME[..], &["uninstall", RELEASE]].concat()).expect("nothing lives");
    for kind in ["CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        assert!(kept.contains(&format!("[{kind}]")), "{kept}");
    }
    let system = |what: &str| {
        w.bed.kubectl(
            &[&HOME[..], &["get", what, "-l", "app.kubernetes.io/instance=oauthclient-operator", "-o", "name"]]
                .concat(),
        )
    };
    let all = "deployments,services,serviceaccounts,roles,rolebindings,configmaps,poddisruptionbudgets,clusterroles,clusterrolebindings";
    w.until("all of it is gone", || system(all).is_empty());
    let policies = w.bed.kubectl(&["get", "validatingadmissionpolicies,mutatingadmissionpolicies", "-o", "name"]);
    assert!(policies.lines().all(|p| p.contains("/oauthclient-guard")), "{policies}");
    let crds = w.bed.kubectl(&["get", "crd", "-o", "name"]);
    assert_eq!(crds.lines().count(), 5, "{crds}");
}
