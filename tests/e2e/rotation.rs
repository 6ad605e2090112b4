//! A credential is replaced while its client is in use.

use serde_json::json;

use crate::support::World;
use crate::support::proxy::{Lie, Reply};
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    a_consumer_is_never_refused,
    two_requests_at_once_are_one_rotation,
    a_narrower_client_does_not_wait_for_the_overlap,
    what_has_no_credential_is_not_rotated,
    a_key_is_rotated_in_place,
];

/// Those that need a server which lies.
pub const BEHIND_A_PROXY: &[Story] = &stories![a_server_that_takes_no_second_key];

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

fn a_consumer_is_never_refused(w: &World) {
    w.client("c", &json!({"rotation": {"overlap": "25s"}}));
    w.wait("oauthclient/c", "condition=Ready");
    let (first, old) = (id(w), w.secret("c-oauth"));
    rotate(w, "now");
    w.used_until("c-oauth", "the credential is another", || rotated(w, &first));
    w.token_with(&old).expect("the one before goes on for the overlap");
    w.used_until("c-oauth", "the one before is refused", || w.token_with(&old).is_err());
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

fn keys(w: &World) -> usize {
    w.live()[0]["jwks"]["keys"].as_array().expect("keys").len()
}

fn a_key_is_rotated_in_place(w: &World) {
    w.client("c", &json!({"tokenEndpointAuthMethod": "private_key_jwt", "rotation": {"overlap": "25s"}}));
    w.wait("oauthclient/c", "condition=Ready");
    let (first, old) = (id(w), w.secret("c-oauth"));
    rotate(w, "now");
    w.used_until("c-oauth", "the key is another", || {
        let status = &w.get("oauthclient/c")["status"];
        status["rotation"]["way"] == "InPlace" && w.secret("c-oauth")["key_id"] != old["key_id"]
    });
    w.token_with(&old).expect("the one before goes on for the overlap");
    assert_eq!((id(w), w.entries("c").len(), keys(w)), (first, 1, 2), "the same client, with two keys");
    w.used_until("c-oauth", "the one before is refused", || w.token_with(&old).is_err());
    w.until("that is on record", || w.entry("c")["status"]["keyRotation"]["retiredAt"].is_string());
    assert_eq!(keys(w), 1);
    let name = w.entry("c")["metadata"]["name"].as_str().expect("a name").to_owned();
    let stored = w.read(&format!("/api/v1/namespaces/oauthclient-system/secrets/{name}")).expect("a Secret");
    assert!(stored["data"]["previous_private_key.pem"].is_null(), "what is dead is not kept");
    w.wait_event("c", "Rotated", "");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
    assert!(w.live().is_empty());
}

fn a_server_that_takes_no_second_key(w: &World) {
    let lie = w.proxy().lie(|c| c.is("PUT", "/reg/"), Lie::Instead(Reply::json(405, &json!({"error": "unsupported"}))));
    w.client("c", &json!({"tokenEndpointAuthMethod": "private_key_jwt", "rotation": {"overlap": "5s"}}));
    w.wait("oauthclient/c", "condition=Ready");
    let first = id(w);
    rotate(w, "now");
    w.used_until("c-oauth", "there is another client", || rotated(w, &first));
    assert!(lie.matched() >= 1, "a second key was tried first");
    assert_eq!(w.get("oauthclient/c")["status"]["rotation"]["way"], "NewRegistration");
    w.until("the first one is gone", || w.live().len() == 1);
}
