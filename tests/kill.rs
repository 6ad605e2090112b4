//! The operator dies at every named step and at random moments, while clients are made, changed and ended in all ways.
//! Left alone afterwards: live at the server are exactly the clients whose objects live, besides those that the ledger
//! itself reports as possible orphans, each of which a death inside its one registration request explains.
//! `KILL_CLIENTS` sets how many clients there are.

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use support::fate::{Client, FATES, Fate, is_living, ready, text, under_way};
use support::{Bed, World, now};

/// Every point named in `src/controller`, but for those that other tests get to.
const POINTS: [&str; 19] = [
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
    "before-put",
    "after-put",
    "before-end",
    "after-end",
    "before-delete",
    "after-delete",
    "before-final",
    "after-final",
    "after-secret-deleted",
];
/// A little longer than a registration request may take, with its wait for a turn and the storing of its answer.
const ONE_POST: chrono::TimeDelta = chrono::TimeDelta::seconds(25);
/// Points that other tests get to, and where.
const ELSEWHERE: [(&str, &[&str]); 2] = [
    // Only servers lead there that let the caller choose the id.
    ("tests/stories/crashes.rs", &["before-prepare", "after-prepare"]),
    (
        "tests/stories/rotation.rs",
        &[
            "after-rotate-key",
            "before-next-key",
            "after-next-key",
            "before-promote",
            "after-promote",
            "before-drop-key",
            "after-drop-key",
        ],
    ),
];
const AT_RANDOM: &str = "a random moment";
/// In how many rounds the clients are made; each round is a process that dies.
const ROUNDS: usize = 40;

#[test]
fn the_points_are_those_in_the_source() {
    let mut found = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from("src/controller")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).expect("a file");
            let names = text.split("faults::point(\"").skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(names.map(ToOwned::to_owned));
        }
    }
    let mut known: BTreeSet<String> = POINTS.iter().map(|p| (*p).to_owned()).collect();
    for (test, points) in ELSEWHERE {
        let text = std::fs::read_to_string(test).expect("a test");
        for point in points {
            assert!(text.contains(&format!("\"{point}\"")), "{test} does not get to {point}");
            known.insert((*point).to_owned());
        }
    }
    assert_eq!(found, known);
}

/// When a process ended, and how.
struct Death {
    at: DateTime<Utc>,
    how: &'static str,
}

#[test]
fn a_crash_only_delays() {
    let bed = Bed::up("kill");
    let collector = bed.collect_secrets();
    let many: usize = std::env::var("KILL_CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    {
        // The server is discovered before the killing starts.
        let operator = bed.operator(&[]);
        let w = World::new(&bed, "kill");
        w.server(&json!({"allowedNamespaces": {"names": ["*"]}}));
        operator.stop();
        let clients: Vec<Client> = (0..many).map(Client::nth).collect();
        let more: Vec<Client> = (0..ROUNDS).map(|n| Client { name: format!("more{n}"), ..Client::nth(n) }).collect();
        // One of each fate is left alone until it is Ready, so that not all of a fate end before they are registered.
        let held = &clients[clients.len().saturating_sub(FATES.len())..];
        let (deaths, extra) = kill(&bed, &w, &clients, &more, held);
        let all: Vec<&Client> = clients.iter().chain(&more[..extra]).collect();
        settle(&bed, &w, &all, held, &deaths);
    }
    collector.nothing_leaked_and_nothing_missed(&bed, "", true);
}

/// The deaths, and how many of those that are kept for points which are hard to get to were made.
fn kill(bed: &Bed, w: &World, clients: &[Client], more: &[Client], held: &[Client]) -> (Vec<Death>, usize) {
    let act = |all: &[Client]| all.iter().filter(|c| held.iter().all(|h| h.name != c.name)).for_each(|c| c.act(w));
    let mut left: Vec<&'static str> = POINTS.to_vec();
    let mut deaths = Vec::new();
    let mut extra = 0;
    let each = clients.len().div_ceil(ROUNDS);
    let mut made: Vec<&[Client]> = Vec::new();
    let mut coming = clients.chunks(each);
    loop {
        let next = coming.next().or_else(|| {
            // Points that were not reached yet take some clients more.
            let next = more.chunks(1).nth(extra).filter(|_| !left.is_empty());
            extra += usize::from(next.is_some());
            next
        });
        let Some(next) = next else { break };
        for client in next {
            client.make(w);
        }
        made.push(next);
        if let Some(before) = made.len().checked_sub(3) {
            act(made[before]);
        }
        // Every other process dies at a random moment; those that are left get the time it takes to get to their point.
        let named = left.first().copied().filter(|_| deaths.len() % 2 == 0 || extra > 0);
        let point = named.unwrap_or("none");
        let mark = w.scratch(&format!("died-at-{point}-{}", deaths.len()));
        let operator = bed.operator(&[("FAULT_POINT", point), ("FAULT_FILE", &mark)]);
        let random = 300 + u64::from(rand::random::<u16>() % 1_200);
        let patience = Duration::from_millis(if named.is_some() { 10_000 } else { random });
        let how = if operator.kill_after(patience) { point } else { AT_RANDOM };
        deaths.push(Death { at: now(), how });
        if named.is_some() {
            // One that was not reached comes round again.
            left.rotate_left(1);
        }
        left.retain(|p| *p != how);
        eprintln!(
            "kill: round {}, {} clients so far, died at {how}; {} points left",
            deaths.len(),
            made.iter().map(|c| c.len()).sum::<usize>(),
            left.len()
        );
    }
    assert!(left.is_empty(), "no process got to {left:?} in {extra} rounds more");
    for last in made.iter().rev().take(2) {
        act(last);
    }
    (deaths, extra)
}

