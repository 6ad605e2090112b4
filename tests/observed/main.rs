//! Alerts and dashboard as they are shipped, on a real Prometheus that scrapes a real operator: each alert is seen to
//! become true when its trouble comes and not before, and each query of the dashboard gives data.

mod alerts;
mod dashboard;
mod prometheus;
#[path = "../support/mod.rs"]
mod support;
#[path = "../stories/sweeping.rs"]
#[allow(dead_code, reason = "stories of the sweep use the rest")]
mod sweeping;
mod trouble;

use std::process::Command;

use alerts::{Alerts, until};
use prometheus::{Prometheus, program};
use support::keycloak::Realm;
use support::{Bed, World};

/// How long each alert waits, by `promtool test rules`.
#[test]
fn promtool_takes_the_rules_and_they_wait_as_they_should() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/observed/alerts.test.yaml");
    for arguments in [["check", "rules", alerts::file().to_str().expect("a path")], ["test", "rules", cases]] {
        let out = Command::new(program("promtool")).args(arguments).output().expect("run promtool");
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && !said.contains("FAILED"), "promtool {arguments:?}: {said}");
    }
}

#[test]
fn what_prometheus_sees() {
    let bed = Bed::up("observed");
    let realm = Realm::up(&bed);
    let prometheus = Prometheus::start(&bed, &alerts::file());
    let alerts = Alerts::of(&prometheus);
    let clock = bed.scratch("clock");
    std::fs::write(&clock, "0").expect("set the clock");
    let operator = bed.ready_operator(&[("FAULT_CLOCK_FILE", &clock)]);
    prometheus.scrape(&[operator.address()]);

    let calm = World::new(&bed, "calm");
    let troubled = World::behind_a_proxy(&bed, "troubled");
    trouble::ordinary_life(&calm, &troubled, &realm);
    until("what is there is counted", || !prometheus.query("oauthclient_unapproved_clients == 1").is_empty());
    until("servers are surveyed", || !prometheus.query("oauthclient_orphans == 0").is_empty());
    assert!(alerts.standing().is_empty(), "before any trouble: {:?}", alerts.standing());

    trouble::an_answer_is_lost(&troubled, &alerts, &prometheus);
    trouble::orphans(&calm, &realm, &alerts, &operator);
    trouble::a_server_fails(&troubled, &alerts, |last| {
        trouble::time_passes(&clock, &alerts);
        last();
    });
    std::fs::write(&clock, "0").expect("set the clock");
    let after = ["RevocationOwed", "Overdue", "Unapproved", "Ending", "ClockOff", "ServerCircuitOpen", "ServerFailing"];
    let after = after.map(|name| format!("OAuthClient{name}"));
    alerts.go(&after.each_ref().map(|name| (name.as_str(), "")));

    dashboard::gives_data(&prometheus);
    for (name, expression) in &alerts.rules {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|w| w.starts_with("oauthclient_")) {
            until(&format!("{name}: {metric} is a series"), || !prometheus.query(metric).is_empty());
        }
    }

    let operator = trouble::nobody_leads(&bed, operator, &alerts, &prometheus);
    trouble::a_right_is_missing(&calm, &alerts);
    operator.finish();

    for rule in prometheus.rules() {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
    assert!(alerts.unseen().is_empty(), "never seen to become true: {:?}", alerts.unseen());
}
