//! Namespaces that end. What happens to them while the operator is away is told in `tests/away.rs`.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    namespace_deletion_revokes,
    a_terminating_namespace_that_hangs_revokes,
    a_namespace_finalized_by_force_revokes,
];

fn namespace_deletion_revokes(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "namespace", &w.namespace, "--timeout=120s"]);
    w.until("no client is left at the server", || w.live().is_empty());
}

/// A pod that something else holds on to: with it, nothing else in the namespace is deleted either.
fn held_pod(w: &World) {
    w.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "held", "finalizers": ["corp.example/held"]},
        "spec": {"containers": [{"name": "main", "image": "none.example/none"}]},
    }))
    .expect("a Pod");
}

fn let_go(w: &World, object: &str) {
    w.patch(object, &json!({"metadata": {"finalizers": null}}));
}

fn a_terminating_namespace_that_hangs_revokes(w: &World) {
    held_pod(w);
    w.client("c", &json!({}));
    w.try_client_with(&json!({"name": "held", "finalizers": ["corp.example/held"]}), &json!({}))
        .expect("an OAuthClient");
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/held", "condition=Ready");
    w.kubectl(&["delete", "namespace", &w.namespace, "--wait=false"]);
    w.until("no client is left at the server", || w.live().is_empty());
    for name in ["c", "held"] {
        w.until("it is proven", || w.entry(name)["status"]["evidence"]["level"] == "Proven");
        assert_eq!(w.entry(name)["status"]["end"]["reason"], "NamespaceTerminating");
        let secret = format!("secret/{name}-oauth");
        w.until("its Secret is gone, whatever holds the namespace", || !w.exists(&secret));
        w.wait(&format!("oauthclient/{name}"), "condition=Revoked");
    }
    assert!(w.exists("pod/held") && w.exists("oauthclient/held"), "all the time, something held the namespace");
    let_go(w, "pod/held");
    w.until("its content is deleted", || w.get("oauthclient/held")["metadata"]["deletionTimestamp"].is_string());
    w.until("nothing but the other finalizer holds it", || {
        w.get("oauthclient/held")["metadata"]["finalizers"] == json!(["corp.example/held"])
    });
    let_go(w, "oauthclient/held");
    w.wait(&format!("namespace/{}", w.namespace), "delete");
}

fn a_namespace_finalized_by_force_revokes(w: &World) {
    held_pod(w);
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.finalize_namespace_by_force();
    w.until("no client is left at the server", || w.live().is_empty());
    w.until("it is proven", || w.entry("c")["status"]["evidence"]["level"] == "Proven");
    w.until("its Secret is gone", || !w.exists("secret/c-oauth"));
}
