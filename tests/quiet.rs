//! What a client costs, and that nothing costs anything at rest: counted, not timed, at the API server and at the
//! authorization server. A cluster and an operator of its own, since nothing else may happen meanwhile.
//! `QUIET_SECONDS` sets how long nothing has to happen.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use support::audit::{Mark, Write, tally};
use support::{Bed, World};

const CLIENTS: usize = 100;
/// Events apart, of which there are two at most.
const TO_READY: usize = 6;
const TO_THE_END: usize = 4;
const EVENTS: usize = 2;

#[test]
fn a_client_costs_little_and_rest_costs_nothing() {
    let bed = Bed::up("quiet");
    let operator = bed.operator(&[]);
    {
        let w = World::new(&bed, "quiet");
        one_alone(&w);
        let names: Vec<String> = (0..CLIENTS).map(|n| format!("c{n}")).collect();
        many_to_ready(&w, &names);
        rest(&w);
        many_to_the_end(&w, &names);
    }
    operator.stop();
}

/// Waits for the event that is written last, after the object says the same.
fn told(w: &World, names: &[String], reason: &str) {
    w.until(&format!("{} events say {reason}", names.len()), || {
        let fields =
            ["get", "events", "-o", "jsonpath={range .items[*]}{.involvedObject.name} {.reason}{\"\\n\"}{end}"];
        let said = w.kubectl(&fields);
        let lines: std::collections::BTreeSet<&str> = said.lines().collect();
        names.iter().all(|n| lines.contains(format!("{n} {reason}").as_str()))
    });
}

fn one_alone(w: &World) {
    let name = "one".to_owned();
    w.requests();
    let mark = w.bed.mark();
    w.client(&name, &json!({}));
    w.wait("oauthclient/one", "condition=Ready");
    told(w, std::slice::from_ref(&name), "Ready");
    let writes = w.bed.operators_writes(mark);
    cost("one client's way to Ready", &writes, TO_READY);
    let asked = w.requests();
    eprintln!("quiet: asked of the server on the way to Ready: {asked:?}");
    assert_eq!(asked, counts(&[("POST /reg", 1), ("POST /token/revocation", 2)]), "one probe, and a control");
    let mark = w.bed.mark();
    let start = Instant::now();
    w.kubectl(&["delete", "oauthclient/one", "--timeout=120s"]);
    let entry = w.entry(&name);
    assert_eq!(entry["status"]["evidence"]["level"], "Proven");
    cost("one client's end", &w.bed.operators_writes(mark), TO_THE_END);
    let asked = w.requests();
    eprintln!("quiet: asked of the server at the end: {asked:?}");
    assert_eq!(asked.get("DELETE /reg/:id"), Some(&1));
    probes(&asked, 1, start);
}

fn counts(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
    all.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect()
}

fn cost(what: &str, writes: &[Write], most: usize) {
    let (counted, apart) = tally(writes);
    eprintln!("quiet: {what}: {apart} writes besides events: {counted:?}");
    assert!(writes.iter().all(|w| w.code < 400), "{what}: some were in vain: {writes:#?}");
    assert!(apart <= most, "{what} took {apart} writes instead of {most}: {writes:#?}");
    assert!(writes.len() - apart <= EVENTS, "{what} took {} events: {writes:#?}", writes.len() - apart);
}

/// One probe for each client; what is more are controls, shared for half a minute by all that do not ask at the very
/// same time, of which the server allows eight.
fn probes(asked: &BTreeMap<String, u64>, clients: u64, start: Instant) {
    let probes = asked.get("POST /token/revocation").copied().unwrap_or_default();
    let controls = probes.checked_sub(clients).expect("a probe for each client");
    eprintln!("quiet: {clients} probes and {controls} controls");
    assert!(controls <= (8 * (1 + start.elapsed().as_secs() / 30)).min(clients), "controls are shared: {controls}");
}

/// What each client took, by the objects written.
fn each(w: &World, mark: Mark, what: &str, most: usize, clients: usize) {
    let entries = w.ledger();
    let of_entry: BTreeMap<String, String> = entries
        .iter()
        .map(|e| {
            let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
            (text(&e["metadata"]["name"]), text(&e["spec"]["clientRef"]["name"]))
        })
        .collect();
    let mut by_client: BTreeMap<String, Vec<Write>> = BTreeMap::new();
    let mut in_vain = 0;
    for write in w.bed.operators_writes(mark) {
        let name = write.object.rsplit_once('/').expect("a name").1;
        let client = of_entry
            .get(name)
            .cloned()
            .unwrap_or_else(|| name.split('.').next().unwrap_or_default().trim_end_matches("-oauth").to_owned());
        if write.code < 400 {
            by_client.entry(client).or_default().push(write);
        } else {
            eprintln!("quiet: in vain: {write:?}");
            in_vain += 1;
        }
    }
    let all: Vec<Write> = by_client.values().flatten().map(Clone::clone).collect();
    let (counted, apart) = tally(&all);
    eprintln!("quiet: {what} of {clients} clients: {apart} writes besides events, {in_vain} in vain: {counted:?}");
    assert_eq!(by_client.len(), clients, "{:?}", by_client.keys());
    for (client, writes) in &by_client {
        let (_, apart) = tally(writes);
        assert!(apart <= most, "{what} of {client} took {apart} writes instead of {most}: {writes:#?}");
        assert!(writes.len() - apart <= EVENTS, "{what} of {client}: {writes:#?}");
    }
    assert!(in_vain * 20 <= apart, "more than one write in twenty is in vain");
}

fn many_to_ready(w: &World, names: &[String]) {
    w.requests();
    let (mark, start) = (w.bed.mark(), Instant::now());
    w.clients(names, &json!({}));
    w.wait("oauthclients --all", "condition=Ready");
    told(w, names, "Ready");
    each(w, mark, "the way to Ready", TO_READY, names.len());
    let asked = w.requests();
    let clients = names.len() as u64;
    assert_eq!(asked.get("POST /reg"), Some(&clients), "{asked:?}");
    assert_eq!(asked.len(), 2, "nothing but registering and probing: {asked:?}");
    probes(&asked, clients, start);
}

/// The one time that a test has to wait for: that in which nothing happens.
fn rest(w: &World) {
    let seconds = std::env::var("QUIET_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    w.requests();
    let mark = w.bed.mark();
    std::thread::sleep(Duration::from_secs(seconds));
    let (writes, asked) = (w.bed.operators_writes(mark), w.requests());
    eprintln!("quiet: {} clients at rest for {seconds} s: {} writes, {asked:?} asked", CLIENTS, writes.len());
    assert!(writes.is_empty(), "{writes:#?}");
    assert!(asked.is_empty(), "{asked:?}");
    assert_eq!(w.live().len(), CLIENTS);
}

fn many_to_the_end(w: &World, names: &[String]) {
    w.requests();
    let (mark, start) = (w.bed.mark(), Instant::now());
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    assert!(w.live().is_empty());
    each(w, mark, "the end", TO_THE_END, names.len());
    let asked = w.requests();
    let clients = names.len() as u64;
    assert_eq!(asked.get("DELETE /reg/:id"), Some(&clients), "{asked:?}");
    assert_eq!(asked.len(), 2, "nothing but deleting and probing: {asked:?}");
    probes(&asked, clients, start);
    let all = w.ledger();
    assert!(all.iter().all(|e| e["status"]["evidence"]["level"] == "Proven"));
}
