//! What the operator tells: metrics, readiness, audit lines, events.

use serde_json::{Value, json};

use crate::support::{Bed, World};

pub fn metrics_and_readiness(bed: &Bed) {
    let operator = bed.ready_operator(&[]);
    let w = World::new(bed, "telling");
    let server = r#"server="telling""#;
    assert_eq!(operator.get("/healthz"), Some((200, "ok\n".into())));
    assert_eq!(operator.get("/readyz"), Some((200, "ok\n".into())));
    w.client("named-by-a-tenant", &json!({}));
    w.wait("oauthclient/named-by-a-tenant", "condition=Ready");
    w.until("the client is counted", || operator.metric("oauthclient_clients", &[r#"state="Ready""#]) >= 1.0);
    assert!(operator.metric("oauthclient_registrations", &[r#"phase="Registered""#]) >= 1.0);
    let registered = ["operation=\"register_client\"", "code=\"201\"", server];
    assert!((operator.metric("oauthclient_server_requests_total", &registered) - 1.0).abs() < f64::EPSILON);
    assert!(operator.metric("oauthclient_clock_trusted", &[]) > 0.0);
    assert!(operator.metric("oauthclient_reconciles_total", &["controller=\"client\"", "result=\"ok\""]) > 0.0);

    let debt = || operator.metric("oauthclient_revocation_debt", &[server]);
    let age = || operator.metric("oauthclient_revocation_debt_oldest_age_seconds", &[server]);
    w.stop_server();
    w.kubectl(&["delete", "oauthclient/named-by-a-tenant", "--wait=false"]);
    w.until("the debt is counted, and gets older", || debt() > 0.0 && age() > 1.0);
    w.start_server();
    w.wait_gone("oauthclient/named-by-a-tenant");
    w.until("the debt is paid", || debt() < 1.0);
    let proven = || operator.metric("oauthclient_end_to_proof_seconds_count", &["evidence=\"Proven\""]);
    w.until("the time to the proof is told", || proven() > 0.0);

    let (_, text) = operator.get("/metrics").expect("metrics");
    assert!(!text.contains("named-by-a-tenant"), "what tenants write is in no label");
    assert!(text.contains("# EOF") && !text.contains("_up{controller=\"client\",resource=\"secrets\"} 0"));
    bed.process("stop", "kube-apiserver");
    w.until("readiness tells that the API server is away", || {
        operator
            .get("/readyz")
            .is_some_and(|(status, body)| status == 503 && body.contains("API server does not answer"))
    });
    assert_eq!(operator.get("/healthz").map(|(status, _)| status), Some(200), "a restart would not help");
    bed.process("start", "kube-apiserver");
    bed.until_clients_are_taken();
    w.until("it is ready again", || operator.get("/readyz").is_some_and(|(status, _)| status == 200));
    assert!(operator.said("WARN", "a watch failed"));
    operator.finish();
}

pub fn one_audit_line_and_one_event_each(bed: &Bed) {
    let operator = bed.ready_operator(&[]);
    let w = World::new(bed, "audited");
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.until("the change is in force", || w.secret("c-oauth").get("scopes").is_some_and(|s| s.contains("write")));
    w.kubectl(&["delete", "secret/c-oauth"]);
    w.until("the Secret is back", || w.exists("secret/c-oauth"));
    w.patch("oauthclient/c", &json!({"spec": {"suspend": true}}));
    w.wait("oauthclient/c", "condition=Revoked");
    w.until("the last event is written", || w.events("c").iter().any(|e| e == "Revoked"));
    assert_eq!(w.events("c"), ["Ready", "Changed", "SecretPutBack", "Revoked"]);
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert_eq!(w.events("c").len(), 4, "the end was told already");

    w.client("d", &json!({}));
    w.wait("oauthclient/d", "condition=Ready");
    w.stop_server();
    w.kubectl(&["delete", "oauthclient/d", "--wait=false"]);
    w.until("it was tried more than once", || {
        w.entry("d")["status"]["retry"]["failures"].as_u64().is_some_and(|n| n > 2)
    });
    w.start_server();
    w.wait_gone("oauthclient/d");
    assert_eq!(w.events("d"), ["Ready", "RevocationFailing", "Revoked"], "however often it was tried");
    operator.ask_to_stop();
    assert_eq!(operator.ended().code(), Some(0));
    trail(bed);
}

/// The audit trail of both clients: every decision and every effect, each a line, all of them about somebody.
fn trail(bed: &Bed) {
    let text = std::fs::read_to_string(bed.audit_trail()).expect("the audit trail");
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(lines.iter().all(|l| l["schema"] == "oauthclient.dev/audit/v1" && l["time"].is_string()), "{text}");
    let of = |client: &'static str| lines.iter().filter(move |l| l["namespace"] == "audited" && l["client"] == client);
    let effects = |client| -> Vec<&str> {
        let all = of(client).filter_map(|l| l["action"].as_str());
        all.filter(|a| !matches!(*a, "decided" | "secret-published" | "secret-deleted")).collect()
    };
    let decisions = |client| -> Vec<&str> {
        of(client).filter(|l| l["action"] == "decided").filter_map(|l| l["reason"].as_str()).collect()
    };
    assert_eq!(effects("c"), ["allowed", "registered", "changed", "ended", "revoked"]);
    assert_eq!(decisions("c"), ["Ready", "Revoked"]);
    assert_eq!(effects("d"), ["allowed", "registered", "ended", "revoked"]);
    assert_eq!(decisions("d"), ["Ready", "RevocationFailing", "Revoked"]);
    assert!(of("c").any(|l| l["action"] == "secret-published") && of("c").any(|l| l["action"] == "secret-deleted"));
    for line in of("c").chain(of("d")) {
        for member in ["team", "owner", "requestedBy", "clientUid", "server"] {
            assert!(line[member].as_str().is_some_and(|s| !s.is_empty()), "{member}: {line}");
        }
    }
    let revoked = of("d").find(|l| l["action"] == "revoked").expect("it was revoked");
    for (member, value) in [("evidence", "Proven"), ("reason", "ClientDeleted"), ("policy", "everything")] {
        assert_eq!(revoked[member], value, "{revoked}");
    }
}
