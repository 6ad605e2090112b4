//! Who asks and who approves: real users by impersonation, with real RBAC, and what a hostile tenant tries.

use serde_json::{Value, json};

use super::support::World;
use super::{nothing_happened, policy};

/// Somebody who may approve.
pub const ANNA: &str = "anna@corp.example";
/// A tenant: may edit in the namespace.
pub const TOM: &str = "tom@corp.example";
/// Another tenant there.
pub const TINA: &str = "tina@corp.example";

/// Lets somebody approve clients of this world's server, in its namespace.
pub fn may_approve(w: &World, who: &str) {
    let server = &w.namespace;
    let rules = [
        (
            "ClusterRole",
            json!([
                {"apiGroups": ["oauthclient.dev"], "resources": ["authorizationservers"], "resourceNames": [server], "verbs": ["approve"]},
            ]),
        ),
        (
            "Role",
            json!([
                {"apiGroups": ["oauthclient.dev"], "resources": ["clientapprovals"], "verbs": ["get", "list", "create", "delete"]},
                {"apiGroups": ["oauthclient.dev"], "resources": ["oauthclients"], "verbs": ["get", "list"]},
            ]),
        ),
    ];
    for (kind, rules) in rules {
        grant(w, kind, &format!("approvers-{server}"), &rules, who);
    }
}

/// Lets somebody do this, in the namespace or everywhere.
pub fn grant(w: &World, kind: &str, name: &str, rules: &Value, who: &str) {
    let group = "rbac.authorization.k8s.io";
    let api = format!("{group}/v1");
    w.apply(&json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "rules": rules})).expect("a role");
    w.apply(&json!({
        "apiVersion": api, "kind": format!("{kind}Binding"), "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": kind, "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": who}],
    }))
    .expect("a binding");
}

/// Lets somebody edit in the namespace, as tenants may.
pub fn may_edit(w: &World, who: &str) {
    let name = format!("--user={who}");
    w.kubectl(&["create", "rolebinding", &who.replace('@', "-"), "--clusterrole=edit", &name]);
}

/// kubectl as somebody.
pub fn as_(w: &World, who: &str, args: &[&str]) -> Result<String, String> {
    w.try_kubectl(&[&["--as", who], args].concat())
}

/// Applies an object as somebody.
pub fn apply_as(w: &World, who: &str, object: &Value) -> Result<String, String> {
    w.bed.kubectl_with(&["-n", &w.namespace, "--as", who, "apply", "-f", "-"], Some(&object.to_string()))
}

/// A decision by somebody, with these members besides.
pub fn try_to_decide(w: &World, who: &str, name: &str, members: &Value) -> Result<String, String> {
    let mut spec = json!({
        "client": "c", "authorizationServer": w.namespace, "decision": "Approved", "approver": who, "reason": "TICKET-1",
    });
    json_patch::merge(&mut spec, members);
    let api = "oauthclient.dev/v1alpha1";
    apply_as(w, who, &json!({"apiVersion": api, "kind": "ClientApproval", "metadata": {"name": name}, "spec": spec}))
}

pub fn refused(attempt: Result<String, String>, says: &str) {
    let error = attempt.expect_err(&format!("it was allowed, where it should say: {says}"));
    assert!(error.contains(says), "{error}");
}

pub fn requesters(w: &World) -> Vec<String> {
    let client = w.get("oauthclient/c");
    let stamp = client["metadata"]["annotations"]["oauthclient.dev/requested-by"].as_str().unwrap_or_default();
    stamp.lines().map(ToOwned::to_owned).collect()
}

pub fn hash(w: &World) -> Value {
    hash_of(w, "c")
}

/// What an approval of what this client asks for now has to name.
pub fn hash_of(w: &World, client: &str) -> Value {
    judged(w, client)["status"]["requestHash"].clone()
}

/// A client, once it was judged as it stands.
pub fn judged(w: &World, client: &str) -> Value {
    let object = format!("oauthclient/{client}");
    let mut found = Value::Null;
    w.until(&format!("{client} was judged as it stands"), || {
        found = w.get(&object);
        let is_about_this = found["status"]["observedGeneration"] == found["metadata"]["generation"];
        is_about_this && found["status"]["requestHash"].is_string()
    });
    found
}

/// Anna says yes by the command in these words of an object, as it stands.
pub fn do_as_told(w: &World, says: &str, reason: &str) {
    let command = says.split_once("by: ").expect("a command").1.replace("WHO", ANNA).replace("WHY", reason);
    let said = w.bed.shell(&command.replace("kubectl create", &format!("kubectl create --as={ANNA}")));
    said.expect("the command works");
}

