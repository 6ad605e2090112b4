//! Ends that come while the operator is away are noticed when it is back. Each has a namespace and an authorization
//! server of its own; all of them happen in one absence.

#[path = "support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::{Bed, World};

/// What happens before the operator goes, while it is away, and when it is back.
type Absence = (&'static str, fn(&World), fn(&World), fn(&World));

const ABSENCES: &[Absence] = &[
    ("job-is-another", client_of_a_job, another_job, |w| ended(w, "WorkloadGone")),
    ("job-ends", client_of_a_job, |w| w.finish_job("work"), |w| ended(w, "WorkloadFinished")),
    ("object-torn-off", client, tear_off, |w| ended(w, "ClientGone")),
    ("object-is-another", client, another_object, another_client),
    ("namespace-by-force", client_and_held_pod, |w| w.finalize_namespace_by_force(), |w| ended(w, "NamespaceGone")),
    ("entry-deleted", client, delete_entry, |w| ended(w, "")),
    ("suspended", client, |w| w.patch("oauthclient/c", &json!({"spec": {"suspend": true}})), |w| ended(w, "Suspended")),
    ("shortened", client, shorten, |w| ended(w, "Expired")),
    ("secret-lost", client, |w| drop(w.kubectl(&["delete", "secret/c-oauth"])), secret_is_back),
    ("nothing", client, |_| {}, nothing_changed),
];

#[test]
fn what_ends_in_an_absence_is_revoked_after_it() {
    let bed = Bed::up("away");
    {
        let operator = bed.operator(&[]);
        let worlds: Vec<(World, &Absence)> = ABSENCES.iter().map(|a| (World::new(&bed, a.0), a)).collect();
        for (w, absence) in &worlds {
            absence.1(w);
        }
        for (w, _) in &worlds {
            w.wait("oauthclient/c", "condition=Ready");
            std::fs::write(w.scratch(&w.namespace), id(w)).expect("remember");
        }
        operator.stop();
        for (w, absence) in &worlds {
            absence.2(w);
        }
        for (w, _) in &worlds {
            assert_eq!(w.live().len(), 1, "{}: who is away changes nothing", w.namespace);
            w.requests();
        }
        let operator = bed.operator(&[]);
        for (w, absence) in &worlds {
            eprintln!("away: {}", w.namespace);
            absence.3(w);
        }
        operator.stop();
    }
}

fn id(w: &World) -> String {
    w.secret("c-oauth")["client_id"].clone()
}

fn before(w: &World) -> String {
    std::fs::read_to_string(w.scratch(&w.namespace)).expect("remembered")
}

fn client(w: &World) {
    w.client("c", &json!({}));
}

fn client_of_a_job(w: &World) {
    w.job("work", "forever");
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "work"}}));
}

fn client_and_held_pod(w: &World) {
    w.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "held", "finalizers": ["corp.example/held"]},
        "spec": {"containers": [{"name": "main", "image": "none.example/none"}]},
    }))
    .expect("a Pod");
    client(w);
}

fn another_job(w: &World) {
    w.kubectl(&["delete", "job/work"]);
    w.job("work", "forever");
}

fn tear_off(w: &World) {
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    w.patch("oauthclient/c", &json!({"metadata": {"finalizers": null}}));
    w.wait("oauthclient/c", "delete");
}

fn another_object(w: &World) {
    tear_off(w);
    client(w);
}

fn shorten(w: &World) {
    let past = json!({"ttl": null, "expiresAt": "2020-01-01T00:00:00Z"});
    w.patch("oauthclient/c", &json!({"spec": {"lifetime": past}}));
}

fn delete_entry(w: &World) {
    let entry = w.entry("c")["metadata"]["name"].as_str().expect("a name").to_owned();
    w.kubectl(&["-n", "oauthclient-system", "delete", "clientregistration", &entry, "--wait=false"]);
}

/// The client is gone from the server, proven, and its Secret too.
fn ended(w: &World, reason: &str) {
    w.until("no client is left at the server", || w.live().is_empty());
    w.until("its Secret is gone", || !w.exists("secret/c-oauth"));
    if reason.is_empty() {
        w.until_reason("c", "Stalled", "RegistrationDeleted");
        return;
    }
    w.until("it is proven", || w.entry("c")["status"]["evidence"]["level"] == "Proven");
    let entry = w.entry("c");
    assert_eq!(entry["status"]["end"]["reason"], reason, "{entry:#}");
    assert_eq!(w.entries("c").len(), 1, "nothing is registered anew");
}

fn another_client(w: &World) {
    w.until("the new object has a client of its own, and the old one's is gone", || {
        let live: Vec<Value> = w.live();
        live.len() == 1 && live[0]["client_id"] != before(w).as_str()
    });
    w.wait("oauthclient/c", "condition=Ready");
    w.until("the Secret is the new one's", || w.secret("c-oauth").get("client_id").is_some_and(|i| *i != before(w)));
    assert!(w.token("c-oauth").is_ok());
    let old = w.entries("c").into_iter().find(|e| e["status"]["clientId"] == before(w).as_str()).expect("an entry");
    assert_eq!(
        (&old["status"]["end"]["reason"], &old["status"]["evidence"]["level"]),
        (&json!("ClientGone"), &json!("Proven"))
    );
}

fn secret_is_back(w: &World) {
    w.until("the Secret is back", || w.exists("secret/c-oauth"));
    assert_eq!(id(w), before(w));
    assert!(w.token("c-oauth").is_ok());
    assert_eq!(w.live().len(), 1);
}

fn nothing_changed(w: &World) {
    assert_eq!(id(w), before(w));
    assert_eq!(w.live().len(), 1);
    let asked = w.requests();
    assert!(asked.keys().all(|k| k.starts_with("GET ")), "coming back costs the server nothing but a look: {asked:?}");
    assert!(w.token("c-oauth").is_ok());
}
