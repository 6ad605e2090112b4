//! Rotating a key in place: what follows at each point, and after an interruption at any.

use super::*;
use crate::api::{Drift, DriftKind, KeyRotation, KeyRotationStatus, RotationReason};
use crate::domain::registration::{Keys, retires_previous};

fn keys(o: &mut Observed, change: impl FnOnce(&mut Keys)) {
    if let Management::Present { keys, .. } = &mut o.management {
        change(keys);
    }
}

/// A client that runs, and that another key is asked for.
fn asked() -> Observed {
    let mut o = registered();
    o.spec.key_rotation =
        Some(KeyRotation { begun_at: ago(1), reason: RotationReason::Requested, requested_at: None, retires_at: None });
    o
}

fn rotated(o: &mut Observed) {
    o.status.key_rotation =
        Some(KeyRotationStatus { begun_at: ago(1), rotated_at: Some(ago(1)), retired_at: None, refused: None });
    keys(o, |k| *k = Keys { next: false, previous: true, brought_by: Some(ago(1)) });
}

fn step(o: &Observed) -> Step {
    decide(o, TimeDelta::days(90), now())
}

#[test]
fn stored_before_the_server_hears_of_it_and_proven_before_it_is_published() {
    let mut o = asked();
    assert_eq!(step(&o), Step::PrepareKey);
    keys(&mut o, |k| k.next = true);
    assert_eq!(step(&o), Step::PutKeys);
    o.pass.keys_put = true;
    assert_eq!(step(&o), Step::ProveKey);
    o.pass.next_accepted = true;
    assert_eq!(step(&o), Step::PromoteKey);
    keys(&mut o, |k| *k = Keys { next: false, previous: true, brought_by: Some(ago(1)) });
    assert_eq!(step(&o), Step::RecordKeyRotated);
    assert!(!retires_previous(&o, now()));
    rotated(&mut o);
    assert!(matches!(step(&o), Step::Wait { .. }), "nothing before it is published");
}

#[test]
fn another_pass_sends_the_keys_again_and_makes_no_second_one() {
    let mut o = asked();
    keys(&mut o, |k| k.next = true);
    assert_eq!(step(&o), Step::PutKeys, "whatever became of an earlier request");
    keys(&mut o, |k| *k = Keys { next: false, previous: true, brought_by: Some(ago(1)) });
    assert_eq!(step(&o), Step::RecordKeyRotated, "and one that took its place is not replaced again");
}

#[test]
fn the_one_before_ends_after_the_overlap_and_is_shown_to_be_refused() {
    let mut o = asked();
    rotated(&mut o);
    let end = now() + TimeDelta::minutes(10);
    o.spec.key_rotation.as_mut().unwrap().retires_at = Some(end);
    assert_eq!(step(&o), Step::Wait { until: Some(end) });
    o.spec.key_rotation.as_mut().unwrap().retires_at = Some(now());
    o.circumstances.clock_trusted = false;
    assert!(matches!(step(&o), Step::Wait { .. }), "not by a clock that is wrong");
    assert!(!retires_previous(&o, now()));
    o.circumstances.clock_trusted = true;
    assert!(retires_previous(&o, now()));
    assert_eq!(step(&o), Step::PutKeys);
    o.pass.keys_put = true;
    assert_eq!(step(&o), Step::ProveKeyRefused);
    o.pass.previous_refused = true;
    assert_eq!(step(&o), Step::DropKey);
    keys(&mut o, |k| k.previous = false);
    assert_eq!(step(&o), Step::RecordKeyRetired);
    o.status.key_rotation.as_mut().unwrap().retired_at = Some(now());
    assert!(matches!(step(&o), Step::Wait { .. }));
}

#[test]
fn a_key_that_is_asked_for_in_the_overlap_ends_the_one_before_first() {
    let mut o = asked();
    rotated(&mut o);
    o.spec.key_rotation.as_mut().unwrap().begun_at = now();
    assert!(retires_previous(&o, now()));
    assert_eq!(step(&o), Step::PutKeys);
    o.pass.keys_put = true;
    o.pass.previous_refused = true;
    assert_eq!(step(&o), Step::DropKey);
    keys(&mut o, |k| k.previous = false);
    assert_eq!(step(&o), Step::PrepareKey);
    assert!(!retires_previous(&o, now()));
}

#[test]
fn a_refusal_is_the_end_of_it() {
    let mut o = asked();
    o.status.key_rotation =
        Some(KeyRotationStatus { begun_at: ago(1), rotated_at: None, retired_at: None, refused: Some("405".into()) });
    assert!(matches!(step(&o), Step::Wait { .. }));
    o.spec.key_rotation.as_mut().unwrap().begun_at = now();
    assert_eq!(step(&o), Step::PrepareKey, "another one is tried");
}

#[rstest]
#[case(DriftKind::Disabled)]
#[case(DriftKind::Foreign)]
fn what_is_left_alone_gets_no_key(#[case] kind: DriftKind) {
    let mut o = asked();
    o.status.drift = Some(Drift { since: ago(1), kind, message: String::new() });
    assert!(matches!(step(&o), Step::Wait { .. }));
}

#[test]
fn an_end_comes_before_everything() {
    let mut o = asked();
    keys(&mut o, |k| k.next = true);
    o.pass.keys_put = true;
    o.circumstances.client = ClientState::Gone;
    accepted(&mut o, 1);
    assert!(matches!(step(&o), Step::RecordEnd(_)));
}

#[test]
fn where_nothing_tells_live_from_dead_nothing_is_shown() {
    let mut o = asked();
    o.status.acceptance = None;
    keys(&mut o, |k| k.next = true);
    o.pass.keys_put = true;
    assert_eq!(step(&o), Step::PromoteKey);
}
