//! Kubernetes 1.30 to 1.35 know no MutatingAdmissionPolicy: who asks writes that down, and the API server checks it.

use serde_json::{Value, json};

use super::people::{ANNA, TINA, TOM, apply_as, as_, hash, may_approve, may_edit, refused, requesters, try_to_decide};
use super::support::World;
use super::{nothing_happened, policy};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/requesters-policy.yaml");
const STAMP: &str = "oauthclient.dev/requested-by";

pub fn who_asks_writes_it_down_where_the_api_server_cannot(w: &World) {
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    may_edit(w, TOM);
    may_edit(w, TINA);
    may_approve(w, ANNA);
    w.kubectl(&["delete", "-f", FILE]);
    let asked_by = |names: Option<&str>| {
        let metadata = names.map_or_else(|| json!({"name": "c"}), |n| json!({"name": "c", "annotations": {STAMP: n}}));
        w.client_object(&metadata, &json!({}))
    };
    let dry = |who: &str, object: &Value| {
        let args = ["-n", &w.namespace, "--as", who, "create", "--dry-run=server", "-f", "-"];
        w.bed.kubectl_with(&args, Some(&object.to_string()))
    };
    w.until("the API server has noticed", || dry(TOM, &asked_by(None)).is_err());
    let says = format!("says who asked, one name a line; it has to be: {TOM}");
    for names in [None, Some(ANNA), Some(""), Some("tom@corp.example\nanna@corp.example")] {
        refused(apply_as(w, TOM, &asked_by(names)), &says);
    }
    apply_as(w, TOM, &asked_by(Some(TOM))).expect("the truth");
    w.wait_reason("oauthclient/c", "Accepted", "False", "ApprovalPending");
    // Another's edit puts another beside, and washes nobody out.
    let edit = |who: &str, names: Option<&str>| {
        let stamp = names.map_or_else(|| json!({}), |n| json!({"annotations": {STAMP: n}}));
        let patch = json!({"metadata": stamp, "spec": {"purpose": "A test, said otherwise"}}).to_string();
        as_(w, who, &["patch", "oauthclient/c", "--type=merge", "-p", &patch])
    };
    let both = format!("{TOM}\n{TINA}");
    for names in [None, Some(TINA)] {
        refused(edit(TINA, names), &format!("has to be: {TOM}, {TINA}"));
    }
    edit(TINA, Some(&both)).expect("the truth");
    assert_eq!(requesters(w), [TOM, TINA]);
    nothing_happened(w, "c");
    // The operator finds that nobody can forge it, and honours an approval.
    try_to_decide(w, ANNA, "yes", &json!({"requestHash": hash(w)})).expect("an approval");
    w.wait("oauthclient/c", "condition=Ready");
    // Who denies may leave out who it is, since there is no time to lose, and may not be somebody else.
    let deny = |by: Option<&str>| {
        let stamp = by.map_or_else(|| json!({}), |by| json!({"oauthclient.dev/denied-by": by}));
        w.apply(&json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientPolicy",
            "metadata": {"name": "incident", "annotations": stamp},
            "spec": {"deny": {"namespaces": [w.namespace], "reason": "INC-9"}},
        }))
    };
    refused(deny(Some(ANNA)), "says who wrote spec.deny; leave it out, or make it:");
    deny(None).expect("a denial");
    let says = w.until_reason("c", "Revoked", "Denied");
    assert!(says.contains("ClientPolicy incident denies it: INC-9"), "{says}");
    w.kubectl(&["apply", "-f", FILE]);
    w.until("the API server has noticed", || dry(TOM, &w.client_object(&json!({"name": "d"}), &json!({}))).is_ok());
}
