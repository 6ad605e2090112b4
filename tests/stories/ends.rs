//! The ends of a client, with what it held: its token is good before, and neither credential nor token is after.

use std::collections::BTreeMap;

use serde_json::json;

use super::client;
use crate::support::World;
use crate::support::admin::AdminServer;

/// Ends, each with what brings it and the reason on record.
type Ending = (&'static str, fn(&World), &'static str);

const ENDINGS: [Ending; 4] = [
    // The main job: a Job with a client of its own.
    ("of-a-job", |w| w.finish_job("export"), "WorkloadFinished"),
    ("expires", |w| w.patch("oauthclient/expires", &json!({"spec": {"lifetime": {"ttl": "1s"}}})), "Expired"),
    ("suspended", |w| w.patch("oauthclient/suspended", &json!({"spec": {"suspend": true}})), "Suspended"),
    ("deleted", |w| drop(w.kubectl(&["delete", "oauthclient/deleted", "--wait=false"])), "ClientDeleted"),
];

pub fn ends(w: &World, server: &dyn AdminServer) {
    let before = server.client_ids();
    w.job("export", "forever");
    let job = json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "export"}});
    for (name, _, _) in ENDINGS {
        client(w, server, name, &if name == "of-a-job" { job.clone() } else { json!({}) });
    }
    let mut held: BTreeMap<&str, _> = BTreeMap::new();
    for (name, _, _) in ENDINGS {
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
        let secret = w.secret(&format!("{name}-oauth"));
        let token = w.token_with(&secret).expect("a token");
        assert_eq!(server.introspect(&token)["active"], true, "{name}");
        held.insert(name, (w.client_id(name), secret, token));
    }
    for (name, end, reason) in ENDINGS {
        end(w);
        w.until(&format!("{name} is revoked"), || w.entry(name)["status"]["phase"] == "Revoked");
        let (id, secret, token) = &held[name];
        let status = w.entry(name)["status"].clone();
        assert_eq!(
            (&status["end"]["reason"], &status["evidence"]["level"]),
            (&json!(reason), &json!("Proven")),
            "{name}"
        );
        let evidence = &status["evidence"];
        assert_eq!(evidence["before"]["answer"]["status"], 200, "{evidence:#}");
        assert_eq!(evidence["deletion"]["status"], 204, "{evidence:#}");
        for refused in ["after", "neverExisted"] {
            let answer = (&evidence[refused]["status"], &evidence[refused]["error"]);
            assert_eq!(answer, (&json!(401), &json!("invalid_client")), "{name}: {refused}");
        }
        assert!(!w.exists(&format!("secret/{name}-oauth")), "{name}");
        assert!(!server.client_ids().contains(id), "{name}");
        w.token_with(secret).expect_err("its credential");
        assert_ne!(server.introspect(token)["active"], true, "{name}: its token");
    }
    assert_eq!(server.client_ids(), before);
    w.kubectl(&["delete", "oauthclients,jobs", "--all", "--timeout=120s"]);
}
