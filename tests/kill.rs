//! The operator dies at every named step once and at random moments, while clients are made and ended in all ways.
//! Left alone afterwards: live at the server are exactly the clients whose objects live, besides those that the
//! ledger itself reports as possible orphans. `KILL_CLIENTS` sets how many clients there are.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Bed, World};

/// Every point named in `src/controller`.
const POINTS: [&str; 17] = [
    "before-entry",
    "after-entry",
    "before-attempt",
    "after-attempt",
    "before-post",
    "after-post",
    "after-store",
    "before-registered",
    "after-registered",
    "after-publish",
    "before-end",
    "after-end",
    "before-delete",
    "after-delete",
    "before-final",
    "after-final",
    "after-secret-deleted",
];

#[test]
fn a_crash_only_delays() {
    let bed = Bed::up("kill");
    let many: usize = std::env::var("KILL_CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(34);
    {
        // The server is discovered before the killing starts.
        let operator = bed.operator(&[]);
        let world = World::new(&bed, "kill");
        operator.stop();
        kill(&bed, &world, many);
    }
}

fn kill(bed: &Bed, w: &World, many: usize) {
    let mut died_at = 0;
    for round in 0..many {
        let name = format!("c{round}");
        let job = json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": name}});
        match round % 5 {
            0 => {
                w.job(&name, "complete");
                w.client(&name, &job);
            }
            1 => w.client(&name, &json!({"lifetime": {"ttl": "3s"}})),
            _ => w.client(&name, &json!({})),
        }
        if let Some(earlier) = round.checked_sub(2).filter(|e| e % 5 > 1) {
            end(w, earlier);
        }
        let point = POINTS[round % POINTS.len()];
        let mark = w.scratch(&format!("died-at-{point}-{round}"));
        let operator = bed.operator(&[("FAULT_POINT", point), ("FAULT_FILE", &mark)]);
        // Different every time, and long enough to get somewhere.
        let patience = Duration::from_millis(1_000 + u64::from(rand::random::<u16>() % 1_500));
        died_at += usize::from(operator.kill_after(patience));
        eprintln!("kill: {}/{many}, {point}: {} died at their named step", round + 1, died_at);
    }
    assert!(died_at >= POINTS.len() / 2, "only {died_at} processes got to the step they were to die at");
    let operator = bed.operator(&[]);
    w.until("every client that was ended is final in the ledger", || open(w).is_empty());
    w.until("the server has only clients that live or are reported", || unexplained(w).is_empty());
    let orphans = entries(w).iter().filter(|e| e["status"]["phase"] == "PossibleOrphan").count();
    eprintln!("kill: {} clients live, {orphans} possible orphans reported", w.live().len());
    operator.stop();
}

/// Ends a client in one of the ways that need a hand.
fn end(w: &World, round: usize) {
    let object = format!("oauthclient/c{round}");
    match round % 5 {
        2 => drop(w.try_kubectl(&["delete", &object, "--wait=false"])),
        3 => w.patch(&object, &json!({"spec": {"suspend": true}})),
        _ => {
            drop(w.try_kubectl(&["delete", &object, "--wait=false"]));
            drop(w.try_kubectl(&["patch", &object, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]));
        }
    }
}

fn entries(w: &World) -> Vec<Value> {
    let text = w.kubectl(&["-n", "oauthclient-system", "get", "clientregistrations", "-o", "json"]);
    let list: Value = serde_json::from_str(&text).expect("JSON");
    list["items"].as_array().expect("items").clone()
}

/// Objects that live and are Ready, and entries that are neither final, nor reported, nor theirs.
fn open(w: &World) -> Vec<String> {
    let ready: BTreeSet<String> = ready(w);
    entries(w)
        .iter()
        .filter(|e| {
            !matches!(e["status"]["phase"].as_str(), Some("Revoked" | "Cancelled" | "Rejected" | "PossibleOrphan"))
        })
        .filter(|e| !ready.contains(e["spec"]["clientRef"]["uid"].as_str().unwrap_or_default()))
        .map(|e| e["metadata"]["name"].to_string())
        .collect()
}

fn ready(w: &World) -> BTreeSet<String> {
    let list: Value = serde_json::from_str(&w.kubectl(&["get", "oauthclients", "-o", "json"])).expect("JSON");
    let all = list["items"].as_array().expect("items");
    all.iter()
        .filter(|c| c["status"]["state"] == "Ready")
        .map(|c| c["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Clients at the server that no Ready object has and no possible orphan in the ledger reports.
fn unexplained(w: &World) -> Vec<String> {
    let ready = ready(w);
    let known: Vec<String> = entries(w)
        .iter()
        .filter(|e| {
            let reported = e["status"]["phase"] == "PossibleOrphan";
            reported || ready.contains(e["spec"]["clientRef"]["uid"].as_str().unwrap_or_default())
        })
        .filter(|e| e["status"]["phase"] != "Revoked")
        .map(|e| e["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let live = w.live();
    let names = live.iter().map(|c| c["client_name"].as_str().unwrap_or_default().to_owned());
    names.filter(|n| !known.iter().any(|k| n.ends_with(k.as_str()))).collect()
}
