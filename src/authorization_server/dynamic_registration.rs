//! Dynamic client registration (RFC 7591) and its management (RFC 7592).
//!
//! Nothing here is ever sent again by itself: no server lets the caller choose the id, none lists, so a second POST
//! is a second client. The one exception is a PUT that was refused with 400, which is repeated once with the secret.

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::http::{self, Answer, Call, Http};
use super::outcome::{answered, not_done, not_registered};
use super::registration_answer::{Missing, RegistrationAnswer};
use super::{Backend, CallError, ClientMetadata, Management, RegisterError, Registered, Updated};

const REGISTER: &str = "register client";
const UPDATE: &str = "update client";
const DELETE: &str = "delete client";

/// Registers and manages clients at one registration endpoint.
#[derive(Clone)]
pub struct DynamicRegistration {
    /// How the server is reached.
    pub http: Http,
    /// `registration_endpoint` of the server's metadata.
    pub registration_endpoint: String,
    /// What allows registering, where the server wants it (RFC 7591 section 3).
    pub initial_access_token: Option<SecretString>,
    /// A software statement to send along (RFC 7591 section 2.3). Some servers refuse any (Keycloak).
    pub software_statement: Option<String>,
}

#[async_trait]
impl Backend for DynamicRegistration {
    async fn register(&self, metadata: &ClientMetadata) -> Result<Registered, RegisterError> {
        let url = &self.registration_endpoint;
        let mut call = Call::new(REGISTER, Method::POST, url);
        if let Some(token) = &self.initial_access_token {
            call = call.bearer(token);
        }
        call.body = Some(self.body(metadata));
        let answer = self.http.send(call).await?;

        let secrets: Vec<_> = self.initial_access_token.iter().cloned().collect();
        if !answer.is_success() {
            return Err(not_registered(REGISTER, url, &answer, &secrets));
        }
        let told = read(&answer).filter(RegistrationAnswer::is_about_a_client).ok_or_else(|| {
            RegisterError::OutcomeUnknown {
                why: format!(
                    "{}, but {}; a client may have been registered all the same",
                    answered(REGISTER, url, &answer, &secrets),
                    unreadable(&answer)
                ),
            }
        })?;
        told.into_registered(&self.http, url, answer.status).map_err(|Missing { what, client_id }| {
            RegisterError::Unmanageable {
                why: format!(
                    "{}: the server registered a client that cannot be revoked by this protocol: {what}",
                    http::describe(REGISTER, url)
                ),
                client_id,
            }
        })
    }

    async fn update(
        &self,
        management: &Management,
        metadata: &ClientMetadata,
        client_secret: Option<&SecretString>,
    ) -> Result<Updated, CallError> {
        let first = self.put(management, metadata, None).await;
        let (Err(CallError::Refused(refusal)), Some(secret)) = (&first, client_secret) else {
            return first;
        };
        if refusal.status != 400 {
            return first;
        }
        // RFC 7592 lets a server insist on the current secret. Not the first time: Hydra answers 403 to it.
        match self.put(management, metadata, Some(secret)).await {
            // So it was not for want of the secret: the first answer is the one about the metadata.
            Err(CallError::Refused(again)) if matches!(again.status, 400 | 403) => first,
            second => second,
        }
    }

    async fn delete(&self, management: &Management) -> Result<u16, CallError> {
        let url = &management.registration_client_uri;
        let call = Call::new(DELETE, Method::DELETE, url).bearer(&management.registration_access_token);
        let answer = self.http.send(call).await?;
        let secrets = [management.registration_access_token.clone()];
        if !answer.is_success() {
            return Err(not_done(DELETE, url, &answer, &secrets));
        }
        // A log-in page says 200, too.
        if answer.is_page() {
            return Err(CallError::Inconclusive {
                why: format!(
                    "{} with a page for people, which no client registration endpoint does; check what stands before the server",
                    answered(DELETE, url, &answer, &secrets)
                ),
                may_have_acted: true,
                retry_after: None,
            });
        }
        Ok(answer.status)
    }
}

