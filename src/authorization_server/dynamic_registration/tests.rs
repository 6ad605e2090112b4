use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::super::testing::{self, Reply, Seen, Server, assert_tells_nothing_of, http, impatient, nobody, patient};
use super::*;

const INITIAL: &str = "initial-access-token-0001";
const TOKEN: &str = "registration-access-token-0001";
const SECRET: &str = "client-secret-0001";

fn metadata() -> ClientMetadata {
    ClientMetadata {
        client_name: "oauthclient-operator 7f3a oac-0001".into(),
        scopes: vec!["reports.read".into(), "reports.write".into()],
        purpose: "Reports".into(),
        ..testing::metadata()
    }
}

fn backend(server: &Server) -> DynamicRegistration {
    DynamicRegistration {
        http: http(&patient()),
        registration_endpoint: server.url("/reg"),
        initial_access_token: Some(INITIAL.into()),
        software_statement: None,
    }
}

fn managed_at(client_uri: String) -> Management {
    let access = RegistrationAccess { client_uri, access_token: TOKEN.into() };
    Management { client_id: "client-1".into(), registration: Some(access) }
}

fn registration(management: &Management) -> &RegistrationAccess {
    management.registration.as_ref().unwrap()
}

fn management(server: &Server) -> Management {
    managed_at(server.url("/reg/client-1"))
}

/// The origin that a request came to.
fn origin(seen: &Seen) -> String {
    format!("http://{}", seen.header("host").unwrap())
}

/// A usable answer, changed by the test.
async fn answering(change: impl Fn(&mut Value, &str) + Send + Sync + 'static) -> Server {
    Server::start(move |seen| {
        let mut answer = json!({
            "client_id": "client-1", "client_secret": SECRET, "client_secret_expires_at": 0, "scope": "reports.read",
            "registration_access_token": TOKEN, "registration_client_uri": format!("{}/reg/client-1", origin(seen)),
        });
        change(&mut answer, &origin(seen));
        Reply::json(201, &answer)
    })
    .await
}

fn exposed(secret: &SecretString) -> &str {
    secret.expose_secret()
}

#[tokio::test]
async fn what_a_registration_asks_for() {
    let server = answering(|_, _| ()).await;
    backend(&server).register(&metadata(), None).await.unwrap();
    let seen = server.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/reg"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {INITIAL}").as_str()));
    assert_eq!(
        seen.json(),
        json!({
            "client_name": "oauthclient-operator 7f3a oac-0001",
            "scope": "reports.read reports.write",
            "grant_types": ["client_credentials"],
            "response_types": [],
            "redirect_uris": [],
            "token_endpoint_auth_method": "client_secret_basic",
            "contacts": ["data@corp.example"],
        })
    );
}

#[tokio::test]
async fn what_a_registration_with_everything_asks_for() {
    let server = answering(|_, _| ()).await;
    let jwks = json!({ "keys": [{ "kty": "EC" }] });
    let metadata = ClientMetadata {
        grant_types: vec!["authorization_code".into(), "refresh_token".into()],
        redirect_uris: vec!["https://app.example/cb".into()],
        audiences: vec![],
        token_endpoint_auth_method: "private_key_jwt".into(),
        token_endpoint_auth_signing_alg: Some("ES256".into()),
        jwks: Some(jwks.clone()),
        owner_email: String::new(),
        ..metadata()
    };
    let backend = DynamicRegistration {
        initial_access_token: None,
        software_statement: Some("a.b.c".into()),
        ..backend(&server)
    };
    backend.register(&metadata, None).await.unwrap();
    let seen = server.only();
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(
        seen.json(),
        json!({
            "client_name": "oauthclient-operator 7f3a oac-0001",
            "scope": "reports.read reports.write",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "redirect_uris": ["https://app.example/cb"],
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks": jwks,
            "software_statement": "a.b.c",
        })
    );
}

