//! The ledger is emptied while the operator is down, and the OAuthClients with it: what is at the server is all that is
//! left. It is not revoked, and that is loud.

use serde_json::json;

use super::clients;
use super::sweeping::{is, sweep, sweeping};
use crate::support::admin::AdminServer;
use crate::support::{Bed, World};

const SYSTEM: &str = "oauthclient-system";

pub fn lost_ledger(bed: &Bed, w: &World, server: &dyn AdminServer) {
    let operator = bed.ready_operator(&[]);
    let ids = clients(w, server, &["lost-0", "lost-1", "lost-2", "lost-3"]);
    let before = server.as_they_are(&ids);
    operator.finish();
    let all = ["delete", "--all", "--wait=false"];
    w.kubectl(&[&all[..], &["oauthclients"]].concat());
    for n in 0..4 {
        w.patch(&format!("oauthclient/lost-{n}"), &json!({"metadata": {"finalizers": null}}));
    }
    bed.kubectl(&[&all[..], &["clientregistrations", "-n", SYSTEM]].concat());
    let entries = bed.kubectl(&["get", "clientregistrations", "-n", SYSTEM, "-o", "name"]);
    for entry in entries.lines() {
        let none = json!({"metadata": {"finalizers": null}}).to_string();
        bed.kubectl(&["patch", entry, "-n", SYSTEM, "--type=merge", "-p", &none]);
    }
    w.until("the ledger is empty", || w.whole_ledger("").is_empty());

    let told = w.server_events(server.name(), "OrphanSweepStopped").len();
    let operator = bed.ready_operator(&[]);
    sweep(w, server);
    let message = w.wait_reason(&server.object(), "Orphans", "True", "SweepStopped");
    assert!(message.contains("4 of 4 clients are unclaimed") && message.contains("lost ledger"), "{message}");
    sweep(w, server);
    assert_eq!(server.as_they_are(&ids), before, "nothing is revoked");
    assert_eq!(w.server_events(server.name(), "OrphanSweepStopped").len(), told + 1, "one event");
    assert!(operator.said("ERROR", "the orphan sweep has stopped"));
    let label = server.label();
    let mine = [label.as_str()];
    w.until("the metrics tell it", || {
        is(&operator, "oauthclient_orphan_sweep_stopped", &mine, 1) && is(&operator, "oauthclient_orphans", &mine, 4)
    });
    assert_eq!(
        w.condition(&server.object(), "Ready")["status"],
        "True",
        "it does not keep new clients from being made"
    );
    operator.finish();

    // A restart forgets nothing of it, and says it no second time.
    let operator = bed.ready_operator(&[]);
    sweep(w, server);
    assert_eq!(server.as_they_are(&ids), before);
    assert_eq!(w.server_events(server.name(), "OrphanSweepStopped").len(), told + 1, "one event");
    // The administrator says that the ledger will not come back.
    sweeping(w, server, &json!({"mostUnclaimedPercent": 100}));
    sweep(w, server);
    assert!(server.clients().is_empty());
    operator.finish();
}
