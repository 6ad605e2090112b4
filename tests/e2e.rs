//! The whole life of clients, on a real API server and a real authorization server. One cluster and one operator for
//! all tests; each has a namespace and an authorization server of its own.

#[path = "support/mod.rs"]
mod support;

use serde_json::json;
use support::{Bed, World};

type Test = fn(&World);

#[test]
fn a_clients_whole_life() {
    let bed = Bed::up("e2e");
    let operator = bed.operator(&[]);
    let all: [(&str, Test); 15] = [
        ("job_end_revokes_with_proof", job_end_revokes_with_proof),
        ("deletion_waits_for_proof", deletion_waits_for_proof),
        ("expiry_revokes", expiry_revokes),
        ("suspension_revokes_and_comes_back", suspension_revokes_and_comes_back),
        ("namespace_deletion_revokes", namespace_deletion_revokes),
        ("torn_off_finalizers_revoke", torn_off_finalizers_revoke),
        ("deleted_entry_revokes_until_edited", deleted_entry_revokes_until_edited),
        ("lost_or_altered_secret_is_put_back", lost_or_altered_secret_is_put_back),
        ("foreign_secret_is_left_alone", foreign_secret_is_left_alone),
        ("every_authentication_method_works", every_authentication_method_works),
        ("scopes_change_in_place", scopes_change_in_place),
        ("nothing_before_the_workload", nothing_before_the_workload),
        ("server_is_held_while_clients_live", server_is_held_while_clients_live),
        ("refusals_say_why", refusals_say_why),
        ("a_server_that_is_down_is_a_debt", a_server_that_is_down_is_a_debt),
    ];
    let mut failed = Vec::new();
    for (name, test) in all {
        eprintln!("e2e: {name}");
        let world = World::new(&bed, name);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&world))).is_err() {
            eprintln!("{}", world.describe());
            failed.push(name);
        }
    }
    let (secrets, public) = (bed.secret_values(), bed.everything_public());
    assert!(secrets.len() > 30 && public.len() > 10_000, "the leak test has something to look for, and where");
    assert!(!secrets.iter().any(|s| public.contains(s.as_str())), "a secret value is outside of Secrets");
    let log = operator.stop();
    assert!(failed.is_empty(), "failed: {failed:?}; operator log: {log}");
}