#[rstest]
#[case(json!(0), None)]
#[case(json!(null), None)]
#[case(json!("soon"), None)]
#[case(json!(-1), None)]
#[case(json!(1_900_000_000), Some(1_900_000_000))]
#[case(json!(1.9e9), Some(1_900_000_000))]
#[case(json!("1900000000"), Some(1_900_000_000))]
#[case(json!(1e300), None)]
#[case(json!(u64::MAX), None)]
#[tokio::test]
async fn when_a_secret_expires(#[case] value: Value, #[case] seconds: Option<i64>) {
    let server = answering(move |answer, _| answer["client_secret_expires_at"] = value.clone()).await;
    let registered = backend(&server).register(&metadata(), None).await.unwrap();
    assert_eq!(registered.client_secret_expires_at.map(|at| at.timestamp()), seconds);
}

#[rstest]
#[case::as_the_rfc_has_it("scope", json!("a b  c"), Some(vec!["a", "b", "c"]))]
#[case::nothing("scope", json!(""), Some(vec![]))]
#[case::a_list("scope", json!(["a", "admin"]), Some(vec!["a", "admin"]))]
#[case::not_said("scope", json!(null), None)]
#[case::nonsense("scope", json!({"a": 1}), None)]
#[tokio::test]
async fn scopes_granted(#[case] name: &'static str, #[case] value: Value, #[case] expected: Option<Vec<&'static str>>) {
    let server = answering(move |answer, _| answer[name] = value.clone()).await;
    let registered = backend(&server).register(&metadata(), None).await.unwrap();
    assert_eq!(registered.granted.scopes, expected.map(|list| list.into_iter().map(String::from).collect()));
}

#[tokio::test]
async fn two_hundred_is_tolerated() {
    let server = Server::start(|seen| {
        Reply::typed(200, "text/plain", &json!({
            "client_id": "c", "registration_access_token": TOKEN, "registration_client_uri": format!("{}/reg?client_id=c", origin(seen)),
        }).to_string())
    })
    .await;
    let registered = backend(&server).register(&metadata(), None).await.unwrap();
    assert_eq!(registered.status, 200);
    assert!(registered.client_secret.is_none());
    assert_eq!(registration(&registered.management).client_uri, server.url("/reg?client_id=c"));
}

#[rstest]
#[case::no_id("client_id", json!(null), None)]
#[case::empty_id("client_id", json!(""), None)]
#[case::numeric_id("client_id", json!(17), None)]
#[case::control_in_id("client_id", json!("client\n1"), None)]
#[case::no_ascii_id("client_id", json!("clïent"), None)]
#[case::long_id("client_id", json!("c".repeat(513)), None)]
#[case::no_token("registration_access_token", json!(null), Some("client-1"))]
#[case::empty_token("registration_access_token", json!(""), Some("client-1"))]
#[case::odd_token("registration_access_token", json!("a\r\nx-injected: 1"), Some("client-1"))]
#[case::list_token("registration_access_token", json!(["a"]), Some("client-1"))]
#[case::no_uri("registration_client_uri", json!(null), Some("client-1"))]
#[case::empty_uri("registration_client_uri", json!(""), Some("client-1"))]
#[tokio::test]
async fn a_client_without_what_managing_takes(
    #[case] name: &'static str,
    #[case] value: Value,
    #[case] id: Option<&str>,
) {
    let server = answering(move |answer, _| answer[name] = value.clone()).await;
    let error = backend(&server).register(&metadata(), None).await.unwrap_err();
    let RegisterError::Unmanageable { why, client_id } = &error else { panic!("{error:?}") };
    assert_eq!(client_id.as_deref(), id);
    assert!(why.contains(name) && why.contains("/reg: "), "{why}");
    assert_tells_nothing_of(&error, &[INITIAL, TOKEN, SECRET, "injected"]);
}

