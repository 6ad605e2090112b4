//! Every end of a client revokes it.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    job_end_revokes_with_proof,
    deletion_waits_for_proof,
    expiry_revokes,
    suspension_revokes_and_comes_back,
    namespace_deletion_revokes,
    torn_off_finalizers_revoke,
    deleted_entry_revokes_until_edited,
];

fn job_end_revokes_with_proof(w: &World) {
    w.job("work", "forever");
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "work"}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.live().len(), 1);
    assert!(w.token("c-oauth").is_ok());
    let secret = w.secret("c-oauth");
    w.finish_job("work");
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
    assert!(w.token_with(&secret).is_err());
    assert!(!w.exists("secret/c-oauth"));
    let entry = w.entry("c");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{entry:#}");
    assert_eq!(entry["status"]["end"]["reason"], "WorkloadFinished");
    let ready = w.get("oauthclient/c")["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "Ready");
    assert!(!ready, "an ended client has no Ready");
}

fn deletion_waits_for_proof(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=60s"]);
    assert!(w.live().is_empty());
}

fn expiry_revokes(w: &World) {
    w.client("c", &json!({"lifetime": {"ttl": "4s"}, "ttlSecondsAfterFinished": 0}));
    w.wait_gone("oauthclient/c");
    assert!(w.live().is_empty());
}

fn suspension_revokes_and_comes_back(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.patch("oauthclient/c", &json!({"spec": {"suspend": true}}));
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
    w.patch("oauthclient/c", &json!({"spec": {"suspend": false}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.live().len(), 1);
}

fn namespace_deletion_revokes(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "namespace", &w.namespace, "--timeout=60s"]);
    w.until("no client is left at the server", || w.live().is_empty());
}

fn torn_off_finalizers_revoke(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    let _ = w.try_kubectl(&["patch", "oauthclient/c", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    w.until("no client is left at the server", || w.live().is_empty());
}

fn deleted_entry_revokes_until_edited(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let name = w.entry("c")["metadata"]["name"].as_str().unwrap().to_owned();
    w.kubectl(&["-n", "oauthclient-system", "delete", "clientregistration", &name, "--timeout=60s"]);
    assert!(w.live().is_empty());
}
