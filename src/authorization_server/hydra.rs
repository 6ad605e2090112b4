//! Ory Hydra by its admin API.
//!
//! The caller chooses id and secret. `owner` carries the installation and `metadata` the entry; every PUT sends both,
//! since a PUT wipes what it leaves out. No PATCH: Hydra answers a failed test with 500, and lets `/client_id` be
//! patched to another client's.

mod mapping;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use self::mapping::{Client, Representation, check, owner, wanted};
use super::http::{Answer, Call, Http, LARGEST_LIST};
use super::outcome::{answered, half_done, harmless, not_done, not_registered, page, unclear};
use super::urls::{query_value, segment};
use super::{
    Abilities, Backend, CallError, Chosen, ClientMetadata, Deleted, Found, Listed, Management, Mark, Present,
    RegisterError, Registered, Updated, basic,
};

const REGISTER: &str = "register client";
const UPDATE: &str = "update client";
const READ: &str = "read client";
const DELETE: &str = "delete client";
const DELETE_TOKENS: &str = "delete the client's tokens";
const LIST: &str = "list clients";

/// Clients asked for at once.
const PAGE: usize = 100;

/// More pages than any server has.
const MOST_PAGES: usize = 10_000;

/// By what right the admin API is called. Hydra itself asks for none; what stands before it may. Holds secrets;
/// printing it shows none.
#[derive(Debug, Clone, Default)]
pub enum AdminCredential {
    /// None.
    #[default]
    None,
    /// A bearer token.
    Bearer(SecretString),
    /// HTTP Basic (RFC 7617).
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: SecretString,
    },
}

/// Keeps clients at one Hydra.
#[derive(Clone)]
pub struct Hydra {
    http: Http,
    /// `…/admin`.
    root: String,
    credential: AdminCredential,
}

impl Hydra {
    /// Keeps clients at the Hydra whose admin API is at this address, such as `https://hydra-admin.corp.example`.
    pub fn new(http: Http, base_url: &str, credential: AdminCredential) -> Self {
        Self { http, root: format!("{}/admin", base_url.trim_end_matches('/')), credential }
    }

    fn client_url(&self, client_id: &str) -> String {
        format!("{}/clients/{}", self.root, segment(client_id))
    }

    async fn send(
        &self,
        operation: &'static str,
        method: Method,
        url: &str,
        body: Option<Representation>,
    ) -> Result<Answer, CallError> {
        let mut call = Call::new(operation, method, url);
        call.authorization = match &self.credential {
            AdminCredential::None => None,
            AdminCredential::Bearer(token) => Some(format!("Bearer {}", token.expose_secret()).into()),
            AdminCredential::Basic { username, password } => Some(basic::of_user(username, password)),
        };
        call.largest_body = LARGEST_LIST;
        call.body = body.map(|body| ("application/json", Value::Object(body).to_string().into()));
        Ok(self.http.send(call).await?)
    }

    /// What the server may quote and nobody may read.
    fn secrets(&self, client_secret: Option<&SecretString>) -> Vec<SecretString> {
        let own = match &self.credential {
            AdminCredential::None => None,
            AdminCredential::Bearer(secret) | AdminCredential::Basic { password: secret, .. } => Some(secret),
        };
        own.into_iter().chain(client_secret).cloned().collect()
    }

    /// The client of this id. `None` only when Hydra itself says so, and goes on answering as Hydra's admin API does.
    async fn find(&self, client_id: &str) -> Result<Option<Representation>, CallError> {
        if client_id.is_empty() {
            return Err(unclear(format!("{READ}: without an id, all clients would be meant")));
        }
        let url = self.client_url(client_id);
        let answer = self.send(READ, Method::GET, &url, None).await.map_err(harmless)?;
        if answer.status == 404 {
            return if is_own_404(&answer) {
                self.still_answers().await.map(|()| None)
            } else {
                Err(elsewhere(&url, &answer))
            };
        }
        if !answer.is_success() {
            return Err(harmless(not_done(READ, &url, &answer, &self.secrets(None))));
        }
        match answer.json() {
            Some(Value::Object(client)) if Client(&client).id() == Some(client_id) => Ok(Some(client)),
            _ => Err(unclear(format!("{}, but with no such client", answered(READ, &url, &answer, &[])))),
        }
    }

    /// Whether an admin API of Hydra is at this address: its public port, another server and a proxy say 404 as well.
    async fn still_answers(&self) -> Result<(), CallError> {
        let url = format!("{}/clients?page_size=1", self.root);
        let answer = self.send(LIST, Method::GET, &url, None).await.map_err(harmless)?;
        if answer.status == 200 && answer.json().is_some_and(|list| list.is_array()) {
            return Ok(());
        }
        Err(elsewhere(&url, &answer))
    }

