//! Keycloak by its Admin REST API: one realm's clients.
//!
//! The caller chooses everything that a repeated request could make twice: the `clientId`, the internal id that all
//! paths need, and the secret. What Keycloak's answers mean is recorded in `keycloak/fixtures`: a PUT merges and
//! ignores scope lists, unknown scopes vanish from a POST, and a 404 has many reasons.

mod admin;
mod mapping;
mod scopes;
mod token;

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

pub use self::admin::Now;
use self::admin::{Admin, Lookup, Representation};
use self::mapping::Client;
use self::scopes::Scopes;
pub use self::token::AdminCredential;
use super::http::Http;
use super::mark::{client_id_prefix, uuid};
use super::outcome::{half_done, missing, not_done, not_registered, page, unclear};
use super::urls::{query_value, segment};
use super::{
    Abilities, Backend, CallError, Chosen, ClientMetadata, Deleted, Found, Listed, Management, Mark, Present, Refusal,
    RegisterError, Registered, Updated,
};

const REGISTER: &str = "register client";
const UPDATE: &str = "update client";
const DELETE: &str = "delete client";
const LIST: &str = "list clients";

/// Clients asked for at once.
const PAGE: usize = 100;

/// More pages than any realm has.
const MOST_PAGES: usize = 10_000;

/// Which realm, and by what right.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where Keycloak's paths begin, such as `https://sso.corp.example`.
    pub base_url: String,
    /// The realm's name.
    pub realm: String,
    /// The realm's issuer, which assertions are for.
    pub issuer: String,
    /// The operator's own client in this realm: a service account with the role `manage-clients` of
    /// `realm-management`.
    pub credential: AdminCredential,
}

/// Keeps clients in one realm. Clones share the operator's access token.
#[derive(Clone)]
pub struct Keycloak {
    admin: Admin,
    scopes: Arc<Scopes>,
}

