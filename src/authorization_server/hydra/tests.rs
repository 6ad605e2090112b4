//! Contract tests: how Hydra v26.2 answers was recorded; `fixtures` is made from that.

use rstest::rstest;
use serde_json::json;

use super::super::testing::{Reply, Script, assert_tells_nothing_of, http, metadata, patient, shown};
use super::*;

const SECRET: &str = "chosen-secret-0001";
const BEARER: &str = "admin-bearer-token-0001";
const ID: &str = "oac-7f3a-0001";
const CREATE: &str = "POST /admin/clients";
const GET: &str = "GET /admin/clients/oac-7f3a-0001";
const PUT: &str = "PUT /admin/clients/oac-7f3a-0001";
const REMOVE: &str = "DELETE /admin/clients/oac-7f3a-0001";
const TOKENS: &str = "DELETE /admin/oauth2/tokens?client_id=oac-7f3a-0001";
const ANSWERS: &str = "GET /admin/clients?page_size=1";
const PAGE_1: &str = "GET /admin/clients?owner=oauthclient-operator%2F7f3a&page_size=100";

fn backend(script: &Script) -> Hydra {
    Hydra::new(http(&patient()), &script.server.origin, AdminCredential::None)
}

fn chosen() -> Chosen {
    Chosen { client_id: ID.into(), client_secret: Some(SECRET.into()) }
}

fn managed() -> Management {
    Management { client_id: ID.into(), registration: None }
}

fn client_with(change: impl Fn(&mut Value)) -> Value {
    let mut client: Value = serde_json::from_str(include_str!("fixtures/client.json")).unwrap();
    change(&mut client);
    client
}

fn found_with(change: impl Fn(&mut Value)) -> Reply {
    Reply::json(200, &client_with(change))
}

fn found() -> Reply {
    found_with(|_| ())
}

/// What POST and PUT answer is not what is stored.
fn misleading(status: u16) -> Reply {
    Reply::typed(status, "application/json; charset=utf-8", include_str!("fixtures/created.json"))
        .header("location", "/admin/clients/elsewhere")
}

fn not_found() -> Reply {
    Reply::json(404, &json!({ "error": "Unable to locate the resource", "error_description": "" }))
}

/// Of the database, for another transaction at the same time.
fn turned_away() -> Reply {
    let told = "Unable to serialize access due to a concurrent update in another session";
    Reply::json(400, &json!({ "error": told, "error_description": "" }))
}

fn conflict() -> Reply {
    let told = "Unable to insert or update resource because a resource with that value exists already";
    Reply::json(409, &json!({ "error": told, "error_description": "" }))
}

fn someone() -> Reply {
    Reply::json(200, &json!([{ "client_id": "!someone" }]))
}

#[tokio::test]
async fn registering() {
    let script = Script::start([(CREATE, misleading(201)), (GET, found())]).await;
    let registered = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap();
    insta::assert_yaml_snapshot!(script.done().iter().map(shown).collect::<Vec<_>>());
    assert_eq!((registered.status, registered.management.client_id.as_str()), (201, ID));
    assert!(registered.management.registration.is_none(), "the token that comes along dies by the first PUT");
    assert_eq!(registered.client_secret.unwrap().expose_secret(), SECRET);
    assert_eq!(registered.client_secret_expires_at, None);
    insta::assert_debug_snapshot!(registered.granted);
}

#[tokio::test]
async fn registering_with_a_key() {
    let key = super::super::keys::ClientKey::generate(super::super::keys::SigningAlg::Es256).unwrap();
    let asked = ClientMetadata {
        token_endpoint_auth_method: "private_key_jwt".into(),
        // A tenant's own keys: nothing says what they are for but themselves.
        token_endpoint_auth_signing_alg: None,
        jwks: Some(key.public_jwks()),
        ..metadata()
    };
    let jwks = key.public_jwks();
    let stored = found_with(|c| {
        c["jwks"] = jwks.clone();
        c["token_endpoint_auth_method"] = "private_key_jwt".into();
    });
    let script = Script::start([(CREATE, misleading(201)), (GET, stored)]).await;
    let chosen = Chosen { client_secret: None, ..chosen() };
    let registered = backend(&script).register(&asked, Some(&chosen)).await.unwrap();
    let sent = script.done()[0].json();
    assert_eq!((&sent["jwks"], sent.get("client_secret")), (&jwks, None));
    assert_eq!(sent["token_endpoint_auth_signing_alg"], "ES256", "else Hydra takes RS256 alone");
    // The server makes a secret all the same, which nobody needs.
    assert!(registered.client_secret.is_none());
    assert_eq!(registered.granted.key_thumbprints, Some(vec![key.key_id]));
}

