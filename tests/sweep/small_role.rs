//! The operator's role at Keycloak is made too small: it gets empty lists, and nothing follows from them.

use serde_json::Value;

use crate::SERVER;
use crate::stories::clients;
use crate::stories::sweeping::{ask, is_done, survey, sweep};
use crate::support::World;
use crate::support::admin::AdminServer;
use crate::support::keycloak::Realm;
use crate::support::process::Running;

pub fn small_role(w: &World, realm: &Realm, _: &Running) {
    let ids = clients(w, realm, &["seen", "doomed"]);
    sweep(w, realm);
    let (before, surveyed, entry) = (realm.as_they_are(&ids), survey(w, realm), w.entry("seen"));
    realm.set_role("manage-clients", false);
    realm.set_role("query-clients", true);
    // Its token holds the old role for a minute.
    let message = w.wait_reason(SERVER, "Ready", "False", "AdminApiRefused");
    assert!(message.contains("cannot see its own client") && message.contains("manage-clients"), "{message}");
    w.kubectl(&["delete", "oauthclient/doomed", "--wait=false"]);
    w.until("the deletion fails", || w.entry("doomed")["status"]["retry"]["lastError"].is_string());
    ask(w, realm);
    w.until("the sweep is under way", || {
        w.get(SERVER)["metadata"]["annotations"]["oauthclient.dev/sweep"] == "under-way"
    });
    assert_eq!(w.entry("doomed")["status"]["evidence"], Value::Null, "nothing proves that it is gone");
    assert_eq!(survey(w, realm), surveyed, "an empty list is no survey");
    assert_eq!(w.entry("seen"), entry, "nor is anything missing");
    assert_eq!(realm.as_they_are(&ids), before);
    assert!(!is_done(w, realm), "what was asked for is owed");

    realm.set_role("manage-clients", true);
    realm.set_role("query-clients", false);
    w.wait(SERVER, "condition=Ready");
    w.until("the sweep is done", || is_done(w, realm));
    assert_ne!(survey(w, realm)["at"], surveyed["at"]);
    w.wait_gone("oauthclient/doomed");
    assert_eq!(w.entry("doomed")["status"]["evidence"]["level"], "Proven");
    assert_eq!(realm.client_ids(), ids[..1]);
    w.token("seen-oauth").expect("the other one goes on");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
}
