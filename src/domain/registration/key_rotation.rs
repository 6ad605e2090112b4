//! Rotating the key of a client that authenticates by `private_key_jwt`: another key beside it, stored before the server
//! hears of it, shown to work before it is published; the one before is taken away after the overlap, and shown to be
//! refused. What was done is told by the management Secret, so that an interruption anywhere is gone on from.

use chrono::{DateTime, Utc};

use super::{Keys, Management, Observed, Step};
use crate::api::KeyRotationStatus;

/// So many failures in a row, and a second registration has to do.
const MOST_FAILURES: u32 = 3;

/// The next step of a rotation, where there is one to make.
pub(super) fn rotate(o: &Observed, now: DateTime<Utc>) -> Option<Step> {
    let wanted = o.spec.key_rotation.as_ref()?;
    // A client that somebody switched off, or that is not ours any more, is not changed.
    if o.status.drift.is_some() {
        return None;
    }
    let keys = keys(o)?;
    if wanted.became(&o.status).is_some() {
        return overlap_is_over(o, now).then(|| retire(o, keys));
    }
    Some(if keys.brought_by == Some(wanted.begun_at) {
        Step::RecordKeyRotated
    } else if keys.previous {
        // An earlier rotation comes to its end first: a key that is to be replaced at once may be in wrong hands.
        retire(o, keys)
    } else if !keys.next {
        Step::PrepareKey
    } else if !o.pass.keys_put {
        Step::PutKeys
    } else if !o.pass.next_accepted && can_prove(o) {
        Step::ProveKey
    } else {
        Step::PromoteKey
    })
}

fn retire(o: &Observed, keys: Keys) -> Step {
    if !keys.previous {
        Step::RecordKeyRetired
    } else if !o.pass.keys_put {
        Step::PutKeys
    } else if !o.pass.previous_refused && can_prove(o) {
        Step::ProveKeyRefused
    } else {
        Step::DropKey
    }
}

/// Whether the server is to know the key before no more.
pub fn retires_previous(o: &Observed, now: DateTime<Utc>) -> bool {
    let Some((wanted, keys)) = o.spec.key_rotation.as_ref().zip(keys(o)) else { return false };
    match wanted.became(&o.status) {
        Some(_) => overlap_is_over(o, now),
        None => keys.previous && keys.brought_by != Some(wanted.begun_at),
    }
}

/// Whether a rotation is given up that the server does not go along with, so that a second registration has to do.
/// `passing`: the trouble may pass by itself. Taking the key before away is never given up.
pub fn gives_up(o: &Observed, passing: bool, now: DateTime<Utc>) -> bool {
    let failures = o.status.retry.as_ref().map_or(0, |r| r.failures);
    !retires_previous(o, now) && (!passing || failures >= MOST_FAILURES)
}

/// Puts on record what became of the rotation that is asked for.
pub fn note_rotation(o: &mut Observed, change: impl FnOnce(&mut KeyRotationStatus)) {
    let Some(begun_at) = o.spec.key_rotation.as_ref().map(|asked| asked.begun_at) else { return };
    let known = o.status.key_rotation.take().filter(|s| s.begun_at == begun_at);
    let mut status = known.unwrap_or(KeyRotationStatus { begun_at, rotated_at: None, retired_at: None, refused: None });
    change(&mut status);
    o.status.key_rotation = Some(status);
    o.status.retry = None;
}

fn overlap_is_over(o: &Observed, now: DateTime<Utc>) -> bool {
    o.circumstances.clock_trusted && retires_at(o).is_some_and(|at| at <= now)
}

/// When the key before is to be taken away, where it is there still.
pub(super) fn retires_at(o: &Observed) -> Option<DateTime<Utc>> {
    let wanted = o.spec.key_rotation.as_ref()?;
    wanted.became(&o.status).filter(|done| !done.is_over()).and(wanted.retires_at)
}

fn keys(o: &Observed) -> Option<Keys> {
    match &o.management {
        Management::Present { keys, .. } => Some(*keys),
        _ => None,
    }
}

/// Where no probe tells live credentials from others, nothing can be shown.
fn can_prove(o: &Observed) -> bool {
    o.status.acceptance.is_some()
}
