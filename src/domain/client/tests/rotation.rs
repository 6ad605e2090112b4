//! Rotating: when, once, and without a gap.

use super::*;
use crate::api::{
    KeyRotation, KeyRotationStatus, ROTATE_ANNOTATION, Rotation, RotationOf, RotationReason, SigningAlg,
    TokenEndpointAuthMethod,
};

fn every(minutes: i64, overlap: &str) -> Rotation {
    Rotation { every: Some(format!("{minutes}m").as_str().into()), overlap: Some(overlap.into()) }
}

fn asked(o: &mut Observed) {
    o.client.metadata.annotations = Some([(ROTATE_ANNOTATION.to_owned(), "now".to_owned())].into());
}

/// An object whose rotation brought a second entry, in this phase.
fn rotating(phase: Phase) -> Observed {
    let mut o = ready();
    o.client.spec.rotation = Some(every(30, "10m"));
    let mut next = entry(&o, 2, phase);
    next.spec.rotation = Some(RotationOf { reason: RotationReason::Scheduled, requested_at: None });
    o.entries.push(next);
    o.client.status.as_mut().unwrap().attempts = Some(2);
    o
}

#[test]
fn on_its_time_and_not_before() {
    let mut o = ready();
    o.client.spec.rotation = Some(every(30, "10m"));
    let d = decide(&o, now());
    assert_eq!(d.step, Step::Wait);
    let next = now() + TimeDelta::minutes(25);
    assert_eq!((d.requeue_at, d.status.unwrap().next_rotation_at), (Some(next), Some(next)));
    assert_eq!(brief(&decide(&o, next).step), "create 2");
    o.clock_trusted = false;
    assert_eq!(decide(&o, next).step, Step::Wait, "not by a clock that is wrong");
}

#[test]
fn not_for_what_ends_before() {
    let mut o = ready();
    o.client.spec.rotation = Some(every(90, "10m"));
    let d = decide(&o, now());
    assert_eq!((d.step, d.status.unwrap().next_rotation_at), (Step::Wait, None));
}

#[test]
fn ahead_of_the_servers_own_expiry() {
    let mut o = ready();
    // Registered five minutes ago, for twelve: two thirds are over in three.
    state(&mut o).secret_expires_at = Some(now() + TimeDelta::minutes(7));
    assert_eq!(decide(&o, now()).step, Step::Wait);
    assert_eq!(brief(&decide(&o, now() + TimeDelta::minutes(3)).step), "create 2");
}

#[test]
fn what_is_asked_is_on_record_before_it_is_off_the_object() {
    let mut o = ready();
    asked(&mut o);
    let d = decide(&o, now());
    assert_eq!(d.step, Step::ClearRotation { refused: None });
    o.client.status = d.status;
    let again = decide(&o, now());
    assert_eq!((again.step, again.status), (Step::ClearRotation { refused: None }, None), "a second is the same one");
    o.client.metadata.annotations = None;
    let Step::CreateEntry { rotation: Some(why), .. } = decide(&o, now()).step else { panic!("no rotation") };
    let mut next = entry(&o, 2, Phase::Registering);
    next.spec.rotation = Some(why);
    o.entries.push(next);
    o.client.status.as_mut().unwrap().attempts = Some(2);
    let d = decide(&o, now());
    assert_eq!((d.step, d.status.unwrap().rotation), (Step::Wait, None), "an entry answers it");
}

#[test]
fn one_that_is_under_way_is_left_alone_and_joined() {
    for phase in [Phase::Pending, Phase::Registering] {
        let mut o = rotating(phase);
        assert_eq!(decide(&o, now()).step, Step::Wait, "the one before serves");
        asked(&mut o);
        let d = decide(&o, now());
        assert_eq!((d.step, d.status), (Step::ClearRotation { refused: None }, None));
    }
}

