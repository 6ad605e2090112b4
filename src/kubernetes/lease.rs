//! Which replica acts: the one that holds the Lease (coordination.k8s.io/v1).
//!
//! It is taken and renewed by replacing the very version that was read, so that two cannot both succeed. The holder counts
//! its time from before it asked, the others from when they saw what came of it, and less the drift of their clocks: the
//! holder stops before anybody else may begin, whatever the time of day is where.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::clock::Clock;
use super::look::{Look, explain, is_conflict, look};
use super::writer;
use crate::permit::{Instant, Permit};

/// The Lease's name, in the operator's namespace.
pub const NAME: &str = "oauthclient-operator";
const RESOURCE: &str = "leases.coordination.k8s.io";
/// Whoever had it since.
const NOBODY: &str = "somebody who has let it go";
/// Between two looks of one who waits; and between two renewals at the most.
const LOOK: Duration = Duration::from_secs(2);

/// One replica's part in the election.
pub struct Election {
    api: Api<Lease>,
    identity: String,
    duration: Duration,
    clock: Clock,
    permit: Permit,
    seen: Option<Seen>,
}

/// What the Lease said when it was last read, and since when it has said the same.
#[derive(Debug, Clone)]
struct Seen {
    spec: Option<LeaseSpec>,
    since: Instant,
}

/// The lease was held, and somebody else has it or may have had it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost to {0}")]
pub struct Lost(pub String);

impl Election {
    /// Of this namespace's operator. `client` may write without a permit; `permit` is granted while the lease is held.
    pub fn new(client: Client, namespace: &str, duration: Duration, clock: Clock, permit: Permit) -> Self {
        let random = crate::domain::names::hex(&rand::random::<[u8; 4]>());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let api = Api::namespaced(client, namespace);
        Self { api, identity: format!("{host}_{random}"), duration, clock, permit, seen: None }
    }

    /// This replica's name in the Lease: of its host, and not of one that ran there before.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Waits for the lease, and keeps it until it is told to let go.
    ///
    /// # Errors
    ///
    /// It was held and is not any more.
    pub async fn run(mut self, mut let_go: watch::Receiver<bool>) -> Result<(), Lost> {
        let told = async move { drop(let_go.wait_for(|told| *told).await) };
        tokio::pin!(told);
        tokio::select! {
            biased;
            () = &mut told => return Ok(()),
            () = self.take() => {}
        }
        tracing::info!(identity = self.identity, "this replica holds the lease and acts from now on");
        let lost = tokio::select! {
            biased;
            () = &mut told => None,
            lost = self.keep() => Some(lost),
        };
        let held = self.permit.is_valid();
        self.permit.withdraw();
        match lost {
            Some(lost) => return Err(lost),
            None if held => self.release().await,
            None => {}
        }
        Ok(())
    }

    /// Waits until it is ours.
    async fn take(&mut self) {
        let mut said = None;
        loop {
            let found = match self.try_once(Self::held_by).await {
                Ok(None) => return,
                Ok(Some(holder)) => Ok(holder),
                Err(why) => Err(why),
            };
            if said.as_ref() != Some(&found) {
                match &found {
                    Ok(holder) => tracing::info!(
                        identity = self.identity,
                        holder,
                        "another replica holds the lease; this one is ready to take it over"
                    ),
                    Err(why) => tracing::warn!(
                        identity = self.identity,
                        why,
                        "the lease {NAME} can be neither read nor taken, and nothing is done before; check that the operator may get, create and update leases in its namespace"
                    ),
                }
                said = Some(found);
            }
            sleep(self.pause()).await;
        }
    }

    /// Renews it, until somebody else has it. While it cannot be renewed the permit lapses; when it can be again, and is
    /// still ours, nobody else has acted.
    async fn keep(&mut self) -> Lost {
        loop {
            sleep(self.pause()).await;
            match self.try_once(Self::lost_to).await {
                Ok(None) => {}
                Ok(Some(holder)) => return Lost(holder),
                Err(why) => tracing::warn!(
                    why,
                    seconds_left = self.permit.remaining().as_secs(),
                    "the lease could not be renewed; it is tried again, and nothing is done once it is over"
                ),
            }
        }
    }

    /// How long one try may take.
    fn patience(&self) -> Duration {
        self.duration / 3
    }

    /// Between two tries: several fit into the time that a lease lasts.
    fn pause(&self) -> Duration {
        LOOK.min(self.duration / 5)
    }

