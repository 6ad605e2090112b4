//! Contract tests: how Keycloak 26.5 answers was recorded; `fixtures` is made from that.

use chrono::DateTime;
use rstest::rstest;
use serde_json::json;

use super::super::testing::{Reply, Script, assert_tells_nothing_of, http, metadata, patient, shown};
use super::*;

const SECRET: &str = "chosen-secret-0001";
const OPERATOR: &str = "operator-secret+%";
const ID: &str = "oac-7f3a-0001";
const TOKEN: &str = "POST /realms/corp/protocol/openid-connect/token";
const SCOPES: &str = "GET /admin/realms/corp/client-scopes";
const CREATE: &str = "POST /admin/realms/corp/clients";
const OWN: &str = "GET /admin/realms/corp/clients?clientId=operator";

fn backend(script: &Script) -> Keycloak {
    let settings = Settings {
        base_url: format!("{}/", script.server.origin),
        realm: "corp".into(),
        issuer: "https://sso.corp.example/realms/corp".into(),
        credential: AdminCredential::ClientSecret { client_id: "operator".into(), secret: OPERATOR.into() },
    };
    Keycloak::new(http(&patient()), settings, Arc::new(|| DateTime::from_timestamp(1_800_000_000, 0).unwrap()))
}

fn internal_id() -> String {
    uuid(&["corp", ID])
}

/// `METHOD` and the client's path, with more after it.
fn at(method: &str, more: &str) -> String {
    format!("{method} /admin/realms/corp/clients/{}{more}", internal_id())
}

fn search() -> String {
    format!("GET /admin/realms/corp/clients?clientId={ID}")
}

fn chosen() -> Chosen {
    Chosen { client_id: ID.into(), client_secret: Some(SECRET.into()) }
}

fn managed() -> Management {
    Management { client_id: ID.into(), registration: None }
}

fn token() -> Reply {
    Reply::typed(200, "application/json", include_str!("fixtures/token.json"))
}

fn another_token() -> Reply {
    Reply::typed(200, "application/json", &include_str!("fixtures/token.json").replace("TOKEN-1", "TOKEN-2"))
}

fn scopes() -> Reply {
    Reply::typed(200, "application/json;charset=UTF-8", include_str!("fixtures/client-scopes.json"))
}

/// The client as it is recorded, changed by the test.
fn client_with(change: impl Fn(&mut Value)) -> Value {
    let mut client: Value =
        serde_json::from_str(&include_str!("fixtures/client.json").replace("INTERNAL-ID", &internal_id())).unwrap();
    change(&mut client);
    client
}

fn found_with(change: impl Fn(&mut Value)) -> Reply {
    Reply::json(200, &client_with(change))
}

fn found() -> Reply {
    found_with(|_| ())
}

fn own() -> Reply {
    Reply::json(200, &json!([{ "id": "0", "clientId": "operator" }]))
}

fn not_found() -> Reply {
    Reply::json(404, &json!({ "error": "Could not find client" }))
}

fn none() -> Reply {
    Reply::json(200, &json!([]))
}

fn exposed(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret)
}

/// The body of the request at this place.
fn body(script: &Script, place: usize) -> Value {
    script.done()[place].json()
}

#[tokio::test]
async fn registering() {
    let script = Script::start([
        (TOKEN.into(), token()),
        (SCOPES.into(), scopes()),
        (CREATE.into(), Reply::empty(201).header("location", "http://elsewhere/admin/realms/corp/clients/x")),
        (at("GET", ""), found()),
    ])
    .await;
    let registered = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap();
    insta::assert_yaml_snapshot!(script.done().iter().map(shown).collect::<Vec<_>>());
    assert_eq!((registered.status, registered.management.client_id.as_str()), (201, ID));
    assert!(registered.management.registration.is_none());
    assert_eq!(exposed(registered.client_secret.as_ref()), Some(SECRET));
    insta::assert_debug_snapshot!(registered.granted);
}

