//! How clients authenticate, and how that changes under a workload that runs.

use oauthclient_operator::authorization_server::keys::{ClientKey, SigningAlg};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    every_authentication_method_works,
    another_method_replaces_without_a_gap,
    a_replacement_that_is_refused_changes_nothing,
    a_replacement_that_is_undone_is_ended,
    a_tenants_own_key_needs_no_secret,
    an_own_key_takes_the_place_of_ours,
];

fn every_authentication_method_works(w: &World) {
    w.client("basic", &json!({}));
    w.client("post", &json!({"tokenEndpointAuthMethod": "client_secret_post"}));
    w.client("key", &json!({"tokenEndpointAuthMethod": "private_key_jwt"}));
    w.client("rsa", &json!({"tokenEndpointAuthMethod": "private_key_jwt", "tokenEndpointAuthSigningAlg": "RS256"}));
    w.client(
        "public",
        &json!({"tokenEndpointAuthMethod": "none", "grantTypes": ["authorization_code"], "redirectUris": ["https://app.corp.example/cb"]}),
    );
    w.wait("oauthclients --all", "condition=Ready");
    assert_eq!(w.live().len(), 5);
    for name in ["basic", "post", "key", "rsa"] {
        assert!(w.token(&format!("{name}-oauth")).is_ok(), "{name}");
    }
    let public = w.secret("public-oauth");
    assert!(!public.contains_key("client_secret") && !public.contains_key("private_key.pem"), "{:?}", public.keys());
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    assert!(w.live().is_empty());
    for name in ["basic", "post", "key", "rsa", "public"] {
        assert_eq!(w.entry(name)["status"]["evidence"]["level"], "Proven", "{name}");
    }
}