pub fn who_asked_cannot_be_forged(w: &World) {
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    may_edit(w, TOM);
    may_edit(w, TINA);
    let stamp = "oauthclient.dev/requested-by";
    let forged = json!({"name": "c", "annotations": {stamp: ANNA}});
    apply_as(w, TOM, &w.client_object(&forged, &json!({}))).expect("it is taken, and its stamp is not");
    assert_eq!(requesters(w), [TOM]);
    for value in [format!("{stamp}=bob"), format!("{stamp}-")] {
        let _ = as_(w, TOM, &["annotate", "--overwrite", "oauthclient/c", &value]);
        assert_eq!(requesters(w), [TOM], "{value}");
    }
    let patch = json!({"metadata": {"annotations": {stamp: "bob"}}}).to_string();
    let _ = as_(w, TOM, &["patch", "oauthclient/c", "--type=merge", "-p", &patch]);
    let object = w.client_object(&json!({"name": "c", "annotations": {stamp: "bob"}}), &json!({})).to_string();
    let force = ["-n", &w.namespace, "--as", TOM, "apply", "--server-side", "--force-conflicts", "-f", "-"];
    let _ = w.bed.kubectl_with(&force, Some(&object));
    assert_eq!(requesters(w), [TOM]);
    // Another's trivial edit does not wash the asker out.
    let patch = json!({"spec": {"purpose": "A test, said otherwise"}}).to_string();
    as_(w, TINA, &["patch", "oauthclient/c", "--type=merge", "-p", &patch]).expect("an edit");
    assert_eq!(requesters(w), [TOM, TINA]);
    // Whoever changes nothing that is governed asked for nothing.
    w.kubectl(&["annotate", "oauthclient/c", "note=seen"]);
    assert_eq!(requesters(w), [TOM, TINA]);
    nothing_happened(w, "c");
}

pub fn nobody_approves_for_themselves(w: &World) {
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    may_edit(w, TOM);
    apply_as(w, TOM, &w.client_object(&json!({"name": "c"}), &json!({}))).expect("an OAuthClient");
    let yes = json!({"requestHash": hash(w)});
    refused(try_to_decide(w, TOM, "own", &yes), "is forbidden");
    // With rights on approvals, however he came by them.
    let rules = json!([{"apiGroups": ["oauthclient.dev"], "resources": ["*"], "verbs": ["*"]}]);
    grant(w, "Role", "everything", &rules, TOM);
    refused(try_to_decide(w, TOM, "own", &yes), "may not approve clients of AuthorizationServer");
    // In somebody else's name.
    refused(try_to_decide(w, TOM, "own", &json!({"requestHash": hash(w), "approver": ANNA})), "must be who writes it");
    // Through a ServiceAccount of his own.
    let account = format!("system:serviceaccount:{}:robot", w.namespace);
    w.kubectl(&["create", "serviceaccount", "robot"]);
    grant(w, "Role", "robot", &rules, &account);
    refused(try_to_decide(w, &account, "own", &yes), "may not approve clients of AuthorizationServer");
    // Somebody who may approve, and may edit here as well.
    may_approve(w, TINA);
    may_edit(w, TINA);
    refused(try_to_decide(w, TINA, "own", &yes), "somebody else has to approve them");
    // An approver of another server.
    refused(
        try_to_decide(w, TINA, "own", &json!({"requestHash": hash(w), "authorizationServer": "another"})),
        "may not approve clients of AuthorizationServer another",
    );
    nothing_happened(w, "c");
    // Somebody who asked before losing the right to.
    let patch = json!({"spec": {"purpose": "By Tina as well"}}).to_string();
    as_(w, TINA, &["patch", "oauthclient/c", "--type=merge", "-p", &patch]).expect("an edit");
    w.kubectl(&["delete", "rolebinding", &TINA.replace('@', "-")]);
    try_to_decide(w, TINA, "tinas", &json!({"requestHash": hash(w)})).expect("the API server cannot know");
    w.wait_reason("oauthclient/c", "Accepted", "False", "ApprovalPending");
    nothing_happened(w, "c");
    // Approvals do not change.
    may_approve(w, ANNA);
    try_to_decide(w, ANNA, "annas", &json!({"requestHash": format!("v1:sha256:{}", "0".repeat(64))})).expect("one");
    let patch = json!({"spec": {"requestHash": hash(w)}}).to_string();
    refused(w.try_kubectl(&["patch", "clientapproval", "annas", "--type=merge", "-p", &patch]), "immutable");
    try_to_decide(w, ANNA, "yes", &json!({"requestHash": hash(w)})).expect("another");
    w.wait("oauthclient/c", "condition=Ready");
}

