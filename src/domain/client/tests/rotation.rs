//! Rotating: when, once, and without a gap.

use super::*;
use crate::api::{ROTATE_ANNOTATION, Rotation, RotationOf, RotationReason};

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
