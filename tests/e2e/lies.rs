//! Authorization servers that lie when a client is registered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::World;
use crate::support::proxy::{Lie, Reply};
use crate::{Story, stories};

/// The stories told here, each with a proxy before the authorization server.
pub const STORIES: &[Story] = &stories![
    more_scopes_than_asked_are_refused,
    more_grant_types_than_asked_are_refused,
    a_change_that_grants_more_is_refused,
    a_change_that_is_not_made_yet,
    a_server_that_changes_nothing_in_place,
    no_registration_access_token,
    no_registration_client_uri,
    registration_client_uri_of_another_origin,
    redirects_are_not_followed,
    an_answer_that_is_no_json,
    an_answer_that_never_ends,
    an_answer_that_breaks_off,
    an_error_after_the_server_acted,
    a_registration_that_takes_effect_late,
    an_initial_access_token_that_is_refused,
    an_initial_access_token_that_is_missing,
    a_page_at_the_revocation_endpoint_and_introspection_tells,
    a_public_client_that_may_not_revoke_tokens,
    where_nothing_tells_no_credential_is_handed_out,
    retry_after_in_seconds_is_honoured,
    retry_after_as_a_date_is_honoured,
];

/// How many registrations the server was asked for.
fn asked(w: &World) -> usize {
    w.proxy().calls(|c| c.is("POST", "/reg")).len()
}

fn more_scopes_than_asked_are_refused(w: &World) {
    granted_too_much(w, "reports.write", |client| client["scope"] = json!("reports.read reports.write"));
}

fn more_grant_types_than_asked_are_refused(w: &World) {
    granted_too_much(w, "refresh_token", |client| {
        client["grant_types"] = json!(["client_credentials", "refresh_token"]);
    });
}

