//! Talking to authorization servers. Knows HTTP and OAuth, knows nothing of Kubernetes.
//!
//! One trait, [`Backend`], one file for each way to register. Everything that comes back from a server is
//! untrusted: bodies are bounded, redirects are never followed, secrets arrive as types that cannot be printed.

mod answer;
pub mod assertion;
pub mod discovery;
pub mod dynamic_registration;
pub mod http;
mod jwks;
pub mod keys;
pub mod limits;
mod outcome;
pub mod probe;
mod registration_answer;
#[cfg(test)]
mod testing;
mod text;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;

/// What to register: RFC 7591 section 2 client metadata, already judged and marked by the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMetadata {
    /// Human-readable name; carries our marker (installation and entry), never a tenant's text.
    pub client_name: String,
    /// Scopes asked for (RFC 6749 section 3.3); always sent, never empty.
    pub scopes: Vec<String>,
    /// OAuth grant types.
    pub grant_types: Vec<String>,
    /// Redirect URIs; sent as an empty array when there are none (oidc-provider insists on it).
    pub redirect_uris: Vec<String>,
    /// RFC 7591 `token_endpoint_auth_method`.
    pub token_endpoint_auth_method: String,
    /// Signing algorithm of client assertions; only with `private_key_jwt`.
    pub token_endpoint_auth_signing_alg: Option<String>,
    /// Public JSON Web Key Set; only with `private_key_jwt`.
    pub jwks: Option<serde_json::Value>,
    /// Owner's e-mail addresses.
    pub contacts: Vec<String>,
}

/// What the server says it registered (RFC 7591 section 3.2.1); `None` where the server did not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Granted {
    /// Space-separated `scope`, split.
    pub scopes: Option<Vec<String>>,
    /// `grant_types`.
    pub grant_types: Option<Vec<String>>,
    /// `redirect_uris`.
    pub redirect_uris: Option<Vec<String>>,
    /// `token_endpoint_auth_method`.
    pub token_endpoint_auth_method: Option<String>,
}

/// What managing a registered client takes (RFC 7592 section 3).
#[derive(Debug, Clone)]
pub struct Management {
    /// The client's id.
    pub client_id: String,
    /// `registration_client_uri`, same origin as the registration endpoint (checked on arrival).
    pub registration_client_uri: String,
    /// `registration_access_token`; the newest one seen.
    pub registration_access_token: SecretString,
}

/// A client that now exists at the server.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The means to change and delete it.
    pub management: Management,
    /// `client_secret`, where the server made one.
    pub client_secret: Option<SecretString>,
    /// `client_secret_expires_at`; `None` is never (the RFC's 0).
    pub client_secret_expires_at: Option<DateTime<Utc>>,
    /// What was granted.
    pub granted: Granted,
    /// HTTP status of the answer.
    pub status: u16,
}

/// A client that a full update (RFC 7592 section 2.2) changed.
#[derive(Debug, Clone)]
pub struct Updated {
    /// The means to manage it from now on; a rotated token is already in here.
    pub management: Management,
    /// A new secret, where the server sent one.
    pub client_secret: Option<SecretString>,
    /// What is granted now.
    pub granted: Granted,
}

/// An answer that refuses, as it came: nothing here may hold a secret, texts are cut and cleaned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: the server answered {status}{}", .error.as_deref().map(|e| format!(" {e}")).unwrap_or_default())]
pub struct Refusal {
    /// What was being done, such as `register client`.
    pub operation: &'static str,
    /// HTTP status.
    pub status: u16,
    /// OAuth `error` code, or the first words of the server's own message.
    pub error: Option<String>,
    /// `error_description`, cut to 200 characters, control characters removed.
    pub description: Option<String>,
    /// When the server asks to be called again (Retry-After, either form).
    pub retry_after: Option<Duration>,
}

/// Why a registration did not lead to a client that can be managed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegisterError {
    /// The request certainly had no effect: never sent, or rate-limited before it was looked at.
    #[error("{why}")]
    NoEffect {
        /// What happened and what to look at.
        why: String,
        /// When to try again at the earliest, where the server said so.
        retry_after: Option<Duration>,
    },
    /// The server refused it (4xx).
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It may have taken effect, now or later: time-out, reset, 5xx, an unreadable answer.
    #[error("{why}")]
    OutcomeUnknown {
        /// What happened.
        why: String,
    },
    /// A client exists, but the answer lacks what revoking it needs (no usable registration access token or
    /// client configuration endpoint).
    #[error("{why}")]
    Unmanageable {
        /// What is missing or wrong.
        why: String,
        /// The client's id, where the answer had one.
        client_id: Option<String>,
    },
}

/// Why a call on an existing client did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The server refused it (4xx other than 429).
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing can be concluded: connection, TLS, time-out, 429, 5xx, redirect, an unreadable answer.
    #[error("{why}")]
    Inconclusive {
        /// What happened.
        why: String,
        /// Whether the request may have taken effect all the same.
        may_have_acted: bool,
        /// When to try again at the earliest, where the server said so.
        retry_after: Option<Duration>,
    },
}

/// One way to keep clients at an authorization server.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Registers a client. Never retried in here.
    async fn register(&self, metadata: &ClientMetadata) -> Result<Registered, RegisterError>;

    /// Replaces the whole metadata of a client (RFC 7592 section 2.2). `client_secret` is the current one, for
    /// servers that demand it; sent only when the server refused the update without it.
    async fn update(
        &self,
        management: &Management,
        metadata: &ClientMetadata,
        client_secret: Option<&SecretString>,
    ) -> Result<Updated, CallError>;

    /// Deletes a client (RFC 7592 section 2.3). `Ok` carries the 2xx status of the answer.
    async fn delete(&self, management: &Management) -> Result<u16, CallError>;
}