#[rstest]
#[case::other_host("https://evil.example/reg/client-1", "another scheme, host or port")]
#[case::other_scheme("https://ORIGIN/reg/client-1", "another scheme, host or port")]
#[case::other_port("http://127.0.0.1:1/reg/client-1", "another scheme, host or port")]
#[case::other_name("http://localhost:PORT/reg/client-1", "another scheme, host or port")]
#[case::host_as_prefix("http://ORIGIN.evil.example/reg/client-1", "no absolute URL")]
#[case::user_info("http://ORIGIN@evil.example/reg/client-1", "user information")]
#[case::own_user_info("http://user:pass@ORIGIN/reg/client-1", "user information")]
#[case::fragment("http://ORIGIN/reg/client-1#x", "no fragment")]
#[case::relative("/reg/client-1", "no absolute URL")]
#[case::protocol_relative("//ORIGIN/reg/client-1", "no absolute URL")]
#[case::backslash("http:\\\\ORIGIN\\reg\\client-1", "no absolute URL")]
#[case::white_space(" http://ORIGIN/reg/client-1", "no absolute URL")]
#[case::script("javascript:alert(1)", "no absolute URL")]
#[case::nobodys("http://ORIGIN/reg", "names no client")]
#[case::nobodys_with_slash("http://ORIGIN/reg/", "names no client")]
#[tokio::test]
async fn client_addresses_that_get_no_token(#[case] uri: &'static str, #[case] what: &str) {
    let server = answering(move |answer, origin| {
        let host = origin.trim_start_matches("http://");
        let port = host.rsplit(':').next().unwrap();
        answer["registration_client_uri"] = uri.replace("ORIGIN", host).replace("PORT", port).into();
    })
    .await;
    let error = backend(&server).register(&metadata(), None).await.unwrap_err();
    let RegisterError::Unmanageable { why, client_id } = &error else { panic!("{error:?}") };
    assert_eq!(client_id.as_deref(), Some("client-1"));
    assert!(why.contains(what), "{why}");
    assert!(!why.contains("evil"), "the server's address is not repeated: {why}");
    assert_tells_nothing_of(&error, &[INITIAL, TOKEN, SECRET]);
}

#[rstest]
#[case::default_port("https://sso.example/reg", "https://sso.example:443/reg/1", true)]
#[case::upper_case("https://sso.example/reg", "https://SSO.example/reg/1", true)]
#[case::below_elsewhere("https://sso.example/reg", "https://sso.example/clients?client_id=1", true)]
#[case::suffix("https://sso.example/reg", "https://sso.example.evil/reg/1", false)]
#[case::subdomain("https://sso.example/reg", "https://a.sso.example/reg/1", false)]
fn origins(#[case] endpoint: &str, #[case] uri: &str, #[case] usable: bool) {
    let members = json!({ "client_id": "1", "registration_access_token": TOKEN, "registration_client_uri": uri });
    let answer = RegistrationAnswer::read(members.as_object().unwrap().clone());
    assert_eq!(answer.into_registered(&http(&patient()), endpoint, 201).is_ok(), usable);
}

/// What the outcome of a registration is taken for.
#[derive(Debug, PartialEq)]
enum Outcome {
    NoEffect,
    Refused,
    Unknown,
    Unmanageable,
}

fn outcome(error: &RegisterError) -> Outcome {
    match error {
        RegisterError::NoEffect { .. } => Outcome::NoEffect,
        RegisterError::Refused(_) => Outcome::Refused,
        RegisterError::OutcomeUnknown { .. } => Outcome::Unknown,
        RegisterError::Unmanageable { .. } => Outcome::Unmanageable,
        RegisterError::Foreign { .. } => panic!("it has no ids of our choice"),
    }
}