#[test]
fn published_then_retired() {
    let mut o = rotating(Phase::Registered);
    o.secret = Published::Outdated;
    assert_eq!(brief(&decide(&o, now()).step), "publish e2");
    o.secret = Published::UpToDate;
    let at = now() + TimeDelta::minutes(10);
    o.clock_trusted = false;
    assert_eq!(decide(&o, now()).step, Step::Wait, "no overlap is counted by a clock that is wrong");
    o.clock_trusted = true;
    assert_eq!(decide(&o, now()).step, Step::RetireEntry { name: "e1".into(), at });
    o.entries[0].spec.retires_at = Some(at);
    let d = decide(&o, now());
    assert_eq!((d.step, d.status.unwrap().rotation.unwrap().way.as_deref()), (Step::Wait, Some("NewRegistration")));
    o.client.spec.rotation = Some(every(30, "0s"));
    o.entries[0].spec.retires_at = None;
    assert_eq!(brief(&decide(&o, now()).step), "end e1", "no overlap is asked for");
}

#[test]
fn what_may_do_more_does_not_wait_for_the_overlap() {
    let mut o = rotating(Phase::Registered);
    o.entries[0].spec.retires_at = Some(now() + TimeDelta::minutes(10));
    o.entries[0].spec.request.scopes.push("b".into());
    assert_eq!(brief(&decide(&o, now()).step), "end e1");
}

#[test]
fn a_successor_that_did_not_last_is_replaced_before_the_other_retires() {
    let mut o = rotating(Phase::Revoked);
    state(&mut o).end = Some(End { reason: EndReason::GoneAtServer, message: "gone".into(), at: now() });
    o.entries[0].spec.retires_at = Some(now() + TimeDelta::minutes(10));
    assert_eq!(brief(&decide(&o, now()).step), "create 3");
}

/// An object whose client authenticates by a key that was made here.
fn by_key() -> Observed {
    let mut o = ready();
    o.client.spec.token_endpoint_auth_method = TokenEndpointAuthMethod::PrivateKeyJwt;
    o.client.spec.rotation = Some(every(30, "10m"));
    let request = request::of(&o.client.spec);
    let entry = &mut o.entries[0];
    entry.spec.request = request;
    assert_eq!(entry.spec.request.signing_alg, Some(SigningAlg::ES256));
    let applied = request::hash(&entry.spec.request);
    state(&mut o).applied = Some(applied);
    o
}

fn key_rotation(o: &mut Observed, done: Option<KeyRotationStatus>) {
    let begun_at = now() - TimeDelta::minutes(1);
    o.entries[0].spec.key_rotation =
        Some(KeyRotation { begun_at, reason: RotationReason::Scheduled, requested_at: None, retires_at: None });
    state(o).key_rotation = done;
}

fn done() -> KeyRotationStatus {
    let begun_at = now() - TimeDelta::minutes(1);
    KeyRotationStatus { begun_at, rotated_at: Some(now()), retired_at: None, refused: None }
}

#[test]
fn a_key_is_rotated_in_place() {
    let o = by_key();
    let due = now() + TimeDelta::minutes(25);
    let Step::RotateKey { rotation, .. } = decide(&o, due).step else { panic!("{:?}", decide(&o, due).step) };
    assert_eq!((rotation.begun_at, rotation.reason, rotation.retires_at), (due, RotationReason::Scheduled, None));
}

#[test]
fn a_rotation_in_place_that_is_under_way_is_not_begun_again() {
    let mut o = by_key();
    key_rotation(&mut o, None);
    let due = now() + TimeDelta::minutes(25);
    assert_eq!(decide(&o, due).step, Step::Wait);
    asked(&mut o);
    assert_eq!(decide(&o, due).step, Step::ClearRotation { refused: None });
    assert!(decide(&o, due).status.is_none(), "it is the same one");
}

