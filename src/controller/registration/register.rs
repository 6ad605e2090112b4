//! Registering, and storing what comes back before anything else happens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::observe::Work;
use super::say::{audit, failed, orphan, said};
use super::{keep, record, server};
use crate::api::{Phase, Rejection, SigningAlg, TokenEndpointAuthMethod};
use crate::authorization_server::keys::{self, ClientKey};
use crate::authorization_server::{Backend, Chosen, Management, RegisterError, Registered};
use crate::controller::{Context, Error, doing, faults};
use crate::domain::registration::attempt::{self, Follows, Outcome};
use crate::domain::request::{self, Grant};
use crate::kubernetes::management_secret::{self, Rotating, Stored};
use crate::telemetry::audit::Action;

pub(super) async fn make_key(alg: SigningAlg) -> Result<ClientKey, String> {
    let alg = match alg {
        SigningAlg::ES256 => keys::SigningAlg::Es256,
        SigningAlg::RS256 => keys::SigningAlg::Rs256,
    };
    let made = tokio::task::spawn_blocking(move || ClientKey::generate(alg)).await;
    made.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

/// Where the caller chooses the id: makes the credential and stores it, before the server hears of it.
pub(super) async fn prepare(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let request = &work.observed.spec.request;
    let prepared = async {
        let backend = server::for_managing(ctx, work).await?;
        let chosen = backend.chosen_id(&server::mark(work)).ok_or("this server chooses client ids by itself")?;
        let key = match request.signing_alg {
            None => None,
            Some(alg) => Some(make_key(alg).await?),
        };
        Ok::<_, String>((chosen, key))
    };
    let (client_id, key) = match prepared.await {
        Ok(both) => both,
        Err(why) => return not_registered(ctx, work, not_asked(why)).await,
    };
    let by_secret = matches!(
        request.token_endpoint_auth_method,
        TokenEndpointAuthMethod::ClientSecretBasic | TokenEndpointAuthMethod::ClientSecretPost
    );
    let stored = Stored {
        grant: Grant::default(),
        management: Management { client_id, registration: None },
        client_secret: by_secret.then(|| URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()).into()),
        secret_expires_at: None,
        private_key: key.map(|k| k.private_key_pem),
        rotating: Rotating::default(),
        applied: String::new(),
    };
    faults::point("before-prepare");
    keep::prepared(ctx, &work.observed.name, &stored).await.map_err(doing("store a credential"))?;
    faults::point("after-prepare");
    work.holds(stored);
    Ok(())
}

/// Registers the client.
pub(super) async fn register(ctx: &Context, work: &mut Work) -> Result<(), Error> {
    let chooses_id = work.observed.spec.server.backend.chooses_id();
    let ready = work.stored.clone().filter(|_| chooses_id);
    let prepared = async {
        let backend = server::for_registering(ctx, work).await?;
        let key = match (&ready, work.observed.spec.request.signing_alg) {
            (Some(stored), _) => stored.key(),
            (None, Some(alg)) => Some(make_key(alg).await?),
            (None, None) => None,
        };
        Ok::<_, String>((backend, key))
    };
    let (backend, key) = match prepared.await {
        Ok(both) => both,
        Err(why) => return not_registered(ctx, work, not_asked(why)).await,
    };
    let metadata = server::metadata(work, key.as_ref().map(ClientKey::public_jwks));
    let chosen = ready.as_ref().map(|stored| Chosen {
        client_id: stored.management.client_id.clone(),
        client_secret: stored.client_secret.clone(),
    });
    faults::point("before-post");
    let outcome = backend.register(&metadata, chosen.as_ref()).await;
    faults::point("after-post");
    match outcome {
        Ok(registered) => match ready {
            // What it takes is stored already; that the server took it goes on record with the acceptance.
            Some(stored) => {
                let applied = request::hash(&work.observed.spec.request);
                work.holds(Stored {
                    grant: management_secret::grant(&registered.granted, &work.observed.spec.request),
                    applied,
                    secret_expires_at: registered.client_secret_expires_at,
                    ..stored
                });
                Ok(())
            }
            None => store(ctx, work, &*backend, registered, key).await,
        },
        Err(error) => not_registered(ctx, work, error).await,
    }
}

/// No client came of it: puts on record what follows from that.
async fn not_registered(ctx: &Context, work: &mut Work, error: RegisterError) -> Result<(), Error> {
    let chooses_id = work.observed.spec.server.backend.chooses_id();
    let (outcome, mut why, after) = match error {
        RegisterError::NoEffect { why, retry_after } => (Outcome::NoEffect, why, retry_after),
        RegisterError::Refused(refusal) => {
            let why = format!("{refusal}{}", said(refusal.description.as_deref()));
            (Outcome::Refused(refusal.status), why, refusal.retry_after)
        }
        RegisterError::OutcomeUnknown { why } => (Outcome::Unknown, why, None),
        RegisterError::Unmanageable { why, client_id } => {
            work.observed.status.client_id = client_id;
            (Outcome::Unmanageable, why, None)
        }
        RegisterError::Foreign { why } => (Outcome::Foreign, why, None),
    };
    match attempt::failed(&mut work.observed, outcome, ctx.clock.now()) {
        Follows::Again => {
            why += match (outcome, chooses_id) {
                (Outcome::Refused(401 | 403), false) => ". Check the AuthorizationServer's initialAccessToken",
                (Outcome::Refused(401 | 403), true) => {
                    ". Check the operator's credential for this AuthorizationServer, and its rights"
                }
                _ => "",
            };
            failed(ctx, work, &why, after).await
        }
        Follows::Rejected(status) => rejected(ctx, work, status, why).await,
        Follows::PossibleOrphan { unmanageable } => orphan(ctx, work, why, unmanageable).await,
    }
}

/// The server said no, and will again.
async fn rejected(ctx: &Context, work: &mut Work, status: u16, message: String) -> Result<(), Error> {
    let now = ctx.clock.now();
    work.observed.status.rejection = Some(Rejection { status, message });
    record::status(ctx, work, now).await?;
    if work.observed.status.phase == Phase::Rejected {
        audit(ctx, work, Action::Refused);
    }
    Ok(())
}

/// The server was not asked.
fn not_asked(why: String) -> RegisterError {
    RegisterError::NoEffect { why, retry_after: None }
}

/// Stores what managing the client takes, before anything else happens.
async fn store(
    ctx: &Context,
    work: &mut Work,
    backend: &dyn Backend,
    registered: Registered,
    key: Option<ClientKey>,
) -> Result<(), Error> {
    let stored = Stored {
        grant: management_secret::grant(&registered.granted, &work.observed.spec.request),
        management: registered.management,
        client_secret: registered.client_secret,
        secret_expires_at: registered.client_secret_expires_at,
        private_key: key.map(|k| k.private_key_pem),
        rotating: Rotating::default(),
        applied: request::hash(&work.observed.spec.request),
    };
    if let Err(error) = keep::new(ctx, &work.observed.name, &stored).await {
        // Somebody else was quicker, or there is no place to keep it: what we received is revoked.
        let undone = backend.delete(&stored.management, &work.observed.spec.installation).await.is_ok();
        tracing::error!(entry = work.observed.name, undone, "a registration could not be stored and was revoked");
        return Err(doing("store a registration")(error));
    }
    faults::point("after-store");
    work.holds(stored);
    Ok(())
}
