//! What to do next for an `OAuthClient`: which ledger entry should exist, what the tenant's Secret holds, and what
//! the status says.

mod ended;
mod ending;
mod governed;
mod missing;
mod refusal;
mod rotation;
mod serving;
mod status;
#[cfg(test)]
mod tests;

pub use governed::{Grounds, asks_a_person, has_news};
pub use missing::is_told;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::api::{
    AuthorizationServer, ClientApproval, ClientPolicy, ClientRegistration, Condition, End, EndReason, KeyRotation,
    OAuthClient, OAuthClientStatus, Phase, PinnedWorkload, RotationOf,
};
use crate::domain::ends::NamespaceState;
use crate::domain::names;
use crate::domain::policy::Others;
use crate::domain::workload::Workload;

/// The Secret under the name that the client publishes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// There is none.
    Absent,
    /// Ours, as it should be.
    UpToDate,
    /// Ours, with other content.
    Outdated,
    /// Somebody else's.
    Foreign {
        /// Whose, in words.
        whose: String,
    },
}

/// Everything known of an OAuthClient.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The object.
    pub client: OAuthClient,
    /// Its namespace.
    pub namespace: NamespaceState,
    /// Labels of its namespace.
    pub namespace_labels: std::collections::BTreeMap<String, String>,
    /// The server that it names.
    pub server: Option<AuthorizationServer>,
    /// Its ledger entries, oldest attempt first.
    pub entries: Vec<ClientRegistration>,
    /// Its workload.
    pub workload: Workload,
    /// Its Secret.
    pub secret: Published,
    /// All policies.
    pub policies: Vec<ClientPolicy>,
    /// The decisions in its namespace.
    pub approvals: Vec<ClientApproval>,
    /// Since when the API server keeps true who asked and who approved; `None` while it does not.
    pub stamped_since: Option<DateTime<Utc>>,
    /// Whether that could be tried.
    pub stamps_tried: bool,
    /// How many clients live besides.
    pub others: Others,
    /// Whether the local clock is near the API server's.
    pub clock_trusted: bool,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, strum::IntoStaticStr)]
