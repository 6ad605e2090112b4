//! The management Secret of a ledger entry, in the operator's namespace: all that revoking needs. It has a finalizer
//! of ours and no owner reference, so that nothing takes it away before its client is gone.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use secrecy::{ExposeSecret, SecretString};

use crate::api::{ClientRegistration, MANAGED_BY_LABEL, MANAGER, RegistrationRequest, SECRET_FINALIZER};
use crate::authorization_server::keys::ClientKey;
use crate::authorization_server::{Granted, Management, RegistrationAccess, Updated};
use crate::domain::registration;
use crate::domain::request::{self, Grant};

/// Label that keeps these Secrets apart from tenants'.
pub const ROLE_LABEL: &str = "oauthclient.dev/role";

/// What a management Secret holds.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The means to manage the client.
    pub management: Management,
    /// The client's secret.
    pub client_secret: Option<SecretString>,
    /// When the server lets that expire, where it does.
    pub secret_expires_at: Option<DateTime<Utc>>,
    /// The client's private key (PKCS#8, PEM).
    pub private_key: Option<SecretString>,
    /// Keys beside it, while it is rotated.
    pub rotating: Rotating,
    /// Hash of the request that the server took.
    pub applied: String,
    /// What the server granted.
    pub grant: Grant,
}

/// Private keys (PKCS#8, PEM) that a client has besides the one that is published.
#[derive(Debug, Clone, Default)]
pub struct Rotating {
    /// The one to come: stored before the server hears of it.
    pub next: Option<SecretString>,
    /// The one before, while it goes on working.
    pub previous: Option<SecretString>,
    /// `begunAt` of the rotation that brought the one that is published.
    pub brought_by: Option<DateTime<Utc>>,
}

impl Stored {
    /// What a decision needs to know of it. `proves`: a probe can try its credential.
    pub fn in_short(&self, entry: &ClientRegistration, proves: bool) -> registration::Management {
        registration::Management::Present {
            client_id: self.management.client_id.clone(),
            // Where the credential is stored before the server hears of it, what the server took is in the entry.
            applied: if self.applied.is_empty() {
                entry.state().applied.unwrap_or_default()
            } else {
                self.applied.clone()
            },
            granted: self.grant.clone(),
            has_credential: proves,
            keys: registration::Keys {
                next: self.rotating.next.is_some(),
                previous: self.rotating.previous.is_some(),
                brought_by: self.rotating.brought_by,
            },
        }
    }

    /// The private keys whose public ones the server is to know, the published one first. `retires`: the one before no
    /// more.
    pub fn keys_at_server(&self, retires: bool) -> impl Iterator<Item = &SecretString> {
        let previous = self.rotating.previous.iter().filter(move |_| !retires);
        self.private_key.iter().chain(&self.rotating.next).chain(previous)
    }

    /// With this key to come.
    #[must_use]
    pub fn with_next(self, next: Option<SecretString>) -> Self {
        Self { rotating: Rotating { next, ..self.rotating }, ..self }
    }

    /// The key to come takes the place of the one that is published, by the rotation that began then.
    #[must_use]
    pub fn promoted(self, begun_at: DateTime<Utc>) -> Self {
        let rotating = Rotating { next: None, previous: self.private_key, brought_by: Some(begun_at) };
        Self { private_key: self.rotating.next, rotating, ..self }
    }

    /// Without the key before.
    #[must_use]
    pub fn without_previous(self) -> Self {
        Self { rotating: Rotating { previous: None, ..self.rotating }, ..self }
    }

    /// With what the server answered to a change.
    #[must_use]
    pub fn changed(self, updated: Updated, asked: &RegistrationRequest) -> Self {
        Self {
            management: updated.management,
            client_secret: updated.client_secret.or(self.client_secret),
            applied: request::hash(asked),
            grant: grant(&updated.granted, asked),
            ..self
        }
    }

    /// The client's key, where it has one of ours.
    pub fn key(&self) -> Option<ClientKey> {
        key(self.private_key.as_ref())
    }

