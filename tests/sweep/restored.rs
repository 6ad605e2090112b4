//! A server restored from a backup: clients are there again whose entries say Revoked, and one is not that was made
//! later.

use crate::stories::clients;
use crate::stories::sweeping::{is, sweep};
use crate::support::World;
use crate::support::admin::AdminServer;
use crate::support::keycloak::{NAME, Realm};
use crate::support::process::Running;

const GONE: [&str; 3] = ["gone-0", "gone-1", "gone-2"];

pub fn restored(w: &World, realm: &Realm, operator: &Running) {
    let stays = clients(w, realm, &["stays-0", "stays-1"]);
    let gone = clients(w, realm, &GONE);
    let secrets = GONE.map(|name| w.secret(&format!("{name}-oauth")));
    realm.save("before-the-deletions");
    let before = realm.as_they_are(&stays);
    for name in GONE {
        w.kubectl(&["delete", &format!("oauthclient/{name}"), "--timeout=120s"]);
        assert_eq!(w.entry(name)["status"]["evidence"]["level"], "Proven");
    }
    let younger = clients(w, realm, &["younger"]).remove(0);

    realm.restore("before-the-deletions");
    let there = realm.client_ids();
    assert!(gone.iter().all(|id| there.contains(id)), "the backup brings them back: {there:?}");
    for secret in &secrets {
        w.token_with(secret).expect("its old credential works again");
    }
    sweep(w, realm);
    let there = realm.client_ids();
    assert!(!gone.iter().any(|id| there.contains(id)), "they are revoked again: {there:?}");
    for secret in &secrets {
        assert!(w.token_with(secret).is_err(), "and refused again");
    }
    let told = w.server_events(NAME, "RevokedAgain");
    assert!(told.len() == 1 && gone.iter().all(|id| told[0].contains(id)), "{told:?}");
    let labels = [r#"why="returned""#, r#"server="keycloak""#];
    assert!(is(operator, "oauthclient_swept_clients_total", &labels, 3));
    assert_eq!(realm.as_they_are(&stays), before, "what the ledger claims is not touched");

    // That is no matter for the sweep: the drift check makes it anew.
    w.until("the client that the backup did not know is registered anew", || {
        let now = w.get("oauthclient/younger");
        now["status"]["state"] == "Ready" && w.client_id("younger") != younger
    });
    w.token("younger-oauth").expect("its new credential");
    assert_eq!(realm.client_ids().len(), stays.len() + 1);
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
}
