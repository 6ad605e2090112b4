//! Rotating a client's key in place.

use super::observe::Work;
use super::say::{audit, failed, said};
use super::{keep, probe, record, register, update};
use crate::api::{Acceptance, SigningAlg};
use crate::authorization_server::CallError;
use crate::controller::{Context, Error, doing, faults};
use crate::domain::evidence::{self, Verdict};
use crate::domain::registration::{credential_accepted, gives_up, note_rotation};
use crate::kubernetes::management_secret::Stored;
use crate::telemetry::audit::Action;

/// Makes the key to come, and stores it before the server hears of it.
pub(super) async fn prepare(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let alg = work.observed.spec.request.signing_alg.unwrap_or(SigningAlg::ES256);
    let key = match register::make_key(alg).await {
        Ok(key) => key,
        Err(why) => return failed(ctx, work, &why, None).await,
    };
    faults::point("before-next-key");
    keep(ctx, work, stored.with_next(Some(key.private_key_pem))).await?;
    faults::point("after-next-key");
    Ok(())
}

/// Has the server know just the keys that the client is to have.
pub(super) async fn put(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    match update::put(ctx, work).await? {
        Ok(()) => {
            work.observed.pass.keys_put = true;
            Ok(())
        }
        Err(CallError::Inconclusive { why, retry_after, .. }) => failed(ctx, work, &why, retry_after).await,
        Err(error) => {
            let (passing, description) = match &error {
                CallError::Refused(refusal) => {
                    (matches!(refusal.status, 401 | 403 | 429), said(refusal.description.as_deref()))
                }
                _ => (true, String::new()),
            };
            let why = format!("give the client its keys: {error}{description}");
            if gives_up(&work.observed, passing, ctx.clock.now()) {
                refused(ctx, work, why).await
            } else {
                failed(ctx, work, &why, None).await
            }
        }
    }
}

/// Shows that the key to come works.
pub(super) async fn prove(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let Some(next) = work.stored.as_ref().and_then(|s| s.rotating.next.clone()) else { return Ok(()) };
    match probe::ask_with_key(ctx, work, &next, "try the key to come").await {
        Ok((answer, control, accepted)) => match evidence::verdict(&answer, &accepted.answer, &control) {
            Verdict::Accepted => {
                credential_accepted(&mut work.observed.status, Acceptance { answer, ..accepted });
                work.observed.pass.next_accepted = true;
                Ok(())
            }
            _ if gives_up(&work.observed, true, ctx.clock.now()) => {
                refused(ctx, work, format!("the server took a second key, and does not accept it ({})", answer.status))
                    .await
            }
            _ => {
                let why = format!("the server does not accept the key to come yet: it answered {}", answer.status);
                failed(ctx, work, &why, None).await
            }
        },
        Err(none) => failed(ctx, work, &none.why, None).await,
    }
}

/// Lets the key to come take the place of the one that is published.
pub(super) async fn promote(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let Some(asked) = &work.observed.spec.key_rotation else { return Ok(()) };
    let promoted = stored.promoted(asked.begun_at);
    faults::point("before-promote");
    keep(ctx, work, promoted).await?;
    faults::point("after-promote");
    Ok(())
}

/// Puts on record that the client has another key.
pub(super) async fn rotated(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let now = ctx.clock.now();
    note_rotation(&mut work.observed, |status| status.rotated_at = Some(now));
    audit(ctx, work, Action::KeyRotated);
    record::status(ctx, work, now).await?;
    Ok(())
}

/// Shows that the key before is refused.
pub(super) async fn prove_refused(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let keys = work.stored.as_ref().and_then(|s| s.rotating.previous.clone().zip(s.private_key.clone()));
    let Some((previous, present)) = keys else { return Ok(()) };
    match probe::ask_with_key(ctx, work, &previous, "try the key that was rotated away").await {
        Ok((answer, control, accepted)) => {
            let mut refused = evidence::refuses_key(&answer, &accepted.answer, &control);
            if !refused && evidence::is_about_the_request(&answer) {
                match probe::ask_with_key(ctx, work, &present, "try the key beside it").await {
                    Ok((beside, _, _)) => refused = evidence::refuses_key_beside(&answer, &accepted.answer, &beside),
                    Err(none) => return failed(ctx, work, &none.why, None).await,
                }
            }
            if refused {
                work.observed.pass.previous_refused = true;
                return Ok(());
            }
            work.observed.pass.keys_put = false;
            let why =
                format!("the key that was rotated away is not refused yet: the server answered {}", answer.status);
            failed(ctx, work, &why, None).await
        }
        Err(none) => failed(ctx, work, &none.why, None).await,
    }
}

/// Forgets the key before.
pub(super) async fn drop_previous(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    faults::point("before-drop-key");
    keep(ctx, work, stored.without_previous()).await?;
    faults::point("after-drop-key");
    Ok(())
}

/// Puts on record that the key before is gone.
pub(super) async fn retired(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let now = ctx.clock.now();
    note_rotation(&mut work.observed, |status| status.retired_at = Some(now));
    audit(ctx, work, Action::KeyRetired);
    record::status(ctx, work, now).await?;
    Ok(())
}

/// The server takes no second key: the one to come is forgotten, and a second registration has to do.
async fn refused(ctx: &Context, work: &mut Work, why: String) -> Result<(), Error> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    keep(ctx, work, stored.with_next(None)).await?;
    note_rotation(&mut work.observed, |status| status.refused = Some(why));
    record::status(ctx, work, ctx.clock.now()).await
}

async fn keep(ctx: &Context, work: &mut Work, stored: Stored) -> Result<(), Error> {
    keep::changed(ctx, &work.observed.name, &stored).await.map_err(doing("store a client's keys"))?;
    work.holds(stored);
    // What the server was given last is not what is stored now.
    work.observed.pass.keys_put = false;
    Ok(())
}
