//! What to do next for a ledger entry. One step at a time: a later step needs what an earlier one returned.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::{
    Acceptance, ClientRegistrationSpec, ClientRegistrationStatus, End, EndReason, Evidence, Phase, ProbeRecord,
};
use crate::domain::ends::{self, Circumstances, ClientState, NamespaceState};
use crate::domain::evidence::{self, Grounds, Verdict};
use crate::domain::request::{self, Grant};
use crate::domain::workload::Workload;

/// Probes that may be inconclusive before a client is deleted without a recent acceptance.
const PROBES_BEFORE_DELETING_ANYWAY: u32 = 5;
/// When to look again at what could not be read.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(15);

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
    },
    /// Nothing can be said now.
    Unknown,
}

/// What was found out in this pass and is on no record yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// This pass has put the attempt on record, so the server was certainly not called before.
    pub attempt_recorded: bool,
    /// No probe tells live credentials at this server from others.
    pub nothing_separates: bool,
    /// The credential was tried before the deletion, with this result.
    pub before: Option<Verdict>,
    /// The credential and a control, after the deletion.
    pub after: Option<(ProbeRecord, ProbeRecord)>,
    /// Whether the server has the signing keys of the one that registered the client.
    pub same_server: Option<bool>,
    /// The deletion was asked for in this pass, with a conclusive answer (in the status).
    pub deleted: bool,
    /// Whether the server has the client, where that can be looked up.
    pub found: Option<Found>,
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
#[derive(Debug, Clone, PartialEq)]
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
    /// Whether the server is asked in it, or in the step that follows from it.
    pub fn asks_the_server(&self) -> bool {
        matches!(
            self,
            Self::Prepare
                | Self::RecordAttempt
                | Self::Register
                | Self::Prove
                | Self::Update
                | Self::ProbeBefore
                | Self::LookUp
                | Self::Delete
                | Self::ProbeAfter
                | Self::Identify
        )
    }
}

/// The next step for an entry.
pub fn decide(o: &Observed, retention: TimeDelta, now: DateTime<Utc>) -> Step {
    let s = &o.status;
    if s.phase.is_final() {
        return after_the_end(o, retention, now);
    }
    if let Some(orphan) = &s.possible_orphan
        && (orphan.unmanageable || o.management == Management::Absent)
    {
        // Deleting the entry is an administrator's word that the orphan was dealt with.
        return if o.circumstances.entry_deleting { Step::Release } else { Step::Wait { until: None } };
    }
    match &s.end {
        Some(_) => revoke(o, now),
        None => match ends::end_of(&o.spec, &o.circumstances, now) {
            // Probing first lets one write put the acceptance, the end and the intent to delete on record.
            Some(_) if o.pass.before.is_none() && wants_probe(o, now) => Step::ProbeBefore,
            Some(end) => Step::RecordEnd(end),
            None => look_again(o, live(o, now), now),
        },
    }
}

/// What could not be read, or a clock that is wrong, may hide an end of which nothing will tell later: whoever waits
/// looks again soon.
fn look_again(o: &Observed, step: Step, now: DateTime<Utc>) -> Step {
    let at = &o.circumstances;
    let hidden = at.client == ClientState::Unknown
        || at.namespace == NamespaceState::Unknown
        || (o.spec.workload.is_some() && at.workload == Workload::Unknown)
        || o.management == Management::Unknown
        || !at.clock_trusted;
    match step {
        Step::Wait { until } if hidden => {
            let soon = now + LOOK_AGAIN;
            Step::Wait { until: Some(until.map_or(soon, |t| t.min(soon))) }
        }
        other => other,
    }
}

fn after_the_end(o: &Observed, retention: TimeDelta, now: DateTime<Utc>) -> Step {
    let since = o.status.revoked_at.or(o.status.end.as_ref().map(|e| e.at)).unwrap_or(now);
    let forget_at = since + retention;
    if o.circumstances.entry_deleting || now >= forget_at {
        Step::Release
    } else {
        Step::Wait { until: Some(forget_at) }
    }
}