#[tokio::test]
async fn registering_with_a_key_and_users() {
    let key = super::super::keys::ClientKey::generate(super::super::keys::SigningAlg::Es256).unwrap();
    let asked = ClientMetadata {
        scopes: vec!["openid".into(), "reports.read".into()],
        grant_types: vec!["authorization_code".into(), "refresh_token".into()],
        redirect_uris: vec!["https://app.example/cb".into()],
        token_endpoint_auth_method: "private_key_jwt".into(),
        token_endpoint_auth_signing_alg: Some("ES256".into()),
        jwks: Some(key.public_jwks()),
        ..metadata()
    };
    let kept = key.public_jwks().to_string();
    let script = Script::start([
        (TOKEN.into(), token()),
        (SCOPES.into(), scopes()),
        (CREATE.into(), Reply::empty(201)),
        (
            at("GET", ""),
            found_with(|c| {
                c["clientAuthenticatorType"] = "client-jwt".into();
                c["standardFlowEnabled"] = true.into();
                c["serviceAccountsEnabled"] = false.into();
                c["defaultClientScopes"] = json!([]);
                c["redirectUris"] = json!(["https://app.example/cb"]);
                c["attributes"]["use.jwks.string"] = "true".into();
                c["attributes"]["jwks.string"] = kept.clone().into();
                c["attributes"]["use.refresh.tokens"] = "true".into();
                c["attributes"]["oauthclient.openid"] = "true".into();
            }),
        ),
    ])
    .await;
    let chosen = Chosen { client_secret: None, ..chosen() };
    let registered = backend(&script).register(&asked, Some(&chosen)).await.unwrap();
    let sent = body(&script, 2);
    assert_eq!(sent["clientAuthenticatorType"], "client-jwt");
    assert_eq!(sent["attributes"]["jwks.string"], kept);
    assert_eq!(sent["attributes"]["token.endpoint.auth.signing.alg"], "ES256");
    assert_eq!(sent["optionalClientScopes"], json!(["reports.read"]), "no realm lists openid");
    assert_eq!((&sent["standardFlowEnabled"], &sent["serviceAccountsEnabled"]), (&json!(true), &json!(false)));
    assert!(sent.get("secret").is_none());
    // The server makes a secret all the same, which nobody needs.
    assert!(registered.client_secret.is_none());
    let granted = registered.granted;
    assert_eq!(granted.scopes, Some(vec!["openid".into(), "reports.read".into()]));
    assert_eq!(granted.grant_types, Some(vec!["authorization_code".into(), "refresh_token".into()]));
    assert_eq!(granted.token_endpoint_auth_method.as_deref(), Some("private_key_jwt"));
    assert_eq!(granted.key_thumbprints, Some(vec![key.key_id]));
    assert!(granted.extras.is_empty(), "{:?}", granted.extras);
}

#[rstest]
#[case::by_client_id(json!({ "errorMessage": "Client oac-7f3a-0001 already exists" }))]
#[case::by_internal_id(json!({ "error": "conflict", "error_description": "Duplicate resource error" }))]
#[tokio::test]
async fn registering_again_brings_what_is_there_to_what_is_asked(#[case] conflict: Value) {
    let widened = |c: &mut Value| {
        c["enabled"] = false.into();
        c["fullScopeAllowed"] = true.into();
        c["directAccessGrantsEnabled"] = true.into();
        c["redirectUris"] = json!(["*"]);
        c["authenticationFlowBindingOverrides"] = json!({ "browser": "f10e" });
        c["defaultClientScopes"] = json!(["service_account", "roles"]);
        c["optionalClientScopes"] = json!(["reports.write", "offline_access"]);
        c["protocolMappers"] = json!([
            { "id": "a9", "name": "admin", "protocolMapper": "oidc-hardcoded-role-mapper" },
            { "id": "b9", "name": "Client ID", "protocolMapper": "oidc-usersessionmodel-note-mapper" },
        ]);
    };
    // A PUT says 204 and leaves scopes and mappers as they were.
    let after_put = move |c: &mut Value| {
        let before = client_with(widened);
        for left in ["defaultClientScopes", "optionalClientScopes", "protocolMappers"] {
            c[left] = before[left].clone();
        }
    };
    let part = |n: u8| format!("5c0be000-0000-4000-8000-00000000000{n}");
    let script = Script::start([
        (TOKEN.into(), token()),
        (SCOPES.into(), scopes()),
        (CREATE.into(), Reply::json(409, &conflict)),
        (at("GET", ""), found_with(widened)),
        (at("PUT", ""), Reply::empty(204)),
        (at("GET", ""), found_with(after_put)),
        (SCOPES.into(), scopes()),
        (at("DELETE", &format!("/default-client-scopes/{}", part(3))), Reply::empty(204)),
        (at("DELETE", &format!("/optional-client-scopes/{}", part(2))), Reply::empty(204)),
        (at("DELETE", &format!("/optional-client-scopes/{}", part(6))), Reply::empty(204)),
        (at("PUT", &format!("/optional-client-scopes/{}", part(1))), Reply::empty(204)),
        (at("DELETE", "/protocol-mappers/models/a9"), Reply::empty(204)),
        (at("GET", ""), found()),
    ])
    .await;
    let registered = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap();
    insta::assert_yaml_snapshot!("bringing", shown(&script.done()[4]));
    assert_eq!(registered.granted.scopes, Some(vec!["reports.read".into()]));
    assert_eq!(exposed(registered.client_secret.as_ref()), Some(SECRET), "ours is set again");
}

