//! Trying a credential, and a control beside it.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::{ClientRegistrationSpec, ProbeRecord, TokenEndpointAuthMethod};
use crate::authorization_server::http::Http;
use crate::authorization_server::keys::ClientKey;
use crate::authorization_server::probe::{Audience, Credential, NoAnswer, ProbeEndpoints, ProbeMethod, probe};
use crate::domain::names;
use crate::kubernetes::management_secret::Stored;

/// How long a control may be shared between revocations at the same server.
const SHARED_FOR: TimeDelta = TimeDelta::seconds(30);

/// Answers to clients that never existed, by server, authentication method and way of probing.
#[derive(Default)]
pub struct Controls(Mutex<HashMap<String, ProbeRecord>>);

/// The credential in a management Secret, where a probe can try it.
pub fn credential(spec: &ClientRegistrationSpec, stored: &Stored) -> Option<Credential> {
    let client_id = stored.management.client_id.clone();
    let secret = stored.client_secret.clone();
    match spec.request.token_endpoint_auth_method {
        TokenEndpointAuthMethod::ClientSecretBasic => {
            Some(Credential::ClientSecretBasic { client_id, client_secret: secret? })
        }
        TokenEndpointAuthMethod::ClientSecretPost => {
            Some(Credential::ClientSecretPost { client_id, client_secret: secret? })
        }
        TokenEndpointAuthMethod::PrivateKeyJwt => {
            let key = ClientKey::from_pem(stored.private_key.as_ref()?).ok()?;
            Some(Credential::PrivateKeyJwt { client_id, key, audience: Audience::TokenEndpoint })
        }
        TokenEndpointAuthMethod::None => Some(Credential::Public { client_id }),
    }
}

/// Where to probe the server that an entry is about.
pub fn endpoints(spec: &ClientRegistrationSpec) -> ProbeEndpoints {
    let e = &spec.server.endpoints;
    ProbeEndpoints {
        token_endpoint: e.token_endpoint.clone(),
        revocation_endpoint: e.revocation_endpoint.clone(),
        introspection_endpoint: e.introspection_endpoint.clone(),
        issuer: spec.server.issuer.clone(),
    }
}

/// Tries a credential.
pub async fn try_credential(
    http: &Http,
    spec: &ClientRegistrationSpec,
    method: ProbeMethod,
    credential: &Credential,
    now: DateTime<Utc>,
) -> Result<ProbeRecord, NoAnswer> {
    let answer = probe(http, &endpoints(spec), method, credential, now).await?;
    Ok(ProbeRecord { at: now, status: answer.status, error: answer.error })
}

impl Controls {
    /// The answer to a client that never existed, asked by the same method; not older than half a minute.
    pub async fn take(
        &self,
        http: &Http,
        spec: &ClientRegistrationSpec,
        method: ProbeMethod,
        credential: &Credential,
        now: DateTime<Utc>,
    ) -> Result<ProbeRecord, NoAnswer> {
        let auth = spec.request.token_endpoint_auth_method;
        let key = names::hash(&(&spec.server.issuer, &spec.server.endpoints, auth, method.as_str()));
        if let Some(found) = self.lock().get(&key).filter(|r| (now - r.at).abs() <= SHARED_FOR) {
            return Ok(found.clone());
        }
        let taken = try_credential(http, spec, method, &credential.never_existed(), now).await?;
        self.lock().insert(key, taken.clone());
        Ok(taken)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, ProbeRecord>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
