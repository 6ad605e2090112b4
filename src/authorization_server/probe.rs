//! Whether a credential authenticates, found out without minting a token.
//!
//! Every endpoint here authenticates the client before it looks at what is asked (RFC 7009 section 2.1, RFC 7662
//! section 2.1, RFC 6749 section 3.2.1), and what is asked is made up, so nothing happens to anything. One answer
//! proves little by itself: compare it with that to a credential which [`Credential::never_existed`].
//!
//! A wrong credential is never used on a client that may be alive: servers lock those out.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rand::Rng;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::assertion::{ASSERTION_TYPE, client_assertion};
use super::basic;
use super::http::{Answer, Call, Http, SendError};
use super::keys::ClientKey;
use super::outcome::{Effect, answered, effect};

const OPERATION: &str = "probe credential";

/// Error codes that authorization servers answer with: RFC 6749 section 5.2, RFC 6750 section 3.1, RFC 7009 section
/// 2.2.1, RFC 8707 section 2, RFC 9449 sections 5 and 8. Any other word may be a gateway's, such as `unauthorized`:
/// it would look the same for a live client and for none.
const ERRORS: [&str; 12] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "invalid_token",
    "unsupported_token_type",
    "invalid_target",
    "invalid_dpop_proof",
    "use_dpop_nonce",
];

/// Which endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProbeMethod {
    /// Revocation of a made-up token (RFC 7009): 200 to a client that authenticates.
    Revocation,
    /// Introspection of a made-up token (RFC 7662): 200 to a client that authenticates and may introspect.
    Introspection,
    /// Redeeming a made-up authorization code (RFC 6749 section 4.1.3): 400 with an error that is not about the
    /// client.
    AuthorizationCode,
}

impl ProbeMethod {
    /// All of them, in order of preference.
    pub const ALL: [Self; 3] = [Self::Revocation, Self::Introspection, Self::AuthorizationCode];

    /// The name as it stands in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revocation => "Revocation",
            Self::Introspection => "Introspection",
            Self::AuthorizationCode => "AuthorizationCode",
        }
    }

    /// The method of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

impl fmt::Display for ProbeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a server can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeEndpoints {
    /// `token_endpoint`.
    pub token_endpoint: String,
    /// `revocation_endpoint`, where there is one.
    pub revocation_endpoint: Option<String>,
    /// `introspection_endpoint`, where there is one.
    pub introspection_endpoint: Option<String>,
    /// The issuer identifier.
    pub issuer: String,
}

impl ProbeEndpoints {
    /// Where a method asks; `None` where the server cannot be asked like that.
    pub fn endpoint(&self, method: ProbeMethod) -> Option<&str> {
        match method {
            ProbeMethod::Revocation => self.revocation_endpoint.as_deref(),
            ProbeMethod::Introspection => self.introspection_endpoint.as_deref(),
            ProbeMethod::AuthorizationCode => Some(&self.token_endpoint),
        }
    }
}

/// Whom a client assertion is for (RFC 7523 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Audience {
    /// The token endpoint, whichever endpoint is asked: Hydra takes nothing else, Keycloak and oidc-provider take it.
    #[default]
    TokenEndpoint,
    /// The issuer, as newer servers want it.
    Issuer,
}

/// What a client authenticates with. Holds secrets; printing it shows none.
#[derive(Debug, Clone)]
pub enum Credential {
    /// HTTP Basic (RFC 6749 section 2.3.1).
    ClientSecretBasic {
        /// The client's id.
        client_id: String,
        /// Its secret.
        client_secret: SecretString,
    },
    /// Secret in the request's body.
    ClientSecretPost {
        /// The client's id.
        client_id: String,
        /// Its secret.
        client_secret: SecretString,
    },
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt {
        /// The client's id.
        client_id: String,
        /// Its key.
        key: ClientKey,
        /// Whom assertions are for.
        audience: Audience,
    },
    /// A public client: its id is all there is.
    Public {
        /// The client's id.
        client_id: String,
    },
}

