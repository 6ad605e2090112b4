use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Validation, decode};
use rstest::rstest;
use serde_json::{Value, json};

use super::super::keys::SigningAlg;
use super::super::testing::{Reply, Seen, Server, assert_tells_nothing_of, http, nobody, patient};
use super::*;

const ID: &str = "client:1 é+%";
const SECRET: &str = "s+%:é &=/?~*-_.hush";

fn endpoints(server: &Server) -> ProbeEndpoints {
    ProbeEndpoints {
        token_endpoint: server.url("/token"),
        revocation_endpoint: Some(server.url("/revoke")),
        introspection_endpoint: Some(server.url("/introspect")),
        issuer: server.origin.clone(),
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn basic_credential() -> Credential {
    Credential::ClientSecretBasic { client_id: ID.into(), client_secret: SECRET.into() }
}

/// What a conforming server reads in a Basic header.
fn decoded(seen: &Seen) -> Option<(String, String)> {
    let pair = STANDARD.decode(seen.header("authorization")?.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let plain =
        |text: &str| form_urlencoded::parse(format!("x={text}").as_bytes()).next().map(|(_, value)| value.into_owned());
    Some((plain(id)?, plain(secret)?))
}

/// A server that authenticates first, as Hydra, Keycloak and oidc-provider do.
async fn authenticating(jwk: Option<Value>) -> Server {
    Server::start(move |seen| {
        let origin = format!("http://{}", seen.header("host").unwrap());
        let known = match (decoded(seen), seen.form("client_secret"), seen.form("client_assertion")) {
            (Some((id, secret)), None, None) => id == ID && secret == SECRET,
            (None, Some(secret), None) => secret == SECRET && seen.form("client_id").unwrap() == ID,
            (None, None, Some(assertion)) => {
                assert_eq!(seen.form("client_assertion_type").as_deref(), Some(ASSERTION_TYPE));
                let jwk: Jwk = serde_json::from_value(jwk.clone().unwrap()).unwrap();
                let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
                validation.validate_exp = false;
                validation.set_audience(&[format!("{origin}/token")]);
                validation.sub = Some(ID.into());
                decode::<Value>(&assertion, &DecodingKey::from_jwk(&jwk).unwrap(), &validation).is_ok()
            }
            (None, None, None) => seen.form("client_id").as_deref() == Some(ID),
            other => panic!("two ways at once: {other:?}"),
        };
        if !known {
            return Reply::json(401, &json!({ "error": "invalid_client", "error_description": "no" }));
        }
        match seen.path.as_str() {
            "/revoke" => {
                assert!(seen.form("token").unwrap().len() > 40);
                Reply::empty(200)
            }
            "/introspect" => {
                assert!(seen.form("token").unwrap().len() > 40);
                Reply::json(200, &json!({ "active": false }))
            }
            "/token" => {
                assert_eq!(seen.form("grant_type").as_deref(), Some("authorization_code"));
                assert!(seen.form("code").unwrap().len() > 40 && seen.form("redirect_uri").is_some());
                Reply::json(400, &json!({ "error": "invalid_grant" }))
            }
            path => panic!("{path}"),
        }
    })
    .await
}

#[rstest]
#[case(ProbeMethod::Revocation, 200, None)]
#[case(ProbeMethod::Introspection, 200, None)]
#[case(ProbeMethod::AuthorizationCode, 400, Some("invalid_grant"))]
#[tokio::test]
async fn each_kind_of_credential_by_each_method(
    #[case] method: ProbeMethod,
    #[case] status: u16,
    #[case] error: Option<&str>,
) {
    let key = ClientKey::generate(SigningAlg::Es256).unwrap();
    let server = authenticating(Some(key.public_jwk.clone())).await;
    let (http, endpoints) = (http(&patient()), endpoints(&server));
    let credentials = [
        basic_credential(),
        Credential::ClientSecretPost { client_id: ID.into(), client_secret: SECRET.into() },
        Credential::PrivateKeyJwt { client_id: ID.into(), key, audience: Audience::TokenEndpoint },
        Credential::Public { client_id: ID.into() },
    ];
    for credential in credentials {
        let answer = probe(&http, &endpoints, method, &credential, now()).await.unwrap();
        assert_eq!(answer, ProbeAnswer { method, status, error: error.map(Into::into) }, "{credential:?}");

        let control = probe(&http, &endpoints, method, &credential.never_existed(), now()).await.unwrap();
        assert_eq!(
            control,
            ProbeAnswer { method, status: 401, error: Some("invalid_client".into()) },
            "{credential:?}"
        );
    }
    assert!(server.seen().iter().all(|seen| seen.header("content-type") == Some("application/x-www-form-urlencoded")));
}

#[tokio::test]
async fn basic_is_form_encoded_first() {
    let server = authenticating(None).await;
    probe(&http(&patient()), &endpoints(&server), ProbeMethod::Revocation, &basic_credential(), now()).await.unwrap();
    let header = server.only().header("authorization").unwrap().to_owned();
    let pair = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
    assert_eq!(String::from_utf8(pair).unwrap(), "client%3A1+%C3%A9%2B%25:s%2B%25%3A%C3%A9+%26%3D%2F%3F%7E*-_.hush");
}

#[rstest]
#[case(Audience::TokenEndpoint, "/token")]
#[case(Audience::Issuer, "")]
#[tokio::test]
async fn whom_assertions_are_for(#[case] audience: Audience, #[case] path: &str) {
    let server = Server::always(Reply::empty(200)).await;
    let credential = Credential::PrivateKeyJwt {
        client_id: ID.into(),
        key: ClientKey::generate(SigningAlg::Es256).unwrap(),
        audience,
    };
    probe(&http(&patient()), &endpoints(&server), ProbeMethod::Revocation, &credential, now()).await.unwrap();
    let assertion = server.only().form("client_assertion").unwrap();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(claims["aud"], server.url(path));
    assert_eq!(claims["iat"], 1_800_000_000);
    assert_eq!(server.only().form("client_id"), None, "the assertion says who it is");
}

#[tokio::test]
async fn tokens_are_made_up_anew_each_time() {
    let server = Server::always(Reply::empty(200)).await;
    let (http, endpoints) = (http(&patient()), endpoints(&server));
    for _ in 0..2 {
        probe(&http, &endpoints, ProbeMethod::Revocation, &basic_credential(), now()).await.unwrap();
    }
    let seen = server.seen();
    assert_ne!(seen[0].form("token"), seen[1].form("token"));
}

#[rstest]
#[case::hydra(ProbeMethod::Revocation, Reply::empty(200), 200, None)]
#[case::oidc_provider(ProbeMethod::Revocation, Reply::typed(200, "text/plain; charset=utf-8", ""), 200, None)]
#[case::keycloak_to_garbage(ProbeMethod::Revocation, Reply::json(200, &json!({"error": "invalid_token"})), 200, None)]
#[case::keycloak_wrong_secret(
    ProbeMethod::Revocation, Reply::json(401, &json!({"error": "unauthorized_client"})), 401, Some("unauthorized_client"))]
#[case::hydra_deleted(
    ProbeMethod::Revocation,
    Reply::typed(401, "application/json;charset=UTF-8", r#"{"error":"invalid_client","error_description":"x"}"#),
    401,
    Some("invalid_client")
)]
#[case::keycloak_code(ProbeMethod::AuthorizationCode, Reply::json(400, &json!({"error": "invalid_grant"})), 400, Some("invalid_grant"))]
#[case::hydra_code(ProbeMethod::AuthorizationCode, Reply::json(400, &json!({"error": "unauthorized_client"})), 400, Some("unauthorized_client"))]
#[case::oidc_provider_code(ProbeMethod::AuthorizationCode, Reply::json(400, &json!({"error": "invalid_request"})), 400, Some("invalid_request"))]
#[tokio::test]
async fn answers_that_count(
    #[case] method: ProbeMethod,
    #[case] reply: Reply,
    #[case] status: u16,
    #[case] error: Option<&str>,
) {
    let server = Server::always(reply).await;
    let answer = probe(&http(&patient()), &endpoints(&server), method, &basic_credential(), now()).await.unwrap();
    assert_eq!(answer, ProbeAnswer { method, status, error: error.map(Into::into) });
}