fn live(o: &Observed, now: DateTime<Utc>) -> Step {
    let s = &o.status;
    let at_expiry = Step::Wait { until: Some(o.spec.expires_at) };
    if let Some(retry) = s.retry.as_ref().filter(|r| r.next_at > now) {
        return Step::Wait { until: Some(retry.next_at.min(o.spec.expires_at)) };
    }
    match &o.management {
        Management::Unknown => at_expiry,
        // Nobody can say whether it is still wanted.
        Management::Absent if s.attempted_at.is_none() && o.circumstances.client == ClientState::NotWatched => {
            at_expiry
        }
        // The same id again, whatever became of an earlier request: it is the same client.
        Management::Absent if o.spec.server.backend.chooses_id() => Step::Prepare,
        Management::Absent => match s.attempted_at {
            None => match o.spec.not_before.filter(|t| *t > now) {
                Some(t) => Step::Wait { until: Some(t.min(o.spec.expires_at)) },
                None => Step::RecordAttempt,
            },
            Some(_) if o.pass.attempt_recorded => Step::Register,
            Some(_) => Step::RecordPossibleOrphan,
        },
        Management::Present { applied, granted, has_credential, .. } => {
            let wanted = request::hash(&o.spec.request);
            // What was granted is compared with what it was the answer to: at first, and after every change.
            if (s.registered_at.is_none() || *applied == wanted)
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
                    return if o.pass.attempt_recorded { Step::Register } else { Step::RecordAttempt };
                }
                let shown = s.acceptance.is_some() || o.pass.nothing_separates || !has_credential;
                return if shown { Step::RecordRegistered } else { Step::Prove };
            }
            let failed_before = s.failed_change.as_ref().is_some_and(|f| f.request == wanted);
            if *applied != wanted && !failed_before {
                Step::Update
            } else if s.applied.as_ref() != Some(applied) || (*applied == wanted && s.failed_change.is_some()) {
                // A change that was refused and undone may be asked for again.
                Step::RecordRegistered
            } else {
                at_expiry
            }
        }
    }
}

fn revoke(o: &Observed, now: DateTime<Utc>) -> Step {
    let s = &o.status;
    if let Some(retry) = s.retry.as_ref().filter(|r| r.next_at > now) {
        return Step::Wait { until: Some(retry.next_at) };
    }
    let has_credential = match &o.management {
        Management::Unknown => return Step::Wait { until: Some(now + TimeDelta::seconds(5)) },
        Management::Absent => {
            return match s.attempted_at {
                None => Step::RecordFinal(Phase::Cancelled, None),
                // The end came between putting the attempt on record and asking: nothing was asked.
                Some(_) if o.pass.attempt_recorded => Step::RecordFinal(Phase::Cancelled, None),
                // Its id is known all the same.
                Some(_) if o.spec.server.backend.chooses_id() => Step::Prepare,
                Some(_) if s.registered_at.is_none() => Step::RecordPossibleOrphan,
                Some(_) => Step::RecordDebt(
                    "the management Secret is gone: nothing is left to revoke the client by; delete it at the server"
                        .into(),
                    None,
                ),
            };
        }
        Management::Present { has_credential, .. } => *has_credential,
    };
    let deletion = s.deletion.clone().unwrap_or_default();
    let settles_at = settles_at(o);
    if o.spec.server.backend.chooses_id() && s.registered_at.is_none() && s.acceptance.is_none() && !deletion.is_taken()
    {
        match o.pass.found {
            // Nothing was asked for yet.
            _ if s.attempted_at.is_none() || (o.pass.attempt_recorded && s.settles_at.is_none()) => {
                return Step::RecordFinal(Phase::Cancelled, None);
            }
            None => return Step::LookUp,
            Some(Found::Ours) => {}
            Some(Found::Gone | Found::Foreign) => {
                return match settles_at.filter(|t| *t > now) {
                    Some(t) => Step::Wait { until: Some(t) },
                    None => Step::RecordFinal(Phase::Cancelled, None),
                };
            }
        }
    }
    if let (Some(settled), Some(found)) = (settles_at, &s.evidence)
        && found.level >= o.spec.server.least_evidence
        && deletion.is_taken()
    {
        return again(o, settled, found.clone(), has_credential, now);
    }
    // An admin API can be asked again where it did not come to an end.
    let once_more = o.spec.server.backend.chooses_id() && s.retry.is_some();
    if (!deletion.is_taken() || once_more) && !o.pass.deleted {
        return before_deleting(o, now);
    }
    let can_probe = has_credential && s.acceptance.is_some();
    if can_probe && o.pass.after.is_none() {
        return Step::ProbeAfter;
    }
    let (after, never_existed) = o.pass.after.clone().unzip();
    if refused_as_unknown(s.acceptance.as_ref(), o.pass.after.as_ref())
        && deletion.asked_at.is_some()
        && o.pass.same_server.is_none()
        && !proven_without_identity(o)
    {
        return Step::Identify;
    }
    let grounds = Grounds {
        before: s.acceptance.clone().filter(|_| has_credential),
        deletion,
        after,
        never_existed,
        same_server: o.pass.same_server.unwrap_or_default(),
    };
    match evidence::weigh(&grounds) {
        Ok(found) if found.level >= o.spec.server.least_evidence => match settles_at.filter(|t| *t > now) {
            Some(t) => Step::RecordUnsettled(t, found),
            None => Step::RecordFinal(Phase::Revoked, Some(found)),
        },
        Ok(found) => Step::RecordDebt(found.statement.clone(), Some(found)),
        Err(why) => Step::RecordDebt(why, None),
    }
}

