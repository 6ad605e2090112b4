//! A server under test: how it is managed, used, proven about, and meddled with.

use std::sync::Arc;
use std::time::Duration;

use oauthclient_operator::api::ProbeRecord;
use oauthclient_operator::authorization_server::discovery::ServerMetadata;
use oauthclient_operator::authorization_server::http::{Http, HttpConfig, RequestObserver};
use oauthclient_operator::authorization_server::keys::{ClientKey, SigningAlg};
use oauthclient_operator::authorization_server::probe::{Audience, Credential, ProbeEndpoints, ProbeMethod, probe};
use oauthclient_operator::authorization_server::{
    Abilities, Backend, CallError, Chosen, ClientMetadata, Deleted, Found, Management, Mark, Present, RegisterError,
    Registered, Updated,
};
use oauthclient_operator::domain::evidence::{self, Verdict};
use oauthclient_operator::permit::Permit;
use secrecy::SecretString;
use serde_json::Value;

use super::support::now;
use super::support::proxy::Proxy;
use super::wire::{Refused, Token, Wire};

/// The scope that clients ask for.
pub const READ: &str = "reports.read";

/// The scope that a change asks for, and that meddlers give.
pub const WRITE: &str = "reports.write";

/// Whoever runs the server, and sees and does what the operator may not.
pub trait Administrator: Send + Sync {
    /// The client of this id as the server has it.
    fn client(&self, id: &str) -> Option<Value>;

    /// Ids of the clients of this name.
    fn named(&self, name: &str) -> Vec<String>;

    /// Gives a client the scope [`WRITE`] behind the operator's back; the means to manage it then.
    fn widen(&self, management: &Management) -> Management;

    /// Makes a client of this id that nobody marked, where ids can be chosen.
    fn plant(&self, id: &str);

    /// Deletes a client, where an administrator can.
    fn remove(&self, id: &str);

    /// Whom a token is for, where that can be restricted.
    fn audiences(&self, token: &Token) -> Vec<String> {
        panic!("nobody asks for audiences here: {token:?}")
    }

    /// Whether a token is good, as whoever may ask sees it.
    fn is_live(&self, token: &Token) -> bool;
}

/// A server under test.
pub struct Server<'a> {
    /// How `docs/authorization-servers.md` calls it.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// How it is managed.
    pub backend: Arc<dyn Backend>,
    /// How it is managed by way of the proxy, where that is another way.
    pub lossy: Arc<dyn Backend>,
    /// The proxy.
    pub proxy: &'a Proxy,
    /// Addresses that begin like the first lead past the proxy; with the second instead, through it.
    pub detour: Option<(String, String)>,
    /// Where it is used.
    pub endpoints: ProbeEndpoints,
    /// A backend that lacks what registering takes; `None` where it takes nothing.
    pub without_credential: Option<Arc<dyn Backend>>,
    /// Who runs it.
    pub administrator: &'a dyn Administrator,
    /// For probes.
    pub http: Http,
    /// For users.
    pub wire: &'a Wire,
    /// The CA of the bed.
    pub ca: String,
    /// How many requests it bears at once.
    pub at_once: usize,
    /// Installation that all clients are marked with.
    pub installation: String,
}

/// A client that lives at a server.
pub struct Client {
    /// What was asked.
    pub asked: ClientMetadata,
    /// How it is managed now.
    pub management: Management,
    /// What it authenticates with.
    pub credential: Credential,
    /// The answer to its registration.
    pub registered: Registered,
}

struct Quiet;

