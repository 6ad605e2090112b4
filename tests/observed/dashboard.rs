//! The dashboard as it is shipped: its every query gives data.

use std::path::Path;

use serde_json::Value;

use crate::alerts::until;
use crate::prometheus::Prometheus;

/// A query of a panel.
struct Query {
    panel: String,
    expression: String,
    instant: bool,
}

fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/oauthclient-operator/files/dashboard.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the dashboard")).expect("JSON")
}

fn queries(dashboard: &Value) -> Vec<Query> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|p| {
        let targets = p["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |t| (p["title"].as_str().expect("a title").to_owned(), t))
    });
    let filled = |expression: &str| {
        let expression = expression.replace("$__rate_interval", "1m").replace("$__range", "10m");
        let expression = expression.replace("$server", ".*");
        assert!(!expression.contains('$'), "{expression}: a variable that Grafana or the dashboard does not know");
        expression
    };
    targets
        .map(|(panel, t)| Query {
            panel,
            expression: filled(t["expr"].as_str().expect("an expression")),
            instant: t["instant"] == true,
        })
        .collect()
}

/// A number among what was given, and not only "not a number", which nothing divided by nothing is.
fn has_data(result: &[Value]) -> bool {
    let numbers = |r: &Value| {
        let values = r["values"].as_array().cloned().unwrap_or_else(|| vec![r["value"].clone()]);
        values.iter().any(|v| v[1].as_str().is_some_and(|v| v.parse::<f64>().is_ok_and(f64::is_finite)))
    };
    result.iter().any(numbers)
}

/// Each query gives data, and so does what variables are filled by.
pub fn gives_data(prometheus: &Prometheus) {
    let dashboard = dashboard();
    let all = queries(&dashboard);
    assert!(all.len() > 30, "only {}", all.len());
    for Query { panel, expression, instant } in all {
        let ask = || if instant { prometheus.query(&expression) } else { prometheus.range(&expression) };
        until(&format!("data for {panel}: {expression}"), || has_data(&ask()));
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let Some(definition) = variable["definition"].as_str() else { continue };
        let inside = definition.strip_prefix("label_values(").and_then(|d| d.strip_suffix(')')).expect("label_values");
        let (metric, label) = inside.split_once(", ").expect("a metric and a label");
        let filled = prometheus.query(metric);
        assert!(filled.iter().any(|r| r["metric"][label].is_string()), "{definition}: {filled:?}");
    }
}

/// What Grafana shows as broken without a word: a datasource that is written down, ids that are there twice, panels that
/// overlap.
#[test]
fn it_is_well_formed() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(38) && dashboard["uid"].is_string());
    let (mut ids, mut cells) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is another's");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a position");
        assert!(at("x") + at("w") <= 24, "{title} is too wide");
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(cells.insert((x, y)), "{title} lies upon another panel");
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
        assert!(panel["type"] == "row" || panel["description"].is_string(), "{title} is not explained");
    }
    let rows = dashboard["panels"].as_array().expect("panels").iter().filter(|p| p["type"] == "row");
    assert_eq!(rows.count(), 4);
}
