//! The alerts as they are shipped, put to Prometheus.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::prometheus::Prometheus;
use crate::support::PATIENCE;

/// Where they are.
pub fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/oauthclient-operator/files/alerts.yaml")
}

/// All of them, and those that were seen to become true.
pub struct Alerts<'a> {
    prometheus: &'a Prometheus,
    /// Expressions by name.
    pub rules: BTreeMap<String, String>,
    seen: RefCell<BTreeSet<String>>,
}

impl<'a> Alerts<'a> {
    /// Reads the file.
    pub fn of(prometheus: &'a Prometheus) -> Self {
        let text = std::fs::read_to_string(file()).expect("the alerts");
        let all: Value = serde_yaml::from_str(&text).expect("YAML");
        let groups = all["groups"].as_array().expect("groups").iter();
        let rules = groups.flat_map(|g| g["rules"].as_array().expect("rules"));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let rules = rules.map(|r| (text(&r["alert"]), text(&r["expr"]))).collect();
        Self { prometheus, rules, seen: RefCell::default() }
    }

    /// What the expression gives, `for` not waited for. Rates are those of the last seconds: that of ten minutes goes on to
    /// tell of trouble that is over.
    fn now(&self, name: &str) -> Vec<Value> {
        let expression = self.rules.get(name).unwrap_or_else(|| panic!("there is no alert {name}"));
        self.prometheus.query(&expression.replace("[10m]", "[15s]").replace("[1h]", "[15s]"))
    }

    /// Whether it is true about this server, controller or whatever it is by; of anything, where that is empty.
    pub fn is_true(&self, name: &str, about: &str) -> bool {
        let is_about = |r: &Value| r["metric"].as_object().is_some_and(|labels| labels.values().any(|v| v == about));
        self.now(name).iter().any(|r| about.is_empty() || is_about(r))
    }

    /// These are not true before `trouble`, and become so after it.
    pub fn come(&self, alerts: &[(&str, &str)], trouble: impl FnOnce()) {
        for (name, about) in alerts {
            assert!(!self.is_true(name, about), "{name} about {about:?} before the trouble: {:?}", self.now(name));
        }
        trouble();
        for (name, about) in alerts {
            until(&format!("{name} about {about:?} becomes true"), || self.is_true(name, about));
            self.seen.borrow_mut().insert((*name).to_owned());
        }
    }

    /// These become untrue.
    pub fn go(&self, alerts: &[(&str, &str)]) {
        for (name, about) in alerts {
            until(&format!("{name} about {about:?} goes away"), || !self.is_true(name, about));
        }
    }

    /// Those that are true now.
    pub fn standing(&self) -> Vec<&str> {
        self.rules.keys().map(String::as_str).filter(|name| self.is_true(name, "")).collect()
    }

    /// Those that were never seen to become true.
    pub fn unseen(&self) -> Vec<String> {
        self.rules.keys().filter(|name| !self.seen.borrow().contains(*name)).cloned().collect()
    }
}

/// Waits until this holds; Prometheus has something new every second.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(250));
    }
}