/// Leaves it alone, and looks at what there is.
fn settle(bed: &Bed, w: &World, clients: &[&Client], held: &[Client], deaths: &[Death]) {
    let operator = bed.operator(&[]);
    w.until_after(Duration::from_secs(600), "those that were left alone are Ready", || {
        let ready: BTreeSet<String> = ready(w).into_iter().map(|(name, _)| name).collect();
        held.iter().all(|c| c.fate == Fate::Expires || ready.contains(&c.name))
    });
    for client in held {
        client.act(w);
    }
    let living: BTreeSet<&str> = clients.iter().filter(|c| c.lives()).map(|c| c.name.as_str()).collect();
    let mut open = vec![String::new()];
    // After many attempts in a row whose outcome is unknown, the next one waits for up to five minutes.
    w.until_after(Duration::from_secs(600), "those that live are Ready, and nothing is under way", || {
        let now = under_way(w, &living);
        if now.len() < 5 && now != open {
            eprintln!("kill: still under way: {now:?}");
        }
        open = now;
        open.is_empty()
    });
    let entries = w.whole_ledger("");
    let live: BTreeSet<String> = w.live().iter().map(|c| text(&c["client_id"])).collect();
    let expected: BTreeSet<String> =
        ready(w).into_iter().filter(|(n, _)| is_living(n, &living)).map(|(_, id)| id).collect();
    assert_eq!(expected.len(), ready(w).len(), "something that ended is Ready");
    assert!(expected.is_subset(&live), "a client whose object lives is not at the server");
    let orphans: Vec<&Value> = entries.iter().filter(|e| e["status"]["phase"] == "PossibleOrphan").collect();
    let markers: BTreeSet<String> = orphans.iter().map(|e| text(&e["metadata"]["name"])).collect();
    let mut real = 0;
    for client in w.live().iter().filter(|c| !expected.contains(&text(&c["client_id"]))) {
        let name = text(&client["client_name"]);
        assert!(markers.iter().any(|m| name.ends_with(m.as_str())), "{name} lives, and nothing says so");
        real += 1;
    }
    for orphan in &orphans {
        explained(w, orphan, deaths);
    }
    for fate in FATES {
        ended_as_it_should(&entries, clients, fate);
    }
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for entry in &entries {
        *phases.entry(text(&entry["status"]["phase"])).or_default() += 1;
        let level = &entry["status"]["evidence"]["level"];
        assert!(entry["status"]["phase"] != "Revoked" || *level == "Proven", "{entry:#}");
    }
    let at_points = deaths.iter().filter(|d| d.how != AT_RANDOM).count();
    eprintln!(
        "kill: {} clients, {} processes killed ({at_points} at named steps, all {} of them); {} live at the server as they should; entries: {phases:?}; {} possible orphans reported, {real} of them real",
        clients.len(),
        deaths.len(),
        POINTS.len(),
        expected.len(),
        orphans.len(),
    );
    operator.stop();
}

/// Many ends come before anything is registered; of each way some clients came that far, and were revoked for it.
fn ended_as_it_should(entries: &[Value], clients: &[&Client], fate: Fate) {
    let mine: Vec<&&Client> = clients.iter().filter(|c| c.fate == fate).collect();
    let Some(reasons) = mine.first().expect("a client of each fate").end_reasons() else { return };
    let names: BTreeSet<&str> = mine.iter().map(|c| c.name.as_str()).collect();
    let of_mine = |e: &&Value| e["spec"]["clientRef"]["name"].as_str().is_some_and(|n| names.contains(n));
    let ends: Vec<_> = entries
        .iter()
        .filter(of_mine)
        .map(|e| (text(&e["status"]["phase"]), text(&e["status"]["end"]["reason"])))
        .collect();
    let revoked =
        ends.iter().filter(|(phase, reason)| phase == "Revoked" && reasons.contains(&reason.as_str())).count();
    assert!(revoked > 0, "{fate:?}: nothing was revoked because of {reasons:?}: {ends:?}");
    eprintln!("kill: {fate:?}: {revoked} revoked for it");
}

/// A possible orphan is what a death leaves between putting the attempt on record and storing the answer.
fn explained(w: &World, orphan: &Value, deaths: &[Death]) {
    let attempted = text(&orphan["status"]["attemptedAt"]);
    let attempted = DateTime::parse_from_rfc3339(&attempted).expect("an attempt is on record").to_utc();
    let death = deaths.iter().find(|d| d.at >= attempted).unwrap_or_else(|| panic!("nobody died after: {orphan:#}"));
    // Whatever step one entry was at when the process died, others were in their requests and died with it.
    let said = text(&orphan["status"]["possibleOrphan"]["message"]);
    assert!(said.contains("a registration request had no answer on record"), "it had an answer: {orphan:#}");
    assert!(death.at - attempted <= ONE_POST, "died at {}, {} later: {orphan:#}", death.how, death.at - attempted);
    let name = text(&orphan["metadata"]["name"]);
    let kept = w.kubectl(&["-n", "oauthclient-system", "get", "secret", &name, "--ignore-not-found", "-o", "name"]);
    assert!(kept.is_empty(), "its answer is stored: {orphan:#}");
}
