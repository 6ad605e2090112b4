//! The controllers: observe, decide, act.
//!
//! The client controller decides which registration should exist; the registration controller alone talks to
//! authorization servers about clients; the server controller discovers them.

pub mod authorization_server;
pub mod client;
pub mod faults;
pub mod proof;
pub mod registration;
pub mod servers;
mod watch;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kube::api::{Api, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource};

use crate::api::{ClientRegistration, OAuthClient};
use crate::kubernetes::clock::Clock;
use crate::kubernetes::workloads::Kinds;
use servers::Servers;

/// What all controllers share.
pub struct Context {
    /// The Kubernetes client.
    pub client: Client,
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
    /// When servers were looked at.
    pub looked: authorization_server::Looked,
    /// Writes events.
    pub recorder: Recorder,
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
}

/// Says what was being done when the Kubernetes API refused.
fn doing(what: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Kubernetes { doing: what, source: Box::new(source) }
}

impl Context {
    /// The ledger.
    pub fn ledger(&self) -> Api<ClientRegistration> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Whether the local clock is near the API server's.
    pub fn clock_trusted(&self) -> bool {
        crate::domain::lifetime::clock_is_trusted(self.clock.offset())
    }

    /// Writes an event about an OAuthClient; failing to is no failure (a terminating namespace takes none).
    async fn tell(&self, about: &OAuthClient, warning: bool, reason: &str, note: &str) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.into(),
            note: Some(note.chars().take(1000).collect()),
            action: reason.into(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about.object_ref(&())).await {
            tracing::debug!(%error, "an event was not written");
        }
    }
}

/// Come back at this instant, or when something changes.
fn at(when: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Action {
    when.map_or_else(Action::await_change, |t| {
        // An instant that is past and brought nothing to do (an end that waits for the clock to be right, for one)
        // will not at once either.
        if t <= now {
            return Action::requeue(std::time::Duration::from_secs(15));
        }
        // A little late rather than a little early, and at least daily.
        let wait = (t - now).to_std().unwrap_or_default() + std::time::Duration::from_millis(20);
        Action::requeue(wait.min(std::time::Duration::from_secs(86_400)))
    })
}

/// After an error: soon, with the API server's troubles in mind.
fn again<K>(_: Arc<K>, error: &Error, _: Arc<Context>) -> Action {
    let conflict = matches!(error, Error::Kubernetes { source, .. } if crate::kubernetes::look::is_conflict(source));
    if conflict {
        return Action::requeue(std::time::Duration::from_millis(200));
    }
    tracing::warn!(%error, "a pass failed");
    Action::requeue(std::time::Duration::from_millis(2_000 + u64::from(rand::random::<u16>() % 3_000)))
}

/// Writes the status of an object when it says something new; the write fails when the object was changed since.
async fn write_status<K>(api: &Api<K>, name: &str, changed: &K) -> Result<K, Error>
where
    K: serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    api.replace_status(name, &PostParams::default(), changed).await.map_err(doing("write status"))
}
