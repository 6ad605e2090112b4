//! What is said of an entry: failures and possible orphans, on record; one audit line for every change of its state.

use std::time::Duration;

use super::observe::Work;
use super::record;
use crate::api::{Drift, Phase, PossibleOrphan};
use crate::controller::{Context, Error};
use crate::domain::{backoff, names};
use crate::telemetry::audit::{Action, Record};

/// Writes an audit record of an entry as it is to be on record. It is written first: a crash in between has it written
/// once more, not never.
pub(super) fn audit(ctx: &Context, work: &Work, action: Action) {
    ctx.record(&record_of(work, action));
}

fn record_of(work: &Work, action: Action) -> Record {
    let o = &work.observed;
    Record::of_entry(action, &o.name, &o.spec, &o.status).asked_by(work.client.as_ref())
}

/// Puts a failure on record, with back-off.
pub(super) async fn failed(ctx: &Context, work: &mut Work, why: &str, asked: Option<Duration>) -> Result<(), Error> {
    let now = ctx.clock.now();
    let s = &mut work.observed.status;
    // What fails on the way to a client, and at its end, is told with the OAuthClient's status.
    let change_fails = s.registered_at.is_some() && s.end.is_none() && s.retry.is_none();
    s.retry = Some(backoff::failed(&work.observed.name, s.retry.as_ref(), now, why, asked));
    record::status(ctx, work, now).await?;
    if let Some(client) = work.client.as_ref().filter(|_| change_fails) {
        ctx.tell(client, true, "ChangeFailing", why).await;
    }
    Ok(())
}

/// Puts on record that a client may exist which this entry cannot revoke.
pub(super) async fn orphan(ctx: &Context, work: &mut Work, message: String, unmanageable: bool) -> Result<(), Error> {
    let now = ctx.clock.now();
    let marker = names::marker(&work.observed.spec.installation, &work.observed.name);
    let message = format!("{message}; look for client_name {marker} at {}", work.observed.spec.server.issuer);
    let s = &mut work.observed.status;
    s.phase = Phase::PossibleOrphan;
    s.possible_orphan = Some(PossibleOrphan { since: now, message: message.clone(), unmanageable });
    s.retry = None;
    ctx.record(&record_of(work, Action::PossibleOrphan).because("PossibleOrphan", message.as_str()));
    record::status(ctx, work, now).await?;
    if let Some(client) = &work.client {
        ctx.tell(client, true, "PossibleOrphan", &message).await;
    }
    Ok(())
}

/// Tells that a client which somebody had changed at the server is again what was asked for.
pub(super) async fn corrected(ctx: &Context, work: &Work, was: &Drift) {
    audit(ctx, work, Action::DriftCorrected);
    ctx.metrics.drift_corrected(&work.observed.spec.server.name);
    if let Some(client) = &work.client {
        let note = format!(
            "the client had been changed at the authorization server and is again as asked for: {}",
            was.message
        );
        ctx.tell(client, true, "DriftCorrected", &note).await;
    }
}

/// What a server said besides its error code, for the end of a sentence.
pub(super) fn said(description: Option<&str>) -> String {
    description.map(|d| format!(": {d}")).unwrap_or_default()
}
