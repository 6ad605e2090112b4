//! What follows for an object, by what is known of it.

use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::{EndReason, Evidence, EvidenceLevel, Phase, PossibleOrphan, Rejection, Retry};
use crate::domain::request;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(10_000)
}

fn server() -> AuthorizationServer {
    serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "AuthorizationServer",
        "metadata": {"name": "corp", "generation": 1},
        "spec": {
            "issuer": "https://corp.example", "backend": {"dynamicRegistration": {}},
            "allowedNamespaces": {"names": ["team"]},
        },
        "status": {
            "metadata": {"tokenEndpoint": "https://corp.example/t", "registrationEndpoint": "https://corp.example/r"},
            "capabilities": {"registration": true, "management": true},
        },
    }))
    .unwrap()
}

/// An object with its finalizer, nothing registered yet, nothing in the way.
fn observed() -> Observed {
    let client: OAuthClient = serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {
            "name": "export", "namespace": "team", "uid": "u", "generation": 1,
            "finalizers": [crate::api::CLIENT_FINALIZER],
        },
        "spec": {
            "authorizationServerRef": {"name": "corp"}, "owner": {"team": "t", "email": "t@corp.example"},
            "purpose": "p", "scopes": ["a"], "lifetime": {"expiresAt": now() + TimeDelta::hours(1)},
        },
    }))
    .unwrap();
    Observed {
        client,
        namespace: NamespaceState::Active,
        namespace_labels: std::collections::BTreeMap::new(),
        server: Some(server()),
        entries: Vec::new(),
        workload: Workload::NotReferenced,
        secret: Published::Absent,
        policies: vec![policy()],
        approvals: Vec::new(),
        stamped_since: Some(DateTime::UNIX_EPOCH),
        stamps_tried: true,
        others: Others::default(),
        clock_trusted: true,
    }
}

/// A policy that allows all that is asked for here.
fn policy() -> ClientPolicy {
    serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientPolicy",
        "metadata": {"name": "all"},
        "spec": {
            "appliesTo": {"namespaces": {"names": ["*"]}, "authorizationServers": ["*"]},
            "allow": {
                "ownerEmails": ["*"], "scopes": ["*"], "grantTypes": ["*"], "redirectUris": ["*"], "audiences": ["*"],
                "tokenEndpointAuthMethods": ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
                "workloadKinds": ["*"],
            },
        },
    }))
    .unwrap()
}

/// The entry of an attempt at registering it, in this phase.
fn entry(o: &Observed, attempt: u32, phase: Phase) -> ClientRegistration {
    let mut entry: ClientRegistration = serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientRegistration",
        "metadata": {"name": format!("e{attempt}"), "generation": 1},
        "spec": {
            "clientRef": {"namespace": "team", "name": "export", "uid": "u"},
            "attempt": attempt, "installation": "i", "generation": 1,
            "owner": {"team": "t", "email": "t@corp.example"}, "purpose": "p",
            "policy": {"name": "all", "onViolation": "Warn"},
            "server": {
                "name": "corp", "generation": 1, "issuer": "https://corp.example",
                "endpoints": {"tokenEndpoint": "https://corp.example/t"}, "backend": {"dynamicRegistration": {}},
                "allowPlainHttp": false, "limits": {}, "accessTokenLifetime": "10m", "settleFor": "15m",
                "leastEvidence": "Proven",
            },
            "request": request::of(&o.client.spec),
            "firstRegisteredAt": now() - TimeDelta::minutes(5), "expiresAt": now() + TimeDelta::hours(1),
        },
        "status": {"phase": phase},
    }))
    .unwrap();
    let s = entry.status.as_mut().unwrap();
    if phase != Phase::Pending {
        s.attempted_at = Some(now() - TimeDelta::minutes(5));
    }
    if phase == Phase::Registered {
        s.registered_at = Some(now() - TimeDelta::minutes(5));
        s.client_id = Some("id".into());
    }
    entry
}

/// An object that is served.
fn ready() -> Observed {
    let mut o = observed();
    o.client.status = Some(OAuthClientStatus { attempts: Some(1), ..OAuthClientStatus::default() });
    o.entries = vec![entry(&o, 1, Phase::Registered)];
    o.secret = Published::UpToDate;
    o
}