pub fn records_are_the_operators(w: &World) {
    policy(w, "p", &json!({}));
    let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    grant(w, "Role", "everything", &rules, TOM);
    apply_as(w, TOM, &w.client_object(&json!({"name": "c"}), &json!({}))).expect("an OAuthClient");
    w.wait("oauthclient/c", "condition=Ready");
    let says = "written by the operator alone";
    let ready = json!({"status": {"clientId": "mine", "requestHash": "v1:sha256:0"}}).to_string();
    refused(as_(w, TOM, &["patch", "oauthclient/c", "--subresource=status", "--type=merge", "-p", &ready]), says);
    let entry = format!("clientregistration/{}", w.entry("c")["metadata"]["name"].as_str().expect("a name"));
    refused(as_(w, TOM, &["-n", "oauthclient-system", "get", &entry]), "cannot get resource");
    // With all rights in the operator's namespace, however he came by them.
    for object in [
        json!({"kind": "Role", "metadata": {"name": "everything"}, "rules": rules}),
        json!({
            "kind": "RoleBinding", "metadata": {"name": "everything"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "everything"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": TOM}],
        }),
    ] {
        let mut object = object;
        object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
        let args = ["-n", "oauthclient-system", "apply", "-f", "-"];
        w.bed.kubectl_with(&args, Some(&object.to_string())).expect("rights");
    }
    let patch = |body: Value, more: &[&str]| {
        let body = body.to_string();
        let args = ["-n", "oauthclient-system", "patch", &entry, "--type=merge", "-p", &body];
        as_(w, TOM, &[&args[..], more].concat())
    };
    refused(patch(json!({"spec": {"purpose": "another"}}), &[]), says);
    refused(patch(json!({"metadata": {"labels": {"oauthclient.dev/client": "x"}}}), &[]), says);
    refused(patch(json!({"status": {"phase": "Revoked"}}), &["--subresource=status"]), says);
    w.kubectl(&["-n", "oauthclient-system", "delete", "role,rolebinding", "everything"]);
    // Its namespace is labelled by whoever may change policies.
    grant(
        w,
        "ClusterRole",
        "labels",
        &json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "patch"]}]),
        TOM,
    );
    let label = |who: &str, label: &str| as_(w, who, &["label", "--overwrite", "namespace", &w.namespace, label]);
    refused(label(TOM, "oauthclient.dev/owner-team=data"), "set by whoever may update those");
    label(TOM, "app=x").expect("another label");
    w.kubectl(&["label", "namespace", &w.namespace, "oauthclient.dev/owner-team=data"]);
    refused(label(TOM, "oauthclient.dev/owner-team-"), "set by whoever may update those");
}

/// Whether an approval in somebody else's name would be taken.
fn could_forge(w: &World) -> bool {
    let (api, hash) = ("oauthclient.dev/v1alpha1", format!("v1:sha256:{}", "0".repeat(64)));
    let object = json!({
        "apiVersion": api, "kind": "ClientApproval", "metadata": {"generateName": "forged-"},
        "spec": {
            "client": "c", "authorizationServer": w.namespace, "requestHash": hash, "decision": "Approved",
            "approver": "bob", "reason": "forged",
        },
    });
    let args = ["-n", &w.namespace, "--as", ANNA, "create", "--dry-run=server", "-f", "-"];
    w.bed.kubectl_with(&args, Some(&object.to_string())).is_ok()
}

pub fn no_approval_counts_while_nobody_keeps_the_stamps(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    w.client("c", &json!({}));
    // A platform administrator, by mistake.
    let binding = "validatingadmissionpolicybinding/oauthclient-approvers";
    let kept = w.get(binding);
    w.kubectl(&["delete", binding]);
    w.until("the API server has noticed", || could_forge(w));
    let mut edits = 0;
    w.until("it is said why no approval counts", || {
        edits += 1;
        w.client("c", &json!({"purpose": format!("A test, looked at for the {edits}th time")}));
        let accepted = w.condition("oauthclient/c", "Accepted");
        accepted["message"].as_str().is_some_and(|m| m.contains("are not in force"))
    });
    for (name, approver) in [("yes", ANNA), ("forged", "bob")] {
        let members = json!({"requestHash": hash(w), "approver": approver});
        try_to_decide(w, ANNA, name, &members).expect("nobody compares");
    }
    nothing_happened(w, "c");
    let spec = &kept["spec"];
    let (api, kind) = (&kept["apiVersion"], &kept["kind"]);
    let name = json!({"name": "oauthclient-approvers"});
    w.apply(&json!({"apiVersion": api, "kind": kind, "metadata": name, "spec": spec})).expect("the binding");
    w.until("the API server has noticed", || !could_forge(w));
    // What was given meanwhile may be forged: it does not count any more.
    w.wait_reason("oauthclient/c", "Accepted", "False", "ApprovalPending");
    w.until("that is said", || {
        let accepted = w.condition("oauthclient/c", "Accepted");
        accepted["message"].as_str().is_some_and(|m| m.contains("may be forged") && m.contains("kubectl create"))
    });
    nothing_happened(w, "c");
    try_to_decide(w, ANNA, "yes-again", &json!({"requestHash": hash(w)})).expect("an approval");
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.entry("c")["spec"]["approval"]["name"], "yes-again");
}
