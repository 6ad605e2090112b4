//! The status of an `OAuthClient`.

use chrono::{DateTime, Utc};

use super::{Observed, first_registered_at, governed, last_attempt};
use crate::api::{ApprovedBy, Binding, ClientRegistration, Durability, OAuthClientStatus, RegistrationRef};
use crate::domain::conditions::{self, Say};
use crate::domain::lifetime;

/// A status that names this entry.
pub(super) fn base(o: &Observed, entry: &ClientRegistration) -> OAuthClientStatus {
    let state = entry.state();
    let name = o.client.spec.secret_name(o.client.metadata.name.as_deref().unwrap_or_default());
    let published = entry.spec.request.jwks.is_none().then_some(name);
    OAuthClientStatus {
        client_id: state.client_id,
        registered_at: state.registered_at.and(Some(entry.spec.first_registered_at)),
        expires_at: Some(entry.spec.expires_at),
        revoked_at: state.revoked_at,
        tokens_expire_at: state.tokens_expire_at,
        registration_ref: Some(RegistrationRef {
            name: entry.metadata.name.clone().unwrap_or_default(),
            attempt: entry.spec.attempt,
            generation: entry.spec.generation,
        }),
        policy: entry.spec.policy.as_ref().map(|p| p.name.clone()),
        approval: entry
            .spec
            .approval
            .as_ref()
            .map(|a| ApprovedBy { name: a.name.clone(), approver: a.approver.clone() }),
        workload: entry.spec.workload.clone(),
        binding: published.map(|name| Binding { name }),
        ..o.client.status.clone().unwrap_or_default()
    }
}

/// Adds what is to be said now.
pub(super) fn finish(
    o: &Observed,
    status: &mut OAuthClientStatus,
    state: &str,
    message: String,
    said: Vec<Say>,
    now: DateTime<Utc>,
) {
    let generation = o.client.metadata.generation;
    status.attempts = Some(last_attempt(o)).filter(|n| *n > 0);
    status.observed_generation = generation;
    status.state = Some(state.into());
    status.message = Some(message);
    status.request_hash = Some(governed::hash(o));
    status.durability = Some(durability(o, status, now));
    let before = o.client.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
    status.conditions = conditions::merge(&before, now, generation, said);
}

/// By the life that it has, or would have if it were registered now.
fn durability(o: &Observed, status: &OAuthClientStatus, now: DateTime<Utc>) -> Durability {
    let spec = &o.client.spec;
    let first = first_registered_at(o).unwrap_or(now);
    let end = status.expires_at.unwrap_or_else(|| lifetime::expires_at(&spec.lifetime, first));
    lifetime::durability(spec.workload_ref.as_ref(), end - first)
}