pub enum Step {
    /// Put our finalizer on the object.
    AddFinalizer,
    /// Write a ledger entry.
    CreateEntry {
        /// Attempt number.
        attempt: u32,
        /// When the object was first registered.
        first_registered_at: DateTime<Utc>,
        /// When it ends.
        expires_at: DateTime<Utc>,
        /// Not before.
        not_before: Option<DateTime<Utc>>,
        /// The workload found.
        workload: Option<PinnedWorkload>,
        /// An end that has come already: nothing is registered, but what there may be is revoked.
        end: Option<End>,
        /// The rotation that it is for.
        rotation: Option<RotationOf>,
        /// What it may run on.
        grounds: Option<Box<Grounds>>,
    },
    /// Bring the entry in line with this generation of the object.
    UpdateEntry {
        /// The entry's name.
        name: String,
        /// Until when.
        expires_at: DateTime<Utc>,
        /// What is asked changes too; otherwise only the time, and the record that this generation was judged.
        whole: bool,
        /// What it may run on.
        grounds: Option<Box<Grounds>>,
    },
    /// End an entry: another has replaced it, or it is not allowed.
    EndEntry {
        /// The entry's name.
        name: String,
        /// Why.
        reason: EndReason,
        /// Why, in a sentence.
        why: String,
    },
    /// Let an entry whose credential was rotated end by itself, when the overlap is over.
    RetireEntry {
        /// The entry's name.
        name: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// Have another key beside the one that an entry's client has.
    RotateKey {
        /// The entry's name.
        name: String,
        /// Why, and since when.
        rotation: KeyRotation,
    },
    /// The new key is published: let the one before end when the overlap is over.
    RetireKey {
        /// The entry's name.
        name: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// Take the annotation off that asked for a rotation.
    ClearRotation {
        /// Why nothing follows from it.
        refused: Option<&'static str>,
    },
    /// Publish the credential of this entry.
    PublishSecret {
        /// The entry's name.
        entry: String,
    },
    /// Take the credential away.
    DeleteSecret,
    /// Take our finalizer off.
    RemoveFinalizer {
        /// The debt that stays in the ledger, in words.
        debt: Option<String>,
    },
    /// Delete the object, as `ttlSecondsAfterFinished` asks.
    DeleteObject,
    /// Nothing now.
    Wait,
}

impl Step {
    /// Its name, without what it is about.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// A step, what the status is to say, and when to look again.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What to do.
    pub step: Step,
    /// What to say; `None` leaves the status as it is (something is under way that will say more).
    pub status: Option<OAuthClientStatus>,
    /// Look again then.
    pub requeue_at: Option<DateTime<Utc>>,
}

/// When to look again at what nothing tells of: what could not be read, Secrets of others, a clock that is wrong.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(15);

/// Whether an end has come for this entry or its object, as far as is known here. The registration controller
/// decides for good; this is for taking the tenant's Secret away at once.
fn ending(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> bool {
    let s = entry.state();
    s.end.is_some()
        || s.phase.is_final()
        || entry.spec.end.is_some()
        || entry.metadata.deletion_timestamp.is_some()
        || o.client.metadata.deletion_timestamp.is_some()
        || o.client.spec.suspend
        || o.namespace == NamespaceState::Terminating
        || (o.clock_trusted && in_line(o, entry) && now >= entry.spec.expires_at)
}

/// Whether an object never had a client yet, and may get one.
pub fn is_on_the_way(client: &OAuthClient) -> bool {
    let registered = client.status.as_ref().is_some_and(|s| s.registered_at.is_some());
    !registered && client.metadata.deletion_timestamp.is_none()
}

/// Whether this status is the first to say that its client is Ready.
pub fn is_first_ready(o: &Observed, status: &OAuthClientStatus) -> bool {
    let registered = o.entries.iter().filter(|e| e.state().registered_at.is_some()).count();
    is_on_the_way(&o.client) && registered == 1 && status.state.as_deref() == Some("Ready")
}

/// Whether the entry knows this generation of the object.
fn in_line(o: &Observed, entry: &ClientRegistration) -> bool {
    entry.spec.generation >= o.client.metadata.generation.unwrap_or_default()
}

/// The next step for an object.
pub fn decide(o: &Observed, now: DateTime<Utc>) -> Decision {
    let mut decision = next(o, now);
    if decision.step == Step::Wait && governed::hangs_on_stamps(o) {
        let soon = now + LOOK_AGAIN;
        decision.requeue_at = Some(decision.requeue_at.map_or(soon, |at| at.min(soon)));
    }
    decision
}

fn next(o: &Observed, now: DateTime<Utc>) -> Decision {
    let has_finalizer = o.client.metadata.finalizers.iter().flatten().any(|f| f == crate::api::CLIENT_FINALIZER);
    if o.client.metadata.deletion_timestamp.is_some() {
        return if has_finalizer { ended::deleting(o, now) } else { wait(None) };
    }
    if o.namespace == NamespaceState::Gone {
        // What is left of a namespace that was finalized by force can be read and deleted, and not written.
        return if ours_is_there(o) { only(Step::DeleteSecret) } else { wait(None) };
    }
    if let Some(decision) = missing::missing(o, now) {
        return decision;
    }
    // The newest entry that serves: registered, and no end in sight.
    let serves = |e: &&ClientRegistration| e.state().phase == Phase::Registered && !ending(o, e, now);
    let serving = o.entries.iter().rev().find(|e| serves(e) && !rotation::is_outlived(o, e));
    if serving.is_none()
        && let Some(entry) = ended::last_to_end(o, now)
    {
        return ended::ended(o, entry, now);
    }
    if o.namespace == NamespaceState::Unknown {
        // Its labels are not known either.
        return wait(Some(now + LOOK_AGAIN));
    }
    if serving.is_none() && ours_is_there(o) {
        // Its entry was removed by force before the status named it: nothing stands for that credential any more.
        return only(Step::DeleteSecret);
    }
    if let Some(step) = governed::end(o, now) {
        return only(step);
    }
    match refusal::refusal(o, serving, now) {
        Some(refused) => return refusal::refuse(o, serving, refused, now),
        None if o.namespace != NamespaceState::Active => return wait(None),
        None => {}
    }
    if !has_finalizer {
        return only(Step::AddFinalizer);
    }
    match (serving, o.entries.last()) {
        (_, None) => create(o, None, None, now),
        (Some(serving), _) => serving::serve(o, serving, now),
        (None, Some(newest)) => serving::underway(o, newest, now),
    }
}

/// Whether a Secret of ours is published.
fn ours_is_there(o: &Observed) -> bool {
    matches!(o.secret, Published::UpToDate | Published::Outdated)
}

fn wait(requeue_at: Option<DateTime<Utc>>) -> Decision {
    Decision { step: Step::Wait, status: None, requeue_at }
}

fn only(step: Step) -> Decision {
    Decision { step, status: None, requeue_at: None }
}

/// Look again at this instant; sooner while the clock is not to be believed, since nothing says when it is again.
fn at(o: &Observed, when: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    if o.clock_trusted && when > now { when } else { now + LOOK_AGAIN }
}

/// The highest attempt that is known of.
fn last_attempt(o: &Observed) -> u32 {
    o.entries.last().map_or(0, |e| e.spec.attempt).max(known_attempts(&o.client))
}

fn create(o: &Observed, not_before: Option<DateTime<Utc>>, end: Option<End>, now: DateTime<Utc>) -> Decision {
    if o.entries.last().is_some_and(|e| e.spec.attempt > known_attempts(&o.client)) {
        // On the object first: should that entry be let go, the next one is found all the same.
        let mut status = o.client.status.clone().unwrap_or_default();
        status.attempts = Some(last_attempt(o));
        return Decision { step: Step::Wait, status: Some(status), requeue_at: None };
    }
    let first = first_registered_at(o).unwrap_or_else(|| now.trunc_subsecs(0));
    // A workload is found once: another of its name is not it.
    let workload = pinned(o).cloned().or_else(|| match (&o.client.spec.workload_ref, &o.workload) {
        (Some(reference), Workload::Present { uid, .. }) => {
            Some(PinnedWorkload { reference: reference.clone(), uid: uid.clone() })
        }
        _ => None,
    });
    let again = end.is_some();
    let grounds = governed::allowed_by(o, now).filter(|_| !again);
    only(Step::CreateEntry {
        attempt: last_attempt(o) + u32::from(!again),
        first_registered_at: first,
        expires_at: governed::until(o, first, grounds.as_ref().and_then(|g| g.approval.as_ref())),
        not_before,
        workload,
        grounds: grounds.map(Box::new),
        end,
        rotation: None,
    })
}

/// The workload as it was found when the object was first registered.
fn pinned(o: &Observed) -> Option<&PinnedWorkload> {
    let recorded = o.client.status.as_ref().and_then(|s| s.workload.as_ref());
    recorded.or_else(|| o.entries.iter().find_map(|e| e.spec.workload.as_ref()))
}

fn first_registered_at(o: &Observed) -> Option<DateTime<Utc>> {
    let status = o.client.status.as_ref().and_then(|s| s.registered_at);
    status.or_else(|| o.entries.first().map(|e| e.spec.first_registered_at))
}

/// How many attempts an object's status knows of. There may be one more; an entry that is not there may have been let
/// go, and says nothing of those after it.
pub fn known_attempts(client: &OAuthClient) -> u32 {
    let Some(status) = &client.status else { return 0 };
    status.attempts.unwrap_or(0).max(status.registration_ref.as_ref().map_or(0, |r| r.attempt))
}

/// Since when an object waits for a person's yes, whether to a client or to a change of one; `None` where it does not.
pub fn waits_for_approval_since(client: &OAuthClient) -> Option<DateTime<Utc>> {
    let conditions = client.status.iter().flat_map(|s| &s.conditions);
    let waits = |c: &&Condition| c.type_ == "Accepted" && c.reason == refusal::APPROVAL_PENDING;
    conditions.into_iter().find(waits).map(|c| c.last_transition_time)
}

/// Names that the entries of an object may have: from the one that its status names, or the last few, without end.
pub fn entry_names(client: &OAuthClient) -> impl Iterator<Item = (u32, String)> {
    let named = client.status.as_ref().and_then(|s| s.registration_ref.as_ref()).map_or(1, |r| r.attempt);
    let first = known_attempts(client).saturating_sub(3).min(named).max(1);
    let uid = client.metadata.uid.clone().unwrap_or_default();
    (first..).map(move |n| (n, names::entry(&uid, n)))
}
