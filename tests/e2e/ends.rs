//! Every end of a client revokes it.

use serde_json::json;

use crate::support::{World, now, time};
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    expiry_revokes,
    lifetime_is_extended_and_cut_short,
    suspension_revokes_and_comes_back,
    suspended_from_the_start_is_never_registered,
    finished_objects_go_when_asked,
    deleted_entry_revokes_until_edited,
];

fn expiry_revokes(w: &World) {
    w.client("c", &json!({"lifetime": {"ttl": "1h"}}));
    w.wait("oauthclient/c", "condition=Ready");
    // Counted from when it was registered: its end is some seconds ahead, however long that took.
    let lived = now() - time(&w.entry("c")["spec"]["firstRegisteredAt"]);
    w.patch("oauthclient/c", &json!({"spec": {"lifetime": {"ttl": format!("{}s", lived.num_seconds() + 5)}}}));
    w.until_reason("c", "Revoked", "Expired");
    assert!(w.live().is_empty());
    let entry = w.entry("c");
    assert_eq!(entry["status"]["end"]["reason"], "Expired");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{entry:#}");
    assert!(time(&entry["status"]["revokedAt"]) >= time(&entry["spec"]["expiresAt"]), "not before its time");
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

fn lifetime_is_extended_and_cut_short(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let before = w.secret("c-oauth");
    w.patch("oauthclient/c", &json!({"spec": {"lifetime": {"ttl": "2h"}}}));
    w.until("the Secret says until when", || w.secret("c-oauth")["expires_at"] > before["expires_at"]);
    let after = w.secret("c-oauth");
    assert_eq!(after["client_id"], before["client_id"], "the running client goes on");
    assert_eq!(after["client_secret"], before["client_secret"]);
    assert!(w.token("c-oauth").is_ok());
    w.until("the ledger and the status say the same", || {
        let (entry, client) = (w.entry("c"), w.get("oauthclient/c"));
        entry["spec"]["expiresAt"] == after["expires_at"] && client["status"]["expiresAt"] == after["expires_at"]
    });
    let past = json!({"spec": {"lifetime": {"ttl": null, "expiresAt": "2020-01-01T00:00:00Z"}}});
    w.patch("oauthclient/c", &past);
    w.until_reason("c", "Revoked", "Expired");
    assert!(w.live().is_empty());
    assert!(!w.exists("secret/c-oauth"));
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
    w.patch("oauthclient/c", &json!({"spec": {"lifetime": {"expiresAt": null, "ttl": "3h"}}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_ne!(w.secret("c-oauth")["client_id"], before["client_id"], "what ended stays ended: this is another client");
}

fn suspended_from_the_start_is_never_registered(w: &World) {
    w.client("c", &json!({"suspend": true}));
    let says = w.until_reason("c", "Stalled", "Suspended");
    assert!(says.contains("set it to false"), "{says}");
    assert!(w.live().is_empty() && w.entries("c").is_empty());
    w.patch("oauthclient/c", &json!({"spec": {"suspend": false}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.client_condition("c", "Stalled").is_none());
    assert!(w.token("c-oauth").is_ok());
}

fn finished_objects_go_when_asked(w: &World) {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "work"});
    w.job("work", "forever");
    w.client("stays", &json!({"workloadRef": job}));
    w.client("goes", &json!({"workloadRef": job, "ttlSecondsAfterFinished": 2}));
    w.wait("oauthclient/stays", "condition=Ready");
    w.wait("oauthclient/goes", "condition=Ready");
    w.finish_job("work");
    w.wait("oauthclient/stays", "condition=Revoked");
    w.wait("oauthclient/goes", "delete");
    let gone = now();
    let entry = w.entry("goes");
    let revoked = entry["status"]["revokedAt"].as_str().expect("the ledger keeps its entry");
    let revoked = chrono::DateTime::parse_from_rfc3339(revoked).expect("a time");
    assert!((gone - revoked.to_utc()).num_milliseconds() >= 2_000, "it went too early");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven");
    assert!(w.exists("oauthclient/stays"), "who asks for nothing keeps the object");
}

fn deleted_entry_revokes_until_edited(w: &World) {
    w.client("c", &json!({}));
    w.client("edited", &json!({}));
    for name in ["c", "edited"] {
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    // An edit before the entry is deleted is none after it.
    w.patch("oauthclient/edited", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.until("the edit is in force", || w.secret("edited-oauth")["scopes"].contains("reports.write"));
    w.until("the status knows", || {
        let client = w.get("oauthclient/edited");
        client["status"]["observedGeneration"] == client["metadata"]["generation"]
    });
    for name in ["c", "edited"] {
        let entry = w.entry(name)["metadata"]["name"].as_str().expect("a name").to_owned();
        w.kubectl(&["-n", "oauthclient-system", "delete", "clientregistration", &entry, "--timeout=120s"]);
    }
    assert!(w.live().is_empty());
    for name in ["c", "edited"] {
        let says = w.until_reason(name, "Stalled", "RegistrationDeleted");
        assert!(says.contains("edited"), "{says}");
        w.until("the Secret is gone", || !w.exists(&format!("secret/{name}-oauth")));
        // What is no edit changes nothing, however often it is looked at.
        w.kubectl(&["label", &format!("oauthclient/{name}"), "looked=at"]);
    }
    w.client("later", &json!({}));
    w.wait("oauthclient/later", "condition=Ready");
    assert_eq!(w.live().len(), 1, "neither was registered anew");
    for name in ["c", "edited"] {
        w.patch(&format!("oauthclient/{name}"), &json!({"spec": {"purpose": "Another test"}}));
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
        assert!(w.token(&format!("{name}-oauth")).is_ok());
    }
    assert_eq!(w.live().len(), 3);
}
