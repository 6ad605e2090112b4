//! Clients in a real Keycloak, by its Admin REST API: their whole life, a crash at every step, what is not ours.

mod drift;
mod many;
mod rotation;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::keycloak::{NAME, Realm, brisk};
use support::operator::INSTALLATION;
use support::{Bed, World};

#[test]
fn clients_live_and_end_in_keycloak() {
    let bed = Bed::up("keycloak");
    let realm = Realm::up(&bed);
    let operator = bed.operator(&[]);
    let w = World::new(&bed, "kc");
    realm.serve(&w, realm.url(), &brisk());
    for (name, story) in [
        ("whole life", whole_life as fn(&World, &Realm)),
        ("what is refused", refusals),
        ("a client of our id that is not ours", foreign),
        ("what somebody changed at the server", drift::drift),
        ("rotation", rotation::rotation),
        ("more than a page of them", many::many),
    ] {
        eprintln!("keycloak: {name}");
        story(&w, &realm);
    }
    operator.stop();
    eprintln!("keycloak: a crash at every step");
    crashes(&bed, &w, &realm);
    eprintln!("keycloak: a crash at every step of a rotation");
    rotation::crashes(&bed, &w, &realm);
}

fn client(w: &World, name: &str, members: &Value) {
    let mut all = members.clone();
    all["authorizationServerRef"] = json!({"name": NAME});
    w.client(name, &all);
}

fn whole_life(w: &World, realm: &Realm) {
    let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
    for method in methods {
        let name = method.replace('_', "-");
        let mut members = json!({"tokenEndpointAuthMethod": method});
        if method == "none" {
            members["grantTypes"] = json!(["authorization_code"]);
            members["redirectUris"] = json!(["https://app.corp.example/cb"]);
        }
        client(w, &name, &members);
    }
    for method in methods {
        w.wait(&format!("oauthclient/{}", method.replace('_', "-")), "condition=Ready");
    }
    assert_eq!(realm.clients().len(), methods.len());
    for method in &methods[..3] {
        w.token(&format!("{}-oauth", method.replace('_', "-"))).expect(method);
    }
    let id = w.get("oauthclient/client-secret-basic")["status"]["clientId"].clone();
    w.patch("oauthclient/client-secret-basic", &json!({"spec": {"scopes": ["reports.write"]}}));
    w.until("Keycloak has the new scope and not the old one", || {
        let all = realm.clients();
        let one = all.iter().find(|c| c["clientId"] == id).expect("the client");
        one["optionalClientScopes"] == json!(["reports.write"])
    });
    w.until("the Secret names the new scope", || {
        w.secret("client-secret-basic-oauth").get("scopes").is_some_and(|s| s == "reports.write")
    });
    w.token("client-secret-basic-oauth").expect("a token for the new scope");
    let secret = w.secret("client-secret-basic-oauth");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    assert_eq!(realm.client_ids(), Vec::<String>::new());
    assert!(w.token_with(&secret).is_err());
    for method in methods {
        let entry = w.entry(&method.replace('_', "-"));
        assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{method}: {entry:#}");
    }
}

fn refusals(w: &World, realm: &Realm) {
    client(w, "misspelt", &json!({"scopes": ["report.read"]}));
    let why = w.until_reason("misspelt", "Stalled", "RegistrationRefused");
    assert!(why.contains("no client scope report.read") && why.contains("reports.read"), "{why}");
    assert!(realm.clients().is_empty());
    w.patch("oauthclient/misspelt", &json!({"spec": {"scopes": ["reports.read"]}}));
    w.wait("oauthclient/misspelt", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/misspelt", "--timeout=120s"]);
}

/// The id that the first client of an object will have is known before there is a client.
fn id_to_be(w: &World, name: &str) -> String {
    let uid = w.get(&format!("oauthclient/{name}"))["metadata"]["uid"].as_str().expect("a UID").to_owned();
    let entry = oauthclient_operator::domain::names::entry(&uid, 1);
    format!("oac-{}-{}", w.installation(INSTALLATION), entry.trim_start_matches("oac-"))
}

fn foreign(w: &World, realm: &Realm) {
    client(w, "taken", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "later"}}));
    w.until("it waits for its Job", || w.get("oauthclient/taken")["status"]["state"] == "Pending");
    let id = id_to_be(w, "taken");
    realm.plant(&json!({"clientId": id, "name": "somebody's", "secret": "theirs", "enabled": true}));
    let before = realm.clients();
    w.job("later", "forever");
    w.until_reason("taken", "Stalled", "RegistrationRefused");
    assert_eq!(realm.clients(), before, "neither adopted nor changed");
    w.kubectl(&["delete", "oauthclient/taken", "job/later", "--timeout=120s"]);
    assert_eq!(realm.clients(), before, "nor deleted");
}

/// Steps at which the operator dies once each, on the way to Ready and at the end.
const POINTS: [&str; 13] = [
    "before-entry",
    "after-entry",
    "before-prepare",
    "after-prepare",
    "before-attempt",
    "after-attempt",
    "before-post",
    "after-post",
    "before-registered",
    "after-registered",
    "before-delete",
    "after-delete",
    "before-final",
];

fn crashes(bed: &Bed, w: &World, realm: &Realm) {
    let before = realm.client_ids();
    for point in POINTS {
        client(w, point, &json!({"lifetime": {"ttl": "1h"}}));
        let mark = w.scratch(&format!("died-at-{point}"));
        let operator = bed.operator(&[("FAULT_POINT", point), ("FAULT_FILE", &mark)]);
        let ends = ["before-delete", "after-delete", "before-final"].contains(&point);
        if ends {
            w.wait(&format!("oauthclient/{point}"), "condition=Ready");
            w.kubectl(&["delete", &format!("oauthclient/{point}"), "--wait=false"]);
        }
        w.until(&format!("it dies at {point}"), || std::path::Path::new(&mark).exists());
        operator.stop();
        let operator = bed.operator(&[]);
        if ends {
            w.wait_gone(&format!("oauthclient/{point}"));
            assert_eq!(w.entry(point)["status"]["evidence"]["level"], "Proven", "{point}");
        } else {
            w.wait(&format!("oauthclient/{point}"), "condition=Ready");
            assert!(w.token(&format!("{point}-oauth")).is_ok(), "{point}");
        }
        operator.stop();
    }
    let operator = bed.operator(&[]);
    assert_eq!(realm.clients().len(), before.len() + POINTS.len() - 3, "one client each, no orphan");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    w.until("exactly what was there before is left", || realm.client_ids() == before);
    let orphans = w.ledger().iter().filter(|e| e["status"]["phase"] == "PossibleOrphan").count();
    assert_eq!(orphans, 0, "where the caller chooses the id there are no possible orphans");
    operator.stop();
}
