//! More clients than a page of the server's list holds, which is 100 here: all are found, and all go. `MANY_CLIENTS` of
//! them; `make soak` asks for 1,000.

use std::time::Duration;

use serde_json::json;

use crate::support::World;
use crate::support::keycloak::{NAME, Realm};

/// For one client: a busy machine and Keycloak take their time.
const EACH: Duration = Duration::from_secs(5);

pub fn many(w: &World, realm: &Realm) {
    let count: usize = std::env::var("MANY_CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(110);
    let patience = EACH * u32::try_from(count).expect("a count");
    let before = realm.client_ids();
    let names: Vec<String> = (0..count).map(|n| format!("many-{n}")).collect();
    w.clients(&names, &json!({"authorizationServerRef": {"name": NAME}}));
    w.until_after(patience, "all are Ready", || {
        let all = w.read(&format!("/apis/oauthclient.dev/v1alpha1/namespaces/{}/oauthclients", w.namespace));
        let all = all.expect("the clients")["items"].as_array().expect("a list").clone();
        all.len() == count && all.iter().all(|c| c["status"]["state"] == "Ready")
    });
    w.kubectl(&["annotate", "authorizationserver", NAME, "oauthclient.dev/sweep=now", "--overwrite"]);
    w.until_after(patience, "a survey has seen every page", || {
        w.get(&format!("authorizationserver/{NAME}"))["status"]["survey"]["clients"] == count
    });
    eprintln!("keycloak: {count} clients are deleted at once");
    w.kubectl(&["delete", "oauthclients", "--all", "--wait=false"]);
    w.until_after(patience, "none is left", || realm.client_ids() == before);
    let owed = || {
        w.ledger()
            .iter()
            .filter(|e| {
                !["Revoked", "Cancelled", "Rejected"].contains(&e["status"]["phase"].as_str().unwrap_or_default())
            })
            .count()
    };
    w.until_after(patience, "and none is owed", || owed() == 0);
}
