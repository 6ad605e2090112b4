//! What policies allow, and what is said where none does.

use serde_json::json;

use super::support::World;
use super::{nothing_happened, policy};

pub fn nothing_is_registered_that_no_policy_allows(w: &World) {
    w.client("c", &json!({}));
    let says = w.until_reason("c", "Stalled", "NotAllowedByPolicy");
    assert!(says.contains(&format!("no ClientPolicy is about namespace {}", w.namespace)), "{says}");
    w.wait_event("c", "NotAllowedByPolicy", "no ClientPolicy is about");
    assert_eq!(w.condition("oauthclient/c", "Ready")["status"], "False");
    let described = w.kubectl(&["describe", "oauthclient", "c"]);
    assert!(described.contains("no ClientPolicy is about"), "{described}");
    nothing_happened(w, "c");
    policy(w, "late", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.get("oauthclient/c")["status"]["policy"], "late");
    assert_eq!(w.entry("c")["spec"]["policy"]["name"], "late");
    assert_eq!(w.live().len(), 1);
}

pub fn what_stands_against_it_is_named(w: &World) {
    policy(w, "a", &json!({"allow": {"scopes": ["other.*"]}}));
    policy(w, "b", &json!({"allow": {"ownerEmails": ["*@other.example"]}, "require": {"workloadRef": true}}));
    policy(w, "of-others", &json!({"appliesTo": {"namespaces": {"names": ["another"]}}}));
    w.client("c", &json!({}));
    let says = w.until_reason("c", "Stalled", "NotAllowedByPolicy");
    for part in [
        "a: scope reports.read is not in allow.scopes (other.*)",
        "b: owner data@corp.example is not in allow.ownerEmails (*@other.example)",
        "require.workloadRef: there is no workloadRef",
    ] {
        assert!(says.contains(part), "{part} is not in {says}");
    }
    assert!(!says.contains("of-others"), "{says}");
    nothing_happened(w, "c");
}

pub fn one_policy_must_allow_the_whole(w: &World) {
    policy(w, "reads", &json!({"allow": {"scopes": ["reports.read"]}}));
    policy(w, "writes", &json!({"allow": {"scopes": ["reports.write"]}}));
    w.client("c", &json!({"scopes": ["reports.read", "reports.write"]}));
    let says = w.until_reason("c", "Stalled", "NotAllowedByPolicy");
    assert!(says.contains("reads: scope reports.write") && says.contains("writes: scope reports.read"), "{says}");
    nothing_happened(w, "c");
}

pub fn an_edit_that_is_not_allowed_waits(w: &World) {
    policy(w, "p", &json!({"limits": {"maxLifetime": "2h"}}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let (secret, until) = (w.secret("c-oauth"), w.entry("c")["spec"]["expiresAt"].clone());
    for (edit, part) in [
        (json!({"scopes": ["reports.read", "admin"]}), "scope admin is not in allow.scopes"),
        (json!({"owner": {"team": "data", "email": "data@evil.example"}}), "owner data@evil.example"),
        (json!({"grantTypes": ["client_credentials", "refresh_token"]}), "grant type refresh_token"),
        (json!({"redirectUris": ["https://evil.example/cb"]}), "redirect URI https://evil.example/cb"),
        (json!({"tokenEndpointAuthMethod": "private_key_jwt"}), "tokenEndpointAuthMethod private_key_jwt"),
        (json!({"lifetime": {"ttl": "3h"}}), "limits.maxLifetime 2h"),
    ] {
        w.client("c", &edit);
        let mut says = String::new();
        w.until(&format!("the edit is refused: {part}"), || {
            says = w.until_reason("c", "Stalled", "NotAllowedByPolicy");
            says.contains(part)
        });
        assert!(w.token("c-oauth").is_ok(), "the client goes on");
        assert_eq!((w.secret("c-oauth"), w.entry("c")["spec"]["expiresAt"].clone()), (secret.clone(), until.clone()));
        assert_eq!(w.live()[0]["scope"], "reports.read");
        assert_eq!(w.entries("c").len(), 1);
    }
    w.client("c", &json!({"scopes": ["reports.read", "reports.write"]}));
    w.until("an edit that is allowed is made", || w.live()[0]["scope"] == "reports.read reports.write");
    w.until("nothing is refused any more", || w.client_condition("c", "Stalled").is_none());
}

/// The example of rules in CEL that are not ours.
pub fn rules_of_ones_own(w: &World) {
    policy(w, "p", &json!({}));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/own-rules.yaml");
    w.kubectl(&["apply", "-f", example]);
    w.client("elsewhere", &json!({}));
    w.kubectl(&["label", "namespace", &w.namespace, "oauthclient.dev/tickets=required"]);
    w.until("the API server has noticed", || w.try_client("c", &json!({})).is_err());
    let refused = |members: serde_json::Value, says: &str| {
        let error = w.try_client("c", &members).expect_err(says);
        assert!(error.contains(says), "{error}");
    };
    refused(json!({}), "the purpose must name a ticket, such as OPS-123");
    refused(
        json!({"purpose": "Export, OPS-7", "scopes": ["reports.write"]}),
        "a client that may write must be bound to a workload",
    );
    w.client("c", &json!({"purpose": "Export, OPS-7"}));
    w.wait("oauthclient/c", "condition=Ready");
    // It is in nobody's way when what was there before comes to its end.
    w.kubectl(&["delete", "oauthclient", "c", "elsewhere", "--timeout=120s"]);
    w.kubectl(&["delete", "-f", example]);
}
