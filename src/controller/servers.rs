//! Connections to authorization servers: one for each server and its settings, shared by all entries about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::Stream;
use kube::ResourceExt;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{AuthorizationServer, EvidenceLevel, RequestLimits, ServerSnapshot};
use crate::authorization_server::http::{self, Http, HttpConfig, HttpError, RequestObserver};
use crate::authorization_server::keycloak::Keycloak;
use crate::authorization_server::limits::{Limits, Priority};
use crate::domain::names;
use crate::permit::Permit;
use crate::telemetry::traces::Traces;
use crate::telemetry::{Metrics, ServerRequests};

/// How many servers may open or close a circuit before the server controller has heard of the first.
const UNHEARD: usize = 256;

/// How many passes that wait for a server look again in a second, all together, however many there are: each reads
/// everything anew.
const LOOKS: f64 = 16.0;
/// The longest that one of them stays away.
const LONGEST_AWAY: Duration = Duration::from_secs(60);

/// Passes that talk to one server, and those that come back for it.
struct Turns {
    free: Arc<Semaphore>,
    /// When each comes back, by entry.
    waiting: HashMap<String, Instant>,
}

impl Turns {
    /// How long the next one stays away: the longer the more there are.
    fn away(&mut self, entry: &str) -> Duration {
        let now = Instant::now();
        // Those that did not come back have nothing to ask any more.
        self.waiting.retain(|_, due| *due + LONGEST_AWAY > now);
        let crowd = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let away = Duration::from_secs_f64(f64::from(crowd) / LOOKS).clamp(Duration::from_secs(1), LONGEST_AWAY);
        let away = away.mul_f64(rand::rng().random_range(0.5..1.5));
        self.waiting.insert(entry.to_owned(), now + away);
        away
    }
}

/// Opens connections and keeps them.
pub struct Servers {
    /// By server and settings, and then by CA bundle: limits and circuit are the server's, whatever it is checked by.
    open: Mutex<HashMap<String, HashMap<String, Http>>>,
    turns: Mutex<HashMap<String, Turns>>,
    /// By server; with the digest of the operator's credential, which may change.
    keycloaks: Mutex<HashMap<String, (String, Keycloak)>>,
    metrics: Arc<Metrics>,
    traces: Traces,
    permit: Permit,
    /// Names of those whose circuit opened or closed.
    circuits: broadcast::Sender<String>,
}

/// Told of the requests to one AuthorizationServer.
struct Told {
    requests: ServerRequests,
    traces: Traces,
    circuits: broadcast::Sender<String>,
}

impl RequestObserver for Told {
    fn observe(&self, operation: &'static str, code: &str, took: Duration) {
        self.requests.observe(operation, code, took);
        self.traces.request(&self.requests.server, operation, code, took);
    }

    fn circuit(&self, open: bool) {
        self.requests.circuit(open);
        // Nobody listens while the process stops.
        let _ = self.circuits.send(self.requests.server.clone());
    }
}

impl Servers {
    /// None yet; requests are counted and traced here, and made while this permits.
    pub fn new(metrics: Arc<Metrics>, traces: Traces, permit: Permit) -> Self {
        let circuits = broadcast::Sender::new(UNHEARD);
        Self {
            open: Mutex::default(),
            turns: Mutex::default(),
            keycloaks: Mutex::default(),
            metrics,
            traces,
            permit,
            circuits,
        }
    }

