use rstest::rstest;
use serde_json::json;

use super::super::testing::{Reply, Server, http, nobody, patient};
use super::*;

/// RFC 8037 appendix A.2, and its thumbprint.
const KEY_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const KEY_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

/// Serves a document for an issuer at one address, keys at `/keys`, and nothing else.
async fn serving(
    address: &'static str,
    issuer: &'static str,
    document: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Server {
    Server::start(move |seen| {
        let origin = format!("http://{}", seen.header("host").unwrap());
        match seen.path.as_str() {
            "/keys" => {
                Reply::json(200, &json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": KEY_X }, { "kty": "oct" }] }))
            }
            path if path == address => {
                let mut it = json!({
                    "issuer": format!("{origin}{issuer}"),
                    "token_endpoint": format!("{origin}/token"),
                    "registration_endpoint": format!("{origin}/reg"),
                    "revocation_endpoint": format!("{origin}/revoke"),
                    "jwks_uri": format!("{origin}/keys"),
                    "grant_types_supported": ["client_credentials", 7, "a b", ""],
                    "scopes_supported": ["openid"],
                    "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
                });
                document(&mut it);
                Reply::json(200, &it)
            }
            _ => Reply::typed(404, "text/plain", "Not Found"),
        }
    })
    .await
}

fn paths(server: &Server) -> Vec<String> {
    server.seen().into_iter().map(|seen| seen.path).collect()
}

#[rstest]
#[case::oidc("/.well-known/openid-configuration", "", 2)]
#[case::oidc_slash("/.well-known/openid-configuration", "/", 2)]
#[case::oidc_path("/realms/a/.well-known/openid-configuration", "/realms/a", 2)]
#[case::oidc_path_slash("/realms/a/.well-known/openid-configuration", "/realms/a/", 2)]
#[case::rfc8414("/.well-known/oauth-authorization-server", "", 3)]
#[case::rfc8414_path("/.well-known/oauth-authorization-server/realms/a", "/realms/a", 3)]
#[case::rfc8414_path_slash("/.well-known/oauth-authorization-server/realms/a", "/realms/a/", 3)]
#[tokio::test]
async fn both_forms(#[case] address: &'static str, #[case] issuer: &'static str, #[case] requests: usize) {
    let server = serving(address, issuer, |_| ()).await;
    let issuer = server.url(issuer);
    let metadata = discover(&http(&patient()), &issuer).await.unwrap();
    assert_eq!(
        metadata,
        ServerMetadata {
            issuer,
            token_endpoint: server.url("/token"),
            registration_endpoint: Some(server.url("/reg")),
            revocation_endpoint: Some(server.url("/revoke")),
            introspection_endpoint: None,
            jwks_uri: Some(server.url("/keys")),
            token_endpoint_auth_methods_supported: vec![],
            grant_types_supported: vec!["client_credentials".into()],
            key_thumbprints: vec![KEY_THUMBPRINT.into()],
        }
    );
    assert_eq!(server.seen().len(), requests, "{:?}", paths(&server));
    let again: ServerMetadata = serde_json::from_value(serde_json::to_value(&metadata).unwrap()).unwrap();
    assert_eq!(again, metadata);
}

#[rstest]
#[case::slash_more("/realms/a/", "/realms/a")]
#[case::slash_less("/realms/a", "/realms/a/")]
#[case::one_letter("/realms/A", "/realms/a")]
#[case::escaped("/realms/%61", "/realms/a")]
#[case::another("/realms/b", "/realms/a")]
#[tokio::test]
async fn another_issuer_by_one_character(#[case] served: &'static str, #[case] asked: &str) {
    for address in ["/realms/a/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/a"] {
        let server = serving(address, served, |_| ()).await;
        let error = discover(&http(&patient()), &server.url(asked)).await.unwrap_err();
        assert_eq!(error, DiscoveryError::IssuerMismatch { found: server.url(served) });
        assert_eq!(error.reason(), "IssuerMismatch");
    }
}

#[tokio::test]
async fn the_other_form_is_asked_when_the_first_is_anothers() {
    let server = Server::start(|seen| {
        let origin = format!("http://{}", seen.header("host").unwrap());
        let document =
            |issuer: &str| Reply::json(200, &json!({ "issuer": issuer, "token_endpoint": format!("{origin}/token") }));
        match seen.path.as_str() {
            "/a/.well-known/openid-configuration" => document("https://front.example/a"),
            "/.well-known/oauth-authorization-server/a" => document(&format!("{origin}/a")),
            _ => Reply::empty(404),
        }
    })
    .await;
    let metadata = discover(&http(&patient()), &server.url("/a")).await.unwrap();
    assert_eq!((metadata.jwks_uri, metadata.key_thumbprints), (None, vec![]));
}

#[rstest]
#[case("token_endpoint", json!(null), "names no token_endpoint")]
#[case("token_endpoint", json!(["x"]), "token_endpoint is not a string")]
#[case("token_endpoint", json!("/token"), "token_endpoint cannot be used: the URL is not absolute")]
#[case("registration_endpoint", json!("ftp://x/reg"), "registration_endpoint cannot be used: the URL is not https")]
#[case("revocation_endpoint", json!("https://u:p@x/revoke"), "revocation_endpoint cannot be used: the URL holds user information")]
#[case("jwks_uri", json!("https://x/#y"), "jwks_uri cannot be used: the URL has a fragment")]
#[case("issuer", json!(null), "names no issuer")]
#[tokio::test]
async fn documents_that_cannot_be_used(#[case] name: &'static str, #[case] value: Value, #[case] what: &str) {
    let server = serving("/.well-known/openid-configuration", "", move |document| document[name] = value.clone()).await;
    let error = discover(&http(&patient()), &server.origin).await.unwrap_err();
    assert!(matches!(&error, DiscoveryError::Invalid { why } if why.contains(what)), "{error:?}");
    assert_eq!(error.reason(), "MetadataInvalid");
}

#[rstest]
#[case::absent(Reply::empty(404), "MetadataNotFound")]
#[case::forbidden(Reply::empty(403), "MetadataNotFound")]
#[case::a_page(Reply::typed(200, "text/html", "<html>"), "MetadataInvalid")]
#[case::a_list(Reply::json(200, &json!([])), "MetadataInvalid")]
#[case::endless(Reply::Endless("HTTP/1.1 200 OK\r\n\r\n".into()), "MetadataInvalid")]
#[case::redirect(Reply::empty(301).header("location", "https://x/"), "MetadataInvalid")]
#[case::failed(Reply::empty(500), "Unreachable")]
#[case::unavailable(Reply::empty(503), "Unreachable")]
#[case::too_many(Reply::empty(429), "Unreachable")]
#[case::closed(Reply::closed(), "Unreachable")]
#[tokio::test]
async fn no_document(#[case] reply: Reply, #[case] reason: &str) {
    let server = Server::always(reply).await;
    let error = discover(&http(&patient()), &server.origin).await.unwrap_err();
    assert_eq!(error.reason(), reason, "{error:?}");
    // What may be better soon is not asked in another way at once.
    assert_eq!(server.seen().len(), if reason == "Unreachable" { 1 } else { 2 });
}

#[tokio::test]
async fn nobody_there() {
    let error = discover(&http(&patient()), &nobody()).await.unwrap_err();
    assert_eq!(error.reason(), "Unreachable", "{error:?}");
}

#[rstest]
#[case("not a url")]
#[case("https://sso.example/?realm=a")]
#[case("https://sso.example/#a")]
#[case("https://user@sso.example/")]
#[tokio::test]
async fn issuers_that_cannot_be(#[case] issuer: &str) {
    let error = discover(&http(&patient()), issuer).await.unwrap_err();
    assert!(
        matches!(&error, DiscoveryError::Invalid { why } if why.contains("the issuer cannot be used")),
        "{error:?}"
    );
}

#[rstest]
#[case(Reply::empty(500))]
#[case(Reply::typed(200, "application/json", "{"))]
#[case(Reply::json(200, &json!({ "keys": 7 })))]
#[tokio::test]
async fn keys_that_cannot_be_read_are_no_error(#[case] reply: Reply) {
    let server = Server::start(move |seen| {
        let origin = format!("http://{}", seen.header("host").unwrap());
        match seen.path.as_str() {
            "/keys" => reply.clone(),
            _ => Reply::json(200, &json!({ "issuer": origin, "token_endpoint": format!("{origin}/t"), "jwks_uri": format!("{origin}/keys") })),
        }
    })
    .await;
    let metadata = discover(&http(&patient()), &server.origin).await.unwrap();
    assert!(metadata.key_thumbprints.is_empty());
}
