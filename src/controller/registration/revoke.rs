//! Asking the server to delete the client, and who the server is.

use super::observe::Work;
use super::say::failed;
use super::{record, server};
use crate::authorization_server::limits::Priority;
use crate::authorization_server::{CallError, discovery};
use crate::controller::{Context, Error, faults};
use crate::domain::registration::{Found, deletion_answered, deletion_unanswered, intent_is_due};

/// Asks for the deletion, with the intent on record before.
pub(super) async fn delete(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let backend = match server::for_managing(ctx, work).await {
        Ok(backend) => backend,
        Err(why) => return failed(ctx, work, &why, None).await,
    };
    let now = ctx.clock.now();
    if intent_is_due(&work.observed, now) {
        let asked = work.observed.status.deletion.get_or_insert_default().asked_at.replace(now);
        record::status(ctx, work, now).await?;
        work.observed.pass.intent_recorded = asked.is_none();
    }
    faults::point("before-delete");
    let outcome = backend.delete(&stored.management, &work.observed.spec.installation).await;
    faults::point("after-delete");
    let now = ctx.clock.now();
    let (status, pass) = (&mut work.observed.status, &mut work.observed.pass);
    match outcome {
        Ok(deleted) => deletion_answered(status, pass, deleted.status, deleted.was_gone, now),
        Err(CallError::Refused(refusal)) => deletion_answered(status, pass, refusal.status, false, now),
        Err(CallError::Foreign { why }) => return failed(ctx, work, &why, None).await,
        Err(CallError::Inconclusive { why, may_have_acted, retry_after }) => {
            deletion_unanswered(status, pass, may_have_acted, now);
            return failed(ctx, work, &why, retry_after).await;
        }
    }
    Ok(())
}

/// Looks the client up by its id, where the server can be asked like that.
pub(super) async fn look_up(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let backend = match server::for_managing(ctx, work).await {
        Ok(backend) => backend,
        Err(why) => return failed(ctx, work, &why, None).await,
    };
    match backend.read(&stored.management, &work.observed.spec.installation).await {
        Ok(found) => {
            work.observed.pass.found = Some(match found {
                crate::authorization_server::Found::There(_) => Found::Ours,
                crate::authorization_server::Found::Foreign { .. } => Found::Foreign,
                crate::authorization_server::Found::Gone => Found::Gone,
            });
            Ok(())
        }
        Err(CallError::Inconclusive { why, retry_after, .. }) => failed(ctx, work, &why, retry_after).await,
        Err(error) => failed(ctx, work, &error.to_string(), None).await,
    }
}

/// Finds out whether the server has the signing keys of the one that registered the client.
pub(super) async fn identify(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let server = &work.observed.spec.server;
    let known = &server.endpoints.key_thumbprints;
    let same = match ctx.servers.of(server, Priority::Ending) {
        Ok(http) => discovery::discover(&http, &server.issuer)
            .await
            .is_ok_and(|m| m.key_thumbprints.iter().any(|k| known.contains(k))),
        Err(_) => false,
    };
    work.observed.pass.same_server = Some(same);
    if same {
        // Whoever refused the credential may have been another, replaced meanwhile: it is tried once more.
        work.observed.pass.after = None;
    }
    Ok(())
}