#[async_trait]
impl Backend for Keycloak {
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
            restricts_audiences: false,
        }
    }

    fn chosen_id(&self, mark: &Mark) -> Option<String> {
        Some(mark.client_id())
    }

    async fn register(&self, metadata: &ClientMetadata, chosen: Option<&Chosen>) -> Result<Registered, RegisterError> {
        let Some(chosen) = chosen else {
            return Err(RegisterError::NoEffect {
                why: format!("{REGISTER}: no client id was chosen"),
                retry_after: None,
            });
        };
        mapping::check(REGISTER, metadata)?;
        let names = mapping::scopes(metadata);
        self.scopes.resolve(&self.admin, REGISTER, &names).await.map_err(RegisterError::before)?;
        match self.create(metadata, chosen, &names).await? {
            Created::Yes => {
                let now =
                    self.settle(&self.internal_id(&chosen.client_id), metadata).await.map_err(RegisterError::after)?;
                Ok(registered(metadata, chosen, &now, 201))
            }
            Created::Taken => self.take_over(metadata, chosen).await,
        }
    }

    async fn update(
        &self,
        management: &Management,
        metadata: &ClientMetadata,
        client_secret: Option<&SecretString>,
    ) -> Result<Updated, CallError> {
        mapping::check(UPDATE, metadata)?;
        self.scopes.resolve(&self.admin, UPDATE, &mapping::scopes(metadata)).await?;
        let (internal_id, representation) = self.ours(UPDATE, management, &metadata.mark.installation).await?;
        let now = self.bring(&internal_id, &representation, management, metadata, client_secret).await?;
        Ok(Updated { management: management.clone(), client_secret: None, granted: Client(&now).granted() })
    }

    async fn read(&self, management: &Management, installation: &str) -> Result<Found, CallError> {
        let id = &management.client_id;
        match self.admin.find(id, &self.internal_id(id)).await? {
            Lookup::Gone => Ok(Found::Gone),
            Lookup::There { representation, .. } => {
                let client = Client(&representation);
                if client.installation() != Some(installation) {
                    return Ok(Found::Foreign { why: self.foreign(id, &client) });
                }
                let mut granted = client.granted();
                if client.id() != Some(id) {
                    granted.enabled = Some(false);
                    granted.extras.push("another clientId".to_owned());
                }
                Ok(Found::There(Box::new(Present {
                    management: management.clone(),
                    client_secret: client.secret().map(Into::into),
                    granted,
                })))
            }
        }
    }

    async fn delete(&self, management: &Management, installation: &str) -> Result<Deleted, CallError> {
        let gone = Deleted { status: 404, was_gone: true, tokens_left: None };
        let admin = &self.admin;
        let (internal_id, _) = match self.ours(DELETE, management, installation).await {
            Err(CallError::Refused(Refusal { status: 404, .. })) => return Ok(gone),
            found => found?,
        };
        match admin.change(DELETE, Method::DELETE, &admin.client_url(&internal_id), None, &[]).await {
            Ok(answer) => Ok(Deleted { status: answer.status, was_gone: false, tokens_left: None }),
            // Somebody was quicker, or a proxy says it.
            Err(CallError::Refused(Refusal { status: 404, .. })) => {
                match admin.find(&management.client_id, &internal_id).await? {
                    Lookup::Gone => Ok(gone),
                    Lookup::There { .. } => Err(unclear(format!(
                        "{DELETE}: the server answered 404, and the client is still there; check what stands before it"
                    ))),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn list(&self, installation: &str) -> Result<Vec<Listed>, CallError> {
        if installation.is_empty() {
            return Err(unclear(format!(
                "{LIST}: without an installation's id, all clients of the realm would be meant"
            )));
        }
        let admin = &self.admin;
        let prefix = client_id_prefix(installation);
        let mut all: std::collections::BTreeMap<String, Listed> = std::collections::BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for page in 0..MOST_PAGES {
            let (filter, first) = (query_value(&prefix), page * PAGE);
            let url = admin.url(&format!("/clients?clientId={filter}&search=true&first={first}&max={PAGE}"));
            let clients = admin.get_list(LIST, &url).await?;
            // A page that is not full is not the last one for certain: clients that the role may not see are left out
            // after paging.
            if clients.is_empty() {
                if seen.is_empty() {
                    // Nothing, or nothing that the operator may see.
                    admin.sees_clients().await?;
                }
                return Ok(all.into_values().collect());
            }
            let mut new = false;
            for client in clients.iter().map(Client) {
                let Some(id) = client.id() else {
                    return Err(unclear(format!("{LIST}: the server told of a client without clientId")));
                };
                new |= seen.insert(id.to_owned());
                if client.installation() == Some(installation) {
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
            if !new {
                return Err(unclear(format!("{LIST}: the server answers every page with the same clients")));
            }
        }
        Err(unclear(format!("{LIST}: there is no end to them")))
    }
}

enum Created {
    Yes,
    /// There is a client of this id already.
    Taken,
}

impl Keycloak {
    /// Keeps clients in a realm. Nothing is sent before there is something to do.
    pub fn new(http: Http, settings: Settings, now: Now) -> Self {
        Self { admin: Admin::new(http, settings, now), scopes: Arc::default() }
    }

    /// The same realm by another connection, with what is known of it shared.
    #[must_use]
    pub fn over(&self, http: Http) -> Self {
        Self { admin: self.admin.over(http), scopes: self.scopes.clone() }
    }

    /// The internal id that a client has which this operator made. Keycloak's are unique across realms.
    fn internal_id(&self, client_id: &str) -> String {
        uuid(&[&self.admin.realm, client_id])
    }

    async fn create(
        &self,
        metadata: &ClientMetadata,
        chosen: &Chosen,
        scopes: &[&str],
    ) -> Result<Created, RegisterError> {
        let admin = &self.admin;
        let secret = chosen.client_secret.as_ref();
        let mut client = mapping::wanted(&chosen.client_id, metadata, secret.map(ExposeSecret::expose_secret));
        let now = admin.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        mapping::only_new(&mut client, &self.internal_id(&chosen.client_id), scopes, &now);
        let url = admin.url("/clients");
        let answer =
            admin.send(REGISTER, Method::POST, &url, Some(&Value::Object(client))).await.map_err(|e| match e {
                CallError::Inconclusive { why, may_have_acted: true, .. } => RegisterError::OutcomeUnknown { why },
                other => RegisterError::before(other),
            })?;
        let secrets: Vec<_> = secret.into_iter().cloned().collect();
        match answer.status {
            409 => Ok(Created::Taken),
            _ if answer.is_success() && answer.is_page() => {
                Err(RegisterError::after(page(REGISTER, &url, &answer, &secrets)))
            }
            _ if answer.is_success() => Ok(Created::Yes),
            _ => Err(not_registered(REGISTER, &url, &answer, &secrets)),
        }
    }

    /// There is a client of this id: ours, from an earlier attempt whose answer was lost, or another's.
    async fn take_over(&self, metadata: &ClientMetadata, chosen: &Chosen) -> Result<Registered, RegisterError> {
        let id = &chosen.client_id;
        let (internal_id, representation) =
            match self.admin.find(id, &self.internal_id(id)).await.map_err(RegisterError::before)? {
                Lookup::There { internal_id, representation } => (internal_id, representation),
                Lookup::Gone => {
                    return Err(RegisterError::NoEffect {
                        why: format!(
                            "{REGISTER}: the server says that {id} exists, and then that it does not; another realm \
                             may have a client with its internal id {}",
                            self.internal_id(id)
                        ),
                        retry_after: None,
                    });
                }
            };
        let client = Client(&representation);
        if !client.carries(&metadata.mark) {
            return Err(RegisterError::Foreign { why: self.foreign(id, &client) });
        }
        let management = Management { client_id: id.clone(), registration: None };
        let secret = chosen.client_secret.as_ref();
        let now = self.bring(&internal_id, &representation, &management, metadata, secret).await;
        let now = now.map_err(|error| match error {
            // The client is there and ours, and what it is asked to be was refused.
            CallError::Refused(refusal) => RegisterError::Refused(refusal),
            other => RegisterError::after(other),
        })?;
        Ok(registered(metadata, chosen, &now, 200))
    }

    /// The client that this operator manages, by its internal id.
    ///
    /// # Errors
    ///
    /// [`CallError::Foreign`], and a 404 for one that is gone.
    async fn ours(
        &self,
        operation: &'static str,
        management: &Management,
        installation: &str,
    ) -> Result<(String, Representation), CallError> {
        let id = &management.client_id;
        match self.admin.find(id, &self.internal_id(id)).await? {
            Lookup::Gone => Err(missing(operation, id)),
            Lookup::There { internal_id, representation } => {
                let client = Client(&representation);
                if client.installation() == Some(installation) {
                    return Ok((internal_id, representation));
                }
                Err(CallError::Foreign { why: self.foreign(id, &client) })
            }
        }
    }

    fn foreign(&self, client_id: &str, client: &Client<'_>) -> String {
        format!(
            "the client {client_id} in the realm {} is not ours: it carries {}. It was not touched; find out whose it is",
            self.admin.realm_name(),
            client.mark_in_words()
        )
    }

    /// Brings a client to exactly what is asked, but for being switched off; returns what it is then.
    async fn bring(
        &self,
        internal_id: &str,
        before: &Representation,
        management: &Management,
        metadata: &ClientMetadata,
        secret: Option<&SecretString>,
    ) -> Result<Representation, CallError> {
        let admin = &self.admin;
        let mut client = mapping::wanted(&management.client_id, metadata, secret.map(ExposeSecret::expose_secret));
        if Client(before).is_switched_off() {
            // An administrator's brake: not even a change that was asked for releases it.
            client.insert("enabled".to_owned(), false.into());
        }
        let flows = Client(before).unasked_flows();
        if !flows.is_empty() {
            let none: serde_json::Map<_, _> = flows.into_iter().map(|flow| (flow, json!(""))).collect();
            client.insert("authenticationFlowBindingOverrides".to_owned(), none.into());
        }
        let secrets: Vec<_> = secret.into_iter().cloned().collect();
        let url = admin.client_url(internal_id);
        admin.change(UPDATE, Method::PUT, &url, Some(&Value::Object(client)), &secrets).await?;
        // From here on something has changed, whatever comes.
        self.settle(internal_id, metadata).await.map_err(half_done)
    }

    /// Sees to what neither POST nor PUT sets: scopes and mappers. Returns what the client is then.
    async fn settle(&self, internal_id: &str, metadata: &ClientMetadata) -> Result<Representation, CallError> {
        let admin = &self.admin;
        let url = admin.client_url(internal_id);
        let now = self.look(&url).await?;
        let (asked, client) = (mapping::scopes(metadata), Client(&now));
        let defaults = client.unasked_default_scopes();
        let optional = client.optional_scopes();
        let too_many: Vec<_> = optional.iter().filter(|scope| !asked.contains(&scope.as_str())).collect();
        let missing = lacking(&asked, &optional);
        let mappers = client.unasked_mappers();
        if defaults.is_empty() && too_many.is_empty() && missing.is_empty() && mappers.is_empty() {
            return Ok(now);
        }
        // What is assigned may be younger than what is known of the realm.
        let known = self.scopes.known(admin, true).await?;
        let removed = defaults.iter().map(|scope| ("default", scope)).chain(too_many.iter().map(|s| ("optional", *s)));
        for (kind, scope) in removed {
            if let Some(id) = known.get(scope) {
                self.part(Method::DELETE, &format!("{url}/{kind}-client-scopes/{}", segment(id))).await?;
            }
        }
        for scope in missing {
            if let Some(id) = known.get(scope) {
                self.part(Method::PUT, &format!("{url}/optional-client-scopes/{}", segment(id))).await?;
            }
        }
        for (id, _) in mappers {
            self.part(Method::DELETE, &format!("{url}/protocol-mappers/models/{}", segment(&id))).await?;
        }
        let now = self.look(&url).await?;
        match lacking(&asked, &Client(&now).optional_scopes()).first() {
            None => Ok(now),
            Some(missing) => {
                Err(unclear(format!("{UPDATE}: the server took the scope {missing}, and does not show it")))
            }
        }
    }

    async fn look(&self, url: &str) -> Result<Representation, CallError> {
        match self.admin.get("read client", url).await? {
            Some(Value::Object(representation)) => Ok(representation),
            _ => Err(unclear("read client: the server does not find it any more".to_owned())),
        }
    }

    /// Adds or removes a part of a client; one that is not there any more is as good as removed.
    async fn part(&self, method: Method, url: &str) -> Result<(), CallError> {
        let answer = self.admin.send(UPDATE, method, url, None).await?;
        if answer.is_success() || answer.status == 404 { Ok(()) } else { Err(not_done(UPDATE, url, &answer, &[])) }
    }
}

/// What of the scopes that are asked for is not assigned.
fn lacking<'a>(asked: &[&'a str], assigned: &[String]) -> Vec<&'a str> {
    asked.iter().copied().filter(|scope| !assigned.iter().any(|a| a == scope)).collect()
}

fn registered(metadata: &ClientMetadata, chosen: &Chosen, now: &Representation, status: u16) -> Registered {
    let client = Client(now);
    let by_secret = metadata.token_endpoint_auth_method.starts_with("client_secret");
    Registered {
        management: Management { client_id: chosen.client_id.clone(), registration: None },
        // Keycloak makes one for other methods as well; it is of no use.
        client_secret: chosen.client_secret.clone().or_else(|| client.secret().map(Into::into)).filter(|_| by_secret),
        client_secret_expires_at: client.secret_expires_at(),
        granted: client.granted(),
        status,
    }
}

#[cfg(test)]
mod tests;
