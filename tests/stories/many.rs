//! More clients than a page of the server's list holds, which is 100 here: all are found, and all go. `MANY_CLIENTS` of
//! them; `make soak` asks for 1,000.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::World;
use crate::support::admin::AdminServer;

/// For one client: a busy machine and the server take their time.
const EACH: Duration = Duration::from_secs(5);

pub fn many(w: &World, server: &dyn AdminServer) {
    let count: usize = std::env::var("MANY_CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(110);
    let patience = EACH * u32::try_from(count).expect("a count");
    let before = server.client_ids();
    let names: Vec<String> = (0..count).map(|n| format!("many-{n}")).collect();
    let began = Instant::now();
    w.clients(&names, &json!({"authorizationServerRef": {"name": server.name()}}));
    w.until_after(patience, "all are Ready", || {
        let all = w.read(&format!("/apis/oauthclient.dev/v1alpha1/namespaces/{}/oauthclients", w.namespace));
        let all = all.expect("the clients")["items"].as_array().expect("a list").clone();
        all.len() == count && all.iter().all(|c| c["status"]["state"] == "Ready")
    });
    let ready = began.elapsed();
    w.kubectl(&["annotate", "authorizationserver", server.name(), "oauthclient.dev/sweep=now", "--overwrite"]);
    w.until_after(patience, "a survey has seen every page", || {
        w.get(&server.object())["status"]["survey"]["clients"] == count
    });
    eprintln!("{}: {count} clients are Ready after {} s, and are deleted at once", server.name(), ready.as_secs());
    let began = Instant::now();
    w.kubectl(&["delete", "oauthclients", "--all", "--wait=false"]);
    w.until_after(patience, "none is left", || server.client_ids() == before);
    let gone = began.elapsed();
    let owed = || {
        w.ledger()
            .iter()
            .filter(|e| {
                !["Revoked", "Cancelled", "Rejected"].contains(&e["status"]["phase"].as_str().unwrap_or_default())
            })
            .count()
    };
    w.until_after(patience, "and none is owed", || owed() == 0);
    let ledger = w.ledger();
    let ours = |e: &&Value| e["spec"]["clientRef"]["name"].as_str().is_some_and(|name| name.starts_with("many-"));
    let many: Vec<_> = ledger.iter().filter(ours).collect();
    let proven = many.iter().filter(|e| e["status"]["evidence"]["level"] == "Proven").count();
    assert_eq!((many.len(), proven), (count, count), "one entry each, each with its proof");
    let (gone, proven) = (gone.as_secs(), began.elapsed().as_secs());
    eprintln!("{}: 0 of {count} are left after {gone} s, all are proven to be gone after {proven} s", server.name());
}
