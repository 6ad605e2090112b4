//! A pass of the registration controller: the reads, writes and calls of `src/controller/registration`, in their order.

use chrono::TimeDelta;
use kube::ResourceExt;
use oauthclient_operator::api::{
    Acceptance, ClientRegistration, Phase, PossibleOrphan, Retry, TokenEndpointAuthMethod,
};
use oauthclient_operator::authorization_server::probe::NoAnswer;
use oauthclient_operator::domain::backoff;
use oauthclient_operator::domain::client::is_told;
use oauthclient_operator::domain::ends::{Circumstances, ClientState, NamespaceState};
use oauthclient_operator::domain::evidence::{self, Verdict};
use oauthclient_operator::domain::registration::{
    Management, Observed, Pass, Step, attempt, credential_accepted, decide, deletion_follows, probe_failed,
};
use oauthclient_operator::domain::workload::Workload;
use oauthclient_operator::kubernetes::management_secret::Stored;
use secrecy::SecretString;

use super::calls::{Api, Look};
use super::schedule::{Next, Shared, at};
use super::world::{ApiError, World};
use super::{laws, probing, registering, rotating};

/// How long final entries are kept.
pub const RETENTION: TimeDelta = TimeDelta::days(90);

pub struct Work {
    pub entry: ClientRegistration,
    pub observed: Observed,
    pub stored: Option<Stored>,
}

/// What a probe sends.
pub fn credential(entry: &ClientRegistration, stored: &Stored) -> Option<(String, SecretString)> {
    let secret = match entry.spec.request.token_endpoint_auth_method {
        TokenEndpointAuthMethod::PrivateKeyJwt => stored.private_key.clone(),
        _ => stored.client_secret.clone(),
    };
    Some((stored.management.client_id.clone(), secret?))
}

pub fn management(entry: &ClientRegistration, stored: &Stored) -> Management {
    stored.in_short(entry, credential(entry, stored).is_some())
}

impl Work {
    /// What managing the client takes, from now on in this pass.
    pub fn holds(&mut self, stored: Stored) {
        self.observed.management = management(&self.entry, &stored);
        self.stored = Some(stored);
    }
}

/// One pass.
pub async fn pass(api: Api, shared: Shared, name: String) -> Result<Next, ApiError> {
    let entry = match api.read(|w| w.entries.get(&name).cloned()).await {
        Look::There(entry) => entry,
        Look::Gone => return Ok(Next::OnChange),
        Look::Unknown => return Ok(Next::After(TimeDelta::seconds(3))),
    };
    laws::registration_pass_begins(&mut api.change(), &name);
    let mut work = observe(&api, entry).await;
    for _ in 0..20 {
        let now = api.now();
        work.observed.circumstances.clock_trusted = api.world().clock_trusted();
        let step = decide(&work.observed, RETENTION, now);
        api.change().say(|w| format!("{}: {}", w.called(&name), brief(&step)));
        match step {
            Step::Wait { until } => return Ok(at(&api, until, now)),
            Step::Release => {
                release(&api, &work).await?;
                return Ok(Next::OnChange);
            }
            other => act(&api, &shared, &mut work, other).await?,
        }
    }
    api.change().broken(format!("entry {name} does not get on"));
    Ok(Next::After(TimeDelta::seconds(60)))
}

fn brief(step: &Step) -> String {
    let text: String = format!("{step:?}").chars().take(90).collect();
    text.replace('\n', " ")
}

async fn observe(api: &Api, entry: ClientRegistration) -> Work {
    let spec = entry.spec.clone();
    let key = (spec.client_ref.namespace.clone(), spec.client_ref.name.clone());
    let client = match api.read(|w| w.clients.get(&key).cloned()).await {
        Look::There(c) if c.uid().as_deref() == Some(&spec.client_ref.uid) => ClientState::Present {
            deleting: c.metadata.deletion_timestamp.is_some(),
            suspended: c.spec.suspend,
            generation: c.metadata.generation.unwrap_or_default(),
            told: is_told(c.status.as_ref(), spec.attempt),
        },
        Look::There(_) | Look::Gone => ClientState::Gone,
        Look::Unknown => {
            api.change().facts.unread.insert(entry.name_any());
            ClientState::Unknown
        }
    };
    let namespace = namespace(api, &key.0).await;
    let workload = workload(api, &key.0, spec.workload.as_ref().map(|w| w.reference.name.as_str())).await;
    let name = entry.name_any();
    let (management, stored) = match api.read(|w| w.management.get(&name).cloned()).await {
        Look::There(found) => (management(&entry, &found.stored), Some(found.stored)),
        Look::Gone => (Management::Absent, None),
        Look::Unknown => (Management::Unknown, None),
    };
    let circumstances = Circumstances {
        entry_deleting: entry.metadata.deletion_timestamp.is_some(),
        client,
        namespace,
        workload,
        clock_trusted: api.world().clock_trusted(),
    };
    let observed = Observed { name, spec, status: entry.state(), circumstances, management, pass: Pass::default() };
    Work { entry, observed, stored }
}