/// What an OAuth endpoint answered. Two credentials answered alike are equal here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// Which endpoint was asked.
    pub method: ProbeMethod,
    /// HTTP status: 200, 400 or 401.
    pub status: u16,
    /// OAuth error code; none with 200.
    pub error: Option<String>,
}

/// Why a probe has no answer that says anything. There was nothing in it to take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NoAnswer {
    /// What happened and what to look at.
    pub why: String,
    /// Whether the server took the request: it was sent, and not turned away unread.
    pub taken: bool,
    /// Whether an answer came to it that is of no use: another endpoint of this server may do better.
    pub useless: bool,
}

/// Asks once. Nothing that the client has is changed by it, and no token is minted.
///
/// # Errors
///
/// [`NoAnswer`] for everything that is not an OAuth answer: no such endpoint, no connection, time-out, 429, 5xx,
/// redirects, pages, errors that are no OAuth error codes. A refusal of the credential is an answer.
pub async fn probe(
    http: &Http,
    endpoints: &ProbeEndpoints,
    method: ProbeMethod,
    credential: &Credential,
    now: DateTime<Utc>,
) -> Result<ProbeAnswer, NoAnswer> {
    let url = endpoints
        .endpoint(method)
        .ok_or_else(|| NoAnswer::not_asked(format!("{OPERATION}: the server names no endpoint for {method}")))?;
    let call = request(url, endpoints, method, credential, now)?;
    let answer = http.send(call).await.map_err(|error| match error {
        SendError::NotSent { why, .. } => NoAnswer::not_asked(why),
        SendError::MayHaveActed { why } => NoAnswer { why, taken: true, useless: false },
    })?;
    let taken = effect(answer.status) != Effect::None;
    judge(method, &answer).ok_or_else(|| NoAnswer {
        // Nothing of the body is quoted, so no credential can come back in it.
        why: format!(
            "{} with no OAuth answer to this credential; check what stands before the server",
            came(url, &answer)
        ),
        taken,
        useless: taken,
    })
}

/// The request: a made-up token or code, and the credential.
fn request<'a>(
    url: &'a str,
    endpoints: &ProbeEndpoints,
    method: ProbeMethod,
    credential: &Credential,
    now: DateTime<Utc>,
) -> Result<Call<'a>, NoAnswer> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    // Random, so that it is nobody's token.
    let made_up = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    if method == ProbeMethod::AuthorizationCode {
        form.append_pair("grant_type", "authorization_code");
        form.append_pair("code", &made_up);
        form.append_pair("redirect_uri", "https://invalid.example/");
    } else {
        form.append_pair("token", &made_up);
    }
    let mut call = Call::new(OPERATION, Method::POST, url);
    call.harmless = true;
    match credential {
        Credential::ClientSecretBasic { client_id, client_secret } => {
            call.authorization = Some(basic::of_client(client_id, client_secret));
        }
        Credential::ClientSecretPost { client_id, client_secret } => {
            form.append_pair("client_id", client_id);
            form.append_pair("client_secret", client_secret.expose_secret());
        }
        Credential::PrivateKeyJwt { client_id, key, audience } => {
            let audience = match audience {
                Audience::TokenEndpoint => &endpoints.token_endpoint,
                Audience::Issuer => &endpoints.issuer,
            };
            let assertion = client_assertion(client_id, audience, key, now)
                .map_err(|e| NoAnswer::not_asked(format!("{OPERATION}: no assertion can be made, {e}")))?;
            form.append_pair("client_assertion_type", ASSERTION_TYPE);
            form.append_pair("client_assertion", assertion.expose_secret());
        }
        Credential::Public { client_id } => {
            form.append_pair("client_id", client_id);
        }
    }
    call.body = Some(("application/x-www-form-urlencoded", form.finish().into()));
    Ok(call)
}

fn came(url: &str, answer: &Answer) -> String {
    let bare = Answer { body: Ok(Vec::new()), ..answer.clone() };
    answered(OPERATION, url, &bare, &[])
}