#[test]
fn the_overlap_begins_when_the_new_key_is_published() {
    let mut o = by_key();
    key_rotation(&mut o, Some(done()));
    o.secret = Published::Outdated;
    assert!(matches!(decide(&o, now()).step, Step::PublishSecret { .. }));
    o.secret = Published::UpToDate;
    let at = now() + TimeDelta::minutes(10);
    o.clock_trusted = false;
    assert_eq!(decide(&o, now()).step, Step::Wait, "no overlap is counted by a clock that is wrong");
    o.clock_trusted = true;
    assert!(matches!(decide(&o, now()).step, Step::RetireKey { at: t, .. } if t == at));
    o.entries[0].spec.key_rotation.as_mut().unwrap().retires_at = Some(at);
    let d = decide(&o, now());
    let told = d.status.unwrap();
    assert_eq!((d.step, told.next_rotation_at), (Step::Wait, Some(now() + TimeDelta::minutes(30))));
    let rotation = told.rotation.unwrap();
    assert_eq!((rotation.way.as_deref(), rotation.last_rotated_at), (Some("InPlace"), Some(now())));
}

#[test]
fn where_no_second_key_is_taken_a_second_registration_has_to_do() {
    let mut o = by_key();
    key_rotation(&mut o, Some(KeyRotationStatus { rotated_at: None, refused: Some("405".into()), ..done() }));
    // At once: that it was asked for is on record nowhere else.
    let Step::CreateEntry { attempt: 2, rotation: Some(rotation), .. } = decide(&o, now()).step else {
        panic!("{:?}", decide(&o, now()).step)
    };
    assert_eq!(rotation.reason, RotationReason::Scheduled);
    // Asked for again before that has begun: it is the same one.
    asked(&mut o);
    let d = decide(&o, now());
    assert_eq!((d.step, d.status), (Step::ClearRotation { refused: None }, None));
}

#[test]
fn what_was_rotated_away_does_not_outlive_an_entry_that_was_deleted() {
    let mut o = rotating(Phase::Revoked);
    o.entries[0].spec.retires_at = Some(now() + TimeDelta::minutes(10));
    state(&mut o).end = Some(End {
        reason: EndReason::RegistrationDeleted,
        message: "deleted".into(),
        at: now() - TimeDelta::minutes(1),
    });
    assert_eq!(decide(&o, now()).step, Step::DeleteSecret, "it is not published again");
    o.secret = Published::Absent;
    assert_eq!(decide(&o, now()).step, Step::RetireEntry { name: "e1".into(), at: now() });
    o.entries[0].spec.retires_at = Some(now());
    assert_eq!(decide(&o, now()).step, Step::Wait);
}

#[test]
fn the_overlap_begins_anew_where_a_successor_did_not_last() {
    let mut o = rotating(Phase::Registered);
    let before = now() + TimeDelta::minutes(3);
    o.entries[0].spec.retires_at = Some(before);
    let at = now() + TimeDelta::minutes(10);
    assert_eq!(decide(&o, now()).step, Step::RetireEntry { name: "e1".into(), at }, "it was published until now");
    o.entries[0].spec.retires_at = Some(at);
    assert_eq!(decide(&o, now()).step, Step::Wait);
}

#[test]
fn what_is_published_does_not_retire_before_there_is_another() {
    let mut o = rotating(Phase::Rejected);
    let s = state(&mut o);
    s.rejection = Some(Rejection { status: 400, message: "no".into() });
    s.attempted_at = Some(now());
    o.entries[0].spec.retires_at = Some(now() + TimeDelta::minutes(9));
    let d = decide(&o, now());
    assert_eq!((d.step, d.requeue_at), (Step::Wait, Some(now() + TimeDelta::seconds(4 * 60 + 1))));
    let later = now() + TimeDelta::seconds(4 * 60 + 1);
    let at = later + TimeDelta::minutes(10);
    assert_eq!(decide(&o, later).step, Step::RetireEntry { name: "e1".into(), at });
}
