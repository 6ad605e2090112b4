//! How long a yes and a no take, for whoever waits: printed, not judged, since no two machines are alike.

use std::time::{Duration, Instant};

use serde_json::json;

use super::people::{ANNA, hash_of, may_approve, try_to_decide};
use super::policy;
use super::support::World;

const ROUNDS: usize = 9;

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// From now until a condition is this.
fn until(w: &World, client: &str, type_: &str, status: &str) -> Duration {
    let began = Instant::now();
    w.until(&format!("{client} has {type_}={status}"), || {
        w.client_condition(client, type_).is_some_and(|c| c["status"] == status)
    });
    began.elapsed()
}

pub fn how_long_it_takes(w: &World) {
    may_approve(w, ANNA);
    policy(w, "p", &json!({"approval": {"mode": "WhenScopes", "scopes": ["*.write"]}}));
    let clients = format!("/apis/oauthclient.dev/v1alpha1/namespaces/{}/oauthclients", w.namespace);
    let ask = |name: &str, scope: &str| {
        w.create(&clients, &w.client_object(&json!({"name": name}), &json!({"scopes": [scope]})));
    };
    let (mut refused, mut approved) = (Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        let name = format!("no{n}");
        ask(&name, "admin");
        refused.push(until(w, &name, "Stalled", "True"));
        let name = format!("yes{n}");
        ask(&name, "reports.write");
        until(w, &name, "Approved", "False");
        let yes = json!({"client": name, "requestHash": hash_of(w, &name)});
        // What kubectl itself takes is not counted.
        try_to_decide(w, ANNA, &name, &yes).expect("an approval");
        approved.push(until(w, &name, "Ready", "True"));
    }
    assert_eq!(w.live().len(), ROUNDS);
    eprintln!(
        "governance: medians of {ROUNDS}: refusal to condition {} ms; approval to Ready {} ms",
        median(refused).as_millis(),
        median(approved).as_millis()
    );
}
