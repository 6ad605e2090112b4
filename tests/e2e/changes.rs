//! What a client may be, and what becomes of changes.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] =
    &stories![every_authentication_method_works, scopes_change_in_place, nothing_before_the_workload,];

fn every_authentication_method_works(w: &World) {
    w.client("post", &json!({"tokenEndpointAuthMethod": "client_secret_post"}));
    w.client("key", &json!({"tokenEndpointAuthMethod": "private_key_jwt"}));
    w.client("rsa", &json!({"tokenEndpointAuthMethod": "private_key_jwt", "tokenEndpointAuthSigningAlg": "RS256"}));
    w.client(
        "public",
        &json!({"tokenEndpointAuthMethod": "none", "grantTypes": ["authorization_code"], "redirectUris": ["https://app.corp.example/cb"]}),
    );
    for name in ["post", "key", "rsa", "public"] {
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    assert_eq!(w.live().len(), 4);
    assert!(w.secret("key-oauth").contains_key("private_key.pem"));
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=60s"]);
    assert!(w.live().is_empty());
    for name in ["post", "key", "rsa", "public"] {
        assert_eq!(w.entry(name)["status"]["evidence"]["level"], "Proven", "{name}");
    }
}

fn scopes_change_in_place(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let id = w.live()[0]["client_id"].clone();
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.until("the server has the new scopes", || {
        w.live().first().is_some_and(|c| c["scope"].as_str().is_some_and(|s| s.contains("reports.write")))
    });
    assert_eq!(w.live()[0]["client_id"], id);
    w.kubectl(&["delete", "oauthclient/c", "--timeout=60s"]);
    assert!(w.live().is_empty(), "the rotated registration access token was kept");
}

fn nothing_before_the_workload(w: &World) {
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "late"}}));
    w.until("the condition says what is missing", || {
        w.get("oauthclient/c")["status"]["message"].as_str().is_some_and(|m| m.contains("Job late"))
    });
    assert!(w.live().is_empty());
    w.job("late", "forever");
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "job/late"]);
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
}
