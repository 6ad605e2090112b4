//! A credential is replaced while its client is in use.

use std::time::Duration;

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    a_consumer_is_never_refused,
    two_requests_at_once_are_one_rotation,
    a_narrower_client_does_not_wait_for_the_overlap,
    what_has_no_credential_is_not_rotated,
];

fn rotate(w: &World, how: &str) {
    w.kubectl(&["annotate", "oauthclient/c", &format!("oauthclient.dev/rotate={how}"), "--overwrite"]);
}

fn rotated(w: &World, from: &str) -> bool {
    let status = &w.get("oauthclient/c")["status"];
    status["clientId"] != from && status["rotation"]["lastRotatedAt"].is_string() && status["state"] == "Ready"
}

fn id(w: &World) -> String {
    w.get("oauthclient/c")["status"]["clientId"].as_str().expect("an id").to_owned()
}

/// Asks for a token every 100 ms with what the Secret held just before, until this holds; every one must be given.
fn used_until(w: &World, what: &str, holds: impl Fn() -> bool) {
    w.until(what, || {
        for _ in 0..5 {
            let held = w.secret("c-oauth");
            std::thread::sleep(Duration::from_millis(100));
            w.token_with(&held).expect("the consumer is never refused");
        }
        holds()
    });
}

fn a_consumer_is_never_refused(w: &World) {
    w.client("c", &json!({"rotation": {"overlap": "8s"}}));
    w.wait("oauthclient/c", "condition=Ready");
    let (first, old) = (id(w), w.secret("c-oauth"));
    rotate(w, "now");
    used_until(w, "the credential is another", || rotated(w, &first));
    w.token_with(&old).expect("the one before goes on for the overlap");
    used_until(w, "the one before is refused", || w.token_with(&old).is_err());
    w.until("the first client is gone, and proven so", || {
        let all = w.entries("c");
        let gone = all.iter().find(|e| e["status"]["clientId"] == first.as_str()).expect("its entry");
        gone["status"]["evidence"]["level"] == "Proven" && gone["status"]["end"]["reason"] == "Replaced"
    });
    assert_eq!(w.live().len(), 1);
    let now = w.get("oauthclient/c");
    assert!(now["metadata"]["annotations"]["oauthclient.dev/rotate"].is_null(), "it clears itself");
    assert_eq!(now["status"]["rotation"]["way"], "NewRegistration");
    assert!(now["status"]["rotation"]["requestedAt"].is_null());
    w.wait_event("c", "Rotated", "");
}

fn two_requests_at_once_are_one_rotation(w: &World) {
    w.client("c", &json!({"rotation": {"every": "30m"}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.get("oauthclient/c")["status"]["nextRotationAt"].is_string());
    let first = id(w);
    rotate(w, "now");
    rotate(w, "and-again");
    w.until("it is rotated", || rotated(w, &first));
    rotate(w, "once-more");
    w.until("nothing is asked for any more", || {
        w.get("oauthclient/c")["metadata"]["annotations"]["oauthclient.dev/rotate"].is_null()
    });
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.entries("c").len(), 2, "one rotation");
    let second = id(w);
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.live().is_empty(), "{second} and what is left of {first}");
}

fn a_narrower_client_does_not_wait_for_the_overlap(w: &World) {
    w.client("c", &json!({"scopes": ["reports.read", "reports.write"], "rotation": {"overlap": "1h"}}));
    w.wait("oauthclient/c", "condition=Ready");
    let (first, old) = (id(w), w.secret("c-oauth"));
    rotate(w, "now");
    w.until("it is rotated", || rotated(w, &first));
    w.token_with(&old).expect("the overlap");
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read"]}}));
    w.until("what may do more is gone at once", || w.token_with(&old).is_err());
    w.until("the Secret names the scope that is left", || {
        w.secret("c-oauth").get("scopes").is_some_and(|s| s == "reports.read")
    });
    w.token("c-oauth").expect("the one that is published works");
}

fn what_has_no_credential_is_not_rotated(w: &World) {
    let public = json!({
        "tokenEndpointAuthMethod": "none", "grantTypes": ["authorization_code"],
        "redirectUris": ["https://app.corp.example/cb"],
    });
    w.client("c", &public);
    w.wait("oauthclient/c", "condition=Ready");
    rotate(w, "now");
    w.wait_event("c", "RotationUnsupported", "no credential");
    w.until("the annotation is off", || {
        w.get("oauthclient/c")["metadata"]["annotations"]["oauthclient.dev/rotate"].is_null()
    });
    assert_eq!(w.entries("c").len(), 1);
}