fn job_end_revokes_with_proof(w: &World) {
    w.job("work", "forever");
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "work"}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.live().len(), 1);
    assert!(w.token("c-oauth").is_ok());
    let secret = w.secret("c-oauth");
    w.finish_job("work");
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
    assert!(w.token_with(&secret).is_err());
    assert!(!w.exists("secret/c-oauth"));
    let entry = w.entry("c");
    assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{entry:#}");
    assert_eq!(entry["status"]["end"]["reason"], "WorkloadFinished");
    let ready = w.get("oauthclient/c")["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "Ready");
    assert!(!ready, "an ended client has no Ready");
}

fn deletion_waits_for_proof(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=60s"]);
    assert!(w.live().is_empty());
}

fn expiry_revokes(w: &World) {
    w.client("c", &json!({"lifetime": {"ttl": "4s"}, "ttlSecondsAfterFinished": 0}));
    w.wait_gone("oauthclient/c");
    assert!(w.live().is_empty());
}

fn suspension_revokes_and_comes_back(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.patch("oauthclient/c", &json!({"spec": {"suspend": true}}));
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
    w.patch("oauthclient/c", &json!({"spec": {"suspend": false}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.live().len(), 1);
}

fn namespace_deletion_revokes(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "namespace", &w.namespace, "--timeout=60s"]);
    w.until("no client is left at the server", || w.live().is_empty());
}

fn torn_off_finalizers_revoke(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    let _ = w.try_kubectl(&["patch", "oauthclient/c", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    w.until("no client is left at the server", || w.live().is_empty());
}

fn deleted_entry_revokes_until_edited(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let name = w.entry("c")["metadata"]["name"].as_str().unwrap().to_owned();
    w.kubectl(&["-n", "oauthclient-system", "delete", "clientregistration", &name, "--timeout=60s"]);
    assert!(w.live().is_empty());
}

fn lost_or_altered_secret_is_put_back(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let before = w.secret("c-oauth");
    w.kubectl(&["delete", "secret/c-oauth"]);
    w.until("the Secret is back", || w.exists("secret/c-oauth"));
    assert_eq!(w.secret("c-oauth"), before);
    w.patch("secret/c-oauth", &json!({"stringData": {"client_secret": "altered"}}));
    w.until("the Secret is as it was", || w.secret("c-oauth") == before);
    assert_eq!(w.live().len(), 1);
}

fn foreign_secret_is_left_alone(w: &World) {
    w.kubectl(&["create", "secret", "generic", "c-oauth", "--from-literal=mine=1"]);
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Stalled");
    assert!(w.get("oauthclient/c")["status"]["message"].as_str().unwrap().contains("was not made by this operator"));
    assert_eq!(w.secret("c-oauth").len(), 1);
    assert!(w.live().is_empty());
}

fn every_authentication_method_works(w: &World) {
    w.client("post", &json!({"tokenEndpointAuthMethod": "client_secret_post"}));
    w.client("key", &json!({"tokenEndpointAuthMethod": "private_key_jwt"}));
    w.client("rsa", &json!({"tokenEndpointAuthMethod": "private_key_jwt", "tokenEndpointAuthSigningAlg": "RS256"}));
    w.client(
        "public",
        &json!({"tokenEndpointAuthMethod": "none", "grantTypes": ["authorization_code"], "redirectUris": ["https://app.corp.example/cb"]}),
    );
    for name in ["post", "key", "rsa", "public"] {
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    assert_eq!(w.live().len(), 4);
    assert!(w.secret("key-oauth").contains_key("private_key.pem"));
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=60s"]);
    assert!(w.live().is_empty());
    for name in ["post", "key", "rsa", "public"] {
        assert_eq!(w.entry(name)["status"]["evidence"]["level"], "Proven", "{name}");
    }
}

fn scopes_change_in_place(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let id = w.live()[0]["client_id"].clone();
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.until("the server has the new scopes", || {
        w.live().first().is_some_and(|c| c["scope"].as_str().is_some_and(|s| s.contains("reports.write")))
    });
    assert_eq!(w.live()[0]["client_id"], id);
    w.kubectl(&["delete", "oauthclient/c", "--timeout=60s"]);
    assert!(w.live().is_empty(), "the rotated registration access token was kept");
}

fn nothing_before_the_workload(w: &World) {
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "late"}}));
    w.until("the condition says what is missing", || {
        w.get("oauthclient/c")["status"]["message"].as_str().is_some_and(|m| m.contains("Job late"))
    });
    assert!(w.live().is_empty());
    w.job("late", "forever");
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "job/late"]);
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
}

fn server_is_held_while_clients_live(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "authorizationserver", &w.namespace, "--wait=false"]);
    w.kubectl(&["delete", "oauthclient/c", "--timeout=60s"]);
    assert!(w.live().is_empty());
    w.wait_gone(&format!("authorizationserver/{}", w.namespace));
}

fn refusals_say_why(w: &World) {
    w.client("unknown", &json!({"authorizationServerRef": {"name": "nowhere"}}));
    w.wait("oauthclient/unknown", "condition=Stalled");
    for (field, bad, says) in [
        ("owner", json!({"team": "t", "email": "nobody"}), "owner.email must be"),
        ("purpose", json!("  "), "purpose must not be blank"),
        ("scopes", json!([]), "spec.scopes"),
        ("scopes", json!(["a b"]), "scope token"),
        ("lifetime", json!({}), "exactly one of ttl and expiresAt"),
        ("redirectUris", json!(["https://a.example/#x"]), "no fragment"),
        ("redirectUris", json!(["javascript:alert(1)"]), "javascript"),
        ("grantTypes", json!(["authorization_code"]), "redirectUris is required"),
        ("tokenEndpointAuthMethod", json!("none"), "client_credentials"),
    ] {
        let refused = w.try_client("bad", &json!({field: bad})).expect_err(field);
        assert!(refused.contains(says), "{field}: {refused}");
    }
    assert!(w.live().is_empty());
}

fn a_server_that_is_down_is_a_debt(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.stop_server();
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    w.until("the debt is on record, with the reason", || {
        w.entry("c")["status"]["retry"]["lastError"].as_str().is_some_and(|e| e.contains("localhost"))
    });
    assert!(w.exists("oauthclient/c"), "the object waits for proof");
    assert!(!w.exists("secret/c-oauth"), "the Secret goes at once");
    w.start_server();
    assert_eq!(w.live().len(), 1);
    w.wait_gone("oauthclient/c");
    assert!(w.live().is_empty());
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
}