#[rstest]
#[case::malformed(Reply::json(400, &json!({"error": "invalid_client_metadata"})), Outcome::Refused)]
#[case::no_token(Reply::json(401, &json!({"error": "invalid_token"})), Outcome::Refused)]
#[case::not_allowed(Reply::json(403, &json!({"error": "insufficient_scope"})), Outcome::Refused)]
#[case::switched_off(Reply::json(404, &json!({"error": "The requested resource could not be found"})), Outcome::Refused)]
#[case::a_page(Reply::typed(405, "text/html", "<html>"), Outcome::Refused)]
#[case::redirect(Reply::empty(302).header("location", "/login"), Outcome::Refused)]
#[case::permanent_redirect(Reply::empty(308).header("location", "/reg/"), Outcome::Refused)]
#[case::see_other(Reply::empty(303).header("location", "/reg/1"), Outcome::Unknown)]
#[case::too_slow_for_a_proxy(Reply::empty(408), Outcome::Unknown)]
#[case::too_early(Reply::empty(425), Outcome::NoEffect)]
#[case::too_many(Reply::empty(429), Outcome::NoEffect)]
#[case::cannot(Reply::empty(501), Outcome::NoEffect)]
#[case::failed(Reply::json(500, &json!({"error": "server_error"})), Outcome::Unknown)]
#[case::bad_gateway(Reply::typed(502, "text/html", "<html>"), Outcome::Unknown)]
#[case::unavailable(Reply::empty(503).header("retry-after", "5"), Outcome::Unknown)]
#[case::gateway_time_out(Reply::empty(504), Outcome::Unknown)]
#[case::not_json(Reply::typed(201, "application/json", "{\"client_id\":"), Outcome::Unknown)]
#[case::page(Reply::typed(200, "text/html", "<html>Log in"), Outcome::Unknown)]
#[case::list(Reply::json(201, &json!([1])), Outcome::Unknown)]
#[case::nothing(Reply::empty(201), Outcome::Unknown)]
#[case::something_else(Reply::json(200, &json!({"status": "ok"})), Outcome::Unknown)]
#[case::later(Reply::empty(202), Outcome::Unknown)]
#[case::truncated(Reply::Raw("HTTP/1.1 201 Created\r\ncontent-length: 999\r\n\r\n{\"client_id\":\"x\"}".into()), Outcome::Unknown)]
#[case::endless(Reply::Endless("HTTP/1.1 201 Created\r\n\r\n".into()), Outcome::Unknown)]
#[case::closed(Reply::closed(), Outcome::Unknown)]
#[case::secret_alone(Reply::json(201, &json!({"client_secret": SECRET})), Outcome::Unmanageable)]
#[tokio::test]
async fn outcomes_of_a_registration(#[case] reply: Reply, #[case] expected: Outcome) {
    let server = Server::always(reply).await;
    let error = backend(&server).register(&metadata(), None).await.unwrap_err();
    assert_eq!(outcome(&error), expected, "{error:?}");
    assert_tells_nothing_of(&error, &[INITIAL, SECRET]);
    assert_eq!(server.seen().len(), 1, "never sent again");
}

#[tokio::test]
async fn a_server_that_acts_and_does_not_answer() {
    let server = Server::always(Reply::silence()).await;
    let backend = DynamicRegistration { http: http(&impatient()), ..backend(&server) };
    let error = backend.register(&metadata(), None).await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::Unknown, "{error:?}");
    assert!(error.to_string().contains("no answer within 2 s"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let server = Server::always(Reply::empty(500)).await;
    let backend = DynamicRegistration { registration_endpoint: format!("{}/reg", nobody()), ..backend(&server) };
    let error = backend.register(&metadata(), None).await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::NoEffect, "{error:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_patience() {
    let server = Server::always(Reply::empty(429).header("retry-after", "17")).await;
    let error = backend(&server).register(&metadata(), None).await.unwrap_err();
    let RegisterError::NoEffect { retry_after, why } = &error else { panic!("{error:?}") };
    assert_eq!(*retry_after, Some(Duration::from_secs(17)));
    assert!(why.contains("the server answered 429; nothing was registered"), "{why}");
}

#[tokio::test]
async fn a_refusal_is_kept_without_what_was_sent() {
    let words = format!("\u{202e}token {INITIAL} or {}… is\u{7} wrong{}", &INITIAL[..12], "!".repeat(500));
    let server =
        Server::always(Reply::json(401, &json!({ "error": "invalid_token", "error_description": words }))).await;
    let error = backend(&server).register(&metadata(), None).await.unwrap_err();
    let RegisterError::Refused(refusal) = &error else { panic!("{error:?}") };
    assert_eq!(
        (refusal.operation, refusal.status, refusal.error.as_deref()),
        ("register client", 401, Some("invalid_token"))
    );
    let description = refusal.description.as_deref().unwrap();
    assert!(description.starts_with("token [redacted] or [redacted]… is wrong!!!"), "{description}");
    assert!(description.chars().count() <= 201);
    assert_tells_nothing_of(&error, &[INITIAL, &INITIAL[..12]]);
}

#[rstest]
#[case(true)]
#[case(false)]
#[tokio::test]
async fn secrets_do_not_come_back_in_any_error(#[case] json: bool) {
    let echo = move |seen: &Seen| {
        let all = format!("{} {}", seen.header("authorization").unwrap_or_default(), seen.body);
        if json {
            Reply::json(400, &json!({ "error": all, "error_description": all }))
        } else {
            Reply::typed(400, "text/plain", &all)
        }
    };
    let server = Server::start(echo).await;
    let backend = backend(&server);
    let secret = SecretString::from(SECRET);
    let all = [INITIAL, TOKEN, SECRET];
    assert_tells_nothing_of(&backend.register(&metadata(), None).await.unwrap_err(), &all);
    assert_tells_nothing_of(&backend.update(&management(&server), &metadata(), Some(&secret)).await.unwrap_err(), &all);
    assert_tells_nothing_of(&backend.delete(&management(&server), "7f3a").await.unwrap_err(), &all);
}

#[test]
fn nothing_prints_a_secret() {
    let registered = Registered {
        management: managed_at("https://x/reg/c".into()),
        client_secret: Some(SECRET.into()),
        client_secret_expires_at: None,
        granted: super::super::Granted::default(),
        status: 201,
    };
    let printed = format!("{registered:?}");
    assert!(!printed.contains(TOKEN) && !printed.contains(SECRET), "{printed}");
}

#[tokio::test]
async fn an_update_sends_everything_and_takes_over_what_is_new() {
    let server = Server::start(|seen| {
        Reply::json(200, &json!({
            "client_id": "client-1", "client_secret": "new-secret", "scope": "reports.read",
            "registration_access_token": "new-token", "registration_client_uri": format!("{}/v2/reg/client-1", origin(seen)),
            "client_secret_expires_at": 0,
        }))
    })
    .await;
    let updated = backend(&server).update(&management(&server), &metadata(), Some(&SECRET.into())).await.unwrap();
    assert_eq!(updated.management.client_id, "client-1");
    assert_eq!(exposed(&registration(&updated.management).access_token), "new-token");
    assert_eq!(registration(&updated.management).client_uri, server.url("/v2/reg/client-1"));
    assert_eq!(updated.client_secret.as_ref().map(exposed), Some("new-secret"));
    assert_eq!(updated.granted.scopes, Some(vec!["reports.read".into()]));

    let seen = server.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/reg/client-1"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(
        seen.json(),
        json!({
            "client_id": "client-1",
            "client_name": "oauthclient-operator 7f3a oac-0001",
            "scope": "reports.read reports.write",
            "grant_types": ["client_credentials"],
            "response_types": [],
            "redirect_uris": [],
            "token_endpoint_auth_method": "client_secret_basic",
            "contacts": ["data@corp.example"],
        })
    );
}

