//! An object whose ledger entry is gone: an administrator deleted it, it was kept long enough, or it was removed by
//! force.

use chrono::{DateTime, Utc};

use super::ended::afterwards;
use super::refusal::{refusal, refuse};
use super::status::finish;
use super::{Decision, Observed, Step, create, only, ours_is_there};
use crate::api::{End, EndReason, OAuthClientStatus, RegistrationRef};
use crate::domain::conditions::say;
use crate::domain::ends::NamespaceState;
use crate::domain::lifetime;

/// The object's status names an entry that is not in the ledger, nor is a later one. That is no reason to register
/// anew: a client may live that only the entry knew of.
pub(super) fn missing(o: &Observed, now: DateTime<Utc>) -> Option<Decision> {
    let status = o.client.status.as_ref()?;
    let named = status.registration_ref.as_ref()?;
    if o.entries.last().is_some_and(|e| e.spec.attempt >= named.attempt) {
        return None;
    }
    if ours_is_there(o) {
        return Some(only(Step::DeleteSecret));
    }
    let over = says_how_it_ended(status);
    if over && deserves_another(o, status, named, now) {
        return Some(match refusal(o, None, now) {
            Some(refused) => refuse(o, None, refused, now),
            None => create(o, None, None, now),
        });
    }
    if over || o.namespace != NamespaceState::Active {
        return Some(afterwards(o, None, status.revoked_at.filter(|_| over), now));
    }
    if o.server.is_none() {
        return Some(unknown(o, status, named, now));
    }
    let message = "its entry was removed from the ledger by force".to_owned();
    let end = End { reason: EndReason::RegistrationDeleted, message, at: now };
    Some(create(o, None, Some(end), now))
}

/// Whether the end that the status tells of no longer holds, or the object was edited since where that is asked for.
fn deserves_another(o: &Observed, status: &OAuthClientStatus, named: &RegistrationRef, now: DateTime<Utc>) -> bool {
    if o.client.spec.suspend || o.namespace != NamespaceState::Active {
        return false;
    }
    let revoked = status.conditions.iter().find(|c| c.type_ == "Revoked" && c.status == "True");
    let edited = o.client.metadata.generation.unwrap_or_default() > named.generation;
    let until = status.registered_at.map(|first| lifetime::expires_at(&o.client.spec.lifetime, first));
    match revoked.map(|c| c.reason.as_str()) {
        None | Some("RegistrationDeleted" | "GrantedTooMuch" | "EvidenceUnobtainable") => edited,
        Some("Suspended" | "GoneAtServer" | "PolicyViolation" | "Denied") => true,
        Some("Expired") => until.is_none_or(|t| t > now),
        Some(_) => false,
    }
}

/// Nothing says how its client ended, nor where it would be.
fn unknown(o: &Observed, status: &OAuthClientStatus, named: &RegistrationRef, now: DateTime<Utc>) -> Decision {
    let mut status = OAuthClientStatus { binding: None, ..status.clone() };
    let message = format!(
        "ledger entry {} is gone, and so is its AuthorizationServer: how its client ended is not known. It is not registered anew until this object's spec is edited",
        named.name
    );
    let said = vec![
        say("Accepted", true, "Accepted", "nothing stood against this request"),
        say("Stalled", true, "LedgerEntryMissing", message.clone()),
    ];
    finish(o, &mut status, "Refused", message, said, now);
    Decision { step: Step::Wait, status: Some(status), requeue_at: None }
}

fn says_how_it_ended(status: &OAuthClientStatus) -> bool {
    matches!(status.state.as_deref(), Some("Revoked" | "Refused"))
        || status.revoked_at.is_some()
        || status.conditions.iter().any(|c| c.reason == "PossibleOrphan")
}

/// Whether an object's status says of this attempt how it ended, so that its entry is not needed for that any more.
pub fn is_told(status: Option<&OAuthClientStatus>, attempt: u32) -> bool {
    status.is_some_and(|s| {
        s.registration_ref
            .as_ref()
            .is_some_and(|named| named.attempt > attempt || (named.attempt == attempt && says_how_it_ended(s)))
    })
}