/// An object whose client has ended for this reason, with proof.
fn revoked(reason: EndReason) -> Observed {
    let mut o = observed();
    o.client.status = Some(OAuthClientStatus { attempts: Some(1), ..OAuthClientStatus::default() });
    let mut e = entry(&o, 1, Phase::Revoked);
    let s = e.status.as_mut().unwrap();
    s.end = Some(End { reason, message: "it ended".into(), at: now() - TimeDelta::minutes(1) });
    s.revoked_at = Some(now() - TimeDelta::minutes(1));
    s.registered_at = Some(now() - TimeDelta::minutes(5));
    s.evidence = Some(Evidence {
        level: EvidenceLevel::Proven,
        statement: "gone".into(),
        before: None,
        deletion: None,
        after: None,
        never_existed: None,
    });
    o.entries = vec![e];
    o
}

fn state(o: &mut Observed) -> &mut crate::api::ClientRegistrationStatus {
    o.entries.last_mut().unwrap().status.as_mut().unwrap()
}

fn edited(o: &mut Observed) {
    o.client.metadata.generation = Some(2);
}

fn with_audiences(o: &mut Observed) {
    let backend = json!({"hydra": {"adminUrl": "https://hydra-admin.corp.example"}});
    o.server.as_mut().unwrap().spec.backend = serde_json::from_value(backend).unwrap();
    o.client.spec.audiences = vec!["https://api.corp.example".into()];
}

fn condition(d: &Decision, type_: &str) -> Option<(String, String)> {
    let status = d.status.as_ref()?;
    status.conditions.iter().find(|c| c.type_ == type_).map(|c| (c.status.clone(), c.reason.clone()))
}

/// The name of a step, with the entry or the attempt that it is about.
fn brief(step: &Step) -> String {
    match step {
        Step::CreateEntry { attempt, end: None, .. } => format!("create {attempt}"),
        Step::CreateEntry { attempt, end: Some(_), .. } => format!("put back {attempt}"),
        Step::UpdateEntry { name, whole, .. } => format!("update {name}{}", if *whole { "" } else { " time" }),
        Step::EndEntry { name, .. } => format!("end {name}"),
        Step::PublishSecret { entry } => format!("publish {entry}"),
        Step::RemoveFinalizer { debt } => format!("let go{}", if debt.is_some() { " with a debt" } else { "" }),
        other => format!("{other:?}"),
    }
}

#[rstest]
#[case::no_server("UnknownAuthorizationServer", true, |o: &mut Observed| o.server = None)]
#[case::namespace("NamespaceNotAllowed", true, |o: &mut Observed| o.client.metadata.namespace = Some("other".into()))]
#[case::audiences("AudiencesUnsupported", true, |o: &mut Observed| o.client.spec.audiences = vec!["x".into()])]
#[case::suspended("Suspended", true, |o: &mut Observed| o.client.spec.suspend = true)]
#[case::server_goes("AuthorizationServerDeleting", true, |o: &mut Observed| {
    let metadata = json!({"name": "corp", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    o.server.as_mut().unwrap().metadata = serde_json::from_value(metadata).unwrap();
})]
#[case::not_discovered("AuthorizationServerNotReady", false, |o: &mut Observed| o.server.as_mut().unwrap().status = None)]
#[case::no_registration("RegistrationUnsupported", true, |o: &mut Observed| {
    let status = o.server.as_mut().unwrap().status.as_mut().unwrap();
    status.metadata.as_mut().unwrap().registration_endpoint = None;
})]
#[case::no_management("RevocationUnsupported", true, |o: &mut Observed| {
    let status = o.server.as_mut().unwrap().status.as_mut().unwrap();
    status.capabilities.as_mut().unwrap().management = false;
})]
#[case::no_workload("WorkloadNotFound", false, |o: &mut Observed| o.workload = Workload::Missing)]
#[case::workload_unread("WorkloadUnknown", false, |o: &mut Observed| o.workload = Workload::Unknown)]
#[case::workload_over("WorkloadFinished", true, |o: &mut Observed| {
    o.workload = Workload::Present { uid: "j".into(), finished: Some("Complete".into()) };
})]
#[case::kind("WorkloadKindNotAllowed", true, |o: &mut Observed| {
    o.workload = Workload::NotAllowed { message: "no".into() };
})]
#[case::secret("SecretConflict", true, |o: &mut Observed| o.secret = Published::Foreign { whose: "is another's".into() })]
#[case::clock("ClockNotTrusted", false, |o: &mut Observed| o.clock_trusted = false)]
fn nothing_is_registered_while_something_stands_against_it(
    #[case] reason: &str,
    #[case] stalled: bool,
    #[case] change: fn(&mut Observed),
) {
    let mut o = observed();
    change(&mut o);
    let d = decide(&o, now());
    assert_eq!(d.step, Step::Wait);
    assert_eq!(condition(&d, "Accepted"), Some(("False".into(), reason.into())));
    assert_eq!(condition(&d, "Ready"), Some(("False".into(), reason.into())));
    assert_eq!(condition(&d, "Stalled").is_some(), stalled);

    // An entry that nothing was asked for yet is taken back, unless it only has to wait.
    let begun = entry(&o, 1, Phase::Pending);
    o.entries = vec![begun];
    let step = brief(&decide(&o, now()).step);
    let ends_by_itself = reason == "Suspended" || reason.starts_with("Workload");
    assert_eq!(step, if stalled && !ends_by_itself { "end e1" } else { "Wait" });
}

