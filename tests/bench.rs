//! What trouble elsewhere costs, as ratios of medians on one machine in one run: `make bench`. Not among the tests, since
//! time is measured. `BENCH_ROUNDS` sets how many clients each median is of.

#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::proxy::Lie;
use support::{Bed, World};

/// The most that a server which does not answer may cost the clients of another.
const MOST: f64 = 1.2;
/// Clients that wait for the server that does not answer.
const WAITING: usize = 50;

#[test]
#[ignore = "measures time: make bench runs it"]
fn one_black_holed_server_delays_no_client_of_another() {
    let rounds: usize = std::env::var("BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let bed = Bed::up("bench");
    let operator = bed.operator(&[]);
    {
        let w = World::new(&bed, "bench");
        w.server(&json!({"limits": {"requestsPerSecond": 1000, "burst": 1000}}));
        let proxy = w.another_proxy();
        let hole = w.another_server_behind(&proxy);
        w.authorization_server("hole", &json!({"issuer": hole.issuer, "limits": {"requestTimeout": "30s"}}));
        w.wait("authorizationserver/hole", "condition=Ready");
        let warm = median(&w, "warm", rounds / 4);
        eprintln!("bench: warmed up: {warm:.0?}");
        let alone = median(&w, "alone", rounds);
        let held = proxy.lie(|_| true, Lie::Held);
        let names: Vec<String> = (0..WAITING).map(|n| format!("waits{n}")).collect();
        w.clients(&names, &json!({"authorizationServerRef": {"name": "hole"}}));
        w.until("they wait for the server that does not answer", || held.matched() >= 8);
        let beside = median(&w, "beside", rounds);
        let waiting = held.matched();
        let ratio = beside.as_secs_f64() / alone.as_secs_f64();
        eprintln!(
            "bench: apply to Ready: {alone:.0?} alone, {beside:.0?} beside a server that answers nothing ({WAITING} \
             clients wait there, {waiting} requests are held): ratio {ratio:.2}, at most {MOST}"
        );
        assert!(ratio <= MOST, "a server that does not answer delays the clients of another");
        held.stop();
    }
    operator.stop();
}

/// The median time from creating a client to its being Ready, one after the other.
fn median(w: &World, name: &str, rounds: usize) -> Duration {
    let mut all: Vec<Duration> = (0..rounds).map(|n| to_ready(w, &format!("{name}{n}"))).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn to_ready(w: &World, name: &str) -> Duration {
    let object = w.client_object(&json!({"name": name}), &json!({}));
    let path = format!("/apis/oauthclient.dev/v1alpha1/namespaces/{}/oauthclients", w.namespace);
    let began = Instant::now();
    w.create(&path, &object);
    while w.get(&format!("oauthclient/{name}"))["status"]["state"] != "Ready" {
        assert!(began.elapsed() < Duration::from_secs(60), "{name} is not Ready");
        std::thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}
