//! Deleting the object: what waits for what.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    deletion_waits_for_proof,
    torn_off_finalizers_revoke,
    deletion_is_held_no_longer_than_asked,
    garbage_collection_by_an_owner_revokes,
];

fn deletion_waits_for_proof(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.live().is_empty());
    let entry = w.entry("c");
    assert_eq!(entry["status"]["phase"], "Revoked", "what the deletion waited for: {entry:#}");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven");
}

fn torn_off_finalizers_revoke(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    // The server is away for as long as it takes to tear them off: the operator cannot be quicker.
    w.stop_server();
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    w.patch("oauthclient/c", &json!({"metadata": {"finalizers": null}}));
    w.wait_gone("oauthclient/c");
    w.start_server();
    w.until("it is proven all the same", || w.entry("c")["status"]["evidence"]["level"] == "Proven");
    assert!(w.live().is_empty());
    assert_eq!(w.entries("c").len(), 1);
}

fn deletion_is_held_no_longer_than_asked(w: &World) {
    w.server(&json!({"revocation": {"holdDeletionFor": "4s"}}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let secret = w.secret("c-oauth");
    w.stop_server();
    let asked = std::time::Instant::now();
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    w.wait("oauthclient/c", "delete");
    // The API server's deletion timestamp has whole seconds.
    assert!(asked.elapsed().as_secs() >= 3, "it went before its time");
    assert!(!w.exists("secret/c-oauth"));
    let entry = w.entry("c");
    assert_eq!(entry["status"]["phase"], "Revoking", "the debt stays: {entry:#}");
    assert!(entry["status"]["retry"]["lastError"].as_str().is_some_and(|e| !e.is_empty()));
    w.start_server();
    w.until("the debt is paid, with proof", || w.entry("c")["status"]["evidence"]["level"] == "Proven");
    assert_eq!(w.requests().get("DELETE /reg/:id"), Some(&1), "it was paid only now");
    assert!(w.live().is_empty());
    assert!(w.token_with(&secret).is_err());
}

fn garbage_collection_by_an_owner_revokes(w: &World) {
    w.job("work", "forever");
    let uid = w.get("job/work")["metadata"]["uid"].clone();
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "work", "uid": uid});
    w.try_client_with(&json!({"name": "c", "ownerReferences": [owner]}), &json!({})).expect("an OAuthClient");
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "job/work"]);
    w.wait("oauthclient/c", "delete");
    assert!(w.live().is_empty());
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
}
