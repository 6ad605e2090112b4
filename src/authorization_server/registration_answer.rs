//! What a server says of a client that it registered or changed (RFC 7591 section 3.2.1, RFC 7592 section 3).
//! Untrusted: each member is judged by itself, so that one odd member does not lose the means of revoking.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::http::Http;
use super::{Granted, Management, Registered, RegistrationAccess, Updated};

/// The longest client id, in characters.
const LONGEST_CLIENT_ID: usize = 512;

/// The longest token or secret, in bytes. Registration access tokens may be JWTs (Keycloak).
const LONGEST_SECRET: usize = 16 * 1024;

/// The last second that RFC 3339 can write.
const END_OF_YEAR_9999: i64 = 253_402_300_799;

/// An answer, read but not yet judged.
pub(super) struct RegistrationAnswer {
    /// `client_id`, where there is a usable one.
    pub client_id: Option<String>,
    client_secret: Option<SecretString>,
    client_secret_expires_at: Option<DateTime<Utc>>,
    registration_access_token: Option<SecretString>,
    registration_client_uri: Option<String>,
    granted: Granted,
}

/// What a client that exists lacks to be managed.
#[derive(Debug)]
pub(super) struct Missing {
    pub what: &'static str,
    pub client_id: Option<String>,
}

impl RegistrationAnswer {
    pub(super) fn read(mut members: Map<String, Value>) -> Self {
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let client_id = text("client_id")
            .filter(|id| id.len() <= LONGEST_CLIENT_ID && id.bytes().all(|b| (0x20..=0x7e).contains(&b)));
        let registration_access_token = text("registration_access_token").filter(|t| is_header_text(t));
        let client_secret = text("client_secret").filter(|secret| {
            // Keycloak masks secrets in some answers: a mask must not replace the secret.
            secret.len() <= LONGEST_SECRET
                && !secret.bytes().all(|b| b == b'*')
                && !secret.chars().any(char::is_control)
        });
        let registration_client_uri = text("registration_client_uri");
        let token_endpoint_auth_method = text("token_endpoint_auth_method");
        Self {
            client_id,
            client_secret: client_secret.map(Into::into),
            client_secret_expires_at: members.get("client_secret_expires_at").and_then(expiry),
            registration_access_token: registration_access_token.map(Into::into),
            registration_client_uri,
            granted: Granted {
                scopes: members.get("scope").and_then(scopes),
                grant_types: members.get("grant_types").and_then(strings),
                redirect_uris: members.get("redirect_uris").and_then(strings),
                audiences: None,
                token_endpoint_auth_method,
                ..Granted::default()
            },
        }
    }

    /// Whether anything in it speaks of a client. A gateway that answers `{"status":"ok"}` registered nothing that
    /// we know of.
    pub(super) fn is_about_a_client(&self) -> bool {
        self.client_id.is_some()
            || self.client_secret.is_some()
            || self.registration_access_token.is_some()
            || self.registration_client_uri.is_some()
    }

    pub(super) fn into_registered(self, http: &Http, endpoint: &str, status: u16) -> Result<Registered, Missing> {
        let missing = |what, client_id| Err(Missing { what, client_id });
        let Some(client_id) = self.client_id else {
            return missing(
                "the answer has no client_id, or one that is not 1 to 512 printable ASCII characters",
                None,
            );
        };
        let Some(token) = self.registration_access_token else {
            return missing(
                "the answer has no usable registration_access_token; switch client management on (RFC 7592)",
                Some(client_id),
            );
        };
        let Some(uri) = self.registration_client_uri else {
            return missing(
                "the answer has no registration_client_uri; switch client management on (RFC 7592)",
                Some(client_id),
            );
        };
        if let Err(what) = check_origin(http, &uri, endpoint) {
            return missing(what, Some(client_id));
        }
        if is_for_no_client(http, &uri, endpoint) {
            return missing(
                "its registration_client_uri is the registration endpoint and names no client",
                Some(client_id),
            );
        }
        Ok(Registered {
            management: Management {
                client_id,
                registration: Some(RegistrationAccess { client_uri: uri, access_token: token }),
            },
            client_secret: self.client_secret,
            client_secret_expires_at: self.client_secret_expires_at,
            granted: self.granted,
            status,
        })
    }

    /// Takes over what is new. What the answer lacks stays as it was: Hydra, for one, sends no
    /// `registration_client_uri` here.
    pub(super) fn into_updated(
        self,
        http: &Http,
        endpoint: &str,
        client_id: &str,
        before: &RegistrationAccess,
    ) -> Updated {
        // The token goes only where it went before.
        let known = &before.client_uri;
        let usable = |uri: &String| check_origin(http, uri, known).is_ok() && !is_for_no_client(http, uri, endpoint);
        let access = RegistrationAccess {
            client_uri: self.registration_client_uri.filter(usable).unwrap_or_else(|| known.clone()),
            access_token: self.registration_access_token.unwrap_or_else(|| before.access_token.clone()),
        };
        Updated {
            management: Management { client_id: client_id.to_owned(), registration: Some(access) },
            client_secret: self.client_secret,
            granted: self.granted,
        }
    }
}

/// Whether a `registration_client_uri` may be given the registration access token: scheme, host and port must be those
/// of an address that it went to before. The rest is the server's business (RFC 7592 section 3).
fn check_origin(http: &Http, uri: &str, known: &str) -> Result<(), &'static str> {
    let Ok(uri) = http.check_url(uri) else {
        return Err(
            "its registration_client_uri is no absolute URL that may be used (https, no user information, no fragment)",
        );
    };
    let same = http.check_url(known).is_ok_and(|known| known.origin() == uri.origin());
    if same {
        Ok(())
    } else {
        Err(
            "its registration_client_uri has another scheme, host or port than the registration endpoint; check the server's public URL",
        )
    }
}

/// Whether an address is the registration endpoint itself, which stands for no client.
fn is_for_no_client(http: &Http, uri: &str, endpoint: &str) -> bool {
    let path = |text: &str| http.check_url(text).ok().map(|url| url.path().trim_end_matches('/').to_owned());
    !uri.contains('?') && path(uri) == path(endpoint)
}

/// Whether a bearer token can be sent in a header (RFC 6750 section 2.1 allows less).
fn is_header_text(token: &str) -> bool {
    token.len() <= LONGEST_SECRET && token.bytes().all(|b| b.is_ascii_graphic())
}

/// Seconds since 1970; 0 is never.
fn expiry(value: &Value) -> Option<DateTime<Utc>> {
    let seconds = match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and the range is checked below")]
            number.as_f64().map(|seconds| seconds as i64)
        })?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // Further than dates can be written is never, for all that anybody will see.
    DateTime::from_timestamp(Some(seconds).filter(|s| (1..=END_OF_YEAR_9999).contains(s))?, 0)
}

/// Space-separated, as the RFC has it; a list, as some servers do: what is granted must not go unseen.
pub(super) fn scopes(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
        _ => strings(value),
    }
}

/// A list of strings.
pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}
