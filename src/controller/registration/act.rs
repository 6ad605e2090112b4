//! Doing one step for a ledger entry.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};

use super::observe::{Work, management};
use super::record;
use crate::api::{Acceptance, EndReason, FailedChange, Phase, PossibleOrphan, ProbeRecord, Rejection, SigningAlg};
use crate::authorization_server::dynamic_registration::DynamicRegistration;
use crate::authorization_server::keys::{self, ClientKey};
use crate::authorization_server::probe::ProbeMethod;
use crate::authorization_server::{Backend, CallError, ClientMetadata, RegisterError, Registered, discovery};
use crate::controller::{Context, Error, doing, faults, proof};
use crate::domain::evidence::{self, Verdict};
use crate::domain::registration::{Step, deletion_follows};
use crate::domain::{backoff, names, request};
use crate::kubernetes::look::{explain, is_conflict};
use crate::kubernetes::management_secret::{self, Stored};

/// Does one step.
pub async fn act(ctx: &Context, work: &mut Work, step: Step) -> Result<(), Error> {
    let now = ctx.clock.now();
    match step {
        Step::RecordAttempt => {
            work.observed.status.phase = Phase::Registering;
            work.observed.status.attempted_at = Some(now);
            faults::point("before-attempt");
            record::status(ctx, work, now).await?;
            work.observed.pass.attempt_recorded = true;
            faults::point("after-attempt");
        }
        Step::Register => register(ctx, work).await?,
        Step::RecordPossibleOrphan => {
            let message =
                "a registration request had no answer on record: a client may exist that nobody holds a credential of"
                    .to_owned();
            orphan(ctx, work, message, false).await?;
        }
        Step::Prove => prove(ctx, work).await?,
        Step::RecordRegistered => {
            let Some(stored) = &work.stored else { return Ok(()) };
            let s = &mut work.observed.status;
            let first = s.registered_at.is_none();
            s.phase = Phase::Registered;
            s.client_id = Some(stored.management.client_id.clone());
            s.registered_at = s.registered_at.or(Some(now));
            s.applied = Some(stored.applied.clone());
            s.retry = None;
            s.failed_change = None;
            faults::point("before-registered");
            record::status(ctx, work, now).await?;
            faults::point("after-registered");
            if first {
                audit(work, "registered");
            }
        }
        Step::Update => update(ctx, work).await?,
        Step::RecordEnd(end) => {
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
                record::status(ctx, work, now).await?;
                faults::point("after-end");
            }
        }
        Step::ProbeBefore => probe_before(ctx, work).await?,
        Step::Delete => delete(ctx, work).await?,
        Step::ProbeAfter => probe_after(ctx, work).await?,
        Step::Identify => identify(ctx, work).await?,
        Step::RecordFinal(phase, found) => {
            let s = &mut work.observed.status;
            s.phase = phase;
            s.retry = None;
            s.evidence = found;
            if phase == Phase::Revoked {
                s.revoked_at = Some(now);
                s.tokens_expire_at = work.observed.spec.server.access_token_lifetime.delta().map(|d| now + d);
            }
            faults::point("before-final");
            record::status(ctx, work, now).await?;
            faults::point("after-final");
            audit(work, "revoked");
        }
        Step::RecordDebt(why, found) => {
            work.observed.status.evidence = found;
            failed(ctx, work, &why, None).await?;
        }
        Step::Release | Step::Wait { .. } => {}
    }
    Ok(())
}

