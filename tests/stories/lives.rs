//! The whole life of a client of each authentication method.

use serde_json::json;

use super::client;
use crate::support::World;
use crate::support::admin::{AdminServer, TOKEN_LIFETIME};

pub fn whole_life(w: &World, server: &dyn AdminServer) {
    let before = server.client_ids();
    let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
    for method in methods {
        let name = method.replace('_', "-");
        let mut members = json!({"tokenEndpointAuthMethod": method});
        if method == "none" {
            members["grantTypes"] = json!(["authorization_code"]);
            members["redirectUris"] = json!(["https://app.corp.example/cb"]);
        }
        client(w, server, &name, &members);
    }
    for method in methods {
        w.wait(&format!("oauthclient/{}", method.replace('_', "-")), "condition=Ready");
    }
    assert_eq!(server.clients().len(), before.len() + methods.len());
    for method in &methods[..3] {
        let token = w.token(&format!("{}-oauth", method.replace('_', "-"))).expect(method);
        let says = server.introspect(&token);
        assert_eq!(
            (&says["active"], &says["client_id"]),
            (&json!(true), &json!(w.client_id(&method.replace('_', "-"))))
        );
        let second = |key: &str| says[key].as_u64().expect("a time");
        let lives = second("exp") - second("iat");
        assert!(lives.abs_diff(TOKEN_LIFETIME) <= 2, "a token lives as long as the AuthorizationServer says: {says}");
    }
    let id = w.client_id("client-secret-basic");
    w.patch("oauthclient/client-secret-basic", &json!({"spec": {"scopes": ["reports.write"]}}));
    w.until("the server has the new scope and not the old one", || server.scopes(&id) == ["reports.write"]);
    w.until("the Secret names the new scope", || {
        w.secret("client-secret-basic-oauth").get("scopes").is_some_and(|s| s == "reports.write")
    });
    w.token("client-secret-basic-oauth").expect("a token for the new scope");
    let secret = w.secret("client-secret-basic-oauth");
    w.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    assert_eq!(server.client_ids(), before);
    assert!(w.token_with(&secret).is_err());
    for method in methods {
        let entry = w.entry(&method.replace('_', "-"));
        assert_eq!(entry["status"]["evidence"]["level"], "Proven", "{method}: {entry:#}");
    }
}