#[tokio::test]
async fn registering_again_brings_what_is_there_to_what_is_asked() {
    let script = Script::start([
        (CREATE, conflict()),
        (GET, found_with(|c| c["scope"] = "reports.read admin".into())),
        (PUT, misleading(200)),
        (GET, found()),
    ])
    .await;
    let registered = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap();
    let seen = script.done();
    assert_eq!(seen[2].json(), seen[0].json(), "whole: what is left out of a PUT is wiped, the mark included");
    assert_eq!(registered.granted.scopes, Some(vec!["reports.read".into()]));
    assert_eq!(registered.status, 200);
}

#[rstest]
#[case::nobodys(json!({ "owner": "", "metadata": {} }), "no owner")]
#[case::another_installation(json!({ "owner": "oauthclient-operator/beef" }), "oauthclient-operator/beef")]
#[case::longer(json!({ "owner": "oauthclient-operator/7f3a1" }), "7f3a1")]
#[case::another_entry(json!({ "metadata": { "entry": "oac-0002" } }), "entry oac-0002")]
#[case::no_entry(json!({ "metadata": {} }), "owner oauthclient-operator/7f3a")]
#[case::no_metadata(json!({ "metadata": null }), "owner oauthclient-operator/7f3a")]
#[tokio::test]
async fn a_client_of_our_id_that_is_not_ours_is_never_touched(#[case] members: Value, #[case] told: &str) {
    let theirs = found_with(|c| {
        for (name, value) in members.as_object().unwrap() {
            c[name] = value.clone();
        }
    });
    let script = Script::start([(CREATE, conflict()), (GET, theirs.clone())]).await;
    let error = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap_err();
    script.done();
    assert!(matches!(&error, RegisterError::Foreign { why } if why.contains(told)), "{error:?}");

    if members.get("owner").is_none() {
        return;
    }
    let script = Script::start([(GET, theirs.clone()), (GET, theirs.clone()), (GET, theirs)]).await;
    let backend = backend(&script);
    let deleted = backend.delete(&managed(), "7f3a").await;
    assert!(matches!(deleted, Err(CallError::Foreign { .. })), "{deleted:?}");
    let updated = backend.update(&managed(), &metadata(), Some(&SECRET.into())).await;
    assert!(matches!(updated, Err(CallError::Foreign { .. })), "{updated:?}");
    assert!(matches!(backend.read(&managed(), "7f3a").await, Ok(Found::Foreign { .. })));
    script.done();
}

#[tokio::test]
async fn without_an_installation_nothing_is_ours() {
    let theirs = || found_with(|c| c["owner"] = "oauthclient-operator/".into());
    let script = Script::start([(GET, theirs()), (GET, found_with(|c| c["owner"] = "".into()))]).await;
    let backend = backend(&script);
    for _ in 0..2 {
        assert!(matches!(backend.delete(&managed(), "").await, Err(CallError::Foreign { .. })));
    }
    assert!(backend.list("").await.is_err(), "an empty owner lists everybody's");
    let nobody = Management { client_id: String::new(), registration: None };
    assert!(backend.delete(&nobody, "7f3a").await.is_err());
    script.done();
}

#[rstest]
#[case::no_such_grant(ClientMetadata { grant_types: vec!["no_such_grant".into()], ..metadata() }, "no grant type")]
#[case::no_such_method(ClientMetadata { token_endpoint_auth_method: "tls".into(), ..metadata() }, "no token_endpoint_auth_method")]
#[case::keys_of_two_kinds(ClientMetadata { token_endpoint_auth_method: "private_key_jwt".into(),
    jwks: Some(json!({ "keys": [{ "kty": "RSA" }, { "kty": "EC", "crv": "P-256" }] })), ..metadata() }, "same algorithm")]