    /// The name of each AuthorizationServer whose circuit opens or closes from now on.
    pub fn circuits(&self) -> impl Stream<Item = String> + Send + use<> {
        futures::stream::unfold(self.circuits.subscribe(), |mut changed| async {
            loop {
                match changed.recv().await {
                    Ok(name) => return Some((name, changed)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
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
        let requests = ServerRequests { metrics: self.metrics.clone(), server: name.to_owned() };
        let observer = Arc::new(Told { requests, traces: self.traces.clone(), circuits: self.circuits.clone() });
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = open.entry(names::hash(&(issuer, plain, limits))).or_default();
        let trusts = names::hash(&ca);
        if let Some(http) = known.get(&trusts) {
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
        let http = match known.values().next() {
            Some(other) => other.told_to(observer).trusting(&config)?,
            None => Http::new(&config, observer, self.permit.clone())?,
        };
        known.insert(trusts, http.clone());
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

    /// The right to have a pass about this entry talk to its server. While as many passes of this priority do as may
    /// wait there, how long to stay away: that is no failure, and nothing is put on record for it.
    pub fn turn(
        &self,
        server: &ServerSnapshot,
        priority: Priority,
        entry: &str,
    ) -> Result<OwnedSemaphorePermit, Duration> {
        let limits = &server.limits;
        let ends = priority == Priority::Ending;
        let key = names::hash(&(&server.issuer, server.allow_plain_http, limits, ends));
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let places = 2 * limits.max_in_flight.clamp(1, 100_000) as usize;
        let turns = turns
            .entry(key)
            .or_insert_with(|| Turns { free: Arc::new(Semaphore::new(places)), waiting: HashMap::new() });
        match turns.free.clone().try_acquire_owned() {
            Ok(turn) => {
                turns.waiting.remove(entry);
                Ok(turn)
            }
            Err(_) => Err(turns.away(entry)),
        }
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

/// A server as an entry keeps it, checked by the certificates that it has today as well: a CA is replaced within a
/// client's life. Without a bundle today, what counts is the system's. Another server of its name changes nothing, nor does
/// a bundle that is none.
pub fn with_todays_ca(kept: &mut ServerSnapshot, today: &AuthorizationServer) {
    if today.name_any() != kept.name || today.spec.issuer != kept.issuer {
        return;
    }
    let now = today.spec.tls.as_ref().map(|t| t.ca_bundle.as_str());
    kept.ca_bundle = match (kept.ca_bundle.take(), now) {
        (before, Some(now)) if http::check_ca_bundle(now).is_err() => before,
        (Some(before), Some(now)) if !now.contains(before.trim()) => {
            Some(format!("{}\n{}\n", before.trim(), now.trim()))
        }
        (_, now) => now.map(ToOwned::to_owned),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ca_bundle: Option<&str>) -> ServerSnapshot {
        let entry = include_str!("../../tests/fixtures/v1alpha1/entry-registered.yaml");
        let entry: crate::api::ClientRegistration = serde_yaml::from_str(entry).expect("an entry");
        ServerSnapshot { ca_bundle: ca_bundle.map(ToOwned::to_owned), ..entry.spec.server }
    }

    fn today(kept: &ServerSnapshot, ca_bundle: Option<&str>) -> AuthorizationServer {
        let server = include_str!("../../tests/fixtures/v1alpha1/server.yaml");
        let mut server: AuthorizationServer = serde_yaml::from_str(server).expect("a server");
        server.metadata.name = Some(kept.name.clone());
        server.spec.issuer.clone_from(&kept.issuer);
        server.spec.tls = ca_bundle.map(|ca| crate::api::Tls { ca_bundle: ca.to_owned() });
        server
    }

    fn ca() -> String {
        let key = rcgen::KeyPair::generate().expect("a key");
        rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").pem()
    }

    #[test]
    fn a_new_ca_is_trusted_beside_the_one_of_before() {
        let (old, new) = (ca(), ca());
        let after = |before: Option<&str>, now: Option<&str>| {
            let mut kept = kept(before);
            let today = today(&kept, now);
            with_todays_ca(&mut kept, &today);
            kept.ca_bundle
        };
        let both = after(Some(&old), Some(&new)).expect("a bundle");
        assert!(both.contains(old.trim()) && both.contains(new.trim()) && http::check_ca_bundle(&both).is_ok());
        assert_eq!(after(Some(&old), Some(&old)).as_deref(), Some(old.as_str()));
        let whole = format!("{old}{new}");
        assert_eq!(after(Some(&old), Some(&whole)).as_deref(), Some(whole.as_str()), "it is in there already");
        assert_eq!(after(None, Some(&new)).as_deref(), Some(new.as_str()), "the system's are not meant any more");
        assert_eq!(after(Some(&old), None), None, "the system's are meant now");
        assert_eq!(after(Some(&old), Some("no certificate")).as_deref(), Some(old.as_str()));
    }

    #[test]
    fn another_server_of_that_name_says_nothing() {
        let (old, new) = (ca(), ca());
        let mut kept = kept(Some(&old));
        let mut other = today(&kept, Some(&new));
        other.spec.issuer = "https://other.example".into();
        with_todays_ca(&mut kept, &other);
        assert_eq!(kept.ca_bundle.as_deref(), Some(old.as_str()));
    }

    #[test]
    fn a_crowd_looks_as_often_as_a_few() {
        let mut turns = Turns { free: Arc::new(Semaphore::new(0)), waiting: HashMap::new() };
        let first = turns.away("first");
        assert!(first >= Duration::from_millis(500) && first <= Duration::from_millis(1_500), "{first:?}");
        let all: Vec<Duration> = (0..320).map(|n| turns.away(&format!("e{n}"))).collect();
        let last = all[319];
        assert!(last >= Duration::from_secs(9) && last <= Duration::from_secs(31), "{last:?}");
        assert!((0..10_000).all(|n| turns.away(&format!("m{n}")) <= LONGEST_AWAY.mul_f64(1.5)));
    }
}
