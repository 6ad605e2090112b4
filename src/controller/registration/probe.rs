//! Trying an entry's credential.

use super::observe::Work;
use super::say::failed;
use crate::api::{Acceptance, ProbeRecord};
use crate::authorization_server::CallError;
use crate::authorization_server::probe::{Credential, ProbeMethod};
use crate::controller::{Context, Error, proof};
use crate::domain::evidence::{self, Verdict};

/// Shows that the credential works, and finds out which probe tells so.
pub(super) async fn prove(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let spec = work.observed.spec.clone();
    let Some(credential) = work.stored.as_ref().and_then(|s| proof::credential(&spec, s)) else { return Ok(()) };
    let http = match ctx.servers.of(&spec.server) {
        Ok(http) => http,
        Err(error) => return failed(ctx, work, &error.to_string(), None).await,
    };
    let endpoints = proof::endpoints(&spec);
    for method in ProbeMethod::ALL {
        if endpoints.endpoint(method).is_none() {
            continue;
        }
        let now = ctx.clock.now();
        let tried = async {
            let live = proof::try_credential(&http, &spec, method, &credential, now).await?;
            let control = ctx.controls.take(&http, &spec, method, &credential, now).await?;
            Ok::<_, CallError>((live, control))
        };
        match tried.await {
            Ok((live, control)) if evidence::separates(method.as_str(), &live, &control) => {
                work.observed.status.acceptance = Some(Acceptance { method: method.as_str().into(), answer: live });
                return Ok(());
            }
            Ok((live, _)) if live.status == 401 => {
                let why = format!("the credential just received is refused by the server ({})", method.as_str());
                return failed(ctx, work, &why, None).await;
            }
            Ok(_) => {}
            Err(error) => {
                let why = format!("try the credential: {error}");
                return failed(ctx, work, &why, None).await;
            }
        }
    }
    work.observed.pass.nothing_separates = true;
    Ok(())
}

/// The probe that separates at this server, its credential, and the answer to a live one.
fn known_probe(work: &Work) -> Option<(ProbeMethod, Credential, ProbeRecord)> {
    let acceptance = work.observed.status.acceptance.as_ref()?;
    let credential = proof::credential(&work.observed.spec, work.stored.as_ref()?)?;
    Some((ProbeMethod::parse(&acceptance.method)?, credential, acceptance.answer.clone()))
}

async fn ask_both(ctx: &Context, work: &Work) -> Result<(ProbeRecord, ProbeRecord, ProbeRecord), String> {
    let (method, credential, accepted) = known_probe(work).ok_or("there is no credential to try")?;
    let spec = &work.observed.spec;
    let http = ctx.servers.of(&spec.server).map_err(|e| e.to_string())?;
    let now = ctx.clock.now();
    let answer = proof::try_credential(&http, spec, method, &credential, now)
        .await
        .map_err(|e| format!("try the credential: {e}"))?;
    let control =
        ctx.controls.take(&http, spec, method, &credential, now).await.map_err(|e| format!("take a control: {e}"))?;
    Ok((answer, control, accepted))
}

/// Tries the credential before the deletion.
pub(super) async fn probe_before(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let verdict = match ask_both(ctx, work).await {
        Ok((answer, control, accepted)) => {
            let verdict = evidence::verdict(&answer, &accepted, &control);
            if let (Verdict::Accepted, Some(acceptance)) = (verdict, work.observed.status.acceptance.as_mut()) {
                acceptance.answer = answer;
            }
            verdict
        }
        Err(why) => {
            tracing::info!(entry = work.observed.name, why, "a credential could not be tried before deleting");
            Verdict::Unclear
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
        Err(why) => failed(ctx, work, &why, None).await,
    }
}
