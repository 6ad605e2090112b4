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
    w.kubectl(&["delete", "oauthclient/c", "--timeout=60s"]);
    assert!(w.live().is_empty());
}

fn torn_off_finalizers_revoke(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    let _ = w.try_kubectl(&["patch", "oauthclient/c", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    w.until("no client is left at the server", || w.live().is_empty());
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
