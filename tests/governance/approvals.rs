//! A person's yes: bound to exactly what was asked, for as long as it says.

use serde_json::{Value, json};

use super::people::{ANNA, do_as_told, hash, may_approve, try_to_decide};
use super::support::World;
use super::{nothing_happened, policy};

/// A decision of Anna's with these members besides.
fn decide(w: &World, name: &str, members: &Value) {
    try_to_decide(w, ANNA, name, members).expect("a ClientApproval that is valid");
}

fn pending(w: &World) -> String {
    w.wait_reason("oauthclient/c", "Accepted", "False", "ApprovalPending")
}

pub fn nothing_before_a_person_says_yes(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    w.client("c", &json!({}));
    let says = pending(w);
    assert_eq!(w.condition("oauthclient/c", "Approved")["status"], "False");
    assert!(w.client_condition("c", "Stalled").is_none(), "it waits");
    w.wait_event("c", "Pending", "asks for an approval");
    nothing_happened(w, "c");
    // Another hash is about something else.
    decide(w, "other", &json!({"requestHash": format!("v1:sha256:{}", "0".repeat(64))}));
    pending(w);
    // The command that it names, as it stands.
    nothing_happened(w, "c");
    do_as_told(w, &says, "OPS-7");
    w.wait("oauthclient/c", "condition=Ready");
    let status = &w.get("oauthclient/c")["status"];
    assert_eq!(status["approval"]["approver"], "anna@corp.example");
    let kept = &w.entry("c")["spec"]["approval"];
    assert_eq!((kept["approver"].as_str(), kept["reason"].as_str()), (Some("anna@corp.example"), Some("OPS-7")));
    assert_eq!(kept["requestHash"], status["requestHash"]);
    let says = w.wait_reason("oauthclient/c", "Approved", "True", "Approved");
    assert!(says.contains("anna@corp.example: OPS-7"), "{says}");
}

pub fn an_edit_needs_another_yes(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({"approval": {"mode": "WhenScopes", "scopes": ["*.write"]}}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let secret = w.secret("c-oauth");
    let widened = json!({"scopes": ["reports.read", "reports.write"]});
    w.client("c", &widened);
    pending(w);
    assert_eq!(w.live()[0]["scope"], "reports.read", "the client goes on as it was");
    assert_eq!((w.secret("c-oauth"), w.token("c-oauth").is_ok()), (secret, true));
    // A race: what was shown is approved, and something else is there by then.
    let shown = hash(w);
    w.client("c", &json!({"scopes": ["reports.read", "reports.write"], "purpose": "Another one"}));
    decide(w, "late", &json!({"requestHash": shown}));
    hash(w);
    pending(w);
    assert_eq!(w.live()[0]["scope"], "reports.read");
    decide(w, "yes", &json!({"requestHash": hash(w)}));
    w.until("the edit is made", || w.live()[0]["scope"] == "reports.read reports.write");
    w.until("that is on record", || w.entry("c")["spec"]["approval"]["name"] == "yes");
    // The approval is deleted: what was approved goes on.
    w.kubectl(&["delete", "clientapproval", "--all"]);
    w.kubectl(&["delete", "secret", "c-oauth"]);
    w.until("its Secret is put back", || w.exists("secret/c-oauth"));
    assert_eq!((w.entries("c").len(), w.token("c-oauth").is_ok()), (1, true));
}

pub fn an_approval_is_for_one_object(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    w.client("c", &json!({}));
    pending(w);
    decide(w, "yes", &json!({"requestHash": hash(w)}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient", "c", "--timeout=120s"]);
    w.client("c", &json!({}));
    pending(w);
    assert!(w.live().is_empty() && !w.exists("secret/c-oauth"));
}

pub fn no_client_outlives_its_approval(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({"approval": {"mode": "Always", "maxValidity": "40s"}}));
    w.client("c", &json!({}));
    pending(w);
    decide(w, "first", &json!({"requestHash": hash(w), "notAfter": "2099-01-01T00:00:00Z"}));
    w.wait("oauthclient/c", "condition=Ready");
    let first = w.entry("c")["spec"]["expiresAt"].clone();
    assert_eq!(first, w.entry("c")["spec"]["approval"]["notAfter"], "not the lifetime of an hour");
    // A review: another approval of the same.
    policy(w, "p", &json!({"approval": {"mode": "Always", "maxValidity": "50s"}}));
    decide(w, "second", &json!({"requestHash": hash(w)}));
    w.until("it goes on for longer", || w.entry("c")["spec"]["approval"]["name"] == "second");
    let second = w.entry("c")["spec"]["expiresAt"].clone();
    assert!(second.as_str() > first.as_str(), "{second} {first}");
    w.wait("oauthclient/c", "condition=Revoked");
    let end = w.entry("c")["status"]["end"].clone();
    assert!(end["reason"] == "Expired" && end["at"].as_str() > first.as_str(), "{end}");
    pending(w);
    assert!(w.live().is_empty());
}

pub fn a_denial_stands_as_long_as_it_exists(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    decide(w, "no", &json!({"decision": "Denied", "reason": "not theirs"}));
    let says = w.until_reason("c", "Revoked", "Denied");
    assert!(says.contains("ClientApproval no denies it, by anna@corp.example: not theirs"), "{says}");
    w.kubectl(&["delete", "oauthclient", "c", "--timeout=120s"]);
    w.client("c", &json!({"purpose": "The same again"}));
    w.until_reason("c", "Stalled", "Denied");
    assert!(w.live().is_empty());
    w.kubectl(&["delete", "clientapproval", "no"]);
    w.wait("oauthclient/c", "condition=Ready");
}

pub fn a_policy_that_asks_for_approval_later(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    w.wait_reason("oauthclient/c", "Compliant", "False", "ApprovalMissing");
    assert!(w.token("c-oauth").is_ok(), "it goes on");
    decide(w, "yes", &json!({"requestHash": hash(w)}));
    w.until("it is compliant", || w.client_condition("c", "Compliant").is_none());
    w.until("that is on record", || w.entry("c")["spec"]["approval"]["name"] == "yes");
}