fn granted_too_much(w: &World, what: &str, change: fn(&mut Value)) {
    let lie = w.proxy().lie(|c| c.is("POST", "/reg"), Lie::Json(Box::new(change)));
    w.client("c", &json!({}));
    let why = w.wait_reason("oauthclient/c", "Stalled", "True", "GrantedTooMuch");
    assert!(why.contains(what), "{why}");
    w.wait_event("c", "Revoked", what);
    assert!(w.live().is_empty());
    assert!(!w.exists("secret/c-oauth"));
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
    lie.stop();
    w.kubectl(&["annotate", "oauthclient/c", "looked-at=yes"]);
    w.client("other", &json!({}));
    w.wait("oauthclient/other", "condition=Ready");
    assert_eq!(w.entries("c").len(), 1, "not registered anew until edited");
    w.patch("oauthclient/c", &json!({"spec": {"purpose": "Edited after the server was mended"}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(asked(w), 3);
    assert_eq!(w.live().len(), 2);
}

fn a_change_that_grants_more_is_refused(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.proxy().lie(
        |c| c.is("PUT", "/reg/"),
        Lie::Json(Box::new(|client| client["scope"] = json!("reports.read reports.write partner.read"))),
    );
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    let why = w.wait_reason("oauthclient/c", "Stalled", "True", "GrantedTooMuch");
    assert!(why.contains("partner.read") && !why.contains("reports.write"), "{why}");
    assert!(w.live().is_empty());
    assert!(!w.exists("secret/c-oauth"));
    w.client("other", &json!({}));
    w.wait("oauthclient/other", "condition=Ready");
    assert_eq!((asked(w), w.entries("c").len()), (2, 1), "not registered anew until edited");
}

fn a_change_that_is_not_made_yet(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let busy = Reply::json(503, &json!({"error": "unavailable"}));
    let lie = w.proxy().lie(|c| c.is("PUT", "/reg/"), Lie::Instead(busy));
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    let why = w.wait_reason("oauthclient/c", "Reconciling", "True", "ChangePending");
    assert!(why.contains("503"), "{why}");
    assert_eq!(w.condition("oauthclient/c", "Ready")["status"], "True");
    assert!(w.token("c-oauth").is_ok());
    lie.stop();
    w.until("the change is made", || w.condition("oauthclient/c", "Reconciling").is_null());
    assert!(w.live()[0]["scope"].as_str().unwrap().contains("reports.write"));
    assert_eq!(w.live().len(), 1);
}

fn a_server_that_changes_nothing_in_place(w: &World) {
    let unsupported = Reply::json(405, &json!({"error": "method not allowed"}));
    let refused = w.proxy().lie(|c| c.is("PUT", "/reg/"), Lie::Instead(unsupported));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let (before, consumer) = (w.secret("c-oauth"), w.consumer("c-oauth"));
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.until("the Secret holds another client's credential", || {
        let now = w.secret("c-oauth");
        now["scopes"].contains("reports.write") && now["client_id"] != before["client_id"]
    });
    w.until("the old client is gone", || w.live().len() == 1);
    w.until("and that is proven", || w.entries("c")[0]["status"]["evidence"]["level"] == "Proven");
    let (asked, heard) = consumer.stop();
    assert!(asked > 2 && heard.is_empty(), "asked {asked} times, heard {heard:?}");
    let entries = w.entries("c");
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["status"]["end"]["reason"], "Replaced");
    assert_eq!(entries[1]["status"]["clientId"], w.secret("c-oauth")["client_id"].as_str());
    assert!(w.token_with(&before).is_err(), "the old credential is refused");
    // The Secret first, then the end of the old one.
    assert!(refused.matched() <= 2 && asked_to_delete(w) == 1);
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.token("c-oauth").is_ok());
}

fn asked_to_delete(w: &World) -> usize {
    w.proxy().calls(|c| c.is("DELETE", "/reg/")).len()
}

fn no_registration_access_token(w: &World) {
    unmanageable(w, "registration_access_token", |client| {
        client.as_object_mut().unwrap().remove("registration_access_token");
    });
}

fn no_registration_client_uri(w: &World) {
    unmanageable(w, "registration_client_uri", |client| {
        client.as_object_mut().unwrap().remove("registration_client_uri");
    });
}

fn registration_client_uri_of_another_origin(w: &World) {
    unmanageable(w, "another scheme, host or port", |client| {
        client["registration_client_uri"] = json!("https://elsewhere.example/reg/x");
    });
}

fn unmanageable(w: &World, what: &str, change: fn(&mut Value)) {
    let server = format!("authorizationserver/{}", w.namespace);
    let lie = w.proxy().lie(|c| c.is("POST", "/reg"), Lie::Json(Box::new(change)));
    w.client("first", &json!({}));
    w.wait_event("first", "PossibleOrphan", what);
    w.wait_reason(&server, "Ready", "False", "RevocationUnsupported");
    w.wait_reason("oauthclient/first", "Stalled", "True", "RevocationUnsupported");
    w.client("second", &json!({}));
    w.wait_reason("oauthclient/second", "Stalled", "True", "RevocationUnsupported");
    let orphan = w.entry("first");
    assert_eq!(orphan["status"]["phase"], "PossibleOrphan");
    let said = orphan["status"]["possibleOrphan"]["message"].as_str().unwrap();
    assert!(said.contains(what) && said.contains(w.live()[0]["client_name"].as_str().unwrap()), "{said}");
    assert_eq!((asked(w), w.live().len(), w.ledger().len()), (1, 1, 1));
    assert!(!w.exists("secret/first-oauth"));
    lie.stop();
    w.patch(&server, &json!({"spec": {"limits": {"burst": 41}}}));
    w.wait("oauthclient/second", "condition=Ready");
    w.wait("oauthclient/first", "condition=Ready");
    assert_eq!((asked(w), w.live().len()), (3, 3));
    assert_eq!(w.unreported(), Vec::<String>::new());
    assert_eq!(w.ledger().iter().filter(|e| e["status"]["phase"] == "PossibleOrphan").count(), 1);
}

fn redirects_are_not_followed(w: &World) {
    let elsewhere = Reply::new(307, "text/plain", "").header("location", format!("{}/stolen", w.proxy().url));
    let lie = w.proxy().lie(|c| c.is("POST", "/reg"), Lie::Instead(elsewhere));
    w.client("c", &json!({}));
    let why = w.wait_reason("oauthclient/c", "Ready", "False", "RegistrationFailing");
    assert!(why.contains("a redirect, which is never followed"), "{why}");
    w.wait_event("c", "RegistrationFailing", "redirect");
    lie.stop();
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.proxy().calls(|c| c.target.contains("stolen")).is_empty());
    assert_eq!((w.live().len(), w.ledger().len()), (1, 1), "a redirect registers nothing");
}

fn an_answer_that_is_no_json(w: &World) {
    outcome_unknown(w, "its body is no registration answer", Lie::ActedBut(Reply::page(201)));
}

