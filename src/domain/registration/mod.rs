//! What to do next for a ledger entry. One step at a time: a later step needs what an earlier one returned.

pub mod attempt;
mod key_rotation;
mod revoke;
#[cfg(test)]
mod tests;

pub use key_rotation::{gives_up, note_rotation, retires_previous};
pub use revoke::{
    credential_accepted, deletion_answered, deletion_follows, deletion_unanswered, intent_is_due, probe_failed,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::{
    ClientRegistrationSpec, ClientRegistrationStatus, Drift, DriftKind, End, EndReason, Evidence, EvidenceLevel, Phase,
    ProbeRecord,
};
use crate::domain::ends::{self, Circumstances, ClientState, NamespaceState};
use crate::domain::evidence::Verdict;
use crate::domain::request::{self, Grant};
use crate::domain::{backoff, drift};

/// When to look again at what could not be read, and while the clock is not to be believed: nothing tells when it is.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(15);
/// How long an entry that an administrator deletes waits for its object to say how it ended.
const TELLING: TimeDelta = TimeDelta::minutes(5);

/// What the management Secret says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Management {
    /// There is none (said by the API server of that very object).
    Absent,
    /// It holds what managing the client takes.
    Present {
        /// The client's id.
        client_id: String,
        /// Hash of the request that the stored answer is to.
        applied: String,
        /// What the server granted.
        granted: Grant,
        /// Whether a credential of ours is in it that a probe can try.
        has_credential: bool,
        /// The keys in it besides the one that is published.
        keys: Keys,
    },
    /// Nothing can be said now.
    Unknown,
}

/// What a management Secret says of keys in rotation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keys {
    /// One to come.
    pub next: bool,
    /// One before, that goes on working.
    pub previous: bool,
    /// `begunAt` of the rotation that brought the one that is published.
    pub brought_by: Option<DateTime<Utc>>,
}

/// What was found out in this pass and is on no record yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Pass {
    /// This pass has put the attempt on record, so the server was certainly not called before.
    pub attempt_recorded: bool,
    /// No probe tells live credentials at this server from others.
    pub nothing_separates: bool,
    /// The credential was tried before the deletion, with this result.
    pub before: Option<Verdict>,
    /// This pass has put the intent to delete on record, so that certainly no deletion was sent before.
    pub intent_recorded: bool,
    /// The credential and a control, after the deletion.
    pub after: Option<(ProbeRecord, ProbeRecord)>,
    /// Whether the server has the signing keys of the one that registered the client.
    pub same_server: Option<bool>,
    /// The deletion was asked for in this pass, with a conclusive answer (in the status).
    pub deleted: bool,
    /// Whether the server has the client, where that can be looked up.
    pub found: Option<Found>,
    /// The client was brought back to what was asked.
    pub corrected: bool,
    /// The server has just the keys that it should have.
    pub keys_put: bool,
    /// The key to come was accepted.
    pub next_accepted: bool,
    /// The key before was refused.
    pub previous_refused: bool,
}

/// What the server says of the client, looked up by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is there, and carries our marker.
    Ours,
    /// A client of this id is there, without our marker.
    Foreign,
    /// An admin API that answers for its realm says that there is none.
    Gone,
}

/// Everything known of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The entry's name.
    pub name: String,
    /// Its spec.
    pub spec: ClientRegistrationSpec,
    /// Its status, with what this pass added.
    pub status: ClientRegistrationStatus,
    /// What could end it.
    pub circumstances: Circumstances,
    /// Its management Secret.
    pub management: Management,
    /// What this pass found out.
    pub pass: Pass,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, strum::IntoStaticStr)]
pub enum Step {
    /// Where the caller chooses the client_id: make the credential, and store it.
    Prepare,
    /// Put on record that the server is about to be asked.
    RecordAttempt,
    /// Register, and store what comes back before anything else.
    Register,
    /// Put on record that a registration request may have taken effect without us knowing.
    RecordPossibleOrphan,
    /// Try the credential, and find out which probe separates.
    Prove,
    /// Put on record that the client exists and works.
    RecordRegistered,
    /// Change the client to what is asked now.
    Update,
    /// Put on record how the client differs from what was asked, or that it does not any more.
    RecordDrift(Option<Drift>),
    /// Make the key to come, and store it.
    PrepareKey,
    /// Have the server know the client's keys, and no others.
    PutKeys,
    /// Show that the key to come works.
    ProveKey,
    /// Let the key to come take the place of the one that is published, in the management Secret.
    PromoteKey,
    /// Put on record that it did.
    RecordKeyRotated,
    /// Show that the key before is refused.
    ProveKeyRefused,
    /// Forget the key before.
    DropKey,
    /// Put on record that it is gone.
    RecordKeyRetired,
    /// Put the end on record.
    RecordEnd(End),
    /// Try the credential before deleting: the last acceptance is too old.
    ProbeBefore,
    /// Ask an admin API whether it has the client.
    LookUp,
    /// Ask the server to delete the client.
    Delete,
    /// Try the credential and a control after the deletion.
    ProbeAfter,
    /// Find out whether the server is the one that registered the client.
    Identify,
    /// Put the end of the end on record.
    RecordFinal(Phase, Option<Evidence>),
    /// Put on record that the client is gone, and that a registration request without an answer may bring it back
    /// until then.
    RecordUnsettled(DateTime<Utc>, Evidence),
    /// Put on record that this did not prove the end; try again later.
    RecordDebt(String, Option<Evidence>),
    /// Let the entry and its management Secret go.
    Release,
    /// Nothing now.
    Wait {
        /// Look again then, whatever happens; `None`: when something changes.
        until: Option<DateTime<Utc>>,
    },
}

