//! An API server in memory: objects with UIDs, resource versions, generations and finalizers; conflicts; and what its
//! watches would wake.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use oauthclient_operator::api::{AuthorizationServer, ClientRegistration, OAuthClient};
use oauthclient_operator::domain::client::entry_names;
use oauthclient_operator::domain::ends::NamespaceState;
use oauthclient_operator::kubernetes::management_secret::Stored;

use super::faults::Fault;
use super::governance::Governance;
use super::server::Server;

/// Namespace and name.
pub type Key = (String, String);

/// What a controller works on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The client controller, on this object.
    Client(Key),
    /// The registration controller, on this entry.
    Entry(String),
    /// The server controller, comparing clients.
    Server,
}

/// Why a write was not done, or may not have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiError {
    /// 409.
    Conflict,
    /// 404 of that very object.
    Gone,
    /// Anything else: 403, 5xx, a time-out.
    Failed,
}

/// A management Secret.
#[derive(Debug, Clone)]
pub struct Managed {
    pub stored: Stored,
}

/// A workload.
#[derive(Debug, Clone)]
pub struct Job {
    pub uid: String,
    pub finished: bool,
}

pub struct World {
    pub now: DateTime<Utc>,
    /// How far the operator's clock is ahead.
    pub skew: TimeDelta,
    pub last: u64,
    pub clients: BTreeMap<Key, OAuthClient>,
    pub entries: BTreeMap<String, ClientRegistration>,
    pub management: BTreeMap<String, Managed>,
    pub secrets: BTreeMap<Key, Secret>,
    pub namespaces: BTreeMap<String, NamespaceState>,
    pub jobs: BTreeMap<Key, Job>,
    pub object: Option<AuthorizationServer>,
    pub governance: Governance,
    pub server: Server,
    /// What the next call meets.
    pub fault: Fault,
    /// What watches have woken.
    pub woken: BTreeSet<Actor>,
    /// Writes to the API.
    pub writes: u64,
    pub violations: Vec<String>,
    pub trace: Option<Vec<String>>,
    pub facts: super::laws::Facts,
    /// Entries for which the operator is storing what a change brought: only its death ends that.
    pub storing: BTreeSet<String>,
}

