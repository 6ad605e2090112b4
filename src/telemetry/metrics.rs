//! The metrics, by the naming conventions of Prometheus. docs/metrics.md lists them; a test compares.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::runtime::reflector::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use self::state::State;
use super::{Watches, census};
use crate::api::{AuthorizationServer, ClientRegistration, EvidenceLevel, OAuthClient};
use crate::authorization_server::http::RequestObserver;
use crate::kubernetes::clock::Clock;
use crate::kubernetes::scope::Scope;
use crate::permit::Permit;

/// Of requests to authorization servers and of passes, in seconds.
const SHORT: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From an end to its proof, in seconds: one second to a week.
const LONG: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0, 172_800.0, 604_800.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    server: String,
    operation: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    server: String,
    operation: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Server {
    server: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pass {
    controller: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Evidence {
    evidence: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sweep {
    server: String,
    why: &'static str,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn short() -> Histogram {
    Histogram::new(SHORT)
}

fn long() -> Histogram {
    Histogram::new(LONG)
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what there was to do.
    Ok,
    /// The object was changed meanwhile; the pass begins again.
    Conflict,
    /// The Kubernetes API did not do what it was asked.
    Error,
    /// It took too long and was given up.
    Timeout,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::Error => "error",
            Self::Timeout => "timeout",
        }
    }
}

/// Why a sweep revoked a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// No ledger entry claims it.
    Orphan,
    /// Its ledger entry says that it is gone.
    Returned,
}

impl Swept {
    /// The word for it in metrics and audit lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Returned => "returned",
        }
    }
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    state: Arc<State>,
    requests: Family<Request, Counter>,
    request_durations: Durations<Operation>,
    passes: Family<Pass, Counter>,
    pass_durations: Durations<Controller>,
    end_to_proof: Durations<Evidence>,
    drift_corrections: Family<Server, Counter>,
    open_circuits: Family<Server, Gauge>,
    swept: Family<Sweep, Counter>,
}