impl DynamicRegistration {
    /// The members that go in a POST and a PUT alike. All of them are fine with Keycloak, Hydra and oidc-provider
    /// (recorded); Keycloak refuses members that it does not know.
    fn members(&self, metadata: &ClientMetadata) -> Map<String, Value> {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("client_name", metadata.client_name.clone().into());
        put("grant_types", metadata.grant_types.clone().into());
        put("response_types", response_types(&metadata.grant_types).into());
        // oidc-provider insists on it, even when empty.
        put("redirect_uris", metadata.redirect_uris.clone().into());
        // Without it Hydra, Keycloak and oidc-provider all grant more than anyone asked for; so also in a PUT.
        put("scope", metadata.scopes.join(" ").into());
        put("token_endpoint_auth_method", metadata.token_endpoint_auth_method.clone().into());
        if let Some(alg) = &metadata.token_endpoint_auth_signing_alg {
            put("token_endpoint_auth_signing_alg", alg.clone().into());
        }
        if let Some(jwks) = &metadata.jwks {
            put("jwks", jwks.clone());
        }
        if !metadata.contacts.is_empty() {
            put("contacts", metadata.contacts.clone().into());
        }
        if let Some(statement) = &self.software_statement {
            put("software_statement", statement.clone().into());
        }
        members
    }

    fn body(&self, metadata: &ClientMetadata) -> (&'static str, SecretString) {
        ("application/json", Value::Object(self.members(metadata)).to_string().into())
    }

    async fn put(
        &self,
        management: &Management,
        metadata: &ClientMetadata,
        client_secret: Option<&SecretString>,
    ) -> Result<Updated, CallError> {
        let url = &management.registration_client_uri;
        let mut members = self.members(metadata);
        members.insert("client_id".to_owned(), json!(management.client_id));
        if let Some(secret) = client_secret {
            members.insert("client_secret".to_owned(), secret.expose_secret().into());
        }
        let mut call = Call::new(UPDATE, Method::PUT, url).bearer(&management.registration_access_token);
        call.body = Some(("application/json", Value::Object(members).to_string().into()));
        let answer = self.http.send(call).await?;

        let secrets: Vec<_> =
            [Some(&management.registration_access_token), client_secret].into_iter().flatten().cloned().collect();
        if !answer.is_success() {
            return Err(not_done(UPDATE, url, &answer, &secrets));
        }
        // A new registration access token may be in what cannot be read: the caller must take the old one for lost.
        let lost = |what: &str| CallError::Inconclusive {
            why: format!(
                "{}, but {what}; the update may have taken effect, and the registration access token may be another",
                answered(UPDATE, url, &answer, &secrets)
            ),
            may_have_acted: true,
            retry_after: None,
        };
        let told = read(&answer).ok_or_else(|| lost(&unreadable(&answer)))?;
        if told.client_id.as_ref().is_some_and(|id| *id != management.client_id) {
            return Err(lost("about another client"));
        }
        Ok(told.into_updated(&self.http, &self.registration_endpoint, management))
    }
}

/// RFC 7591 section 2.1: response types that go with the grant types.
fn response_types(grant_types: &[String]) -> Vec<&'static str> {
    [("authorization_code", "code"), ("implicit", "token")]
        .into_iter()
        .filter(|(grant, _)| grant_types.iter().any(|g| g == grant))
        .map(|(_, response)| response)
        .collect()
}

fn read(answer: &Answer) -> Option<RegistrationAnswer> {
    match answer.json()? {
        Value::Object(members) => Some(RegistrationAnswer::read(members)),
        _ => None,
    }
}

fn unreadable(answer: &Answer) -> String {
    match &answer.body {
        Err(broken) => broken.to_string(),
        Ok(_) => "its body is no registration answer".to_owned(),
    }
}

#[cfg(test)]
mod tests;