#[case::no_scope(ClientMetadata { scopes: vec![], ..metadata() }, "no scope")]
#[case::any_urn(ClientMetadata { audiences: vec!["urn:corp:reports".into()], ..metadata() }, "the audience urn:corp:reports would allow others")]
#[case::any_query(ClientMetadata { audiences: vec!["reports".into(), "https://api/?a".into()], ..metadata() }, "audience https://api/?a")]
#[case::any_fragment(ClientMetadata { audiences: vec!["https://api/#a".into()], ..metadata() }, "the audience")]
#[case::with_user(ClientMetadata { audiences: vec!["https://u@api/".into()], ..metadata() }, "the audience")]
#[case::unescaped(ClientMetadata { audiences: vec!["https://api/%zz".into()], ..metadata() }, "the audience")]
#[case::no_host(ClientMetadata { audiences: vec!["https:///reports".into()], ..metadata() }, "the audience")]
#[case::any_path(ClientMetadata { audiences: vec!["/".into()], ..metadata() }, "the audience")]
#[case::public_machine(ClientMetadata { token_endpoint_auth_method: "none".into(), ..metadata() }, "anybody")]
#[tokio::test]
async fn what_hydra_takes_and_cannot_do_is_refused_before_anything_is_sent(
    #[case] asked: ClientMetadata,
    #[case] told: &str,
) {
    let script = Script::start(Vec::<(String, Reply)>::new()).await;
    let error = backend(&script).register(&asked, Some(&chosen())).await.unwrap_err();
    let RegisterError::Refused(refusal) = &error else { panic!("{error:?}") };
    assert!(refusal.status == 400 && refusal.description.as_ref().unwrap().contains(told), "{refusal:?}");
    assert!(backend(&script).update(&managed(), &asked, None).await.is_err());
    assert!(script.done().is_empty());
}

#[rstest]
#[case::refused(Reply::json(400, &json!({ "error": "invalid_client_metadata", "error_description": format!("bad {SECRET}") })), "refused")]
#[case::unauthorized_by_a_proxy(Reply::json(401, &json!({ "error": BEARER })), "refused")]
#[case::lost(Reply::closed(), "unknown")]
#[case::failed(Reply::json(500, &json!({ "error": "error", "error_description": "The error is unrecognizable" })), "unknown")]
#[case::page(Reply::typed(200, "text/html", "<html>Log in"), "unknown")]
#[case::too_many(Reply::empty(429), "none")]
#[case::turned_away(turned_away(), "none")]
#[tokio::test]
async fn registrations_that_fail(#[case] reply: Reply, #[case] effect: &str) {
    let script = Script::start([(CREATE, reply)]).await;
    let backend = Hydra { credential: AdminCredential::Bearer(BEARER.into()), ..backend(&script) };
    let error = backend.register(&metadata(), Some(&chosen())).await.unwrap_err();
    script.done();
    let told = match &error {
        RegisterError::Refused(_) => "refused",
        RegisterError::OutcomeUnknown { .. } => "unknown",
        RegisterError::NoEffect { .. } => "none",
        _ => "other",
    };
    assert_eq!(told, effect, "{error:?}");
    assert_tells_nothing_of(&error, &[SECRET, BEARER]);
}

#[tokio::test]
async fn a_failure_after_the_registration_is_settled_by_asking_again() {
    for reply in [Reply::empty(503), Reply::closed(), Reply::json(200, &json!({ "client_id": "another" }))] {
        let script = Script::start([(CREATE, misleading(201)), (GET, reply)]).await;
        let error = backend(&script).register(&metadata(), Some(&chosen())).await.unwrap_err();
        script.done();
        assert!(matches!(error, RegisterError::OutcomeUnknown { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_update_sends_everything() {
    let script = Script::start([(GET, found()), (PUT, misleading(200)), (GET, found())]).await;
    let updated = backend(&script).update(&managed(), &metadata(), Some(&SECRET.into())).await.unwrap();
    insta::assert_yaml_snapshot!(shown(&script.done()[1]));
    assert_eq!(updated.granted.scopes, Some(vec!["reports.read".into()]), "not the answer's");
    assert!(updated.client_secret.is_none());
}

#[tokio::test]
async fn audiences_are_sent_and_read() {
    let audiences = vec!["https://api.corp.example/reports".to_owned(), "billing".to_owned()];
    let asked = ClientMetadata { audiences: audiences.clone(), ..metadata() };
    let stored = || found_with(|c| c["audience"] = json!(audiences));
    let script = Script::start([
        (CREATE, misleading(201)),
        (GET, stored()),
        (GET, found()),
        (PUT, misleading(200)),
        (GET, stored()),
    ])
    .await;
    let backend = backend(&script);
    let registered = backend.register(&asked, Some(&chosen())).await.unwrap();
    let updated = backend.update(&managed(), &asked, Some(&SECRET.into())).await.unwrap();
    let sent = script.done();
    assert_eq!((&sent[0].json()["audience"], &sent[3].json()["audience"]), (&json!(audiences), &json!(audiences)));
    assert_eq!(registered.granted.audiences.as_ref(), Some(&audiences));
    assert_eq!((updated.granted.audiences, updated.granted.extras), (Some(audiences), vec![]));
}

#[tokio::test]
async fn an_update_of_what_is_not_there_makes_nothing() {
    let script = Script::start([(GET, not_found()), (ANSWERS, someone())]).await;
    let error = backend(&script).update(&managed(), &metadata(), None).await.unwrap_err();
    script.done();
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.status == 404), "{error:?}");
}

#[rstest]
#[case::as_it_should_be("as_it_should_be", json!({}))]
#[case::wide("wide", json!({ "scope": "reports.read admin", "grant_types": ["client_credentials", "implicit"], "audience": ["https://api"],
    "allowed_cors_origins": ["https://evil.example"], "skip_consent": true, "jwks_uri": "https://evil.example/jwks", "redirect_uris": ["https://evil.example"] }))]