#[rstest]
#[case::nothing_new(json!({}))]
#[case::nulls(json!({ "client_secret": null, "registration_access_token": null, "registration_client_uri": null, "redirect_uris": null }))]
#[case::empty(json!({ "client_secret": "", "registration_access_token": "", "registration_client_uri": "" }))]
#[case::masked(json!({ "client_secret": "**********" }))]
#[case::elsewhere(json!({ "registration_client_uri": "https://evil.example/reg/client-1" }))]
#[case::nobodys(json!({ "registration_client_uri": "ORIGIN/reg" }))]
#[tokio::test]
async fn what_an_update_does_not_tell_stays(#[case] answer: Value) {
    let server = Server::start(move |seen| {
        Reply::typed(200, "application/json", &answer.to_string().replace("ORIGIN", &origin(seen)))
    })
    .await;
    let before = management(&server);
    let updated = backend(&server).update(&before, &metadata(), None).await.unwrap();
    assert_eq!(exposed(&registration(&updated.management).access_token), TOKEN);
    assert_eq!(registration(&updated.management).client_uri, registration(&before).client_uri);
    assert!(updated.client_secret.is_none());
}

#[tokio::test]
async fn an_update_keeps_the_origin_where_the_token_went_before() {
    let server = Server::start(|seen| {
        Reply::json(200, &json!({ "registration_access_token": "new-token", "registration_client_uri": format!("{}/x", origin(seen)) }))
    })
    .await;
    // The server moved its registration endpoint to another host since: the client's own address counts.
    let backend = DynamicRegistration { registration_endpoint: "https://moved.example/reg".into(), ..backend(&server) };
    let updated = backend.update(&management(&server), &metadata(), None).await.unwrap();
    assert_eq!(registration(&updated.management).client_uri, server.url("/x"));
}