#[rstest]
#[case::no_server(|o: &mut Observed| o.server.as_mut().unwrap().status = None, "True", false)]
#[case::server_goes_wrong(|o: &mut Observed| {
    o.server.as_mut().unwrap().status.as_mut().unwrap().capabilities.as_mut().unwrap().management = false;
}, "True", false)]
#[case::forbidden(|o: &mut Observed| o.server.as_mut().unwrap().spec.allowed_namespaces.names.clear(), "True", true)]
#[case::secret_taken(|o: &mut Observed| o.secret = Published::Foreign { whose: "is another's".into() }, "False", true)]
fn what_stands_against_it_ends_no_client_that_runs(
    #[case] change: fn(&mut Observed),
    #[case] ready_is: &str,
    #[case] stalled: bool,
) {
    let mut o = ready();
    change(&mut o);
    let d = decide(&o, now());
    assert_eq!(d.step, Step::Wait);
    assert_eq!(condition(&d, "Ready").unwrap().0, ready_is);
    assert_eq!(condition(&d, "Stalled").is_some(), stalled);
    assert!(d.requeue_at.is_some_and(|t| t > now()));
}

#[rstest]
#[case::first("create 1", observed, |_: &mut Observed| {})]
#[case::no_finalizer("AddFinalizer", observed, |o: &mut Observed| o.client.metadata.finalizers = None)]
#[case::underway("Wait", ready, |o: &mut Observed| {
    state(o).phase = Phase::Registering;
    o.secret = Published::Absent;
})]
#[case::no_entry_stands_for_the_secret("DeleteSecret", observed, |o: &mut Observed| {
    o.secret = Published::UpToDate;
    o.server = None;
})]
#[case::served("Wait", ready, |_: &mut Observed| {})]
#[case::secret_lost("publish e1", ready, |o: &mut Observed| o.secret = Published::Absent)]
#[case::secret_altered("publish e1", ready, |o: &mut Observed| o.secret = Published::Outdated)]
#[case::scopes("update e1", ready, |o: &mut Observed| o.client.spec.scopes = vec!["b".into()])]
#[case::audiences_where_they_can_be_restricted("create 1", observed, with_audiences)]
#[case::other_audiences("update e1", ready, with_audiences)]
#[case::longer("update e1", ready, |o: &mut Observed| {
    o.client.spec.lifetime.expires_at = Some(now() + TimeDelta::hours(9));
})]
#[case::any_edit("update e1", ready, edited)]
#[case::another_method("create 2", ready, |o: &mut Observed| {
    o.client.spec.token_endpoint_auth_method = crate::api::TokenEndpointAuthMethod::ClientSecretPost;
})]
#[case::namespace_unread("Wait", ready, |o: &mut Observed| {
    o.namespace = NamespaceState::Unknown;
    o.secret = Published::Absent;
})]
#[case::suspended("DeleteSecret", ready, |o: &mut Observed| o.client.spec.suspend = true)]
#[case::expired("DeleteSecret", ready, |o: &mut Observed| {
    o.entries[0].spec.expires_at = now();
    o.client.spec.lifetime.expires_at = Some(now());
})]
#[case::expired_by_a_wrong_clock("Wait", ready, |o: &mut Observed| {
    o.entries[0].spec.expires_at = now();
    o.client.spec.lifetime.expires_at = Some(now());
    o.clock_trusted = false;
})]
#[case::extended_while_we_were_down("update e1", ready, |o: &mut Observed| {
    o.entries[0].spec.expires_at = now() - TimeDelta::hours(1);
    edited(o);
})]
#[case::orphan("create 2", ready, |o: &mut Observed| orphaned(o, false))]
#[case::orphan_not_on_the_object_yet("Wait", ready, |o: &mut Observed| {
    orphaned(o, false);
    o.client.status = None;
})]
#[case::unmanageable("Wait", ready, |o: &mut Observed| orphaned(o, true))]
fn steps(#[case] expected: &str, #[case] from: fn() -> Observed, #[case] change: fn(&mut Observed)) {
    let mut o = from();
    change(&mut o);
    assert_eq!(brief(&decide(&o, now()).step), expected);
}

