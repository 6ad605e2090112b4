//! What follows for a ledger entry, by what is known of it.

use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::{Acceptance, Deletion, FailedChange, PossibleOrphan, Retry};
use crate::domain::ends::Circumstances;
use crate::domain::workload::Workload;

mod chosen_id;
mod key_rotation;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(10_000)
}

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

/// A new entry of an object that deserves it.
fn pending() -> Observed {
    let spec: ClientRegistrationSpec = serde_json::from_value(json!({
        "clientRef": {"namespace": "team", "name": "export", "uid": "u"},
        "attempt": 1, "installation": "i", "generation": 1,
        "owner": {"team": "t", "email": "t@corp.example"}, "purpose": "p",
        "server": {
            "name": "corp", "generation": 1, "issuer": "https://corp.example",
            "endpoints": {"tokenEndpoint": "https://corp.example/t"}, "backend": {"dynamicRegistration": {}},
            "allowPlainHttp": false, "limits": {}, "accessTokenLifetime": "10m", "settleFor": "15m",
            "leastEvidence": "Proven",
        },
        "request": {
            "scopes": ["a"], "grantTypes": ["client_credentials"], "redirectUris": [],
            "tokenEndpointAuthMethod": "client_secret_basic", "contact": "t@corp.example",
        },
        "firstRegisteredAt": ago(60), "expiresAt": now() + TimeDelta::hours(1),
    }))
    .unwrap();
    Observed {
        name: "e".into(),
        spec,
        status: ClientRegistrationStatus::default(),
        circumstances: Circumstances {
            entry_deleting: false,
            client: ClientState::Present { deleting: false, suspended: false, generation: 1, told: false },
            namespace: NamespaceState::Active,
            workload: Workload::NotReferenced,
            clock_trusted: true,
        },
        management: Management::Absent,
        pass: Pass::default(),
    }
}

fn stored(o: &mut Observed) {
    o.management = Management::Present {
        client_id: "id".into(),
        applied: request::hash(&o.spec.request),
        granted: Grant { scopes: Some(vec!["a".into()]), ..Grant::default() },
        has_credential: true,
        keys: Keys::default(),
    };
}

fn accepted(o: &mut Observed, minutes_ago: i64) {
    let answer = ProbeRecord { at: ago(minutes_ago), status: 200, error: None };
    o.status.acceptance = Some(Acceptance { method: "Revocation".into(), answer });
}

/// A client that runs.
fn registered() -> Observed {
    let mut o = pending();
    stored(&mut o);
    accepted(&mut o, 60);
    o.status.phase = Phase::Registered;
    o.status.attempted_at = Some(ago(60));
    o.status.registered_at = Some(ago(60));
    o.status.applied = Some(request::hash(&o.spec.request));
    o
}

/// A client that has ended, and whose credential was accepted so many minutes ago.
fn ending(minutes_ago: i64) -> Observed {
    let mut o = registered();
    accepted(&mut o, minutes_ago);
    o.status.phase = Phase::Revoking;
    o.status.end = Some(End { reason: EndReason::Suspended, message: "suspended".into(), at: ago(1) });
    o.status.deletion = Some(Deletion::default());
    o
}

fn refused() -> ProbeRecord {
    ProbeRecord { at: now(), status: 401, error: Some("invalid_client".into()) }
}

fn client(o: &mut Observed, deleting: bool, suspended: bool, generation: i64) {
    o.circumstances.client = ClientState::Present { deleting, suspended, generation, told: false };
}