#[tokio::test]
async fn a_server_that_wants_the_current_secret_gets_it() {
    let server = Server::start(|seen| {
        if seen.json()["client_secret"] == SECRET {
            Reply::json(200, &json!({ "client_id": "client-1", "registration_access_token": "new-token" }))
        } else {
            Reply::json(400, &json!({ "error": "invalid_request", "error_description": "client_secret is mandatory" }))
        }
    })
    .await;
    let backend = backend(&server);
    let updated = backend.update(&management(&server), &metadata(), Some(&SECRET.into())).await.unwrap();
    assert_eq!(exposed(&registration(&updated.management).access_token), "new-token");
    assert_eq!(server.seen().len(), 2);

    let error = backend.update(&management(&server), &metadata(), None).await.unwrap_err();
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.status == 400), "{error:?}");
    assert_eq!(server.seen().len(), 3, "there is no secret to try");
}

#[rstest]
#[case::bad_metadata_at_hydra(400, Some(403), 400)]
#[case::bad_metadata(400, Some(400), 400)]
#[case::token_used_up(400, Some(401), 401)]
#[case::unauthorized(401, None, 401)]
#[case::forbidden(403, None, 403)]
#[case::not_found(404, None, 404)]
#[case::not_supported(405, None, 405)]
#[tokio::test]
async fn refused_updates(#[case] first: u16, #[case] second: Option<u16>, #[case] told: u16) {
    let server = Server::start(move |seen| {
        let status = if seen.json().get("client_secret").is_some() { second.unwrap() } else { first };
        Reply::json(status, &json!({ "error": "no" }))
    })
    .await;
    let error = backend(&server).update(&management(&server), &metadata(), Some(&SECRET.into())).await.unwrap_err();
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.status == told), "{error:?}");
    assert_eq!(server.seen().len(), 1 + usize::from(second.is_some()));
}

#[rstest]
#[case::not_json(Reply::typed(200, "application/json", "{"), true)]
#[case::nothing(Reply::empty(200), true)]
#[case::page(Reply::typed(200, "text/html", "<html>"), true)]
#[case::another_client(Reply::json(200, &json!({ "client_id": "client-2", "registration_access_token": "x" })), true)]
#[case::truncated(Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{}".into()), true)]
#[case::closed(Reply::closed(), true)]
#[case::failed(Reply::empty(500), true)]
#[case::unavailable(Reply::empty(503), true)]
#[case::redirect(Reply::empty(307).header("location", "/x"), false)]
#[case::see_other(Reply::empty(303).header("location", "/x"), true)]
#[case::too_many(Reply::empty(429).header("retry-after", "3"), false)]
#[case::cannot(Reply::empty(501), false)]
#[tokio::test]
async fn updates_that_tell_nothing(#[case] reply: Reply, #[case] acted: bool) {
    let server = Server::always(reply).await;
    let error = backend(&server).update(&management(&server), &metadata(), Some(&SECRET.into())).await.unwrap_err();
    let CallError::Inconclusive { may_have_acted, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*may_have_acted, acted, "{error:?}");
    assert_eq!(server.seen().len(), 1, "never sent again");
    assert_tells_nothing_of(&error, &[TOKEN, SECRET]);
}

#[rstest]
#[case(204)]
#[case(200)]
#[case(202)]
#[tokio::test]
async fn a_deletion_taken(#[case] status: u16) {
    let server = Server::always(Reply::empty(status)).await;
    let deleted = backend(&server).delete(&management(&server), "7f3a").await.unwrap();
    assert_eq!(deleted, Deleted { status, was_gone: false, tokens_left: None });
    let seen = server.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.body.as_str()), ("DELETE", "/reg/client-1", ""));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
}

#[rstest]
#[tokio::test]
async fn a_deletion_refused(#[values(400, 401, 403, 404, 405, 410)] status: u16) {
    let server = Server::always(Reply::json(status, &json!({ "error": "invalid_token" }))).await;
    let error = backend(&server).delete(&management(&server), "7f3a").await.unwrap_err();
    let CallError::Refused(refusal) = &error else { panic!("{error:?}") };
    assert_eq!((refusal.operation, refusal.status), ("delete client", status));
}

