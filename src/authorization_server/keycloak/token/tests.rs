use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rstest::rstest;
use serde_json::json;

use super::super::super::keys::SigningAlg;
use super::super::super::testing::{Reply, Server, assert_tells_nothing_of, http, patient};
use super::*;

const SECRET: &str = "operator-secret+%1";

fn tokens(server: &Server) -> Tokens {
    let credential = AdminCredential::ClientSecret { client_id: "operator".into(), secret: SECRET.into() };
    Tokens::new(server.url("/token"), "https://sso.corp.example/realms/corp".into(), credential)
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A different token to each request.
async fn counting() -> Server {
    let count = std::sync::atomic::AtomicU32::new(0);
    Server::start(move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Reply::json(200, &json!({ "access_token": format!("token-{n}"), "expires_in": 60 }))
    })
    .await
}

#[tokio::test]
async fn one_token_serves_many_calls() {
    let server = counting().await;
    let (tokens, http) = (tokens(&server), http(&patient()));
    let all = futures::future::join_all((0..8).map(|_| tokens.get(&http, now(), None))).await;
    assert!(all.iter().all(|t| t.as_ref().unwrap().expose_secret() == "token-0"));
    let seen = server.only();
    assert_eq!(seen.form("grant_type").as_deref(), Some("client_credentials"));
    let expected = format!("Basic {}", STANDARD.encode("operator:operator-secret%2B%251"));
    assert_eq!(seen.header("authorization"), Some(expected.as_str()), "form-encoded, or it is another secret");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_for_all() {
    let server = counting().await;
    let (tokens, http) = (tokens(&server), http(&patient()));
    let first = tokens.get(&http, now(), None).await.unwrap();
    // Two calls were told 401 to the same token: the second one takes what the first one got.
    for _ in 0..2 {
        let next = tokens.get(&http, now(), Some(&first)).await.unwrap();
        assert_eq!(next.expose_secret(), "token-1");
    }
    assert_eq!(server.seen().len(), 2);
}

#[rstest]
#[case(json!(60), 40)]
#[case(json!(300), 280)]
#[case(json!(20), 10)]
#[case(json!(0), 0)]
#[case(json!(null), 15)]
#[case(json!("60"), 15)]
#[case(json!(864_000), 3580)]
fn used_for_most_of_its_life(#[case] expires_in: Value, #[case] seconds: u64) {
    assert_eq!(useful_for(&expires_in), Duration::from_secs(seconds));
}

#[tokio::test]
async fn a_token_near_its_end_is_replaced() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let server = Server::start(move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Reply::json(200, &json!({ "access_token": format!("token-{n}"), "expires_in": 0 }))
    })
    .await;
    let (tokens, http) = (tokens(&server), http(&patient()));
    for expected in ["token-0", "token-1"] {
        assert_eq!(tokens.get(&http, now(), None).await.unwrap().expose_secret(), expected);
    }
}

#[tokio::test]
async fn assertions_are_for_the_issuer_alone() {
    let server = counting().await;
    let key = ClientKey::generate(SigningAlg::Es256).unwrap();
    let credential = AdminCredential::PrivateKeyJwt { client_id: "operator".into(), key: key.private_key_pem };
    let tokens = Tokens { credential, ..tokens(&server) };
    tokens.get(&http(&patient()), now(), None).await.unwrap();
    let seen = server.only();
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.form("client_assertion_type").as_deref(), Some(ASSERTION_TYPE));
    let assertion = seen.form("client_assertion").unwrap();
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!("https://sso.corp.example/realms/corp"), &json!("operator")));
}

/// Its public key was registered under another name: without one it is found (recorded), and so from then on.
#[tokio::test]
async fn a_key_whose_name_is_refused_is_not_named() {
    let named = |assertion: &str| {
        let header = URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&header).unwrap().get("kid").is_some()
    };
    let server = Server::start(move |seen| {
        let told = json!({ "error": "invalid_client", "error_description": "Unable to load public key" });
        if named(&seen.form("client_assertion").unwrap()) {
            return Reply::json(400, &told);
        }
        Reply::json(200, &json!({ "access_token": "token", "expires_in": 0 }))
    })
    .await;
    let key = ClientKey::generate(SigningAlg::Es256).unwrap();
    let credential = AdminCredential::PrivateKeyJwt { client_id: "operator".into(), key: key.private_key_pem };
    let tokens = Tokens { credential, ..tokens(&server) };
    for _ in 0..2 {
        tokens.get(&http(&patient()), now(), None).await.unwrap();
    }
    let asked: Vec<bool> = server.seen().iter().map(|s| named(&s.form("client_assertion").unwrap())).collect();
    assert_eq!(asked, [true, false, false]);
}

/// Wrong secret, unknown or disabled client, unknown key, no service account: as recorded.
#[rstest]
#[case(401, "unauthorized_client")]
#[case(401, "invalid_client")]
#[case(400, "invalid_client")]
#[case(403, "access_denied")]
#[tokio::test]
async fn a_refused_credential_is_not_tried_by_every_call(#[case] status: u16, #[case] error: &str) {
    let told = json!({ "error": error, "error_description": format!("{SECRET} is wrong") });
    let server = Server::always(Reply::json(status, &told)).await;
    let (tokens, http) = (tokens(&server), http(&patient()));
    for _ in 0..5 {
        let error = tokens.get(&http, now(), None).await.unwrap_err();
        assert!(matches!(error, CallError::Inconclusive { may_have_acted: false, .. }), "{error:?}");
        assert!(error.to_string().contains("operator's credential"), "{error}");
        assert_tells_nothing_of(&error, &[SECRET]);
    }
    server.only();
}

#[rstest]
#[case::failed(Reply::empty(500))]
#[case::no_realm(Reply::json(404, &json!({ "error": "Realm does not exist" })))]
#[case::page(Reply::typed(200, "text/html", "<html>"))]
#[case::no_token(Reply::json(200, &json!({ "token_type": "Bearer" })))]
#[case::odd_token(Reply::json(200, &json!({ "access_token": "a\r\nx: 1" })))]
#[case::closed(Reply::closed())]
#[tokio::test]
async fn what_is_no_answer_is_asked_again(#[case] reply: Reply) {
    let server = Server::always(reply).await;
    let (tokens, http) = (tokens(&server), http(&patient()));
    for _ in 0..2 {
        let error = tokens.get(&http, now(), None).await.unwrap_err();
        assert!(matches!(error, CallError::Inconclusive { may_have_acted: false, .. }), "{error:?}");
    }
    assert_eq!(server.seen().len(), 2);
}
