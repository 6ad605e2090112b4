//! What is counted when it is asked for, from the controllers' caches and the clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::api::{AuthorizationServer, ClientRegistration, OAuthClient, Survey};
use crate::domain::lifetime::clock_is_trusted;
use crate::kubernetes::clock::Clock;
use crate::kubernetes::scope::Scope;
use crate::permit::Permit;
use crate::telemetry::Watches;
use crate::telemetry::census::{Census, Debt};

/// What is counted, and from what.
pub struct State {
    clock: Clock,
    scope: Scope,
    watches: Arc<Watches>,
    permit: Permit,
    clients: RwLock<Vec<Store<OAuthClient>>>,
    entries: RwLock<Vec<Store<ClientRegistration>>>,
    servers: RwLock<Vec<Store<AuthorizationServer>>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    /// Without a cache yet.
    pub fn new(clock: Clock, scope: Scope, watches: Arc<Watches>, permit: Permit) -> Self {
        Self {
            clock,
            scope,
            watches,
            permit,
            clients: RwLock::default(),
            entries: RwLock::default(),
            servers: RwLock::default(),
        }
    }

    /// Counts what is in this cache too.
    pub fn count_clients(&self, store: Store<OAuthClient>) {
        self.clients.write().unwrap_or_else(PoisonError::into_inner).push(store);
    }

    /// Counts what is in this cache too.
    pub fn count_entries(&self, store: Store<ClientRegistration>) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).push(store);
    }

    /// Tells what is in this cache too.
    pub fn count_servers(&self, store: Store<AuthorizationServer>) {
        self.servers.write().unwrap_or_else(PoisonError::into_inner).push(store);
    }

    /// The last survey of each server that has had one, by its name.
    fn surveys(&self) -> BTreeMap<String, Survey> {
        let stores = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        let all = stores.iter().flat_map(Store::state);
        all.filter_map(|s| Some((s.name_any(), s.status.as_ref()?.survey.clone()?))).collect()
    }

    /// Of this process alone.
    fn process(&self, gauges: &mut Gauges<'_>) -> fmt::Result {
        gauges.single(
            ("leader", "1 at the replica that holds the lease and acts, 0 at those that wait for it", None),
            Some(yes_or_no(self.permit.is_valid())),
        )?;
        let offset = self.clock.offset();
        gauges.single(
            (
                "clock_offset",
                "How far the local clock is ahead of the API server's; absent before its first answer",
                Some(&Unit::Seconds),
            ),
            offset.map(chrono::TimeDelta::as_seconds_f64),
        )?;
        gauges.single(
            (
                "clock_trusted",
                "1 while the local clock is within a minute of the API server's; otherwise nothing is ended for reasons of time",
                None,
            ),
            Some(yes_or_no(clock_is_trusted(offset))),
        )
    }

    fn census(&self) -> Census {
        let now = self.clock.now();
        let mut census = Census::new();
        for store in self.clients.read().unwrap_or_else(PoisonError::into_inner).iter() {
            store.state().iter().for_each(|client| census.client(client, now));
        }
        for store in self.entries.read().unwrap_or_else(PoisonError::into_inner).iter() {
            for entry in store.state() {
                let watched = self.scope.includes(&entry.spec.client_ref.namespace);
                census.entry(&entry, watched, now);
            }
        }
        census
    }
}

/// Writes gauges.
struct Gauges<'a>(DescriptorEncoder<'a>);