/// A namespace's state.
pub async fn namespace(api: &Api, name: &str) -> NamespaceState {
    match api.read(|w| w.namespaces.get(name).copied().filter(|s| *s != NamespaceState::Gone)).await {
        Look::There(state) => state,
        Look::Gone => NamespaceState::Gone,
        Look::Unknown => NamespaceState::Unknown,
    }
}

/// A workload, looked at live.
pub async fn workload(api: &Api, namespace: &str, name: Option<&str>) -> Workload {
    let Some(name) = name else { return Workload::NotReferenced };
    match api.read(|w| w.jobs.get(&(namespace.to_owned(), name.to_owned())).cloned()).await {
        Look::There(job) => Workload::Present { uid: job.uid, finished: job.finished.then(|| "Complete".into()) },
        Look::Gone => Workload::Missing,
        Look::Unknown => Workload::Unknown,
    }
}

pub async fn record(api: &Api, work: &mut Work) -> Result<(), ApiError> {
    work.entry.status = Some(work.observed.status.clone());
    let (name, entry) = (work.observed.name.clone(), work.entry.clone());
    let what = format!("status: {}", work.observed.status.phase.as_str());
    let written = api.write(&what, move |w| write_status(w, &name, &entry)).await?;
    work.entry = written;
    Ok(())
}

pub fn write_status(world: &mut World, name: &str, entry: &ClientRegistration) -> Result<ClientRegistration, ApiError> {
    let found = world.entries.get(name).ok_or(ApiError::Gone)?;
    if found.metadata.resource_version != entry.metadata.resource_version {
        return Err(ApiError::Conflict);
    }
    let before = found.state();
    let after = entry.state();
    laws::entry_status(world, name, &before, &after);
    if before != after {
        world.change_entry(name, false, |e| e.status.clone_from(&entry.status));
    }
    world.entries.get(name).cloned().ok_or(ApiError::Gone)
}

pub async fn failed(api: &Api, work: &mut Work, why: &str) -> Result<(), ApiError> {
    let now = api.now();
    let s = &mut work.observed.status;
    s.retry = Some(backoff::failed(&work.observed.name, s.retry.as_ref(), now, why, None));
    record(api, work).await
}

pub async fn orphan(api: &Api, work: &mut Work, unmanageable: bool) -> Result<(), ApiError> {
    let now = api.now();
    let s = &mut work.observed.status;
    s.phase = Phase::PossibleOrphan;
    s.possible_orphan = Some(PossibleOrphan { since: now, message: "a client may exist".into(), unmanageable });
    s.retry = None;
    record(api, work).await
}

