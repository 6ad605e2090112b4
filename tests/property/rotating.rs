//! Rotating a client's key in place, as `src/controller/registration/rotate.rs` does.

use oauthclient_operator::api::{Acceptance, KeyRotationStatus};
use oauthclient_operator::authorization_server::CallError;
use oauthclient_operator::domain::evidence::{self, Verdict};
use oauthclient_operator::domain::registration::{credential_accepted, gives_up, note_rotation};
use oauthclient_operator::kubernetes::management_secret::Stored;
use secrecy::SecretString;

use super::calls::Api;
use super::registration::{Work, failed, record};
use super::schedule::Shared;
use super::world::ApiError;
use super::{probing, registering};

pub async fn prepare(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let key = format!("key{}", api.change().fresh());
    keep(api, work, stored.with_next(Some(key.into()))).await
}

pub async fn put(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    match registering::put(api, work).await? {
        Ok(()) => {
            work.observed.pass.keys_put = true;
            Ok(())
        }
        Err(CallError::Inconclusive { why, .. }) => failed(api, work, &why).await,
        Err(error) => {
            let passing = match &error {
                CallError::Refused(refusal) => matches!(refusal.status, 401 | 403 | 429),
                _ => true,
            };
            if gives_up(&work.observed, passing, api.now()) {
                refused(api, work).await
            } else {
                failed(api, work, &error.to_string()).await
            }
        }
    }
}

fn with_key(work: &Work, key: SecretString) -> Option<Stored> {
    work.stored.clone().map(|stored| Stored { private_key: Some(key), ..stored })
}

pub async fn prove(api: &Api, shared: &Shared, work: &mut Work) -> Result<(), ApiError> {
    let Some(next) = work.stored.as_ref().and_then(|s| s.rotating.next.clone()) else { return Ok(()) };
    match probing::ask_both(api, shared, work, with_key(work, next).as_ref()).await {
        Ok((answer, control, accepted)) => match evidence::verdict(&answer, &accepted, &control) {
            Verdict::Accepted => {
                if let Some(known) = work.observed.status.acceptance.clone() {
                    credential_accepted(&mut work.observed.status, Acceptance { answer, ..known });
                }
                work.observed.pass.next_accepted = true;
                Ok(())
            }
            _ if gives_up(&work.observed, true, api.now()) => refused(api, work).await,
            _ => failed(api, work, "the server does not accept the key to come yet").await,
        },
        Err(none) => failed(api, work, &none.why).await,
    }
}

pub async fn promote(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let Some(asked) = &work.observed.spec.key_rotation else { return Ok(()) };
    let promoted = stored.promoted(asked.begun_at);
    keep(api, work, promoted).await
}

/// Puts on record what became of the rotation.
pub async fn note(api: &Api, work: &mut Work, change: impl FnOnce(&mut KeyRotationStatus)) -> Result<(), ApiError> {
    note_rotation(&mut work.observed, change);
    record(api, work).await
}

pub async fn prove_refused(api: &Api, shared: &Shared, work: &mut Work) -> Result<(), ApiError> {
    let Some(previous) = work.stored.as_ref().and_then(|s| s.rotating.previous.clone()) else { return Ok(()) };
    match probing::ask_both(api, shared, work, with_key(work, previous).as_ref()).await {
        Ok((answer, control, accepted)) => {
            if evidence::refuses_key(&answer, &accepted, &control) {
                work.observed.pass.previous_refused = true;
                return Ok(());
            }
            work.observed.pass.keys_put = false;
            failed(api, work, "the key that was rotated away is not refused yet").await
        }
        Err(none) => failed(api, work, &none.why).await,
    }
}

pub async fn drop_previous(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    keep(api, work, stored.without_previous()).await
}

async fn refused(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    keep(api, work, stored.with_next(None)).await?;
    note(api, work, |status| status.refused = Some("the server takes no second key".into())).await
}

async fn keep(api: &Api, work: &mut Work, stored: Stored) -> Result<(), ApiError> {
    registering::restore(api, work, &stored).await?;
    work.holds(stored);
    work.observed.pass.keys_put = false;
    Ok(())
}
