//! Authorization servers: held while clients live, down, and back.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    server_is_held_while_clients_live,
    a_server_that_is_down_is_a_debt,
    what_ends_goes_before_what_begins,
    a_new_ca_is_for_clients_from_before_as_well,
];

fn server_is_held_while_clients_live(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", &w.server_name(), "--wait=false"]);
    w.client("late", &json!({}));
    let says = w.until_reason("late", "Stalled", "AuthorizationServerDeleting");
    assert!(says.contains("is being deleted"), "{says}");
    assert!(w.token("c-oauth").is_ok(), "the client goes on");
    w.patch("oauthclient/c", &json!({"spec": {"lifetime": {"ttl": "2h"}}}));
    w.until("it still changes", || w.entry("c")["spec"]["expiresAt"] == w.secret("c-oauth")["expires_at"].as_str());
    assert!(w.exists(&w.server_name()), "the server is held");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.live().is_empty());
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
    w.wait(&w.server_name(), "delete");
    w.until_reason("late", "Stalled", "UnknownAuthorizationServer");
}

fn a_server_that_is_down_is_a_debt(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.stop_server();
    let others: Vec<String> = (0..5).map(|n| format!("new{n}")).collect();
    w.clients(&others, &json!({}));
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    let says = w.wait_reason(&w.server_name(), "CircuitOpen", "True", "Failing");
    assert!(says.contains("https://localhost") && says.contains("left alone"), "{says}");
    w.kubectl(
        &[
            &["delete", "oauthclient", "--timeout=120s"],
            others.iter().map(String::as_str).collect::<Vec<_>>().as_slice(),
        ]
        .concat(),
    );
    w.until("the debt is on record, with the reason", || {
        w.entry("c")["status"]["retry"]["lastError"].as_str().is_some_and(|e| e.contains("localhost"))
    });
    assert!(w.exists("oauthclient/c"), "the object waits for proof");
    assert!(!w.exists("secret/c-oauth"), "the Secret goes at once");
    w.start_server();
    w.wait_gone("oauthclient/c");
    assert_eq!(w.requests().get("DELETE /reg/:id"), Some(&1), "it was paid only now");
    assert!(w.live().is_empty());
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
    w.until("it is not left alone any more", || w.condition(&w.server_name(), "CircuitOpen").is_null());
}

fn what_ends_goes_before_what_begins(w: &World) {
    // One request a second, one at a time: each registration takes three.
    w.server(&json!({"limits": {"requestsPerSecond": 1, "burst": 1, "maxInFlight": 1}}));
    w.client("old", &json!({}));
    w.wait("oauthclient/old", "condition=Ready");
    let names: Vec<String> = (0..15).map(|n| format!("new{n}")).collect();
    w.clients(&names, &json!({}));
    w.until("the first of them is registered", || w.live().len() > 1);
    w.kubectl(&["delete", "oauthclient/old", "--timeout=120s"]);
    assert_eq!(w.entry("old")["status"]["evidence"]["level"], "Proven");
    let before = w.live().len();
    // Each takes three seconds, so it is for kubectl to come to its point; in line, all would have gone before.
    assert!(before <= 10, "{before} of 15 registrations went before one deletion");
    w.kubectl(&["delete", "oauthclients", "--all", "--wait=false"]);
}

fn a_new_ca_is_for_clients_from_before_as_well(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let ca = w.start_server_of_another_ca();
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    w.until("it is noticed, and said", || {
        w.entry("c")["status"]["retry"]["lastError"]
            .as_str()
            .is_some_and(|e| e.contains("check the server's certificate"))
    });
    w.server(&json!({"tls": {"caBundle": ca}}));
    w.wait_gone("oauthclient/c");
    let entry = w.entry("c");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven");
    assert_ne!(entry["spec"]["server"]["caBundle"], json!(ca), "what is on record stays");
    // The tests trust the first one.
    w.stop_server();
    w.start_server();
    assert!(w.live().is_empty());
}
