//! Authorization servers: held while clients live, down, and back.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![server_is_held_while_clients_live, a_server_that_is_down_is_a_debt,];

fn server_is_held_while_clients_live(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "authorizationserver", &w.namespace, "--wait=false"]);
    w.kubectl(&["delete", "oauthclient/c", "--timeout=60s"]);
    assert!(w.live().is_empty());
    w.wait_gone(&format!("authorizationserver/{}", w.namespace));
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
