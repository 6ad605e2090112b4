//! Authorization servers that lie when a client is revoked: what proves nothing, and what becomes of the debt.

use serde_json::{Value, json};

use crate::support::World;
use crate::support::proxy::{Call, Lie, Reply};
use crate::{Story, stories};

/// The stories told here, each with a proxy before the authorization server.
pub const STORIES: &[Story] = &stories![
    not_found_for_everything_proves_nothing,
    a_swapped_server_proves_nothing,
    a_server_swapped_back_proves_nothing,
    a_deletion_answered_500,
    a_deletion_answered_500_after_it_was_done,
    a_deletion_whose_answer_is_lost,
    a_deletion_refused_by_a_gateway,
    a_page_at_the_probe_proves_nothing,
    a_change_whose_answer_is_lost,
];

/// Starts the deletion of a client and waits for the debt; what the ledger says of it.
fn debt(w: &World, says: &str) -> Value {
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    let mut entry = Value::Null;
    w.until(&format!("the debt says {says}"), || {
        entry = w.entry("c");
        entry["status"]["retry"]["lastError"].as_str().is_some_and(|e| e.contains(says))
    });
    assert_eq!(entry["status"]["phase"], "Revoking", "{entry:#}");
    assert_ne!(entry["status"]["evidence"]["level"], "Proven");
    assert!(w.exists("oauthclient/c"), "the object waits for proof");
    // By another controller than the one that says what is owed.
    w.until("the Secret goes, whatever becomes of the client", || !w.exists("secret/c-oauth"));
    w.wait_reason("oauthclient/c", "Revoked", "False", "RevocationFailing");
    entry
}

/// Waits until the debt is paid, with proof.
fn paid(w: &World) {
    w.wait_gone("oauthclient/c");
    assert!(w.live().is_empty());
    let entry = w.entry("c");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{entry:#}");
}

fn not_found_for_everything_proves_nothing(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let lie = w.proxy().lie(|_| true, Lie::Instead(Reply::json(404, &json!({"error": "not found"}))));
    debt(w, "no OAuth answer");
    assert_eq!(w.live().len(), 1);
    lie.stop();
    paid(w);
}

fn a_swapped_server_proves_nothing(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let another = w.another_server();
    w.proxy().point_at(&another.address);
    debt(w, "signing keys");
    // What is known so far is said with its level, and what it rests on.
    let evidence = w.entry("c")["status"]["evidence"].clone();
    assert_eq!(evidence["level"], "Unverifiable", "{evidence:#}");
    assert!(evidence["statement"].as_str().is_some_and(|s| s.contains("another server")), "{evidence:#}");
    assert_eq!((&evidence["before"]["answer"]["status"], &evidence["after"]["status"]), (&json!(200), &json!(401)));
    assert_eq!(w.live().len(), 1);
    w.proxy().point_at(&w.server_address());
    paid(w);
}

/// The deletion and the probe go to another server; when asked who it is, the right one answers.
fn a_server_swapped_back_proves_nothing(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let another = w.another_server();
    w.proxy().point_at(&another.address);
    let who = w.proxy().lie_times(1, |c| c.is("GET", "/.well-known/"), Lie::Held);
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    w.until("the server is asked who it is", || who.matched() == 1);
    w.proxy().point_at(&w.server_address());
    who.release();
    w.wait_gone("oauthclient/c");
    assert!(w.live().is_empty());
    paid(w);
    let deletions = w.proxy().calls(is_deletion).len();
    assert!(deletions > 1, "{deletions} deletion: the right server never took one");
}

fn is_deletion(call: &Call) -> bool {
    call.is("DELETE", "/reg/")
}

fn a_deletion_answered_500(w: &World) {
    failing_deletion(w, "500", Lie::Instead(Reply::json(500, &json!({"error": "server_error"}))));
}

fn a_deletion_answered_500_after_it_was_done(w: &World) {
    failing_deletion(w, "500", Lie::ActedBut(Reply::json(500, &json!({"error": "server_error"}))));
}

fn a_deletion_whose_answer_is_lost(w: &World) {
    failing_deletion(w, "the connection broke", Lie::ActedButReset);
}

fn a_deletion_refused_by_a_gateway(w: &World) {
    failing_deletion(w, "still accepted", Lie::Instead(Reply::json(401, &json!({"error": "unauthorized"}))));
}

/// The first two deletions go wrong; then the truth.
fn failing_deletion(w: &World, says: &str, lie: Lie) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let lie = w.proxy().lie(is_deletion, lie);
    debt(w, says);
    // What failed first may be another thing on a slow machine.
    w.wait_event("c", "RevocationFailing", "");
    w.until("the object says so", || {
        w.condition("oauthclient/c", "Revoked")["message"].as_str().is_some_and(|m| m.contains(says))
    });
    w.until("it was tried again", || lie.matched() > 1);
    lie.stop();
    paid(w);
    assert!(w.proxy().calls(is_deletion).len() < 8, "with back-off");
}

fn a_page_at_the_probe_proves_nothing(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let lie = w.proxy().lie(|c| c.is("POST", "/token/revocation"), Lie::Instead(Reply::page(200)));
    debt(w, "no OAuth answer");
    lie.stop();
    paid(w);
}

fn a_change_whose_answer_is_lost(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let secret = w.secret("c-oauth");
    w.proxy().lie_times(1, |c| c.is("PUT", "/reg/"), Lie::ActedButReset);
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.wait_reason("oauthclient/c", "Stalled", "True", "ChangeRefused");
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.secret("c-oauth")["client_secret"], secret["client_secret"]);
    assert!(w.token("c-oauth").is_ok(), "the client goes on");
    assert!(w.proxy().calls(|c| c.is("PUT", "/reg/")).len() <= 3);
    // The rotated registration access token went with the answer: nothing is left to delete the client by.
    let entry = debt(w, "registration access token");
    assert_eq!(entry["status"]["deletion"]["status"], 401);
    assert_eq!(w.live().len(), 1);
    assert_eq!(w.unreported(), Vec::<String>::new());
}
