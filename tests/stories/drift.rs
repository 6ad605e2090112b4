//! What an administrator of the server changes: undone where the client could do more or less, shown where it is
//! switched off, made anew where it is gone.

use serde_json::json;

use super::client;
use crate::support::World;
use crate::support::admin::AdminServer;

pub fn drift(w: &World, server: &dyn AdminServer) {
    for (name, members) in [
        ("wider", json!({})),
        ("keyed", json!({"tokenEndpointAuthMethod": "private_key_jwt"})),
        ("off", json!({})),
        ("deleted", json!({})),
        ("untouched", json!({})),
    ] {
        client(w, server, name, &members);
    }
    for name in ["wider", "keyed", "off", "deleted", "untouched"] {
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    let untouched = server.client(&w.client_id("untouched"));
    let entry = w.entry("untouched");
    wider(w, server);
    another_key(w, server);
    switched_off(w, server);
    deleted(w, server);
    // Several checks have come and gone.
    assert_eq!(server.client(&w.client_id("untouched")), untouched, "what nobody changed is left alone");
    assert_eq!(w.entry("untouched")["metadata"]["resourceVersion"], entry["metadata"]["resourceVersion"]);
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
}

fn wider(w: &World, server: &dyn AdminServer) {
    let id = w.client_id("wider");
    server.widen(&id);
    // It may be undone before anybody can look: that it was wider is told by the event.
    w.wait_event("wider", "DriftCorrected", "reports.write");
    w.until("the client is narrow again", || server.is_narrow(&id));
    w.until("nothing is left of it on record", || w.entry("wider")["status"]["drift"].is_null());
    w.token("wider-oauth").expect("its credential is the same");
    assert_eq!(w.get("oauthclient/wider")["status"]["state"], "Ready");
}

/// A key that somebody added is a credential that nobody here knows.
fn another_key(w: &World, server: &dyn AdminServer) {
    let id = w.client_id("keyed");
    let foreign = json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": "theirs",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    server.set_key(&id, &foreign);
    w.until("the foreign key is gone", || !server.keys(&id).iter().any(|k| k["kid"] == "theirs"));
    w.token("keyed-oauth").expect("its own key works again");
}

fn switched_off(w: &World, server: &dyn AdminServer) {
    let id = w.client_id("off");
    if !server.switch(&id, false) {
        eprintln!("{}: clients cannot be switched off", server.name());
        return;
    }
    let before = server.client(&id);
    w.wait_reason("oauthclient/off", "Ready", "False", "DisabledAtServer");
    assert_eq!(server.client(&id), before, "an administrator's brake is not released");
    server.switch(&id, true);
    w.wait("oauthclient/off", "condition=Ready");
    w.token("off-oauth").expect("on again");
}

fn deleted(w: &World, server: &dyn AdminServer) {
    let (id, secret) = (w.client_id("deleted"), w.secret("deleted-oauth"));
    server.remove(&id);
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
