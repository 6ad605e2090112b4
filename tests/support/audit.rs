//! Who wrote what to the cluster, from the API server's audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::Bed;

const OPERATOR: &str = "system:serviceaccount:oauthclient-system:oauthclient-operator";

/// A place in the audit log.
#[derive(Clone, Copy)]
pub struct Mark(u64);

/// One write of the operator.
#[derive(Debug, Clone)]
pub struct Write {
    /// Such as `create clientregistrations`, with the subresource, if any.
    pub what: String,
    /// Namespace and name of the object.
    pub object: String,
    /// HTTP status.
    pub code: u64,
}

/// Something that the operator asked the API server for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Such as `get`.
    pub verb: String,
    /// API group, empty for the core.
    pub group: String,
    /// With the subresource, if any.
    pub resource: String,
    /// Empty for what has none, or all.
    pub namespace: String,
    /// It was not allowed to.
    pub forbidden: bool,
}

impl Bed {
    /// The end of the audit log, once what is written before is in it.
    pub fn mark(&self) -> Mark {
        Mark(std::fs::metadata(self.get("TESTBED_AUDIT_LOG")).expect("the audit log").len())
    }

    /// The operator's writes since then, besides those to the lease.
    pub fn operators_writes(&self, since: Mark) -> Vec<Write> {
        let is_write = |e: &Value| {
            !["get", "list", "watch"].contains(&e["verb"].as_str().unwrap_or_default())
                && e["objectRef"]["resource"] != "leases"
                && e["stage"] == "ResponseComplete"
        };
        let mut writes = Vec::new();
        each_of_the_operators(Path::new(self.get("TESTBED_AUDIT_LOG")), since, |e| {
            if is_write(e) {
                let target = &e["objectRef"];
                let object = format!("{}/{}", text(&target["namespace"]), text(&target["name"]));
                let code = e["responseStatus"]["code"].as_u64().unwrap_or_default();
                writes.push(Write { what: format!("{} {}", text(&e["verb"]), resource(target)), object, code });
            }
        });
        writes
    }

    /// What the operator ever asked for, each once.
    pub fn operators_requests(&self) -> BTreeSet<Request> {
        let log = Path::new(self.get("TESTBED_AUDIT_LOG"));
        let mut all = BTreeSet::new();
        // One that has become too long goes on under another name.
        for file in log.parent().expect("a folder").read_dir().expect("the logs").flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with("audit") {
                each_of_the_operators(&file.path(), Mark(0), |e| {
                    let target = &e["objectRef"];
                    all.insert(Request {
                        verb: text(&e["verb"]),
                        group: text(&target["apiGroup"]),
                        resource: resource(target),
                        namespace: text(&target["namespace"]),
                        forbidden: e["annotations"]["authorization.k8s.io/decision"] == "forbid",
                    });
                });
            }
        }
        all
    }
}

/// What the operator asked for since then. The API server writes its log as it answers: what was answered is in it.
fn each_of_the_operators(log: &Path, since: Mark, mut take: impl FnMut(&Value)) {
    let mut file = File::open(log).expect("the audit log");
    file.seek(SeekFrom::Start(since.0)).expect("seek");
    let (mut log, mut line) = (BufReader::new(file), String::new());
    // The last one may be half written.
    while log.read_line(&mut line).expect("read the audit log") > 0 && line.ends_with('\n') {
        let event: Value = serde_json::from_str(&line).expect("a line of JSON");
        line.clear();
        if event["user"]["username"] == OPERATOR {
            take(&event);
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The resource of an `objectRef`, with the subresource, if any.
fn resource(target: &Value) -> String {
    let resource = text(&target["resource"]);
    target["subresource"].as_str().map_or(resource.clone(), |sub| format!("{resource}/{sub}"))
}

/// How many of each, and how many apart from events.
pub fn tally(writes: &[Write]) -> (BTreeMap<String, usize>, usize) {
    let mut counted = BTreeMap::new();
    for write in writes {
        *counted.entry(write.what.clone()).or_default() += 1;
    }
    let events = writes.iter().filter(|w| w.what.ends_with("events")).count();
    (counted, writes.len() - events)
}
