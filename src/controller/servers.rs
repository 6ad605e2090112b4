//! Connections to authorization servers: one for each server and its settings, shared by all entries about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::ResourceExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{AuthorizationServer, EvidenceLevel, RequestLimits, ServerSnapshot};
use crate::authorization_server::http::{Http, HttpConfig, HttpError};
use crate::authorization_server::keycloak::Keycloak;
use crate::authorization_server::limits::{Limits, Priority};
use crate::domain::names;
use crate::telemetry::{Metrics, ServerRequests};

/// Opens connections and keeps them.
pub struct Servers {
    open: Mutex<HashMap<String, Http>>,
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// By server; with the digest of the operator's credential, which may change.
    keycloaks: Mutex<HashMap<String, (String, Keycloak)>>,
    metrics: Arc<Metrics>,
}

impl Servers {
    /// None yet; requests are counted here.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { open: Mutex::default(), turns: Mutex::default(), keycloaks: Mutex::default(), metrics }
    }

    /// The connection to a server with these settings. AuthorizationServers that are the same server share it; each
    /// one's requests are counted by its name.
    pub fn connect(
        &self,
        name: &str,
        issuer: &str,
        ca: Option<&str>,
        plain: bool,
        limits: &RequestLimits,
    ) -> Result<Http, HttpError> {
        let key = names::hash(&(issuer, ca, plain, limits));
        let observer = Arc::new(ServerRequests { metrics: self.metrics.clone(), server: name.to_owned() });
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(http) = open.get(&key) {
            return Ok(http.told_to(observer));
        }
        let config = HttpConfig {
            ca_bundle: ca.map(ToOwned::to_owned),
            allow_plain_http: plain,
            limits: Limits {
                requests_per_second: limits.requests_per_second,
                burst: limits.burst,
                max_in_flight: limits.max_in_flight,
                request_timeout: limits.request_timeout.get().unwrap_or(Duration::from_secs(10)),
            },
        };
        let http = Http::new(&config, observer)?;
        open.insert(key, http.clone());
        Ok(http)
    }

    /// Keycloak with the operator's token for it, which all entries share. Another credential opens it anew.
    pub fn keycloak(
        &self,
        server: &ServerSnapshot,
        credential: &SecretString,
        open: impl FnOnce() -> Keycloak,
    ) -> Keycloak {
        let key = names::hash(&(&server.issuer, &server.backend, &server.ca_bundle, &server.limits));
        let digest = names::hash(&credential.expose_secret());
        let mut all = self.keycloaks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match all.get(&key) {
            Some((known, keycloak)) if *known == digest => keycloak.clone(),
            _ => {
                let keycloak = open();
                all.insert(key, (digest, keycloak.clone()));
                keycloak
            }
        }
    }

    /// The connection to the server that an entry is about.
    pub fn of(&self, server: &ServerSnapshot, priority: Priority) -> Result<Http, HttpError> {
        let (ca, plain) = (server.ca_bundle.as_deref(), server.allow_plain_http);
        let http = self.connect(&server.name, &server.issuer, ca, plain, &server.limits)?;
        Ok(http.with_priority(priority))
    }

    /// The right to have a pass talk to this server, or `None` while as many passes of this priority do as may wait
    /// there. Having to come back later is no failure: nothing is put on record for it.
    pub fn turn(&self, server: &ServerSnapshot, priority: Priority) -> Option<OwnedSemaphorePermit> {
        let limits = &server.limits;
        let ends = priority == Priority::Ending;
        let key = names::hash(&(&server.issuer, &server.ca_bundle, server.allow_plain_http, limits, ends));
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let places = 2 * limits.max_in_flight.clamp(1, 100_000) as usize;
        let turn = turns.entry(key).or_insert_with(|| Arc::new(Semaphore::new(places))).clone();
        turn.try_acquire_owned().ok()
    }
}

/// A server as a ledger entry keeps it: all that revoking takes, whatever becomes of the object. A client whose key the
/// tenant alone holds cannot be proven to be refused.
pub fn snapshot(server: &AuthorizationServer, tenants_own_key: bool) -> ServerSnapshot {
    let spec = &server.spec;
    let least = if tenants_own_key { EvidenceLevel::ServerConfirmed } else { EvidenceLevel::Proven };
    ServerSnapshot {
        name: server.name_any(),
        generation: server.metadata.generation.unwrap_or_default(),
        issuer: spec.issuer.clone(),
        endpoints: server.status.as_ref().and_then(|s| s.metadata.clone()).unwrap_or_default(),
        backend: spec.backend.clone(),
        ca_bundle: spec.tls.as_ref().map(|t| t.ca_bundle.clone()),
        allow_plain_http: spec.allow_plain_http,
        limits: spec.limits.clone(),
        access_token_lifetime: spec.access_token_lifetime.clone(),
        settle_for: spec.revocation.settle_for.clone(),
        least_evidence: spec.revocation.least_evidence.unwrap_or(least),
    }
}
