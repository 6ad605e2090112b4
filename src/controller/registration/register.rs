//! Registering, and storing what comes back before anything else happens.

use std::time::Duration;

use super::observe::{Work, management};
use super::say::{audit, failed, orphan, said};
use super::{keep, record, server};
use crate::api::{Phase, Rejection, SigningAlg};
use crate::authorization_server::dynamic_registration::DynamicRegistration;
use crate::authorization_server::keys::{self, ClientKey};
use crate::authorization_server::{Backend, RegisterError, Registered};
use crate::controller::{Context, Error, doing, faults};
use crate::domain::request;
use crate::kubernetes::management_secret::{self, Stored};

async fn make_key(alg: SigningAlg) -> Result<ClientKey, String> {
    let alg = match alg {
        SigningAlg::ES256 => keys::SigningAlg::Es256,
        SigningAlg::RS256 => keys::SigningAlg::Rs256,
    };
    let made = tokio::task::spawn_blocking(move || ClientKey::generate(alg)).await;
    made.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

/// Registers the client.
pub(super) async fn register(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let prepared = match server::for_registering(ctx, work).await {
        Ok(backend) => match work.observed.spec.request.signing_alg {
            None => Ok((backend, None)),
            Some(alg) => make_key(alg).await.map(|key| (backend, Some(key))),
        },
        Err(why) => Err(why),
    };
    let (backend, key) = match prepared {
        Ok(both) => both,
        Err(why) => return not_registered(ctx, work, &why, None).await,
    };
    let metadata = server::metadata(work, key.as_ref().map(ClientKey::public_jwks));
    faults::point("before-post");
    let outcome = backend.register(&metadata, None).await;
    faults::point("after-post");
    match outcome {
        Ok(registered) => store(ctx, work, &backend, registered, key).await,
        Err(RegisterError::NoEffect { why, retry_after }) => not_registered(ctx, work, &why, retry_after).await,
        Err(RegisterError::Refused(refusal)) if matches!(refusal.status, 300..=399 | 401 | 403 | 404 | 405 | 429) => {
            // The request may be fine: the token or the endpoint is not.
            let token = matches!(refusal.status, 401 | 403);
            let hint = if token { ". Check the AuthorizationServer's initialAccessToken" } else { "" };
            let why = format!("{refusal}{}{hint}", said(refusal.description.as_deref()));
            not_registered(ctx, work, &why, refusal.retry_after).await
        }
        Err(RegisterError::Refused(refusal)) => {
            let now = ctx.clock.now();
            let message = format!("{refusal}{}", said(refusal.description.as_deref()));
            let s = &mut work.observed.status;
            s.phase = Phase::Rejected;
            s.rejection = Some(Rejection { status: refusal.status, message: message.clone() });
            s.retry = None;
            record::status(ctx, work, now).await?;
            audit(work, "refused");
            Ok(())
        }
        Err(RegisterError::Foreign { why }) => not_registered(ctx, work, &why, None).await,
        Err(RegisterError::OutcomeUnknown { why }) => orphan(ctx, work, why, false).await,
        Err(RegisterError::Unmanageable { why, client_id }) => {
            work.observed.status.client_id = client_id;
            orphan(ctx, work, why, true).await
        }
    }
}

/// The server was certainly not reached, or did nothing: the attempt is off the record.
async fn not_registered(ctx: &Context, work: &mut Work, why: &str, after: Option<Duration>) -> Result<(), Error> {
    work.observed.status.attempted_at = None;
    work.observed.status.phase = Phase::Pending;
    work.observed.pass.attempt_recorded = false;
    failed(ctx, work, why, after).await
}

/// Stores what managing the client takes, before anything else happens.
async fn store(
    ctx: &Context,
    work: &mut Work,
    backend: &DynamicRegistration,
    registered: Registered,
    key: Option<ClientKey>,
) -> Result<(), Error> {
    let stored = Stored {
        grant: management_secret::grant(&registered.granted, &work.observed.spec.request),
        management: registered.management,
        client_secret: registered.client_secret,
        private_key: key.map(|k| k.private_key_pem),
        applied: request::hash(&work.observed.spec.request),
    };
    if let Err(error) = keep::new(ctx, &work.observed.name, &stored).await {
        // Somebody else was quicker, or there is no place to keep it: what we received is revoked.
        let undone = backend.delete(&stored.management, &work.observed.spec.installation).await.is_ok();
        tracing::error!(entry = work.observed.name, undone, "a registration could not be stored and was revoked");
        return Err(doing("store a registration")(error));
    }
    faults::point("after-store");
    work.observed.management = management(&work.entry, &stored);
    work.stored = Some(stored);
    Ok(())
}