fn orphaned(o: &mut Observed, unmanageable: bool) {
    if o.entries.len() == 1 {
        o.secret = Published::Absent;
    }
    let s = state(o);
    s.phase = Phase::PossibleOrphan;
    s.registered_at = None;
    s.possible_orphan = Some(PossibleOrphan { since: now(), message: "may exist".into(), unmanageable });
}

/// An object that asks for another authentication method than its client has, and the entry begun for that.
fn replacing(change: fn(&mut Observed)) -> Observed {
    let mut o = ready();
    o.client.spec.token_endpoint_auth_method = crate::api::TokenEndpointAuthMethod::ClientSecretPost;
    let newer = entry(&o, 2, Phase::Pending);
    o.entries.push(newer);
    o.client.status = Some(OAuthClientStatus { attempts: Some(2), ..OAuthClientStatus::default() });
    change(&mut o);
    o
}

#[rstest]
#[case::begun("Wait", |_: &mut Observed| {})]
#[case::edited_again("update e1 time", edited)]
#[case::serves("end e1", |o: &mut Observed| {
    state(o).phase = Phase::Registered;
    state(o).registered_at = Some(now());
})]
#[case::secret_first("publish e2", |o: &mut Observed| {
    state(o).phase = Phase::Registered;
    o.secret = Published::Outdated;
})]
#[case::refused("Wait", |o: &mut Observed| rejected(o))]
#[case::refused_then_edited("create 3", |o: &mut Observed| {
    rejected(o);
    edited(o);
    o.entries[0].spec.generation = 2;
})]
#[case::orphaned("create 3", |o: &mut Observed| orphaned(o, false))]
#[case::not_on_the_object_yet("Wait", |o: &mut Observed| {
    orphaned(o, false);
    o.client.status = None;
})]
#[case::refused_meanwhile("end e1", |o: &mut Observed| {
    state(o).phase = Phase::Registered;
    o.server.as_mut().unwrap().spec.allowed_namespaces.names.clear();
})]
#[case::unmanageable("Wait", |o: &mut Observed| orphaned(o, true))]
#[case::taken_back("end e2", |o: &mut Observed| {
    o.client.spec.token_endpoint_auth_method = crate::api::TokenEndpointAuthMethod::ClientSecretBasic;
})]
#[case::server_goes("Wait", |o: &mut Observed| {
    o.entries.pop();
    o.server.as_mut().unwrap().status.as_mut().unwrap().capabilities.as_mut().unwrap().management = false;
})]
fn one_client_replaces_another(#[case] expected: &str, #[case] change: fn(&mut Observed)) {
    assert_eq!(brief(&decide(&replacing(change), now()).step), expected);
}

fn rejected(o: &mut Observed) {
    let s = state(o);
    s.phase = Phase::Rejected;
    s.attempted_at = Some(now());
    s.rejection = Some(Rejection { status: 400, message: "no such scope".into() });
}

#[test]
fn a_refused_change_is_said_and_the_client_stays_ready() {
    let d = decide(&replacing(rejected), now());
    assert_eq!(condition(&d, "Ready").unwrap().0, "True");
    assert_eq!(condition(&d, "Stalled").unwrap().1, "ChangeRefused");
    assert!(d.status.unwrap().message.unwrap().contains("no such scope"));
}

