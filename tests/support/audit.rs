//! Who wrote what to the cluster, from the API server's audit log.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

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

impl Bed {
    /// The end of the audit log, once what is written before is in it.
    pub fn mark(&self) -> Mark {
        Mark(std::fs::metadata(self.get("TESTBED_AUDIT_LOG")).expect("the audit log").len())
    }

    /// The operator's writes since then. The API server writes its log as it answers: what was answered is in it.
    pub fn operators_writes(&self, since: Mark) -> Vec<Write> {
        let mut file = std::fs::File::open(self.get("TESTBED_AUDIT_LOG")).expect("the audit log");
        file.seek(SeekFrom::Start(since.0)).expect("seek");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read the audit log");
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let all = complete.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        all.filter(|e| e["user"]["username"] == OPERATOR)
            .filter(|e| e["objectRef"]["resource"] != "leases" && e["stage"] == "ResponseComplete")
            .map(|e| {
                let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                let target = &e["objectRef"];
                let mut what = format!("{} {}", text(&e["verb"]), text(&target["resource"]));
                if let Some(sub) = target["subresource"].as_str() {
                    what = format!("{what}/{sub}");
                }
                let object = format!("{}/{}", text(&target["namespace"]), text(&target["name"]));
                Write { what, object, code: e["responseStatus"]["code"].as_u64().unwrap_or_default() }
            })
            .collect()
    }
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
