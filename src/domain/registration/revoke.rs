//! Ending a client: trying its credential, deleting it, showing that it is gone.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Found, LOOK_AGAIN, Management, Observed, Pass, Step};
use crate::api::{Acceptance, ClientRegistrationStatus, Deletion, EndReason, Evidence, EvidenceLevel, Phase};
use crate::domain::backoff;
use crate::domain::evidence::{self, Grounds, Verdict};

/// Probes that the server may take and answer uselessly before a client is deleted without a recent acceptance.
const USELESS_PROBES: u32 = 5;

/// The next step towards the end of a client.
pub(super) fn revoke(o: &Observed, now: DateTime<Utc>) -> Step {
    let s = &o.status;
    if let Some(retry) = s.retry.as_ref().filter(|r| backoff::holds(r.next_at, now)) {
        return Step::Wait { until: Some(retry.next_at) };
    }
    let has_credential = match &o.management {
        Management::Unknown => return Step::Wait { until: Some(now + LOOK_AGAIN) },
        Management::Absent => {
            return match s.attempted_at {
                // What it stood for may live.
                None if was_put_back(o) && o.spec.server.backend.chooses_id() => Step::Prepare,
                None if was_put_back(o) => Step::RecordPossibleOrphan,
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
    // Also what a refusal had deleted already: nobody ever got its credential.
    let open = !deletion.is_taken() || s.rejection.is_some();
    if o.spec.server.backend.chooses_id() && s.registered_at.is_none() && s.acceptance.is_none() && open {
        // Also in this very pass, where the answer is what ends it.
        let answered = matches!(&o.management, Management::Present { applied, .. } if !applied.is_empty());
        let asked = s.attempted_at.is_some() && (answered || !o.pass.attempt_recorded || s.settles_at.is_some());
        match o.pass.found {
            // Nothing was asked for yet.
            _ if !asked && !was_put_back(o) => return Step::RecordFinal(Phase::Cancelled, None),
            None => return Step::LookUp,
            Some(Found::Ours) => {}
            Some(Found::Gone | Found::Foreign) => {
                return match unsettled(o, now) {
                    Some(t) => Step::Wait { until: Some(t) },
                    None => Step::RecordFinal(Phase::Cancelled, None),
                };
            }
        }
    }
    if settles_at(o).is_some()
        && let Some(found) = &s.evidence
        && found.level >= least(o)
        && deletion.is_taken()
    {
        return again(o, found.clone(), has_credential, now);
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
    // Where the server is the one, the credential is tried again: whoever refused it may have been another.
    if can_probe && o.pass.same_server.is_none() && !proven_without_identity(o) && is_refused(o) {
        return Step::Identify;
    }
    let (after, never_existed) = o.pass.after.clone().unzip();
    let grounds = Grounds {
        before: s.acceptance.clone().filter(|_| has_credential),
        deletion,
        after,
        never_existed,
        same_server: o.pass.same_server.unwrap_or_default(),
    };
    match evidence::weigh(&grounds) {
        Ok(found) if found.level >= least(o) => match unsettled(o, now) {
            Some(t) => Step::RecordUnsettled(t, found),
            None => Step::RecordFinal(Phase::Revoked, Some(found)),
        },
        Ok(found) => Step::RecordDebt(found.statement.clone(), Some(found)),
        Err(why) => Step::RecordDebt(why, None),
    }
}

/// What the end has to show. The server's word is enough for a credential that nobody ever got, because nothing better
/// could be shown of it.
fn least(o: &Observed) -> EvidenceLevel {
    let demanded = o.spec.server.least_evidence;
    match &o.status.end {
        Some(end) if end.reason == EndReason::EvidenceUnobtainable => demanded.min(EvidenceLevel::ServerConfirmed),
        _ => demanded,
    }
}

/// Whether the credential is now refused like one that never existed.
fn is_refused(o: &Observed) -> bool {
    o.status.acceptance.as_ref().zip(o.pass.after.as_ref()).is_some_and(|(accepted, (after, control))| {
        evidence::verdict(after, &accepted.answer, control) == Verdict::RefusedAsUnknown
    })
}

/// Whether the entry was removed by force and written again: what it stood for may live.
fn was_put_back(o: &Observed) -> bool {
    o.spec.end.as_ref().is_some_and(|e| e.reason == EndReason::RegistrationDeleted)
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

/// When to look again, while a registration request without an answer may still take effect. By a clock that is wrong
/// that is never over.
fn unsettled(o: &Observed, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = settles_at(o)?;
    if o.circumstances.clock_trusted { Some(until).filter(|t| *t > now) } else { Some(now + LOOK_AGAIN) }
}

/// The server refuses a registration after an earlier request to it had no answer: what that one may have made goes, then
/// the refusal is all there is.
pub(super) fn refused_after_doubt(o: &Observed, now: DateTime<Utc>) -> Step {
    let deleted = o.status.deletion.as_ref().is_some_and(Deletion::is_taken);
    match o.pass.found {
        None => Step::LookUp,
        Some(Found::Ours) if !o.pass.deleted => Step::Delete,
        Some(Found::Ours) if !deleted => {
            Step::RecordDebt("an earlier request made the client, and the server refuses to delete it".into(), None)
        }
        Some(_) => match unsettled(o, now) {
            Some(t) => Step::Wait { until: Some(t) },
            None => Step::RecordFinal(Phase::Rejected, None),
        },
    }
}

/// The client is gone, and a late registration request can have brought it back: once that is past, delete and look
/// again.
fn again(o: &Observed, found: Evidence, has_credential: bool, now: DateTime<Utc>) -> Step {
    let before = o.status.acceptance.is_some() && has_credential;
    if let Some(until) = unsettled(o, now) {
        Step::Wait { until: Some(until) }
    } else if !o.pass.deleted {
        Step::Delete
    } else if before && o.pass.after.is_none() {
        Step::ProbeAfter
    } else if !before || is_refused(o) {
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
        && s.acceptance.as_ref().zip(deletion.answered_at).is_some_and(|(a, at)| evidence::is_close(a.answer.at, at))
}

/// Whether a credential that was accepted once has to be tried again before its client is deleted.
pub(super) fn wants_probe(o: &Observed, now: DateTime<Utc>) -> bool {
    matches!(o.management, Management::Present { has_credential: true, .. })
        && o.status.acceptance.as_ref().is_some_and(|a| !evidence::is_fresh(a, now))
}

fn before_deleting(o: &Observed, now: DateTime<Utc>) -> Step {
    let useless = o.status.deletion.as_ref().map_or(0, |d| d.useless_probes);
    let has_credential = matches!(o.management, Management::Present { has_credential: true, .. });
    let asked = o.status.deletion.as_ref().is_some_and(|d| d.asked_at.is_some() || d.answered_at.is_some());
    // The end came before the credential was ever tried: without an acceptance, nothing can be proven afterwards.
    if has_credential
        && o.status.acceptance.is_none()
        && !o.pass.nothing_separates
        && !asked
        && useless < USELESS_PROBES
    {
        return Step::Prove;
    }
    match o.pass.before {
        // Also when the pass was held up after a probe: what was accepted then may not be now.
        None | Some(Verdict::Accepted) if wants_probe(o, now) => Step::ProbeBefore,
        // The deletion could not be sent either.
        Some(Verdict::Unreached) => Step::RecordDebt("the server cannot be reached to try the credential".into(), None),
        Some(Verdict::Unclear) if useless < USELESS_PROBES => {
            Step::RecordDebt("whether the credential is alive could not be found out before deleting".into(), None)
        }
        _ => Step::Delete,
    }
}

/// Whether the intent to delete has to be put on record, again where the credential was accepted after the last one.
pub fn intent_is_due(o: &Observed, now: DateTime<Utc>) -> bool {
    let asked = o.status.deletion.as_ref().and_then(|d| d.asked_at);
    let accepted = o.status.acceptance.as_ref().map(|a| a.answer.at);
    deletion_follows(o, now) && asked.is_none_or(|asked| accepted.is_some_and(|at| asked < at))
}

/// Puts on record how the server answered a deletion. Where it says no to the very first one, nobody here has deleted
/// anything, and the intent is off the record.
pub fn deletion_answered(
    status: &mut ClientRegistrationStatus,
    pass: &mut Pass,
    http_status: u16,
    absent: bool,
    now: DateTime<Utc>,
) {
    let deletion = status.deletion.get_or_insert_default();
    if deletion.is_taken() {
        // The evidence rests on the first time.
        deletion.repeated_at = Some(now);
    } else {
        deletion.answered_at = Some(now);
        deletion.status = Some(http_status);
        deletion.absent = absent;
    }
    if pass.intent_recorded && !deletion.is_taken() {
        deletion.asked_at = None;
    }
    pass.intent_recorded = false;
    pass.deleted = true;
}

/// Puts on record that a deletion had no conclusive answer. What was certainly not sent is no deletion; an older one
/// that may have been sent stays on record.
pub fn deletion_unanswered(
    status: &mut ClientRegistrationStatus,
    pass: &mut Pass,
    may_have_acted: bool,
    now: DateTime<Utc>,
) {
    let deletion = status.deletion.get_or_insert_default();
    if may_have_acted {
        deletion.asked_at = deletion.asked_at.or(Some(now));
    } else if pass.intent_recorded {
        deletion.asked_at = None;
    }
    // The next one, in this pass or another, is not the first any more.
    pass.intent_recorded = false;
}

/// Puts on record that the credential was accepted.
pub fn credential_accepted(status: &mut ClientRegistrationStatus, acceptance: Acceptance) {
    status.acceptance = Some(acceptance);
    if let Some(deletion) = &mut status.deletion {
        deletion.useless_probes = 0;
    }
}

/// Puts on record that a probe before the deletion could not be answered; `taken`: the server took the request.
pub fn probe_failed(status: &mut ClientRegistrationStatus, taken: bool) {
    if taken && status.end.is_some() {
        status.deletion.get_or_insert_default().useless_probes += 1;
    }
}

/// Whether a deletion that follows at once rests on a recent acceptance: then the record of the end is the record
/// of the intent too, and a crash after the deletion loses nothing.
pub fn deletion_follows(o: &Observed, now: DateTime<Utc>) -> bool {
    matches!(o.management, Management::Present { .. })
        && o.status.acceptance.as_ref().is_some_and(|a| evidence::is_fresh(a, now))
}
