//! Asking a server to register a client: what goes on record before, and what follows when no client came of it.

use chrono::{DateTime, Utc};

use super::{Management, Observed};
use crate::api::Phase;

/// What became of a registration request that brought no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server was certainly not reached, or did nothing.
    NoEffect,
    /// It refused, with this HTTP status.
    Refused(u16),
    /// It may have taken effect, now or later.
    Unknown,
    /// A client came of it, without what managing it takes.
    Unmanageable,
    /// There is a client of the chosen id that is not ours.
    Foreign,
}

/// What follows from it, for whoever writes the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// It is tried again.
    Again,
    /// The server said no with this HTTP status, and will again. Where that is not the end of it, an earlier request may
    /// have made a client.
    Rejected(u16),
    /// A client may exist that this entry cannot revoke.
    PossibleOrphan {
        /// One certainly exists.
        unmanageable: bool,
    },
}

/// The server is about to be asked.
pub fn begins(o: &mut Observed, now: DateTime<Utc>) {
    if o.status.attempted_at.is_some() {
        may_act_late(o, now);
    }
    o.status.phase = Phase::Registering;
    o.status.attempted_at = Some(now);
}

/// No client came of it.
pub fn failed(o: &mut Observed, outcome: Outcome, now: DateTime<Utc>) -> Follows {
    match outcome {
        // The request may be fine: the operator's credential or the endpoint is not.
        Outcome::NoEffect | Outcome::Refused(300..=399 | 401 | 403 | 404 | 405 | 429) => {
            // An earlier request, whose outcome is not known, stays on record.
            if o.status.settles_at.is_none() {
                o.status.attempted_at = None;
                o.status.phase = Phase::Pending;
            }
            o.pass.attempt_recorded = false;
            Follows::Again
        }
        Outcome::Refused(status) => rejected(o, status),
        Outcome::Foreign => rejected(o, 409),
        // The same id again: it is the same client.
        Outcome::Unknown if o.spec.server.backend.chooses_id() => {
            may_act_late(o, now);
            Follows::Again
        }
        Outcome::Unknown => Follows::PossibleOrphan { unmanageable: false },
        Outcome::Unmanageable => Follows::PossibleOrphan { unmanageable: true },
    }
}

/// A client exists and works, or was changed. What the server took is what a decision knows of it: where the credential is
/// stored before the server hears of it, the management Secret does not say.
pub fn succeeded(o: &mut Observed, now: DateTime<Utc>) {
    let Management::Present { client_id, applied, granted, .. } = &o.management else { return };
    let s = &mut o.status;
    s.phase = Phase::Registered;
    s.client_id = Some(client_id.clone());
    s.registered_at = s.registered_at.or(Some(now));
    s.applied = Some(applied.clone());
    s.scopes = granted.scopes.clone().or(s.scopes.take());
    s.retry = None;
    s.failed_change = None;
    // The answer came after all.
    s.possible_orphan = None;
}

/// There is no client of this request. Of an earlier one that had no answer there may be one.
fn rejected(o: &mut Observed, status: u16) -> Follows {
    o.status.retry = None;
    if o.status.settles_at.is_none() {
        o.status.phase = Phase::Rejected;
    }
    Follows::Rejected(status)
}

/// A request without an answer may take effect for so long. A clock that was set back makes that no shorter.
fn may_act_late(o: &mut Observed, now: DateTime<Utc>) {
    let since = o.status.attempted_at.map_or(now, |at| now.max(at));
    let until = o.spec.server.settle_for.delta().map(|span| since + span);
    o.status.settles_at = o.status.settles_at.max(until);
}
