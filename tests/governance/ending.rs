//! Durable or ephemeral, and ends that are announced.

use serde_json::{Value, json};

use super::people::{ANNA, do_as_told, hash, may_approve, try_to_decide};
use super::policy;
use super::support::World;

fn shown(w: &World, client: &str) -> Value {
    w.get(&format!("oauthclient/{client}"))["status"]["durability"].clone()
}

/// A sample of the operator's metrics.
fn sample(w: &World, name: &str) -> f64 {
    let text = w.metrics();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse().expect("a number")
}

pub fn durable_and_ephemeral_are_told_apart(w: &World) {
    policy(w, "p", &json!({"allow": {"workloadKinds": ["batch/v1/Job", "apps/v1/Deployment"]}}));
    w.job("runs", "forever");
    w.kubectl(&["create", "deployment", "stays", "--image=none.example/none"]);
    let bound = |api: &str, kind: &str, name: &str| json!({"lifetime": {"ttl": "8760h"}, "workloadRef": {"apiVersion": api, "kind": kind, "name": name}});
    for (name, members, expected) in [
        ("day", json!({"lifetime": {"ttl": "24h"}}), "Ephemeral"),
        ("longer", json!({"lifetime": {"ttl": "24h1s"}}), "Durable"),
        ("job", bound("batch/v1", "Job", "runs"), "Ephemeral"),
        ("deployment", bound("apps/v1", "Deployment", "stays"), "Durable"),
    ] {
        w.client(name, &members);
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
        assert_eq!(shown(w, name), expected, "{name}");
    }
    // From the first registration: what is extended day by day is durable all the same.
    w.patch("oauthclient/day", &json!({"spec": {"lifetime": {"ttl": "25h"}}}));
    w.until("it is durable now", || shown(w, "day") == "Durable");
    let columns = w.kubectl(&["get", "oauthclients"]);
    let row = |name: &str| columns.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{columns}"));
    assert!(row("job").contains("Ephemeral") && row("longer").contains("Durable"), "{columns}");
    // Also of what is refused.
    w.client("refused", &json!({"scopes": ["admin"], "lifetime": {"ttl": "720h"}}));
    w.until_reason("refused", "Stalled", "NotAllowedByPolicy");
    assert_eq!(shown(w, "refused"), "Durable");
}

pub fn ends_are_announced(w: &World) {
    policy(w, "p", &json!({}));
    w.client("c", &json!({"lifetime": {"ttl": "60s"}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.client_condition("c", "Ending").is_none(), "not yet");
    let series = format!("oauthclient_ending_clients{{durability=\"Ephemeral\",server=\"{}\"}}", w.namespace);
    assert!(sample(w, &series).abs() < 0.1);
    let says = w.until_reason("c", "Ending", "LifetimeEnds");
    let (counted, over) = (sample(w, &series), !w.exists("secret/c-oauth"));
    assert!(counted > 0.9 || over, "{counted}");
    assert!(says.contains("its lifetime ends at") && says.contains("a longer spec.lifetime"), "{says}");
    w.until_reason("c", "Revoked", "Expired");
    w.wait_event("c", "Ending", "its lifetime ends at");
    w.until("nothing is announced any more", || w.client_condition("c", "Ending").is_none());
    assert!(w.live().is_empty());
}

pub fn a_review_that_is_due_is_announced(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({"approval": {"mode": "Always", "maxValidity": "90s"}}));
    assert!(sample(w, "oauthclient_unapproved_clients ").abs() < 0.1);
    w.client("c", &json!({}));
    w.wait_reason("oauthclient/c", "Accepted", "False", "ApprovalPending");
    w.until("it is counted, with its age", || {
        let age = sample(w, "oauthclient_unapproved_clients_oldest_age_seconds ");
        sample(w, "oauthclient_unapproved_clients ") > 0.9 && age > 1.0
    });
    try_to_decide(w, ANNA, "first", &json!({"requestHash": hash(w)})).expect("an approval");
    w.wait("oauthclient/c", "condition=Ready");
    w.until("none waits", || sample(w, "oauthclient_unapproved_clients ") < 0.1);
    let says = w.until_reason("c", "Ending", "ApprovalEnds");
    assert!(says.contains("the approval that it runs on, first, ends at"), "{says}");
    // The command that it names is the review.
    let end = w.entry("c")["spec"]["expiresAt"].clone();
    do_as_told(w, &says, "reviewed");
    w.until("it goes on", || w.entry("c")["spec"]["expiresAt"].as_str() > end.as_str());
    assert_eq!(w.entry("c")["spec"]["approval"]["reason"], "reviewed");
    w.until("nothing is announced any more", || w.client_condition("c", "Ending").is_none());
    assert_eq!(w.entries("c").len(), 1, "it is the same client");
}