#[rstest]
#[case::no_mark(json!({ "realm_client": "false" }), "no mark of this operator")]
#[case::another_installation(json!({ "oauthclient.installation": "beef", "oauthclient.entry": "oac-0001" }), "installation beef")]
#[case::another_entry(json!({ "oauthclient.installation": "7f3a", "oauthclient.entry": "oac-0002" }), "entry oac-0002")]
#[case::half_a_mark(json!({ "oauthclient.installation": "7f3a" }), "entry none")]
#[tokio::test]
async fn a_client_of_our_id_that_is_not_ours_is_never_touched(#[case] attributes: Value, #[case] told: &str) {
    let theirs = found_with(|c| c["attributes"] = attributes.clone());
    let conflict = Reply::json(409, &json!({ "errorMessage": "Client oac-7f3a-0001 already exists" }));
    let script = Script::start([
        (TOKEN.into(), token()),
        (SCOPES.into(), scopes()),
        (CREATE.into(), conflict),
        (at("GET", ""), theirs.clone()),
    ])
    .await;
    let error = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap_err();
    script.done();
    assert!(matches!(&error, RegisterError::Foreign { why } if why.contains(told)), "{error:?}");
    assert_tells_nothing_of(&error, &[SECRET, OPERATOR]);

    if attributes["oauthclient.installation"] == "7f3a" {
        return;
    }
    let script = Script::start([
        (TOKEN.into(), token()),
        (at("GET", ""), theirs.clone()),
        (SCOPES.into(), scopes()),
        (at("GET", ""), theirs.clone()),
        (at("GET", ""), theirs),
    ])
    .await;
    let backend = backend(&script);
    let deleted = backend.delete(&managed(), "7f3a").await;
    assert!(matches!(deleted, Err(CallError::Foreign { .. })), "{deleted:?}");
    let updated = backend.update(&managed(), &metadata(), Some(&SECRET.into())).await;
    assert!(matches!(updated, Err(CallError::Foreign { .. })), "{updated:?}");
    assert!(matches!(backend.read(&managed(), "7f3a").await, Ok(Found::Foreign { .. })));
    script.done();
}

#[tokio::test]
async fn ours_under_another_internal_id_is_found() {
    // Made by hand, or exported and imported.
    let moved = |c: &mut Value| c["id"] = "0ther".into();
    let script = Script::start([
        (TOKEN.into(), token()),
        (at("GET", ""), not_found()),
        (search(), Reply::json(200, &json!([client_with(moved)]))),
        ("DELETE /admin/realms/corp/clients/0ther".into(), Reply::empty(204)),
    ])
    .await;
    let deleted = backend(&script).delete(&managed(), "7f3a").await.unwrap();
    script.done();
    assert_eq!((deleted.status, deleted.was_gone), (204, false));
}

#[tokio::test]
async fn an_unknown_scope_is_refused_with_near_names_and_nothing_is_made() {
    let script = Script::start([(TOKEN, token()), (SCOPES, scopes()), (SCOPES, scopes()), (SCOPES, scopes())]).await;
    let backend = backend(&script);
    let asked = ClientMetadata { scopes: vec!["reports.raed".into()], ..metadata() };
    let error = backend.register(&asked, Some(&chosen())).await.unwrap_err();
    let RegisterError::Refused(refusal) = error else { panic!("{error:?}") };
    insta::assert_debug_snapshot!(refusal);
    let error = backend.update(&managed(), &asked, None).await.unwrap_err();
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.status == 400), "{error:?}");
    script.done();
}

