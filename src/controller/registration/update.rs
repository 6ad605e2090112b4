//! Changing a client in place.

use super::observe::Work;
use super::say::{audit, failed, said};
use super::{keep, record, server};
use crate::api::FailedChange;
use crate::authorization_server::keys::ClientKey;
use crate::authorization_server::{CallError, ClientMetadata, Updated};
use crate::controller::{Context, Error, doing, faults};
use crate::domain::registration::retires_previous;
use crate::domain::request;
use crate::kubernetes::management_secret::Stored;
use crate::telemetry::audit::Action;

/// Replaces the client's metadata (RFC 7592 section 2.2); whatever fails leaves it as it was.
pub(super) async fn update(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let wanted = request::hash(&work.observed.spec.request);
    match put(ctx, work).await? {
        Ok(()) => {
            if work.observed.status.drift.is_some() {
                work.observed.pass.corrected = true;
                return Ok(());
            }
            audit(ctx, work, Action::Changed);
            if let Some(client) = &work.client {
                ctx.tell(client, false, "Changed", "the client was changed at the authorization server").await;
            }
            Ok(())
        }
        // It was taken before: this is no change that could be refused for what it is.
        Err(CallError::Refused(refusal)) if work.observed.status.drift.is_some() => {
            let why =
                format!("bring the client back to what was asked: {refusal}{}", said(refusal.description.as_deref()));
            failed(ctx, work, &why, refusal.retry_after).await
        }
        Err(CallError::Refused(refusal)) => {
            let now = ctx.clock.now();
            let unsupported = matches!(refusal.status, 404 | 405 | 501);
            let message = format!("{refusal}{}; the client goes on as it was", said(refusal.description.as_deref()));
            work.observed.status.failed_change = Some(FailedChange { request: wanted, unsupported, message });
            record::status(ctx, work, now).await
        }
        Err(CallError::Foreign { why }) => failed(ctx, work, &why, None).await,
        Err(CallError::Inconclusive { why, retry_after, .. }) => failed(ctx, work, &why, retry_after).await,
    }
}

/// Sends what the client is to be, with the keys that it is to have, and stores what comes back.
pub(super) async fn put(ctx: &Context, work: &mut Work) -> Result<Result<(), CallError>, Error> {
    let not_sent = |why| CallError::Inconclusive { why, may_have_acted: false, retry_after: None };
    let Some(stored) = work.stored.clone() else {
        return Ok(Err(not_sent("there is nothing to manage the client by".to_owned())));
    };
    let backend = match server::for_managing(ctx, work).await {
        Ok(backend) => backend,
        Err(why) => return Ok(Err(not_sent(why))),
    };
    let metadata = metadata(ctx, work, &stored);
    faults::point("before-put");
    let outcome = backend.update(&stored.management, &metadata, stored.client_secret.as_ref()).await;
    faults::point("after-put");
    match outcome {
        Ok(updated) => took(ctx, work, stored, updated).await.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

fn metadata(ctx: &Context, work: &Work, stored: &Stored) -> ClientMetadata {
    let retires = retires_previous(&work.observed, ctx.clock.now());
    let keys = stored.keys_at_server(retires).filter_map(|pem| ClientKey::from_pem(pem).ok());
    let keys: Vec<_> = keys.map(|key| key.public_jwk).collect();
    server::metadata(work, (!keys.is_empty()).then(|| serde_json::json!({ "keys": keys })))
}

async fn took(ctx: &Context, work: &mut Work, stored: Stored, updated: Updated) -> Result<(), Error> {
    let stored = stored.changed(updated, &work.observed.spec.request);
    // An admin API manages all clients by one credential: nothing has changed that would have to be stored.
    if stored.management.registration.is_some() {
        keep::changed(ctx, &work.observed.name, &stored)
            .await
            .map_err(doing("store a rotated registration access token"))?;
    }
    work.holds(stored);
    Ok(())
}
