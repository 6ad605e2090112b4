//! Registering and changing a client, as `src/controller/registration/{register,keep,update}.rs` do.

use oauthclient_operator::api::{FailedChange, Rejection};
use oauthclient_operator::authorization_server::{CallError, Management, RegisterError, Registered};
use oauthclient_operator::domain::registration::attempt::{self, Follows, Outcome};
use oauthclient_operator::domain::registration::retires_previous;
use oauthclient_operator::domain::request::{self, Grant};
use oauthclient_operator::kubernetes::management_secret::{self, Stored};
use secrecy::{ExposeSecret, SecretString};

use super::admin::{Wanted, chosen_id};
use super::calls::{Api, Look};
use super::faults::Fault;
use super::laws;
use super::registration::{Work, failed, orphan, record};
use super::world::{ApiError, Managed};

/// Where the caller chooses the id: makes the credential and stores it.
pub async fn prepare(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let name = work.observed.name.clone();
    let request = &work.observed.spec.request;
    let by_secret = request.signing_alg.is_none() && request.jwks.is_none();
    let by_key = request.signing_alg.is_some();
    let made = api.change().fresh();
    let stored = Stored {
        grant: Grant::default(),
        management: Management { client_id: chosen_id(&name), registration: None },
        client_secret: by_secret.then(|| format!("chosen{made}").into()),
        secret_expires_at: None,
        private_key: by_key.then(|| format!("key{made}").into()),
        rotating: management_secret::Rotating::default(),
        applied: String::new(),
    };
    let made = stored.clone();
    api.write("management Secret, prepared", move |w| {
        if w.management.contains_key(&name) {
            return Err(ApiError::Conflict);
        }
        w.management.insert(name, Managed { stored: made });
        Ok(())
    })
    .await?;
    work.holds(stored);
    Ok(())
}

/// What an admin API is to make of the client.
fn wanted(work: &Work, stored: &Stored, keys: Vec<String>) -> Wanted {
    let secret = stored.client_secret.as_ref().map_or_else(|| "none".to_owned(), |s| s.expose_secret().to_owned());
    Wanted {
        id: stored.management.client_id.clone(),
        entry: work.observed.name.clone(),
        scopes: work.observed.spec.request.scopes.clone(),
        secret,
        keys,
    }
}

/// The keys that the server is to know.
fn keys(work: &Work, stored: &Stored, retires: bool) -> Vec<String> {
    if work.observed.spec.request.jwks.is_some() {
        return vec!["tenant".to_owned()];
    }
    stored.keys_at_server(retires).map(|k| k.expose_secret().to_owned()).collect()
}

pub async fn register(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let (name, asked) = (work.observed.name.clone(), work.observed.spec.request.clone());
    if work.observed.spec.server.backend.chooses_id() {
        let Some(stored) = work.stored.clone() else { return Ok(()) };
        let wanted = wanted(work, &stored, keys(work, &stored, false));
        let outcome = api
            .call("POST", |w, fault| {
                laws::post(w, &name);
                let now = w.now;
                if fault == Fault::GrantsMore {
                    w.facts.granted_more.insert(name.clone());
                }
                w.server.admin_post(&wanted, now, fault)
            })
            .await;
        return match outcome {
            Ok(registered) => {
                let grant = management_secret::grant(&registered.granted, &asked);
                work.holds(Stored { grant, applied: request::hash(&asked), ..stored });
                Ok(())
            }
            Err(error) => not_registered(api, work, error).await,
        };
    }
    let key = asked.signing_alg.map(|_| format!("key{}", api.change().fresh()));
    let public = match (&asked.jwks, &key) {
        (Some(_), _) => vec!["tenant".to_owned()],
        (None, key) => key.iter().cloned().collect(),
    };
    let outcome = api
        .call("POST", |w, fault| {
            laws::post(w, &name);
            w.server.post(&name, &asked, &public, fault)
        })
        .await;
    match outcome {
        Ok(registered) => store(api, work, registered, key.map(Into::into)).await,
        Err(error) => not_registered(api, work, error).await,
    }
}

async fn not_registered(api: &Api, work: &mut Work, error: RegisterError) -> Result<(), ApiError> {
    let (outcome, why) = match error {
        RegisterError::NoEffect { why, .. } => (Outcome::NoEffect, why),
        RegisterError::Refused(refusal) => (Outcome::Refused(refusal.status), refusal.to_string()),
        RegisterError::OutcomeUnknown { why } => (Outcome::Unknown, why),
        RegisterError::Unmanageable { why, client_id } => {
            work.observed.status.client_id = client_id;
            (Outcome::Unmanageable, why)
        }
        RegisterError::Foreign { why } => (Outcome::Foreign, why),
    };
    let now = api.now();
    match attempt::failed(&mut work.observed, outcome, now) {
        Follows::Again => failed(api, work, &why).await,
        Follows::Rejected(status) => {
            work.observed.status.rejection = Some(Rejection { status, message: why });
            record(api, work).await
        }
        Follows::PossibleOrphan { unmanageable } => orphan(api, work, unmanageable).await,
    }
}

async fn store(api: &Api, work: &mut Work, registered: Registered, key: Option<SecretString>) -> Result<(), ApiError> {
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
    work.holds(stored);
    Ok(())
}

pub async fn update(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let wanted = request::hash(&work.observed.spec.request);
    match put(api, work).await? {
        Ok(()) => {
            work.observed.pass.corrected |= work.observed.status.drift.is_some();
            Ok(())
        }
        Err(CallError::Refused(refusal)) if work.observed.status.drift.is_some() => {
            failed(api, work, &refusal.to_string()).await
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

/// Sends what the client is to be, with the keys that it is to have, and stores what comes back.
pub async fn put(api: &Api, work: &mut Work) -> Result<Result<(), CallError>, ApiError> {
    let Some(stored) = work.stored.clone() else { return Ok(Ok(())) };
    let asked = work.observed.spec.request.clone();
    let keys = keys(work, &stored, retires_previous(&work.observed, api.now()));
    let what = format!("PUT {}", keys.join(" "));
    let admin = wanted(work, &stored, keys.clone());
    let outcome = api
        .call(&what, |w, fault| {
            if w.server.admin {
                let now = w.now;
                if fault == Fault::GrantsMore {
                    w.facts.granted_more.insert(admin.entry.clone());
                }
                return w.server.admin_put(&admin, now, fault);
            }
            w.server.put(&stored.management, &asked, &keys, fault)
        })
        .await;
    let updated = match outcome {
        Ok(updated) => updated,
        Err(error) => return Ok(Err(error)),
    };
    let stored = stored.changed(updated, &asked);
    if stored.management.registration.is_some() {
        restore(api, work, &stored).await?;
    }
    work.holds(stored);
    Ok(Ok(()))
}

/// Stores what a change brought, however often it takes.
pub async fn restore(api: &Api, work: &Work, stored: &Stored) -> Result<(), ApiError> {
    api.change().storing.insert(work.observed.name.clone());
    let done = restore_now(api, work, stored).await;
    api.change().storing.remove(&work.observed.name);
    done
}

async fn restore_now(api: &Api, work: &Work, stored: &Stored) -> Result<(), ApiError> {
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
            Err(ApiError::Failed) => {}
            Err(error) => return Err(error),
        }
    }
}
