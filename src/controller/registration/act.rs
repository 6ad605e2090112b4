//! Doing one step for a ledger entry.

use super::observe::Work;
use super::say::{audit, failed, orphan};
use super::{probe, record, register, revoke, rotate, say, update};
use crate::api::{End, Phase, Retry};
use crate::controller::{Context, Error, faults};
use crate::domain::registration::{Step, attempt, deletion_follows};
use crate::telemetry::audit::Action;

/// Does one step.
pub async fn act(ctx: &Context, work: &mut Work, step: Step) -> Result<(), Error> {
    let now = ctx.clock.now();
    match step {
        Step::Prepare => register::prepare(ctx, work).await?,
        Step::RecordAttempt => {
            attempt::begins(&mut work.observed, now);
            faults::point("before-attempt");
            record::status(ctx, work, now).await?;
            work.observed.pass.attempt_recorded = true;
            faults::point("after-attempt");
        }
        Step::Register => register::register(ctx, work).await?,
        Step::RecordPossibleOrphan => {
            let message =
                "a registration request had no answer on record: a client may exist that nobody holds a credential of"
                    .to_owned();
            orphan(ctx, work, message, false).await?;
        }
        Step::Prove => probe::prove(ctx, work).await?,
        Step::RecordRegistered => registered(ctx, work).await?,
        Step::Update => update::update(ctx, work).await?,
        Step::RecordDrift(drift) => {
            let was = std::mem::replace(&mut work.observed.status.drift, drift);
            work.observed.status.retry = None;
            record::status(ctx, work, now).await?;
            if let Some(was) = was.filter(|_| work.observed.pass.corrected) {
                say::corrected(ctx, work, &was).await;
            }
        }
        Step::PrepareKey => rotate::prepare(ctx, work).await?,
        Step::PutKeys => rotate::put(ctx, work).await?,
        Step::ProveKey => rotate::prove(ctx, work).await?,
        Step::PromoteKey => rotate::promote(ctx, work).await?,
        Step::RecordKeyRotated => rotate::rotated(ctx, work).await?,
        Step::ProveKeyRefused => rotate::prove_refused(ctx, work).await?,
        Step::DropKey => rotate::drop_previous(ctx, work).await?,
        Step::RecordKeyRetired => rotate::retired(ctx, work).await?,
        Step::RecordEnd(end) => ends(ctx, work, end).await?,
        Step::ProbeBefore => probe::probe_before(ctx, work).await?,
        Step::LookUp => revoke::look_up(ctx, work).await?,
        Step::Delete => revoke::delete(ctx, work).await?,
        Step::ProbeAfter => probe::probe_after(ctx, work).await?,
        Step::Identify => revoke::identify(ctx, work).await?,
        Step::RecordFinal(phase, found) => {
            let s = &mut work.observed.status;
            s.phase = phase;
            s.retry = None;
            s.evidence = found;
            if phase == Phase::Revoked {
                s.revoked_at = Some(now);
                s.tokens_expire_at = work.observed.spec.server.access_token_lifetime.delta().map(|d| now + d);
            }
            let action = match phase {
                Phase::Revoked => Action::Revoked,
                Phase::Rejected => Action::Refused,
                _ => Action::Cancelled,
            };
            faults::point("before-final");
            audit(ctx, work, action);
            record::status(ctx, work, now).await?;
            faults::point("after-final");
            ctx.metrics.revoked(&work.entry, now);
        }
        Step::RecordUnsettled(until, found) => {
            let why = format!(
                "gone; a registration request without an answer may bring it back until {}, then it is deleted once more",
                until.to_rfc3339()
            );
            let retry = Retry { failures: 0, next_at: until, last_error: why };
            (work.observed.status.evidence, work.observed.status.retry) = (Some(found), Some(retry));
            record::status(ctx, work, now).await?;
        }
        Step::RecordDebt(why, found) => {
            work.observed.status.evidence = found;
            failed(ctx, work, &why, None).await?;
        }
        Step::Release | Step::Wait { .. } => {}
    }
    Ok(())
}

/// Puts on record that the client is there, and what the server took.
async fn registered(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let now = ctx.clock.now();
    let Some(stored) = &work.stored else { return Ok(()) };
    let expires_at = stored.secret_expires_at;
    let first = work.observed.status.registered_at.is_none();
    attempt::succeeded(&mut work.observed, now);
    let s = &mut work.observed.status;
    s.secret_expires_at = expires_at.or(s.secret_expires_at);
    faults::point("before-registered");
    if first {
        audit(ctx, work, Action::Registered);
    }
    record::status(ctx, work, now).await?;
    faults::point("after-registered");
    Ok(())
}

/// Puts the end on record, and the intent to delete where that follows at once.
async fn ends(ctx: &Context, work: &mut Work, end: End) -> Result<(), Error> {
    let now = ctx.clock.now();
    let asked = deletion_follows(&work.observed, now).then_some(now);
    let s = &mut work.observed.status;
    s.end = Some(end);
    if s.phase != Phase::Pending {
        s.phase = Phase::Revoking;
    }
    s.retry = None;
    if s.attempted_at.is_some() {
        s.deletion.get_or_insert_default().asked_at = asked;
        faults::point("before-end");
        audit(ctx, work, Action::Ended);
        record::status(ctx, work, now).await?;
        work.observed.pass.intent_recorded = asked.is_some();
        faults::point("after-end");
    }
    Ok(())
}