    /// A client of this installation.
    async fn ours(&self, client_id: &str, installation: &str) -> Result<Option<Representation>, CallError> {
        match self.find(client_id).await? {
            Some(client) if !Client(&client).is_of(installation) => {
                Err(CallError::Foreign { why: foreign(client_id, &Client(&client)) })
            }
            found => Ok(found),
        }
    }

    /// Replaces a client and reads it back: the answer to a PUT is not what is stored.
    async fn replace(
        &self,
        client_id: &str,
        metadata: &ClientMetadata,
        secret: Option<&SecretString>,
    ) -> Result<Representation, CallError> {
        let url = self.client_url(client_id);
        let secrets = self.secrets(secret);
        let body = wanted(client_id, metadata, secret.map(ExposeSecret::expose_secret));
        let answer = self.send(UPDATE, Method::PUT, &url, Some(body)).await?;
        if !answer.is_success() {
            return Err(not_done(UPDATE, &url, &answer, &secrets));
        }
        if answer.is_page() {
            return Err(page(UPDATE, &url, &answer, &secrets));
        }
        self.read_back(client_id).await
    }

    async fn read_back(&self, client_id: &str) -> Result<Representation, CallError> {
        let found = self.find(client_id).await.map_err(half_done)?;
        found.ok_or_else(|| half_done(unclear(format!("{READ}: the server does not find what it just took"))))
    }
}

#[async_trait]
impl Backend for Hydra {
    fn abilities(&self) -> Abilities {
        Abilities {
            chooses_id: true,
            reads: true,
            reading_rotates: false,
            lists: true,
            tells_gone: true,
            sets_secret: true,
            token_lifetime: true,
            keeps_owner: true,
            restricts_audiences: true,
        }
    }

    fn chosen_id(&self, mark: &Mark) -> Option<String> {
        Some(mark.client_id())
    }

    async fn register(&self, metadata: &ClientMetadata, chosen: Option<&Chosen>) -> Result<Registered, RegisterError> {
        let Some(Chosen { client_id, client_secret }) = chosen else {
            return Err(RegisterError::NoEffect {
                why: format!("{REGISTER}: no client id was chosen"),
                retry_after: None,
            });
        };
        check(REGISTER, metadata)?;
        let secret = client_secret.as_ref();
        let url = format!("{}/clients", self.root);
        let body = wanted(client_id, metadata, secret.map(ExposeSecret::expose_secret));
        let answer = self.send(REGISTER, Method::POST, &url, Some(body)).await.map_err(|error| match error {
            CallError::Inconclusive { why, may_have_acted: true, .. } => RegisterError::OutcomeUnknown { why },
            other => RegisterError::before(other),
        })?;
        let (now, status) = match answer.status {
            409 => (self.take_over(client_id, metadata, secret).await?, 200),
            _ if answer.is_success() && answer.is_page() => {
                return Err(RegisterError::after(page(REGISTER, &url, &answer, &self.secrets(secret))));
            }
            _ if answer.is_success() => (self.read_back(client_id).await.map_err(RegisterError::after)?, answer.status),
            _ => return Err(not_registered(REGISTER, &url, &answer, &self.secrets(secret))),
        };
        Ok(Registered {
            management: Management { client_id: client_id.clone(), registration: None },
            client_secret: client_secret.clone(),
            // Hydra has no such thing: it answers 0, whatever was asked.
            client_secret_expires_at: None,
            granted: Client(&now).granted(),
            status,
        })
    }

    async fn update(
        &self,
        management: &Management,
        metadata: &ClientMetadata,
        client_secret: Option<&SecretString>,
    ) -> Result<Updated, CallError> {
        check(UPDATE, metadata)?;
        let id = &management.client_id;
        if self.ours(id, &metadata.mark.installation).await?.is_none() {
            return Err(super::outcome::missing(UPDATE, id));
        }
        let now = self.replace(id, metadata, client_secret).await?;
        Ok(Updated { management: management.clone(), client_secret: None, granted: Client(&now).granted() })
    }

    async fn read(&self, management: &Management, installation: &str) -> Result<Found, CallError> {
        let found = match self.ours(&management.client_id, installation).await {
            Err(CallError::Foreign { why }) => return Ok(Found::Foreign { why }),
            found => found?,
        };
        Ok(found.map_or(Found::Gone, |client| {
            Found::There(Box::new(Present {
                management: management.clone(),
                // Hydra keeps a hash of it.
                client_secret: None,
                granted: Client(&client).granted(),
            }))
        }))
    }

