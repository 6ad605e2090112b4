//! Calls to one realm's admin API: paths, the operator's token, and what 404 means.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::super::CallError;
use super::super::http::{Answer, Call, Http, LARGEST_LIST};
use super::super::outcome::{answered, harmless, not_done, page, unclear};
use super::super::text;
use super::super::urls::{query_value, segment};
use super::Settings;
use super::token::Tokens;

/// The clock that assertions are dated by.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// One realm's admin API.
#[derive(Clone)]
pub(super) struct Admin {
    http: Http,
    /// `…/admin/realms/{realm}`.
    root: String,
    pub(super) realm: String,
    tokens: Arc<Tokens>,
    now: Now,
}

/// A client as the admin API represents it. It may hold its secret and is not printed.
pub(super) type Representation = Map<String, Value>;

/// What was found under a client's id.
pub(super) enum Lookup {
    /// A client; its internal id may be another than the one that this operator chooses.
    There {
        internal_id: String,
        representation: Representation,
    },
    Gone,
}

impl Admin {
    pub(super) fn new(http: Http, settings: Settings, now: Now) -> Self {
        let Settings { base_url, realm, issuer, credential } = settings;
        let base = base_url.trim_end_matches('/');
        let name = segment(&realm);
        Self {
            http,
            root: format!("{base}/admin/realms/{name}"),
            tokens: Arc::new(Tokens::new(
                format!("{base}/realms/{name}/protocol/openid-connect/token"),
                issuer,
                credential,
            )),
            realm,
            now,
        }
    }

    /// The same by another connection; the token is shared.
    pub(super) fn over(&self, http: Http) -> Self {
        Self { http, ..self.clone() }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    /// A URL of this realm's admin API.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// Where a client is, by its internal id.
    pub(super) fn client_url(&self, internal_id: &str) -> String {
        self.url(&format!("/clients/{}", segment(internal_id)))
    }

    /// Sends with the operator's token, and once more with another one where that is not taken: an expired token, a
    /// wrong one and that of a deleted client all are a bare 401, which comes before anything is done.
    pub(super) async fn send(
        &self,
        operation: &'static str,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let mut token = self.tokens.get(&self.http, self.now(), None).await?;
        for last in [false, true] {
            let mut call = Call::new(operation, method.clone(), url).bearer(&token);
            call.largest_body = LARGEST_LIST;
            call.body = body.map(|body| ("application/json", SecretString::from(body.to_string())));
            let answer = self.http.send(call).await?;
            if answer.status != 401 || last {
                return Ok(answer);
            }
            token = self.tokens.get(&self.http, self.now(), Some(&token)).await?;
        }
        Err(unclear(format!("{operation}: not sent")))
    }

    /// Sends what changes something, and takes any 2xx that is no page for people.
    pub(super) async fn change(
        &self,
        operation: &'static str,
        method: Method,
        url: &str,
        body: Option<&Value>,
        secrets: &[SecretString],
    ) -> Result<Answer, CallError> {
        let answer = self.send(operation, method, url, body).await?;
        if !answer.is_success() {
            return Err(not_done(operation, url, &answer, secrets));
        }
        if answer.is_page() {
            return Err(page(operation, url, &answer, secrets));
        }
        Ok(answer)
    }

    /// Reads JSON; `None` where the admin API says that there is no such thing.
    pub(super) async fn get(&self, operation: &'static str, url: &str) -> Result<Option<Value>, CallError> {
        let answer = self.send(operation, Method::GET, url, None).await.map_err(harmless)?;
        if answer.status == 404 {
            return if is_own_404(&answer) { Ok(None) } else { Err(elsewhere(operation, url, &answer)) };
        }
        if !answer.is_success() {
            return Err(harmless(not_done(operation, url, &answer, &[])));
        }
        let unreadable = || {
            let broken = answer.body.as_ref().err().map(ToString::to_string);
            let what = broken.unwrap_or_else(|| "its body is not what the admin API answers".to_owned());
            unclear(format!("{}, but {what}", answered(operation, url, &answer, &[])))
        };
        answer.json().filter(|value| value.is_object() || value.is_array()).map(Some).ok_or_else(unreadable)
    }

    /// Reads a list; a realm that is not there has none, which is an error.
    pub(super) async fn get_list(&self, operation: &'static str, url: &str) -> Result<Vec<Representation>, CallError> {
        let list = match self.get(operation, url).await? {
            Some(Value::Array(list)) => list.into_iter().map(|item| match item {
                Value::Object(members) => Some(members),
                _ => None,
            }),
            Some(_) => return Err(unclear(format!("{operation}: the server answered with no list"))),
            None => {
                return Err(unclear(format!(
                    "{operation}: the server has no realm {}; check the address and the realm",
                    self.realm_name()
                )));
            }
        };
        list.collect::<Option<Vec<_>>>()
            .ok_or_else(|| unclear(format!("{operation}: the server's list holds something else")))
    }

    /// The client of this id, wherever it is: under the internal id that this operator chooses, or under another one
    /// (clients that were exported and imported have new ones).
    ///
    /// Gone is what a direct question and a search both say, while the operator can see its own client: so the realm
    /// is there and the operator's role lets it see clients.
    pub(super) async fn find(&self, client_id: &str, internal_id: &str) -> Result<Lookup, CallError> {
        const READ: &str = "read client";
        if client_id.is_empty() {
            return Err(unclear(format!("{READ}: without its id, any client of the realm would be meant")));
        }
        if let Some(Value::Object(representation)) = self.get(READ, &self.client_url(internal_id)).await? {
            return Ok(Lookup::There { internal_id: internal_id.to_owned(), representation });
        }
        if let Some(representation) = self.search(client_id).await? {
            let internal_id = representation.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
            let internal_id =
                internal_id.ok_or_else(|| unclear(format!("{READ}: the server found it without its id")))?.to_owned();
            return Ok(Lookup::There { internal_id, representation });
        }
        self.sees_clients().await?;
        Ok(Lookup::Gone)
    }

    /// Whether the operator's role shows it clients: a role too small gets empty lists, not errors.
    pub(super) async fn sees_clients(&self) -> Result<(), CallError> {
        let own = self.tokens.client_id();
        if self.search(own).await?.is_some() {
            return Ok(());
        }
        Err(unclear(format!(
            "the operator cannot see its own client in the realm {}, so clients that it does not see may be there; \
             give its service account the role manage-clients of realm-management",
            self.realm_name()
        )))
    }

    async fn search(&self, client_id: &str) -> Result<Option<Representation>, CallError> {
        let url = self.url(&format!("/clients?clientId={}", query_value(client_id)));
        let found = self.get_list("find client", &url).await?;
        let is_it = |r: &Representation| r.get("clientId").and_then(Value::as_str) == Some(client_id);
        Ok(found.into_iter().find(is_it))
    }

    /// The realm's name, fit for messages.
    pub(super) fn realm_name(&self) -> String {
        text::clean(&self.realm, &[]).unwrap_or_default()
    }
}

/// Whether a 404 is the admin API's own about a client: a proxy, a wrong path, a realm that is not there and another
/// server at this address all answer otherwise.
fn is_own_404(answer: &Answer) -> bool {
    let said = answer.json();
    answer.is_json() && said.is_some_and(|said| said["error"].as_str().is_some_and(|e| e.starts_with("Could not find")))
}

fn elsewhere(operation: &'static str, url: &str, answer: &Answer) -> CallError {
    unclear(format!(
        "{}, which is not how the admin API says that a client is not there; check the address and the realm",
        answered(operation, url, answer, &[])
    ))
}
