//! Authorization servers that are not there, not yet, or not who they should be.

use serde_json::json;

use crate::support::World;
use crate::support::proxy::{Lie, Reply};
use crate::{Story, stories};

/// The stories told here, each with a proxy before the authorization server.
pub const STORIES: &[Story] = &stories![
    another_issuer_is_not_registered_at,
    no_metadata,
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

fn one_that_never_answers_delays_no_other(w: &World) {
    // A second server of this world, good at first, then a black hole: it takes requests and never answers.
    let hole = w.another_proxy();
    let issuer = hole.url.clone();
    let behind = w.another_server_behind(&hole);
    let name = format!("{}-hole", w.namespace);
    w.authorization_server(&name, &json!({"issuer": issuer, "limits": {"maxInFlight": 2}}));
    w.wait(&format!("authorizationserver/{name}"), "condition=Ready");
    let held = hole.lie(|_| true, Lie::Held);
    for n in 0..20 {
        w.client(&format!("stuck-{n}"), &json!({"authorizationServerRef": {"name": name}}));
    }
    w.until("the black hole has taken requests", || held.matched() > 1);
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=60s"]);
    assert!(w.live().is_empty(), "ended, too, while the other server hangs");
    assert!(
        w.kubectl(&["get", "oauthclients", "-o", "jsonpath={.items[*].status.state}"]).split(' ').all(|s| s != "Ready")
    );
    assert!(held.matched() <= 60, "{} requests to a server that hangs", held.matched());
    drop(behind);
}