impl Step {
    /// Its name, without what it is about.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether the server is asked in it, or in the step that follows from it.
    pub fn asks_the_server(&self) -> bool {
        matches!(
            self,
            Self::Prepare
                | Self::RecordAttempt
                | Self::Register
                | Self::Prove
                | Self::Update
                | Self::PutKeys
                | Self::ProveKey
                | Self::ProveKeyRefused
                | Self::ProbeBefore
                | Self::LookUp
                | Self::Delete
                | Self::ProbeAfter
                | Self::Identify
        )
    }

    /// Whether it belongs to a client's end, which goes before everything else.
    pub fn ends(&self) -> bool {
        matches!(self, Self::ProbeBefore | Self::Delete | Self::ProbeAfter | Self::Identify)
    }
}

/// The next step for an entry.
pub fn decide(o: &Observed, retention: TimeDelta, now: DateTime<Utc>) -> Step {
    let s = &o.status;
    if s.phase.is_final() {
        return after_the_end(o, retention, now);
    }
    if s.possible_orphan.is_some() && o.management == Management::Unknown {
        // Whether it can be revoked after all is not known now.
        return Step::Wait { until: Some(now + LOOK_AGAIN) };
    }
    if let Some(orphan) = &s.possible_orphan
        && (orphan.unmanageable || o.management == Management::Absent)
    {
        // Deleting the entry is an administrator's word that the orphan was dealt with.
        return if o.circumstances.entry_deleting { let_go(o, orphan.since, now) } else { Step::Wait { until: None } };
    }
    match &s.end {
        Some(_) => revoke::revoke(o, now),
        None => match ends::end_of(&o.spec, &o.circumstances, now) {
            // Probing first lets one write put the acceptance, the end and the intent to delete on record.
            Some(_) if o.pass.before.is_none() && revoke::wants_probe(o, now) => Step::ProbeBefore,
            Some(end) => Step::RecordEnd(end),
            None => live(o, now),
        },
    }
}

fn after_the_end(o: &Observed, retention: TimeDelta, now: DateTime<Utc>) -> Step {
    let since = o.status.revoked_at.or(o.status.end.as_ref().map(|e| e.at)).unwrap_or(now);
    let forget_at = since + retention;
    if o.circumstances.entry_deleting {
        let_go(o, since, now)
    } else if now >= forget_at && o.circumstances.clock_trusted {
        Step::Release
    } else {
        Step::Wait { until: Some(forget_at.max(now + LOOK_AGAIN)) }
    }
}

/// Lets an entry go that is being deleted, once its object says how it ended: an object whose entry is gone without a
/// word cannot tell an end from a loss.
fn let_go(o: &Observed, since: DateTime<Utc>, now: DateTime<Utc>) -> Step {
    let c = &o.circumstances;
    let waits = matches!(c.client, ClientState::Unknown | ClientState::Present { deleting: false, told: false, .. })
        && c.namespace == NamespaceState::Active;
    if waits && !c.clock_trusted {
        Step::Wait { until: Some(now + LOOK_AGAIN) }
    } else if waits && backoff::holds(since + TELLING, now) {
        Step::Wait { until: Some(since + TELLING) }
    } else {
        Step::Release
    }
}