/// The name of a step, with the reason of an end or the phase that is final.
fn brief(step: &Step) -> String {
    match step {
        Step::RecordEnd(end) => format!("end {:?}", end.reason),
        Step::RecordFinal(phase, found) => {
            let level = found.as_ref().map(|e| format!(" {:?}", e.level)).unwrap_or_default();
            format!("{phase:?}{level}")
        }
        Step::RecordDebt(..) => "debt".into(),
        Step::Wait { .. } => "wait".into(),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn assert_step(o: &Observed, expected: &str) {
    let step = decide(o, TimeDelta::days(90), now());
    assert_eq!(brief(&step), expected, "{step:?}");
    if let Step::Wait { until: Some(until) } = step {
        assert!(until > now(), "a wait that is over already is a hot loop");
    }
}

#[rstest]
#[case::attempt_first("RecordAttempt", |_: &mut Observed| {})]
#[case::then_register("Register", |o: &mut Observed| {
    o.status.attempted_at = Some(now());
    o.pass.attempt_recorded = true;
})]
#[case::an_attempt_of_a_pass_that_died("RecordPossibleOrphan", |o: &mut Observed| o.status.attempted_at = Some(ago(1)))]
#[case::backs_off("wait", |o: &mut Observed| {
    let next_at = now() + TimeDelta::minutes(1);
    o.status.retry = Some(Retry { failures: 1, next_at, last_error: "no".into() });
})]
#[case::a_wait_that_a_wrong_clock_wrote("RecordAttempt", |o: &mut Observed| {
    let next_at = now() + TimeDelta::hours(2);
    o.status.retry = Some(Retry { failures: 1, next_at, last_error: "no".into() });
})]
#[case::not_before("wait", |o: &mut Observed| o.spec.not_before = Some(now() + TimeDelta::minutes(1)))]
#[case::object_unread("wait", |o: &mut Observed| o.circumstances.client = ClientState::Unknown)]
#[case::namespace_unread("wait", |o: &mut Observed| o.circumstances.namespace = NamespaceState::Unknown)]
#[case::an_edit_to_be_judged("wait", |o: &mut Observed| client(o, false, false, 2))]
#[case::wrong_clock("wait", |o: &mut Observed| o.circumstances.clock_trusted = false)]
#[case::secret_unread("wait", |o: &mut Observed| o.management = Management::Unknown)]
#[case::ended_before("end Suspended", |o: &mut Observed| client(o, false, true, 1))]
#[case::stored_then_proven("Prove", |o: &mut Observed| stored(o))]
#[case::proven("RecordRegistered", |o: &mut Observed| {
    stored(o);
    accepted(o, 0);
})]
#[case::nothing_tells("end EvidenceUnobtainable", |o: &mut Observed| {
    stored(o);
    o.pass.nothing_separates = true;
})]
#[case::nothing_has_to_tell("RecordRegistered", |o: &mut Observed| {
    stored(o);
    o.pass.nothing_separates = true;
    o.spec.server.least_evidence = EvidenceLevel::ServerConfirmed;
})]
#[case::granted_too_much("end GrantedTooMuch", |o: &mut Observed| {
    stored(o);
    o.spec.request.scopes = Vec::new();
    stored(o);
})]
#[case::an_answer_to_an_older_request("Prove", |o: &mut Observed| {
    stored(o);
    o.spec.request.scopes = Vec::new();
})]
fn on_the_way(#[case] expected: &str, #[case] change: fn(&mut Observed)) {
    let mut o = pending();
    change(&mut o);
    assert_step(&o, expected);
}

#[rstest]
#[case::rests("wait", |_: &mut Observed| {})]
#[case::edited("Update", |o: &mut Observed| o.spec.request.scopes = vec!["b".into()])]
#[case::that_edit_was_refused("wait", |o: &mut Observed| {
    o.spec.request.scopes = vec!["b".into()];
    let request = request::hash(&o.spec.request);
    o.status.failed_change = Some(FailedChange { request, unsupported: false, message: "no".into() });
})]
#[case::object_unread("wait", |o: &mut Observed| o.circumstances.client = ClientState::Unknown)]
#[case::namespace_unread("wait", |o: &mut Observed| o.circumstances.namespace = NamespaceState::Unknown)]
#[case::workload_unread("wait", |o: &mut Observed| o.circumstances.workload = Workload::Unknown)]
#[case::secret_unread("wait", |o: &mut Observed| o.management = Management::Unknown)]
#[case::expired_by_a_wrong_clock("wait", |o: &mut Observed| {
    o.spec.expires_at = ago(1);
    o.circumstances.clock_trusted = false;
})]
#[case::expired_and_edited("wait", |o: &mut Observed| {
    o.spec.expires_at = ago(1);
    client(o, false, false, 2);
})]
#[case::its_approval_is_over_and_it_was_edited("end Expired", |o: &mut Observed| {
    let approval = json!({
        "name": "a", "requestHash": "h", "approver": "carol", "reason": "why", "approvedAt": ago(60),
        "notAfter": ago(1),
    });
    (o.spec.expires_at, o.spec.approval) = (ago(1), Some(serde_json::from_value(approval).unwrap()));
    client(o, false, false, 2);
    accepted(o, 1);
})]
// The credential was last accepted an hour ago: it is tried first.
#[case::expired("ProbeBefore", |o: &mut Observed| o.spec.expires_at = ago(1))]
#[case::expired_and_tried("end Expired", |o: &mut Observed| {
    o.spec.expires_at = ago(1);
    o.pass.before = Some(Verdict::Accepted);
})]
#[case::deleted("end ClientDeleted", |o: &mut Observed| {
    client(o, true, false, 1);
    accepted(o, 1);
})]
#[case::torn_off("end ClientGone", |o: &mut Observed| {
    o.circumstances.client = ClientState::Gone;
    accepted(o, 1);
})]
#[case::namespace_ends("end NamespaceTerminating", |o: &mut Observed| {
    o.circumstances.namespace = NamespaceState::Terminating;
    accepted(o, 1);
})]
#[case::entry_deleted("end RegistrationDeleted", |o: &mut Observed| {
    o.circumstances.entry_deleting = true;
    accepted(o, 1);
})]
fn a_client_that_runs(#[case] expected: &str, #[case] change: fn(&mut Observed)) {
    let mut o = registered();
    change(&mut o);
    assert_step(&o, expected);
}

