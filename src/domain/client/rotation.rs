//! Rotating a credential: a second key for the same client where it authenticates by one; else a second registration
//! beside the first, which ends once the overlap is over.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::serving::{goes_on, name};
use super::{Decision, Observed, Published, Step, only};
use crate::api::{
    ClientRegistration, EndReason, KeyRotation, KeyRotationStatus, OAuthClientStatus, ROTATE_ANNOTATION, RotationOf,
    RotationReason, RotationStatus, Span, TokenEndpointAuthMethod,
};

/// How long the credential before goes on working, where nothing is said.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
/// A rotation that is asked for so soon after another is the same one.
const AT_ONCE: TimeDelta = TimeDelta::seconds(30);
/// When a registration for a rotation that the server refused is tried again.
const TRY_AGAIN: TimeDelta = TimeDelta::hours(1);

/// What follows from the annotation that asks for a rotation. On record first, and then off the object: a crash in
/// between loses neither.
pub(super) fn asked(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Option<Decision> {
    o.client.metadata.annotations.as_ref()?.get(ROTATE_ANNOTATION)?;
    if entry.spec.request.jwks.is_some() || o.client.spec.token_endpoint_auth_method == TokenEndpointAuthMethod::None {
        let why = "there is no credential of the operator's to rotate: with spec.jwks, change the keys; with tokenEndpointAuthMethod none there is none";
        return Some(only(Step::ClearRotation { refused: Some(why) }));
    }
    let newer = o.entries.last().is_some_and(|e| e.spec.attempt > entry.spec.attempt && goes_on(e));
    let begun = newer || is_under_way(entry) || took_no_key(entry);
    let fresh = rotated_at(entry).is_some_and(|t| now - t < AT_ONCE);
    if begun || fresh || requested_at(o).is_some() {
        return Some(only(Step::ClearRotation { refused: None }));
    }
    // What it says of the client is said anew later.
    let mut status = o.client.status.clone().unwrap_or_default();
    status.rotation.get_or_insert_default().requested_at = Some(now.trunc_subsecs(0));
    Some(Decision { step: Step::ClearRotation { refused: None }, status: Some(status), requeue_at: None })
}

/// When a rotation was asked for that no entry answers yet.
fn requested_at(o: &Observed) -> Option<DateTime<Utc>> {
    let asked = o.client.status.as_ref()?.rotation.as_ref()?.requested_at?;
    let answers = |e: &&ClientRegistration| {
        let by_entry = e.spec.rotation.as_ref().and_then(|r| r.requested_at) == Some(asked)
            && (goes_on(e) || e.state().registered_at.is_some());
        let by_key = e.spec.key_rotation.as_ref().and_then(|r| r.requested_at) == Some(asked)
            && became_of(e).is_none_or(|s| s.refused.is_none());
        by_entry || by_key
    };
    o.entries.iter().find(answers).is_none().then_some(asked)
}

/// Why the credential of the entry that serves is to be rotated now.
pub(super) fn due(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Option<RotationOf> {
    if is_under_way(entry) {
        return None;
    }
    if let Some(asked) = entry.spec.key_rotation.as_ref().filter(|_| took_no_key(entry)) {
        return Some(RotationOf { reason: asked.reason, requested_at: asked.requested_at });
    }
    if let Some(asked) = requested_at(o) {
        return Some(RotationOf { reason: RotationReason::Requested, requested_at: Some(asked) });
    }
    let (when, reason) = next(o, entry)?;
    (o.clock_trusted && now >= when).then_some(RotationOf { reason, requested_at: None })
}

/// What became of the rotation in place that the entry asks for; `None` while it is under way.
fn became_of(entry: &ClientRegistration) -> Option<KeyRotationStatus> {
    entry.spec.key_rotation.as_ref()?.became(&entry.state()).cloned()
}

/// Whether another key is on its way to the server.
fn is_under_way(entry: &ClientRegistration) -> bool {
    entry.spec.key_rotation.is_some() && became_of(entry).is_none()
}

/// Whether the server took no second key, so that another registration is to bring the next one.
fn took_no_key(entry: &ClientRegistration) -> bool {
    entry.spec.key_rotation.is_some() && !is_in_place(entry)
}

/// Whether the next rotation of this client can be another key for it: one that was made here, at a server that did not
/// refuse it.
pub(super) fn is_in_place(entry: &ClientRegistration) -> bool {
    entry.spec.request.signing_alg.is_some() && became_of(entry).is_none_or(|s| s.refused.is_none())
}

/// Begins a rotation in place.
pub(super) fn begin(entry: &ClientRegistration, why: &RotationOf, now: DateTime<Utc>) -> Step {
    let begun_at = now.trunc_subsecs(0);
    let rotation = KeyRotation { begun_at, reason: why.reason, requested_at: why.requested_at, retires_at: None };
    Step::RotateKey { name: name(entry), rotation }
}

/// The new key is published: the one before ends when the overlap is over.
pub(super) fn key_published(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Option<Step> {
    entry.spec.key_rotation.as_ref().filter(|r| r.retires_at.is_none())?;
    let done = became_of(entry).filter(|s| s.rotated_at.is_some())?;
    // An overlap that is counted by a clock that is wrong would end at any time.
    let shown = o.secret == Published::UpToDate && done.retired_at.is_none() && o.clock_trusted;
    shown.then(|| Step::RetireKey { name: name(entry), at: (now + overlap(o)).trunc_subsecs(0) })
}

/// When the credential that the entry has now came by a rotation.
fn rotated_at(entry: &ClientRegistration) -> Option<DateTime<Utc>> {
    let state = entry.state();
    let in_place = state.key_rotation.and_then(|s| s.rotated_at);
    in_place.or(entry.spec.rotation.as_ref().and(state.registered_at))
}

/// When and why it is to be rotated next.
fn next(o: &Observed, entry: &ClientRegistration) -> Option<(DateTime<Utc>, RotationReason)> {
    let state = entry.state();
    let since = rotated_at(entry).or(state.registered_at)?;
    if entry.spec.retires_at.is_some() {
        // Its successor did not last.
        return Some((since, RotationReason::Scheduled));
    }
    let every = o.client.spec.rotation.as_ref().and_then(|r| r.every.as_ref()).and_then(Span::delta);
    let scheduled = every.map(|every| (since + every, RotationReason::Scheduled));
    // Well ahead: when two thirds of its time are over.
    let expiring = state.secret_expires_at.map(|end| (since + (end - since) * 2 / 3, RotationReason::SecretExpires));
    let first = scheduled.into_iter().chain(expiring).min_by_key(|(when, _)| *when)?;
    (first.0 < entry.spec.expires_at).then_some(first)
}

/// An entry that was rotated away, and is published again since its successor did not last: what is published does not
/// retire before there is another.
pub(super) fn kept_on(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Option<Step> {
    let at = entry.spec.retires_at.filter(|_| o.clock_trusted)?;
    let near = at > now && at < now + longer(o) / 2;
    near.then(|| Step::RetireEntry { name: name(entry), at: (now + longer(o)).trunc_subsecs(0) })
}

/// The overlap, where that is not too short to look again in.
fn longer(o: &Observed) -> TimeDelta {
    overlap(o).max(TimeDelta::minutes(10))
}

/// When to look again for the sake of rotation.
pub(super) fn look_again(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let again = o.entries.last().and_then(|e| e.state().rejection.and(e.state().attempted_at)).map(|t| t + TRY_AGAIN);
    let kept_on = entry.spec.retires_at.map(|at| at - longer(o) / 2 + TimeDelta::seconds(1));
    next(o, entry).map(|(when, _)| when).into_iter().chain(again).chain(kept_on).filter(|t| *t > now).min()
}

/// Whether a registration for a rotation that the server refused may be tried again.
pub(super) fn may_try_again(refused: &ClientRegistration, now: DateTime<Utc>) -> bool {
    refused.spec.rotation.is_some() && refused.state().attempted_at.is_some_and(|t| now >= t + TRY_AGAIN)
}

/// Whether an entry was rotated away, and an administrator deleted the one that came after it: that was the client, and
/// what goes on for the overlap is not published again.
pub(super) fn is_outlived(o: &Observed, entry: &ClientRegistration) -> bool {
    let deleted = |e: &ClientRegistration| {
        e.metadata.deletion_timestamp.is_some()
            || e.state().end.is_some_and(|end| end.reason == EndReason::RegistrationDeleted)
    };
    entry.spec.retires_at.is_some()
        && o.entries.last().is_some_and(|e| e.spec.attempt > entry.spec.attempt && deleted(e))
}

/// An entry that goes on for an overlap, with nothing left to overlap with.
pub(super) fn cut_short(o: &Observed, now: DateTime<Utc>) -> Option<Step> {
    let goes = |e: &&ClientRegistration| goes_on(e) && e.spec.retires_at.is_some_and(|at| at > now);
    let old = o.entries.iter().find(goes).filter(|_| o.clock_trusted)?;
    Some(Step::RetireEntry { name: name(old), at: now.trunc_subsecs(0) })
}

/// What becomes of an entry whose successor serves. After a rotation it goes on for the overlap; one that may do other
/// things than its successor does not.
pub(super) fn out(
    o: &Observed,
    old: &ClientRegistration,
    successor: &ClientRegistration,
    now: DateTime<Utc>,
) -> Option<Step> {
    let overlap = overlap(o);
    let rotated = successor.spec.rotation.is_some() && old.spec.request == successor.spec.request;
    match (rotated, old.spec.retires_at) {
        // It was published again meanwhile, since the one before this successor did not last: the overlap begins anew.
        (true, Some(at)) if is_counted_before(o, old, successor, at) && o.clock_trusted => {
            Some(Step::RetireEntry { name: name(old), at: (now + overlap).trunc_subsecs(0) })
        }
        (true, Some(_)) => None,
        // The overlap would be counted by a clock that is wrong.
        (true, None) if overlap > TimeDelta::zero() && !o.clock_trusted => None,
        (true, None) if overlap > TimeDelta::zero() => {
            Some(Step::RetireEntry { name: name(old), at: (now + overlap).trunc_subsecs(0) })
        }
        _ => Some(Step::EndEntry {
            name: name(old),
            reason: EndReason::Replaced,
            why: "a later registration took its place".to_owned(),
        }),
    }
}

/// Whether the end of an overlap was counted from another successor than this one.
fn is_counted_before(
    o: &Observed,
    old: &ClientRegistration,
    successor: &ClientRegistration,
    at: DateTime<Utc>,
) -> bool {
    let between = |e: &&ClientRegistration| (old.spec.attempt + 1..successor.spec.attempt).contains(&e.spec.attempt);
    let last = !o.entries.iter().filter(between).any(goes_on);
    // Ends are in whole seconds.
    let earliest = successor.state().registered_at.map(|since| since + overlap(o) - TimeDelta::seconds(1));
    last && earliest.is_some_and(|earliest| at < earliest)
}

fn overlap(o: &Observed) -> TimeDelta {
    let Some(rotation) = &o.client.spec.rotation else { return OVERLAP };
    let every = rotation.every.as_ref().and_then(Span::delta);
    let given = rotation.overlap.as_ref().and_then(Span::delta);
    given.unwrap_or_else(|| every.map_or(OVERLAP, |every| OVERLAP.min(every / 2)))
}

/// Says when the next one is, and what became of the last.
pub(super) fn tell(o: &Observed, status: &mut OAuthClientStatus, entry: &ClientRegistration) {
    status.next_rotation_at = next(o, entry).map(|(when, _)| when);
    let rotated = rotated_at(entry);
    let in_place = entry.state().key_rotation.is_some_and(|s| s.rotated_at.is_some());
    let way = if in_place { "InPlace" } else { "NewRegistration" };
    let told = RotationStatus {
        requested_at: requested_at(o),
        last_rotated_at: rotated,
        way: rotated.map(|_| way.to_owned()),
    };
    status.rotation = (told != RotationStatus::default()).then_some(told);
}
