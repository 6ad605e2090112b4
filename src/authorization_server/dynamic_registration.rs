//! Dynamic client registration (RFC 7591) and its management (RFC 7592).
//!
//! Nothing here is ever sent again by itself: no server lets the caller choose the id, none lists, so a second POST
//! is a second client. The one exception is a PUT that was refused with 400, which is repeated once with the secret.

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::http::{self, Answer, Call, Http};
use super::outcome::{answered, no_audiences, not_done, not_registered, page};
use super::registration_answer::{Missing, RegistrationAnswer};
use super::{
    Abilities, Backend, CallError, Chosen, ClientMetadata, Deleted, Found, Listed, Management, Mark, Present,
    RegisterError, Registered, RegistrationAccess, Updated,
};

const REGISTER: &str = "register client";
const UPDATE: &str = "update client";
const READ: &str = "read client";
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
    fn abilities(&self) -> Abilities {
        Abilities {
            chooses_id: false,
            reads: true,
            // Curity replaces token and secret on every GET; nothing tells which servers do.
            reading_rotates: true,
            lists: false,
            tells_gone: false,
            sets_secret: false,
            token_lifetime: false,
            keeps_owner: false,
            restricts_audiences: false,
        }
    }

    fn chosen_id(&self, _: &Mark) -> Option<String> {
        None
    }

    async fn register(&self, metadata: &ClientMetadata, _: Option<&Chosen>) -> Result<Registered, RegisterError> {
        no_audiences(REGISTER, metadata)?;
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
        no_audiences(UPDATE, metadata)?;
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

    async fn read(&self, management: &Management, _: &str) -> Result<Found, CallError> {
        let access = access(READ, management)?;
        let url = &access.client_uri;
        let answer = self.http.send(Call::new(READ, Method::GET, url).bearer(&access.access_token)).await?;
        let secrets = [access.access_token.clone()];
        if !answer.is_success() {
            return Err(not_done(READ, url, &answer, &secrets));
        }
        let Updated { management, client_secret, granted } =
            self.told(READ, &answer, url, &secrets, &management.client_id, access)?;
        Ok(Found::There(Box::new(Present { management, client_secret, granted })))
    }

    async fn delete(&self, management: &Management, _: &str) -> Result<Deleted, CallError> {
        let access = access(DELETE, management)?;
        let url = &access.client_uri;
        let call = Call::new(DELETE, Method::DELETE, url).bearer(&access.access_token);
        let answer = self.http.send(call).await?;
        let secrets = [access.access_token.clone()];
        if !answer.is_success() {
            return Err(not_done(DELETE, url, &answer, &secrets));
        }
        // A log-in page says 200, too.
        if answer.is_page() {
            return Err(page(DELETE, url, &answer, &secrets));
        }
        Ok(Deleted { status: answer.status, was_gone: false, tokens_left: None })
    }

    async fn list(&self, _: &str) -> Result<Vec<Listed>, CallError> {
        Err(CallError::Inconclusive {
            why: "list clients: dynamic client registration has no way to list them".to_owned(),
            may_have_acted: false,
            retry_after: None,
        })
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
        put("response_types", metadata.response_types().into());
        // oidc-provider insists on it, even when empty.
        put("redirect_uris", metadata.redirect_uris.clone().into());
        // Without it Hydra, Keycloak and oidc-provider all grant more than anyone asked for; so also in a PUT.
        put("scope", metadata.scopes.join(" ").into());
        put("token_endpoint_auth_method", metadata.token_endpoint_auth_method.clone().into());
        if let Some(alg) = metadata.signing_alg() {
            put("token_endpoint_auth_signing_alg", alg.into());
        }
        if let Some(jwks) = &metadata.jwks {
            put("jwks", jwks.clone());
        }
        if !metadata.owner_email.is_empty() {
            put("contacts", json!([metadata.owner_email]));
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
        let access = access(UPDATE, management)?;
        let url = &access.client_uri;
        let mut members = self.members(metadata);
        members.insert("client_id".to_owned(), json!(management.client_id));
        if let Some(secret) = client_secret {
            members.insert("client_secret".to_owned(), secret.expose_secret().into());
        }
        let mut call = Call::new(UPDATE, Method::PUT, url).bearer(&access.access_token);
        call.body = Some(("application/json", Value::Object(members).to_string().into()));
        let answer = self.http.send(call).await?;

        let secrets: Vec<_> = [Some(&access.access_token), client_secret].into_iter().flatten().cloned().collect();
        if !answer.is_success() {
            return Err(not_done(UPDATE, url, &answer, &secrets));
        }
        self.told(UPDATE, &answer, url, &secrets, &management.client_id, access)
    }

    /// What an answer about this client tells. A new registration access token may be in one that cannot be read: the
    /// caller must take the old one for lost.
    fn told(
        &self,
        operation: &'static str,
        answer: &Answer,
        url: &str,
        secrets: &[SecretString],
        client_id: &str,
        access: &RegistrationAccess,
    ) -> Result<Updated, CallError> {
        let lost = |what: &str| CallError::Inconclusive {
            why: format!(
                "{}, but {what}; the {operation} request may have taken effect, and the registration access token may be another",
                answered(operation, url, answer, secrets)
            ),
            may_have_acted: true,
            retry_after: None,
        };
        let told = read(answer).ok_or_else(|| lost(&unreadable(answer)))?;
        if told.client_id.as_ref().is_some_and(|id| id != client_id) {
            return Err(lost("about another client"));
        }
        Ok(told.into_updated(&self.http, &self.registration_endpoint, client_id, access))
    }
}

/// Where and by what right this client is managed.
fn access<'a>(operation: &str, management: &'a Management) -> Result<&'a RegistrationAccess, CallError> {
    management.registration.as_ref().ok_or_else(|| CallError::Inconclusive {
        why: format!("{operation}: there is no registration access token for this client; it was made by another way"),
        may_have_acted: false,
        retry_after: None,
    })
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
