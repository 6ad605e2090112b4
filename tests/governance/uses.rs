//! The five uses, each an example that is applied as it stands: an agent, a partner, a pipeline, a service that stays, and
//! the security review.

use serde_json::json;

use super::people::{ANNA, do_as_told};
use super::support::World;

/// Told in the namespace and at the server that the examples name.
pub fn team_data(w: &World) {
    w.authorization_server("corp", &json!({}));
    w.wait("authorizationserver/corp", "condition=Ready");
    for (name, told) in [
        ("agent", agent as fn(&World)),
        ("partner", partner),
        ("pipeline", pipeline),
        ("service", service),
        ("review", review),
    ] {
        told(w);
        eprintln!("governance: team_data: {name}");
    }
}

fn apply(w: &World, example: &str) {
    let path = format!("{}/examples/{example}.yaml", env!("CARGO_MANIFEST_DIR"));
    w.kubectl(&["apply", "-f", &path]);
}

/// An identity while it is deployed, with a key; nothing for an agent that asks for more.
fn agent(w: &World) {
    apply(w, "agent");
    w.wait("oauthclient/report-agent", "condition=Ready");
    assert!(w.token("report-agent-oauth").is_ok());
    let status = w.get("oauthclient/report-agent")["status"].clone();
    assert_eq!((&status["policy"], &status["durability"]), (&json!("agents"), &json!("Durable")));
    assert!(status["nextRotationAt"].is_string(), "{status:#}");
    w.client(
        "greedy-agent",
        &json!({
            "authorizationServerRef": {"name": "corp"}, "tokenEndpointAuthMethod": "private_key_jwt",
            "scopes": ["reports.read", "reports.write"], "rotation": {"every": "24h"},
            "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "report-agent"},
        }),
    );
    let says = w.until_reason("greedy-agent", "Stalled", "NotAllowedByPolicy");
    assert!(says.contains("agents: scope reports.write is not in allow.scopes (reports.read)"), "{says}");
    w.kubectl(&["delete", "deployment", "report-agent"]);
    w.until_reason("report-agent", "Revoked", "WorkloadGone");
    assert!(w.live().is_empty() && !w.exists("secret/report-agent-oauth"));
    assert_eq!(w.entry("report-agent")["status"]["evidence"]["level"], "Proven");
}

/// Says yes by the command in the object's own words.
fn approve(w: &World, client: &str) {
    let says = w.wait_reason(&format!("oauthclient/{client}"), "Approved", "False", "ApprovalPending");
    do_as_told(w, &says, "TICKET-123");
}

/// Neither client nor Secret before a person says yes.
fn partner(w: &World) {
    apply(w, "partner");
    w.wait_reason("oauthclient/partner-portal", "Approved", "False", "ApprovalPending");
    assert!(w.live().is_empty() && w.entries("partner-portal").is_empty() && !w.exists("secret/partner-portal-oauth"));
    approve(w, "partner-portal");
    w.wait("oauthclient/partner-portal", "condition=Ready");
    let live = w.live();
    assert_eq!(live[0]["redirect_uris"], json!(["https://portal.partner.example/callback"]), "{live:?}");
    w.kubectl(&["delete", "oauthclient", "partner-portal", "--timeout=120s"]);
    assert!(w.live().is_empty());
}

/// A client for each run, gone with it.
fn pipeline(w: &World) {
    apply(w, "policy");
    apply(w, "pipeline");
    w.until_reason("nightly-export", "Revoked", "WorkloadFinished");
    assert_eq!(w.get("oauthclient/nightly-export")["status"]["durability"], "Ephemeral");
    assert_eq!(w.entry("nightly-export")["status"]["evidence"]["level"], "Proven");
    assert!(w.live().is_empty());
}

/// Durable, with a review; a lost Secret comes back without another client.
fn service(w: &World) {
    apply(w, "service");
    approve(w, "report-service");
    w.wait("oauthclient/report-service", "condition=Ready");
    let entry = w.entry("report-service");
    let approval = &entry["spec"]["approval"];
    assert_eq!((&approval["approver"], &approval["reason"]), (&json!(ANNA), &json!("TICKET-123")));
    assert_eq!(entry["spec"]["expiresAt"], approval["notAfter"], "no longer than ninety days without another yes");
    assert_eq!(w.get("oauthclient/report-service")["status"]["durability"], "Durable");
    let secret = w.secret("report-service-oauth");
    assert!(secret.contains_key("OAUTH_CLIENT_ID") && secret.contains_key("OAUTH_CLIENT_SECRET"));
    w.kubectl(&["delete", "secret", "report-service-oauth"]);
    w.until("it is back", || w.secret("report-service-oauth") == secret);
    assert_eq!(w.live().len(), 1);
}

/// The questions of docs/security-review.md, answered by its commands to somebody who reads no Secret.
fn review(w: &World) {
    apply(w, "auditor");
    let auditor = ["--as=iris@corp.example", "--as-group=security-review", "--as-group=system:authenticated"];
    for forbidden in ["secrets", "secrets -n oauthclient-system"] {
        let args: Vec<&str> = ["get"].into_iter().chain(forbidden.split(' ')).chain(auditor).collect();
        super::people::refused(w.try_kubectl(&args), "forbidden");
    }
    let edit = [&["annotate", "oauthclient", "report-service", "x=y"], &auditor[..]].concat();
    super::people::refused(w.try_kubectl(&edit), "forbidden");
    let page = include_str!("../../docs/security-review.md");
    let commands: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix("$ kubectl ")).collect();
    let said: Vec<String> = commands
        .iter()
        .map(|c| w.bed.shell(&format!("kubectl {} {c}", auditor.join(" "))).unwrap_or_else(|e| panic!("{c}: {e}")))
        .collect();
    let expected: [&[&str]; 8] = [
        &["report-service", "Durable", "nightly-export", "Ephemeral", "data-platform"],
        &["team-data/report-service\tdata-platform@corp.example\t", ANNA],
        &["The report service writes what others read", "reports.read,reports.write"],
        &["report-service", "Accepted"],
        &["Revoked", "Proven", "WorkloadGone", "report-agent", "services", ANNA],
        &[],
        &["report-service", "Approved", ANNA, "TICKET-123"],
        &["services", "8760h", "Always"],
    ];
    assert_eq!(said.len(), expected.len(), "{commands:?}");
    for ((command, said), expected) in commands.iter().zip(&said).zip(expected) {
        for words in expected {
            assert!(said.contains(words), "{words:?} is not in what `kubectl {command}` says:\n{said}");
        }
    }
    assert!(!said[1].contains("nightly-export"), "only the durable ones: {}", said[1]);
    assert!(said[1].contains("testbed-admin"), "who asked: {}", said[1]);
    // The servers of the stories before are gone, and what they left is owed.
    assert!(said[5].lines().all(|line| !line.starts_with("team-data/")), "nothing of theirs is overdue: {}", said[5]);
}
