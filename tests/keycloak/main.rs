//! Clients in a real Keycloak, by its Admin REST API: their whole life, a crash at every step, what is not ours.

#[path = "../stories/mod.rs"]
mod stories;
#[path = "../support/mod.rs"]
mod support;

use serde_json::json;
use stories::{client, crashes, drift, ends, foreign, lives, many, rotation};
use support::admin::{AdminServer, brisk};
use support::keycloak::Realm;
use support::{Bed, World};

#[test]
fn clients_live_and_end_in_keycloak() {
    let bed = Bed::up("keycloak");
    let realm = Realm::up(&bed);
    let operator = bed.operator(&[]);
    let w = World::new(&bed, "kc");
    realm.serve(&w, realm.url(), &brisk());
    for (name, story) in [
        ("whole life", lives::whole_life as fn(&World, &dyn AdminServer)),
        ("what is refused", refusals),
        ("each end", ends::ends),
        ("a client of our id that is not ours", foreign::foreign),
        ("what somebody changed at the server", drift::drift),
        ("rotation", rotation::rotation),
        ("more than a page of them", many::many),
    ] {
        eprintln!("keycloak: {name}");
        story(&w, &realm);
    }
    operator.stop();
    eprintln!("keycloak: a crash at every step");
    crashes::crashes(&bed, &w, &realm);
    eprintln!("keycloak: a crash at every step of a rotation");
    rotation::crashes(&bed, &w, &realm);
}

fn refusals(w: &World, server: &dyn AdminServer) {
    client(w, server, "misspelt", &json!({"scopes": ["report.read"]}));
    let why = w.until_reason("misspelt", "Stalled", "RegistrationRefused");
    assert!(why.contains("no client scope report.read") && why.contains("reports.read"), "{why}");
    assert!(server.clients().is_empty());
    w.patch("oauthclient/misspelt", &json!({"spec": {"scopes": ["reports.read"]}}));
    w.wait("oauthclient/misspelt", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/misspelt", "--timeout=120s"]);
}
