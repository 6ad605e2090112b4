//! Finding out what an authorization server is: its metadata document (RFC 8414, OIDC Discovery 1.0) and
//! its signing keys.
//!
//! The OIDC form is asked first, because nearly every server has it; RFC 8414's next. The same rule holds
//! for both: a document counts only when its `issuer` is the one that was asked for, to the character.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::http::{Answer, Call, Http, SendError};
use super::keys::thumbprint;
use super::outcome::answered;
use super::text;

const OPERATION: &str = "read metadata";
const KEYS_OPERATION: &str = "read signing keys";

/// The most signing keys that are remembered.
const MOST_KEYS: usize = 50;

/// The most, and the longest, names that are taken over from a list.
const MOST_NAMES: usize = 1000;
const LONGEST_NAME: usize = 256;

/// What a server says of itself (RFC 8414 section 2). A list that the document lacks is empty: nothing is assumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMetadata {
    /// The issuer identifier.
    pub issuer: String,
    /// Where tokens are fetched.
    pub token_endpoint: String,
    /// Where clients are registered (RFC 7591). Hydra leaves it out although it has one.
    pub registration_endpoint: Option<String>,
    /// Where tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// Where tokens are introspected (RFC 7662).
    pub introspection_endpoint: Option<String>,
    /// Where the signing keys are (RFC 7517).
    pub jwks_uri: Option<String>,
    /// How clients may authenticate.
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// Grant types.
    pub grant_types_supported: Vec<String>,
    /// SHA-256 thumbprints (RFC 7638) of the server's signing keys, sorted: another server of this name has others.
    /// Empty when they could not be read.
    pub key_thumbprints: Vec<String>,
}

/// Why nothing is known of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// No answer, or one that will be another soon (5xx, 429).
    #[error("{why}")]
    Unreachable {
        /// What happened.
        why: String,
        /// When to try again at the earliest, where the server said so.
        retry_after: Option<Duration>,
    },
    /// Neither document is there.
    #[error("{why}")]
    NotFound {
        /// What was asked for and what came back.
        why: String,
    },
    /// The document is another issuer's.
    #[error("the server's metadata names the issuer {found}; it must be the one configured, to the character")]
    IssuerMismatch {
        /// The issuer that the document names.
        found: String,
    },
    /// The document, or the configured issuer, cannot be used.
    #[error("{why}")]
    Invalid {
        /// What is wrong.
        why: String,
    },
}

impl DiscoveryError {
    /// A reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "Unreachable",
            Self::NotFound { .. } => "MetadataNotFound",
            Self::IssuerMismatch { .. } => "IssuerMismatch",
            Self::Invalid { .. } => "MetadataInvalid",
        }
    }
}

/// Reads the metadata of an issuer and the thumbprints of its keys.
///
/// # Errors
///
/// [`DiscoveryError`]: nothing to be used came back. Keys that cannot be read are no error.
pub async fn discover(http: &Http, issuer: &str) -> Result<ServerMetadata, DiscoveryError> {
    let url = http.check_url(issuer).map_err(|what| invalid(format!("the issuer cannot be used: {what}")))?;
    if url.query().is_some() {
        return Err(invalid("the issuer cannot be used: it has a query"));
    }
    let mut worst = None;
    for address in addresses(&url) {
        match read(http, &address, issuer).await {
            Ok(mut metadata) => {
                metadata.key_thumbprints = match &metadata.jwks_uri {
                    Some(uri) => key_thumbprints(http, uri).await,
                    None => Vec::new(),
                };
                return Ok(metadata);
            }
            Err(error @ DiscoveryError::Unreachable { .. }) => return Err(error),
            // A server that has one document only answers anything to the other: a page, a tenant's document.
            Err(error) => worst = Some(worst.map_or(error.clone(), |earlier| more_telling(earlier, error))),
        }
    }
    Err(worst.unwrap_or_else(|| invalid("the issuer has no address")))
}