    /// The keys beside it: the one before, and the one to come.
    pub fn other_keys(&self) -> (Option<ClientKey>, Option<ClientKey>) {
        (key(self.rotating.previous.as_ref()), key(self.rotating.next.as_ref()))
    }
}

fn key(pem: Option<&SecretString>) -> Option<ClientKey> {
    pem.and_then(|pem| ClientKey::from_pem(pem).ok())
}

/// A server's words as the decision takes them. Scopes of one that names none are those asked for (RFC 7591 section
/// 3.2.1): kept, since what is asked for later may be refused.
pub fn grant(granted: &Granted, asked: &RegistrationRequest) -> Grant {
    Grant { scopes: granted.scopes.clone().or_else(|| Some(asked.scopes.clone())), ..words(granted) }
}

/// A server's words as they are.
pub fn words(granted: &Granted) -> Grant {
    Grant {
        scopes: granted.scopes.clone(),
        grant_types: granted.grant_types.clone(),
        redirect_uris: granted.redirect_uris.clone(),
        audiences: granted.audiences.clone(),
        token_endpoint_auth_method: granted.token_endpoint_auth_method.clone(),
    }
}

/// The Secret to store.
pub fn build(name: &str, stored: &Stored) -> Secret {
    let mut data = BTreeMap::new();
    let mut put = |key: &str, value: &str| data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
    put("client_id", &stored.management.client_id);
    if let Some(access) = &stored.management.registration {
        put("registration_client_uri", &access.client_uri);
        put("registration_access_token", access.access_token.expose_secret());
    }
    if let Some(secret) = &stored.client_secret {
        put("client_secret", secret.expose_secret());
    }
    if let Some(at) = stored.secret_expires_at {
        put("client_secret_expires_at", &at.to_rfc3339());
    }
    if let Some(key) = &stored.private_key {
        put("private_key.pem", key.expose_secret());
    }
    if let Some(key) = &stored.rotating.next {
        put("next_private_key.pem", key.expose_secret());
    }
    if let Some(key) = &stored.rotating.previous {
        put("previous_private_key.pem", key.expose_secret());
    }
    if let Some(begun_at) = stored.rotating.brought_by {
        put("key_brought_by", &begun_at.to_rfc3339());
    }
    put("applied", &stored.applied);
    let g = &stored.grant;
    let words =
        serde_json::json!([g.scopes, g.grant_types, g.redirect_uris, g.token_endpoint_auth_method, g.audiences]);
    put("granted", &words.to_string());
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(MANAGED_BY_LABEL.into(), MANAGER.into()), (ROLE_LABEL.into(), "management".into())].into()),
            finalizers: Some(vec![SECRET_FINALIZER.into()]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    }
}

/// Reads what was stored; `None` when the Secret is not one of ours as we write them.
pub fn parse(secret: &Secret) -> Option<Stored> {
    let text = |key: &str| {
        let bytes = &secret.data.as_ref()?.get(key)?.0;
        String::from_utf8(bytes.clone()).ok()
    };
    let (scopes, grant_types, redirect_uris, token_endpoint_auth_method, audiences) =
        serde_json::from_str(&text("granted")?).ok()?;
    let registration = match (text("registration_client_uri"), text("registration_access_token")) {
        (Some(client_uri), Some(token)) => Some(RegistrationAccess { client_uri, access_token: token.into() }),
        (None, None) => None,
        // Half of it manages nothing, and the other half was there once.
        _ => return None,
    };
    Some(Stored {
        management: Management { client_id: text("client_id")?, registration },
        client_secret: text("client_secret").map(Into::into),
        secret_expires_at: text("client_secret_expires_at").and_then(|at| at.parse().ok()),
        private_key: text("private_key.pem").map(Into::into),
        rotating: Rotating {
            next: text("next_private_key.pem").map(Into::into),
            previous: text("previous_private_key.pem").map(Into::into),
            brought_by: text("key_brought_by").and_then(|at| at.parse().ok()),
        },
        applied: text("applied")?,
        grant: Grant { scopes, grant_types, redirect_uris, audiences, token_endpoint_auth_method },
    })
}