fn an_answer_that_never_ends(w: &World) {
    outcome_unknown(w, "its body is larger than", Lie::Endless);
}

fn an_answer_that_breaks_off(w: &World) {
    outcome_unknown(w, "its body broke off", Lie::Truncated);
}

fn an_error_after_the_server_acted(w: &World) {
    outcome_unknown(w, "the server answered 500", Lie::ActedBut(Reply::json(500, &json!({"error": "server_error"}))));
}

/// The server registers a client and its answer is of no use: one possible orphan, and another client that works.
fn outcome_unknown(w: &World, why: &str, lie: Lie) {
    w.proxy().lie_times(1, |c| c.is("POST", "/reg"), lie);
    w.client("c", &json!({}));
    w.wait_event("c", "PossibleOrphan", why);
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!((asked(w), w.live().len()), (2, 2));
    assert_eq!(w.unreported(), Vec::<String>::new());
    let entries = w.entries("c");
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["status"]["phase"], "Registered");
    the_orphan_is_reported(w, &entries[0], why);
    let posts = w.proxy().calls(|c| c.is("POST", "/reg"));
    assert!(posts[1].at - posts[0].at >= Duration::from_millis(500), "the second attempt backs off");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert_eq!(w.live().len(), 1, "only what is reported is left");
    assert_eq!(w.unreported(), Vec::<String>::new());
}

/// A ledger entry says why a client may exist, and its marker is that of a client that does.
fn the_orphan_is_reported(w: &World, entry: &Value, why: &str) {
    assert_eq!(entry["status"]["phase"], "PossibleOrphan", "{entry:#}");
    let said = entry["status"]["possibleOrphan"]["message"].as_str().unwrap();
    let live = w.live();
    let marked = live.iter().any(|c| said.contains(c["client_name"].as_str().unwrap()));
    assert!(said.contains(why) && marked, "{said}");
}

fn a_registration_that_takes_effect_late(w: &World) {
    // Later attempts have no effect; the first is held back.
    w.proxy().lie(|c| c.is("POST", "/reg"), Lie::Instead(Reply::json(501, &json!({"error": "not now"}))));
    let late = w.proxy().lie_times(1, |c| c.is("POST", "/reg"), Lie::Held);
    w.client("c", &json!({}));
    w.wait_event("c", "PossibleOrphan", "no answer within");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.live().is_empty());
    late.release();
    w.until("the request takes effect after all", || w.live().len() == 1);
    assert_eq!(w.unreported(), Vec::<String>::new());
    the_orphan_is_reported(w, &w.entries("c")[0], "no answer within");
}

fn an_initial_access_token_that_is_refused(w: &World) {
    let expired = Reply::json(401, &json!({"error": "invalid_token", "error_description": "the token is used up"}));
    let lie = w.proxy().lie(|c| c.is("POST", "/reg"), Lie::Instead(expired));
    w.client("c", &json!({}));
    let why = w.wait_reason("oauthclient/c", "Ready", "False", "RegistrationFailing");
    assert!(why.contains("the token is used up") && why.contains("initialAccessToken"), "{why}");
    w.wait_event("c", "RegistrationFailing", "initialAccessToken");
    w.until("it was tried twice more", || asked(w) > 2);
    let posts = w.proxy().calls(|c| c.is("POST", "/reg"));
    assert!(posts[2].at - posts[0].at >= Duration::from_millis(1400), "with back-off");
    lie.stop();
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!((w.live().len(), w.ledger().len()), (1, 1));
}

fn an_initial_access_token_that_is_missing(w: &World) {
    for (secret, key, says) in
        [("no-such-secret", "token", "no-such-secret"), ("corp-registration", "no-such-key", "has no key no-such-key")]
    {
        let server = format!("{}-{key}", w.namespace);
        let token = json!({"secretName": secret, "key": key});
        w.authorization_server(&server, &json!({"backend": {"dynamicRegistration": {"initialAccessToken": token}}}));
        w.client(key, &json!({"authorizationServerRef": {"name": server}}));
        let why = w.wait_reason(&format!("oauthclient/{key}"), "Ready", "False", "RegistrationFailing");
        assert!(why.contains(says), "{why}");
        w.wait_event(key, "RegistrationFailing", says);
    }
    assert_eq!(asked(w), 0, "nothing was sent without it");
}