impl World {
    /// A version or a UID that was never used.
    pub fn fresh(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The operator's clock.
    pub fn local(&self) -> DateTime<Utc> {
        self.now + self.skew
    }

    /// Whether the operator may believe its clock.
    pub fn clock_trusted(&self) -> bool {
        self.skew.abs() <= TimeDelta::seconds(60)
    }

    /// Sets how far the operator's clock is ahead. When one that was wrong is right, everything is looked at again.
    pub fn set_skew(&mut self, skew: TimeDelta) {
        let was_trusted = self.clock_trusted();
        self.skew = skew;
        if self.clock_trusted() && !was_trusted {
            self.woken.extend(self.clients.keys().cloned().map(Actor::Client));
            self.woken.extend(self.entries.keys().cloned().map(Actor::Entry));
        }
    }

    /// Adds to the trace, where one is kept.
    pub fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let since = self.now - super::start();
            let text = format!("{:>7}s  {}", since.num_seconds(), line(self));
            self.trace.iter_mut().for_each(|t| t.push(text.clone()));
        }
    }

    /// A law was broken.
    pub fn broken(&mut self, law: String) {
        self.say(|_| format!("BROKEN: {law}"));
        self.violations.push(law);
    }

    /// Which object and attempt an entry is, for people.
    pub fn called(&self, entry: &str) -> String {
        self.entries.get(entry).map_or_else(
            || entry.to_owned(),
            |e| format!("{}#{} ({})", e.spec.client_ref.name, e.spec.attempt, e.spec.client_ref.uid),
        )
    }

    /// The metadata of a new object.
    pub fn metadata(&mut self, key: &Key) -> ObjectMeta {
        let (uid, rv) = (self.fresh(), self.fresh());
        ObjectMeta {
            namespace: Some(key.0.clone()),
            name: Some(key.1.clone()),
            uid: Some(format!("u{uid}")),
            resource_version: Some(rv.to_string()),
            generation: Some(1),
            ..ObjectMeta::default()
        }
    }

    /// The time as a deletion timestamp has it.
    pub fn timestamp(&self) -> Time {
        Time(Timestamp::from_second(self.now.timestamp()).expect("a time in range"))
    }

    fn wake(&mut self, actor: Actor) {
        self.woken.insert(actor);
    }

    /// What the watches make of a change to an OAuthClient.
    pub fn client_changed(&mut self, key: &Key) {
        self.wake(Actor::Client(key.clone()));
        if let Some(client) = self.clients.get(key) {
            let names: Vec<String> = entry_names(client).take(6).map(|(_, name)| name).collect();
            self.woken.extend(names.into_iter().map(Actor::Entry));
        }
    }

    /// What the watches make of a change to an entry.
    pub fn entry_changed(&mut self, name: &str, key: Key) {
        self.wake(Actor::Entry(name.to_owned()));
        self.wake(Actor::Client(key));
    }

    /// What the watches make of a change to a namespace.
    pub fn namespace_changed(&mut self, namespace: &str) {
        let entries = self.entries.values().filter(|e| e.is_live() && e.spec.client_ref.namespace == namespace);
        let mut woken: Vec<_> = entries.map(|e| Actor::Entry(e.name_any())).collect();
        woken.extend(self.clients.keys().filter(|k| k.0 == namespace).cloned().map(Actor::Client));
        self.woken.extend(woken);
    }

    /// What the watches make of a change to a Job.
    pub fn job_changed(&mut self, key: &Key) {
        let is_it = |e: &&ClientRegistration| {
            e.is_live()
                && e.spec.client_ref.namespace == key.0
                && e.spec.workload.as_ref().is_some_and(|w| w.reference.name == key.1)
        };
        let mut woken: Vec<_> = self.entries.values().filter(is_it).map(|e| Actor::Entry(e.name_any())).collect();
        woken.extend(
            self.clients
                .iter()
                .filter(|(k, c)| {
                    k.0 == key.0
                        && c.spec.workload_ref.as_ref().is_some_and(|w| w.name == key.1)
                        && c.status.as_ref().is_none_or(|s| s.registration_ref.is_none())
                })
                .map(|(k, _)| Actor::Client(k.clone())),
        );
        self.woken.extend(woken);
    }

    /// What the watches make of a change to a tenant's Secret: those labelled as ours, by their controller.
    pub fn secret_changed(&mut self, secret: &Secret) {
        let namespace = secret.namespace().unwrap_or_default();
        let owners = secret.metadata.owner_references.iter().flatten().filter(|o| o.controller == Some(true));
        let woken: Vec<_> = owners.map(|o| Actor::Client((namespace.clone(), o.name.clone()))).collect();
        self.woken.extend(woken);
    }

    /// What the watches make of a change to the AuthorizationServer.
    pub fn object_changed(&mut self) {
        let mut woken: Vec<_> = self.clients.keys().cloned().map(Actor::Client).collect();
        woken.extend(self.server.admin.then_some(Actor::Server));
        self.woken.extend(woken);
    }

    /// Changes an OAuthClient; with `spec`, its generation grows.
    pub fn change_client(&mut self, key: &Key, spec: bool, change: impl FnOnce(&mut OAuthClient)) {
        let rv = self.fresh();
        let Some(client) = self.clients.get_mut(key) else { return };
        change(client);
        client.metadata.resource_version = Some(rv.to_string());
        if spec {
            client.metadata.generation = client.metadata.generation.map(|g| g + 1);
        }
        self.client_changed(key);
        self.reap_client(key);
    }

    /// Deletes an OAuthClient as the API server does.
    pub fn delete_client(&mut self, key: &Key) {
        let now = self.timestamp();
        self.change_client(key, false, |c| {
            c.metadata.deletion_timestamp.get_or_insert(now);
        });
    }

    /// An object that is being deleted and has no finalizer left is gone.
    fn reap_client(&mut self, key: &Key) {
        let gone = self.clients.get(key).is_some_and(|c| {
            c.metadata.deletion_timestamp.is_some() && c.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
        });
        if gone {
            self.say(|_| format!("OAuthClient {} is gone", key.1));
            self.clients.remove(key);
        }
    }

    /// Changes an entry; with `spec`, its generation grows.
    pub fn change_entry(&mut self, name: &str, spec: bool, change: impl FnOnce(&mut ClientRegistration)) {
        let rv = self.fresh();
        let Some(entry) = self.entries.get_mut(name) else { return };
        change(entry);
        entry.metadata.resource_version = Some(rv.to_string());
        if spec {
            entry.metadata.generation = entry.metadata.generation.map(|g| g + 1);
        }
        let client = &entry.spec.client_ref;
        let key = (client.namespace.clone(), client.name.clone());
        let gone =
            entry.metadata.deletion_timestamp.is_some() && entry.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        if gone {
            let called = self.called(name);
            self.say(|_| format!("entry {called} is gone"));
            self.entries.remove(name);
        }
        self.entry_changed(name, key);
    }

    /// Removes a tenant's Secret.
    pub fn remove_secret(&mut self, key: &Key) {
        if let Some(secret) = self.secrets.remove(key) {
            self.secret_changed(&secret);
        }
    }

    /// What other controllers do by and by: garbage collection, ending namespaces, holding and describing the
    /// AuthorizationServer.
    pub fn housekeeping(&mut self) {
        let orphaned: Vec<Key> = self
            .secrets
            .iter()
            .filter(|(k, s)| {
                let owner = s.metadata.owner_references.iter().flatten().next();
                owner.is_some_and(|o| {
                    let key = (k.0.clone(), o.name.clone());
                    self.clients.get(&key).is_none_or(|c| c.uid().as_deref() != Some(&o.uid))
                })
            })
            .map(|(k, _)| k.clone())
            .collect();
        for key in orphaned {
            self.remove_secret(&key);
        }
        for (namespace, state) in self.namespaces.clone() {
            if state == NamespaceState::Terminating {
                self.empty(&namespace);
            }
        }
        let unmanageable = self.entries.values().any(|e| {
            e.state().possible_orphan.is_some_and(|p| p.unmanageable) && e.spec.server.generation == self.generation()
        });
        let live = self.entries.values().any(ClientRegistration::is_live);
        let Some(object) = &mut self.object else { return };
        if object.metadata.deletion_timestamp.is_some() && !live {
            self.object = None;
            self.object_changed();
            return;
        }
        let capabilities = object.status.as_mut().and_then(|s| s.capabilities.as_mut());
        if let Some(c) = capabilities.filter(|c| c.management == unmanageable) {
            c.management = !unmanageable;
            self.object_changed();
        }
    }

    fn generation(&self) -> i64 {
        self.object.as_ref().and_then(|o| o.metadata.generation).unwrap_or_default()
    }

    fn empty(&mut self, namespace: &str) {
        let inside = |k: &&Key| k.0 == namespace;
        for key in self.secrets.keys().filter(inside).cloned().collect::<Vec<_>>() {
            self.remove_secret(&key);
        }
        for key in self.jobs.keys().filter(inside).cloned().collect::<Vec<_>>() {
            self.jobs.remove(&key);
            self.job_changed(&key);
        }
        self.governance.approvals.retain(|k, _| !inside(&k));
        let deleting = |c: &OAuthClient| c.metadata.deletion_timestamp.is_some();
        let left: Vec<_> = self.clients.iter().filter(|(k, c)| k.0 == namespace && !deleting(c)).collect();
        for key in left.into_iter().map(|(k, _)| k.clone()).collect::<Vec<_>>() {
            self.delete_client(&key);
        }
        if !self.clients.keys().any(|k| k.0 == namespace) {
            self.namespaces.insert(namespace.to_owned(), NamespaceState::Gone);
            self.say(|_| format!("namespace {namespace} is gone"));
            self.namespace_changed(namespace);
        }
    }
}