fn live(o: &Observed, now: DateTime<Utc>) -> Step {
    let s = &o.status;
    let at_expiry = Step::Wait { until: Some(look_again(o, now)) };
    if let Some(retry) = s.retry.as_ref().filter(|r| backoff::holds(r.next_at, now)) {
        return Step::Wait { until: Some(retry.next_at.min(look_again(o, now))) };
    }
    match &o.management {
        Management::Unknown => at_expiry,
        Management::Present { .. } if s.rejection.is_some() => revoke::refused_after_doubt(o, now),
        // The same id again, whatever became of an earlier request: it is the same client.
        Management::Absent if o.spec.server.backend.chooses_id() => {
            if may_register(o) {
                Step::Prepare
            } else {
                at_expiry
            }
        }
        Management::Absent => match s.attempted_at {
            // Nothing is registered while an end cannot be ruled out, or an edit is yet to be judged.
            None if !may_register(o) => at_expiry,
            None => match o.spec.not_before.filter(|t| backoff::holds(*t, now)) {
                Some(t) => Step::Wait { until: Some(t.min(look_again(o, now))) },
                None => Step::RecordAttempt,
            },
            Some(_) if o.pass.attempt_recorded => Step::Register,
            Some(_) => Step::RecordPossibleOrphan,
        },
        Management::Present { applied, granted, has_credential, .. } => {
            let wanted = request::hash(&o.spec.request);
            // What was granted is compared with what it was the answer to. An answer to an older request says nothing
            // of this one; that to the update which follows does.
            if *applied == wanted
                && let Some(excess) = request::granted_too_much(&o.spec.request, granted)
            {
                return Step::RecordEnd(End {
                    reason: EndReason::GrantedTooMuch,
                    message: format!("the server granted more than was asked: {excess}"),
                    at: now,
                });
            }
            if s.registered_at.is_none() {
                if o.spec.server.backend.chooses_id() && *applied != wanted {
                    return match o.pass.attempt_recorded {
                        true => Step::Register,
                        false if may_register(o) => Step::RecordAttempt,
                        false => at_expiry,
                    };
                }
                if o.pass.nothing_separates && o.spec.server.least_evidence == EvidenceLevel::Proven {
                    return Step::RecordEnd(unprovable(o, now));
                }
                let shown = s.acceptance.is_some() || o.pass.nothing_separates || !has_credential;
                return if shown { Step::RecordRegistered } else { Step::Prove };
            }
            // One that may be gone is not changed: that would fail for ever.
            if s.drift.as_ref().is_some_and(|d| d.kind == DriftKind::Missing)
                && let Some(step) = drifted(o, now)
            {
                return step;
            }
            let failed_before = s.failed_change.as_ref().is_some_and(|f| f.request == wanted);
            if *applied != wanted && !failed_before {
                Step::Update
            } else if s.applied.as_ref() != Some(applied) || (*applied == wanted && s.failed_change.is_some()) {
                // A change that was refused and undone may be asked for again.
                Step::RecordRegistered
            } else {
                let next = drifted(o, now).or_else(|| key_rotation::rotate(o, now));
                next.unwrap_or(at_expiry)
            }
        }
    }
}

/// Why a client that works is not handed out: its end could never be proven.
fn unprovable(o: &Observed, now: DateTime<Utc>) -> End {
    End {
        reason: EndReason::EvidenceUnobtainable,
        message: format!(
            "no endpoint of AuthorizationServer {name} tells a live credential from one that never existed, so the Proven revocation that is demanded there could never be shown, and the credential was not published; set revocation.leastEvidence of AuthorizationServer {name} to ServerConfirmed",
            name = o.spec.server.name
        ),
        at: now,
    }
}

/// What to do about a client that is not as it was asked to be.
fn drifted(o: &Observed, now: DateTime<Utc>) -> Option<Step> {
    let drift = o.status.drift.as_ref()?;
    match (drift.kind, o.pass.found) {
        _ if o.pass.corrected => Some(Step::RecordDrift(None)),
        (DriftKind::Changed, _) => Some(Step::Update),
        // Somebody switched it off, or took our mark from it: that is not undone.
        (DriftKind::Disabled | DriftKind::Foreign, _) => None,
        // A list proves no absence.
        (DriftKind::Missing, None) => Some(Step::LookUp),
        (DriftKind::Missing, Some(Found::Ours)) => Some(Step::RecordDrift(None)),
        (DriftKind::Missing, Some(Found::Foreign)) => Some(Step::RecordDrift(Some(drift::foreign(drift)))),
        (DriftKind::Missing, Some(Found::Gone)) => Some(Step::RecordEnd(End {
            reason: EndReason::GoneAtServer,
            message: "the authorization server does not have the client any more: somebody deleted it there".into(),
            at: now,
        })),
    }
}

/// Whether everything that could stand against a registration is known.
fn may_register(o: &Observed) -> bool {
    let c = &o.circumstances;
    c.clock_trusted
        && c.client != ClientState::NotWatched
        && !ends::is_unread(&o.spec, c)
        && ends::is_judged(&o.spec, c)
}

/// When to look again at a client that goes on: at its end, or soon where something may hide an end of which nothing
/// will tell later.
fn look_again(o: &Observed, now: DateTime<Utc>) -> DateTime<Utc> {
    let c = &o.circumstances;
    let hidden = o.management == Management::Unknown || ends::is_unread(&o.spec, c) || !c.clock_trusted;
    let soon = now + LOOK_AGAIN;
    let ends = [Some(o.spec.expires_at), o.spec.retires_at, key_rotation::retires_at(o)];
    let ends_at = ends.into_iter().flatten().min().unwrap_or(soon);
    if hidden || ends_at <= now { soon } else { ends_at }
}
