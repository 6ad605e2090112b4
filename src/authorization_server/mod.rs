//! Talking to authorization servers. Knows HTTP and OAuth, knows nothing of Kubernetes.
//!
//! One trait, [`Backend`], one file for each way to register. Everything that comes back from a server is
//! untrusted: bodies are bounded, redirects are never followed, secrets arrive as types that cannot be printed.

mod answer;
pub mod assertion;
mod basic;
pub mod breaker;
pub mod discovery;
pub mod dynamic_registration;
pub mod http;
pub mod hydra;
mod jwks;
pub mod keycloak;
pub mod keys;
pub mod limits;
mod link;
mod mark;
mod outcome;
pub mod probe;
mod registration_answer;
#[cfg(test)]
mod testing;
mod text;
mod urls;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;

pub use self::mark::Mark;

/// What to register: RFC 7591 section 2 client metadata, already judged and marked by the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMetadata {
    /// Whose client it is; kept by servers whose admin API is used.
    pub mark: Mark,
    /// Human-readable name; carries the mark where a server keeps nothing else, never a tenant's text.
    pub client_name: String,
    /// Scopes asked for (RFC 6749 section 3.3); always sent, never empty.
    pub scopes: Vec<String>,
    /// OAuth grant types.
    pub grant_types: Vec<String>,
    /// Redirect URIs; sent as an empty array when there are none (oidc-provider insists on it).
    pub redirect_uris: Vec<String>,
    /// Audiences that its tokens may be for, where the backend can restrict them; else empty.
    pub audiences: Vec<String>,
    /// RFC 7591 `token_endpoint_auth_method`.
    pub token_endpoint_auth_method: String,
    /// Signing algorithm of client assertions; only with `private_key_jwt`.
    pub token_endpoint_auth_signing_alg: Option<String>,
    /// Public JSON Web Key Set; only with `private_key_jwt`.
    pub jwks: Option<serde_json::Value>,
    /// The team that answers for it.
    pub owner_team: String,
    /// Its e-mail address; RFC 7591 `contacts`.
    pub owner_email: String,
    /// What it is for.
    pub purpose: String,
    /// `namespace/name` of the object that it was made for.
    pub object: String,
    /// How long its access tokens live, where the backend can set it for one client.
    pub access_token_lifetime: Option<Duration>,
}

impl ClientMetadata {
    /// The algorithm of the client's assertions: the one that is asked for, else the only one that its keys are for.
    /// Hydra takes RS256 where nothing is said, whatever the keys are.
    fn signing_alg(&self) -> Option<&str> {
        let only = || jwks::only_alg(self.jwks.as_ref()?);
        self.token_endpoint_auth_signing_alg.as_deref().or_else(only)
    }

    /// RFC 7591 section 2.1: response types that go with the grant types.
    fn response_types(&self) -> Vec<&'static str> {
        [("authorization_code", "code"), ("implicit", "token")]
            .into_iter()
            .filter(|(grant, _)| self.grant_types.iter().any(|g| g == grant))
            .map(|(_, response)| response)
            .collect()
    }
}

/// What the caller chose, for a server where it may: made and stored before the server is asked, so that asking
/// again makes no second client.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The client's id, of [`Backend::chosen_id`].
    pub client_id: String,
    /// Its secret, where it authenticates by one.
    pub client_secret: Option<SecretString>,
}

/// What a backend can do, beyond registering, changing and deleting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Abilities {
    /// The caller chooses the client's id and secret: [`Backend::register`] needs a [`Chosen`], and may be called
    /// again after any doubt.
    pub chooses_id: bool,
    /// [`Backend::read`] works.
    pub reads: bool,
    /// Reading may replace the means to manage the client: not to be done on a timer.
    pub reading_rotates: bool,
    /// [`Backend::list`] works: clients can be found by their mark.
    pub lists: bool,
    /// A missing client can be told from one that cannot be seen ([`Found::Gone`]).
    pub tells_gone: bool,
    /// [`Backend::update`] replaces the client's secret by the one that it is given.
    pub sets_secret: bool,
    /// The lifetime of access tokens can be set for one client.
    pub token_lifetime: bool,
    /// Owner, purpose and object are kept with the client at the server.
    pub keeps_owner: bool,
    /// The audiences that tokens may be for can be set for one client.
    pub restricts_audiences: bool,
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
    /// Audiences that its tokens may be for, where the server keeps such a list.
    pub audiences: Option<Vec<String>>,
    /// `token_endpoint_auth_method`.
    pub token_endpoint_auth_method: Option<String>,
    /// RFC 7638 thumbprints of the public keys that it may sign assertions with.
    pub key_thumbprints: Option<Vec<String>>,
    /// Whether it may be used at all, where a server can switch clients off.
    pub enabled: Option<bool>,
    /// What else it may do that this operator never asks for, in the server's words, such as `fullScopeAllowed`.
    pub extras: Vec<String>,
}

