//! What a client is in Hydra's words: from our metadata to its JSON, and back.

use serde_json::{Map, Value, json};

use super::super::jwks::thumbprint;
use super::super::registration_answer::{scopes, strings};
use super::super::{ClientMetadata, Granted, Refusal, text};

/// A client as the admin API represents it.
pub(super) type Representation = Map<String, Value>;

/// Grant types that Hydra has. It stores any other word as well, without a complaint.
const GRANTS: [&str; 6] = [
    "client_credentials",
    "authorization_code",
    "refresh_token",
    "implicit",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
];

/// Authentication methods that Hydra has; it stores any other word as well.
const METHODS: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

/// Lifetimes of access tokens, one for each grant.
const ACCESS_TOKEN_LIFESPANS: [&str; 6] = [
    "authorization_code_grant_access_token_lifespan",
    "client_credentials_grant_access_token_lifespan",
    "device_authorization_grant_access_token_lifespan",
    "implicit_grant_access_token_lifespan",
    "jwt_bearer_grant_access_token_lifespan",
    "refresh_token_grant_access_token_lifespan",
];

/// The `owner` of all clients of an installation. Never empty: that would be everybody's.
pub(super) fn owner(installation: &str) -> String {
    format!("oauthclient-operator/{installation}")
}

/// Checks what Hydra would take without being able to do it.
///
/// # Errors
///
/// A refusal as a server would answer it.
pub(super) fn check(operation: &'static str, metadata: &ClientMetadata) -> Result<(), Refusal> {
    let method = metadata.token_endpoint_auth_method.as_str();
    let what = if let Some(other) = metadata.grant_types.iter().find(|grant| !GRANTS.contains(&grant.as_str())) {
        format!("no grant type {other}; there are {}", GRANTS.join(", "))
    } else if !METHODS.contains(&method) {
        format!("no token_endpoint_auth_method {method}; there are {}", METHODS.join(", "))
    } else if method == "none" && metadata.grant_types.iter().any(|grant| grant == "client_credentials") {
        "client_credentials without authentication: anybody could get tokens".to_owned()
    } else if method == "private_key_jwt" && metadata.signing_alg().is_none() {
        // It would take RS256 alone.
        "all keys of one client must be for the same algorithm".to_owned()
    } else if metadata.scopes.is_empty() {
        // It would be given the server's default scopes.
        "no scope is asked for".to_owned()
    } else if let Some(other) = metadata.audiences.iter().find(|audience| !is_exact(audience)) {
        format!(
            "the audience {other} would allow others than itself; it must be a word such as reports, or a URL such as https://api.corp.example/reports without user information, query, fragment and percent signs"
        )
    } else {
        return Ok(());
    };
    Err(Refusal {
        operation,
        status: 400,
        error: Some("invalid_client_metadata".to_owned()),
        description: text::clean(&what, &[]),
        retry_after: None,
    })
}

/// Whether Hydra takes an audience for no more than itself and what is below its path. It compares the scheme, the host
/// and the path of what is parsed as a URL: `urn:a` would allow every other URN, and a query is not looked at. One that
/// cannot be parsed would have every token with an audience refused.
fn is_exact(audience: &str) -> bool {
    let plain = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    match audience.split_once("://") {
        Some((_, rest)) => plain(rest, "-._~/:!$&'()*+,;=") && url::Url::parse(audience).is_ok(),
        None => plain(audience, "-._~/"),
    }
}

