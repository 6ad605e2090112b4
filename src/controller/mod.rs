//! The controllers: observe, decide, act.
//!
//! The client controller decides which registration should exist; the registration controller alone talks to
//! authorization servers about clients; the server controller discovers them.

pub mod authorization_server;
mod backends;
pub mod client;
pub mod faults;
pub mod proof;
pub mod registration;
pub mod servers;
mod stream;
pub mod timekeeper;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::Stream;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::{Client, Resource};

use crate::api::{AuthorizationServer, ClientRegistration, OAuthClient};
use crate::domain::transition::Told;
use crate::kubernetes::clock::Clock;
use crate::kubernetes::events;
use crate::kubernetes::scope::Scope;
use crate::kubernetes::stamps::Stamps;
use crate::kubernetes::workloads::Kinds;
use crate::kubernetes::writer;
use crate::permit::Permit;
use crate::telemetry::audit::{Action as Audited, Audit, Record};
use crate::telemetry::traces::Traces;
use crate::telemetry::{Metrics, Outcome, Watches};
use servers::Servers;

/// What all controllers share.
pub struct Context {
    /// The Kubernetes client; what it writes needs the permit.
    pub client: Client,
    /// Whether this replica is the one that acts.
    pub permit: Permit,
    /// The operator's own namespace: ledger and management Secrets.
    pub namespace: String,
    /// The installation's id.
    pub installation: String,
    /// How long final entries are kept.
    pub retention: TimeDelta,
    /// The clock.
    pub clock: Clock,
    /// Workload kinds that may be watched.
    pub kinds: Kinds,
    /// Connections to authorization servers.
    pub servers: Servers,
    /// Controls: answers to clients that never existed.
    pub controls: proof::Controls,
    /// Held while clients are counted and one more is made.
    pub counting: tokio::sync::Mutex<()>,
    /// Clients that are judged anew.
    pub judging: client::Judging,
    /// Whether the API server keeps true who asked and who approved.
    pub stamps: Stamps,
    /// What is being stored that exists nowhere else.
    pub keeping: Arc<registration::Keeping>,
    /// When servers were looked at.
    pub looked: authorization_server::Looked,
    /// The namespaces that are watched.
    pub scope: Scope,
    /// Where decisions and effects are told.
    pub audit: Audit,
    /// Where a client's stories are told step by step.
    pub traces: Traces,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is watched, for readiness.
    pub watches: Arc<Watches>,
    /// True once the process is to stop: a pass then begins no further step.
    pub stop: tokio::sync::watch::Receiver<bool>,
    /// Told when everything is to be looked at again: this replica acts from now on, the clock can be trusted again, or
    /// changes may have been missed.
    pub look_again: tokio::sync::watch::Sender<()>,
}

/// What a pass could not do. All of it is transient: decisions that refuse are no errors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API did not do what it was asked.
    #[error("{doing}: {}", crate::kubernetes::look::explain(.source))]
    Kubernetes {
        /// What was being done.
        doing: &'static str,
        /// What came back.
        source: Box<kube::Error>,
    },
    /// What a decision rests on could not be read.
    #[error("read {what}: {why}")]
    Unread {
        /// What.
        what: &'static str,
        /// What came back.
        why: String,
    },
}

impl Error {
    /// Whether an object was changed meanwhile.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Kubernetes { source, .. } if crate::kubernetes::look::is_conflict(source))
    }
}

/// Says what was being done when the Kubernetes API refused.
fn doing(what: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Kubernetes { doing: what, source: Box::new(source) }
}

/// Says what could not be read.
fn unread(what: &'static str) -> impl FnOnce(String) -> Error {
    move |why| Error::Unread { what, why }
}

