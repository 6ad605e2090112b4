//! What is said of an entry: failures and possible orphans, on record; one audit line for every change of its state.

use std::time::Duration;

use super::observe::Work;
use super::record;
use crate::api::{Drift, Phase, PossibleOrphan};
use crate::controller::{Context, Error};
use crate::domain::{backoff, names};

/// One audit line: who, what, where, why and how well known.
pub(super) fn audit(work: &Work, action: &str) {
    let (spec, s) = (&work.observed.spec, &work.observed.status);
    tracing::info!(
        target: "audit",
        action,
        namespace = spec.client_ref.namespace,
        client = spec.client_ref.name,
        owner = spec.owner.email,
        server = spec.server.name,
        entry = work.observed.name,
        client_id = s.client_id.as_deref().unwrap_or_default(),
        reason = s.end.as_ref().map(|e| e.reason.as_str()).unwrap_or_default(),
        evidence = s.evidence.as_ref().map(|e| e.level.as_str()).unwrap_or_default(),
    );
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
    record::status(ctx, work, now).await?;
    audit(work, "possible-orphan");
    if let Some(client) = &work.client {
        ctx.tell(client, true, "PossibleOrphan", &message).await;
    }
    Ok(())
}

/// Tells that a client which somebody had changed at the server is again what was asked for.
pub(super) async fn corrected(ctx: &Context, work: &Work, was: &Drift) {
    audit(work, "drift-corrected");
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
