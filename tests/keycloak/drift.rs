//! What an administrator of the server changes: undone where the client could do more or less, shown where it is
//! switched off, made anew where it is gone.

use serde_json::json;

use crate::client;
use crate::support::World;
use crate::support::keycloak::Realm;

fn id_of(w: &World, name: &str) -> String {
    w.get(&format!("oauthclient/{name}"))["status"]["clientId"].as_str().expect("an id").to_owned()
}

pub fn drift(w: &World, realm: &Realm) {
    for (name, members) in [
        ("wider", json!({})),
        ("keyed", json!({"tokenEndpointAuthMethod": "private_key_jwt"})),
        ("off", json!({})),
        ("deleted", json!({})),
        ("untouched", json!({})),
    ] {
        client(w, name, &members);
    }
    for name in ["wider", "keyed", "off", "deleted", "untouched"] {
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    let untouched = realm.client(&id_of(w, "untouched"));
    let entry = w.entry("untouched");
    wider(w, realm);
    another_key(w, realm);
    switched_off(w, realm);
    deleted(w, realm);
    // Several checks have come and gone.
    assert_eq!(realm.client(&id_of(w, "untouched")), untouched, "what nobody changed is left alone");
    assert_eq!(w.entry("untouched")["metadata"]["resourceVersion"], entry["metadata"]["resourceVersion"]);
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
}

fn wider(w: &World, realm: &Realm) {
    let id = id_of(w, "wider");
    realm.give_scope(&id, "reports.write");
    realm.change(&id, |c| {
        c["fullScopeAllowed"] = json!(true);
        c["directAccessGrantsEnabled"] = json!(true);
    });
    w.until("the client is narrow again", || {
        let now = realm.client(&id);
        let scopes = now["defaultClientScopes"].as_array().expect("scopes").clone();
        now["fullScopeAllowed"] == false
            && now["directAccessGrantsEnabled"] == false
            && !scopes.contains(&json!("reports.write"))
    });
    w.wait_event("wider", "DriftCorrected", "reports.write");
    w.until("nothing is left of it on record", || w.entry("wider")["status"]["drift"].is_null());
    w.token("wider-oauth").expect("its credential is the same");
    assert_eq!(w.get("oauthclient/wider")["status"]["state"], "Ready");
}

/// A key that somebody added is a credential that nobody here knows.
fn another_key(w: &World, realm: &Realm) {
    let id = id_of(w, "keyed");
    let foreign = json!({"keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": "theirs",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]});
    realm.change(&id, |c| c["attributes"]["jwks.string"] = json!(foreign.to_string()));
    w.until("the foreign key is gone", || {
        !realm.client(&id)["attributes"]["jwks.string"].as_str().expect("keys").contains("theirs")
    });
    w.token("keyed-oauth").expect("its own key works again");
}

fn switched_off(w: &World, realm: &Realm) {
    let id = id_of(w, "off");
    realm.change(&id, |c| c["enabled"] = json!(false));
    w.wait_reason("oauthclient/off", "Ready", "False", "DisabledAtServer");
    assert_eq!(realm.client(&id)["enabled"], false, "an administrator's brake is not released");
    realm.change(&id, |c| c["enabled"] = json!(true));
    w.wait("oauthclient/off", "condition=Ready");
    w.token("off-oauth").expect("on again");
}

fn deleted(w: &World, realm: &Realm) {
    let (id, secret) = (id_of(w, "deleted"), w.secret("deleted-oauth"));
    realm.remove(&id);
    w.until("it is registered anew, under another id", || {
        let now = w.get("oauthclient/deleted");
        now["status"]["state"] == "Ready" && now["status"]["clientId"] != id.as_str()
    });
    w.token("deleted-oauth").expect("the new credential");
    assert!(w.token_with(&secret).is_err());
    let all = w.ledger();
    let gone = all.iter().find(|e| e["status"]["clientId"] == id.as_str()).expect("the entry");
    assert_eq!(gone["status"]["end"]["reason"], "GoneAtServer");
    assert_eq!(gone["status"]["evidence"]["level"], "Proven", "{gone:#}");
}