#[rstest]
#[case::redirect(Reply::empty(302).header("location", "/login"), false)]
#[case::too_many(Reply::empty(429), false)]
#[case::failed(Reply::empty(500), true)]
#[case::gateway(Reply::empty(504), true)]
#[case::log_in_page(Reply::typed(200, "text/html; charset=utf-8", "<html>Log in"), true)]
#[case::untyped_page(Reply::typed(200, "text/plain", "  <!doctype html>"), true)]
#[case::closed(Reply::closed(), true)]
#[tokio::test]
async fn a_deletion_that_tells_nothing(#[case] reply: Reply, #[case] acted: bool) {
    let elsewhere = Server::always(Reply::empty(204)).await;
    let reply = reply.header("location", elsewhere.url("/"));
    let server = Server::always(reply).await;
    let error = backend(&server).delete(&management(&server), "7f3a").await.unwrap_err();
    let CallError::Inconclusive { may_have_acted, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*may_have_acted, acted, "{error:?}");
    assert_eq!(server.seen().len(), 1);
    assert!(elsewhere.seen().is_empty());
    assert_tells_nothing_of(&error, &[TOKEN]);
}

#[tokio::test]
async fn reading_takes_over_what_is_new() {
    let server = Server::always(Reply::json(
        200,
        &json!({ "client_id": "client-1", "scope": "reports.read", "registration_access_token": "new-token" }),
    ))
    .await;
    let backend = backend(&server);
    assert!(backend.abilities().reading_rotates);
    let Found::There(present) = backend.read(&management(&server), "7f3a").await.unwrap() else {
        panic!("it is there")
    };
    assert_eq!(exposed(&registration(&present.management).access_token), "new-token");
    assert_eq!(present.granted.scopes, Some(vec!["reports.read".into()]));
    let seen = server.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.body.as_str()), ("GET", "/reg/client-1", ""));
}

/// A lost token and a deleted client look the same.
#[rstest]
#[tokio::test]
async fn reading_never_tells_gone(#[values(401, 403, 404, 410)] status: u16) {
    let server = Server::always(Reply::json(status, &json!({ "error": "invalid_token" }))).await;
    let error = backend(&server).read(&management(&server), "7f3a").await.unwrap_err();
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.status == status), "{error:?}");
}

