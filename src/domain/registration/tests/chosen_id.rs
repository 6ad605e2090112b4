//! Where the caller chooses the client_id: nothing that was asked for is lost sight of.

use super::*;
use crate::api::Backend;
use crate::domain::registration::attempt::{self, Follows, Outcome};

/// A new entry whose credential is stored.
fn prepared() -> Observed {
    let mut o = pending();
    o.spec.server.backend = Backend {
        hydra: Some(crate::api::Hydra {
            admin_url: "https://admin.corp.example".into(),
            bearer_token: None,
            basic_auth: None,
        }),
        ..Backend::default()
    };
    stored(&mut o);
    took(&mut o, "");
    o
}

/// What the server took last, as far as is known.
fn took(o: &mut Observed, hash: &str) {
    if let Management::Present { applied, .. } = &mut o.management {
        *applied = hash.into();
    }
}

fn ends(o: &mut Observed) {
    o.status.end = Some(End { reason: EndReason::GrantedTooMuch, message: "too much".into(), at: now() });
}

#[test]
fn an_end_before_the_server_was_asked_leaves_nothing_to_revoke() {
    let mut o = prepared();
    attempt::begins(&mut o, now());
    o.pass.attempt_recorded = true;
    ends(&mut o);
    assert_step(&o, "Cancelled");
}

#[test]
fn an_end_in_the_pass_that_registered_revokes() {
    let mut o = prepared();
    attempt::begins(&mut o, now());
    o.pass.attempt_recorded = true;
    let hash = request::hash(&o.spec.request);
    took(&mut o, &hash);
    ends(&mut o);
    assert_step(&o, "LookUp");
    o.pass.found = Some(Found::Ours);
    o.pass.nothing_separates = true;
    assert_step(&o, "Delete");
}

#[rstest]
#[case::turned_away(Outcome::NoEffect, Follows::Again, false)]
#[case::a_wrong_credential(Outcome::Refused(401), Follows::Again, false)]
#[case::no(Outcome::Refused(400), Follows::Rejected(400), true)]
#[case::not_ours(Outcome::Foreign, Follows::Rejected(409), true)]
#[case::no_answer(Outcome::Unknown, Follows::Again, true)]
fn what_follows(#[case] outcome: Outcome, #[case] expected: Follows, #[case] on_record: bool) {
    let mut o = prepared();
    attempt::begins(&mut o, now());
    assert_eq!(attempt::failed(&mut o, outcome, now()), expected);
    assert_eq!(o.status.attempted_at.is_some(), on_record);
    assert_eq!(o.status.settles_at.is_some(), outcome == Outcome::Unknown);
}

#[test]
fn a_request_without_an_answer_stays_on_record_whatever_comes_after_it() {
    let mut o = prepared();
    attempt::begins(&mut o, ago(2));
    attempt::begins(&mut o, ago(1));
    let settles_at = o.status.settles_at;
    assert!(settles_at.is_some(), "the first one died with its pass");
    assert_eq!(attempt::failed(&mut o, Outcome::NoEffect, now()), Follows::Again);
    assert_eq!((o.status.attempted_at, o.status.settles_at), (Some(ago(1)), settles_at));
}

/// The server refuses, after a request that it did not answer.
fn refused_after_doubt() -> Observed {
    let mut o = prepared();
    attempt::begins(&mut o, ago(2));
    assert_eq!(attempt::failed(&mut o, Outcome::Unknown, ago(2)), Follows::Again);
    attempt::begins(&mut o, ago(1));
    assert_eq!(attempt::failed(&mut o, Outcome::Refused(400), ago(1)), Follows::Rejected(400));
    o.status.rejection = Some(crate::api::Rejection { status: 400, message: "no".into() });
    assert_eq!(o.status.phase, Phase::Registering, "an earlier request may have made a client");
    o
}

#[test]
fn a_refusal_after_doubt_takes_what_an_earlier_request_made() {
    let mut o = refused_after_doubt();
    assert_step(&o, "LookUp");
    o.pass.found = Some(Found::Ours);
    assert_step(&o, "Delete");
    o.pass.deleted = true;
    assert_step(&o, "debt");
    o.status.deletion = Some(Deletion { status: Some(204), answered_at: Some(now()), ..Deletion::default() });
    assert_step(&o, "wait");
    (o.status.attempted_at, o.status.settles_at) = (Some(ago(60)), Some(ago(1)));
    assert_step(&o, "Rejected");
    o.circumstances.clock_trusted = false;
    assert_step(&o, "wait");
    o.circumstances.clock_trusted = true;
    ends(&mut o);
    o.pass = Pass { found: Some(Found::Gone), ..Pass::default() };
    assert_step(&o, "Cancelled");
}

#[test]
fn an_entry_that_was_put_back_is_no_possible_orphan() {
    let mut o = prepared();
    o.management = Management::Absent;
    ends(&mut o);
    o.spec.end = Some(End { reason: EndReason::RegistrationDeleted, message: "removed".into(), at: now() });
    assert_step(&o, "Prepare");
    stored(&mut o);
    assert_step(&o, "LookUp");
}

#[test]
fn a_clock_that_was_set_back_makes_no_request_settle_sooner() {
    let mut o = prepared();
    attempt::begins(&mut o, now());
    attempt::failed(&mut o, Outcome::Unknown, ago(120));
    assert!(o.status.settles_at.is_some_and(|t| t > now()));
}

#[test]
fn one_that_may_be_gone_is_looked_up_before_it_is_changed() {
    let mut o = registered();
    o.spec.request.scopes = vec!["b".into()];
    let drift = Drift { since: ago(1), kind: DriftKind::Missing, message: "it is not among them".into() };
    o.status.drift = Some(drift);
    assert_step(&o, "LookUp");
    o.pass.found = Some(Found::Gone);
    assert_step(&o, "end GoneAtServer");
    o.status.drift = None;
    assert_step(&o, "Update");
}

#[test]
fn a_change_that_was_refused_and_undone_is_over() {
    let mut o = registered();
    o.status.failed_change =
        Some(FailedChange { request: "v1:sha256:other".into(), unsupported: false, message: "no".into() });
    assert_step(&o, "RecordRegistered");
    attempt::succeeded(&mut o, now());
    assert_eq!(o.status.applied, Some(request::hash(&o.spec.request)));
    assert_step(&o, "wait");
}
