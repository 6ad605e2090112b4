//! Clients with our marker, with another installation's, with none, and with half of ours.

use serde_json::{Value, json};

use crate::support::World;
use crate::support::keycloak::{NAME, Realm};
use crate::support::process::Running;
use crate::{SERVER, as_they_are, clients, is, ours, plant, survey, sweep, sweeping};

pub fn planted(w: &World, realm: &Realm, operator: &Running) {
    let kept = clients(w, &["kept-0", "kept-1", "kept-2", "kept-3"]);
    let ours = ours(w);
    let orphan = plant(realm, &kept[0], &ours, "00000000000000000001");
    let others = others(realm, &kept[0], &ours);
    let untouched = [kept.clone(), others].concat();
    let before = as_they_are(realm, &untouched);
    let mine = [r#"server="keycloak""#];

    // Reported, once, and left alone.
    sweeping(w, &json!({"action": "Report"}));
    sweep(w);
    let message = w.wait_reason(SERVER, "Orphans", "True", "Unclaimed");
    assert!(message.contains("1 of 5 clients"), "{message}");
    let found = survey(w);
    assert_eq!(found["installation"], ours.as_str());
    let named = &found["orphans"][0];
    assert_eq!((&named["clientId"], &named["entry"]), (&json!(orphan), &json!("oac-00000000000000000001")));
    assert!(named["since"].is_string() && named["createdAt"].is_string(), "its age: {named}");
    let told = |reason: &str| w.server_events(NAME, reason);
    w.until("it is told", || told("OrphansFound").len() == 1);
    assert!(told("OrphansFound")[0].contains(&orphan));
    w.until("it is counted", || is(operator, "oauthclient_orphans", &mine, 1));
    sweep(w);
    assert_eq!(survey(w)["orphans"][0]["since"], named["since"], "its age goes on");
    assert_eq!(told("OrphansFound").len(), 1, "the second survey tells nothing new");
    let passes = || operator.metric("oauthclient_reconciles_total", &[r#"controller="client""#]);
    let quiet = passes();
    sweep(w);
    assert!(passes() <= quiet, "a survey has no client looked at");

    // Revoked after the grace.
    sweeping(w, &json!({"action": "Revoke", "grace": "1h"}));
    sweep(w);
    assert!(realm.client_ids().contains(&orphan), "the grace is not over");
    sweeping(w, &json!({"grace": "0s"}));
    sweep(w);
    assert!(!realm.client_ids().contains(&orphan), "an orphan is revoked");
    assert!(told("OrphansRevoked")[0].contains(&orphan));
    let swept = r#"why="orphan""#;
    assert!(is(operator, "oauthclient_swept_clients_total", &[swept, mine[0]], 1));
    w.until("none is counted", || is(operator, "oauthclient_orphans", &mine, 0));
    assert_eq!(w.condition(SERVER, "Orphans"), Value::Null);

    // More than a share of all: none is revoked, and that is loud.
    let many: Vec<String> = (2..5).map(|n| plant(realm, &kept[0], &ours, &format!("0000000000000000000{n}"))).collect();
    sweep(w);
    sweep(w);
    let message = w.wait_reason(SERVER, "Orphans", "True", "SweepStopped");
    assert!(message.contains("3 of 7 clients are unclaimed"), "{message}");
    assert_eq!(told("OrphanSweepStopped"), [message], "once");
    let stopped = |value| is(operator, "oauthclient_orphan_sweep_stopped", &mine, value);
    w.until("the metric tells it", || stopped(1));
    assert_eq!(as_they_are(realm, &many).len(), 3, "all are still there");
    sweeping(w, &json!({"mostUnclaimedPercent": 60}));
    sweep(w);
    assert!(!realm.client_ids().iter().any(|id| many.contains(id)), "an administrator's word goes");
    w.until("the metric tells that it goes on", || stopped(0));
    assert_eq!(w.condition(SERVER, "Orphans"), Value::Null);

    let mut expected = untouched.clone();
    expected.sort();
    assert_eq!(realm.client_ids(), expected);
    assert_eq!(as_they_are(realm, &untouched), before, "neither what is claimed nor what is not ours was touched");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    for id in &untouched[kept.len()..] {
        realm.remove(id);
    }
    sweeping(w, &json!({"mostUnclaimedPercent": 20}));
}

/// Clients that are not ours, though some look like it.
fn others(realm: &Realm, like: &str, ours: &str) -> Vec<String> {
    let entry = "00000000000000000009";
    let another = plant(realm, like, "ffffffffffffffff", entry);
    let bare = |id: String, attributes: Value| {
        realm.plant(&json!({"clientId": id, "enabled": true, "secret": "theirs", "attributes": attributes}));
        id
    };
    let nobodys = bare("somebodys-own".into(), json!({}));
    let our_id_only = bare(format!("oac-{ours}-by-hand"), json!({}));
    let our_id_anothers_mark = bare(
        format!("oac-{ours}-00000000000000000008"),
        json!({"oauthclient.installation": "ffffffffffffffff", "oauthclient.entry": format!("oac-{entry}")}),
    );
    vec![another, nobodys, our_id_only, our_id_anothers_mark]
}