    async fn delete(&self, management: &Management, installation: &str) -> Result<Deleted, CallError> {
        let id = &management.client_id;
        let mut deleted = Deleted { status: 404, was_gone: true, tokens_left: None };
        if self.ours(id, installation).await?.is_some() {
            let url = self.client_url(id);
            let answer = self.send(DELETE, Method::DELETE, &url, None).await?;
            match answer.status {
                // Somebody was quicker, or a proxy says it.
                404 if self.find(id).await?.is_none() => {}
                _ if answer.is_page() => return Err(page(DELETE, &url, &answer, &self.secrets(None))),
                _ if !answer.is_success() => return Err(not_done(DELETE, &url, &answer, &self.secrets(None))),
                status => deleted = Deleted { status, was_gone: false, tokens_left: None },
            }
        }
        // Its tokens go with it; this is for those that a race put back, and for versions that keep them.
        let url = format!("{}/oauth2/tokens?client_id={}", self.root, query_value(id));
        let answer = self.send(DELETE_TOKENS, Method::DELETE, &url, None).await?;
        if !answer.is_success() {
            match not_done(DELETE_TOKENS, &url, &answer, &self.secrets(None)) {
                CallError::Refused(refusal) => deleted.tokens_left = Some(refusal),
                error => return Err(error),
            }
        }
        Ok(deleted)
    }

    async fn list(&self, installation: &str) -> Result<Vec<Listed>, CallError> {
        if installation.is_empty() {
            return Err(unclear(format!("{LIST}: without an installation's id, everybody's clients would be meant")));
        }
        let filter = format!("owner={}&page_size={PAGE}", query_value(&owner(installation)));
        let (mut all, mut tokens, mut token) = (BTreeMap::new(), BTreeSet::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let from = token.as_deref().map(|t| format!("&page_token={}", query_value(t))).unwrap_or_default();
            let url = format!("{}/clients?{filter}{from}", self.root);
            let answer = self.send(LIST, Method::GET, &url, None).await.map_err(harmless)?;
            if !answer.is_success() {
                return Err(harmless(not_done(LIST, &url, &answer, &self.secrets(None))));
            }
            for client in clients(&answer).ok_or_else(|| {
                unclear(format!("{}, but with no list of clients", answered(LIST, &url, &answer, &[])))
            })? {
                let client = Client(&client);
                // A filter that is not known is ignored: what is listed need not be ours.
                if let (Some(id), true) = (client.id(), client.is_of(installation)) {
                    let entry = client.entry().map(str::to_owned);
                    let listed = Listed {
                        client_id: id.to_owned(),
                        entry,
                        created_at: client.created_at(),
                        granted: client.granted(),
                    };
                    all.insert(id.to_owned(), listed);
                }
            }
            let Some(next) = &answer.next else { return Ok(all.into_values().collect()) };
            // Only the token is taken from it. Its path is relative to another address where a proxy stands before.
            let next = page_token(next)
                .filter(|t| tokens.insert(t.clone()))
                .ok_or_else(|| unclear(format!("{LIST}: the server's link to the next page leads nowhere new")))?;
            token = Some(next);
        }
        Err(unclear(format!("{LIST}: there is no end to them")))
    }
}

impl Hydra {
    /// There is a client of this id: ours, from an earlier attempt whose answer was lost, or another's.
    async fn take_over(
        &self,
        client_id: &str,
        metadata: &ClientMetadata,
        secret: Option<&SecretString>,
    ) -> Result<Representation, RegisterError> {
        let Some(found) = self.find(client_id).await.map_err(RegisterError::before)? else {
            return Err(RegisterError::NoEffect {
                why: format!("{REGISTER}: the server says that {client_id} exists, and then that it does not"),
                retry_after: None,
            });
        };
        let client = Client(&found);
        if !client.is_of(&metadata.mark.installation) || client.entry() != Some(&metadata.mark.entry) {
            return Err(RegisterError::Foreign { why: foreign(client_id, &client) });
        }
        self.replace(client_id, metadata, secret).await.map_err(|error| match error {
            CallError::Refused(refusal) => RegisterError::Refused(refusal),
            other => RegisterError::after(other),
        })
    }
}

fn foreign(client_id: &str, client: &Client<'_>) -> String {
    format!(
        "the client {client_id} is not ours: it has {}. It was not touched; find out whose it is",
        client.mark_in_words()
    )
}

/// Whether a 404 is Hydra's own about a client: JSON with a sentence. Its public port answers with an object, and its
/// router and most proxies with text.
fn is_own_404(answer: &Answer) -> bool {
    answer.is_json() && answer.json().is_some_and(|said| said["error"].is_string())
}

fn elsewhere(url: &str, answer: &Answer) -> CallError {
    unclear(format!(
        "{}, which is not how Hydra's admin API answers; check its address",
        answered(READ, url, answer, &[])
    ))
}

fn clients(answer: &Answer) -> Option<Vec<Representation>> {
    let Value::Array(list) = answer.json()? else { return None };
    list.into_iter().map(|item| if let Value::Object(client) = item { Some(client) } else { None }).collect()
}

/// The page token in a link.
fn page_token(link: &str) -> Option<String> {
    let (_, query) = link.split_once('?')?;
    let token = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "page_token")?.1.into_owned();
    Some(token).filter(|token| !token.is_empty() && token.len() <= 4096)
}

#[cfg(test)]
mod tests;