impl RequestObserver for Quiet {
    fn observe(&self, _: &'static str, _: &str, _: Duration) {}
}

/// How the operator would reach it, but that nothing is ever too slow or too much.
pub fn connection(ca: &str) -> Http {
    let mut config = HttpConfig { ca_bundle: Some(ca.to_owned()), allow_plain_http: true, ..HttpConfig::default() };
    config.limits.request_timeout = super::support::PATIENCE;
    config.limits.requests_per_second = 1000;
    config.limits.burst = 1000;
    config.limits.max_in_flight = 100;
    Http::new(&config, Arc::new(Quiet), Permit::unlimited()).expect("a connection")
}

/// Where a server is used.
pub fn endpoints(known: &ServerMetadata) -> ProbeEndpoints {
    ProbeEndpoints {
        token_endpoint: known.token_endpoint.clone(),
        revocation_endpoint: known.revocation_endpoint.clone(),
        introspection_endpoint: known.introspection_endpoint.clone(),
        issuer: known.issuer.clone(),
    }
}

/// A text that nobody else has.
pub fn random() -> String {
    format!("{:016x}", rand::random::<u64>())
}

impl Server<'_> {
    /// What the backend declares.
    pub fn abilities(&self) -> Abilities {
        self.backend.abilities()
    }

    /// A client to ask for: by secret, and for one scope.
    pub fn wanted(&self) -> ClientMetadata {
        let mark = Mark { installation: self.installation.clone(), entry: format!("oac-{}", random()) };
        ClientMetadata {
            client_name: format!("oauthclient-operator/{}/{}", mark.installation, mark.entry),
            mark,
            scopes: vec![READ.into()],
            grant_types: vec!["client_credentials".into()],
            redirect_uris: vec![],
            audiences: vec![],
            token_endpoint_auth_method: "client_secret_basic".into(),
            token_endpoint_auth_signing_alg: None,
            jwks: None,
            owner_team: "data".into(),
            owner_email: "data@corp.example".into(),
            purpose: "Reports \u{2713} for \"the partner\"".into(),
            object: "team-data/reports".into(),
            access_token_lifetime: None,
        }
    }

    /// The same by a key.
    pub fn wanted_by_key(&self, key: &ClientKey) -> ClientMetadata {
        ClientMetadata {
            token_endpoint_auth_method: "private_key_jwt".into(),
            token_endpoint_auth_signing_alg: Some(key.alg.as_str().into()),
            jwks: Some(key.public_jwks()),
            ..self.wanted()
        }
    }

    /// What the caller chooses for it, where the caller does.
    pub fn choose(&self, asked: &ClientMetadata) -> Option<Chosen> {
        let client_id = self.backend.chosen_id(&asked.mark)?;
        let by_secret = asked.token_endpoint_auth_method.starts_with("client_secret");
        // With characters that a sloppy encoding changes.
        let client_secret = by_secret.then(|| format!("s-{}+%", random()).into());
        Some(Chosen { client_id, client_secret })
    }

    /// Registers a client.
    pub fn register(&self, asked: &ClientMetadata, chosen: Option<&Chosen>) -> Result<Registered, RegisterError> {
        let act = || self.wire.run(self.backend.register(asked, chosen));
        self.patiently(act, |error| matches!(error, RegisterError::NoEffect { .. }))
    }

    /// Once more where nothing was done, as the operator does: a server that keeps all in memory turns away what comes
    /// at the same time as something else.
    fn patiently<T, E>(&self, act: impl Fn() -> Result<T, E>, without_effect: impl Fn(&E) -> bool) -> Result<T, E> {
        let mut outcome = act();
        for _ in 0..if self.at_once == 1 { 10 } else { 0 } {
            if !outcome.as_ref().is_err_and(&without_effect) {
                break;
            }
            outcome = act();
        }
        outcome
    }

    /// Registers a client by secret that must come to be.
    pub fn client(&self) -> Client {
        self.client_of(self.wanted(), None)
    }

    /// Registers a client by a new key that must come to be.
    pub fn client_by_key(&self, alg: SigningAlg) -> (Client, ClientKey) {
        let key = ClientKey::generate(alg).expect("a key");
        (self.client_of(self.wanted_by_key(&key), Some(&key)), key)
    }

    /// Registers a client that must come to be.
    pub fn client_of(&self, asked: ClientMetadata, key: Option<&ClientKey>) -> Client {
        let chosen = self.choose(&asked);
        let registered = self.register(&asked, chosen.as_ref()).expect("a client");
        let management = registered.management.clone();
        let credential = credential(&asked, &registered, chosen.as_ref(), key);
        Client { asked, management, credential, registered }
    }

