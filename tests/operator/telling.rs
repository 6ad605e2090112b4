//! What the operator tells: metrics, readiness, audit lines, events.

use serde_json::json;

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
    let lines = operator.lines();
    let audit = |client: &str| -> Vec<String> {
        let mine = lines.iter().filter(|l| l["target"] == "audit" && l["fields"]["client"] == client);
        mine.filter(|l| l["fields"]["namespace"] == "audited")
            .map(|l| l["fields"]["action"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(audit("c"), ["registered", "changed", "revoked"]);
    assert_eq!(audit("d"), ["registered", "revoked"]);
    let revoked = lines.iter().rfind(|l| l["target"] == "audit").expect("an audit line");
    for field in ["owner", "server", "entry", "client_id", "reason", "evidence"] {
        assert!(revoked["fields"][field].as_str().is_some_and(|s| !s.is_empty()), "{field}: {revoked}");
    }
    assert_eq!(operator.ended().code(), Some(0));
}
