//! What the API server itself refuses: every rule of the custom resources, with words that say what to do.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![every_rule_refuses_and_says_why];

/// Members of an OAuthClient's spec that are wrong, and what is said about them.
fn bad_clients() -> Vec<(Value, &'static str)> {
    let code = |uri: &str| json!({"grantTypes": ["authorization_code"], "redirectUris": [uri]});
    let keys = |key: Value| json!({"tokenEndpointAuthMethod": "private_key_jwt", "jwks": {"keys": [key]}});
    vec![
        (json!({"owner": {"team": "t", "email": "nobody"}}), "owner.email must be"),
        (json!({"owner": {"team": "t", "email": "a@b"}}), "owner.email must be"),
        (json!({"owner": {"team": " ", "email": "a@corp.example"}}), "owner.team must not be blank"),
        (json!({"owner": {"team": "a\u{202e}b", "email": "a@corp.example"}}), "owner.team must not be blank"),
        (json!({"owner": null}), "spec.owner"),
        (json!({"purpose": "  "}), "purpose must not be blank"),
        (json!({"purpose": "a\nb"}), "purpose must not hold control"),
        (json!({"purpose": "a\u{202e}b"}), "purpose must not hold control"),
        (json!({"purpose": null}), "spec.purpose"),
        (json!({"scopes": []}), "spec.scopes"),
        (json!({"scopes": null}), "spec.scopes"),
        (json!({"scopes": ["a b"]}), "scope token"),
        (json!({"scopes": ["a\"b"]}), "scope token"),
        (json!({"scopes": ["a", "a"]}), "Duplicate value"),
        (json!({"audiences": ["https://api.corp.example https://evil.example"]}), "each audience is printable ASCII"),
        (json!({"grantTypes": ["Client Credentials"]}), "each grant type is a name"),
        (json!({"grantTypes": []}), "spec.grantTypes"),
        (json!({"lifetime": null}), "spec.lifetime"),
        (json!({"lifetime": {}}), "exactly one of ttl and expiresAt"),
        (json!({"lifetime": {"ttl": "1h", "expiresAt": "2030-01-01T00:00:00Z"}}), "exactly one of ttl and expiresAt"),
        (json!({"lifetime": {"ttl": "0s"}}), "longer than zero"),
        (json!({"lifetime": {"ttl": "1d"}}), "lifetime.ttl"),
        (json!({"lifetime": {"expiresAt": "tomorrow"}}), "lifetime.expiresAt"),
        (code("https://a.example/#x"), "no fragment"),
        (code("/callback"), "must be absolute"),
        (code("javascript:alert(1)"), "javascript"),
        (code("https://user@a.example/"), "user information"),
        (code("https:///cb"), "must name a host"),
        (json!({"grantTypes": ["authorization_code"]}), "redirectUris is required"),
        (json!({"tokenEndpointAuthMethod": "none"}), "client_credentials"),
        (json!({"tokenEndpointAuthMethod": "tls_client_auth"}), "tokenEndpointAuthMethod"),
        (json!({"jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]}}), "private_key_jwt only"),
        (keys(json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"})), "public keys only"),
        (keys(json!({"kty": "RSA", "n": "AA"})), "a key needs"),
        (json!({"rotation": {"every": "30s"}}), "at least one minute"),
        (json!({"rotation": {"every": "1h", "overlap": "1h"}}), "shorter than rotation.every"),
        (
            json!({"rotation": {}, "tokenEndpointAuthMethod": "none", "grantTypes": ["authorization_code"], "redirectUris": ["https://a.example/"]}),
            "a credential that is made here",
        ),
        (json!({"secret": {"name": "s", "keys": {"clientId": "x", "issuer": "x"}}}), "same name"),
        (json!({"secret": {"name": "s", "keys": {"clientId": "type"}}}), "same name"),
        (json!({"secret": {"name": "Not A Name"}}), "secret.name"),
        (json!({"ttlSecondsAfterFinished": -1}), "ttlSecondsAfterFinished"),
        // No tenant names a URL: there is no such member.
        (
            json!({"authorizationServerRef": {"name": "corp", "url": "https://evil.example"}}),
            "unknown field \"spec.authorizationServerRef.url\"",
        ),
        (json!({"issuer": "https://evil.example"}), "unknown field \"spec.issuer\""),
    ]
}

/// Changes of an OAuthClient that are refused.
fn bad_changes() -> Vec<(Value, &'static str)> {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "other"});
    vec![
        (json!({"authorizationServerRef": {"name": "other"}}), "create another OAuthClient for another server"),
        (json!({"workloadRef": job}), "create another OAuthClient for another workload"),
        (json!({"workloadRef": null}), "create another OAuthClient for another workload"),
        (json!({"secret": {"name": "other"}}), "create another OAuthClient to publish elsewhere"),
        (json!({"secret": null}), "create another OAuthClient to publish elsewhere"),
    ]
}

fn bad_servers() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"issuer": "http://sso.corp.example"}), "issuer must be an https URL"),
        (json!({"issuer": "https://u@sso.corp.example"}), "without user information"),
        (json!({"issuer": "https://sso.corp.example/?a=b"}), "query and fragment"),
        (json!({"issuer": "http://sso.corp.example", "allowPlainHttp": true, "tls": {"caBundle": "x"}}), "no meaning"),
        (json!({"backend": {}}), "exactly one way to register"),
        (json!({"backend": null}), "spec.backend"),
        (
            json!({"backend": {"keycloak": keycloak("https://sso.corp.example"), "dynamicRegistration": {}}}),
            "exactly one way",
        ),
        (
            json!({"backend": {"keycloak": keycloak("http://sso.corp.example")}}),
            "backend.keycloak.url must be an https URL",
        ),
        (json!({"backend": {"keycloak": keycloak("https://u@sso.corp.example")}}), "url must be a URL with a host"),
        (
            json!({"backend": {"keycloak": {"url": "https://sso.corp.example", "realm": "corp", "clientId": "operator"}}}),
            "exactly one of clientSecret and privateKey",
        ),
        (json!({"backend": {"hydra": {"adminUrl": "http://hydra.corp.example"}}}), "adminUrl must be an https URL"),
        (
            json!({"backend": {"hydra": {"adminUrl": "https://hydra.corp.example/?a"}}}),
            "adminUrl must be a URL with a host",
        ),
        (
            json!({"backend": {"hydra": {
                "adminUrl": "https://hydra.corp.example", "bearerToken": {"secretName": "s", "key": "k"},
                "basicAuth": {"secretName": "s"},
            }}}),
            "at most one of bearerToken and basicAuth",
        ),
        (json!({"limits": {"maxInFlight": 0}}), "limits.maxInFlight"),
        (json!({"limits": {"requestTimeout": "999ms"}}), "requestTimeout must be from 1s to 60s"),
        (json!({"limits": {"requestTimeout": "1m1s"}}), "requestTimeout must be from 1s to 60s"),
        (json!({"accessTokenLifetime": "soon"}), "accessTokenLifetime"),
    ]
}