#[expect(clippy::too_many_lines, reason = "one arm for each step, as in the controller")]
async fn act(api: &Api, shared: &Shared, work: &mut Work, step: Step) -> Result<(), ApiError> {
    let now = api.now();
    match step {
        Step::RecordAttempt => {
            attempt::begins(&mut work.observed, now);
            record(api, work).await?;
            work.observed.pass.attempt_recorded = true;
        }
        Step::Register => registering::register(api, work).await?,
        Step::RecordPossibleOrphan => orphan(api, work, false).await?,
        Step::Prove => probing::prove(api, shared, work).await?,
        Step::RecordRegistered => {
            attempt::succeeded(&mut work.observed, now);
            record(api, work).await?;
        }
        Step::Update => registering::update(api, work).await?,
        Step::RecordDrift(drift) => {
            work.observed.status.drift = drift;
            work.observed.status.retry = None;
            record(api, work).await?;
        }
        Step::RecordEnd(end) => {
            let asked = deletion_follows(&work.observed, now).then_some(now);
            let s = &mut work.observed.status;
            s.end = Some(end);
            if s.phase != Phase::Pending {
                s.phase = Phase::Revoking;
            }
            s.retry = None;
            if s.attempted_at.is_some() {
                s.deletion.get_or_insert_default().asked_at = asked;
                record(api, work).await?;
                work.observed.pass.intent_recorded = asked.is_some();
            }
        }
        Step::ProbeBefore => {
            let verdict = match probing::ask_both(api, shared, work, work.stored.as_ref()).await {
                Ok((answer, control, accepted)) => {
                    let verdict = evidence::verdict(&answer, &accepted, &control);
                    match (verdict, work.observed.status.acceptance.clone()) {
                        (Verdict::Accepted, Some(known)) => {
                            credential_accepted(&mut work.observed.status, Acceptance { answer, ..known });
                        }
                        _ => probe_failed(&mut work.observed.status, verdict == Verdict::Unclear),
                    }
                    verdict
                }
                Err(NoAnswer { taken, .. }) => {
                    probe_failed(&mut work.observed.status, taken);
                    if taken { Verdict::Unclear } else { Verdict::Unreached }
                }
            };
            work.observed.pass.before = Some(verdict);
        }
        Step::Delete => probing::delete(api, work).await?,
        Step::ProbeAfter => match probing::ask_both(api, shared, work, work.stored.as_ref()).await {
            Ok((answer, control, _)) => {
                work.observed.pass.after = Some((answer, control));
            }
            Err(none) => failed(api, work, &none.why).await?,
        },
        Step::Identify => {
            let keys = api.call("keys", |w, fault| w.server.keys(fault).ok_or("no keys")).await;
            work.observed.pass.same_server = Some(keys == Ok("ours"));
            if keys == Ok("ours") {
                work.observed.pass.after = None;
            }
        }
        Step::RecordFinal(phase, found) => {
            let s = &mut work.observed.status;
            s.phase = phase;
            s.retry = None;
            s.evidence = found;
            if phase == Phase::Revoked {
                s.revoked_at = Some(now);
                s.tokens_expire_at = work.observed.spec.server.access_token_lifetime.delta().map(|d| now + d);
            }
            record(api, work).await?;
        }
        Step::RecordDebt(why, found) => {
            work.observed.status.evidence = found;
            failed(api, work, &why).await?;
        }
        Step::Prepare => registering::prepare(api, work).await?,
        Step::LookUp => probing::look_up(api, work).await?,
        Step::RecordUnsettled(until, found) => {
            let s = &mut work.observed.status;
            s.evidence = Some(found);
            s.retry = Some(Retry { failures: 0, next_at: until, last_error: "gone, and may come back".into() });
            record(api, work).await?;
        }
        Step::PrepareKey => rotating::prepare(api, work).await?,
        Step::PutKeys => rotating::put(api, work).await?,
        Step::ProveKey => rotating::prove(api, shared, work).await?,
        Step::PromoteKey => rotating::promote(api, work).await?,
        Step::RecordKeyRotated => rotating::note(api, work, |status| status.rotated_at = Some(now)).await?,
        Step::ProveKeyRefused => rotating::prove_refused(api, shared, work).await?,
        Step::DropKey => rotating::drop_previous(api, work).await?,
        Step::RecordKeyRetired => rotating::note(api, work, |status| status.retired_at = Some(now)).await?,
        Step::Release | Step::Wait { .. } => {}
    }
    Ok(())
}

async fn release(api: &Api, work: &Work) -> Result<(), ApiError> {
    let name = work.observed.name.clone();
    if work.stored.is_some() {
        api.write("management Secret: released", |w| {
            w.management.remove(&name);
            Ok(())
        })
        .await?;
    }
    api.write("entry: released", |w| {
        laws::released(w, &name);
        w.change_entry(&name, false, |e| e.metadata.finalizers = None);
        Ok(())
    })
    .await?;
    if work.entry.metadata.deletion_timestamp.is_none() {
        let now = api.world().timestamp();
        api.write("entry: deleted", |w| {
            w.change_entry(&name, false, |e| e.metadata.deletion_timestamp = Some(now));
            Ok(())
        })
        .await?;
    }
    Ok(())
}