#[rstest]
#[case::password(&["password"], "client_secret_basic", &[], "no grant type password")]
#[case::device(&["urn:ietf:params:oauth:grant-type:device_code"], "client_secret_basic", &[], "no grant type urn:")]
#[case::refresh_alone(&["client_credentials", "refresh_token"], "client_secret_basic", &[], "refresh_token comes with")]
#[case::public_machine(&["client_credentials"], "none", &[], "anybody could get tokens")]
#[case::no_key(&["client_credentials"], "private_key_jwt", &[], "needs a public key")]
#[case::no_such_method(&["client_credentials"], "tls_client_auth", &[], "no token_endpoint_auth_method")]
#[case::wildcard(&["authorization_code"], "client_secret_basic", &["https://app.example/*"], "more than itself")]
#[case::relative(&["authorization_code"], "client_secret_basic", &["/cb"], "more than itself")]
#[tokio::test]
async fn what_keycloak_cannot_do_is_refused_before_anything_is_sent(
    #[case] grants: &[&str],
    #[case] method: &str,
    #[case] redirects: &[&str],
    #[case] told: &str,
) {
    let script = Script::start(Vec::<(String, Reply)>::new()).await;
    let own = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
    let asked = ClientMetadata {
        grant_types: own(grants),
        token_endpoint_auth_method: method.into(),
        redirect_uris: own(redirects),
        ..metadata()
    };
    let error = backend(&script).register(&asked, Some(&chosen())).await.unwrap_err();
    let RegisterError::Refused(refusal) = &error else { panic!("{error:?}") };
    assert!(refusal.status == 400 && refusal.description.as_ref().unwrap().contains(told), "{refusal:?}");
    assert!(backend(&script).update(&managed(), &asked, None).await.is_err());
    assert!(script.done().is_empty());
}

#[rstest]
#[case::refused(Reply::json(400, &json!({ "error": "invalid_input", "error_description": "Redirect URIs must not contain an URI fragment" })), "refused")]
#[case::too_small_a_role(Reply::json(403, &json!({ "error": "HTTP 403 Forbidden" })), "refused")]
#[case::lost(Reply::closed(), "unknown")]
#[case::failed(Reply::empty(500), "unknown")]
#[case::page(Reply::typed(200, "text/html", "<html>Log in"), "unknown")]
#[case::too_many(Reply::empty(429).header("retry-after", "0"), "none")]
#[tokio::test]
async fn registrations_that_fail(#[case] reply: Reply, #[case] effect: &str) {
    let script = Script::start([(TOKEN, token()), (SCOPES, scopes()), (CREATE, reply)]).await;
    let error = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap_err();
    script.done();
    let told = match &error {
        RegisterError::Refused(_) => "refused",
        RegisterError::OutcomeUnknown { .. } => "unknown",
        RegisterError::NoEffect { .. } => "none",
        _ => "other",
    };
    assert_eq!(told, effect, "{error:?}");
    assert_tells_nothing_of(&error, &[SECRET, OPERATOR, "OPERATOR-TOKEN"]);
}

#[tokio::test]
async fn a_failure_before_the_registration_is_certainly_no_registration() {
    for reply in [Reply::closed(), Reply::empty(500), Reply::typed(200, "application/json", "{"), none_at_all()] {
        let script = Script::start([(TOKEN, token()), (SCOPES, reply)]).await;
        let error = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap_err();
        script.done();
        assert!(matches!(error, RegisterError::NoEffect { .. }), "{error:?}");
    }
}

fn none_at_all() -> Reply {
    Reply::json(404, &json!({ "error": "Realm not found." }))
}

#[tokio::test]
async fn a_failure_after_the_registration_is_settled_by_asking_again() {
    let script = Script::start([
        (TOKEN.into(), token()),
        (SCOPES.into(), scopes()),
        (CREATE.into(), Reply::empty(201)),
        (at("GET", ""), Reply::empty(503)),
    ])
    .await;
    let error = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap_err();
    script.done();
    assert!(matches!(error, RegisterError::OutcomeUnknown { .. }), "{error:?}");
}

#[tokio::test]
async fn a_scope_that_vanished_from_the_registration_is_added() {
    let script = Script::start([
        (TOKEN.into(), token()),
        (SCOPES.into(), scopes()),
        (CREATE.into(), Reply::empty(201)),
        (at("GET", ""), found_with(|c| c["optionalClientScopes"] = json!([]))),
        (SCOPES.into(), scopes()),
        (at("PUT", "/optional-client-scopes/5c0be000-0000-4000-8000-000000000001"), Reply::empty(204)),
        (at("GET", ""), found()),
    ])
    .await;
    let registered = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap();
    script.done();
    assert_eq!(registered.granted.scopes, Some(vec!["reports.read".into()]));
}

