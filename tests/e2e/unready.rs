//! Authorization servers that are not there, not yet, or not who they should be.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::World;
use crate::support::proxy::{Lie, Reply};
use crate::{Story, stories};

/// The stories told here, each with a proxy before the authorization server.
pub const STORIES: &[Story] = &stories![
    another_issuer_is_not_registered_at,
    no_metadata,
    metadata_of_rfc_8414_only,
    a_server_that_comes_later,
    one_that_never_answers_delays_no_other,
];

/// Another AuthorizationServer of this world, with a client that waits for it, told this when it is looked at.
fn not_ready(w: &World, reason: &str, says: &str) {
    let server = format!("{}-late", w.namespace);
    w.authorization_server(&server, &json!({"limits": {"burst": 39}}));
    let why = w.wait_reason(&format!("authorizationserver/{server}"), "Ready", "False", reason);
    assert!(why.contains(says), "{why}");
    w.client("c", &json!({"authorizationServerRef": {"name": server}}));
    let why = w.wait_reason("oauthclient/c", "Ready", "False", "AuthorizationServerNotReady");
    assert!(why.contains(says), "{why}");
    w.wait_event("c", "Pending", says);
    assert!(w.live().is_empty() && w.ledger().is_empty());
}

fn metadata(call: &crate::support::proxy::Call) -> bool {
    call.is("GET", "/.well-known/")
}

fn another_issuer_is_not_registered_at(w: &World) {
    let lie = w.proxy().lie(metadata, Lie::Json(Box::new(|m| m["issuer"] = json!("https://elsewhere.example"))));
    not_ready(w, "IssuerMismatch", "https://elsewhere.example");
    // One that was good before is not registered at either, once it is known.
    w.patch(&format!("authorizationserver/{}", w.namespace), &json!({"spec": {"limits": {"burst": 41}}}));
    w.wait_reason(&format!("authorizationserver/{}", w.namespace), "Ready", "False", "IssuerMismatch");
    w.client("other", &json!({}));
    w.wait_reason("oauthclient/other", "Ready", "False", "AuthorizationServerNotReady");
    assert!(w.live().is_empty());
    lie.stop();
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/other", "condition=Ready");
    assert!(w.proxy().calls(metadata).len() < 40, "looked at with back-off");
}

fn no_metadata(w: &World) {
    let lie = w.proxy().lie(metadata, Lie::Instead(Reply::page(404)));
    not_ready(w, "MetadataNotFound", "404");
    lie.stop();
    w.wait("oauthclient/c", "condition=Ready");
}

/// A server that is no OpenID provider: its metadata is at the other place alone.
fn metadata_of_rfc_8414_only(w: &World) {
    let openid = |c: &crate::support::proxy::Call| c.is("GET", "/.well-known/openid-configuration");
    let none = w.proxy().lie(openid, Lie::Instead(Reply::json(404, &json!({"error": "not found"}))));
    let server = format!("{}-plain", w.namespace);
    w.authorization_server(&server, &json!({"limits": {"burst": 39}}));
    w.wait(&format!("authorizationserver/{server}"), "condition=Ready");
    assert!(
        none.matched() > 0 && !w.proxy().calls(|c| c.is("GET", "/.well-known/oauth-authorization-server")).is_empty()
    );
    w.client("c", &json!({"authorizationServerRef": {"name": server}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.token("c-oauth").is_ok());
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
}

fn a_server_that_comes_later(w: &World) {
    w.stop_server();
    let server = format!("{}-late", w.namespace);
    w.authorization_server(&server, &json!({"limits": {"burst": 39}}));
    w.client("c", &json!({"authorizationServerRef": {"name": server}}));
    w.wait_reason("oauthclient/c", "Ready", "False", "AuthorizationServerNotReady");
    w.wait_reason(&format!("authorizationserver/{server}"), "Ready", "False", "Unreachable");
    w.start_server();
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.live().len(), 1);
}

/// More clients than the operator works on at a time (256).
const STUCK: usize = 300;

fn one_that_never_answers_delays_no_other(w: &World) {
    // A second server of this world, good at first, then a black hole: it takes requests and never answers.
    let hole = w.another_proxy();
    let issuer = hole.url.clone();
    let behind = w.another_server_behind(&hole);
    let name = format!("{}-hole", w.namespace);
    // What it takes stays unanswered for as long as a request may take.
    let limits = json!({"maxInFlight": 2, "requestTimeout": "60s"});
    w.authorization_server(&name, &json!({"issuer": issuer, "limits": limits}));
    w.wait(&format!("authorizationserver/{name}"), "condition=Ready");
    let held = hole.lie(|_| true, Lie::Held);
    // More than there are workers.
    let stuck: Vec<String> = (0..STUCK).map(|n| format!("stuck-{n}")).collect();
    w.clients(&stuck, &json!({"authorizationServerRef": {"name": name}}));
    w.until("all of them wait", || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        // Each by name: those that are given up on are tried anew, with another entry.
        let ledger = w.ledger();
        ledger.iter().map(|e| e["spec"]["clientRef"]["name"].as_str()).collect::<BTreeSet<_>>().len() == STUCK
    });
    // A whole life of another client between two times that the black hole's requests are given up: nobody waited for that.
    // A machine may be so slow that none fits in; then another is tried.
    let shown = (0..5).any(|n| {
        let before = held.matched();
        w.until("the black hole has just taken what it is sent at a time", || held.matched() > before.max(1));
        std::thread::sleep(std::time::Duration::from_millis(500));
        let (name, taken) = (format!("c{n}"), held.matched());
        w.client(&name, &json!({}));
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
        w.kubectl(&["delete", &format!("oauthclient/{name}"), "--wait=false"]);
        w.wait_gone(&format!("oauthclient/{name}"));
        assert!(w.live().is_empty(), "ended, too, while the other server hangs");
        eprintln!("e2e: {taken} requests taken by a server that hangs, {} after another client's life", held.matched());
        held.matched() == taken && hole.in_flight() >= 2
    });
    assert!(shown, "no client got through before a server that hangs was given up on");
    assert!(
        w.kubectl(&["get", "oauthclients", "-o", "jsonpath={.items[*].status.state}"]).split(' ').all(|s| s != "Ready")
    );
    w.kubectl(&["delete", "oauthclients", "--all", "--wait=false"]);
    held.stop();
    drop(behind);
}
