//! What is refused by the operator, with which words, and that it goes on by itself when nothing stands against it.
//! What the API server refuses is in `rules.rs`.

use oauthclient_operator::authorization_server::keys::{ClientKey, SigningAlg};
use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    an_unknown_server_is_waited_for,
    a_namespace_is_allowed_by_name_or_label,
    what_a_server_cannot_do_is_refused,
    a_request_that_the_server_refuses_waits_for_an_edit,
];

fn an_unknown_server_is_waited_for(w: &World) {
    let name = format!("{}-later", w.namespace);
    w.client("c", &json!({"authorizationServerRef": {"name": name}}));
    let says = w.until_reason("c", "Stalled", "UnknownAuthorizationServer");
    assert!(says.contains(&name) && says.contains("kubectl get authorizationservers"), "{says}");
    w.wait_event("c", "UnknownAuthorizationServer", &name);
    assert!(w.entries("c").is_empty());
    let mut server = w.get(&w.server_name());
    server["metadata"] = json!({"name": name});
    server["status"] = json!(null);
    w.apply(&server).expect("an AuthorizationServer");
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.client_condition("c", "Stalled").is_none());
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    w.kubectl(&["delete", "authorizationserver", &name, "--timeout=120s"]);
}

fn a_namespace_is_allowed_by_name_or_label(w: &World) {
    w.server(&json!({"allowedNamespaces": {"names": ["another"]}}));
    w.client("c", &json!({}));
    let says = w.until_reason("c", "Stalled", "NamespaceNotAllowed");
    assert!(says.contains(&w.namespace) && says.contains("spec.allowedNamespaces"), "{says}");
    w.wait_event("c", "NamespaceNotAllowed", "spec.allowedNamespaces");
    assert!(w.live().is_empty() && w.entries("c").is_empty());
    w.server(&json!({"allowedNamespaces": {"names": [w.namespace]}}));
    w.wait("oauthclient/c", "condition=Ready");
    // By all labels; one that comes later counts from then on.
    w.server(&json!({"allowedNamespaces": {"names": null, "matchLabels": {"team": "data", "stage": "prod"}}}));
    w.client("by-label", &json!({}));
    w.kubectl(&["label", "namespace", &w.namespace, "team=data"]);
    w.until_reason("by-label", "Stalled", "NamespaceNotAllowed");
    assert_eq!(w.live().len(), 1, "a client that runs is not ended by what stands against new ones");
    assert!(w.token("c-oauth").is_ok());
    w.until_reason("c", "Stalled", "NamespaceNotAllowed");
    w.kubectl(&["delete", "secret/c-oauth"]);
    w.until("its Secret is put back", || w.exists("secret/c-oauth"));
    w.kubectl(&["label", "namespace", &w.namespace, "stage=prod"]);
    w.wait("oauthclient/by-label", "condition=Ready");
    w.until("nothing stands against the first either", || w.client_condition("c", "Stalled").is_none());
    // Not being allowed any more keeps nobody from ending a client.
    w.kubectl(&["label", "namespace", &w.namespace, "stage-"]);
    w.until_reason("c", "Stalled", "NamespaceNotAllowed");
    w.patch("oauthclient/c", &json!({"spec": {"lifetime": {"ttl": "1s"}}}));
    w.until_reason("c", "Revoked", "Expired");
    w.kubectl(&["delete", "oauthclient/by-label", "--timeout=120s"]);
    assert!(w.live().is_empty());
}

fn what_a_server_cannot_do_is_refused(w: &World) {
    w.client("audience", &json!({"audiences": ["https://api.corp.example"]}));
    let says = w.until_reason("audience", "Stalled", "AudiencesUnsupported");
    assert!(says.contains("remove spec.audiences"), "{says}");
    w.server(&json!({"revocation": {"leastEvidence": "Proven"}}));
    let key = ClientKey::generate(SigningAlg::Es256).expect("a key");
    w.client("own", &json!({"tokenEndpointAuthMethod": "private_key_jwt", "jwks": key.public_jwks()}));
    let says = w.until_reason("own", "Stalled", "EvidenceUnobtainable");
    assert!(says.contains("ServerConfirmed"), "{says}");
    assert!(w.live().is_empty());
    w.patch("oauthclient/audience", &json!({"spec": {"audiences": null}}));
    w.wait("oauthclient/audience", "condition=Ready");
    w.server(&json!({"revocation": {"leastEvidence": "ServerConfirmed"}}));
    w.wait("oauthclient/own", "condition=Ready");
}

fn a_request_that_the_server_refuses_waits_for_an_edit(w: &World) {
    w.client("c", &json!({"scopes": ["no.such.scope"]}));
    let says = w.until_reason("c", "Stalled", "RegistrationRefused");
    assert!(says.contains("400") && says.contains("scope"), "{says}");
    assert!(w.live().is_empty() && !w.exists("secret/c-oauth"));
    assert_eq!(w.entry("c")["status"]["phase"], "Rejected");
    let asked = w.requests().get("POST /reg").copied();
    assert_eq!(asked, Some(1), "refused is refused: it is not asked again and again");
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read"]}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.requests().get("POST /reg"), Some(&1));
    assert_eq!(w.live().len(), 1);
}