#[test]
fn one_that_was_replaced_does_not_tell_why_there_is_none() {
    let mut o = revoked(EndReason::Replaced);
    let mut newer = revoked(EndReason::GoneAtServer).entries.remove(0);
    (newer.metadata.name, newer.spec.attempt) = (Some("e2".into()), 2);
    newer.status.as_mut().unwrap().end.as_mut().unwrap().at = now() - TimeDelta::minutes(4);
    o.entries.push(newer);
    o.client.status.as_mut().unwrap().attempts = Some(2);
    assert_eq!(brief(&decide(&o, now()).step), "create 3", "its overlap was over after that");
}

#[test]
fn what_was_begun_where_the_caller_chooses_the_id_is_taken_back_when_refused() {
    let mut o = observed();
    o.client.status = Some(OAuthClientStatus { attempts: Some(1), ..OAuthClientStatus::default() });
    o.entries = vec![entry(&o, 1, Phase::Registering)];
    o.server.as_mut().unwrap().spec.allowed_namespaces.names = vec!["other".into()];
    assert_eq!(decide(&o, now()).step, Step::Wait, "else it is a possible orphan, which nothing can end");
    let hydra: crate::api::Backend = serde_json::from_value(json!({"hydra": {"adminUrl": "https://a"}})).unwrap();
    o.entries[0].spec.server.backend = hydra;
    assert!(matches!(decide(&o, now()).step, Step::EndEntry { .. }));
    let mut o = replacing(|o| o.server.as_mut().unwrap().spec.allowed_namespaces.names = vec!["other".into()]);
    assert_eq!(brief(&decide(&o, now()).step), "end e2", "and one that was to replace another");
    state(&mut o).attempted_at = Some(now());
    assert_eq!(brief(&decide(&o, now()).step), "Wait");
}

#[test]
fn what_was_begun_for_a_credential_of_another_kind_is_begun_anew() {
    let mut o = observed();
    o.client.status = Some(OAuthClientStatus { attempts: Some(1), ..OAuthClientStatus::default() });
    o.entries = vec![entry(&o, 1, Phase::Pending)];
    o.client.spec.token_endpoint_auth_method = crate::api::TokenEndpointAuthMethod::PrivateKeyJwt;
    edited(&mut o);
    assert_eq!(brief(&decide(&o, now()).step), "update e1", "nothing is made before the server is asked");
    let hydra: crate::api::Backend = serde_json::from_value(json!({"hydra": {"adminUrl": "https://a"}})).unwrap();
    o.entries[0].spec.server.backend = hydra;
    assert!(matches!(decide(&o, now()).step, Step::EndEntry { .. }), "a secret may be stored");
    o.entries[0].spec.end = Some(End { reason: EndReason::Replaced, message: String::new(), at: now() });
    state(&mut o).phase = Phase::Cancelled;
    state(&mut o).end = o.entries[0].spec.end.clone();
    assert_eq!(brief(&decide(&o, now()).step), "create 2");
}

#[test]
fn an_edit_that_came_while_its_registration_was_refused_is_tried() {
    let mut o = ready();
    rejected(&mut o);
    o.secret = Published::Absent;
    assert_eq!(brief(&decide(&o, now()).step), "Wait");
    o.entries[0].spec.request.scopes = vec!["before".into()];
    assert_eq!(brief(&decide(&o, now()).step), "create 2", "the entry knows the edit, and did not ask for it");
    let mut o = replacing(rejected);
    o.entries[1].spec.request.scopes = vec!["before".into()];
    assert_eq!(brief(&decide(&o, now()).step), "create 3");
}

#[test]
fn an_end_dated_by_a_clock_that_was_ahead_does_not_come_last_for_ever() {
    let mut o = revoked(EndReason::EvidenceUnobtainable);
    state(&mut o).end.as_mut().unwrap().at = now() + TimeDelta::hours(2);
    edited(&mut o);
    assert_eq!(brief(&decide(&o, now()).step), "create 2", "it was edited");
    let mut newer = o.entries[0].clone();
    (newer.metadata.name, newer.spec.attempt, newer.spec.generation) = (Some("e2".into()), 2, 2);
    newer.status.as_mut().unwrap().end.as_mut().unwrap().at = now() - TimeDelta::minutes(1);
    o.entries.push(newer);
    o.client.status.as_mut().unwrap().attempts = Some(2);
    assert_eq!(decide(&o, now()).step, Step::Wait, "and the edit was answered");
}

