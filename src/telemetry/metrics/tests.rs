//! What is told is well formed, bounded, and what docs/metrics.md says; alerts and dashboard name nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::*;

/// Metrics of a process that has done a bit of everything.
fn busy() -> Arc<Metrics> {
    let watches = Arc::new(Watches::default());
    watches.add("client", "oauthclients", None, true).completed();
    let metrics = Arc::new(Metrics::new(Clock::new(), Scope::default(), watches, crate::permit::Permit::unlimited()));
    let (entries, mut writer) = kube::runtime::reflector::store();
    let entry = census::tests::entry("corp", &serde_json::json!({"phase": "Revoking"}));
    writer.apply_watcher_event(&kube::runtime::watcher::Event::Apply(entry));
    metrics.count_entries(entries);
    let (servers, mut writer) = kube::runtime::reflector::store();
    writer.apply_watcher_event(&kube::runtime::watcher::Event::Apply(surveyed()));
    metrics.count_servers(servers);
    metrics.swept("corp", Swept::Orphan);
    metrics.passed("client", Outcome::Ok, Duration::from_millis(3));
    metrics.drift_corrected("corp");
    let requests = ServerRequests { metrics: metrics.clone(), server: "corp".into() };
    requests.observe("register client", "201", Duration::from_millis(30));
    requests.circuit(true);
    metrics
}

/// A server whose sweep has stopped.
fn surveyed() -> AuthorizationServer {
    let survey = serde_json::json!({
        "at": "2026-01-01T00:00:00Z", "installation": "7f3a", "clients": 3, "unclaimed": 2, "stopped": "too many",
    });
    serde_json::from_value(serde_json::json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "AuthorizationServer", "metadata": {"name": "corp"},
        "spec": {"issuer": "https://sso.corp.example", "backend": {"dynamicRegistration": {}}},
        "status": {"survey": survey},
    }))
    .unwrap()
}

#[test]
fn surveys_are_told() {
    let text = busy().text().unwrap();
    for sample in [
        r#"oauthclient_orphans{server="corp"} 2.0"#,
        r#"oauthclient_orphan_sweep_stopped{server="corp"} 1.0"#,
        r#"oauthclient_last_survey_timestamp_seconds{server="corp"} 1767225600.0"#,
        r#"oauthclient_swept_clients_total{server="corp",why="orphan"} 1"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} is not in {text}");
    }
}

#[test]
fn a_server_that_is_gone_has_no_open_circuit() {
    let metrics = busy();
    let told = || metrics.text().unwrap().contains(r#"oauthclient_server_circuit_open{server="corp"}"#);
    assert!(told());
    metrics.server_gone("corp");
    assert!(!told());
}

/// Type and help by name, as the text has them.
fn described(text: &str) -> BTreeMap<String, (String, String)> {
    let mut all = BTreeMap::<String, (String, String)>::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let one = all.entry(name.to_owned()).or_default();
        match what {
            "TYPE" => one.0 = rest.to_owned(),
            "HELP" => one.1 = rest.trim_end_matches('.').to_owned(),
            _ => {}
        }
    }
    all
}

/// Names of samples: counters have a suffix, histograms three.
fn samples(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.map(|l| l.split(['{', ' ']).next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn docs_list_every_metric_and_nothing_else() {
    let text = busy().text().unwrap();
    let labels = |name: &str| {
        let mut found = BTreeSet::new();
        let mine = |l: &&str| {
            let sample = l.split(['{', ' ']).next().unwrap_or_default();
            let suffix = sample.strip_prefix(name);
            suffix.is_some_and(|s| matches!(s, "" | "_total" | "_bucket" | "_info"))
        };
        for line in text.lines().filter(mine) {
            let inside = line.split_once('{').and_then(|(_, r)| r.rsplit_once('}')).map_or("", |(i, _)| i);
            let keys = inside.split("\",").filter_map(|pair| pair.split_once('=')).map(|(k, _)| k);
            found.extend(keys.filter(|k| *k != "le").map(|k| format!("`{k}`")));
        }
        found.into_iter().collect::<Vec<_>>().join(", ")
    };
    let mut table = String::from("| metric | type | labels | what |\n|---|---|---|---|\n");
    for (name, (kind, help)) in described(&text) {
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let all = labels(&name);
        writeln!(table, "| `{name}{suffix}` | {kind} | {all} | {help} |").unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let (before, rest) = docs.split_once("<!-- metrics -->\n").expect("a beginning");
    let (listed, after) = rest.split_once("<!-- end of metrics -->").expect("an end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}<!-- metrics -->\n{table}<!-- end of metrics -->{after}")).unwrap();
    } else {
        assert_eq!(listed, table, "docs/metrics.md is not what is told: UPDATE_DOCS=1 writes it");
    }
}

#[test]
fn names_follow_the_conventions() {
    for (name, (kind, help)) in described(&busy().text().unwrap()) {
        assert!(name.starts_with("oauthclient_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert!(!help.is_empty() && !name.ends_with("_total"), "{name}");
        if kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name}: durations are in seconds and say so");
        }
    }
}

#[test]
fn a_server_cannot_make_labels_up() {
    let metrics = busy();
    let requests = ServerRequests { metrics: metrics.clone(), server: "corp".into() };
    for status in 100..1000u16 {
        requests.observe("register client", &status.to_string(), Duration::from_millis(1));
    }
    let text = metrics.text().unwrap();
    let series = text.lines().filter(|l| l.starts_with("oauthclient_server_requests_total{")).count();
    assert!(series < 80, "{series} series");
    assert!(text.contains(r#"code="7xx""#) && text.contains(r#"code="404""#), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

mod alerts;
