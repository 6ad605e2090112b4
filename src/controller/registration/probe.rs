//! Trying an entry's credential.

use secrecy::SecretString;

use super::observe::Work;
use super::say::failed;
use crate::api::{Acceptance, ProbeRecord};
use crate::authorization_server::limits::Priority;
use crate::authorization_server::probe::{NoAnswer, ProbeMethod};
use crate::controller::{Context, Error, proof};
use crate::domain::evidence::{self, Verdict, Way};
use crate::domain::registration::{credential_accepted, probe_failed};
use crate::kubernetes::management_secret::Stored;

/// Shows that the credential works, and finds out which probe tells so. A way that turns it away, or whose answer is of no
/// use, is no reason not to try the next.
pub(super) async fn prove(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let spec = work.observed.spec.clone();
    let Some(credential) = work.stored.as_ref().and_then(|s| proof::credential(&spec, s)) else { return Ok(()) };
    let http = match ctx.servers.of(&spec.server, Priority::Other) {
        Ok(http) => http,
        Err(error) => return failed(ctx, work, &error.to_string(), None).await,
    };
    let endpoints = proof::endpoints(&spec);
    let mut troubles = Vec::new();
    for method in ProbeMethod::ALL {
        if endpoints.endpoint(method).is_none() {
            continue;
        }
        let now = ctx.clock.now();
        let tried = async {
            let live = proof::try_credential(&http, &spec, method, &credential, now).await?;
            let control = ctx.controls.take(&http, &spec, method, &credential, now).await?;
            Ok::<_, NoAnswer>((live, control))
        };
        match tried.await {
            Ok((live, control)) => match evidence::way(method.as_str(), &live, &control) {
                Way::Separates => {
                    let acceptance = Acceptance { method: method.as_str().into(), answer: live };
                    credential_accepted(&mut work.observed.status, acceptance);
                    return Ok(());
                }
                Way::Refuses => {
                    troubles.push(format!("the credential just received is refused by the server ({method})"));
                }
                Way::SaysNothing => {}
            },
            Err(error) if error.useless => troubles.push(format!("try the credential: {error}")),
            Err(error) => {
                probe_failed(&mut work.observed.status, error.taken);
                return failed(ctx, work, &format!("try the credential: {error}"), None).await;
            }
        }
    }
    if troubles.is_empty() {
        work.observed.pass.nothing_separates = true;
        return Ok(());
    }
    probe_failed(&mut work.observed.status, true);
    failed(ctx, work, &troubles.join("; "), None).await
}

/// The answers to a key that the client has besides, to a control, and when its credential was accepted last; `what` is
/// being done, for errors.
pub(super) async fn ask_with_key(
    ctx: &Context,
    work: &Work,
    private_key: &SecretString,
    what: &str,
) -> Result<(ProbeRecord, ProbeRecord, Acceptance), NoAnswer> {
    let with_key = work.stored.clone().map(|stored| Stored { private_key: Some(private_key.clone()), ..stored });
    ask(ctx, work, with_key.as_ref(), Priority::Other, what).await
}

/// The answers to the credential that is stored, to a control, and when it was accepted last, for a client that ends.
async fn ask_both(ctx: &Context, work: &Work) -> Result<(ProbeRecord, ProbeRecord, Acceptance), NoAnswer> {
    ask(ctx, work, work.stored.as_ref(), Priority::Ending, "try the credential").await
}

/// By the probe that separates at this server.
async fn ask(
    ctx: &Context,
    work: &Work,
    stored: Option<&Stored>,
    priority: Priority,
    what: &str,
) -> Result<(ProbeRecord, ProbeRecord, Acceptance), NoAnswer> {
    let spec = &work.observed.spec;
    let known = work.observed.status.acceptance.clone().and_then(|accepted| {
        Some((ProbeMethod::parse(&accepted.method)?, proof::credential(spec, stored?)?, accepted))
    });
    let (method, credential, accepted) =
        known.ok_or_else(|| NoAnswer::not_asked("there is no credential to try".to_owned()))?;
    let http = ctx.servers.of(&spec.server, priority).map_err(|e| NoAnswer::not_asked(e.to_string()))?;
    let now = ctx.clock.now();
    let during = |what: &str, e: NoAnswer| NoAnswer { why: format!("{what}: {e}"), ..e };
    let answer = proof::try_credential(&http, spec, method, &credential, now).await.map_err(|e| during(what, e))?;
    let control =
        ctx.controls.take(&http, spec, method, &credential, now).await.map_err(|e| during("take a control", e))?;
    Ok((answer, control, accepted))
}

/// Tries the credential before the deletion.
pub(super) async fn probe_before(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let verdict = match ask_both(ctx, work).await {
        Ok((answer, control, accepted)) => {
            let verdict = evidence::verdict(&answer, &accepted.answer, &control);
            if verdict == Verdict::Accepted {
                credential_accepted(&mut work.observed.status, Acceptance { answer, ..accepted });
            } else {
                probe_failed(&mut work.observed.status, verdict == Verdict::Unclear);
            }
            verdict
        }
        Err(NoAnswer { why, taken, .. }) => {
            tracing::info!(entry = work.observed.name, why, "a credential could not be tried before deleting");
            probe_failed(&mut work.observed.status, taken);
            if taken { Verdict::Unclear } else { Verdict::Unreached }
        }
    };
    work.observed.pass.before = Some(verdict);
    Ok(())
}

/// Tries the credential and a control after the deletion.
pub(super) async fn probe_after(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    match ask_both(ctx, work).await {
        Ok((answer, control, _)) => {
            work.observed.pass.after = Some((answer, control));
            Ok(())
        }
        Err(none) => failed(ctx, work, &none.why, None).await,
    }
}
