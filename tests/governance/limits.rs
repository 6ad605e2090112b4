//! How much a policy allows.

use serde_json::{Value, json};

use super::policy;
use super::support::World;

pub fn no_more_than_the_limit_at_once(w: &World) {
    policy(w, "p", &json!({"limits": {"maxClientsPerNamespace": 3}}));
    let names: Vec<String> = (0..12).map(|n| format!("c{n}")).collect();
    w.clients(&names, &json!({}));
    let refused = || {
        let says = |n: &String| w.client_condition(n, "Stalled").is_some_and(|c| c["reason"] == "NotAllowedByPolicy");
        names.iter().filter(|n| says(n)).count()
    };
    w.until("three of them live and the others are told", || w.live().len() == 3 && refused() == names.len() - 3);
    assert_eq!(w.ledger().len(), 3, "no more were begun");
    let message = |n: &String| w.condition(&format!("oauthclient/{n}"), "Stalled")["message"].clone();
    let told = names.iter().map(message).find(Value::is_string).expect("a refusal");
    assert!(told.as_str().is_some_and(|t| t.contains("limits.maxClientsPerNamespace is 3")), "{told}");
    // Those who live stay, when it is less than they are.
    policy(w, "p", &json!({"limits": {"maxClientsPerNamespace": 1}, "onViolation": "Revoke"}));
    let ready = names.iter().find(|n| w.exists(&format!("secret/{n}-oauth"))).expect("one that lives");
    w.kubectl(&["delete", "oauthclient", ready, "--timeout=120s"]);
    assert_eq!(w.live().len(), 2);
}

pub fn lifetimes_count_from_the_first_registration(w: &World) {
    policy(w, "p", &json!({"limits": {"maxLifetime": "1h"}}));
    w.client("long", &json!({"lifetime": {"ttl": "61m"}}));
    w.until_reason("long", "Stalled", "NotAllowedByPolicy");
    w.client("c", &json!({"lifetime": {"ttl": "1h"}}));
    w.wait("oauthclient/c", "condition=Ready");
    // Suspended and on again: it is the same life.
    w.patch("oauthclient/c", &json!({"spec": {"suspend": true}}));
    w.wait("oauthclient/c", "condition=Revoked");
    let first = w.entry("c")["spec"]["firstRegisteredAt"].clone();
    let end = w.entry("c")["spec"]["expiresAt"].clone();
    w.patch("oauthclient/c", &json!({"spec": {"suspend": false}}));
    w.wait("oauthclient/c", "condition=Ready");
    let entry = w.entry("c");
    assert_eq!((&entry["spec"]["firstRegisteredAt"], &entry["spec"]["expiresAt"]), (&first, &end));
    w.patch("oauthclient/c", &json!({"spec": {"lifetime": {"ttl": null, "expiresAt": "2099-01-01T00:00:00Z"}}}));
    let says = w.until_reason("c", "Stalled", "NotAllowedByPolicy");
    assert!(says.contains("limits.maxLifetime 1h"), "{says}");
    assert_eq!(w.entry("c")["spec"]["expiresAt"], end, "it ends as it was allowed");
}
