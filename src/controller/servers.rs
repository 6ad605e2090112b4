//! Connections to authorization servers: one for each server and its settings, shared by all entries about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{RequestLimits, ServerSnapshot};
use crate::authorization_server::http::{Http, HttpConfig, HttpError};
use crate::authorization_server::limits::Limits;
use crate::domain::names;
use crate::telemetry::{Metrics, ServerRequests};

/// Opens connections and keeps them.
pub struct Servers {
    open: Mutex<HashMap<String, Http>>,
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
    metrics: Arc<Metrics>,
}

impl Servers {
    /// None yet; requests are counted here.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { open: Mutex::default(), turns: Mutex::default(), metrics }
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

    /// The connection to the server that an entry is about.
    pub fn of(&self, server: &ServerSnapshot) -> Result<Http, HttpError> {
        self.connect(&server.name, &server.issuer, server.ca_bundle.as_deref(), server.allow_plain_http, &server.limits)
    }

    /// The right to have a pass talk to this server, or `None` while as many passes do as may wait there. Having to come
    /// back later is no failure: nothing is put on record for it.
    pub fn turn(&self, server: &ServerSnapshot) -> Option<OwnedSemaphorePermit> {
        let limits = &server.limits;
        let key = names::hash(&(&server.issuer, &server.ca_bundle, server.allow_plain_http, limits));
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let places = 2 * limits.max_in_flight.clamp(1, 100_000) as usize;
        let turn = turns.entry(key).or_insert_with(|| Arc::new(Semaphore::new(places))).clone();
        turn.try_acquire_owned().ok()
    }
}