impl Metrics {
    /// Metrics of a process that has done nothing yet.
    pub fn new(clock: Clock, scope: Scope, watches: Arc<Watches>, permit: Permit) -> Self {
        let mut registry = Registry::with_prefix("oauthclient");
        let state = Arc::new(State::new(clock, scope, watches, permit));
        let requests = Family::<Request, Counter>::default();
        registry.register(
            "server_requests",
            "Requests to authorization servers by operation and HTTP status, or how they failed: connect, tls, timeout, reset, body",
            requests.clone(),
        );
        let request_durations = Durations::<Operation>::new_with_constructor(short);
        registry.register_with_unit(
            "server_request_duration",
            "How long requests to authorization servers took, waiting for a turn not counted",
            Unit::Seconds,
            request_durations.clone(),
        );
        let passes = Family::<Pass, Counter>::default();
        registry.register(
            "reconciles",
            "Passes over an object by controller (client, registration, server) and result (ok, conflict, error, timeout)",
            passes.clone(),
        );
        let pass_durations = Durations::<Controller>::new_with_constructor(short);
        registry.register_with_unit(
            "reconcile_duration",
            "How long passes over an object took",
            Unit::Seconds,
            pass_durations.clone(),
        );
        let end_to_proof = Durations::<Evidence>::new_with_constructor(long);
        // There from the start, so that the first revocation is an increase.
        for level in [EvidenceLevel::Proven, EvidenceLevel::ServerConfirmed, EvidenceLevel::Unverifiable] {
            drop(end_to_proof.get_or_create(&Evidence { evidence: level.as_str() }));
        }
        registry.register_with_unit(
            "end_to_proof",
            "From the end of a client to its final revocation, by evidence",
            Unit::Seconds,
            end_to_proof.clone(),
        );
        let drift_corrections = Family::<Server, Counter>::default();
        registry.register(
            "drift_corrections",
            "Clients that somebody had changed at the server and that were brought back to what was asked for",
            drift_corrections.clone(),
        );
        let open_circuits = Family::<Server, Gauge>::default();
        registry.register(
            "server_circuit_open",
            "1 while an authorization server that failed again and again is left alone, until a single request to it is answered",
            open_circuits.clone(),
        );
        let swept = Family::<Sweep, Counter>::default();
        registry.register(
            "swept_clients",
            "Clients that the orphan sweep revoked: of no ledger entry (orphan), or of one that says that they are gone (returned)",
            swept.clone(),
        );
        registry.register("build", "The operator's version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_collector(Box::new(state.clone()));
        Self {
            registry,
            state,
            requests,
            request_durations,
            passes,
            pass_durations,
            end_to_proof,
            drift_corrections,
            open_circuits,
            swept,
        }
    }

    /// Everything, in OpenMetrics text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts the clients in this cache from now on.
    pub fn count_clients(&self, store: Store<OAuthClient>) {
        self.state.count_clients(store);
    }

    /// Counts the ledger entries in this cache from now on.
    pub fn count_entries(&self, store: Store<ClientRegistration>) {
        self.state.count_entries(store);
    }

    /// Tells the surveys of the AuthorizationServers in this cache from now on.
    pub fn count_servers(&self, store: Store<AuthorizationServer>) {
        self.state.count_servers(store);
    }

    /// A pass has ended.
    pub fn passed(&self, controller: &'static str, outcome: Outcome, took: Duration) {
        self.passes.get_or_create(&Pass { controller, result: outcome.as_str() }).inc();
        self.pass_durations.get_or_create(&Controller { controller }).observe(took.as_secs_f64());
    }

    /// The AuthorizationServer of this name is gone: nothing is told of its circuit any more.
    pub fn server_gone(&self, server: &str) {
        self.open_circuits.remove(&Server { server: server.to_owned() });
    }

    /// A client that somebody had changed at this server is again as asked for.
    pub fn drift_corrected(&self, server: &str) {
        self.drift_corrections.get_or_create(&Server { server: server.to_owned() }).inc();
    }

    /// The sweep has revoked a client at this server.
    pub fn swept(&self, server: &str, why: Swept) {
        self.swept.get_or_create(&Sweep { server: server.to_owned(), why: why.as_str() }).inc();
    }

    /// A client's end is final.
    pub fn revoked(&self, entry: &ClientRegistration, now: DateTime<Utc>) {
        let evidence = entry.status.as_ref().and_then(|s| s.evidence.as_ref());
        let Some((evidence, ended_at)) = evidence.zip(census::ended_at(entry)) else { return };
        let seconds = (now - ended_at).as_seconds_f64().max(0.0);
        self.end_to_proof.get_or_create(&Evidence { evidence: evidence.level.as_str() }).observe(seconds);
    }
}

/// Counts the requests to one authorization server.
pub struct ServerRequests {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Name of the AuthorizationServer.
    pub server: String,
}

impl RequestObserver for ServerRequests {
    fn observe(&self, operation: &'static str, code: &str, took: Duration) {
        tracing::debug!(
            server = self.server,
            operation,
            code,
            took_ms = took.as_millis(),
            "asked an authorization server"
        );
        let (server, operation, code) = (self.server.clone(), operation.replace(' ', "_"), bounded(code));
        let request = Request { server: server.clone(), operation: operation.clone(), code };
        self.metrics.requests.get_or_create(&request).inc();
        self.metrics.request_durations.get_or_create(&Operation { server, operation }).observe(took.as_secs_f64());
    }

    fn circuit(&self, open: bool) {
        let server = Server { server: self.server.clone() };
        self.metrics.open_circuits.get_or_create(&server).set(i64::from(open));
        if open {
            tracing::warn!(server = self.server, "an authorization server fails again and again and is left alone");
        } else {
            tracing::info!(server = self.server, "an authorization server that was left alone works again");
        }
    }
}

/// A status that nobody registered is told by its class: servers may answer what they like.
fn bounded(code: &str) -> String {
    match code.parse::<u16>().ok().map(http::StatusCode::from_u16) {
        None => code.to_owned(),
        Some(Ok(status)) if status.canonical_reason().is_some() => code.to_owned(),
        Some(_) => format!("{}xx", code.chars().next().unwrap_or('0')),
    }
}

mod state;
#[cfg(test)]
mod tests;
