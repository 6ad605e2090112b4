//! The tenant's Secret.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![lost_or_altered_secret_is_put_back, foreign_secret_is_left_alone,];

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