fn bad_policies() -> Vec<(Value, &'static str)> {
    let labels = json!({"app": "x"});
    let deny = |members: Value| {
        let mut deny = json!({"reason": "an incident"});
        for (key, value) in members.as_object().expect("members") {
            deny[key] = value.clone();
        }
        json!({ "deny": deny })
    };
    vec![
        (json!({"appliesTo": {"namespaces": {"matchLabels": labels}}}), "labels that a policy reads begin with"),
        (json!({"require": {"ownerMatchesNamespaceLabel": "team"}}), "a label that a policy reads begins with"),
        (json!({"allow": {"ownerEmails": ["corp.example"]}}), "with one @, such as *@corp.example"),
        (json!({"allow": {"ownerEmails": ["*@*@corp.example"]}}), "with one @, such as *@corp.example"),
        (json!({"allow": {"redirectUris": ["*.corp.example/*"]}}), "a URI with its scheme"),
        (json!({"approval": {"mode": "WhenScopes"}}), "approval.scopes goes with mode WhenScopes"),
        (json!({"approval": {"mode": "Always", "scopes": ["a"]}}), "approval.scopes goes with mode WhenScopes"),
        (deny(json!({})), "deny names nothing"),
        (deny(json!({"all": true, "reason": " "})), "deny.reason must not be blank"),
        (deny(json!({"clients": ["export"]})), "a client is namespace/name"),
        (deny(json!({"owners": ["corp"]})), "with one @, such as *@corp.example"),
    ]
}

fn bad_approvals() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"requestHash": null}), "an approval needs requestHash"),
        (json!({"requestHash": "anything"}), "spec.requestHash"),
        (json!({"reason": "\u{202e}"}), "reason must not be blank"),
        (json!({"decision": "Denied", "notAfter": "2030-01-01T00:00:00Z"}), "notAfter goes with Approved only"),
        (json!({"decision": "Perhaps"}), "spec.decision"),
    ]
}

/// Of these kinds, what is wrong is refused; and a change of an approval.
fn of_governance(w: &World, refused: &mut impl FnMut(&Value, &str, Result<String, String>)) {
    let apply = |kind: &str, name: &str, mut spec: Value, members: &Value| {
        for (key, value) in members.as_object().expect("members") {
            spec[key] = value.clone();
        }
        let api = "oauthclient.dev/v1alpha1";
        w.apply(&json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}))
    };
    for (members, says) in bad_policies() {
        refused(&members, says, apply("ClientPolicy", "bad", json!({}), &members));
    }
    let approval = json!({
        "client": "c", "authorizationServer": "s", "requestHash": format!("v1:sha256:{}", "0".repeat(64)),
        "decision": "Approved", "approver": "somebody", "reason": "a test",
    });
    for (members, says) in bad_approvals() {
        refused(&members, says, apply("ClientApproval", "bad", approval.clone(), &members));
    }
}