/// What managing a registered client takes.
#[derive(Debug, Clone)]
pub struct Management {
    /// The client's id.
    pub client_id: String,
    /// Where and by what right it is managed, where each client has its own; `None` where an admin API manages all.
    pub registration: Option<RegistrationAccess>,
}

/// What managing a client takes by RFC 7592 (section 3).
#[derive(Debug, Clone)]
pub struct RegistrationAccess {
    /// `registration_client_uri`, same origin as the registration endpoint (checked on arrival).
    pub client_uri: String,
    /// `registration_access_token`; the newest one seen.
    pub access_token: SecretString,
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

/// A client as it is at the server.
#[derive(Debug, Clone)]
pub struct Present {
    /// The means to manage it from now on; a rotated token is already in here.
    pub management: Management,
    /// Its secret, where the server shows it.
    pub client_secret: Option<SecretString>,
    /// What it may do.
    pub granted: Granted,
}

/// What was found at a client's id.
#[derive(Debug, Clone)]
pub enum Found {
    /// The client, with our mark.
    There(Box<Present>),
    /// A client of this id without the installation's mark. It is not ours, whatever its id.
    Foreign {
        /// What it carries instead.
        why: String,
    },
    /// No client of this id, by an admin API that demonstrably answers for its realm. Never an empty list, never a
    /// lack of rights.
    Gone,
}

/// A deletion that the server took, or that was not needed any more: the client is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// HTTP status of the answer: 2xx, or 404.
    pub status: u16,
    /// The client was gone before: 404, by an admin API that demonstrably answers for its realm.
    pub was_gone: bool,
    /// Why the client's tokens may live on: the server refused to revoke them, where that is a request of its own.
    pub tokens_left: Option<Refusal>,
}

/// A client that carries the installation's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The client's id.
    pub client_id: String,
    /// Name of the ledger entry in its mark; `None` where that part is missing.
    pub entry: Option<String>,
    /// When it was made, where the server says so.
    pub created_at: Option<DateTime<Utc>>,
    /// What it may do.
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
    /// There is a client of the chosen id that is not ours. It was not touched.
    #[error("{why}")]
    Foreign {
        /// What it is, and what to do about it.
        why: String,
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
    /// The client of this id does not carry our mark. It was not touched.
    #[error("{why}")]
    Foreign {
        /// What it carries instead.
        why: String,
    },
}

/// One way to keep clients at an authorization server.
#[async_trait]
pub trait Backend: Send + Sync {
    /// What this backend can do.
    fn abilities(&self) -> Abilities;

    /// The id that an entry's client has, where the caller chooses it: the same for the same mark, always.
    fn chosen_id(&self, mark: &Mark) -> Option<String>;

    /// Registers a client.
    ///
    /// Where the server chooses the id, a second call makes a second client: it is never repeated in here. Where the
    /// caller chooses it (`chosen` is needed then), a client that is there already and carries this very mark is
    /// brought to what is asked, and counts as registered; any other is [`RegisterError::Foreign`].
    async fn register(&self, metadata: &ClientMetadata, chosen: Option<&Chosen>) -> Result<Registered, RegisterError>;

    /// Brings a client to exactly what is asked, whatever it was before; nothing else that it could do is left. One that
    /// was switched off at the server stays so.
    ///
    /// `client_secret` is its secret. Admin APIs set it; by RFC 7592 (section 2.2) it is sent only to a server that
    /// refused the update without it.
    async fn update(
        &self,
        management: &Management,
        metadata: &ClientMetadata,
        client_secret: Option<&SecretString>,
    ) -> Result<Updated, CallError>;

    /// What is at the server. A client that does not carry this installation's mark is [`Found::Foreign`].
    async fn read(&self, management: &Management, installation: &str) -> Result<Found, CallError>;

    /// Deletes a client (RFC 7592 section 2.3, or an admin API's way), and its tokens where that is a call of its own.
    /// A client that does not carry this installation's mark is [`CallError::Foreign`] and stays.
    async fn delete(&self, management: &Management, installation: &str) -> Result<Deleted, CallError>;

    /// All clients that carry the installation's mark, to the last page. A page that cannot be read is an error, never
    /// the end.
    async fn list(&self, installation: &str) -> Result<Vec<Listed>, CallError>;
}