#[rstest]
#[case::fresh("Delete", 5, |_: &mut Observed| {})]
#[case::stale("ProbeBefore", 60, |_: &mut Observed| {})]
#[case::accepted_again("Delete", 0, |o: &mut Observed| o.pass.before = Some(Verdict::Accepted))]
#[case::accepted_before_a_long_pause("ProbeBefore", 60, |o: &mut Observed| o.pass.before = Some(Verdict::Accepted))]
#[case::refused("Delete", 60, |o: &mut Observed| o.pass.before = Some(Verdict::RefusedAsUnknown))]
#[case::useless_once("debt", 60, |o: &mut Observed| useless(o, 1))]
#[case::useless_five_times("Delete", 60, |o: &mut Observed| useless(o, 5))]
#[case::not_reached("debt", 60, |o: &mut Observed| o.pass.before = Some(Verdict::Unreached))]
#[case::not_reached_for_long("debt", 60, |o: &mut Observed| {
    useless(o, 5);
    o.pass.before = Some(Verdict::Unreached);
    o.status.retry = Some(Retry { failures: 50, next_at: ago(1), last_error: "no connection".into() });
})]
#[case::never_tried("Prove", 0, |o: &mut Observed| o.status.acceptance = None)]
#[case::never_tried_and_useless("Delete", 0, |o: &mut Observed| {
    o.status.acceptance = None;
    useless(o, 5);
})]
#[case::nothing_kept("debt", 5, |o: &mut Observed| o.management = Management::Absent)]
#[case::secret_unread("wait", 5, |o: &mut Observed| o.management = Management::Unknown)]
fn before_the_deletion(#[case] expected: &str, #[case] minutes: i64, #[case] change: fn(&mut Observed)) {
    let mut o = ending(minutes);
    change(&mut o);
    assert_step(&o, expected);
}

fn useless(o: &mut Observed, times: u32) {
    o.pass.before = Some(Verdict::Unclear);
    for _ in 0..times {
        probe_failed(&mut o.status, true);
    }
}

/// A client whose deletion was answered like this, after the intent was on record or not.
fn answered(status: u16, recorded_now: bool) -> Observed {
    let mut o = ending(5);
    assert!(intent_is_due(&o, now()));
    o.status.deletion = Some(Deletion { asked_at: Some(ago(1)), ..Deletion::default() });
    o.pass.intent_recorded = recorded_now;
    deletion_answered(&mut o.status, &mut o.pass, status, false, now());
    o
}

#[rstest]
#[case::tried_afterwards(answered(204, true), "ProbeAfter", |_: &mut Observed| {})]
#[case::proven(answered(204, true), "Revoked Proven", |o: &mut Observed| o.pass.after = Some((refused(), refused())))]
#[case::still_accepted(answered(204, true), "debt", |o: &mut Observed| {
    o.pass.after = Some((ProbeRecord { at: now(), status: 200, error: None }, refused()));
})]
#[case::no_to_the_very_first(answered(401, true), "Identify", |o: &mut Observed| {
    o.pass.after = Some((refused(), refused()));
})]
#[case::no_to_the_very_first_by_the_server_itself(answered(401, true), "debt", |o: &mut Observed| {
    o.pass.after = Some((refused(), refused()));
    o.pass.same_server = Some(true);
})]
#[case::no_after_a_crash(answered(401, false), "Identify", |o: &mut Observed| o.pass.after = Some((refused(), refused())))]
#[case::another_server(answered(401, false), "debt", |o: &mut Observed| {
    o.pass.after = Some((refused(), refused()));
    o.pass.same_server = Some(false);
})]
#[case::the_server(answered(401, false), "ProbeAfter", |o: &mut Observed| o.pass.same_server = Some(true))]
#[case::the_server_and_asked_again(answered(401, false), "Revoked Proven", |o: &mut Observed| {
    o.pass.after = Some((refused(), refused()));
    o.pass.same_server = Some(true);
})]
#[case::accepted_since(answered(401, false), "debt", |o: &mut Observed| {
    accepted(o, -2);
    o.pass.after = Some((refused(), refused()));
    o.pass.same_server = Some(true);
})]
fn after_the_deletion(#[case] mut o: Observed, #[case] expected: &str, #[case] change: fn(&mut Observed)) {
    change(&mut o);
    assert_step(&o, expected);
}