/// One audit line: who, what, where, why and how well known.
fn audit(work: &Work, action: &str) {
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
async fn failed(ctx: &Context, work: &mut Work, why: &str, asked: Option<Duration>) -> Result<(), Error> {
    let now = ctx.clock.now();
    let s = &mut work.observed.status;
    s.retry = Some(backoff::failed(&work.observed.name, s.retry.as_ref(), now, why, asked));
    record::status(ctx, work, now).await?;
    let reason = if work.observed.status.end.is_some() { "RevocationFailing" } else { "RegistrationFailing" };
    if let Some(client) = &work.client {
        ctx.tell(client, true, reason, why).await;
    }
    Ok(())
}

async fn orphan(ctx: &Context, work: &mut Work, message: String, unmanageable: bool) -> Result<(), Error> {
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

async fn backend(ctx: &Context, work: &Work) -> Result<DynamicRegistration, String> {
    let server = &work.observed.spec.server;
    let token = match &server.dynamic_registration.initial_access_token {
        None => None,
        Some(reference) => {
            let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
            let secret = secrets.get(&reference.secret_name).await.map_err(|e| {
                format!(
                    "read the initial access token in Secret {}/{}: {}",
                    ctx.namespace,
                    reference.secret_name,
                    explain(&e)
                )
            })?;
            let bytes = secret.data.unwrap_or_default().remove(&reference.key).ok_or_else(|| {
                format!("Secret {}/{} has no key {}", ctx.namespace, reference.secret_name, reference.key)
            })?;
            let text = String::from_utf8(bytes.0).map_err(|_| "the initial access token is not text".to_owned())?;
            Some(text.trim().to_owned().into())
        }
    };
    Ok(DynamicRegistration {
        initial_access_token: token,
        software_statement: server.dynamic_registration.software_statement.clone(),
        ..backend_for_management(ctx, work)?
    })
}

fn metadata(work: &Work, jwks: Option<serde_json::Value>) -> ClientMetadata {
    let r = &work.observed.spec.request;
    ClientMetadata {
        client_name: names::marker(&work.observed.spec.installation, &work.observed.name),
        scopes: r.scopes.clone(),
        grant_types: r.grant_types.clone(),
        redirect_uris: r.redirect_uris.clone(),
        token_endpoint_auth_method: r.token_endpoint_auth_method.as_str().into(),
        token_endpoint_auth_signing_alg: r.signing_alg.map(|a| a.as_str().into()),
        jwks: jwks.or_else(|| r.jwks.as_ref().and_then(|j| serde_json::to_value(j).ok())),
        contacts: vec![r.contact.clone()],
    }
}

async fn make_key(alg: SigningAlg) -> Result<ClientKey, String> {
    let alg = match alg {
        SigningAlg::ES256 => keys::SigningAlg::Es256,
        SigningAlg::RS256 => keys::SigningAlg::Rs256,
    };
    let made = tokio::task::spawn_blocking(move || ClientKey::generate(alg)).await;
    made.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

async fn register(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let prepared = match backend(ctx, work).await {
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
    let metadata = metadata(work, key.as_ref().map(ClientKey::public_jwks));
    faults::point("before-post");
    let outcome = backend.register(&metadata).await;
    faults::point("after-post");
    match outcome {
        Ok(registered) => store(ctx, work, &backend, registered, key).await,
        Err(RegisterError::NoEffect { why, retry_after }) => not_registered(ctx, work, &why, retry_after).await,
        Err(RegisterError::Refused(refusal)) if matches!(refusal.status, 401 | 403 | 404 | 405 | 429) => {
            // The request may be fine: the token or the endpoint is not.
            let why = format!("{refusal}{}", said(refusal.description.as_deref()));
            let why = format!("{why}. Check the AuthorizationServer's initialAccessToken");
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
            if let Some(client) = &work.client {
                ctx.tell(client, true, "RegistrationRefused", &message).await;
            }
            Ok(())
        }
        Err(RegisterError::OutcomeUnknown { why }) => orphan(ctx, work, why, false).await,
        Err(RegisterError::Unmanageable { why, client_id }) => {
            work.observed.status.client_id = client_id;
            orphan(ctx, work, why, true).await
        }
    }
}

fn said(description: Option<&str>) -> String {
    description.map(|d| format!(": {d}")).unwrap_or_default()
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
        grant: management_secret::grant(&registered.granted),
        management: registered.management,
        client_secret: registered.client_secret,
        private_key: key.map(|k| k.private_key_pem),
        applied: request::hash(&work.observed.spec.request),
    };
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let secret = management_secret::build(&work.observed.name, &stored);
    let mut tries = 0u64;
    loop {
        match secrets.create(&PostParams::default(), &secret).await {
            Ok(_) => break,
            Err(error) if tries < 8 && !is_conflict(&error) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(250 * tries)).await;
            }
            Err(error) => {
                // Somebody else was quicker, or there is no place to keep it: what we received is revoked.
                let undone = backend.delete(&stored.management).await;
                tracing::error!(entry = work.observed.name, undone = ?undone.is_ok(), "a registration could not be stored and was revoked");
                return Err(doing("store a registration")(error));
            }
        }
    }
    faults::point("after-store");
    work.observed.management = management(&work.entry, &stored);
    work.stored = Some(stored);
    Ok(())
}

/// Shows that the credential works, and finds out which probe tells so.
async fn prove(ctx: &Context, work: &mut Work) -> Result<(), Error> {
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
fn known_probe(work: &Work) -> Option<(ProbeMethod, crate::authorization_server::probe::Credential, ProbeRecord)> {
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

async fn probe_before(ctx: &Context, work: &mut Work) -> Result<(), Error> {
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

async fn probe_after(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    match ask_both(ctx, work).await {
        Ok((answer, control, _)) => {
            work.observed.pass.after = Some((answer, control));
            Ok(())
        }
        Err(why) => failed(ctx, work, &why, None).await,
    }
}

async fn delete(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let backend = match backend_for_management(ctx, work) {
        Ok(backend) => backend,
        Err(why) => return failed(ctx, work, &why, None).await,
    };
    let asked = work.observed.status.deletion.as_ref().and_then(|d| d.asked_at);
    let now = ctx.clock.now();
    if asked.is_none() && deletion_follows(&work.observed, now) {
        work.observed.status.deletion.get_or_insert_default().asked_at = Some(now);
        record::status(ctx, work, now).await?;
    }
    faults::point("before-delete");
    let outcome = backend.delete(&stored.management).await;
    faults::point("after-delete");
    let now = ctx.clock.now();
    match outcome {
        Ok(status) => answered(work, now, status),
        Err(CallError::Refused(refusal)) => answered(work, now, refusal.status),
        Err(CallError::Inconclusive { why, may_have_acted, retry_after }) => {
            let deletion = work.observed.status.deletion.get_or_insert_default();
            // What was certainly not sent is no deletion; an older one that may have been stays on record.
            if !may_have_acted && work.observed.status.retry.is_none() {
                deletion.asked_at = None;
            } else if may_have_acted {
                deletion.asked_at = deletion.asked_at.or(Some(now));
            }
            return failed(ctx, work, &why, retry_after).await;
        }
    }
    work.observed.pass.deleted = true;
    Ok(())
}

fn answered(work: &mut Work, now: chrono::DateTime<chrono::Utc>, status: u16) {
    let deletion = work.observed.status.deletion.get_or_insert_default();
    deletion.answered_at = Some(now);
    deletion.status = Some(status);
}

/// The server as changing and deleting need it: without what registering takes.
fn backend_for_management(ctx: &Context, work: &Work) -> Result<DynamicRegistration, String> {
    let server = &work.observed.spec.server;
    Ok(DynamicRegistration {
        http: ctx.servers.of(server).map_err(|e| e.to_string())?,
        registration_endpoint: server.endpoints.registration_endpoint.clone().unwrap_or_default(),
        initial_access_token: None,
        software_statement: None,
    })
}

async fn identify(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let server = &work.observed.spec.server;
    let known = &server.endpoints.key_thumbprints;
    let same = match ctx.servers.of(server) {
        Ok(http) => discovery::discover(&http, &server.issuer)
            .await
            .is_ok_and(|m| m.key_thumbprints.iter().any(|k| known.contains(k))),
        Err(_) => false,
    };
    work.observed.pass.same_server = Some(same);
    Ok(())
}

/// Replaces the client's metadata (RFC 7592 section 2.2); whatever fails leaves it as it was.
async fn update(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let wanted = request::hash(&work.observed.spec.request);
    let backend = match backend_for_management(ctx, work) {
        Ok(backend) => backend,
        Err(why) => return failed(ctx, work, &why, None).await,
    };
    let jwks = stored.private_key.as_ref().and_then(|pem| ClientKey::from_pem(pem).ok()).map(|key| key.public_jwks());
    let metadata = metadata(work, jwks);
    faults::point("before-put");
    let outcome = backend.update(&stored.management, &metadata, stored.client_secret.as_ref()).await;
    faults::point("after-put");
    match outcome {
        Ok(updated) => {
            let stored = Stored {
                management: updated.management,
                client_secret: updated.client_secret.or(stored.client_secret),
                private_key: stored.private_key,
                applied: wanted,
                grant: management_secret::grant(&updated.granted),
            };
            restore(ctx, work, &stored).await?;
            if let Some(excess) = request::granted_too_much(&work.observed.spec.request, &stored.grant) {
                tracing::warn!(entry = work.observed.name, excess, "a changed client was granted more than asked");
                work.observed.status.end = None;
                let end = crate::api::End {
                    reason: EndReason::GrantedTooMuch,
                    message: format!("the server granted more than was asked: {excess}"),
                    at: ctx.clock.now(),
                };
                work.stored = Some(stored);
                return Box::pin(act(ctx, work, Step::RecordEnd(end))).await;
            }
            work.observed.management = management(&work.entry, &stored);
            work.stored = Some(stored);
            audit(work, "changed");
            Ok(())
        }
        Err(CallError::Refused(refusal)) => {
            let now = ctx.clock.now();
            let unsupported = matches!(refusal.status, 404 | 405 | 501);
            let message = format!("{refusal}{}; the client goes on as it was", said(refusal.description.as_deref()));
            work.observed.status.failed_change = Some(FailedChange { request: wanted, unsupported, message });
            record::status(ctx, work, now).await
        }
        Err(CallError::Inconclusive { why, retry_after, .. }) => failed(ctx, work, &why, retry_after).await,
    }
}

/// Overwrites the management Secret: a rotated token is in hand, and the old one is dead.
async fn restore(ctx: &Context, work: &Work, stored: &Stored) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let name = &work.observed.name;
    let mut tries = 0u64;
    loop {
        let secret = management_secret::build(name, stored);
        match secrets.replace(name, &PostParams::default(), &secret).await {
            Ok(_) => return Ok(()),
            Err(_) if tries < 8 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(250 * tries)).await;
            }
            Err(error) => return Err(doing("store a rotated registration access token")(error)),
        }
    }
}