impl Context {
    /// The ledger.
    pub fn ledger(&self) -> Api<ClientRegistration> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Whether the process is to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Done once the process is to stop.
    fn stopped(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let mut stop = self.stop.clone();
        async move {
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Has everything looked at each time that this replica acts from now on, until the process is to stop.
    pub async fn begin(&self) {
        let acting = async {
            loop {
                self.permit.granted().await;
                self.look_again.send_replace(());
                self.permit.lapsed().await;
                tracing::warn!("this replica may not act: its lease is over and could not be renewed");
            }
        };
        tokio::select! {
            () = acting => {}
            () = self.stopped() => {}
        }
    }

    /// An item each time everything is to be looked at again.
    fn occasions(&self) -> impl Stream<Item = ()> + Send + use<> {
        futures::stream::unfold(self.look_again.subscribe(), |mut told| async move {
            told.changed().await.ok()?;
            Some(((), told))
        })
    }

    /// Whether the local clock is near the API server's.
    pub fn clock_trusted(&self) -> bool {
        crate::domain::lifetime::clock_is_trusted(self.clock.offset())
    }

    /// Writes an event about an OAuthClient, for a transition and not for a state; failing to is no failure (a
    /// terminating namespace takes none).
    async fn tell(&self, about: &OAuthClient, warning: bool, reason: &str, note: &str) {
        self.write_event(&about.object_ref(&()), warning, reason, note).await;
    }

    /// Writes a record into the audit trail.
    fn record(&self, record: &Record) {
        self.audit.write(record, self.clock.now());
    }

    /// Tells of a transition: in the audit trail, and by an event.
    async fn decided(&self, about: &OAuthClient, told: &Told) {
        self.record(&Record::of_client(Audited::Decided, about).because(&told.reason, &told.note));
        self.tell(about, told.warning, &told.reason, &told.note).await;
    }

    /// As [`Context::tell`], about an AuthorizationServer.
    async fn tell_of_server(&self, about: &AuthorizationServer, warning: bool, reason: &str, note: &str) {
        self.write_event(&about.object_ref(&()), warning, reason, note).await;
    }

    async fn write_event(&self, about: &ObjectReference, warning: bool, reason: &str, note: &str) {
        let event = events::build(about, warning, reason, note, self.clock.now());
        let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Err(error) = api.create(&writer::post(), &event).await {
            tracing::debug!(%error, namespace, reason, "an event was not written");
        }
    }
}

/// Come back at this instant, or when something changes.
fn at(when: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Action {
    when.map_or_else(Action::await_change, |t| {
        // An instant that is past and brought nothing to do (an end that waits for the clock to be right, for one)
        // will not at once either.
        if t <= now {
            return Action::requeue(Duration::from_secs(15));
        }
        // A little late rather than a little early, and at least daily.
        let wait = (t - now).to_std().unwrap_or_default() + Duration::from_millis(20);
        Action::requeue(wait.min(Duration::from_secs(86_400)))
    })
}

/// Runs a pass, not longer than this, and counts it. Where another replica acts there is none: everything is looked at
/// once this one does.
async fn measured(
    ctx: &Context,
    controller: &'static str,
    longest: Duration,
    pass: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    if !ctx.permit.is_valid() {
        return Ok(Action::await_change());
    }
    let began = Instant::now();
    let (outcome, done) = match tokio::time::timeout(longest, pass).await {
        Ok(Ok(action)) => (Outcome::Ok, Ok(action)),
        Ok(Err(error)) => (if error.is_conflict() { Outcome::Conflict } else { Outcome::Error }, Err(error)),
        Err(_) => (Outcome::Timeout, Ok(Action::requeue(Duration::from_secs(5)))),
    };
    ctx.metrics.passed(controller, outcome, began.elapsed());
    done
}

/// After an error: soon, with the API server's troubles in mind.
fn again<K>(_: Arc<K>, error: &Error, _: Arc<Context>) -> Action {
    if error.is_conflict() {
        return Action::requeue(Duration::from_millis(200));
    }
    tracing::warn!(%error, "a pass failed");
    Action::requeue(Duration::from_millis(2_000 + u64::from(rand::random::<u16>() % 3_000)))
}

/// Writes the status of an object when it says something new; the write fails when the object was changed since.
async fn write_status<K>(api: &Api<K>, name: &str, changed: &K) -> Result<K, Error>
where
    K: serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    api.replace_status(name, &writer::post(), changed).await.map_err(doing("write status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_that_is_over_is_no_hot_loop() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(at(Some(now - TimeDelta::hours(1)), now), Action::requeue(Duration::from_secs(15)));
        assert_eq!(at(Some(now + TimeDelta::seconds(1)), now), Action::requeue(Duration::from_millis(1020)));
        assert_eq!(at(Some(now + TimeDelta::days(9)), now), Action::requeue(Duration::from_secs(86_400)));
        assert_eq!(at(None, now), Action::await_change());
    }
}