fn another_method_replaces_without_a_gap(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let consumer = w.consumer("c-oauth");
    let mut before = w.secret("c-oauth");
    for (number, method) in [(2, "private_key_jwt"), (3, "client_secret_post"), (4, "client_secret_basic")] {
        w.patch("oauthclient/c", &json!({"spec": {"tokenEndpointAuthMethod": method}}));
        w.until("the Secret has the new credential", || w.secret("c-oauth")["token_endpoint_auth_method"] == method);
        w.until("the old client is gone", || w.live().len() == 1);
        let after = w.secret("c-oauth");
        assert_ne!(after["client_id"], before["client_id"]);
        assert_eq!(w.live()[0]["client_id"], after["client_id"].as_str(), "the new one stays");
        assert!(w.token_with(&before).is_err());
        let entries = w.entries("c");
        assert_eq!(entries.len(), number);
        let old =
            entries.iter().find(|e| e["status"]["clientId"] == before["client_id"].as_str()).expect("the old one");
        w.until("the old one is proven gone", || w.entries("c").iter().all(|e| e["status"]["phase"] != "Revoking"));
        assert_eq!(old["status"]["end"]["reason"], "Replaced");
        before = after;
    }
    w.wait("oauthclient/c", "condition=Ready");
    let (asked, refused) = consumer.stop();
    eprintln!("e2e: a consumer asked for {asked} tokens during three replacements");
    assert!(asked > 3 && refused.is_empty(), "a workload was refused in {asked} tries: {refused:?}");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    for entry in w.entries("c") {
        assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{entry:#}");
    }
}

fn a_replacement_that_is_refused_changes_nothing(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let before = w.secret("c-oauth");
    let bad = json!({"tokenEndpointAuthMethod": "private_key_jwt", "scopes": ["no.such.scope"]});
    w.patch("oauthclient/c", &json!({"spec": bad}));
    let says = w.until_reason("c", "Stalled", "ChangeRefused");
    assert!(says.contains("scope"), "it says what the server said: {says}");
    assert_eq!(
        w.client_condition("c", "Ready").expect("a condition")["status"],
        "True",
        "the client runs on as it was"
    );
    assert_eq!(w.secret("c-oauth"), before);
    assert!(w.token("c-oauth").is_ok());
    // Undone, it is as if nothing had been; done right, it goes through.
    w.patch("oauthclient/c", &json!({"spec": {"tokenEndpointAuthMethod": null, "scopes": ["reports.read"]}}));
    w.until("nothing is refused any more", || w.client_condition("c", "Stalled").is_none());
    assert_eq!(w.secret("c-oauth"), before);
    w.patch("oauthclient/c", &json!({"spec": {"tokenEndpointAuthMethod": "private_key_jwt"}}));
    w.until("the key is there", || w.secret("c-oauth").contains_key("private_key.pem"));
    w.until("the old client is gone", || w.live().len() == 1);
    assert!(w.token("c-oauth").is_ok());
}

fn a_replacement_that_is_undone_is_ended(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let before = w.secret("c-oauth");
    w.stop_server();
    w.patch("oauthclient/c", &json!({"spec": {"tokenEndpointAuthMethod": "private_key_jwt"}}));
    w.until("the replacement is tried", || w.entry("c")["status"]["retry"]["failures"].is_number());
    w.until("that is said", || {
        w.get("oauthclient/c")["status"]["message"].as_str().is_some_and(|m| m.contains("replac"))
    });
    assert_eq!(w.client_condition("c", "Ready").expect("a condition")["status"], "True");
    w.patch("oauthclient/c", &json!({"spec": {"tokenEndpointAuthMethod": null}}));
    w.until("it is given up", || w.entry("c")["status"]["phase"] == "Cancelled");
    w.start_server();
    assert!(w.token("c-oauth").is_ok());
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.until("the client goes on, and changes", || w.secret("c-oauth")["scopes"].contains("reports.write"));
    assert_eq!(w.secret("c-oauth")["client_id"], before["client_id"]);
    assert_eq!(w.live().len(), 1);
}

/// What a workload with a key of its own would hold.
fn own(w: &World, key: &ClientKey) -> std::collections::BTreeMap<String, String> {
    let id = w.get("oauthclient/c")["status"]["clientId"].as_str().expect("an id").to_owned();
    [
        ("client_id", id),
        ("private_key.pem", key.private_key_pem.expose_secret().to_owned()),
        ("key_id", key.key_id.clone()),
        ("issuer", w.issuer()),
        ("token_endpoint", format!("{}/token", w.issuer())),
        ("token_endpoint_auth_method", "private_key_jwt".to_owned()),
        ("scopes", "reports.read".to_owned()),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into()
}

fn a_tenants_own_key_needs_no_secret(w: &World) {
    let keys = [SigningAlg::Es256, SigningAlg::Es256].map(|alg| ClientKey::generate(alg).expect("a key"));
    w.client("c", &json!({"tokenEndpointAuthMethod": "private_key_jwt", "jwks": keys[0].public_jwks()}));
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.get("oauthclient/c")["status"]["binding"].is_null());
    assert!(!w.exists("secret/c-oauth"));
    let holder = own(w, &keys[0]);
    assert!(w.token_with(&holder).is_ok());
    w.patch("oauthclient/c", &json!({"spec": {"jwks": keys[1].public_jwks()}}));
    w.until("the next key works", || w.token_with(&own(w, &keys[1])).is_ok());
    assert_eq!(own(w, &keys[1])["client_id"], holder["client_id"], "the same client");
    assert!(w.token_with(&holder).is_err(), "the key before does not");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.live().is_empty());
    let evidence = &w.entry("c")["status"]["evidence"];
    assert_eq!(evidence["level"], "ServerConfirmed", "what cannot be tried cannot be proven: {evidence:#}");
    assert!(evidence["statement"].as_str().is_some_and(|s| s.contains("no credential of ours")));
}

fn an_own_key_takes_the_place_of_ours(w: &World) {
    w.client("c", &json!({"tokenEndpointAuthMethod": "private_key_jwt"}));
    w.wait("oauthclient/c", "condition=Ready");
    let before = w.secret("c-oauth");
    let key = ClientKey::generate(SigningAlg::Es256).expect("a key");
    w.patch("oauthclient/c", &json!({"spec": {"jwks": key.public_jwks()}}));
    w.until("the tenant's key works", || w.token_with(&own(w, &key)).is_ok());
    w.until("ours is gone, and its Secret", || w.live().len() == 1 && !w.exists("secret/c-oauth"));
    assert!(w.token_with(&before).is_err());
    w.until("the status names no Secret", || w.get("oauthclient/c")["status"]["binding"].is_null());
    assert!(w.token_with(&own(w, &key)).is_ok());
}
