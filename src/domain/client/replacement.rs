//! A registration that is to replace the one that serves.

use chrono::{DateTime, Utc};

use super::{Decision, Observed, Step, create};
use crate::api::{ClientRegistration, Phase, RegistrationRequest};
use crate::domain::backoff;

/// What keeps a change from being made, while the client goes on as it was.
pub(super) enum Trouble {
    /// The server said no: an edit is called for.
    Refused(String),
    /// It is tried again.
    Failing(String),
}

/// How the registration that is to replace the one that serves gets on: the next step (`Err`), or what to say.
pub(super) fn replacement(
    o: &Observed,
    serving: &ClientRegistration,
    replace: bool,
    wanted: &RegistrationRequest,
    now: DateTime<Utc>,
) -> Result<Option<Trouble>, Box<Decision>> {
    let step = |step| Err(Box::new(Decision { step, status: None, requeue_at: None }));
    let another = |attempt, not_before| Err(Box::new(create(o, attempt, not_before, now)));
    let Some(later) = o.entries.last().filter(|e| e.spec.attempt > serving.spec.attempt) else {
        return if replace { another(serving.spec.attempt + 1, None) } else { Ok(None) };
    };
    let state = later.state();
    let name = later.metadata.name.clone().unwrap_or_default();
    let next = later.spec.attempt + 1;
    if let Some(orphan) = state.possible_orphan.as_ref().filter(|p| !p.unmanageable) {
        let not_before = orphan.since + backoff::delay(&name, next, None);
        return if replace { another(next, Some(not_before)) } else { Ok(None) };
    }
    if later.spec.end.is_some() || state.end.is_some() || state.phase.is_final() {
        let why = state.rejection.map(|r| r.message).or(state.end.map(|e| e.message));
        let edited = o.client.metadata.generation.unwrap_or_default() > later.spec.generation;
        let again = edited || later.spec.request != *wanted || state.phase == Phase::Cancelled;
        return match why {
            _ if !replace => Ok(None),
            _ if again && !later.is_live() => another(next, None),
            why => Ok(why.map(|w| Trouble::Refused(format!("{w}; the client goes on as it was")))),
        };
    }
    if !replace {
        // The change was undone before it was made.
        return step(Step::EndEntry { name });
    }
    if later.spec.request != *wanted && state.attempted_at.is_none() {
        return step(Step::UpdateEntry { name, expires_at: serving.spec.expires_at, request: true });
    }
    let why = state.possible_orphan.map(|p| p.message).or(state.retry.map(|r| r.last_error));
    Ok(why.map(|w| Trouble::Failing(format!("the registration that is to replace this one fails: {w}"))))
}
