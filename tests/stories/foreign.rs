//! A client that has the id of one of ours, and is not.

use serde_json::json;

use super::client;
use crate::support::World;
use crate::support::admin::AdminServer;
use crate::support::operator::INSTALLATION;

/// The id that the first client of an object will have is known before there is a client.
fn id_to_be(w: &World, name: &str) -> String {
    let uid = w.get(&format!("oauthclient/{name}"))["metadata"]["uid"].as_str().expect("a UID").to_owned();
    let entry = oauthclient_operator::domain::names::entry(&uid, 1);
    format!("oac-{}-{}", w.installation(INSTALLATION), entry.trim_start_matches("oac-"))
}

pub fn foreign(w: &World, server: &dyn AdminServer) {
    let later = json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "later"}});
    client(w, server, "taken", &later);
    w.until("it waits for its Job", || w.get("oauthclient/taken")["status"]["state"] == "Pending");
    let id = id_to_be(w, "taken");
    server.plant_unmarked(&id);
    let before = server.clients();
    assert!(server.client_ids().contains(&id));
    w.job("later", "forever");
    w.until_reason("taken", "Stalled", "RegistrationRefused");
    assert_eq!(server.clients(), before, "neither adopted nor changed");
    w.kubectl(&["delete", "oauthclient/taken", "job/later", "--timeout=120s"]);
    assert_eq!(server.clients(), before, "nor deleted");
    server.remove(&id);
}