fn refused_as_unknown(accepted: Option<&Acceptance>, after: Option<&(ProbeRecord, ProbeRecord)>) -> bool {
    accepted.zip(after).is_some_and(|(accepted, (answer, never_existed))| {
        evidence::verdict(answer, &accepted.answer, never_existed) == Verdict::RefusedAsUnknown
    })
}

/// Until when a registration request without an answer may still take effect. Only where the caller chooses the id does
/// that matter here: elsewhere such an entry is a possible orphan, and another one is made.
fn settles_at(o: &Observed) -> Option<DateTime<Utc>> {
    let s = &o.status;
    if !o.spec.server.backend.chooses_id() {
        return None;
    }
    let unanswered = s.attempted_at.filter(|_| s.registered_at.is_none());
    let span = o.spec.server.settle_for.delta().unwrap_or(TimeDelta::minutes(15));
    s.settles_at.max(unanswered.map(|t| t + span))
}

/// The client is gone, and a late registration request can have brought it back: once that is past, delete and look
/// again.
fn again(o: &Observed, settled: DateTime<Utc>, found: Evidence, has_credential: bool, now: DateTime<Utc>) -> Step {
    let before = o.status.acceptance.as_ref().filter(|_| has_credential);
    if now < settled {
        Step::Wait { until: Some(settled) }
    } else if !o.pass.deleted {
        Step::Delete
    } else if before.is_some() && o.pass.after.is_none() {
        Step::ProbeAfter
    } else if before.is_none() || refused_as_unknown(before, o.pass.after.as_ref()) {
        Step::RecordFinal(Phase::Revoked, Some(found))
    } else {
        Step::RecordDebt("the client came back by a late registration request, and is not gone yet".into(), None)
    }
}

/// Whether the answers alone prove the end, so that the server need not be asked who it is.
fn proven_without_identity(o: &Observed) -> bool {
    let s = &o.status;
    let deletion = s.deletion.clone().unwrap_or_default();
    deletion.is_taken()
        && s.acceptance.as_ref().zip(deletion.answered_at).is_some_and(|(a, at)| at - a.answer.at <= evidence::FRESH)
}

/// Whether a credential that was accepted once has to be tried again before its client is deleted.
fn wants_probe(o: &Observed, now: DateTime<Utc>) -> bool {
    matches!(o.management, Management::Present { has_credential: true, .. })
        && o.status.acceptance.as_ref().is_some_and(|a| !evidence::is_fresh(a, now))
}

fn before_deleting(o: &Observed, now: DateTime<Utc>) -> Step {
    let failures = o.status.retry.as_ref().map_or(0, |r| r.failures);
    let has_credential = matches!(o.management, Management::Present { has_credential: true, .. });
    let asked = o.status.deletion.as_ref().is_some_and(|d| d.asked_at.is_some() || d.answered_at.is_some());
    // The end came before the credential was ever tried: without an acceptance, nothing can be proven afterwards.
    if has_credential
        && o.status.acceptance.is_none()
        && !o.pass.nothing_separates
        && !asked
        && failures < PROBES_BEFORE_DELETING_ANYWAY
    {
        return Step::Prove;
    }
    match o.pass.before {
        None if wants_probe(o, now) => Step::ProbeBefore,
        Some(Verdict::Unclear) if failures < PROBES_BEFORE_DELETING_ANYWAY => {
            Step::RecordDebt("whether the credential is alive could not be found out before deleting".into(), None)
        }
        _ => Step::Delete,
    }
}

/// Whether a deletion that follows at once rests on a recent acceptance: then the record of the end is the record
/// of the intent too, and a crash after the deletion loses nothing.
pub fn deletion_follows(o: &Observed, now: DateTime<Utc>) -> bool {
    matches!(o.management, Management::Present { .. })
        && o.status.acceptance.as_ref().is_some_and(|a| evidence::is_fresh(a, now))
}