#[rstest]
#[case::suspended_no_more(EndReason::Suspended, "create 2", |_: &mut Observed| {})]
#[case::still_suspended(EndReason::Suspended, "Wait", |o: &mut Observed| o.client.spec.suspend = true)]
#[case::expired(EndReason::Expired, "Wait", |o: &mut Observed| o.client.spec.lifetime.expires_at = Some(now()))]
#[case::extended(EndReason::Expired, "create 2", |_: &mut Observed| {})]
#[case::entry_deleted(EndReason::RegistrationDeleted, "Wait", |_: &mut Observed| {})]
#[case::entry_deleted_then_edited(EndReason::RegistrationDeleted, "create 2", edited)]
#[case::too_much(EndReason::GrantedTooMuch, "Wait", |_: &mut Observed| {})]
#[case::unprovable(EndReason::EvidenceUnobtainable, "Wait", |_: &mut Observed| {})]
#[case::unprovable_at_a_changed_server(EndReason::EvidenceUnobtainable, "create 2", |o: &mut Observed| {
    o.server.as_mut().unwrap().metadata.generation = Some(2);
})]
#[case::workload_finished(EndReason::WorkloadFinished, "Wait", edited)]
#[case::namespace(EndReason::NamespaceTerminating, "Wait", |_: &mut Observed| {})]
#[case::deleted_after(EndReason::WorkloadFinished, "DeleteObject", |o: &mut Observed| {
    o.client.spec.ttl_seconds_after_finished = Some(10);
})]
#[case::deleted_later(EndReason::WorkloadFinished, "Wait", |o: &mut Observed| {
    o.client.spec.ttl_seconds_after_finished = Some(100);
})]
#[case::secret_first(EndReason::WorkloadFinished, "DeleteSecret", |o: &mut Observed| o.secret = Published::UpToDate)]
#[case::foreign_secret_stays(EndReason::WorkloadFinished, "Wait", |o: &mut Observed| {
    o.secret = Published::Foreign { whose: "is another's".into() };
})]
#[case::let_go_and_told(EndReason::Expired, "Wait", |o: &mut Observed| {
    o.client.status = decide(o, now()).status.map(|s| OAuthClientStatus { state: Some("Revoked".into()), ..s });
    let named = json!({"name": "e1", "attempt": 1, "generation": 1});
    let named = serde_json::from_value(named).unwrap();
    o.client.status = Some(OAuthClientStatus {
        state: Some("Revoked".into()), registration_ref: Some(named), ..OAuthClientStatus::default()
    });
    o.entries.clear();
})]
fn after_the_end(#[case] reason: EndReason, #[case] expected: &str, #[case] change: fn(&mut Observed)) {
    let mut o = revoked(reason);
    change(&mut o);
    assert_eq!(brief(&decide(&o, now()).step), expected);
}

#[test]
fn revoked_is_said_with_its_reason_and_evidence_and_an_ended_client_has_no_ready() {
    let d = decide(&revoked(EndReason::WorkloadFinished), now());
    assert_eq!(condition(&d, "Revoked"), Some(("True".into(), "WorkloadFinished".into())));
    assert_eq!(condition(&d, "Ready"), None);
    let status = d.status.unwrap();
    assert_eq!(status.message.as_deref(), Some("it ended; Proven"));
    assert_eq!(status.binding, None);
}

#[test]
fn revoked_is_not_said_while_a_client_that_was_replaced_is_not_gone() {
    let mut o = revoked(EndReason::Suspended);
    o.client.spec.suspend = true;
    let mut last = o.entries.remove(0);
    last.spec.attempt = 2;
    let mut old = entry(&o, 1, Phase::Revoking);
    let s = old.status.as_mut().unwrap();
    s.end = Some(End { reason: EndReason::Replaced, message: "replaced".into(), at: now() - TimeDelta::minutes(3) });
    s.retry = Some(Retry { failures: 3, next_at: now(), last_error: "no connection".into() });
    o.entries = vec![old, last];
    let d = decide(&o, now());
    assert_eq!(condition(&d, "Revoked"), Some(("False".into(), "RevocationFailing".into())));
}

