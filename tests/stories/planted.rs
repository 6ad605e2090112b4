//! Clients with our marker, with another installation's, with none, and with half of ours.

use serde_json::{Value, json};

use super::clients;
use super::sweeping::{is, ours, plant, survey, sweep, sweeping};
use crate::support::World;
use crate::support::admin::AdminServer;
use crate::support::process::Running;

pub fn planted(w: &World, server: &dyn AdminServer, operator: &Running) {
    let kept = clients(w, server, &["kept-0", "kept-1", "kept-2", "kept-3"]);
    let ours = ours(w);
    let orphan = plant(server, &kept[0], &ours, "00000000000000000001");
    let others = others(server, &kept[0], &ours);
    let untouched = [kept.clone(), others].concat();
    let before = server.as_they_are(&untouched);
    let label = server.label();
    let mine = [label.as_str()];

    // Reported, once, and left alone.
    sweeping(w, server, &json!({"action": "Report"}));
    sweep(w, server);
    let message = w.wait_reason(&server.object(), "Orphans", "True", "Unclaimed");
    assert!(message.contains("1 of 5 clients"), "{message}");
    let found = survey(w, server);
    assert_eq!(found["installation"], ours.as_str());
    let named = &found["orphans"][0];
    assert_eq!((&named["clientId"], &named["entry"]), (&json!(orphan), &json!("oac-00000000000000000001")));
    assert!(named["since"].is_string() && named["createdAt"].is_string(), "its age: {named}");
    let told = |reason: &str| w.server_events(server.name(), reason);
    w.until("it is told", || told("OrphansFound").len() == 1);
    assert!(told("OrphansFound")[0].contains(&orphan));
    w.until("it is counted", || is(operator, "oauthclient_orphans", &mine, 1));
    sweep(w, server);
    assert_eq!(survey(w, server)["orphans"][0]["since"], named["since"], "its age goes on");
    assert_eq!(told("OrphansFound").len(), 1, "the second survey tells nothing new");
    let passes = || operator.metric("oauthclient_reconciles_total", &[r#"controller="client""#]);
    let quiet = passes();
    sweep(w, server);
    assert!(passes() <= quiet, "a survey has no client looked at");

    // Revoked after the grace.
    sweeping(w, server, &json!({"action": "Revoke", "grace": "1h"}));
    sweep(w, server);
    assert!(server.client_ids().contains(&orphan), "the grace is not over");
    sweeping(w, server, &json!({"grace": "0s"}));
    sweep(w, server);
    assert!(!server.client_ids().contains(&orphan), "an orphan is revoked");
    assert!(told("OrphansRevoked")[0].contains(&orphan));
    let swept = r#"why="orphan""#;
    assert!(is(operator, "oauthclient_swept_clients_total", &[swept, mine[0]], 1));
    w.until("none is counted", || is(operator, "oauthclient_orphans", &mine, 0));
    assert_eq!(w.condition(&server.object(), "Orphans"), Value::Null);

    // More than a share of all: none is revoked, and that is loud.
    let many: Vec<String> =
        (2..5).map(|n| plant(server, &kept[0], &ours, &format!("0000000000000000000{n}"))).collect();
    sweep(w, server);
    sweep(w, server);
    let message = w.wait_reason(&server.object(), "Orphans", "True", "SweepStopped");
    assert!(message.contains("3 of 7 clients are unclaimed"), "{message}");
    assert_eq!(told("OrphanSweepStopped"), [message], "once");
    let stopped = |value| is(operator, "oauthclient_orphan_sweep_stopped", &mine, value);
    w.until("the metric tells it", || stopped(1));
    assert_eq!(server.as_they_are(&many).len(), 3, "all are still there");
    sweeping(w, server, &json!({"mostUnclaimedPercent": 60}));
    sweep(w, server);
    assert!(!server.client_ids().iter().any(|id| many.contains(id)), "an administrator's word goes");
    w.until("the metric tells that it goes on", || stopped(0));
    assert_eq!(w.condition(&server.object(), "Orphans"), Value::Null);

    let mut expected = untouched.clone();
    expected.sort();
    assert_eq!(server.client_ids(), expected);
    assert_eq!(server.as_they_are(&untouched), before, "neither what is claimed nor what is not ours was touched");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    for id in &untouched[kept.len()..] {
        server.remove(id);
    }
    sweeping(w, server, &json!({"mostUnclaimedPercent": 20}));
}

/// Clients that are not ours, though some look like it.
fn others(server: &dyn AdminServer, like: &str, ours: &str) -> Vec<String> {
    // Nobody else's either, where others use the server.
    let theirs = format!("{:016x}", rand::random::<u64>());
    let entry = "00000000000000000009";
    let another = plant(server, like, &theirs, entry);
    let nobodys = format!("somebodys-own-{theirs}");
    let our_id_only = format!("oac-{ours}-by-hand");
    let our_id_anothers_mark = format!("oac-{ours}-00000000000000000008");
    server.plant_unmarked(&nobodys);
    server.plant_unmarked(&our_id_only);
    server.plant_marked(&our_id_anothers_mark, (&theirs, &format!("oac-{entry}")));
    vec![another, nobodys, our_id_only, our_id_anothers_mark]
}