    /// Takes or renews it, unless it is somebody else's: whose.
    async fn try_once(&mut self, elses: fn(&Self, Option<&Lease>) -> Option<String>) -> Result<Option<String>, String> {
        let patience = self.patience();
        let trying = async {
            loop {
                let there = self.look().await?;
                if let Some(holder) = elses(self, there.as_ref()) {
                    return Ok(Some(holder));
                }
                if self.write(there).await? {
                    return Ok(None);
                }
            }
        };
        let tried = timeout(patience, trying).await;
        tried.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs_f32())))
    }

    /// Who has it, seen by one that waits for it.
    fn held_by(&self, _: Option<&Lease>) -> Option<String> {
        self.seen.as_ref()?.holder(&self.identity, self.duration).map(ToOwned::to_owned)
    }

    /// Who has it, or may have had it, seen by the one that held it.
    fn lost_to(&self, there: Option<&Lease>) -> Option<String> {
        let Some(lease) = there else {
            // Somebody has deleted it: as long as it was certain to be ours nobody else can have begun.
            return (!self.permit.is_valid()).then(|| NOBODY.to_owned());
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        let name = if holder.is_empty() { NOBODY } else { holder };
        (holder != self.identity).then(|| name.to_owned())
    }

    /// The Lease, where there is one.
    async fn look(&mut self) -> Result<Option<Lease>, String> {
        let there = match look(&self.api, RESOURCE, NAME).await {
            Look::There(lease) => Some(lease),
            // Somebody has deleted it. Whoever held it does not know yet.
            Look::Gone => None,
            Look::Unknown(why) => return Err(why),
        };
        if let Some(lease) = &there {
            let same = self.seen.take().filter(|seen| seen.spec == lease.spec);
            self.seen = Some(same.unwrap_or_else(|| Seen { spec: lease.spec.clone(), since: Instant::now() }));
        }
        Ok(there)
    }

    /// Takes or renews it; false where somebody was quicker, which may have been a request of our own.
    async fn write(&mut self, there: Option<Lease>) -> Result<bool, String> {
        let asked = Instant::now();
        let wanted = held(there.as_ref(), &self.identity, self.duration, self.clock.now());
        let done = match there {
            Some(_) => self.api.replace(NAME, &writer::post(), &wanted).await,
            None => self.api.create(&writer::post(), &wanted).await,
        };
        let lease = match done {
            Ok(lease) => lease,
            Err(error) if is_conflict(&error) => return Ok(false),
            Err(error) => return Err(explain(&error)),
        };
        self.permit.grant(asked.after(certain(self.duration)));
        self.seen = Some(Seen { spec: lease.spec, since: asked });
        Ok(true)
    }

    /// Lets it go, so that another need not wait.
    async fn release(&self) {
        let letting_go = async {
            let mut lease = self.api.get(NAME).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            self.api.replace(NAME, &writer::post(), &lease).await.map(drop)
        };
        let why = match timeout(self.patience(), letting_go).await {
            Ok(Ok(())) => return tracing::info!(identity = self.identity, "the lease is let go"),
            Ok(Err(error)) => explain(&error),
            Err(_) => "no answer".to_owned(),
        };
        tracing::warn!(identity = self.identity, why, "the lease could not be let go; others wait until it is over");
    }
}

impl Seen {
    /// Who else has it, as seen by this replica: nobody once it was let go, or was not renewed for as long as its holder
    /// said that it would be.
    fn holder(&self, identity: &str, duration: Duration) -> Option<&str> {
        let spec = self.spec.as_ref()?;
        let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty() && *holder != identity)?;
        let said = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = said.map_or(duration, Duration::from_secs);
        (self.since.elapsed() < lasts).then_some(holder)
    }
}

/// For how long a holder is certain of a lease of this duration: clocks may go a tenth apart.
fn certain(duration: Duration) -> Duration {
    duration / 10 * 9
}

/// The Lease as it is when this replica has it.
fn held(there: Option<&Lease>, identity: &str, duration: Duration, now: DateTime<Utc>) -> Lease {
    let now = Timestamp::from_microsecond(now.timestamp_micros()).ok().map(MicroTime);
    let before = there.and_then(|lease| lease.spec.as_ref());
    let ours = before.filter(|spec| spec.holder_identity.as_deref() == Some(identity));
    let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    let named = || ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() };
    Lease {
        metadata: there.map_or_else(named, |lease| lease.metadata.clone()),
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
            acquire_time: ours.map_or(now.clone(), |spec| spec.acquire_time.clone()),
            renew_time: now,
            lease_transitions: Some(if ours.is_some() || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        }
    }

    fn ago(seconds: u64) -> Instant {
        Instant::now().before(Duration::from_secs(seconds))
    }

    #[rstest::rstest]
    #[case::anothers("a", 15, 0, Some("a"))]
    #[case::anothers_until_it_is_over("a", 15, 14, Some("a"))]
    #[case::over("a", 15, 15, None)]
    #[case::as_long_as_its_holder_says("a", 60, 40, Some("a"))]
    #[case::let_go("", 15, 0, None)]
    #[case::ours("me", 15, 0, None)]
    fn who_has_it(#[case] holder: &str, #[case] lasts: i32, #[case] seen_ago: u64, #[case] expected: Option<&str>) {
        let seen = Seen { spec: Some(spec(holder, lasts)), since: ago(seen_ago) };
        assert_eq!(seen.holder("me", Duration::from_secs(15)), expected);
    }

    #[test]
    fn a_holder_stops_before_another_begins() {
        for seconds in [3, 15, 600] {
            let lasts = Duration::from_secs(seconds);
            assert!(certain(lasts) < lasts && certain(lasts) >= lasts / 5 * 4);
        }
    }

    #[test]
    fn taken_it_says_since_when_and_how_often() {
        let (now, lasts) = (DateTime::UNIX_EPOCH, Duration::from_secs(15));
        let first = held(None, "a", lasts, now);
        assert_eq!(first.spec.as_ref().unwrap().lease_transitions, Some(0));
        let later = now + chrono::TimeDelta::seconds(2);
        let renewed = held(Some(&first), "a", lasts, later).spec.unwrap();
        assert_eq!(renewed.acquire_time, first.spec.as_ref().unwrap().acquire_time);
        assert_ne!(renewed.renew_time, renewed.acquire_time);
        assert_eq!(renewed.lease_transitions, Some(0));
        let taken = held(Some(&first), "b", lasts, later).spec.unwrap();
        assert_eq!((taken.lease_transitions, &taken.acquire_time), (Some(1), &taken.renew_time));
    }
}
