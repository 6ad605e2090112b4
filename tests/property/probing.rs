//! Trying a credential and asking for a deletion, as `src/controller/registration/{probe,revoke}.rs` do.

use chrono::{DateTime, TimeDelta, Utc};
use oauthclient_operator::api::{Acceptance, ProbeRecord};
use oauthclient_operator::authorization_server::probe::NoAnswer;
use oauthclient_operator::authorization_server::{CallError, Deleted};
use oauthclient_operator::domain::evidence::{self, Way};
use oauthclient_operator::domain::registration::{
    credential_accepted, deletion_answered, deletion_unanswered, intent_is_due, probe_failed,
};
use oauthclient_operator::kubernetes::management_secret::Stored;
use secrecy::SecretString;

use super::calls::Api;
use super::faults::Fault;
use super::registration::{Work, credential, failed, record};
use super::schedule::Shared;
use super::world::ApiError;

/// Tries a credential.
async fn try_credential(
    api: &Api,
    method: &str,
    credential: Option<&(String, SecretString)>,
    now: DateTime<Utc>,
) -> Result<ProbeRecord, NoAnswer> {
    let what = if credential.is_some() { "probe" } else { "control" };
    api.call(what, |w, fault| {
        // Whoever says that of a live credential is not the server.
        w.facts.swapped |= fault == Fault::Refused(401);
        w.server.probe(method, credential.map(|(id, secret)| (id.as_str(), secret)), now, fault)
    })
    .await
}

/// A control, shared for half a minute.
async fn control(api: &Api, shared: &Shared, method: &str, now: DateTime<Utc>) -> Result<ProbeRecord, NoAnswer> {
    let known = shared.borrow().get(method).filter(|r| (now - r.at).abs() <= TimeDelta::seconds(30)).cloned();
    if let Some(found) = known {
        return Ok(found);
    }
    let taken = try_credential(api, method, None, now).await?;
    shared.borrow_mut().insert(method.to_owned(), taken.clone());
    Ok(taken)
}

pub async fn prove(api: &Api, shared: &Shared, work: &mut Work) -> Result<(), ApiError> {
    let Some(credential) = work.stored.as_ref().and_then(|s| credential(&work.entry, s)) else { return Ok(()) };
    let mut troubles = Vec::new();
    for method in ["Revocation", "AuthorizationCode"] {
        let now = api.now();
        let tried = async {
            let live = try_credential(api, method, Some(&credential), now).await?;
            let control = control(api, shared, method, now).await?;
            Ok::<_, NoAnswer>((live, control))
        };
        match tried.await {
            Ok((live, control)) => match evidence::way(method, &live, &control) {
                Way::Separates => {
                    let acceptance = Acceptance { method: method.into(), answer: live };
                    credential_accepted(&mut work.observed.status, acceptance);
                    return Ok(());
                }
                Way::Refuses => troubles.push("the credential just received is refused".to_owned()),
                Way::SaysNothing => {}
            },
            Err(error) if error.useless => troubles.push(error.to_string()),
            Err(error) => {
                probe_failed(&mut work.observed.status, error.taken);
                return failed(api, work, &error.to_string()).await;
            }
        }
    }
    if troubles.is_empty() {
        work.observed.pass.nothing_separates = true;
        return Ok(());
    }
    probe_failed(&mut work.observed.status, true);
    failed(api, work, &troubles.join("; ")).await
}

pub async fn ask_both(
    api: &Api,
    shared: &Shared,
    work: &Work,
    stored: Option<&Stored>,
) -> Result<(ProbeRecord, ProbeRecord, ProbeRecord), NoAnswer> {
    let known = work.observed.status.acceptance.clone();
    let credential = stored.and_then(|s| credential(&work.entry, s));
    let none = || NoAnswer::not_asked("there is no credential to try".to_owned());
    let (accepted, credential) = known.zip(credential).ok_or_else(none)?;
    let now = api.now();
    let answer = try_credential(api, &accepted.method, Some(&credential), now).await?;
    let control = control(api, shared, &accepted.method, now).await?;
    Ok((answer, control, accepted.answer))
}

pub async fn delete(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    let now = api.now();
    if intent_is_due(&work.observed, now) {
        let asked = work.observed.status.deletion.get_or_insert_default().asked_at.replace(now);
        record(api, work).await?;
        work.observed.pass.intent_recorded = asked.is_none();
    }
    let outcome = api
        .call("DELETE", |w, fault| {
            if w.server.admin {
                let now = w.now;
                return w.server.admin_delete(&stored.management.client_id, now, fault);
            }
            let answer = w.server.delete(&stored.management, fault);
            answer.map(|status| Deleted { status, was_gone: false, tokens_left: None })
        })
        .await;
    let now = api.now();
    let (status, pass) = (&mut work.observed.status, &mut work.observed.pass);
    match outcome {
        Ok(deleted) => deletion_answered(status, pass, deleted.status, deleted.was_gone, now),
        Err(CallError::Refused(refusal)) => deletion_answered(status, pass, refusal.status, false, now),
        Err(CallError::Foreign { why }) => return failed(api, work, &why).await,
        Err(CallError::Inconclusive { why, may_have_acted, .. }) => {
            deletion_unanswered(status, pass, may_have_acted, now);
            return failed(api, work, &why).await;
        }
    }
    Ok(())
}

/// Looks the client up by its id.
pub async fn look_up(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    let Some(stored) = work.stored.clone() else { return Ok(()) };
    match api.call("GET", |w, fault| w.server.admin_get(&stored.management.client_id, fault)).await {
        Ok(found) => {
            work.observed.pass.found = Some(found);
            Ok(())
        }
        Err(error) => failed(api, work, &error.to_string()).await,
    }
}