/// What a client shall be, whole: what a PUT leaves out is wiped, the mark included.
pub(super) fn wanted(client_id: &str, metadata: &ClientMetadata, secret: Option<&str>) -> Representation {
    let mut client = Map::new();
    let mut put = |name: &str, value: Value| client.insert(name.to_owned(), value);
    put("client_id", client_id.into());
    put("client_name", metadata.client_name.clone().into());
    put("owner", owner(&metadata.mark.installation).into());
    put(
        "metadata",
        json!({
            "entry": metadata.mark.entry,
            "object": metadata.object,
            "owner": metadata.owner_team,
            "owner_email": metadata.owner_email,
            "purpose": metadata.purpose,
        }),
    );
    if !metadata.owner_email.is_empty() {
        put("contacts", json!([metadata.owner_email]));
    }
    put("grant_types", json!(metadata.grant_types));
    put("response_types", json!(metadata.response_types()));
    put("redirect_uris", json!(metadata.redirect_uris));
    put("scope", metadata.scopes.join(" ").into());
    put("audience", json!(metadata.audiences));
    put("token_endpoint_auth_method", metadata.token_endpoint_auth_method.clone().into());
    if let Some(alg) = metadata.signing_alg() {
        put("token_endpoint_auth_signing_alg", alg.into());
    }
    if let Some(jwks) = &metadata.jwks {
        put("jwks", jwks.clone());
    }
    if let Some(lifetime) = metadata.access_token_lifetime {
        for name in ACCESS_TOKEN_LIFESPANS {
            put(name, format!("{}s", lifetime.as_secs().max(1)).into());
        }
    }
    if let Some(secret) = secret {
        put("client_secret", secret.into());
    }
    client
}

/// A client as it is. Lists that are absent are null in answers to POST and PUT, and `[]` in those to GET.
pub(super) struct Client<'a>(pub(super) &'a Representation);

impl Client<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.0.get(name).and_then(strings).unwrap_or_default()
    }

    /// Its `client_id`.
    pub(super) fn id(&self) -> Option<&str> {
        self.text("client_id")
    }

    /// Whether this installation made it.
    pub(super) fn is_of(&self, installation: &str) -> bool {
        !installation.is_empty() && self.text("owner") == Some(&owner(installation))
    }

    /// The entry in its mark.
    pub(super) fn entry(&self) -> Option<&str> {
        self.0.get("metadata")?.get("entry")?.as_str().filter(|entry| !entry.is_empty())
    }

    /// Its mark in words, for people.
    pub(super) fn mark_in_words(&self) -> String {
        let say = |part: &str| text::clean(part, &[]).unwrap_or_default();
        let owner = self.text("owner").map_or_else(|| "no owner".to_owned(), |owner| format!("owner {}", say(owner)));
        self.entry().map_or_else(|| owner.clone(), |entry| format!("{owner} and entry {}", say(entry)))
    }

    /// When it was made. Not to be read from the answer to a PUT, which tells the time of the PUT.
    pub(super) fn created_at(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        self.text("created_at")?.parse().ok()
    }

    /// What it may do.
    pub(super) fn granted(&self) -> Granted {
        let keys = self.0.get("jwks").and_then(|set| set["keys"].as_array()).into_iter().flatten();
        Granted {
            scopes: Some(self.0.get("scope").and_then(scopes).unwrap_or_default()),
            grant_types: Some(self.list("grant_types")),
            redirect_uris: Some(self.list("redirect_uris")),
            audiences: Some(self.list("audience")),
            token_endpoint_auth_method: self.text("token_endpoint_auth_method").map(str::to_owned),
            key_thumbprints: Some(keys.filter_map(thumbprint).collect()),
            enabled: None,
            extras: self.extras(),
        }
    }

    fn extras(&self) -> Vec<String> {
        let mut extras = Vec::new();
        for name in ["allowed_cors_origins", "request_uris"] {
            extras.extend(self.list(name).iter().map(|value| format!("{name} {value}")));
        }
        for name in ["skip_consent", "skip_logout_consent"] {
            if self.0.get(name).and_then(Value::as_bool) == Some(true) {
                extras.push(name.to_owned());
            }
        }
        extras.extend(self.text("jwks_uri").map(|uri| format!("jwks_uri {uri}")));
        extras.iter().filter_map(|extra| text::clean(extra, &[])).collect()
    }
}
