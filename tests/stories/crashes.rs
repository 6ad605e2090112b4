//! The operator dies at each step on the way to Ready and at the end: one client each, and no orphan.

use serde_json::json;

use super::client;
use crate::support::admin::AdminServer;
use crate::support::{Bed, World};

/// Steps at which the operator dies once each, on the way to Ready and at the end.
const POINTS: [&str; 13] = [
    "before-entry",
    "after-entry",
    "before-prepare",
    "after-prepare",
    "before-attempt",
    "after-attempt",
    "before-post",
    "after-post",
    "before-registered",
    "after-registered",
    "before-delete",
    "after-delete",
    "before-final",
];

pub fn crashes(bed: &Bed, w: &World, server: &dyn AdminServer) {
    let before = server.client_ids();
    for point in POINTS {
        client(w, server, point, &json!({"lifetime": {"ttl": "1h"}}));
        let mark = w.scratch(&format!("died-at-{point}"));
        let operator = bed.operator(&[("FAULT_POINT", point), ("FAULT_FILE", &mark)]);
        let ends = ["before-delete", "after-delete", "before-final"].contains(&point);
        if ends {
            w.wait(&format!("oauthclient/{point}"), "condition=Ready");
            w.kubectl(&["delete", &format!("oauthclient/{point}"), "--wait=false"]);
        }
        w.until(&format!("it dies at {point}"), || std::path::Path::new(&mark).exists());
        operator.stop();
        let operator = bed.operator(&[]);
        if ends {
            w.wait_gone(&format!("oauthclient/{point}"));
            assert_eq!(w.entry(point)["status"]["evidence"]["level"], "Proven", "{point}");
        } else {
            w.wait(&format!("oauthclient/{point}"), "condition=Ready");
            assert!(w.token(&format!("{point}-oauth")).is_ok(), "{point}");
        }
        operator.stop();
    }
    let operator = bed.operator(&[]);
    assert_eq!(server.clients().len(), before.len() + POINTS.len() - 3, "one client each, no orphan");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    w.until("exactly what was there before is left", || server.client_ids() == before);
    let orphans = w.ledger().iter().filter(|e| e["status"]["phase"] == "PossibleOrphan").count();
    assert_eq!(orphans, 0, "where the caller chooses the id there are no possible orphans");
    operator.stop();
}
