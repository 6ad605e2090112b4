//! Rotating the key of a client that authenticates by `private_key_jwt`: another key beside it, stored before the server
//! hears of it, shown to work before it is published; the one before is taken away after the overlap, and shown to be
//! refused. What was done is told by the management Secret, so that an interruption anywhere is gone on from.

use chrono::{DateTime, Utc};

use super::{Keys, Management, Observed, Step};
use crate::api::KeyRotationStatus;

/// The next step of a rotation, where there is one to make.
pub(super) fn rotate(o: &Observed, now: DateTime<Utc>) -> Option<Step> {
    let wanted = o.spec.key_rotation.as_ref()?;
    // A client that somebody switched off, or that is not ours any more, is not changed.
    if o.status.drift.is_some() {
        return None;
    }
    let keys = keys(o)?;
    if let Some(done) = became_of(o) {
        let over = done.refused.is_some() || done.retired_at.is_some();
        return retires_at(o)
            .filter(|at| !over && *at <= now && o.circumstances.clock_trusted)
            .map(|_| retire(o, keys));
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
    match became_of(o) {
        Some(_) => retires_at(o).is_some_and(|at| at <= now && o.circumstances.clock_trusted),
        None => keys.previous && keys.brought_by != Some(wanted.begun_at),
    }
}

/// When the key before is to be taken away, where it is there still.
pub(super) fn retires_at(o: &Observed) -> Option<DateTime<Utc>> {
    let done = became_of(o)?;
    o.spec.key_rotation.as_ref()?.retires_at.filter(|_| done.retired_at.is_none() && done.refused.is_none())
}

fn became_of(o: &Observed) -> Option<&KeyRotationStatus> {
    let wanted = o.spec.key_rotation.as_ref()?;
    o.status.key_rotation.as_ref().filter(|s| s.begun_at == wanted.begun_at)
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
