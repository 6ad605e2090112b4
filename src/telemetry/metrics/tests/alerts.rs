//! Alerts and dashboard name only what is told; each alert has its page in docs/runbooks, and its line in
//! docs/monitoring.md.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use serde_json::Value;

use super::{busy, samples};

fn path(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn rules() -> Vec<Value> {
    let text = std::fs::read_to_string(path("charts/oauthclient-operator/files/alerts.yaml")).unwrap();
    let all: Value = serde_yaml::from_str(&text).unwrap();
    all["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap().clone()).collect()
}

/// The metrics in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|w| w.starts_with("oauthclient_"))
}

#[test]
fn alerts_name_metrics_that_exist() {
    let text = busy().text().unwrap();
    let known = samples(&text);
    let mut seen = 0;
    for rule in rules() {
        assert!(rule["annotations"]["summary"].is_string() && rule["labels"]["severity"].is_string(), "{rule}");
        let expression = rule["expr"].as_str().unwrap();
        for word in names(expression) {
            seen += 1;
            assert!(known.contains(word), "{word} in {expression} is not told: {known:?}");
        }
    }
    assert!(seen >= 14, "only {seen}");
}

/// Every replica tells the same gauges.
#[test]
fn no_alert_adds_gauges_up() {
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        for added in expression.split("sum").skip(1) {
            let inner = added.split_once('(').map_or("", |(by, rest)| if by.trim().is_empty() { rest } else { added });
            assert!(inner.contains("rate("), "{expression}: a sum of what each replica tells of the same objects");
        }
    }
}

#[test]
fn each_alert_has_its_runbook_and_each_runbook_its_alert() {
    let named = |rule: &Value| rule["alert"].as_str().unwrap().to_owned();
    let alerts: BTreeSet<String> = rules().iter().map(named).collect();
    let pages =
        std::fs::read_dir(path("docs/runbooks")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> = pages.filter_map(|p| p.strip_suffix(".md").map(ToOwned::to_owned)).collect();
    assert_eq!(alerts, pages);
    for rule in rules() {
        let (name, page) = (named(&rule), rule["annotations"]["runbook_url"].as_str().unwrap().to_owned());
        assert_eq!(page, format!("docs/runbooks/{name}.md"));
        let text = std::fs::read_to_string(path(&page)).unwrap();
        assert!(text.starts_with(&format!("# {name}\n")), "{page}");
        for part in ["**Means.**", "**At stake.**", "**Look.**", "**Do.**", "**Goes away**", "**False alarm.**"] {
            assert!(text.contains(part), "{page} has no {part}");
        }
        assert!(text.contains("```console\n$ kubectl "), "{page} shows no command");
    }
}

#[test]
fn the_list_of_alerts_is_what_the_rules_say() {
    let mut table = String::from("| alert | severity | after | what |\n|---|---|---|---|\n");
    for rule in rules() {
        let text = |value: &Value| value.as_str().unwrap_or("at once").to_owned();
        let name = text(&rule["alert"]);
        let what = text(&rule["annotations"]["summary"]).replace("{{ $labels.", "*").replace(" }}", "*");
        let (severity, after) = (text(&rule["labels"]["severity"]), text(&rule["for"]));
        writeln!(table, "| [{name}](runbooks/{name}.md) | {severity} | {after} | {what} |").unwrap();
    }
    let path = path("docs/monitoring.md");
    let docs = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = docs.split_once("<!-- alerts -->\n").expect("a beginning");
    let (listed, after) = rest.split_once("<!-- end of alerts -->").expect("an end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}<!-- alerts -->\n{table}<!-- end of alerts -->{after}")).unwrap();
    } else {
        assert_eq!(listed, table, "docs/monitoring.md is not what the rules say: UPDATE_DOCS=1 writes it");
    }
}
