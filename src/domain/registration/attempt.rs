//! Asking a server to register a client: what goes on record before, and what follows when no client came of it.

use chrono::{DateTime, Utc};

use super::Observed;
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
    /// The server said no with this HTTP status, and will again.
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
        Outcome::Refused(status) => Follows::Rejected(status),
        Outcome::Foreign => Follows::Rejected(409),
        // The same id again: it is the same client.
        Outcome::Unknown if o.spec.server.backend.chooses_id() => {
            may_act_late(o, now);
            Follows::Again
        }
        Outcome::Unknown => Follows::PossibleOrphan { unmanageable: false },
        Outcome::Unmanageable => Follows::PossibleOrphan { unmanageable: true },
    }
}

/// A request without an answer may take effect until then.
fn may_act_late(o: &mut Observed, now: DateTime<Utc>) {
    o.status.settles_at = o.spec.server.settle_for.delta().map(|span| now + span);
}
