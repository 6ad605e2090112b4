//! What a client is in Keycloak's words: from our metadata to a representation, and back.

use serde_json::{Map, Value, json};

use super::super::jwks::thumbprint;
use super::super::outcome::no_audiences;
use super::super::{ClientMetadata, Granted, Mark, Refusal, text};
use super::admin::Representation;

/// The scope of OpenID Connect, which every realm has and no realm lists.
const OPENID: &str = "openid";

/// Default scope that Keycloak assigns to every client with a service account; it grants nothing.
pub(super) const OF_SERVICE_ACCOUNTS: &str = "service_account";

/// The mappers that Keycloak up to 24 gives to clients with service accounts: addresses and the client's own id.
const OF_OLD_SERVICE_ACCOUNTS: [&str; 3] = ["Client ID", "Client Host", "Client IP Address"];

/// The longest description that Keycloak keeps, in characters.
const LONGEST_DESCRIPTION: usize = 255;

const INSTALLATION: &str = "oauthclient.installation";
const ENTRY: &str = "oauthclient.entry";
const METHOD: &str = "oauthclient.auth-method";
const HAS_OPENID: &str = "oauthclient.openid";
const REGISTERED: &str = "oauthclient.registered-at";

/// Attributes that let a client do more, or let somebody else be it, and the value that does not. A PUT merges: what is
/// not sent stays as somebody set it. An empty value removes one.
const NARROW: [(&str, &str); 11] = [
    ("oauth2.device.authorization.grant.enabled", "false"),
    ("oidc.ciba.grant.enabled", "false"),
    ("standard.token.exchange.enabled", "false"),
    ("oauth2.jwt.authorization.grant.enabled", "false"),
    ("client_credentials.use_refresh_token", "false"),
    ("use.jwks.url", "false"),
    ("jwks.url", ""),
    ("jwt.credential.certificate", ""),
    ("jwt.credential.issuer", ""),
    ("jwt.credential.sub", ""),
    ("request.uris", ""),
];

/// Checks what no realm can grant, before anything is sent.
///
/// # Errors
///
/// A refusal as a server would answer it.
pub(super) fn check(operation: &'static str, metadata: &ClientMetadata) -> Result<(), Refusal> {
    no_audiences(operation, metadata)?;
    let refuse = |what: String| Err(refusal(operation, "invalid_client_metadata", &what));
    for grant in &metadata.grant_types {
        match grant.as_str() {
            "client_credentials" if metadata.token_endpoint_auth_method == "none" => {
                return refuse("client_credentials without authentication: anybody could get tokens".to_owned());
            }
            "client_credentials" | "authorization_code" | "implicit" => {}
            "refresh_token" if has(metadata, "authorization_code") => {}
            "refresh_token" => {
                return refuse(
                    "the grant type refresh_token comes with authorization_code only: without users there is nothing \
                     to refresh"
                        .to_owned(),
                );
            }
            other => {
                return refuse(format!(
                    "no grant type {other}; here are client_credentials, authorization_code, refresh_token and implicit"
                ));
            }
        }
    }
    match metadata.token_endpoint_auth_method.as_str() {
        "client_secret_basic" | "client_secret_post" | "none" => {}
        "private_key_jwt" if metadata.jwks.is_some() => {}
        "private_key_jwt" => return refuse("private_key_jwt needs a public key".to_owned()),
        other => return refuse(format!("no token_endpoint_auth_method {other}")),
    }
    // Keycloak takes a * at the end for "anything", and + for others' addresses.
    if let Some(uri) = metadata.redirect_uris.iter().find(|uri| uri.contains('*') || !uri.contains(':')) {
        return Err(refusal(
            operation,
            "invalid_redirect_uri",
            &format!("the redirect URI {uri} would match more than itself"),
        ));
    }
    Ok(())
}

/// A refusal in the words of RFC 7591 section 3.2.2, for what was found out without asking.
pub(super) fn refusal(operation: &'static str, error: &str, what: &str) -> Refusal {
    Refusal {
        operation,
        status: 400,
        error: Some(error.to_owned()),
        description: text::clean(what, &[]),
        retry_after: None,
    }
}