#[tokio::test]
async fn an_update_that_fails_half_way_says_so() {
    let script = Script::start([
        (TOKEN.into(), token()),
        (SCOPES.into(), scopes()),
        (at("GET", ""), found()),
        (at("PUT", ""), Reply::empty(204)),
        (at("GET", ""), found_with(|c| c["optionalClientScopes"] = json!(["reports.read", "reports.write"]))),
        (SCOPES.into(), scopes()),
        (
            at("DELETE", "/optional-client-scopes/5c0be000-0000-4000-8000-000000000002"),
            Reply::json(403, &json!({ "error": "HTTP 403 Forbidden" })),
        ),
    ])
    .await;
    let error = backend(&script).update(&managed(), &metadata(), Some(&SECRET.into())).await.unwrap_err();
    script.done();
    assert!(matches!(error, CallError::Inconclusive { may_have_acted: true, .. }), "{error:?}");
    assert_tells_nothing_of(&error, &[SECRET, OPERATOR]);
}

#[tokio::test]
async fn an_update_puts_back_a_renamed_client() {
    let script = Script::start([
        (TOKEN.into(), token()),
        (at("GET", ""), found_with(|c| c["clientId"] = "renamed".into())),
        (SCOPES.into(), scopes()),
        (at("GET", ""), found_with(|c| c["clientId"] = "renamed".into())),
        (at("PUT", ""), Reply::empty(204)),
        (at("GET", ""), found()),
    ])
    .await;
    let backend = backend(&script);
    let Found::There(present) = backend.read(&managed(), "7f3a").await.unwrap() else { panic!("it is there") };
    assert_eq!(present.granted.enabled, Some(false), "nobody can use it by its id");
    backend.update(&managed(), &metadata(), Some(&SECRET.into())).await.unwrap();
    let sent = body(&script, 4);
    assert_eq!((&sent["clientId"], &sent["enabled"]), (&json!(ID), &json!(true)));
}

#[tokio::test]
async fn an_update_leaves_a_client_switched_off() {
    let script = Script::start([
        (TOKEN.into(), token()),
        (SCOPES.into(), scopes()),
        (at("GET", ""), found_with(|c| c["enabled"] = false.into())),
        (at("PUT", ""), Reply::empty(204)),
        (at("GET", ""), found_with(|c| c["enabled"] = false.into())),
    ])
    .await;
    backend(&script).update(&managed(), &metadata(), Some(&SECRET.into())).await.unwrap();
    assert_eq!(body(&script, 3)["enabled"], false, "an edit by a tenant releases no administrator's brake");
}

#[rstest]
#[case::as_it_should_be("as_it_should_be", json!({}), json!({}), Some(SECRET))]
#[case::masked("masked", json!({ "secret": "**********" }), json!({}), None)]
#[case::in_a_vault("in_a_vault", json!({ "secret": "${vault.x}" }), json!({}), None)]
#[case::disabled("disabled", json!({ "enabled": false }), json!({}), Some(SECRET))]
#[case::wide("wide", json!({ "fullScopeAllowed": true, "directAccessGrantsEnabled": true, "standardFlowEnabled": true, "implicitFlowEnabled": true, "webOrigins": ["+"], "redirectUris": ["*"], "defaultClientScopes": ["service_account", "roles"] }), json!({ "use.refresh.tokens": null, "oidc.ciba.grant.enabled": "true", "oauth2.device.authorization.grant.enabled": "true", "standard.token.exchange.enabled": "true", "use.jwks.url": "true" }), Some(SECRET))]
#[case::public("public", json!({ "publicClient": true, "serviceAccountsEnabled": false }), json!({}), None)]
#[case::another_authenticator("another_authenticator", json!({ "clientAuthenticatorType": "client-x509" }), json!({}), None)]
#[case::by_post("by_post", json!({}), json!({ "oauthclient.auth-method": "client_secret_post" }), Some(SECRET))]
#[tokio::test]
async fn reading(#[case] name: &str, #[case] members: Value, #[case] attributes: Value, #[case] secret: Option<&str>) {
    let reply = found_with(|c| {
        for (name, value) in members.as_object().unwrap() {
            c[name] = value.clone();
        }
        for (name, value) in attributes.as_object().unwrap() {
            c["attributes"][name] = value.clone();
        }
    });
    let script = Script::start([(TOKEN.into(), token()), (at("GET", ""), reply)]).await;
    let Found::There(present) = backend(&script).read(&managed(), "7f3a").await.unwrap() else { panic!("it is there") };
    script.done();
    assert_eq!(exposed(present.client_secret.as_ref()), secret);
    insta::assert_debug_snapshot!(format!("reading_{name}"), present.granted);
}

