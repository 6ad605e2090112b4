//! Policies that change while clients run on them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::policy;
use super::support::World;

pub fn a_narrower_policy_warns(w: &World) {
    policy(w, "p", &json!({}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    policy(w, "p", &json!({"allow": {"scopes": ["other"]}}));
    let says = w.wait_reason("oauthclient/c", "Compliant", "False", "NotAllowedByPolicy");
    assert!(says.contains("p: scope reports.read is not in allow.scopes (other)"), "{says}");
    w.wait_event("c", "NotCompliant", "scope reports.read");
    assert_eq!(w.condition("oauthclient/c", "Ready")["status"], "True");
    assert!(w.token("c-oauth").is_ok(), "it goes on");
    w.kubectl(&["delete", "secret", "c-oauth"]);
    w.until("its Secret is put back all the same", || w.exists("secret/c-oauth"));
    policy(w, "q", &json!({}));
    w.until("another policy allows it", || w.client_condition("c", "Compliant").is_none());
    w.until("that is on record", || w.entry("c")["spec"]["policy"]["name"] == "q");
}

pub fn a_narrower_policy_revokes(w: &World) {
    policy(w, "p", &json!({}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let old = w.secret("c-oauth");
    policy(w, "p", &json!({"allow": {"scopes": ["other"]}, "onViolation": "Revoke"}));
    let says = w.until_reason("c", "Revoked", "PolicyViolation");
    assert!(says.contains("scope reports.read is not in allow.scopes (other)"), "{says}");
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
    assert!(w.live().is_empty() && !w.exists("secret/c-oauth"));
    assert!(w.token_with(&old).is_err());
    w.until_reason("c", "Stalled", "NotAllowedByPolicy");
    // It deserves one again once it is allowed again.
    policy(w, "p", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!((w.live().len(), w.entries("c").len()), (1, 2));
}

pub fn a_policy_that_is_deleted_counts_as_changed(w: &World) {
    policy(w, "p", &json!({"onViolation": "Revoke"}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "clientpolicy", "p"]);
    let says = w.until_reason("c", "Revoked", "PolicyViolation");
    assert!(says.contains("no ClientPolicy is about"), "{says}");
    assert!(w.live().is_empty());
}

pub fn many_clients_are_judged_anew(w: &World) {
    policy(w, "p", &json!({"onViolation": "Revoke"}));
    let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    w.clients(&names, &json!({}));
    for name in &names {
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    let began = Instant::now();
    policy(w, "p", &json!({"allow": {"scopes": ["other"]}, "onViolation": "Revoke"}));
    w.until("all of them are gone", || w.live().is_empty());
    eprintln!("governance: {} clients revoked {:.1} s after the policy", names.len(), began.elapsed().as_secs_f32());
    for name in &names {
        w.until_reason(name, "Revoked", "PolicyViolation");
    }
}

/// However many there are (`GOVERNED_CLIENTS`, 60): they are judged a few at a time, the server hears nothing of it, and
/// whoever asks for a client meanwhile is not behind all of them.
pub fn many_are_judged_without_a_stampede(w: &World) {
    const LONG: Duration = Duration::from_secs(900);
    w.server(&json!({"limits": {"requestsPerSecond": 500, "burst": 500, "maxInFlight": 32}}));
    policy(w, "p", &json!({}));
    policy(w, "q", &json!({"allow": {"scopes": ["reports.write"]}}));
    let many: usize = std::env::var("GOVERNED_CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let names: Vec<String> = (0..many).map(|n| format!("c{n}")).collect();
    w.clients(&names, &json!({}));
    let of_all = |type_: &str, status: &str| {
        std::thread::sleep(Duration::from_millis(500));
        let path = format!("/apis/oauthclient.dev/v1alpha1/namespaces/{}/oauthclients", w.namespace);
        let list = w.read(&path).expect("OAuthClients");
        let is = |c: &Value| {
            let all = c["status"]["conditions"].as_array();
            all.is_some_and(|all| all.iter().any(|c| c["type"] == type_ && c["status"] == status))
        };
        list["items"].as_array().expect("items").iter().filter(|c| is(c)).count()
    };
    w.until_after(LONG, "all of them are ready", || of_all("Ready", "True") == many);
    w.requests();
    let began = Instant::now();
    policy(w, "p", &json!({"allow": {"scopes": ["nothing"]}}));
    w.client("new", &json!({"scopes": ["reports.write"]}));
    w.wait("oauthclient/new", "condition=Ready");
    let ready = began.elapsed().as_secs_f32();
    w.until_after(LONG, "all of them are told", || of_all("Compliant", "False") == many);
    let told = began.elapsed().as_secs_f32();
    eprintln!(
        "governance: {many} clients told after {told:.1} s; one that was asked for meanwhile ready after {ready:.1} s"
    );
    let asked = w.requests();
    assert_eq!(asked.get("POST /reg"), Some(&1), "of the new one: {asked:?}");
    assert!(asked.keys().all(|k| !k.starts_with("DELETE") && !k.starts_with("PUT")), "{asked:?}");
    assert_eq!(w.live().len(), many + 1);
}