/// Where the documents are: after the path (OIDC Discovery section 4), and between host and path
/// (RFC 8414 section 3). A slash at the end is removed first by both.
fn addresses(issuer: &Url) -> [String; 2] {
    let origin = issuer.origin().ascii_serialization();
    let path = issuer.path().trim_end_matches('/');
    [
        format!("{origin}{path}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

fn more_telling(earlier: DiscoveryError, later: DiscoveryError) -> DiscoveryError {
    let weight = |error: &DiscoveryError| match error {
        DiscoveryError::NotFound { .. } => 0,
        DiscoveryError::Invalid { .. } => 1,
        DiscoveryError::IssuerMismatch { .. } => 2,
        DiscoveryError::Unreachable { .. } => 3,
    };
    if weight(&later) > weight(&earlier) { later } else { earlier }
}

async fn read(http: &Http, address: &str, issuer: &str) -> Result<ServerMetadata, DiscoveryError> {
    let answer = http.send(Call::new(OPERATION, Method::GET, address)).await.map_err(|error| match error {
        SendError::NotSent { why, retry_after } => DiscoveryError::Unreachable { why, retry_after },
        SendError::MayHaveActed { why } => DiscoveryError::Unreachable { why, retry_after: None },
    })?;
    let came = || answered(OPERATION, address, &answer, &[]);
    match answer.status {
        200..=299 => parse(http, &answer, issuer).map_err(|error| match error {
            DiscoveryError::Invalid { why } => invalid(format!("{}, {why}", came())),
            other => other,
        }),
        408 | 425 | 429 => Err(DiscoveryError::Unreachable { why: came(), retry_after: answer.retry_after }),
        400..=499 | 501 => Err(DiscoveryError::NotFound { why: format!("{}; check the issuer", came()) }),
        300..=399 => Err(invalid(format!("{}, a redirect, which is never followed; check the issuer", came()))),
        _ => Err(DiscoveryError::Unreachable { why: came(), retry_after: answer.retry_after }),
    }
}

fn parse(http: &Http, answer: &Answer, issuer: &str) -> Result<ServerMetadata, DiscoveryError> {
    if let Err(broken) = &answer.body {
        return Err(invalid(broken.to_string()));
    }
    let document = answer.json().filter(Value::is_object).ok_or_else(|| invalid("but no JSON object"))?;
    let Some(found) = document["issuer"].as_str() else {
        return Err(invalid("but the document names no issuer"));
    };
    if found != issuer {
        return Err(DiscoveryError::IssuerMismatch { found: text::clean(found, &[]).unwrap_or_default() });
    }
    let endpoint = |name: &str| match &document[name] {
        Value::Null => Ok(None),
        Value::String(url) => match http.check_url(url) {
            Ok(_) => Ok(Some(url.clone())),
            Err(what) => Err(invalid(format!("but {name} cannot be used: {what}"))),
        },
        _ => Err(invalid(format!("but {name} is not a string"))),
    };
    Ok(ServerMetadata {
        issuer: issuer.to_owned(),
        token_endpoint: endpoint("token_endpoint")?
            .ok_or_else(|| invalid("but the document names no token_endpoint"))?,
        registration_endpoint: endpoint("registration_endpoint")?,
        revocation_endpoint: endpoint("revocation_endpoint")?,
        introspection_endpoint: endpoint("introspection_endpoint")?,
        jwks_uri: endpoint("jwks_uri")?,
        token_endpoint_auth_methods_supported: names(&document["token_endpoint_auth_methods_supported"])
            .unwrap_or_default(),
        grant_types_supported: names(&document["grant_types_supported"]).unwrap_or_default(),
        key_thumbprints: Vec::new(),
    })
}

/// The strings of a list that could be names; the rest is left out.
fn names(list: &Value) -> Option<Vec<String>> {
    let plain =
        |name: &&str| !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(|b| b.is_ascii_graphic());
    let list = list.as_array()?;
    Some(list.iter().filter_map(Value::as_str).filter(plain).take(MOST_NAMES).map(str::to_owned).collect())
}

/// Thumbprints of the keys at a `jwks_uri`, sorted; none when they cannot be read.
async fn key_thumbprints(http: &Http, uri: &str) -> Vec<String> {
    let Ok(answer) = http.send(Call::new(KEYS_OPERATION, Method::GET, uri)).await else {
        return Vec::new();
    };
    if !answer.is_success() {
        return Vec::new();
    }
    let document = answer.json().unwrap_or_default();
    let keys = document["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut thumbprints: Vec<String> = keys.iter().filter_map(thumbprint).collect();
    thumbprints.sort();
    thumbprints.dedup();
    thumbprints.truncate(MOST_KEYS);
    thumbprints
}

fn invalid(why: impl Into<String>) -> DiscoveryError {
    DiscoveryError::Invalid { why: why.into() }
}

#[cfg(test)]
mod tests;
