//! What is refused, and with which words.

use serde_json::json;

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![refusals_say_why,];

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