#[case::nulls("nulls", json!({ "redirect_uris": null, "grant_types": null, "scope": "", "jwks": null, "audience": null }))]
#[tokio::test]
async fn reading(#[case] name: &str, #[case] members: Value) {
    let reply = found_with(|c| {
        for (name, value) in members.as_object().unwrap() {
            c[name] = value.clone();
        }
    });
    let script = Script::start([(GET, reply)]).await;
    let Found::There(present) = backend(&script).read(&managed(), "7f3a").await.unwrap() else { panic!("it is there") };
    script.done();
    assert!(present.client_secret.is_none());
    insta::assert_debug_snapshot!(format!("reading_{name}"), present.granted);
}

#[tokio::test]
async fn deleting() {
    let script = Script::start([
        (GET, found()),
        (REMOVE, Reply::empty(204)),
        (TOKENS, Reply::empty(204)),
        // Again.
        (GET, not_found()),
        (ANSWERS, someone()),
        (TOKENS, Reply::empty(204)),
        // Somebody is quicker.
        (GET, found()),
        (REMOVE, not_found()),
        (GET, not_found()),
        (ANSWERS, someone()),
        (TOKENS, Reply::empty(204)),
        // Something before the server does not let that through.
        (GET, found()),
        (REMOVE, Reply::empty(204)),
        (TOKENS, Reply::empty(403)),
        // The tokens' deletion is tried again.
        (GET, found()),
        (REMOVE, Reply::empty(204)),
        (TOKENS, Reply::empty(502)),
    ])
    .await;
    let backend = backend(&script);
    let deleted = |status, was_gone| Deleted { status, was_gone, tokens_left: None };
    assert_eq!(backend.delete(&managed(), "7f3a").await.unwrap(), deleted(204, false));
    assert_eq!(backend.delete(&managed(), "7f3a").await.unwrap(), deleted(404, true));
    assert_eq!(backend.delete(&managed(), "7f3a").await.unwrap(), deleted(404, true));
    assert_eq!(backend.delete(&managed(), "7f3a").await.unwrap().tokens_left.unwrap().status, 403);
    let error = backend.delete(&managed(), "7f3a").await.unwrap_err();
    assert!(matches!(error, CallError::Inconclusive { may_have_acted: true, .. }), "{error:?}");
    script.done();
}

/// Every way that something looks like gone and is not.
#[rstest]
#[case::public_port(vec![(GET, Reply::json(404, &json!({ "error": { "code": 404, "message": "Not Found", "reason": "The requested route does not exist." } })))])]
#[case::no_such_path(vec![(GET, Reply::typed(404, "text/plain; charset=utf-8", "404 page not found\n"))])]
#[case::a_proxy(vec![(GET, Reply::typed(404, "text/html", "<html>404"))])]
#[case::another_server(vec![(GET, not_found()), (ANSWERS, Reply::json(200, &json!({ "clients": [] })))])]
#[case::dying(vec![(GET, not_found()), (ANSWERS, Reply::empty(503))])]
#[case::cut_short(vec![(GET, not_found()), (ANSWERS, Reply::typed(200, "application/json", "["))])]
#[case::shut(vec![(GET, Reply::empty(401))])]
#[case::failed(vec![(GET, Reply::empty(500))])]
#[case::nothing(vec![(GET, Reply::empty(200))])]
#[case::turned_away(vec![(GET, found()), (REMOVE, turned_away())])]
#[tokio::test]
async fn what_is_not_gone(#[case] exchanges: Vec<(&'static str, Reply)>) {
    let script = Script::start(exchanges).await;
    let error = backend(&script).delete(&managed(), "7f3a").await.unwrap_err();
    script.done();
    match &error {
        CallError::Refused(refusal) => assert_eq!(refusal.status, 401, "{error:?}"),
        CallError::Inconclusive { may_have_acted, .. } => assert!(!may_have_acted, "{error:?}"),
        CallError::Foreign { .. } => panic!("{error:?}"),
    }
}

