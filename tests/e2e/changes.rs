//! What becomes of changes to a client that runs.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    the_spec_is_left_as_it_was,
    scopes_change_in_place,
    everything_else_changes_in_place,
    a_change_that_is_refused_changes_nothing,
    an_edit_before_registration_counts,
    an_edit_during_registration_counts,
];

/// From the moment that the API server took it until its end: nothing for GitOps to see.
fn the_spec_is_left_as_it_was(w: &World) {
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "work"}}));
    let before = w.get("oauthclient/c");
    w.job("work", "forever");
    w.wait("oauthclient/c", "condition=Ready");
    let ready = w.get("oauthclient/c");
    w.finish_job("work");
    w.wait("oauthclient/c", "condition=Revoked");
    for after in [ready, w.get("oauthclient/c")] {
        assert_eq!(after["spec"], before["spec"]);
        assert_eq!(after["metadata"]["generation"], 1);
        for name in ["labels", "annotations", "ownerReferences"] {
            assert_eq!(after["metadata"][name], before["metadata"][name], "{name}");
        }
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
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.live().is_empty(), "the rotated registration access token was kept");
}

fn everything_else_changes_in_place(w: &World) {
    let uri = "https://app.corp.example/cb";
    w.client("c", &json!({"grantTypes": ["authorization_code"], "redirectUris": [uri]}));
    w.wait("oauthclient/c", "condition=Ready");
    let before = w.secret("c-oauth");
    let uris = json!([uri, "https://other.corp.example/cb"]);
    let owner = json!({"team": "finance", "email": "finance@corp.example"});
    w.patch("oauthclient/c", &json!({"spec": {"redirectUris": uris, "owner": owner, "purpose": "Something else"}}));
    w.until("the server has the new redirect URIs", || w.live()[0]["redirect_uris"] == uris);
    w.until("the server knows whom to ask", || w.live()[0]["contacts"] == json!(["finance@corp.example"]));
    let spec = w.entry("c")["spec"].clone();
    assert_eq!((&spec["owner"], &spec["purpose"]), (&owner, &json!("Something else")));
    // What the server is not told is in the ledger all the same.
    w.requests();
    w.patch("oauthclient/c", &json!({"spec": {"owner": {"team": "treasury"}}}));
    w.until("the ledger has the new team", || w.entry("c")["spec"]["owner"]["team"] == "treasury");
    w.patch("oauthclient/c", &json!({"spec": {"purpose": "Yet another thing"}}));
    w.until("the ledger has the new purpose", || w.entry("c")["spec"]["purpose"] == "Yet another thing");
    assert!(w.requests().is_empty(), "which is no business of the server's");
    assert_eq!(w.secret("c-oauth"), before);
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
}

fn a_change_that_is_refused_changes_nothing(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let (before, live) = (w.secret("c-oauth"), w.live());
    for round in 0..2 {
        w.requests();
        w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "no.such.scope"]}}));
        let says = w.until_reason("c", "Stalled", "ChangeRefused");
        assert!(says.contains("400") && says.contains("goes on as it was"), "{says}");
        // Once without and once with the client's secret: servers differ in what they insist on.
        assert_eq!(w.requests().get("PUT /reg/:id"), Some(&2), "asked, and no more, in round {round}");
        assert_eq!(w.client_condition("c", "Ready").expect("a condition")["status"], "True");
        assert!(w.token("c-oauth").is_ok());
        assert_eq!(w.live(), live);
        assert_eq!(w.secret("c-oauth"), before, "the Secret says what is, not what was asked");
        w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read"]}}));
        w.until("nothing is refused any more", || w.client_condition("c", "Stalled").is_none());
        assert!(w.client_condition("c", "Ready").is_some_and(|c| c["status"] == "True"));
    }
    // The registration access token survived what the server refused.
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.until("a good change goes through", || w.secret("c-oauth")["scopes"] == "reports.read reports.write");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.live().is_empty());
}

fn an_edit_before_registration_counts(w: &World) {
    w.stop_server();
    w.client("c", &json!({"tokenEndpointAuthMethod": "private_key_jwt"}));
    w.until("it is tried", || w.entries("c").iter().any(|e| e["status"]["retry"]["failures"].is_number()));
    let edit =
        json!({"tokenEndpointAuthMethod": "client_secret_post", "scopes": ["reports.write"], "purpose": "Other"});
    w.patch("oauthclient/c", &json!({"spec": edit}));
    w.until("the edit is in the ledger", || w.entry("c")["spec"]["purpose"] == "Other");
    let request = &w.entry("c")["spec"]["request"];
    assert!(request["signingAlg"].is_null(), "nothing is left of what was asked before: {request:#}");
    w.start_server();
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.secret("c-oauth")["token_endpoint_auth_method"], "client_secret_post");
    assert_eq!(w.secret("c-oauth")["scopes"], "reports.write");
    assert!(w.token("c-oauth").is_ok());
    assert_eq!((w.live().len(), w.entries("c").len()), (1, 1));
}

fn an_edit_during_registration_counts(w: &World) {
    let names: Vec<String> = (0..24).map(|n| format!("c{n}")).collect();
    w.clients(&names, &json!({}));
    // They are at all stages now.
    w.clients(&names, &json!({"tokenEndpointAuthMethod": "client_secret_post", "scopes": ["reports.write"]}));
    for name in &names {
        let secret = format!("{name}-oauth");
        w.until(&format!("{name} has what was asked for last"), || {
            let found = w.secret(&secret);
            let holds = |key: &str, value: &str| found.get(key).is_some_and(|v| v == value);
            holds("token_endpoint_auth_method", "client_secret_post") && holds("scopes", "reports.write")
        });
        assert!(w.token(&secret).is_ok(), "{name}");
    }
    w.wait("oauthclients --all", "condition=Ready");
    w.until("those that were replaced are gone", || w.live().len() == names.len());
}
