//! A storm between the operator and Keycloak, while the operator is killed again and again: connections break before and
//! after the server acted, requests are held back until after the time-out and until after the deletion, answers are
//! late, wrong, and cut short. Left alone afterwards: live at Keycloak are exactly the clients whose objects live, and no
//! sweep helped. `STORM_CLIENTS` sets how many clients there are, `STORM_SEED` which faults.

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::fate::{CHANGED_SCOPES, Client, Fate, is_living, ready, text, under_way};
use support::keycloak::{NAME, Realm};
use support::proxy::{Lie, Proxy, Reply};
use support::storm::{Storm, Strength, registers};
use support::{Bed, World};

/// The longest that a request without an answer is waited for, and that the proxy holds one back.
const TIMEOUT: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(6);
/// How long after an unanswered registration the operator deletes once more: longer than anything is held back, with the
/// time that Keycloak itself may take on a busy machine.
const SETTLE: Duration = Duration::from_secs(20);
/// In how many rounds the clients are made; each round is a process that dies.
const ROUNDS: usize = 8;

#[test]
fn a_storm_only_delays() {
    let many: usize = std::env::var("STORM_CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(18);
    let bed = Bed::up("storm");
    let realm = Realm::up(&bed);
    let operator = bed.operator(&[]);
    let w = World::new(&bed, "storm");
    let proxy = bed.keeping_proxy();
    proxy.point_at(realm.url());
    let limits = json!({
        "requestsPerSecond": 1000, "burst": 1000, "maxInFlight": 8, "requestTimeout": format!("{}s", TIMEOUT.as_secs()),
    });
    realm.serve(
        &w,
        &proxy.url,
        &json!({
            "limits": limits,
            "orphanSweep": {"every": "0s", "action": "Report"},
            "revocation": {"settleFor": format!("{}s", SETTLE.as_secs())},
        }),
    );
    let surveyed = survey(&w);
    eprintln!("storm: a registration that comes after the deletion");
    late_registration(&w, &realm, &proxy);
    eprintln!("storm: a change that is not made yet");
    pending_change(&w, &proxy);
    operator.stop();
    let clients: Vec<Client> = (0..many).map(Client::nth).map(|c| Client { server: Some(NAME), ..c }).collect();
    let mut credentials = BTreeMap::new();
    let began = Instant::now();
    let strength = Strength { changes: 35, others: 8, timeout: TIMEOUT, longest: LONGEST };
    let storm = Storm::over(&proxy, strength);
    let deaths = kill(&bed, &w, &clients, &mut credentials);
    proxy.choose(None);
    let stormy = began.elapsed();
    let told = storm.told();
    let operator = bed.operator(&[]);
    settle(&w, &realm, &proxy, &clients, &mut credentials);
    assert_eq!(survey(&w), surveyed, "a sweep helped");
    eprintln!(
        "storm: {many} clients, {deaths} processes killed in {} s, settled after {} s; {told}",
        stormy.as_secs(),
        began.elapsed().saturating_sub(stormy).as_secs()
    );
    operator.stop();
}

/// When Keycloak's clients were last listed.
fn survey(w: &World) -> Value {
    w.get(&format!("authorizationserver/{NAME}"))["status"]["survey"]["at"].clone()
}

/// The first request is held back, the second one registers; the client is deleted, and then the first one takes effect.
fn late_registration(w: &World, realm: &Realm, proxy: &Proxy) {
    let held = proxy.lie_times(1, registers, Lie::Held);
    w.client("late", &json!({"authorizationServerRef": {"name": NAME}}));
    w.wait("oauthclient/late", "condition=Ready");
    assert_eq!(held.matched(), 1);
    let secret = w.secret("late-oauth");
    w.kubectl(&["delete", "oauthclient/late", "--wait=false"]);
    w.until("the client is gone from Keycloak", || realm.clients().is_empty());
    held.release();
    w.until("it is back", || !realm.clients().is_empty());
    w.token_with(&secret).expect("and its credential works again");
    w.until("it is gone for good", || w.entry("late")["status"]["phase"] == "Revoked");
    assert!(realm.clients().is_empty());
    let entry = w.entry("late");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{entry:#}");
    assert!(w.token_with(&secret).is_err());
}

/// A change that the server does not take: the Secret goes on saying what the client has.
fn pending_change(w: &World, proxy: &Proxy) {
    w.client("changes", &json!({"authorizationServerRef": {"name": NAME}, "scopes": ["reports.read"]}));
    w.wait("oauthclient/changes", "condition=Ready");
    let fails = proxy.lie(
        |call| call.method == "PUT" && call.target.starts_with("/admin/"),
        Lie::Instead(Reply::json(500, &json!({"error": "unknown_error"}))),
    );
    w.patch("oauthclient/changes", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.wait_reason("oauthclient/changes", "Reconciling", "True", "ChangePending");
    assert_eq!(w.secret("changes-oauth")["scopes"], "reports.read");
    w.token("changes-oauth").expect("the client goes on as it was");
    fails.stop();
    w.until("the Secret says what the client has", || w.secret("changes-oauth")["scopes"] == CHANGED_SCOPES);
    w.token("changes-oauth").expect("and it has it");
    w.kubectl(&["delete", "oauthclient/changes"]);
}

/// Makes the clients and ends them, while processes die; how many did.
fn kill(bed: &Bed, w: &World, clients: &[Client], credentials: &mut BTreeMap<String, String>) -> usize {
    let rounds = ROUNDS.max(clients.len() / 5);
    let mut made: Vec<&[Client]> = Vec::new();
    let mut coming = clients.chunks(clients.len().div_ceil(rounds));
    let living = living(clients);
    let mut acted = 0;
    let mut deaths = 0;
    // Once all are made, as many processes more, or until little is left to do.
    while made.len() < rounds || deaths < 2 * rounds {
        match coming.next() {
            Some(next) => {
                for c in next {
                    c.make(w);
                }
                made.push(next);
            }
            None => made.push(&[]),
        }
        if let Some(before) = made.len().checked_sub(3) {
            made[before].iter().for_each(|c| c.act(w));
            acted += made[before].len();
        }
        let operator = bed.operator(&[]);
        // The longer the slower it gets on, so that a slow machine gets somewhere too.
        let late = deaths.saturating_sub(rounds) as u64;
        operator.kill_after(Duration::from_millis(500 + rand::random::<u64>() % (1_500 + 250 * late)));
        deaths += 1;
        remember(w, credentials);
        let left = under_way(w, &living).len();
        eprintln!(
            "storm: {deaths} processes killed, {} clients made, {left} under way",
            made.iter().map(|c| c.len()).sum::<usize>()
        );
        if acted == clients.len() && left <= clients.len() / 10 {
            break;
        }
    }
    deaths
}

fn living(clients: &[Client]) -> BTreeSet<&str> {
    clients.iter().filter(|c| c.lives()).map(|c| c.name.as_str()).collect()
}

/// Every secret that the operator has for a client, by the client's id.
fn remember(w: &World, credentials: &mut BTreeMap<String, String>) {
    let path = "/api/v1/namespaces/oauthclient-system/secrets?labelSelector=oauthclient.dev%2Frole%3Dmanagement";
    let list = w.read(path).expect("Secrets");
    for secret in list["items"].as_array().expect("items") {
        let value = |key: &str| {
            let bytes = BASE64_STANDARD.decode(secret["data"][key].as_str()?).ok()?;
            String::from_utf8(bytes).ok()
        };
        if let (Some(id), Some(secret)) = (value("client_id"), value("client_secret")) {
            credentials.insert(id, secret);
        }
    }
}

/// Leaves it alone, and looks at what there is.
fn settle(w: &World, realm: &Realm, proxy: &Proxy, clients: &[Client], credentials: &mut BTreeMap<String, String>) {
    let living = living(clients);
    let mut open = vec![String::new()];
    // After many failures in a row the next try waits for up to five minutes.
    w.until_after(Duration::from_secs(900), "those that live are Ready, and nothing is under way", || {
        let now = under_way(w, &living);
        if now.len() < 5 && now != open {
            eprintln!("storm: still under way: {now:?}");
        }
        open = now;
        remember(w, credentials);
        open.is_empty()
    });
    w.until("nothing is held back any more", || proxy.in_flight() == 0);
    let slowest = proxy.calls(registers).iter().filter_map(|c| c.acted.map(|a| a - c.at)).max().unwrap_or_default();
    // The first story's request is held by hand, in an order that does not depend on time.
    eprintln!("storm: the slowest registration took effect after {} ms", slowest.as_millis());

    let ready = ready(w);
    let expected: BTreeSet<String> =
        ready.iter().filter(|(n, _)| is_living(n, &living)).map(|(_, id)| id.clone()).collect();
    assert_eq!(expected.len(), ready.len(), "something that ended is Ready");
    let live: BTreeSet<String> = realm.client_ids().into_iter().collect();
    let entries = w.whole_ledger("");
    let strangers: Vec<&Value> = entries
        .iter()
        .filter(|e| {
            live.difference(&expected).any(|id| {
                e["status"]["clientId"] == **id || id.ends_with(text(&e["metadata"]["name"]).trim_start_matches("oac-"))
            })
        })
        .collect();
    assert_eq!(live, expected, "live at Keycloak, and whose objects live; entries of the others: {strangers:#?}");

    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for entry in &entries {
        let phase = text(&entry["status"]["phase"]);
        let proven = entry["status"]["evidence"]["level"] == "Proven";
        let fine = match phase.as_str() {
            "Registered" => expected.contains(&text(&entry["status"]["clientId"])),
            "Revoked" => proven,
            "Cancelled" => true,
            _ => false,
        };
        assert!(fine, "{entry:#}");
        *phases.entry(phase).or_default() += 1;
    }
    for c in clients.iter().filter(|c| c.lives()) {
        let name = &c.name;
        let scopes = if c.fate == Fate::Changed { CHANGED_SCOPES } else { "reports.read" };
        assert_eq!(w.secret(&format!("{name}-oauth"))["scopes"], scopes, "{name}");
        w.token(&format!("{name}-oauth")).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let dead: Vec<_> = credentials.iter().filter(|(id, _)| !live.contains(*id)).collect();
    for (id, secret) in &dead {
        let credential = [
            ("token_endpoint", format!("{}/realms/corp/protocol/openid-connect/token", realm.url())),
            ("token_endpoint_auth_method", "client_secret_post".to_owned()),
            ("client_id", (*id).clone()),
            ("client_secret", (*secret).clone()),
            ("scopes", "reports.read".to_owned()),
        ];
        let refused = w.token_with(&credential.map(|(k, v)| (k.to_owned(), v)).into()).expect_err(id);
        assert!(refused.contains("401") && refused.contains("invalid_client"), "{id}: {refused}");
    }
    assert!(!dead.is_empty());
    eprintln!(
        "storm: {} live, as they should; {} dead credentials are refused; entries: {phases:?}",
        live.len(),
        dead.len()
    );
}
