//! How long the ledger is kept.

use serde_json::{Value, json};

use crate::support::{Bed, World};

/// An entry goes when it was kept for as long as it is to be, with its management Secret: not one that lives, and nothing that
/// is left of its client is in doubt for it.
pub fn what_was_kept_long_enough_goes(bed: &Bed) {
    let operator = bed.ready_operator(&[("OPERATOR_RETENTION_DAYS", "0")]);
    let w = World::new(bed, "kept");
    for name in ["lives", "deleted", "suspended"] {
        w.client(name, &json!({}));
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    let entry = |client: &str| w.entry(client)["metadata"]["name"].as_str().expect("a name").to_owned();
    let gone = ["deleted", "suspended"].map(entry);
    w.kubectl(&["delete", "oauthclient/deleted", "--timeout=120s"]);
    w.patch("oauthclient/suspended", &json!({"spec": {"suspend": true}}));
    w.wait("oauthclient/suspended", "condition=Revoked");
    w.until("entries and management Secrets of what has ended are gone", || {
        gone.iter().all(|name| {
            let there = |kind: &str| w.try_kubectl(&["-n", "oauthclient-system", "get", kind, name]).is_ok();
            !there("clientregistration") && !there("secret")
        })
    });
    let left: Vec<Value> = w.ledger().into_iter().map(|e| e["spec"]["clientRef"]["name"].clone()).collect();
    assert_eq!(left, ["lives"]);
    assert_eq!(w.live().len(), 1);
    assert!(w.token("lives-oauth").is_ok());
    // Without the entry it is known all the same how it ended, and that there was a first attempt.
    assert_eq!(w.get("oauthclient/suspended")["status"]["state"], "Revoked");
    w.patch("oauthclient/suspended", &json!({"spec": {"suspend": false}}));
    w.wait("oauthclient/suspended", "condition=Ready");
    assert_eq!(w.entry("suspended")["spec"]["attempt"], 2);
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    assert!(w.live().is_empty());
    operator.finish();
}