#[tokio::test]
async fn without_a_registration_access_token_nothing_is_sent() {
    let server = Server::always(Reply::empty(204)).await;
    let (backend, nothing) = (backend(&server), Management { client_id: "client-1".into(), registration: None });
    assert!(matches!(
        backend.delete(&nothing, "7f3a").await,
        Err(CallError::Inconclusive { may_have_acted: false, .. })
    ));
    assert!(backend.update(&nothing, &metadata(), None).await.is_err());
    assert!(backend.read(&nothing, "7f3a").await.is_err());
    assert!(backend.list("7f3a").await.is_err(), "not an empty list");
    assert_eq!(backend.chosen_id(&metadata().mark), None);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn nobody_to_delete_at() {
    let server = Server::always(Reply::empty(204)).await;
    let management = managed_at(format!("{}/reg/client-1", nobody()));
    let error = backend(&server).delete(&management, "7f3a").await.unwrap_err();
    assert!(matches!(error, CallError::Inconclusive { may_have_acted: false, .. }), "{error:?}");
}

/// How three servers answer, by what was recorded of them.
mod as_recorded {
    use super::*;

    async fn register(answer: &'static str) -> (Server, Result<Registered, RegisterError>) {
        let server = Server::start(move |seen| {
            Reply::typed(201, "application/json;charset=UTF-8", &answer.replace("ORIGIN", &origin(seen)))
        })
        .await;
        let registered = backend(&server).register(&metadata(), None).await;
        (server, registered)
    }

    #[tokio::test]
    async fn keycloak() {
        let (server, registered) = register(
            r#"{"redirect_uris":[],"token_endpoint_auth_method":"client_secret_basic","grant_types":["client_credentials"],
            "response_types":[],"client_id":"8a4e0c0e-0000-4000-8000-000000000002","client_secret":"s-1","client_name":"x",
            "scope":"phone address","subject_type":"public","request_uris":[],"client_id_issued_at":1795478364,
            "client_secret_expires_at":0,"registration_client_uri":"ORIGIN/realms/demo/clients-registrations/openid-connect/8a4e0c0e-0000-4000-8000-000000000002",
            "registration_access_token":"h.rat.s","require_pushed_authorization_requests":false}"#,
        )
        .await;
        let registered = registered.unwrap();
        assert_eq!(registered.granted.scopes, Some(vec!["phone".into(), "address".into()]));
        assert_eq!(registered.granted.grant_types, Some(vec!["client_credentials".into()]));
        assert_eq!(registered.granted.redirect_uris, Some(vec![]));
        assert_eq!(registered.granted.token_endpoint_auth_method.as_deref(), Some("client_secret_basic"));
        assert!(registration(&registered.management).client_uri.starts_with(&server.origin));
    }

    #[tokio::test]
    async fn hydra() {
        let (_, registered) = register(
            r#"{"client_id":"00000000-0000-4000-8000-000000000009","client_name":"x","client_secret":"s-9","redirect_uris":null,
            "grant_types":["client_credentials"],"response_types":[],"scope":"reports.read","audience":[],"owner":"",
            "client_secret_expires_at":0,"jwks":{},"token_endpoint_auth_method":"private_key_jwt","metadata":{},
            "registration_access_token":"ory_at_rat.sig","registration_client_uri":"ORIGIN/oauth2/register/00000000-0000-4000-8000-000000000009",
            "skip_consent":false,"skip_logout_consent":null}"#,
        )
        .await;
        let registered = registered.unwrap();
        assert_eq!(registered.granted.redirect_uris, None, "null is not said");
        assert!(registered.client_secret.is_some(), "one comes with private_key_jwt, too");

        // A PUT tells a new token and no address.
        let server = Server::always(Reply::json(
            200,
            &json!({ "client_id": "client-1", "redirect_uris": null,
            "scope": "reports.read", "registration_access_token": "ory_at_new.sig", "client_secret_expires_at": 0 }),
        ))
        .await;
        let updated = backend(&server).update(&management(&server), &metadata(), None).await.unwrap();
        assert_eq!(exposed(&registration(&updated.management).access_token), "ory_at_new.sig");
        assert_eq!(registration(&updated.management).client_uri, server.url("/reg/client-1"));
    }

    #[tokio::test]
    async fn hydra_through_its_admin_api_gives_an_address_without_a_client() {
        let (_, registered) = register(
            r#"{"client_id":"c","registration_access_token":"ory_at_rat.sig","registration_client_uri":"ORIGIN/reg"}"#,
        )
        .await;
        assert_eq!(outcome(&registered.unwrap_err()), Outcome::Unmanageable);
    }

    #[tokio::test]
    async fn oidc_provider() {
        let (_, registered) = register(
            r#"{"application_type":"web","grant_types":["client_credentials"],"response_types":[],"client_id":"V1StGXR8_Z5jdHi6B-myT",
            "client_name":"x","client_secret_expires_at":0,"client_secret":"s-1","contacts":["a@b.example"],"redirect_uris":[],
            "scope":"reports.read","registration_client_uri":"ORIGIN/reg/V1StGXR8_Z5jdHi6B-myT","registration_access_token":"rat-1"}"#,
        )
        .await;
        assert_eq!(registered.unwrap().management.client_id, "V1StGXR8_Z5jdHi6B-myT");
    }

    #[rstest]
    #[case::keycloak_without_a_token(403, r#"{"error":"insufficient_scope","error_description":"Policy 'Trusted Hosts' rejected request to client-registration service. Details: Host not trusted."}"#)]
    #[case::keycloak_unknown_member(400, r#"{"error":"Invalid json representation for OIDCClientRepresentation. Unrecognized field \"owner\" at line 1 column 134."}"#)]
    #[case::hydra_switched_off(404, r#"{"error":"The requested resource could not be found","error_description":"Dynamic registration is not enabled."}"#)]
    #[case::oidc_provider_unknown_scope(400, r#"{"error":"invalid_client_metadata","error_description":"scope must only contain Authorization Server supported scope values"}"#)]
    #[tokio::test]
    async fn refusals(#[case] status: u16, #[case] body: &str) {
        let server = Server::always(Reply::typed(status, "application/json", body)).await;
        let error = backend(&server).register(&metadata(), None).await.unwrap_err();
        let RegisterError::Refused(refusal) = error else { panic!("{error:?}") };
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(refusal.status, status);
        assert_eq!(refusal.error.as_deref(), body["error"].as_str());
        assert_eq!(refusal.description.as_deref(), body["error_description"].as_str());
    }
}