#[test]
fn a_deletion_that_was_not_sent_leaves_no_intent_unless_one_is_open() {
    for (recorded_now, left) in [(true, false), (false, true)] {
        let mut o = ending(5);
        o.status.deletion = Some(Deletion { asked_at: Some(ago(1)), ..Deletion::default() });
        o.pass.intent_recorded = recorded_now;
        deletion_unanswered(&mut o.status, &mut o.pass, false, now());
        assert_eq!(o.status.deletion.unwrap().asked_at.is_some(), left);
    }
    let mut o = ending(5);
    o.pass.intent_recorded = true;
    deletion_unanswered(&mut o.status, &mut o.pass, true, now());
    deletion_answered(&mut o.status, &mut o.pass, 401, false, now());
    assert!(o.status.deletion.unwrap().asked_at.is_some(), "the one before may have been the one");
}

#[test]
fn an_acceptance_ends_the_count_of_useless_probes() {
    let mut o = ending(60);
    useless(&mut o, 4);
    let acceptance = o.status.acceptance.clone().unwrap();
    credential_accepted(&mut o.status, acceptance);
    assert_eq!(o.status.deletion.unwrap().useless_probes, 0);
}

#[rstest]
#[case::kept("wait", |_: &mut Observed| {})]
#[case::over("Release", |o: &mut Observed| o.status.revoked_at = Some(ago(60 * 24 * 91)))]
#[case::over_by_a_wrong_clock("wait", |o: &mut Observed| {
    o.status.revoked_at = Some(ago(60 * 24 * 91));
    o.circumstances.clock_trusted = false;
})]
#[case::deleted("wait", |o: &mut Observed| o.circumstances.entry_deleting = true)]
#[case::deleted_and_told("Release", |o: &mut Observed| {
    o.circumstances.entry_deleting = true;
    o.circumstances.client = ClientState::Present { deleting: false, suspended: false, generation: 1, told: true };
})]
#[case::deleted_and_nobody_to_tell("Release", |o: &mut Observed| {
    o.circumstances.entry_deleting = true;
    o.circumstances.client = ClientState::Gone;
})]
#[case::deleted_and_waited_for_long("Release", |o: &mut Observed| {
    o.circumstances.entry_deleting = true;
    o.status.revoked_at = Some(ago(6));
})]
fn a_final_entry(#[case] expected: &str, #[case] change: fn(&mut Observed)) {
    let mut o = ending(5);
    o.status.phase = Phase::Revoked;
    o.status.revoked_at = Some(ago(1));
    change(&mut o);
    assert_step(&o, expected);
}

#[rstest]
#[case::stays("wait", false, ClientState::Gone)]
#[case::dealt_with("Release", true, ClientState::Gone)]
fn a_possible_orphan(#[case] expected: &str, #[case] deleting: bool, #[case] of: ClientState) {
    let mut o = pending();
    o.status.attempted_at = Some(ago(9));
    o.status.phase = Phase::PossibleOrphan;
    o.status.possible_orphan = Some(PossibleOrphan { since: ago(9), message: "m".into(), unmanageable: false });
    o.circumstances.entry_deleting = deleting;
    o.circumstances.client = of;
    assert_step(&o, expected);
}

#[test]
fn a_possible_orphan_is_not_judged_while_its_secret_cannot_be_read() {
    let mut o = pending();
    o.status.attempted_at = Some(ago(9));
    o.status.phase = Phase::PossibleOrphan;
    o.status.possible_orphan = Some(PossibleOrphan { since: ago(9), message: "m".into(), unmanageable: false });
    o.circumstances.client = ClientState::Gone;
    o.management = Management::Unknown;
    assert_step(&o, "wait");
}

#[test]
fn an_entry_that_never_called_the_server_is_cancelled_and_one_that_was_put_back_is_not() {
    let mut o = pending();
    let end = |reason| Some(End { reason, message: "ended".into(), at: now() });
    o.status.end = end(EndReason::Suspended);
    assert_step(&o, "Cancelled");
    o.spec.end = end(EndReason::RegistrationDeleted);
    assert_step(&o, "RecordPossibleOrphan");
    stored(&mut o);
    assert_step(&o, "Prove");
}

#[test]
fn whether_a_possible_orphan_can_be_revoked_is_found_out_first() {
    let mut o = pending();
    o.status.phase = Phase::PossibleOrphan;
    o.status.attempted_at = Some(ago(5));
    o.status.possible_orphan = Some(PossibleOrphan { since: ago(5), message: "may exist".into(), unmanageable: false });
    o.circumstances.client = ClientState::Gone;
    assert_step(&o, "wait");
    o.management = Management::Unknown;
    assert_step(&o, "wait");
    stored(&mut o);
    assert_step(&o, "end ClientGone");
}
