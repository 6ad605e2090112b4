//! What goes wrong, and what Prometheus makes of it.

use serde_json::json;

use crate::alerts::{Alerts, until};
use crate::prometheus::Prometheus;
use crate::support::admin::AdminServer;
use crate::support::keycloak::{NAME, Realm};
use crate::support::process::Running;
use crate::support::proxy::{Lie, Reply};
use crate::support::{Bed, World};
use crate::sweeping::{ours, plant, sweep, sweeping};

/// Clients that are ready, refused, waiting for a person, and revoked; a client that somebody changes at the server.
pub fn ordinary_life(calm: &World, troubled: &World, realm: &Realm) {
    calm.kubectl(&[
        "patch",
        "clientpolicy/everything",
        "--type=merge",
        "-p",
        &json!({"spec": {
            "allow": {"ownerEmails": ["*@corp.example"]},
            "approval": {"mode": "WhenScopes", "scopes": ["partner.read"]},
        }})
        .to_string(),
    ]);
    realm.serve(calm, realm.url(), &json!({"driftCheck": "3s", "orphanSweep": {"every": "0s", "action": "Report"}}));
    calm.client("ready", &json!({}));
    calm.client("durable", &json!({"lifetime": {"ttl": "26h"}}));
    calm.client("waits", &json!({"scopes": ["partner.read"]}));
    calm.client("refused", &json!({"owner": {"team": "t", "email": "t@elsewhere.example"}}));
    calm.client("drifts", &json!({"authorizationServerRef": {"name": NAME}}));
    calm.client("ended", &json!({}));
    for n in 0..MANY {
        troubled.client(&format!("c{n}"), &json!({"lifetime": {"ttl": "300h"}}));
    }
    for client in ["ready", "durable", "drifts", "ended"] {
        calm.wait(&format!("oauthclient/{client}"), "condition=Ready");
    }
    calm.patch("oauthclient/ended", &json!({"spec": {"suspend": true}}));
    let drifts = calm.client_id("drifts");
    realm.widen(&drifts);
    sweep(calm, realm);
    calm.wait("oauthclient/ended", "condition=Revoked");
    calm.until("the drift is corrected", || realm.is_narrow(&drifts));
    calm.wait_reason("oauthclient/waits", "Accepted", "False", "ApprovalPending");
    calm.wait("oauthclient/refused", "condition=Stalled");
    for n in 0..MANY {
        troubled.wait(&format!("oauthclient/c{n}"), "condition=Ready");
    }
}

/// So many clients that a few tries of each open a circuit.
const MANY: usize = 4;

/// A registration whose answer is lost, until somebody says that it was dealt with.
pub fn an_answer_is_lost(w: &World, alerts: &Alerts, prometheus: &Prometheus) {
    let possible = [("OAuthClientPossibleOrphan", "troubled")];
    alerts.come(&possible, || {
        let lost = w.proxy().lie_times(1, |c| c.is("POST", "/reg"), Lie::ActedButReset);
        w.client("lost", &json!({}));
        w.until("the answer is lost", || lost.matched() == 1);
        lost.stop();
    });
    // No `for`: Prometheus itself says so at its next look at the rules.
    until("Prometheus fires it", || {
        let rules = prometheus.rules();
        let rule = rules.iter().find(|r| r["name"] == possible[0].0).expect("the rule");
        let alert = &rule["alerts"][0];
        let page = alert["annotations"]["runbook_url"].as_str();
        rule["state"] == "firing" && page == Some("docs/runbooks/OAuthClientPossibleOrphan.md")
    });
    let all = w.ledger();
    let orphan = all.iter().find(|e| e["status"]["phase"] == "PossibleOrphan").expect("the possible orphan");
    let name = orphan["metadata"]["name"].as_str().expect("a name");
    w.kubectl(&["-n", "oauthclient-system", "delete", "clientregistration", name, "--timeout=120s"]);
    alerts.go(&possible);
}

/// A client of this installation without an entry; with `Revoke` it is too large a share.
pub fn orphans(w: &World, realm: &Realm, alerts: &Alerts, operator: &Running) {
    let (orphans, stopped) = ([("OAuthClientOrphans", NAME)], [("OAuthClientSweepStopped", NAME)]);
    alerts.come(&orphans, || {
        plant(realm, &w.client_id("drifts"), &ours(w), "00000000000000000001");
        sweep(w, realm);
    });
    alerts.come(&stopped, || {
        sweeping(w, realm, &json!({"action": "Revoke", "grace": "0s"}));
        sweep(w, realm);
    });
    sweeping(w, realm, &json!({"mostUnclaimedPercent": 100}));
    sweep(w, realm);
    alerts.go(&[orphans, stopped].concat());
    assert!(operator.metric("oauthclient_swept_clients_total", &[]) >= 1.0);
}

/// A server says nothing but 503, while clients of it are to end; `meanwhile` is given what brings it back.
pub fn a_server_fails(w: &World, alerts: &Alerts, meanwhile: impl FnOnce(&dyn Fn())) {
    let down = w.proxy().lie(|_| true, Lie::Instead(Reply::json(503, &json!({"error": "unavailable"}))));
    alerts.come(&[("OAuthClientServerFailing", "troubled"), ("OAuthClientServerCircuitOpen", "troubled")], || {
        for n in 0..MANY {
            w.patch(&format!("oauthclient/c{n}"), &json!({"spec": {"suspend": true}}));
        }
    });
    let down = std::cell::Cell::new(Some(down));
    meanwhile(&|| {
        alerts.come(&[("OAuthClientProofSlow", "")], || {
            if let Some(down) = down.take() {
                down.stop();
            }
        });
    });
    for n in 0..MANY {
        w.wait(&format!("oauthclient/c{n}"), "condition=Revoked");
    }
}

/// A day and an hour pass, by the operator's clock alone: what is counted by time is late, and the clock is not trusted.
pub fn time_passes(clock: &str, alerts: &Alerts) {
    let late = [
        ("OAuthClientRevocationOwed", "troubled"),
        ("OAuthClientOverdue", ""),
        ("OAuthClientUnapproved", ""),
        ("OAuthClientEnding", "calm"),
        ("OAuthClientClockOff", ""),
    ];
    alerts.come(&late, || std::fs::write(clock, "90000").expect("set the clock"));
}

/// The operator stops; the next one watches some namespaces only, and a kind that is not there.
pub fn nobody_leads(bed: &Bed, operator: Running, alerts: &Alerts, prometheus: &Prometheus) -> Running {
    let nobody = [("OAuthClientNoLeader", "")];
    alerts.come(&nobody, || operator.finish());
    let mut next = None;
    alerts.come(&[("OAuthClientUnwatched", ""), ("OAuthClientWatchDown", "nothings")], || {
        let settings = [("OPERATOR_WATCH_NAMESPACES", "calm"), ("OPERATOR_WORKLOAD_KINDS", "none.example/v1/Nothing")];
        let operator = bed.ready_operator(&settings);
        prometheus.scrape(&[operator.address()]);
        next = Some(operator);
    });
    alerts.go(&nobody);
    next.expect("the operator")
}

/// The right to read Secrets one by one, and to write them, is taken away.
pub fn a_right_is_missing(w: &World, alerts: &Alerts) {
    alerts.come(&[("OAuthClientReconcileErrors", "client")], || {
        let reads = json!([{"op": "replace", "path": "/rules/0/verbs", "value": ["list", "watch"]}]).to_string();
        w.bed.kubectl(&["patch", "clusterrole/oauthclient-operator-tenants", "--type=json", "-p", &reads]);
        w.client("late", &json!({}));
    });
}
