//! An object whose ledger entry is gone: an administrator deleted it, or it was kept long enough.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Decision, Observed, Step, finish, ours_is_there};
use crate::api::{EndReason, OAuthClientStatus, RegistrationRef};
use crate::domain::conditions::say;
use crate::domain::ends::NamespaceState;
use crate::domain::lifetime;

/// The attempt to begin with: after an entry that is gone comes another, and never the same once more.
pub(super) fn first_attempt(o: &Observed) -> u32 {
    o.client.status.as_ref().and_then(|s| s.registration_ref.as_ref()).map_or(1, |r| r.attempt + 1)
}

/// The ledger entry that the status names is gone: an administrator deleted it, or it was kept long enough. Unless the
/// end no longer holds, or the object was edited since where that is asked for, nothing is registered anew; `None`:
/// something is.
pub(super) fn forgotten(o: &Observed, known: &RegistrationRef, now: DateTime<Utc>) -> Option<Decision> {
    let before = o.client.status.clone().unwrap_or_default();
    let revoked = before.conditions.iter().find(|c| c.type_ == "Revoked" && c.status == "True");
    let edited = o.client.metadata.generation.unwrap_or_default() > known.generation;
    let until = before.registered_at.map(|first| lifetime::expires_at(&o.client.spec.lifetime, first));
    let another = match revoked.map(|c| c.reason.as_str()) {
        None | Some("RegistrationDeleted" | "GrantedTooMuch") => edited,
        Some("Suspended") => true,
        Some("Expired") => until.is_none_or(|t| t > now),
        Some(_) => false,
    };
    if another && !o.client.spec.suspend && o.namespace == NamespaceState::Active {
        return None;
    }
    if ours_is_there(o) {
        return Some(Decision { step: Step::DeleteSecret, status: None, requeue_at: None });
    }
    if revoked.is_some() {
        let ended_at = before.revoked_at;
        let delete_at = o.client.spec.ttl_seconds_after_finished.zip(ended_at).map(|(s, t)| t + TimeDelta::seconds(s));
        let step = if delete_at.is_some_and(|t| now >= t) { Step::DeleteObject } else { Step::Wait };
        return Some(Decision { step, status: None, requeue_at: delete_at.filter(|t| *t > now) });
    }
    let mut status = OAuthClientStatus { binding: None, ..before };
    let reason = EndReason::RegistrationDeleted.as_str();
    let message = format!(
        "ledger entry {} was deleted. It is not registered anew until this object's spec is edited",
        known.name
    );
    let said = vec![
        say("Accepted", true, "Accepted", "nothing stood against this request"),
        say("Stalled", true, reason, message.clone()),
    ];
    finish(o, &mut status, "Refused", message, said, now);
    Some(Decision { step: Step::Wait, status: Some(status), requeue_at: None })
}