fn a_page_at_the_revocation_endpoint_and_introspection_tells(w: &World) {
    w.proxy().lie(|c| c.is("POST", "/token/revocation"), Lie::Instead(Reply::page(200)));
    w.client("c", &json!({}));
    another_way_tells(w, &["Introspection"]);
}

fn a_public_client_that_may_not_revoke_tokens(w: &World) {
    let refused = Reply::json(401, &json!({"error": "invalid_client"}));
    w.proxy().lie(|c| c.is("POST", "/token/revocation"), Lie::Instead(refused));
    w.client(
        "c",
        &json!({
            "tokenEndpointAuthMethod": "none", "grantTypes": ["authorization_code"],
            "redirectUris": ["https://app.corp.example/cb"],
        }),
    );
    another_way_tells(w, &["Introspection", "AuthorizationCode"]);
}

/// The revocation endpoint is of no use for probing, and one of these ways is: the client works, and its end is proven.
fn another_way_tells(w: &World, ways: &[&str]) {
    w.wait("oauthclient/c", "condition=Ready");
    let found = w.entry("c")["status"]["acceptance"]["method"].clone();
    assert!(ways.iter().any(|way| found == *way), "{found}");
    assert!(!w.proxy().calls(|c| c.is("POST", "/token/revocation")).is_empty(), "it was tried first");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    let entry = w.entry("c");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{entry:#}");
    assert_eq!((asked(w), w.live().len()), (1, 0));
}

fn where_nothing_tells_no_credential_is_handed_out(w: &World) {
    let same_to_all = [
        ("/token/revocation", Reply::json(200, &json!({}))),
        ("/token/introspection", Reply::json(200, &json!({"active": false}))),
        ("/token", Reply::json(400, &json!({"error": "invalid_grant"}))),
    ];
    for (path, reply) in same_to_all {
        w.proxy().lie(move |c| c.method == "POST" && c.target == path, Lie::Instead(reply));
    }
    w.client("c", &json!({}));
    let why = w.wait_reason("oauthclient/c", "Stalled", "True", "EvidenceUnobtainable");
    assert!(why.contains("set revocation.leastEvidence") && why.contains("ServerConfirmed"), "{why}");
    w.wait_event("c", "Revoked", "leastEvidence");
    assert!(w.live().is_empty() && !w.exists("secret/c-oauth"));
    let entry = w.entry("c");
    assert_eq!(
        (&entry["status"]["phase"], &entry["status"]["evidence"]["level"]),
        (&json!("Revoked"), &json!("ServerConfirmed"))
    );
    assert!(entry["status"]["registeredAt"].is_null(), "{entry:#}");
    w.kubectl(&["annotate", "oauthclient/c", "looked-at=yes"]);
    w.client("other", &json!({}));
    w.wait_reason("oauthclient/other", "Stalled", "True", "EvidenceUnobtainable");
    assert_eq!(w.entries("c").len(), 1, "not registered anew");
    w.server(&json!({"revocation": {"leastEvidence": "ServerConfirmed"}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.condition("oauthclient/c", "Ready")["message"].as_str().unwrap().contains("cannot be tried here"));
    w.wait("oauthclient/other", "condition=Ready");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    assert!(w.live().is_empty());
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "ServerConfirmed");
}

fn retry_after_in_seconds_is_honoured(w: &World) {
    too_many_requests(w, Reply::json(429, &json!({})).header("retry-after", "9"));
}

fn retry_after_as_a_date_is_honoured(w: &World) {
    let at = |time: &str| format!("Sun, 06 Nov 1994 {time} GMT");
    let reply = Reply::json(429, &json!({})).header("date", at("08:49:37")).header("retry-after", at("08:49:46"));
    too_many_requests(w, reply);
}

/// The server asks for nine seconds, once.
fn too_many_requests(w: &World, reply: Reply) {
    w.proxy().lie_times(1, |c| c.is("POST", "/reg"), Lie::Instead(reply));
    w.client("c", &json!({}));
    let why = w.wait_reason("oauthclient/c", "Ready", "False", "RegistrationFailing");
    assert!(why.contains("429"), "{why}");
    w.client("other", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/other", "condition=Ready");
    let posts = w.proxy().calls(|c| c.is("POST", "/reg"));
    assert!(posts[1].at - posts[0].at >= Duration::from_secs(9), "nobody asks earlier, other clients neither");
    assert_eq!((posts.len(), w.live().len(), w.ledger().len()), (3, 2, 2));
}