fn has(metadata: &ClientMetadata, grant: &str) -> bool {
    metadata.grant_types.iter().any(|g| g == grant)
}

/// The client scopes that must be assigned: all but `openid`.
pub(super) fn scopes(metadata: &ClientMetadata) -> Vec<&str> {
    metadata.scopes.iter().map(String::as_str).filter(|s| *s != OPENID).collect()
}

/// What a client shall be; the same in a POST and a PUT, but for what only one of them takes.
pub(super) fn wanted(client_id: &str, metadata: &ClientMetadata, secret: Option<&str>) -> Representation {
    let method = metadata.token_endpoint_auth_method.as_str();
    let users = has(metadata, "authorization_code") || has(metadata, "implicit");
    let mut client = Map::new();
    let mut put = |name: &str, value: Value| client.insert(name.to_owned(), value);
    put("clientId", client_id.into());
    put("name", metadata.client_name.clone().into());
    put("description", metadata.object.chars().take(LONGEST_DESCRIPTION).collect::<String>().into());
    put("protocol", "openid-connect".into());
    put("enabled", true.into());
    put("publicClient", (method == "none").into());
    put("bearerOnly", false.into());
    put("clientAuthenticatorType", if method == "private_key_jwt" { "client-jwt" } else { "client-secret" }.into());
    put("standardFlowEnabled", has(metadata, "authorization_code").into());
    put("implicitFlowEnabled", has(metadata, "implicit").into());
    put("directAccessGrantsEnabled", false.into());
    put("serviceAccountsEnabled", has(metadata, "client_credentials").into());
    // Else its tokens would hold every role that its user has.
    put("fullScopeAllowed", false.into());
    put("redirectUris", if users { json!(metadata.redirect_uris) } else { json!([]) });
    put("webOrigins", json!([]));
    put("rootUrl", "".into());
    put("baseUrl", "".into());
    put("adminUrl", "".into());
    put("attributes", attributes(metadata));
    if let Some(secret) = secret {
        put("secret", secret.into());
    }
    client
}

fn attributes(metadata: &ClientMetadata) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, value: &str| all.insert(name.to_owned(), value.into());
    put(INSTALLATION, &metadata.mark.installation);
    put(ENTRY, &metadata.mark.entry);
    put("oauthclient.owner", &metadata.owner_team);
    put("oauthclient.owner.email", &metadata.owner_email);
    put("oauthclient.purpose", &metadata.purpose);
    put("oauthclient.object", &metadata.object);
    put(METHOD, &metadata.token_endpoint_auth_method);
    put(HAS_OPENID, if metadata.scopes.iter().any(|s| s == OPENID) { "true" } else { "" });
    let jwks = metadata.jwks.as_ref().filter(|_| metadata.token_endpoint_auth_method == "private_key_jwt");
    put("use.jwks.string", if jwks.is_some() { "true" } else { "false" });
    put("jwks.string", &jwks.map(Value::to_string).unwrap_or_default());
    let alg = metadata.token_endpoint_auth_signing_alg.as_deref().filter(|_| jwks.is_some());
    put("token.endpoint.auth.signing.alg", alg.unwrap_or_default());
    put("use.refresh.tokens", if has(metadata, "refresh_token") { "true" } else { "false" });
    let lifespan = metadata.access_token_lifetime.map(|d| d.as_secs().max(1).to_string());
    put("access.token.lifespan", &lifespan.unwrap_or_default());
    for (name, value) in NARROW {
        put(name, value);
    }
    Value::Object(all)
}

