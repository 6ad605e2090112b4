//! The operator's own right at Keycloak's admin API: an access token by client_credentials, shared by all calls of one
//! backend. Such tokens live for a minute, so one is used for most of its life and then replaced, and once more when
//! the admin API does not take it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

use super::super::assertion::{ASSERTION_TYPE, client_assertion};
use super::super::http::{Call, Http};
use super::super::keys::ClientKey;
use super::super::outcome::{answered, page};
use super::super::{CallError, basic};

const OPERATION: &str = "get the operator's access token";

/// How long before its end a token is not used any more, where it lives long enough: a call may wait for its turn.
const MARGIN: Duration = Duration::from_secs(20);

/// How long a token is used whose end the server did not tell.
const UNTOLD: Duration = Duration::from_secs(30);

/// How long the refusal of a credential is taken for the answer to the next call as well: a thousand entries must not
/// ask a thousand times. A changed credential comes as another [`Tokens`].
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// What the operator's own client authenticates with. Holds secrets; printing it shows none.
#[derive(Debug, Clone)]
pub enum AdminCredential {
    /// A secret, sent by HTTP Basic.
    ClientSecret {
        /// The operator's client id.
        client_id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt {
        /// The operator's client id.
        client_id: String,
        /// Its private key: PKCS#8 PEM, P-256 or RSA.
        key: SecretString,
    },
}

impl AdminCredential {
    /// The operator's client id.
    pub fn client_id(&self) -> &str {
        match self {
            Self::ClientSecret { client_id, .. } | Self::PrivateKeyJwt { client_id, .. } => client_id,
        }
    }
}

struct Held {
    token: SecretString,
    until: Instant,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    name: Name,
    refused: Option<(String, Instant)>,
}

/// How the operator's key is called in its assertions. Whoever registered its public key may have called it anything,
/// and Keycloak refuses a name that it does not know; without one it takes a key of the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Name {
    /// Its thumbprint, which tells it from the next one while both are registered.
    #[default]
    Thumbprint,
    /// Nothing.
    None,
}

/// Gets tokens and keeps one. Those who need one at the same time wait for the same request.
pub(super) struct Tokens {
    endpoint: String,
    /// Whom assertions are for: the realm's issuer.
    audience: String,
    credential: AdminCredential,
    state: Mutex<State>,
}

impl Tokens {
    pub(super) fn new(endpoint: String, audience: String, credential: AdminCredential) -> Self {
        Self { endpoint, audience, credential, state: Mutex::default() }
    }

    pub(super) fn client_id(&self) -> &str {
        self.credential.client_id()
    }

    /// A token that lives. `unless` is one that was just refused: another is got where that is still the one held.
    pub(super) async fn get(
        &self,
        http: &Http,
        now: DateTime<Utc>,
        unless: Option<&SecretString>,
    ) -> Result<SecretString, CallError> {
        let mut state = self.state.lock().await;
        if let Some(held) = &state.held
            && Instant::now() < held.until
            && unless.is_none_or(|refused| refused.expose_secret() != held.token.expose_secret())
        {
            return Ok(held.token.clone());
        }
        if let Some((why, until)) = &state.refused
            && Instant::now() < *until
        {
            return Err(nothing_done(why.clone(), Some(*until - Instant::now())));
        }
        state.held = None;
        let mut name = state.name;
        let mut answer = self.ask(http, now, name).await;
        if matches!((&answer, &self.credential), (Err(Failed::Refused(_)), AdminCredential::PrivateKeyJwt { .. })) {
            name = if name == Name::None { Name::Thumbprint } else { Name::None };
            answer = self.ask(http, now, name).await;
        }
        match answer {
            Ok(held) => {
                let token = held.token.clone();
                *state = State { held: Some(held), refused: None, name };
                Ok(token)
            }
            Err(Failed::Refused(why)) => {
                state.refused = Some((why.clone(), Instant::now() + REFUSED_FOR));
                Err(nothing_done(why, None))
            }
            Err(Failed::Other(error)) => Err(error),
        }
    }

    async fn ask(&self, http: &Http, now: DateTime<Utc>, name: Name) -> Result<Held, Failed> {
        let url = self.endpoint.as_str();
        let (call, secrets) = self.request(now, name).map_err(|why| Failed::Other(nothing_done(why, None)))?;
        let asked = Instant::now();
        let answer = match http.send(call).await.map_err(CallError::from) {
            // What was wanted did not even begin.
            Err(CallError::Inconclusive { why, retry_after, .. }) => {
                return Err(Failed::Other(nothing_done(why, retry_after)));
            }
            other => other.map_err(Failed::Other)?,
        };
        if answer.is_page() {
            let CallError::Inconclusive { why, .. } = page(OPERATION, url, &answer, &secrets) else {
                return Err(Failed::Refused(String::new()));
            };
            return Err(Failed::Other(nothing_done(why, answer.retry_after)));
        }
        let what = answered(OPERATION, url, &answer, &secrets);
        if matches!(answer.status, 400 | 401 | 403) {
            return Err(Failed::Refused(format!(
                "{what}: it does not take the operator's credential; check the Secret that the AuthorizationServer \
                 names, and that its client is enabled and has a service account"
            )));
        }
        if !answer.is_success() {
            return Err(Failed::Other(nothing_done(
                format!("{what}; check the address and the realm"),
                answer.retry_after,
            )));
        }
        let members = answer.json().unwrap_or_default();
        let token = members["access_token"]
            .as_str()
            .filter(|t| !t.is_empty() && t.len() <= 64 * 1024 && t.bytes().all(|b| b.is_ascii_graphic()));
        let Some(token) = token else {
            return Err(Failed::Other(nothing_done(format!("{what}, but no usable access token"), None)));
        };
        Ok(Held { token: token.to_owned().into(), until: asked + useful_for(&members["expires_in"]) })
    }

    fn request(&self, now: DateTime<Utc>, name: Name) -> Result<(Call<'_>, Vec<SecretString>), String> {
        let mut call = Call::new(OPERATION, Method::POST, &self.endpoint);
        call.harmless = true;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        let secrets = match &self.credential {
            AdminCredential::ClientSecret { client_id, secret } => {
                call.authorization = Some(basic::of_client(client_id, secret));
                vec![secret.clone()]
            }
            AdminCredential::PrivateKeyJwt { client_id, key } => {
                let named = |key: ClientKey| match name {
                    Name::Thumbprint => key,
                    Name::None => ClientKey { key_id: String::new(), ..key },
                };
                let assertion = ClientKey::from_pem(key)
                    .and_then(|key| client_assertion(client_id, &self.audience, &named(key), now))
                    .map_err(|e| format!("{OPERATION}: {e}; check the Secret that the AuthorizationServer names"))?;
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.append_pair("client_assertion", assertion.expose_secret());
                vec![assertion]
            }
        };
        call.body = Some(("application/x-www-form-urlencoded", form.finish().into()));
        Ok((call, secrets))
    }
}

enum Failed {
    /// The credential was looked at and not taken.
    Refused(String),
    Other(CallError),
}

fn nothing_done(why: String, retry_after: Option<Duration>) -> CallError {
    CallError::Inconclusive { why, may_have_acted: false, retry_after }
}

/// How long a token may be used that lives for so many seconds.
fn useful_for(expires_in: &Value) -> Duration {
    // Longer than an hour, and somebody may have taken the operator's rights away meanwhile.
    let lifetime = expires_in.as_u64().map_or(UNTOLD, |seconds| Duration::from_secs(seconds.min(3600)));
    lifetime.saturating_sub(MARGIN.min(lifetime / 2))
}

#[cfg(test)]
mod tests;