#[tokio::test]
async fn deleting() {
    let script = Script::start([
        (TOKEN.into(), token()),
        (at("GET", ""), found()),
        (at("DELETE", ""), Reply::empty(204)),
        // Again.
        (at("GET", ""), not_found()),
        (search(), none()),
        (OWN.into(), own()),
        // Somebody is quicker.
        (at("GET", ""), found()),
        (at("DELETE", ""), not_found()),
        (at("GET", ""), not_found()),
        (search(), none()),
        (OWN.into(), own()),
    ])
    .await;
    let backend = backend(&script);
    let deleted = |status, was_gone| Deleted { status, was_gone, tokens_left: None };
    assert_eq!(backend.delete(&managed(), "7f3a").await.unwrap(), deleted(204, false));
    assert_eq!(backend.delete(&managed(), "7f3a").await.unwrap(), deleted(404, true));
    assert_eq!(backend.delete(&managed(), "7f3a").await.unwrap(), deleted(404, true));
    script.done();
}

/// Every way that something looks like gone and is not.
#[rstest]
#[case::no_realm(vec![(at("GET", ""), Reply::json(404, &json!({ "error": "Realm not found." })))])]
#[case::no_such_path(vec![(at("GET", ""), Reply::json(404, &json!({ "error": "HTTP 404 Not Found" })))])]
#[case::another_path(vec![(at("GET", ""), Reply::json(404, &json!({ "error": "Unable to find matching target resource method" })))])]
#[case::a_proxy(vec![(at("GET", ""), Reply::typed(404, "text/html", "<html>404"))])]
#[case::another_server(vec![(at("GET", ""), Reply::json(404, &json!({ "error": { "code": 404 } })))])]
#[case::role_too_small(vec![(at("GET", ""), not_found()), (search(), none()), (OWN.into(), none())])]
#[case::no_role(vec![(at("GET", ""), Reply::json(403, &json!({ "error": "HTTP 403 Forbidden" })))])]
#[case::search_failed(vec![(at("GET", ""), not_found()), (search(), Reply::empty(500))])]
#[case::search_cut_short(vec![(at("GET", ""), not_found()), (search(), Reply::typed(200, "application/json", "["))])]
#[case::no_list(vec![(at("GET", ""), not_found()), (search(), Reply::json(200, &json!({})))])]
#[case::an_empty_answer(vec![(at("GET", ""), Reply::empty(200))])]
#[case::unavailable(vec![(at("GET", ""), Reply::empty(503))])]
#[tokio::test]
async fn what_is_not_gone(#[case] exchanges: Vec<(String, Reply)>) {
    let script = Script::start(std::iter::once((TOKEN.into(), token())).chain(exchanges)).await;
    let error = backend(&script).delete(&managed(), "7f3a").await.unwrap_err();
    script.done();
    match &error {
        CallError::Refused(refusal) => assert_eq!(refusal.status, 403, "{error:?}"),
        CallError::Inconclusive { may_have_acted, .. } => assert!(!may_have_acted, "{error:?}"),
        CallError::Foreign { .. } => panic!("{error:?}"),
    }
}

fn page(range: std::ops::Range<usize>) -> Reply {
    let clients = range.map(|n| {
        client_with(|c| {
            c["clientId"] = format!("oac-7f3a-{n:04}").into();
            c["attributes"]["oauthclient.entry"] = format!("oac-{n:04}").into();
        })
    });
    Reply::json(200, &clients.collect())
}

fn list_from(first: usize) -> String {
    format!("GET /admin/realms/corp/clients?clientId=oac-7f3a-&search=true&first={first}&max=100")
}