/// What only a new client is given: the internal id, its scopes (a PUT ignores them), and when it was made.
pub(super) fn only_new(client: &mut Representation, internal_id: &str, scopes: &[&str], now: &str) {
    client.insert("id".to_owned(), internal_id.into());
    // With either list, none of the realm's default scopes is assigned.
    client.insert("defaultClientScopes".to_owned(), json!([]));
    client.insert("optionalClientScopes".to_owned(), json!(scopes));
    // An empty root URL in a POST makes Keycloak allow any path of it as redirect URI: /*. In a PUT it removes one.
    for url in ["rootUrl", "baseUrl", "adminUrl"] {
        client.remove(url);
    }
    if let Some(Value::Object(attributes)) = client.get_mut("attributes") {
        attributes.insert(REGISTERED.to_owned(), now.into());
        // A new client has no attributes to be removed.
        attributes.retain(|_, value| value != "");
    }
}

/// A client as it is, read from its representation.
pub(super) struct Client<'a>(pub(super) &'a Representation);

impl Client<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn is(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.get("attributes")?.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn list(&self, name: &str) -> Vec<String> {
        let items = self.0.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// Its `clientId`.
    pub(super) fn id(&self) -> Option<&str> {
        self.text("clientId")
    }

    /// Whether somebody switched it off.
    pub(super) fn is_switched_off(&self) -> bool {
        self.0.get("enabled") == Some(&Value::Bool(false))
    }

    /// The installation in its mark.
    pub(super) fn installation(&self) -> Option<&str> {
        self.attribute(INSTALLATION)
    }

    /// The entry in its mark.
    pub(super) fn entry(&self) -> Option<&str> {
        self.attribute(ENTRY)
    }

    /// Whether it carries this very mark.
    pub(super) fn carries(&self, mark: &Mark) -> bool {
        self.installation() == Some(&mark.installation) && self.entry() == Some(&mark.entry)
    }

    /// Its mark in words, for people.
    pub(super) fn mark_in_words(&self) -> String {
        match (self.installation(), self.entry()) {
            (None, _) => "no mark of this operator".to_owned(),
            (Some(installation), entry) => {
                let say = |part: &str| text::clean(part, &[]).unwrap_or_default();
                format!("the mark of installation {} and entry {}", say(installation), say(entry.unwrap_or("none")))
            }
        }
    }

    /// When it was made: as this operator noted, else when its secret was.
    pub(super) fn created_at(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        let noted = self.attribute(REGISTERED).and_then(|at| at.parse().ok());
        noted.or_else(|| {
            let seconds = self.attribute("client.secret.creation.time")?.parse().ok()?;
            chrono::DateTime::from_timestamp(seconds, 0)
        })
    }

    /// Its secret, where it is shown: some answers mask it.
    pub(super) fn secret(&self) -> Option<&str> {
        let by_secret = self.text("clientAuthenticatorType") == Some("client-secret") && !self.is("publicClient");
        self.text("secret").filter(|s| by_secret && !s.bytes().all(|b| b == b'*') && !s.starts_with("${vault."))
    }

    /// When its secret ends, where a policy of the realm makes it end.
    pub(super) fn secret_expires_at(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        let seconds: i64 = self.attribute("client.secret.expiration.time")?.parse().ok()?;
        chrono::DateTime::from_timestamp(seconds, 0).filter(|_| seconds > 0)
    }

    /// Default client scopes that it should not have.
    pub(super) fn unasked_default_scopes(&self) -> Vec<String> {
        let mut all = self.list("defaultClientScopes");
        all.retain(|scope| scope != OF_SERVICE_ACCOUNTS || !self.is("serviceAccountsEnabled"));
        all
    }

    /// Optional client scopes.
    pub(super) fn optional_scopes(&self) -> Vec<String> {
        self.list("optionalClientScopes")
    }

    /// Its own protocol mappers, which put into tokens whatever somebody wants: internal id and name.
    pub(super) fn unasked_mappers(&self) -> Vec<(String, String)> {
        let mappers = self.0.get("protocolMappers").and_then(Value::as_array).into_iter().flatten();
        mappers
            .filter_map(|mapper| Some((mapper["id"].as_str()?.to_owned(), mapper["name"].as_str()?.to_owned(), mapper)))
            .filter(|(_, name, mapper)| {
                mapper["protocolMapper"] != "oidc-usersessionmodel-note-mapper"
                    || !OF_OLD_SERVICE_ACCOUNTS.contains(&name.as_str())
            })
            .map(|(id, name, _)| (id, name))
            .collect()
    }

    /// Authentication flows of its own, by what they are for.
    pub(super) fn unasked_flows(&self) -> Vec<String> {
        let flows = self.0.get("authenticationFlowBindingOverrides").and_then(Value::as_object);
        flows.into_iter().flatten().filter(|(_, flow)| **flow != "").map(|(purpose, _)| purpose.clone()).collect()
    }

    /// What it may do.
    pub(super) fn granted(&self) -> Granted {
        let mut scopes = self.unasked_default_scopes();
        scopes.extend(self.optional_scopes());
        if self.attribute(HAS_OPENID) == Some("true") {
            scopes.push(OPENID.to_owned());
        }
        scopes.sort_unstable();
        scopes.dedup();
        Granted {
            scopes: Some(scopes),
            grant_types: Some(self.grant_types()),
            redirect_uris: Some(self.list("redirectUris")),
            audiences: None,
            token_endpoint_auth_method: Some(self.method()),
            key_thumbprints: Some(self.key_thumbprints()),
            enabled: Some(self.is("enabled")),
            extras: self.extras(),
        }
    }

    fn grant_types(&self) -> Vec<String> {
        let on = |attribute: &str| self.attribute(attribute) == Some("true");
        let all = [
            ("client_credentials", self.is("serviceAccountsEnabled")),
            ("authorization_code", self.is("standardFlowEnabled")),
            // On unless it is switched off; of use with users only.
            ("refresh_token", self.is("standardFlowEnabled") && self.attribute("use.refresh.tokens") != Some("false")),
            ("implicit", self.is("implicitFlowEnabled")),
            ("password", self.is("directAccessGrantsEnabled")),
            ("urn:ietf:params:oauth:grant-type:device_code", on("oauth2.device.authorization.grant.enabled")),
            ("urn:openid:params:grant-type:ciba", on("oidc.ciba.grant.enabled")),
            ("urn:ietf:params:oauth:grant-type:token-exchange", on("standard.token.exchange.enabled")),
            ("urn:ietf:params:oauth:grant-type:jwt-bearer", on("oauth2.jwt.authorization.grant.enabled")),
        ];
        all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
    }

    fn method(&self) -> String {
        if self.is("publicClient") {
            return "none".to_owned();
        }
        match self.text("clientAuthenticatorType") {
            // Keycloak takes the secret either way; which one was asked for is on the client.
            Some("client-secret") => match self.attribute(METHOD) {
                Some("client_secret_post") => "client_secret_post",
                _ => "client_secret_basic",
            }
            .to_owned(),
            Some("client-jwt") => "private_key_jwt".to_owned(),
            Some("client-secret-jwt") => "client_secret_jwt".to_owned(),
            Some("client-x509") => "tls_client_auth".to_owned(),
            other => other.unwrap_or_default().to_owned(),
        }
    }

    fn key_thumbprints(&self) -> Vec<String> {
        if self.attribute("use.jwks.string") != Some("true") {
            return Vec::new();
        }
        let set: Value = self.attribute("jwks.string").and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
        set["keys"].as_array().into_iter().flatten().filter_map(thumbprint).collect()
    }

    fn extras(&self) -> Vec<String> {
        let mut extras = Vec::new();
        if self.is("fullScopeAllowed") {
            extras.push("fullScopeAllowed".to_owned());
        }
        if self.attribute("use.jwks.url") == Some("true") {
            extras.push("jwks.url".to_owned());
        }
        if self.attribute("client_credentials.use_refresh_token") == Some("true") {
            extras.push("client_credentials.use_refresh_token".to_owned());
        }
        let origins = self.list("webOrigins");
        extras.extend(origins.iter().map(|origin| format!("webOrigin {origin}")));
        extras.extend(self.unasked_mappers().iter().map(|(_, name)| format!("protocolMapper {name}")));
        extras.extend(self.unasked_flows().iter().map(|flow| format!("authenticationFlow {flow}")));
        extras.iter().filter_map(|extra| text::clean(extra, &[])).collect()
    }
}