/// The answer, where an OAuth endpoint must have given it.
fn judge(method: ProbeMethod, answer: &Answer) -> Option<ProbeAnswer> {
    let error = match answer.status {
        200 => {
            let genuine = match method {
                // The body means nothing (RFC 7009 section 2.2): Keycloak puts an error there.
                ProbeMethod::Revocation => answer.body.is_ok() && !answer.is_page(),
                ProbeMethod::Introspection => answer.is_json() && answer.json()?["active"].is_boolean(),
                // No server has such a code.
                ProbeMethod::AuthorizationCode => false,
            };
            genuine.then_some(None)?
        }
        400 | 401 if answer.is_json() => {
            let document = answer.json()?;
            let error = document["error"].as_str().filter(|error| ERRORS.contains(error))?;
            Some(error.to_owned())
        }
        _ => return None,
    };
    Some(ProbeAnswer { method, status: answer.status, error })
}

impl NoAnswer {
    /// Nothing was sent.
    pub fn not_asked(why: String) -> Self {
        Self { why, taken: false, useless: false }
    }
}

impl Credential {
    /// The client's id.
    pub fn client_id(&self) -> &str {
        match self {
            Self::ClientSecretBasic { client_id, .. }
            | Self::ClientSecretPost { client_id, .. }
            | Self::PrivateKeyJwt { client_id, .. }
            | Self::Public { client_id } => client_id,
        }
    }

    /// A credential of the same kind that no client has: a random id of the same look, a random secret of the same
    /// look, a fresh key. With RS256 it takes about a tenth of a second of computing.
    #[must_use]
    pub fn never_existed(&self) -> Self {
        let client_id = random_like(self.client_id());
        match self {
            Self::ClientSecretBasic { client_secret, .. } => {
                Self::ClientSecretBasic { client_id, client_secret: random_like(client_secret.expose_secret()).into() }
            }
            Self::ClientSecretPost { client_secret, .. } => {
                Self::ClientSecretPost { client_id, client_secret: random_like(client_secret.expose_secret()).into() }
            }
            Self::PrivateKeyJwt { key, audience, .. } => Self::PrivateKeyJwt {
                client_id,
                // Where there is no randomness for a key, the old one does: the id is what nobody has.
                key: ClientKey::generate(key.alg).unwrap_or_else(|_| key.clone()),
                audience: *audience,
            },
            Self::Public { .. } => Self::Public { client_id },
        }
    }
}

/// The fewest characters that must be random, so that the result is surely nobody's.
const FEWEST_RANDOM: usize = 20;

/// Another text of the same shape: letters for letters, digits for digits, hexadecimal stays hexadecimal, the rest
/// as it is. Lengthened where that leaves too little to chance.
fn random_like(text: &str) -> String {
    let mut rng = rand::rng();
    let hex = text.contains(|c| matches!(c, 'a'..='f'))
        && text.chars().filter(char::is_ascii_alphanumeric).all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    let uuid = hex && text.len() == 36 && text.bytes().filter(|b| *b == b'-').count() == 4;
    let mut random = 0;
    let mut like: String = text
        .char_indices()
        .map(|(at, c)| {
            // Version and variant of a UUID (RFC 9562 section 4): some servers parse them.
            let fixed = uuid && (at == 14 || at == 19);
            let drawn = match c {
                _ if fixed => None,
                '0'..='9' | 'a'..='f' if hex => char::from_digit(rng.random_range(0..16), 16),
                '0'..='9' => Some(rng.random_range('0'..='9')),
                'a'..='z' => Some(rng.random_range('a'..='z')),
                'A'..='Z' => Some(rng.random_range('A'..='Z')),
                _ => None,
            };
            random += usize::from(drawn.is_some());
            drawn.unwrap_or(c)
        })
        .collect();
    for _ in random..FEWEST_RANDOM {
        like.push(char::from_digit(rng.random_range(0..16), 16).unwrap_or('0'));
    }
    like
}

#[cfg(test)]
mod tests;