fn page(range: std::ops::Range<usize>) -> Value {
    range
        .map(|n| {
            client_with(|c| {
                c["client_id"] = format!("oac-7f3a-{n:04}").into();
                c["metadata"]["entry"] = format!("oac-{n:04}").into();
            })
        })
        .collect()
}

fn linked(reply: Reply, next: &str) -> Reply {
    reply.header("link", format!("</admin/clients?page_token=F%3D%3D>; rel=\"first\",<{next}>; rel=\"next\""))
}

#[tokio::test]
async fn listing_follows_the_links_to_the_end() {
    let mut last = page(200..203);
    // A server that does not know the filter ignores it.
    last.as_array_mut().unwrap().extend([
        client_with(|c| c["owner"] = "".into()),
        client_with(|c| c["owner"] = "oauthclient-operator/7f3ab".into()),
        client_with(|c| {
            c["client_id"] = "oac-7f3a-lost".into();
            c["metadata"] = json!({});
        }),
    ]);
    let script = Script::start([
        (
            PAGE_1.to_owned(),
            linked(Reply::json(200, &page(0..100)), "/admin/clients?owner=x&page_size=100&page_token=T1%3D%3D"),
        ),
        // Wherever the link leads, only its token is used.
        (
            format!("{PAGE_1}&page_token=T1%3D%3D"),
            linked(Reply::json(200, &page(100..200)), "http://evil.example/?page_token=T%262"),
        ),
        (
            format!("{PAGE_1}&page_token=T%262"),
            Reply::json(200, &last).header("link", "</admin/clients?page_token=F>; rel=\"first\""),
        ),
    ])
    .await;
    let listed = backend(&script).list("7f3a").await.unwrap();
    script.done();
    assert_eq!(listed.len(), 204);
    assert_eq!(
        listed[0],
        Listed {
            client_id: "oac-7f3a-0000".into(),
            entry: Some("oac-0000".into()),
            created_at: Some("2026-11-23T23:58:17Z".parse().unwrap()),
            granted: listed[0].granted.clone(),
        }
    );
    assert_eq!(listed[0].granted.scopes, Some(vec!["reports.read".into()]));
    assert_eq!((listed[203].client_id.as_str(), &listed[203].entry), ("oac-7f3a-lost", &None));
}

#[rstest]
#[case::garbage_token(Reply::closed())]
#[case::foreign_token(Reply::json(400, &json!({ "error": "The request was malformed or contained invalid parameters" })))]
#[case::failed(Reply::empty(500))]
#[case::cut_short(Reply::typed(200, "application/json", "[{"))]
#[case::no_list(Reply::json(200, &json!({})))]
#[case::a_circle(linked(Reply::json(200, &json!([])), "/admin/clients?page_token=T1"))]
#[case::no_token(linked(Reply::json(200, &json!([])), "/admin/clients?page_token="))]
#[tokio::test]
async fn a_page_that_cannot_be_read_is_no_end(#[case] second: Reply) {
    let script = Script::start([
        (PAGE_1.to_owned(), linked(Reply::json(200, &page(0..100)), "/admin/clients?page_token=T1")),
        (format!("{PAGE_1}&page_token=T1"), second),
    ])
    .await;
    assert!(backend(&script).list("7f3a").await.is_err());
    script.done();
}

#[rstest]
#[case::none(AdminCredential::None, None)]
#[case::bearer(AdminCredential::Bearer(BEARER.into()), Some("Bearer admin-bearer-token-0001"))]
#[case::basic(AdminCredential::Basic { username: "operator".into(), password: "p+%:ss".into() }, Some("Basic b3BlcmF0b3I6cCslOnNz"))]
#[tokio::test]
async fn by_what_right(#[case] credential: AdminCredential, #[case] header: Option<&str>) {
    let script = Script::start([(GET, found()), (REMOVE, Reply::empty(204)), (TOKENS, Reply::empty(204))]).await;
    let backend = Hydra { credential, ..backend(&script) };
    backend.delete(&managed(), "7f3a").await.unwrap();
    assert!(script.done().iter().all(|seen| seen.header("authorization") == header));
}
