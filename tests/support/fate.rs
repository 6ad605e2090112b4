//! Clients that end in every way, and what is left of them: for tests in which the operator is killed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::World;

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its Job completes when it is told to.
    JobEnds,
    /// Its lifetime is over after some seconds.
    Expires,
    /// Its object is deleted.
    Deleted,
    /// It is suspended.
    Suspended,
    /// Its object is deleted, and its finalizer torn off.
    TornOff,
    /// Its namespace is deleted.
    NamespaceDeleted,
    /// It lives, with other scopes.
    Changed,
    /// It lives, with another method, which takes another client at most servers.
    Replaced,
    /// It lives.
    Lives,
}

/// All of them.
pub const FATES: [Fate; 9] = [
    Fate::Changed,
    Fate::JobEnds,
    Fate::Deleted,
    Fate::NamespaceDeleted,
    Fate::Suspended,
    Fate::Expires,
    Fate::TornOff,
    Fate::Replaced,
    Fate::Lives,
];

/// The scopes of a client that lives with others, as its Secret says them.
pub const CHANGED_SCOPES: &str = "reports.read reports.write";

/// A client with its fate.
pub struct Client {
    /// The object's name.
    pub name: String,
    /// What becomes of it.
    pub fate: Fate,
    /// The AuthorizationServer, where it is not the world's own.
    pub server: Option<&'static str>,
}

impl Client {
    /// A client at the world's own server.
    pub fn new(name: String, fate: Fate) -> Self {
        Self { name, fate, server: None }
    }

    /// One of many: each fate in turn.
    pub fn nth(number: usize) -> Self {
        Self::new(format!("c{number}"), FATES[number % FATES.len()])
    }

    /// Whether it lives in the end.
    pub fn lives(&self) -> bool {
        matches!(self.fate, Fate::Changed | Fate::Replaced | Fate::Lives)
    }

    /// Why the ledger says that its client ended; `None` where it lives, as it is or as another.
    pub fn end_reasons(&self) -> Option<&'static [&'static str]> {
        match self.fate {
            Fate::JobEnds => Some(&["WorkloadFinished"]),
            Fate::Expires => Some(&["Expired"]),
            Fate::Deleted => Some(&["ClientDeleted"]),
            Fate::Suspended => Some(&["Suspended"]),
            Fate::TornOff => Some(&["ClientDeleted", "ClientGone"]),
            Fate::NamespaceDeleted => Some(&["ClientDeleted", "NamespaceTerminating", "NamespaceGone"]),
            Fate::Replaced => Some(&["Replaced"]),
            Fate::Changed | Fate::Lives => None,
        }
    }

    /// Makes it.
    pub fn make(&self, w: &World) {
        let name = &self.name;
        let mut members = json!({});
        if let Some(server) = self.server {
            members["authorizationServerRef"] = json!({"name": server});
        }
        match self.fate {
            Fate::JobEnds => {
                w.job(name, "forever");
                members["workloadRef"] = json!({"apiVersion": "batch/v1", "kind": "Job", "name": name});
                w.client(name, &members);
            }
            Fate::Expires => {
                members["lifetime"] = json!({"ttl": "60s"});
                w.client(name, &members);
            }
            Fate::NamespaceDeleted => {
                w.kubectl(&["create", "namespace", &self.namespace(w)]);
                let metadata = json!({"name": name, "namespace": self.namespace(w)});
                let object = w.client_object(&metadata, &members).to_string();
                w.bed.kubectl_with(&["apply", "-f", "-"], Some(&object)).expect("an OAuthClient");
            }
            _ => w.client(name, &members),
        }
    }

    fn namespace(&self, w: &World) -> String {
        if self.fate == Fate::NamespaceDeleted { format!("kill-{}", self.name) } else { w.namespace.clone() }
    }

    /// What a hand has to do to it.
    pub fn act(&self, w: &World) {
        let object = format!("oauthclient/{}", self.name);
        match self.fate {
            Fate::Expires | Fate::Lives => {}
            Fate::JobEnds => w.finish_job(&self.name),
            Fate::Deleted => drop(w.try_kubectl(&["delete", &object, "--wait=false"])),
            Fate::Suspended => w.patch(&object, &json!({"spec": {"suspend": true}})),
            Fate::TornOff => {
                drop(w.try_kubectl(&["delete", &object, "--wait=false"]));
                drop(w.try_kubectl(&["patch", &object, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]));
            }
            Fate::NamespaceDeleted => drop(w.kubectl(&["delete", "namespace", &self.namespace(w), "--wait=false"])),
            Fate::Changed => {
                w.patch(&object, &json!({"spec": {"scopes": CHANGED_SCOPES.split(' ').collect::<Vec<_>>()}}));
            }
            Fate::Replaced => w.patch(&object, &json!({"spec": {"tokenEndpointAuthMethod": "client_secret_post"}})),
        }
    }
}

/// A text, or nothing.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether a client of this name lives in the end.
pub fn is_living(name: &str, living: &BTreeSet<&str>) -> bool {
    living.contains(name)
}

/// Objects that are Ready, as they were last asked for: name and client id.
pub fn ready(w: &World) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(&w.kubectl(&["get", "oauthclients", "-A", "-o", "json"])).expect("JSON");
    let all = list["items"].as_array().expect("items");
    all.iter()
        .filter(|c| c["status"]["state"] == "Ready" && c["metadata"]["deletionTimestamp"].is_null())
        .filter(|c| {
            c["status"]["conditions"].as_array().is_some_and(|all| all.iter().all(|c| c["type"] != "Reconciling"))
        })
        .filter(|c| c["status"]["observedGeneration"] == c["metadata"]["generation"])
        .map(|c| (text(&c["metadata"]["name"]), text(&c["status"]["clientId"])))
        .collect()
}

/// Objects that should be Ready and are not, or not as they were changed; those that are and should not be for long; and
/// entries that are neither final, nor possible orphans, nor those of objects that live.
pub fn under_way(w: &World, living: &BTreeSet<&str>) -> Vec<String> {
    let ready: BTreeMap<String, String> = ready(w).into_iter().collect();
    let mut open: Vec<String> = living.iter().filter(|n| !ready.contains_key(**n)).map(|n| (*n).to_owned()).collect();
    open.extend(ready.keys().filter(|n| !is_living(n, living)).map(|n| format!("{n}, which is to end")));
    for entry in w.whole_ledger("") {
        let phase = text(&entry["status"]["phase"]);
        let serves = ready.get(&text(&entry["spec"]["clientRef"]["name"])) == Some(&text(&entry["status"]["clientId"]));
        let done = matches!(phase.as_str(), "Revoked" | "Cancelled" | "Rejected" | "PossibleOrphan");
        if !(done || phase == "Registered" && serves) {
            open.push(text(&entry["metadata"]["name"]));
        }
    }
    open
}