#[rstest]
#[case::too_many(ProbeMethod::Revocation, Reply::json(429, &json!({"error": "invalid_client"})))]
#[case::failed(ProbeMethod::Revocation, Reply::json(500, &json!({"error": "invalid_client"})))]
#[case::unavailable(ProbeMethod::Revocation, Reply::empty(503))]
#[case::redirect(ProbeMethod::Revocation, Reply::empty(302).header("location", "/login"))]
#[case::log_in_page(ProbeMethod::Revocation, Reply::typed(200, "text/html", "<html>"))]
#[case::untyped_page(ProbeMethod::Revocation, Reply::Whole(200, vec![], "<!DOCTYPE html>".into()))]
#[case::cut_off(ProbeMethod::Revocation, Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".into()))]
#[case::no_content(ProbeMethod::Revocation, Reply::empty(204))]
#[case::page(ProbeMethod::Revocation, Reply::typed(401, "text/html", "<html>"))]
#[case::plain(ProbeMethod::Revocation, Reply::typed(401, "text/plain", r#"{"error":"invalid_client"}"#))]
#[case::empty(ProbeMethod::Revocation, Reply::empty(401))]
#[case::gateway(ProbeMethod::Revocation, Reply::json(401, &json!({"error": "Unauthorized"})))]
#[case::gateway_without_capital(ProbeMethod::Revocation, Reply::json(401, &json!({"error": "unauthorized"})))]
#[case::gateway_message(ProbeMethod::Revocation, Reply::json(401, &json!({"message": "No API key found in request"})))]
#[case::sentence(ProbeMethod::Revocation, Reply::json(401, &json!({"error": "The request could not be authorized"})))]
#[case::server_error(ProbeMethod::Revocation, Reply::json(400, &json!({"error": "server_error"})))]
#[case::no_string(ProbeMethod::Revocation, Reply::json(400, &json!({"error": {"code": 400}})))]
#[case::forbidden(ProbeMethod::Revocation, Reply::json(403, &json!({"error": "access_denied"})))]
#[case::not_found(ProbeMethod::Revocation, Reply::json(404, &json!({"error": "invalid_request"})))]
#[case::closed(ProbeMethod::Revocation, Reply::closed())]
#[case::introspection_without_active(ProbeMethod::Introspection, Reply::json(200, &json!({})))]
#[case::introspection_text(ProbeMethod::Introspection, Reply::typed(200, "text/plain", r#"{"active":false}"#))]
#[case::a_token(ProbeMethod::AuthorizationCode, Reply::json(200, &json!({"access_token": "hush"})))]
#[tokio::test]
async fn answers_that_prove_nothing(#[case] method: ProbeMethod, #[case] reply: Reply) {
    let turned_away = format!("{reply:?}").contains("429");
    let server = Server::always(reply).await;
    let error = probe(&http(&patient()), &endpoints(&server), method, &basic_credential(), now()).await.unwrap_err();
    assert_eq!(error.taken, !turned_away, "{error:?}");
    assert_tells_nothing_of(&error, &["hush", SECRET, ID]);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn nobody_to_ask() {
    let server = Server::always(Reply::empty(200)).await;
    let endpoints =
        ProbeEndpoints { introspection_endpoint: None, revocation_endpoint: Some(nobody()), ..endpoints(&server) };
    for method in [ProbeMethod::Introspection, ProbeMethod::Revocation] {
        let error = probe(&http(&patient()), &endpoints, method, &basic_credential(), now()).await.unwrap_err();
        assert!(!error.taken, "{error:?}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn no_credential_is_printed() {
    let key = ClientKey::generate(SigningAlg::Es256).unwrap();
    let printed = format!(
        "{:?} {:?}",
        basic_credential(),
        Credential::PrivateKeyJwt { client_id: ID.into(), key, audience: Audience::Issuer }
    );
    assert!(!printed.contains("hush") && !printed.contains("BEGIN"), "{printed}");
}

#[rstest]
#[case::uuid("0b9f9c2e-77a1-4c58-9f0b-2d6f4f8e1a3c")]
#[case::nanoid("V1StGXR8_Z5jdHi6B-myT")]
#[case::short("app1")]
#[case::number("12345678901234567890123456")]
#[case::empty("")]
fn made_up_names_look_alike_and_are_nobodys(#[case] name: &str) {
    let made = [random_like(name), random_like(name)];
    assert_ne!(made[0], made[1]);
    for made in made {
        assert_ne!(made, name);
        assert!(made.chars().filter(char::is_ascii_alphanumeric).count() >= FEWEST_RANDOM, "{made}");
        for (a, b) in name.chars().zip(made.chars()) {
            assert_eq!(a.is_ascii_alphanumeric(), b.is_ascii_alphanumeric(), "{name} {made}");
            assert!(a.is_ascii_alphanumeric() || a == b);
            assert_eq!(a.is_ascii_uppercase(), b.is_ascii_uppercase());
        }
        if name.len() == 36 {
            assert_eq!((made.len(), &made[14..15], &made[19..20]), (36, "4", "9"));
            assert!(made.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-')));
        }
    }
}

#[test]
fn a_control_has_nothing_of_the_client() {
    let live = Credential::PrivateKeyJwt {
        client_id: "0b9f9c2e-77a1-4c58-9f0b-2d6f4f8e1a3c".into(),
        key: ClientKey::generate(SigningAlg::Rs256).unwrap(),
        audience: Audience::Issuer,
    };
    let (Credential::PrivateKeyJwt { key: old, .. }, Credential::PrivateKeyJwt { key, audience, client_id }) =
        (&live, live.never_existed())
    else {
        panic!()
    };
    assert_ne!(key.key_id, old.key_id);
    assert_eq!((key.alg, audience), (SigningAlg::Rs256, Audience::Issuer));
    assert_ne!(client_id, live.client_id());

    let Credential::ClientSecretBasic { client_secret, .. } = basic_credential().never_existed() else { panic!() };
    assert_ne!(client_secret.expose_secret(), SECRET);
}

#[test]
fn names_of_methods() {
    for method in ProbeMethod::ALL {
        assert_eq!(ProbeMethod::parse(method.as_str()), Some(method));
        assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        assert_eq!(method.to_string(), method.as_str());
    }
}