/// An object that names an entry which is not in the ledger.
fn named(said: &Value) -> Observed {
    let mut o = observed();
    let mut status = json!({"registrationRef": {"name": "e3", "attempt": 3, "generation": 1}});
    status.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    o.client.status = Some(serde_json::from_value(status).unwrap());
    o
}

#[rstest]
#[case::it_was_ready(&json!({"state": "Ready"}), false, "put back 3")]
#[case::it_was_ready_and_edited(&json!({"state": "Ready"}), true, "put back 3")]
#[case::it_was_revoked(&json!({"state": "Revoked"}), false, "Wait")]
#[case::it_was_revoked_and_edited(&json!({"state": "Revoked"}), true, "create 4")]
fn an_entry_that_is_gone_is_no_reason_to_register_anew(
    #[case] said: &Value,
    #[case] edit: bool,
    #[case] expected: &str,
) {
    let mut o = named(said);
    if edit {
        edited(&mut o);
    }
    assert_eq!(brief(&decide(&o, now()).step), expected);
    o.server = None;
    assert_eq!(decide(&o, now()).step, Step::Wait, "where its client would be is not known");
}

/// An object that was deleted so many seconds ago.
fn deleted(seconds: i64, phase: Phase) -> Observed {
    let mut o = ready();
    let at = (now() - TimeDelta::seconds(seconds)).timestamp();
    let at = k8s_openapi::jiff::Timestamp::from_second(at).unwrap();
    o.client.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
    o.secret = Published::Absent;
    state(&mut o).phase = phase;
    o
}

#[rstest]
#[case::held(1, Phase::Revoking, "Wait")]
#[case::held_for_all_its_time(299, Phase::Revoking, "Wait")]
#[case::not_for_ever(300, Phase::Revoking, "let go with a debt")]
#[case::revoked(1, Phase::Revoked, "let go")]
#[case::never_a_client(1, Phase::Cancelled, "let go")]
#[case::refused(1, Phase::Rejected, "let go")]
#[case::orphan(1, Phase::PossibleOrphan, "let go")]
fn deletion_waits_for_the_end(#[case] seconds: i64, #[case] phase: Phase, #[case] expected: &str) {
    let mut o = deleted(seconds, phase);
    assert_eq!(brief(&decide(&o, now()).step), expected);
    o.secret = Published::UpToDate;
    assert_eq!(decide(&o, now()).step, Step::DeleteSecret, "the Secret goes first");
    o.namespace = NamespaceState::Terminating;
    assert_eq!(decide(&o, now()).step, Step::DeleteSecret, "what hangs in a namespace that ends keeps it from going");
}

#[test]
fn a_wrong_clock_lets_nothing_go_and_is_looked_at_again() {
    let mut o = deleted(3_000, Phase::Revoking);
    o.clock_trusted = false;
    let d = decide(&o, now());
    assert_eq!(d.step, Step::Wait);
    assert_eq!(d.requeue_at, Some(now() + LOOK_AGAIN));
}

#[test]
fn a_workload_is_found_once() {
    let mut o = observed();
    o.client.spec.workload_ref =
        Some(serde_json::from_value(json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j"})).unwrap());
    o.workload = Workload::Present { uid: "first".into(), finished: None };
    let Step::CreateEntry { workload, .. } = decide(&o, now()).step else { panic!("no entry") };
    assert_eq!(workload.as_ref().unwrap().uid, "first");

    o.entries = vec![entry(&o, 1, Phase::PossibleOrphan)];
    o.entries[0].spec.workload = workload;
    orphaned(&mut o, false);
    o.workload = Workload::Present { uid: "second".into(), finished: None };
    let d = decide(&o, now());
    assert_eq!(d.step, Step::Wait);
    assert_eq!(condition(&d, "Accepted").unwrap().1, "WorkloadGone");
}

#[test]
fn a_decision_on_what_it_has_said_says_nothing_new() {
    for mut o in [ready(), revoked(EndReason::WorkloadFinished), replacing(rejected), deleted(1, Phase::Revoking)] {
        let first = decide(&o, now());
        if first.status.is_some() {
            o.client.status.clone_from(&first.status);
        }
        let later = decide(&o, now() + TimeDelta::seconds(20));
        assert_eq!(later.status, o.client.status.clone().filter(|_| first.status.is_some()));
    }
}

mod approvals;
mod governed;
mod rotation;