fn keycloak(url: &str) -> Value {
    json!({"url": url, "realm": "corp", "clientId": "operator", "clientSecret": {"secretName": "s", "key": "k"}})
}

/// Backends of servers that exist, and changes to them that are refused.
fn moved_servers() -> Vec<(Value, Value, &'static str)> {
    vec![
        (
            json!({"keycloak": keycloak("https://sso.corp.example")}),
            json!({"keycloak": {"url": "https://elsewhere.corp.example"}}),
            "url and realm are immutable",
        ),
        (
            json!({"hydra": {"adminUrl": "https://hydra.corp.example"}}),
            json!({"hydra": {"adminUrl": "https://elsewhere.corp.example"}}),
            "adminUrl is immutable",
        ),
        (
            json!({"hydra": {"adminUrl": "https://hydra.corp.example"}}),
            json!({"hydra": null, "dynamicRegistration": {}}),
            "the way to register is immutable",
        ),
    ]
}

fn every_rule_refuses_and_says_why(w: &World) {
    let mut said = String::new();
    let mut refused = |what: &Value, says: &str, answer: Result<String, String>| {
        let answer = answer.expect_err(&what.to_string());
        assert!(answer.contains(says), "{what}: {answer}");
        said += &answer;
    };
    for (members, says) in bad_clients() {
        refused(&members, says, w.try_client("bad", &members));
    }
    let work = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "never"});
    w.client("good", &json!({"workloadRef": work, "secret": {"name": "mine"}}));
    for (change, says) in bad_changes() {
        let patch = json!({"spec": change}).to_string();
        refused(&change, says, w.try_kubectl(&["patch", "oauthclient/good", "--type=merge", "-p", &patch]));
    }
    for (members, says) in bad_servers() {
        let mut spec = json!({"issuer": "https://sso.corp.example", "backend": {"dynamicRegistration": {}}});
        for (key, value) in members.as_object().expect("members") {
            spec[key] = value.clone();
        }
        let object = json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "AuthorizationServer",
            "metadata": {"name": "bad"}, "spec": spec,
        });
        refused(&members, says, w.apply(&object));
    }
    for (number, (backend, change, says)) in moved_servers().into_iter().enumerate() {
        let name = format!("moved-{number}");
        let object = json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "AuthorizationServer", "metadata": {"name": name},
            "spec": {"issuer": "https://sso.corp.example", "backend": backend},
        });
        w.apply(&object).expect("an AuthorizationServer that is valid");
        let patch = json!({"spec": {"backend": change}}).to_string();
        let server = format!("authorizationserver/{name}");
        refused(&change, says, w.try_kubectl(&["patch", &server, "--type=merge", "-p", &patch]));
        w.kubectl(&["delete", &server, "--wait=false"]);
    }
    of_governance(w, &mut refused);
    let elsewhere = json!({"spec": {"issuer": "https://sso.corp.example"}}).to_string();
    let done = w.try_kubectl(&["patch", &w.server_name(), "--type=merge", "-p", &elsewhere]);
    refused(&json!("another issuer"), "issuer is immutable", done);
    w.client("entry", &json!({}));
    w.wait("oauthclient/entry", "condition=Ready");
    let entry = w.entry("entry")["metadata"]["name"].as_str().expect("a name").to_owned();
    for change in [
        json!({"server": {"issuer": "https://sso.corp.example"}}),
        json!({"clientRef": {"name": "other"}}),
        json!({"attempt": 7}),
        json!({"installation": "other"}),
    ] {
        let patch = json!({"spec": change}).to_string();
        let object = format!("clientregistration/{entry}");
        let done = w.try_kubectl(&["-n", "oauthclient-system", "patch", &object, "--type=merge", "-p", &patch]);
        refused(&change, "of a ledger entry are immutable", done);
    }
    assert_eq!(w.live().len(), 1, "nothing of what was refused was registered");
    // governance/people: nobody_approves_for_themselves
    said += "an approval is immutable: decide anew by another ClientApproval";
    let unheard: Vec<String> = rules(w).into_iter().filter(|rule| !said.contains(rule)).collect();
    assert!(unheard.is_empty(), "rules that nothing here breaks: {unheard:#?}");
}

/// The messages of all rules of all custom resources. The ledger's own copies of tenants' rules are the same words.
fn rules(w: &World) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in ["oauthclients", "authorizationservers", "clientpolicies", "clientapprovals", "clientregistrations"] {
        collect(&w.get(&format!("crd/{kind}.oauthclient.dev")), &mut found);
    }
    assert!(found.len() >= 25, "{found:?}");
    found
}

fn collect(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            for rule in members.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                into.insert(rule["message"].as_str().expect("every rule has a message").to_owned());
            }
            members.values().for_each(|v| collect(v, into));
        }
        Value::Array(items) => items.iter().for_each(|v| collect(v, into)),
        _ => {}
    }
}
