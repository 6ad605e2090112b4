//! Whom a client's tokens may be for: those that were asked for, and nobody else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stories::client;
use crate::support::World;
use crate::support::admin::AdminServer;

const REPORTS: &str = "https://api.corp.example/reports";
const BILLING: &str = "https://api.corp.example/billing";

/// A token for an audience, with what is in a Secret.
fn token_for(w: &World, secret: &str, audience: &str) -> Result<String, String> {
    let mut held: BTreeMap<String, String> = w.secret(secret);
    held.insert("audience".into(), audience.into());
    w.token_with(&held)
}

pub fn audiences(w: &World, server: &dyn AdminServer) {
    client(w, server, "to-one", &json!({"audiences": [REPORTS]}));
    client(w, server, "to-nobody", &json!({}));
    for name in ["to-one", "to-nobody"] {
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    let id = w.client_id("to-one");
    assert_eq!(server.client(&id)["audience"], json!([REPORTS]));
    let token = token_for(w, "to-one-oauth", REPORTS).expect("a token for the audience that was asked for");
    assert_eq!(server.introspect(&token)["aud"], json!([REPORTS]));
    for (secret, audience) in [("to-one-oauth", BILLING), ("to-nobody-oauth", REPORTS)] {
        let refused = token_for(w, secret, audience).expect_err("a token for another");
        assert!(refused.contains("400") && refused.contains("invalid_request"), "{refused}");
    }
    let token = w.token("to-one-oauth").expect("a token for nobody in particular");
    assert!(server.introspect(&token)["aud"].as_array().is_none_or(Vec::is_empty));

    // An edit, with the same credential.
    let secret = w.secret("to-one-oauth");
    w.patch("oauthclient/to-one", &json!({"spec": {"audiences": [BILLING]}}));
    w.until("the server has the new one alone", || server.client(&id)["audience"] == json!([BILLING]));
    token_for(w, "to-one-oauth", BILLING).expect("a token for the new one");
    token_for(w, "to-one-oauth", REPORTS).expect_err("a token for the one before");

    // Of an URN Hydra compares nothing but that it is one: the client that runs goes on as it is.
    w.patch("oauthclient/to-one", &json!({"spec": {"audiences": ["urn:corp:reports"]}}));
    w.until("it is refused", || {
        let why = w.client_condition("to-one", "Stalled").unwrap_or_default();
        why["message"].as_str().is_some_and(|m| m.contains("urn:corp:reports would allow others"))
    });
    assert_eq!(server.client(&id)["audience"], json!([BILLING]));

    w.patch("oauthclient/to-one", &json!({"spec": {"audiences": Value::Null}}));
    w.until("none is allowed", || server.client(&id)["audience"] == json!([]));
    token_for(w, "to-one-oauth", BILLING).expect_err("a token for any");
    assert_eq!(w.secret("to-one-oauth"), secret);
    w.wait("oauthclient/to-one", "condition=Ready");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
}
