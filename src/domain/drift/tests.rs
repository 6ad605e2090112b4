//! What is a difference, and what follows from it.

use chrono::TimeDelta;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(10_000)
}

/// A live entry whose client is `oac-1`.
fn entry() -> ClientRegistration {
    let request = json!({
        "scopes": ["reports.read"], "grantTypes": ["client_credentials"], "redirectUris": [],
        "tokenEndpointAuthMethod": "client_secret_basic", "contact": "t@corp.example",
    });
    let parsed: RegistrationRequest = serde_json::from_value(request.clone()).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientRegistration", "metadata": {"name": "e1"},
        "spec": {
            "clientRef": {"namespace": "team", "name": "export", "uid": "u"},
            "attempt": 1, "installation": "i", "generation": 1,
            "owner": {"team": "t", "email": "t@corp.example"}, "purpose": "p",
            "server": {
                "name": "corp", "generation": 1, "issuer": "https://corp.example",
                "endpoints": {"tokenEndpoint": "https://corp.example/t"}, "backend": {"hydra": {"adminUrl": "https://a"}},
                "allowPlainHttp": false,
                "limits": {"requestsPerSecond": 1, "burst": 1, "maxInFlight": 1, "requestTimeout": "1s"},
                "accessTokenLifetime": "10m", "settleFor": "15m", "leastEvidence": "Proven",
            },
            "request": request,
            "firstRegisteredAt": now(), "expiresAt": now() + TimeDelta::hours(1),
        },
        "status": {"phase": "Registered", "clientId": "oac-1", "registeredAt": now(), "applied": request::hash(&parsed)},
    }))
    .unwrap()
}

fn as_asked() -> Present {
    Present {
        grant: Grant {
            scopes: Some(vec!["reports.read".into()]),
            grant_types: Some(vec!["client_credentials".into()]),
            redirect_uris: Some(vec![]),
            audiences: Some(vec![]),
            token_endpoint_auth_method: Some("client_secret_basic".into()),
        },
        ..Present::default()
    }
}

fn found(entry: &ClientRegistration, client: impl Into<Option<Present>>, keys: &[&str]) -> Option<(DriftKind, String)> {
    let listed = client.into().into_iter().map(|c| ("oac-1".to_owned(), c)).collect();
    let keys: BTreeSet<String> = keys.iter().map(|k| (*k).to_owned()).collect();
    let keys = if keys.is_empty() { BTreeMap::new() } else { [("e1".to_owned(), keys)].into() };
    let findings = weigh(&[entry], &listed, &keys, now());
    findings.changes.get("e1").map(|d| d.clone().map_or((DriftKind::Changed, "none".into()), |d| (d.kind, d.message)))
}

fn with(change: impl FnOnce(&mut Present)) -> Present {
    let mut client = as_asked();
    change(&mut client);
    client
}

#[rstest]
#[case::more_scopes(with(|c| c.grant.scopes = Some(vec!["reports.read".into(), "admin".into()])), DriftKind::Changed, "it has besides scopes admin")]
#[case::fewer(with(|c| c.grant.scopes = Some(vec![])), DriftKind::Changed, "it lacks scopes reports.read")]
#[case::others(with(|c| c.grant.grant_types = Some(vec!["implicit".into()])), DriftKind::Changed,
    "it has besides grant types implicit; lacks grant types client_credentials")]
#[case::redirects(with(|c| c.grant.redirect_uris = Some(vec!["https://evil.example".into()])), DriftKind::Changed,
    "it has besides redirect URIs https://evil.example")]
#[case::audiences(with(|c| c.grant.audiences = Some(vec!["https://evil.example".into()])), DriftKind::Changed,
    "it has besides audiences https://evil.example")]
#[case::method(with(|c| c.grant.token_endpoint_auth_method = Some("none".into())), DriftKind::Changed,
    "it authenticates by client_secret_basic no more, but by none")]
#[case::extras(with(|c| c.extras = vec!["fullScopeAllowed".into()]), DriftKind::Changed, "it has besides fullScopeAllowed")]
#[case::off(with(|c| { c.enabled = Some(false); c.extras = vec!["x".into()]; }), DriftKind::Disabled, "it is switched off at the server")]
#[case::missing(None::<Present>, DriftKind::Missing, "it is not among the server's clients")]
fn a_difference_is_told(#[case] client: impl Into<Option<Present>>, #[case] kind: DriftKind, #[case] message: &str) {
    assert_eq!(found(&entry(), client, &[]), Some((kind, message.to_owned())));
}

#[rstest]
#[case::as_asked(with(|_| ()))]
#[case::on(with(|c| c.enabled = Some(true)))]
#[case::not_said(Present::default())]
#[case::in_another_order(with(|c| c.grant.scopes = Some(vec!["reports.read".into(), "reports.read".into()])))]
fn no_difference(#[case] client: impl Into<Option<Present>>) {
    assert_eq!(found(&entry(), client, &[]), None);
}

#[test]
fn a_key_more_is_a_credential_more() {
    let client = with(|c| c.keys = Some(["a".to_owned(), "b".to_owned()].into()));
    assert_eq!(found(&entry(), client.clone(), &["a", "b"]), None);
    let found = found(&entry(), client, &["a"]);
    assert_eq!(found, Some((DriftKind::Changed, "it has besides keys b".to_owned())));
}

#[rstest]
#[case::ends(json!({"end": {"reason": "Expired", "message": "", "at": now()}}))]
#[case::on_its_way(json!({"phase": "Registering"}))]
fn what_is_not_settled_is_not_compared(#[case] status: Value) {
    let mut entry = entry();
    let mut all = serde_json::to_value(entry.state()).unwrap();
    all.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    entry.status = Some(serde_json::from_value(all).unwrap());
    assert_eq!(found(&entry, None, &[]), None);
}

#[test]
fn while_a_change_is_under_way_it_is_told_only_that_a_client_is_gone_or_off() {
    let mut entry = entry();
    entry.status.as_mut().unwrap().applied = Some("v1:sha256:other".into());
    let kind = |client: Option<Present>| found(&entry, client, &[]).map(|(kind, _)| kind);
    assert_eq!(kind(Some(with(|c| c.grant.scopes = Some(vec![])))), None);
    assert_eq!(kind(Some(with(|c| c.enabled = Some(false)))), Some(DriftKind::Disabled));
    assert_eq!(kind(None), Some(DriftKind::Missing));
    let drift = Drift { since: now(), kind: DriftKind::Changed, message: "it has besides scopes admin".into() };
    entry.status.as_mut().unwrap().drift = Some(drift);
    assert_eq!(found(&entry, as_asked(), &[]), None, "that is over when the change is");
}

#[test]
fn what_is_known_is_not_written_again_and_what_is_over_is() {
    let mut entry = entry();
    let drift = Drift { since: now(), kind: DriftKind::Disabled, message: "it is switched off at the server".into() };
    entry.status.as_mut().unwrap().drift = Some(drift);
    assert_eq!(found(&entry, with(|c| c.enabled = Some(false)), &[]), None);
    assert_eq!(found(&entry, with(|_| ()), &[]), Some((DriftKind::Changed, "none".into())));
    // One that lost our mark is not listed either, and may be gone by now.
    entry.status.as_mut().unwrap().drift.as_mut().unwrap().kind = DriftKind::Foreign;
    assert_eq!(found(&entry, None, &[]).map(|(kind, _)| kind), Some(DriftKind::Missing));
}
