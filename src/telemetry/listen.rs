//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kube::Client;
use tokio::sync::watch;

use super::{Metrics, Watches};
use crate::kubernetes::clock::Clock;

/// An answer of the API server that is older than this does not show that it answers.
const RECENT: Duration = Duration::from_secs(15);
/// The longest that the API server is waited for; below the second that kubelet waits by default would be too short
/// for one that is busy, so the manifests give the probe 5 s.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the answers tell of.
#[derive(Clone)]
pub struct Observed {
    /// The Kubernetes client.
    pub client: Client,
    /// Knows when the API server was last heard.
    pub clock: Clock,
    /// What is watched.
    pub watches: Arc<Watches>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// True once the process is to stop.
    pub stop: watch::Receiver<bool>,
}

/// The answers.
pub fn routes(observed: Observed) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        // A controller that ends unasked ends the process: that the runtime answers is all there is to tell.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(observed)
}

async fn metrics(State(observed): State<Observed>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match observed.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn readyz(State(observed): State<Observed>) -> Response {
    let mut missing: Vec<String> = Vec::new();
    if *observed.stop.borrow() {
        missing.push("the process is stopping".into());
    }
    missing.extend(observed.watches.incomplete().iter().map(|w| format!("first list not complete: {w}")));
    if !api_server_answers(&observed).await {
        missing.push("the Kubernetes API server does not answer".into());
    }
    let code = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut lines: Vec<String> = missing.iter().map(|m| format!("not ready: {m}")).collect();
    if missing.is_empty() {
        lines.push("ok".into());
    }
    // Said, though no reason to take the process for unready: a kind that is not installed, or one that broke off.
    lines.extend(observed.watches.failing().iter().map(|w| format!("failing: {w}; the log says why")));
    (code, lines.join("\n") + "\n").into_response()
}

/// Whether the API server answered a moment ago, or does so now. At rest it has nothing to say for minutes.
async fn api_server_answers(observed: &Observed) -> bool {
    if observed.clock.silent_for().is_some_and(|silent| silent < RECENT) {
        return true;
    }
    matches!(tokio::time::timeout(PATIENCE, observed.client.apiserver_version()).await, Ok(Ok(_)))
}