#[tokio::test]
async fn listing_goes_to_the_end() {
    let strangers = Reply::json(
        200,
        &json!([
            client_with(|c| {
                c["clientId"] = "my-OAC-7F3A-x".into();
                c["attributes"] = json!({});
            }),
            client_with(|c| {
                c["clientId"] = "oac-7f3a-beef".into();
                c["attributes"]["oauthclient.installation"] = "7f3a0".into();
            }),
            client_with(|c| {
                c["clientId"] = "oac-7f3a-lost".into();
                c["attributes"]["oauthclient.entry"] = "".into();
            }),
        ]),
    );
    let script = Script::start([
        (TOKEN.into(), token()),
        (list_from(0), page(0..100)),
        (list_from(100), page(100..200)),
        // Fewer than asked for is not the end.
        (list_from(200), page(200..217)),
        (list_from(300), strangers),
        (list_from(400), none()),
    ])
    .await;
    let listed = backend(&script).list("7f3a").await.unwrap();
    script.done();
    assert_eq!(listed.len(), 218);
    assert_eq!(
        listed[0],
        Listed {
            client_id: "oac-7f3a-0000".into(),
            entry: Some("oac-0000".into()),
            created_at: Some("2026-11-24T00:00:00Z".parse().unwrap()),
            granted: listed[0].granted.clone(),
        }
    );
    assert_eq!(listed[0].granted.scopes, Some(vec!["reports.read".into()]));
    assert_eq!(listed[217].client_id, "oac-7f3a-lost");
    assert_eq!(listed[217].entry, None);
}

#[rstest]
#[case::failed(Reply::empty(500))]
#[case::cut_short(Reply::typed(200, "application/json", "[{"))]
#[case::no_list(Reply::json(200, &json!({})))]
#[case::of_something_else(Reply::json(200, &json!(["x"])))]
#[case::without_ids(Reply::json(200, &json!([{}])))]
#[case::the_same_again(page(0..100))]
#[case::refused(Reply::json(403, &json!({ "error": "HTTP 403 Forbidden" })))]
#[case::no_realm(none_at_all())]
#[tokio::test]
async fn a_page_that_cannot_be_read_is_no_end(#[case] second: Reply) {
    let script = Script::start([(TOKEN.into(), token()), (list_from(0), page(0..100)), (list_from(100), second)]).await;
    assert!(backend(&script).list("7f3a").await.is_err());
    script.done();
}

#[tokio::test]
async fn an_empty_list_is_believed_only_to_a_role_that_sees() {
    let script = Script::start([
        (TOKEN.into(), token()),
        (list_from(0), none()),
        (OWN.into(), own()),
        (list_from(0), none()),
        (OWN.into(), none()),
    ])
    .await;
    let backend = backend(&script);
    assert_eq!(backend.list("7f3a").await.unwrap(), []);
    assert!(backend.list("7f3a").await.is_err());
    assert!(backend.list("").await.is_err(), "and is never sent without a filter");
    script.done();
}

#[tokio::test]
async fn without_an_installation_or_an_id_nothing_is_ours() {
    let theirs = found_with(|c| c["attributes"]["oauthclient.installation"] = "".into());
    let script = Script::start([(TOKEN.into(), token()), (at("GET", ""), theirs)]).await;
    let backend = backend(&script);
    assert!(matches!(backend.delete(&managed(), "").await, Err(CallError::Foreign { .. })));
    // Nothing is sent, so nothing is gone either.
    let nobody = Management { client_id: String::new(), registration: None };
    assert!(matches!(backend.delete(&nobody, "7f3a").await, Err(CallError::Inconclusive { .. })));
    assert!(backend.read(&nobody, "7f3a").await.is_err());
    script.done();
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_replaced_once() {
    let unauthorized = || Reply::json(401, &json!({ "error": "HTTP 401 Unauthorized" }));
    let script = Script::start([
        (TOKEN.into(), token()),
        (at("GET", ""), unauthorized()),
        (TOKEN.into(), another_token()),
        (at("GET", ""), found()),
        (at("DELETE", ""), unauthorized()),
        (TOKEN.into(), token()),
        (at("DELETE", ""), unauthorized()),
    ])
    .await;
    let error = backend(&script).delete(&managed(), "7f3a").await.unwrap_err();
    let seen = script.done();
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.status == 401), "{error:?}");
    assert_eq!(seen[3].header("authorization"), Some("Bearer HEADER.OPERATOR-TOKEN-2.SIGNATURE"));
}
