//! Registering and changing a client, as `src/controller/registration/{register,keep,update}.rs` do.

use oauthclient_operator::api::{FailedChange, Phase, Rejection};
use oauthclient_operator::authorization_server::{CallError, RegisterError, Registered};
use oauthclient_operator::domain::request;
use oauthclient_operator::kubernetes::management_secret::{self, Stored};
use secrecy::SecretString;

use super::calls::{Api, Look};
use super::laws;
use super::registration::{Work, failed, management, orphan, record};
use super::world::{ApiError, Managed};

pub async fn register(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let (name, asked) = (work.observed.name.clone(), work.observed.spec.request.clone());
    let outcome = api
        .call("POST", |w, fault| {
            laws::post(w, &name);
            w.server.post(&name, &asked, fault)
        })
        .await;
    match outcome {
        Ok(registered) => store(api, work, registered).await,
        Err(RegisterError::NoEffect { why, .. } | RegisterError::Foreign { why }) => {
            not_registered(api, work, &why).await
        }
        Err(RegisterError::Refused(refusal)) if matches!(refusal.status, 300..=399 | 401 | 403 | 404 | 405 | 429) => {
            not_registered(api, work, &refusal.to_string()).await
        }
        Err(RegisterError::Refused(refusal)) => {
            let s = &mut work.observed.status;
            s.phase = Phase::Rejected;
            s.rejection = Some(Rejection { status: refusal.status, message: refusal.to_string() });
            s.retry = None;
            record(api, work).await
        }
        Err(RegisterError::OutcomeUnknown { .. }) => orphan(api, work, false).await,
        Err(RegisterError::Unmanageable { client_id, .. }) => {
            work.observed.status.client_id = client_id;
            orphan(api, work, true).await
        }
    }
}

async fn not_registered(api: &Api, work: &mut Work, why: &str) -> Result<(), ApiError> {
    work.observed.status.attempted_at = None;
    work.observed.status.phase = Phase::Pending;
    work.observed.pass.attempt_recorded = false;
    failed(api, work, why).await
}

async fn store(api: &Api, work: &mut Work, registered: Registered) -> Result<(), ApiError> {
    let key: Option<SecretString> = work.observed.spec.request.signing_alg.map(|_| "key".into());
    let stored = Stored {
        secret_expires_at: None,
        grant: management_secret::grant(&registered.granted, &work.observed.spec.request),
        management: registered.management,
        client_secret: registered.client_secret,
        private_key: key,
        rotating: management_secret::Rotating::default(),
        applied: request::hash(&work.observed.spec.request),
    };
    let mut tries = 0;
    loop {
        let (name, made) = (work.observed.name.clone(), stored.clone());
        let done = api
            .write("management Secret", move |w| {
                if w.management.contains_key(&name) {
                    return Err(ApiError::Conflict);
                }
                w.management.insert(name, Managed { stored: made });
                Ok(())
            })
            .await;
        match done {
            Ok(()) => break,
            Err(error) if tries < 8 && error != ApiError::Conflict => tries += 1,
            Err(error) => {
                let name = work.observed.name.clone();
                if error == ApiError::Conflict
                    && let Look::There(there) = api.read(|w| w.management.get(&name).cloned()).await
                    && there.stored.management.client_id == stored.management.client_id
                {
                    break;
                }
                let with = stored.management.clone();
                let _ = api.call("DELETE what could not be stored", |w, fault| w.server.delete(&with, fault)).await;
                return Err(error);
            }
        }
    }
    work.observed.management = management(&work.entry, &stored);
    work.stored = Some(stored);
    Ok(())
}

pub async fn update(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let asked = work.observed.spec.request.clone();
    let wanted = request::hash(&asked);
    let outcome = api.call("PUT", |w, fault| w.server.put(&stored.management, &asked, fault)).await;
    match outcome {
        Ok(updated) => {
            let stored = Stored {
                secret_expires_at: None,
                management: updated.management,
                client_secret: updated.client_secret.or(stored.client_secret),
                private_key: stored.private_key,
                rotating: stored.rotating,
                applied: wanted,
                grant: management_secret::grant(&updated.granted, &asked),
            };
            restore(api, work, &stored).await?;
            work.observed.management = management(&work.entry, &stored);
            work.stored = Some(stored);
            Ok(())
        }
        Err(CallError::Refused(refusal)) => {
            let unsupported = matches!(refusal.status, 404 | 405 | 501);
            let message = format!("{refusal}; the client goes on as it was");
            work.observed.status.failed_change = Some(FailedChange { request: wanted, unsupported, message });
            record(api, work).await
        }
        Err(CallError::Inconclusive { why, .. } | CallError::Foreign { why }) => failed(api, work, &why).await,
    }
}

async fn restore(api: &Api, work: &Work, stored: &Stored) -> Result<(), ApiError> {
    let mut tries = 0;
    loop {
        let (name, new) = (work.observed.name.clone(), stored.clone());
        let done = api
            .write("management Secret, changed", move |w| {
                let found = w.management.get_mut(&name).ok_or(ApiError::Gone)?;
                *found = Managed { stored: new };
                Ok(())
            })
            .await;
        match done {
            Ok(()) => return Ok(()),
            Err(_) if tries < 8 => tries += 1,
            Err(error) => return Err(error),
        }
    }
}