    /// Updates it; it must become what is asked.
    #[track_caller]
    pub fn change(&self, client: &mut Client, asked: ClientMetadata) -> Updated {
        let secret = secret(&client.credential);
        let act = || self.wire.run(self.backend.update(&client.management, &asked, secret.as_ref()));
        let updated = self.patiently(act, nothing_done).expect("it is changed");
        client.management = updated.management.clone();
        client.asked = asked;
        updated
    }

    /// What the server has of it.
    pub fn read(&self, management: &Management) -> Result<Found, CallError> {
        self.wire.run(self.backend.read(management, &self.installation))
    }

    /// What the server has of it, where it is there.
    #[track_caller]
    pub fn present(&self, client: &mut Client) -> Present {
        let Ok(Found::There(present)) = self.read(&client.management) else { panic!("it is not there") };
        client.management = present.management.clone();
        *present
    }

    /// Deletes it.
    pub fn delete(&self, management: &Management) -> Result<Deleted, CallError> {
        self.patiently(|| self.wire.run(self.backend.delete(management, &self.installation)), nothing_done)
    }

    /// The same by way of the proxy.
    pub fn through_the_proxy(&self, management: &Management) -> Management {
        let mut there = management.clone();
        if let (Some((from, to)), Some(access)) = (&self.detour, &mut there.registration) {
            access.client_uri = access.client_uri.replacen(from, to, 1);
        }
        there
    }

    /// Tries a credential.
    pub fn try_by(&self, method: ProbeMethod, credential: &Credential) -> Result<ProbeRecord, String> {
        let answer = self.wire.run(probe(&self.http, &self.endpoints, method, credential, now()));
        let answer = answer.map_err(|e| e.to_string())?;
        Ok(ProbeRecord { at: now(), status: answer.status, error: answer.error })
    }

    /// Tries a credential the way that all of these servers know.
    #[track_caller]
    pub fn probe(&self, credential: &Credential) -> ProbeRecord {
        self.try_by(ProbeMethod::Revocation, credential).expect("an answer")
    }

    /// What an answer says, against that to a live client and a control taken now.
    #[track_caller]
    pub fn verdict(&self, live: &ProbeRecord, credential: &Credential) -> Verdict {
        let control = self.probe(&credential.never_existed());
        evidence::verdict(&self.probe(credential), live, &control)
    }

    /// Gets a token.
    pub fn token(&self, credential: &Credential, scope: &str) -> Result<Token, Refused> {
        self.wire.token(&self.endpoints.token_endpoint, credential, scope, None)
    }

    /// Gets a token for an audience.
    pub fn token_for(&self, credential: &Credential, scope: &str, audience: &str) -> Result<Token, Refused> {
        self.wire.token(&self.endpoints.token_endpoint, credential, scope, Some(audience))
    }
}

fn nothing_done(error: &CallError) -> bool {
    matches!(error, CallError::Inconclusive { may_have_acted: false, .. })
}

/// What a client authenticates with.
pub fn credential(
    asked: &ClientMetadata,
    registered: &Registered,
    chosen: Option<&Chosen>,
    key: Option<&ClientKey>,
) -> Credential {
    let client_id = registered.management.client_id.clone();
    let secret = || registered.client_secret.clone().or_else(|| chosen?.client_secret.clone()).expect("a secret");
    match asked.token_endpoint_auth_method.as_str() {
        "client_secret_basic" => Credential::ClientSecretBasic { client_id, client_secret: secret() },
        "client_secret_post" => Credential::ClientSecretPost { client_id, client_secret: secret() },
        "private_key_jwt" => by_key(client_id, key.expect("a key")),
        _ => Credential::Public { client_id },
    }
}

/// A credential by a key.
pub fn by_key(client_id: String, key: &ClientKey) -> Credential {
    Credential::PrivateKeyJwt { client_id, key: key.clone(), audience: Audience::TokenEndpoint }
}

fn secret(credential: &Credential) -> Option<SecretString> {
    match credential {
        Credential::ClientSecretBasic { client_secret, .. } | Credential::ClientSecretPost { client_secret, .. } => {
            Some(client_secret.clone())
        }
        _ => None,
    }
}