impl Gauges<'_> {
    /// One for each label set.
    fn family<L: EncodeLabelSet>(
        &mut self,
        (name, help, unit): (&str, &str, Option<&Unit>),
        values: impl Iterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// One without labels; none where there is nothing to tell.
    fn single(&mut self, (name, help, unit): (&str, &str, Option<&Unit>), value: Option<f64>) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        value.map_or(Ok(()), |v| ConstGauge::new(v).encode(metric))
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
fn number(count: u64) -> f64 {
    count as f64
}

fn yes_or_no(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// What is owed, by server.
fn debts(gauges: &mut Gauges<'_>, census: &Census) -> fmt::Result {
    let by_server = |value: fn(&Debt) -> f64| {
        census.debts.iter().map(move |(server, debt)| ([("server", server.as_str())], value(debt)))
    };
    gauges.family(
        ("revocation_debt", "Clients whose end has come and whose revocation is not final", None),
        by_server(|debt| number(debt.count)),
    )?;
    gauges.family(
        (
            "revocation_debt_oldest_age",
            "How long ago the end of the longest owed revocation came",
            Some(&Unit::Seconds),
        ),
        by_server(|debt| debt.oldest.as_seconds_f64()),
    )?;
    gauges.family(
        ("possible_orphans", "Clients that may exist at the server and that the ledger cannot revoke", None),
        by_server(|debt| number(debt.possible_orphans)),
    )
}

/// What surveys found, by server.
fn surveys(gauges: &mut Gauges<'_>, surveys: &BTreeMap<String, Survey>) -> fmt::Result {
    let by_server = |value: fn(&Survey) -> f64| {
        surveys.iter().map(move |(server, survey)| ([("server", server.as_str())], value(survey)))
    };
    gauges.family(
        ("orphans", "Clients of this installation that no ledger entry claims, at the last survey", None),
        by_server(|survey| f64::from(survey.unclaimed)),
    )?;
    gauges.family(
        (
            "orphan_sweep_stopped",
            "1 while the sweep revokes no orphan because more than mostUnclaimedPercent of all clients are unclaimed",
            None,
        ),
        by_server(|survey| yes_or_no(survey.stopped.is_some())),
    )?;
    gauges.family(
        (
            "last_survey_timestamp",
            "When all clients of this installation were last looked through",
            Some(&Unit::Seconds),
        ),
        by_server(|survey| number(u64::try_from(survey.at.timestamp()).unwrap_or_default())),
    )
}

impl Collector for State {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let census = self.census();
        let mut gauges = Gauges(encoder);
        gauges.family(
            ("clients", "OAuthClients by state", None),
            census.clients.iter().map(|(k, v)| ([("state", *k)], number(*v))),
        )?;
        gauges.family(
            ("registrations", "Ledger entries by phase", None),
            census.entries.iter().map(|(k, v)| ([("phase", *k)], number(*v))),
        )?;
        debts(&mut gauges, &census)?;
        gauges.family(
            ("ending_clients", "Clients in the last tenth of their life, or the last seven days of it", None),
            census.ending.iter().map(|((server, durability), count)| {
                ([("durability", durability.as_str()), ("server", server.as_str())], number(*count))
            }),
        )?;
        gauges.single(
            ("unapproved_clients", "OAuthClients that wait for a person's yes", None),
            Some(number(census.unapproved)),
        )?;
        gauges.single(
            (
                "unapproved_clients_oldest_age",
                "How long the OAuthClient has waited that waits longest for a person's yes",
                Some(&Unit::Seconds),
            ),
            Some(census.unapproved_since.as_seconds_f64()),
        )?;
        surveys(&mut gauges, &self.surveys())?;
        gauges.single(
            ("overdue_registrations", "Clients past their lifetime without an end on record", None),
            Some(number(census.overdue)),
        )?;
        gauges.single(
            (
                "unwatched_registrations",
                "Clients that are not final in the ledger and whose namespace is not among those watched",
                None,
            ),
            Some(number(census.unwatched)),
        )?;
        self.process(&mut gauges)?;
        let up = self.watches.up();
        gauges.family(
            (
                "watch_up",
                "1 while what a controller watches of a resource is listed and has not failed for 90 seconds",
                None,
            ),
            up.iter().map(|((controller, resource), up)| {
                ([("controller", *controller), ("resource", resource.as_str())], yes_or_no(*up))
            }),
        )
    }
}
