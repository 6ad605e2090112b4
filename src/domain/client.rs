//! What to do next for an `OAuthClient`: which ledger entry should exist, what the tenant's Secret holds, and what
//! the status says.

mod forgotten;
mod replacement;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::api::{
    AuthorizationServer, ClientRegistration, EndReason, EvidenceLevel, OAuthClient, OAuthClientStatus, Phase,
    PinnedWorkload, RegistrationRef,
};
use crate::domain::conditions::{self, Say, say};
use crate::domain::ends::NamespaceState;
use crate::domain::workload::Workload;
use crate::domain::{backoff, lifetime, names, request};
use forgotten::{first_attempt, forgotten};
use replacement::{Trouble, replacement};

/// When to look again at what could not be read.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(15);

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
    /// Whether the local clock is near the API server's.
    pub clock_trusted: bool,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq)]
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
    },
    /// Bring the entry in line with the object: whose it is, what for and until when.
    UpdateEntry {
        /// The entry's name.
        name: String,
        /// Until when.
        expires_at: DateTime<Utc>,
        /// What is asked as well: the server is to change the client in place.
        request: bool,
    },
    /// End an entry that a later one has replaced.
    EndEntry {
        /// The entry's name.
        name: String,
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
        || (o.clock_trusted && now >= entry.spec.expires_at)
}

/// The next step for an object.
pub fn decide(o: &Observed, now: DateTime<Utc>) -> Decision {
    let has_finalizer = o.client.metadata.finalizers.iter().flatten().any(|f| f == crate::api::CLIENT_FINALIZER);
    if o.client.metadata.deletion_timestamp.is_some() {
        return if has_finalizer { deleting(o, now) } else { wait(None) };
    }
    let current = o.entries.last();
    // The newest entry that serves: registered, and no end in sight.
    let serving = o.entries.iter().rev().find(|e| e.state().phase == Phase::Registered && !ending(o, e, now));
    if o.namespace == NamespaceState::Gone {
        // What is left of a namespace that was finalized by force can be read and deleted, and not written.
        let step = if ours_is_there(o) { Step::DeleteSecret } else { Step::Wait };
        return Decision { step, status: None, requeue_at: None };
    }
    if let Some(entry) = current
        && serving.is_none()
        && (ending(o, entry, now) || entry.state().phase.is_final())
    {
        return ended(o, entry, now);
    }
    let known = o.client.status.as_ref().and_then(|s| s.registration_ref.as_ref());
    if let (None, Some(known)) = (current, known)
        && let Some(decision) = forgotten(o, known, now)
    {
        return decision;
    }
    match refusal(o, current) {
        Some(refused) => return refuse(o, serving, refused, now),
        None if o.namespace == NamespaceState::Terminating => return wait(None),
        None => {}
    }
    if !has_finalizer {
        return Decision { step: Step::AddFinalizer, status: None, requeue_at: None };
    }
    match (serving, current) {
        (_, None) => create(o, first_attempt(o), None, now),
        (Some(serving), _) => serve(o, serving, now),
        (None, Some(current)) => underway(o, current, now),
    }
}

/// Whether a Secret of ours is published.
fn ours_is_there(o: &Observed) -> bool {
    matches!(o.secret, Published::UpToDate | Published::Outdated)
}

fn wait(requeue_at: Option<DateTime<Utc>>) -> Decision {
    Decision { step: Step::Wait, status: None, requeue_at }
}

fn create(o: &Observed, attempt: u32, not_before: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Decision {
    let first = first_registered_at(o).unwrap_or_else(|| now.trunc_subsecs(0));
    let workload = match (&o.client.spec.workload_ref, &o.workload) {
        (Some(reference), Workload::Present { uid, .. }) => {
            Some(PinnedWorkload { reference: reference.clone(), uid: uid.clone() })
        }
        _ => None,
    };
    Decision {
        step: Step::CreateEntry {
            attempt,
            first_registered_at: first,
            expires_at: lifetime::expires_at(&o.client.spec.lifetime, first),
            not_before,
            workload,
        },
        status: None,
        requeue_at: None,
    }
}

fn first_registered_at(o: &Observed) -> Option<DateTime<Utc>> {
    let status = o.client.status.as_ref().and_then(|s| s.registered_at);
    status.or_else(|| o.entries.first().map(|e| e.spec.first_registered_at))
}

/// A reason not to register, for a condition.
struct Refusal {
    reason: &'static str,
    message: String,
    /// It may go away by itself: not Stalled.
    waiting: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "every caller returns an option")]
fn refused(reason: &'static str, message: impl Into<String>) -> Option<Refusal> {
    Some(Refusal { reason, message: message.into(), waiting: false })
}

#[expect(clippy::unnecessary_wraps, reason = "every caller returns an option")]
fn waiting(reason: &'static str, message: impl Into<String>) -> Option<Refusal> {
    Some(Refusal { reason, message: message.into(), waiting: true })
}

/// What stands against registering this object now.
fn refusal(o: &Observed, current: Option<&ClientRegistration>) -> Option<Refusal> {
    let spec = &o.client.spec;
    let namespace = o.client.metadata.namespace.as_deref().unwrap_or_default();
    let server_name = &spec.authorization_server_ref.name;
    if spec.suspend {
        return refused("Suspended", "spec.suspend is true; set it to false to register");
    }
    let Some(server) = &o.server else {
        return refused(
            "UnknownAuthorizationServer",
            format!("there is no AuthorizationServer {server_name}; `kubectl get authorizationservers` lists them"),
        );
    };
    if !server.spec.allowed_namespaces.matches(namespace, &o.namespace_labels) {
        return refused(
            "NamespaceNotAllowed",
            format!(
                "AuthorizationServer {server_name} does not allow namespace {namespace}; ask its administrator to add it to spec.allowedNamespaces"
            ),
        );
    }
    if !spec.audiences.is_empty() {
        return refused(
            "AudiencesUnsupported",
            format!("audiences cannot be restricted at AuthorizationServer {server_name}; remove spec.audiences"),
        );
    }
    if spec.jwks.is_some() && server.spec.revocation.least_evidence == Some(EvidenceLevel::Proven) {
        return refused(
            "EvidenceUnobtainable",
            format!(
                "AuthorizationServer {server_name} demands Proven revocation, which takes a credential that the operator holds; remove spec.jwks, or ask for leastEvidence ServerConfirmed"
            ),
        );
    }
    if let (Published::Foreign { whose }, None) = (&o.secret, &spec.jwks) {
        return refused(
            "SecretConflict",
            format!(
                "Secret {} exists and {whose}; it is left alone. Choose another spec.secret.name in a new OAuthClient, or delete that Secret",
                spec.secret_name(o.client.metadata.name.as_deref().unwrap_or_default())
            ),
        );
    }
    // A client that was registered already goes on, whatever became of the server.
    if current.is_some_and(|c| c.state().phase == Phase::Registered) {
        return None;
    }
    if server.metadata.deletion_timestamp.is_some() {
        return refused("AuthorizationServerDeleting", format!("AuthorizationServer {server_name} is being deleted"));
    }
    let status = server.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    let Some(metadata) = &status.metadata else {
        let why = ready.map_or("it has not been looked at yet", |c| c.message.as_str());
        return waiting(
            "AuthorizationServerNotReady",
            format!("AuthorizationServer {server_name} is not ready: {why}"),
        );
    };
    if metadata.registration_endpoint.is_none() && !server.spec.backend.chooses_id() {
        return refused(
            "RegistrationUnsupported",
            format!("AuthorizationServer {server_name} has no registration endpoint"),
        );
    }
    if status.capabilities.is_some_and(|c| !c.management) {
        return refused(
            "RevocationUnsupported",
            format!(
                "AuthorizationServer {server_name} registers clients that cannot be revoked afterwards; none are registered until its AuthorizationServer is changed"
            ),
        );
    }
    if !o.clock_trusted {
        return waiting(
            "ClockNotTrusted",
            "the operator's clock is more than a minute off the API server's, so no end could be promised: nothing is registered before it is right",
        );
    }
    match &o.workload {
        Workload::NotAllowed { message } => return refused("WorkloadKindNotAllowed", message.clone()),
        Workload::Missing if current.is_none() => {
            return waiting(
                "WorkloadNotFound",
                format!("waiting for {}: nothing is registered before it exists", workload_name(o)),
            );
        }
        Workload::Present { finished: Some(why), .. } if current.is_none() => {
            return refused("WorkloadFinished", format!("{} has finished already: {why}", workload_name(o)));
        }
        Workload::Unknown if current.is_none() => {
            return waiting("WorkloadUnknown", format!("{} could not be read yet", workload_name(o)));
        }
        _ => {}
    }
    None
}

fn workload_name(o: &Observed) -> String {
    o.client.spec.workload_ref.as_ref().map_or_else(String::new, |w| format!("{} {}", w.kind, w.name))
}

fn refuse(o: &Observed, serving: Option<&ClientRegistration>, refusal: Refusal, now: DateTime<Utc>) -> Decision {
    if let Some(serving) = serving {
        // Nothing that stands against registering ends a client that runs (G6); it is said all the same. Its Secret is
        // put back, and its end may come sooner.
        let name = serving.metadata.name.clone().unwrap_or_default();
        let own = serving.spec.request.jwks.is_none();
        let expires_at = lifetime::expires_at(&o.client.spec.lifetime, serving.spec.first_registered_at);
        if expires_at < serving.spec.expires_at {
            let step = Step::UpdateEntry { name, expires_at, request: false };
            return Decision { step, status: None, requeue_at: None };
        }
        if own && matches!(o.secret, Published::Absent | Published::Outdated) {
            return Decision { step: Step::PublishSecret { entry: name }, status: None, requeue_at: None };
        }
        let mut status = base(o, serving);
        let ready = matches!(o.secret, Published::UpToDate) || !own;
        let said = vec![
            say("Accepted", false, refusal.reason, refusal.message.clone()),
            say("Registered", true, "Registered", "the client exists at the authorization server"),
            say("Ready", ready, if ready { "Ready" } else { refusal.reason }, refusal.message.clone()),
            say("Stalled", true, refusal.reason, refusal.message.clone()),
        ];
        finish(o, &mut status, if ready { "Ready" } else { "Refused" }, refusal.message, said, now);
        let requeue_at = looked_at_again(o, now).map_or(serving.spec.expires_at, |t| t.min(serving.spec.expires_at));
        return Decision { step: Step::Wait, status: Some(status), requeue_at: Some(requeue_at) };
    }
    let mut status = o.client.status.clone().unwrap_or_default();
    let mut said = vec![
        say("Accepted", false, refusal.reason, refusal.message.clone()),
        say("Ready", false, refusal.reason, refusal.message.clone()),
    ];
    if !refusal.waiting {
        said.push(say("Stalled", true, refusal.reason, refusal.message.clone()));
    }
    let state = if refusal.waiting { "Pending" } else { "Refused" };
    finish(o, &mut status, state, refusal.message, said, now);
    Decision { step: Step::Wait, status: Some(status), requeue_at: looked_at_again(o, now) }
}

/// When to look again at what nothing tells of: what could not be read, and Secrets of others, which are not watched.
fn looked_at_again(o: &Observed, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let hidden = o.workload == Workload::Unknown || !o.clock_trusted || matches!(o.secret, Published::Foreign { .. });
    hidden.then(|| now + LOOK_AGAIN)
}

fn serve(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Decision {
    let name = entry.metadata.name.clone().unwrap_or_default();
    let state = entry.state();
    let wanted = request::of(&o.client.spec);
    let expires_at = lifetime::expires_at(&o.client.spec.lifetime, entry.spec.first_registered_at);
    let hash = request::hash(&wanted);
    let unsupported = state.failed_change.as_ref().is_some_and(|f| f.request == hash && f.unsupported);
    let replace = request::needs_replacement(&entry.spec.request, &wanted) || unsupported;
    // The generation too: what ends this client for good is to hold until the object is edited once more.
    let behind = o.client.metadata.generation.unwrap_or_default() > entry.spec.generation;
    if behind || entry.spec.expires_at != expires_at || (!replace && entry.spec.request != wanted) {
        let step = Step::UpdateEntry { name, expires_at, request: !replace };
        return Decision { step, status: None, requeue_at: None };
    }
    let trouble = match replacement(o, entry, replace, &wanted, now) {
        Ok(trouble) => trouble,
        Err(step) => return *step,
    };
    match (&o.secret, entry.spec.request.jwks.is_some()) {
        (Published::UpToDate | Published::Outdated, true) => {
            return Decision { step: Step::DeleteSecret, status: None, requeue_at: None };
        }
        (Published::UpToDate, false) | (_, true) => {}
        (Published::Absent | Published::Outdated, false) => {
            return Decision { step: Step::PublishSecret { entry: name }, status: None, requeue_at: None };
        }
        (Published::Foreign { .. }, false) => return wait(Some(now + TimeDelta::seconds(5))),
    }
    // The Secret holds the newest credential: those that it replaced can go.
    if let Some(old) = o.entries.iter().find(|e| {
        e.spec.attempt < entry.spec.attempt
            && e.spec.end.is_none()
            && e.is_live()
            && e.state().possible_orphan.is_none()
    }) {
        let name = old.metadata.name.clone().unwrap_or_default();
        return Decision { step: Step::EndEntry { name }, status: None, requeue_at: None };
    }
    let mut status = base(o, entry);
    let shown = if state.acceptance.is_some() {
        "registered, credential shown to work, Secret published"
    } else {
        "registered; whether the credential works cannot be tried here"
    };
    let mut said = vec![
        say("Accepted", true, "Accepted", "nothing stands against this request"),
        say("Registered", true, "Registered", "the client exists at the authorization server"),
        say("Ready", true, "Ready", shown),
    ];
    if !o.clock_trusted && now >= entry.spec.expires_at {
        let message = "by the operator's clock the lifetime is over, but that clock is more than a minute off the API server's: nothing is ended for reasons of time before it is right";
        said[2] = say("Ready", true, "ClockNotTrusted", message);
        finish(o, &mut status, "Overdue", message.into(), said, now);
        return Decision { step: Step::Wait, status: Some(status), requeue_at: Some(now + LOOK_AGAIN) };
    }
    let refused = state.failed_change.filter(|f| f.request == hash && !f.unsupported).map(|f| f.message);
    let pending = state.retry.filter(|_| state.applied.as_ref().is_some_and(|applied| *applied != hash));
    let pending = pending.map(|r| format!("a change is not made yet, the client goes on as it was: {}", r.last_error));
    let trouble = refused.map(Trouble::Refused).or(trouble).or(pending.map(Trouble::Failing));
    let message = match trouble {
        None => shown.to_owned(),
        Some(Trouble::Refused(message)) => {
            said.push(say("Stalled", true, "ChangeRefused", message.clone()));
            message
        }
        Some(Trouble::Failing(message)) => {
            said.push(say("Reconciling", true, "ChangePending", message.clone()));
            message
        }
    };
    finish(o, &mut status, "Ready", message, said, now);
    Decision { step: Step::Wait, status: Some(status), requeue_at: Some(entry.spec.expires_at) }
}

/// An entry that is neither serving nor ended: registering, failing, or of unknown outcome.
fn underway(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Decision {
    let state = entry.state();
    if let Some(orphan) = state.possible_orphan.as_ref().filter(|p| !p.unmanageable) {
        let attempt = entry.spec.attempt + 1;
        let name = entry.metadata.name.as_deref().unwrap_or_default();
        return create(o, attempt, Some(orphan.since + backoff::delay(name, attempt + 1, None)), now);
    }
    // The server was changed since: the client that could not be managed stays on record, another is tried.
    let changed =
        o.server.as_ref().and_then(|s| s.metadata.generation).is_some_and(|g| g > entry.spec.server.generation);
    if state.possible_orphan.is_some() && changed {
        return create(o, entry.spec.attempt + 1, None, now);
    }
    let expires_at = lifetime::expires_at(&o.client.spec.lifetime, entry.spec.first_registered_at);
    let behind = o.client.metadata.generation.unwrap_or_default() > entry.spec.generation;
    if state.attempted_at.is_none()
        && (behind || entry.spec.request != request::of(&o.client.spec) || entry.spec.expires_at != expires_at)
    {
        let name = entry.metadata.name.clone().unwrap_or_default();
        let step = Step::UpdateEntry { name, expires_at, request: true };
        return Decision { step, status: None, requeue_at: None };
    }
    let trouble = state.possible_orphan.map(|p| p.message).or(state.retry.map(|r| r.last_error));
    let Some(message) = trouble else { return wait(Some(entry.spec.expires_at)) };
    let mut status = base(o, entry);
    let said = vec![
        say("Accepted", true, "Accepted", "nothing stands against this request"),
        say("Registered", false, "RegistrationFailing", message.clone()),
        say("Ready", false, "RegistrationFailing", message.clone()),
    ];
    finish(o, &mut status, "Registering", message, said, now);
    Decision { step: Step::Wait, status: Some(status), requeue_at: Some(entry.spec.expires_at) }
}

/// The current entry has ended, or is about to.
fn ended(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Decision {
    // Also in a terminating namespace: a pod that hangs keeps everything else in it from being deleted.
    if ours_is_there(o) {
        return Decision { step: Step::DeleteSecret, status: None, requeue_at: None };
    }
    let state = entry.state();
    if !state.phase.is_final() && state.possible_orphan.is_none() {
        let debt = state.retry.map(|r| r.last_error);
        let Some(message) = debt else { return wait(None) };
        let mut status = base(o, entry);
        status.binding = None;
        let said = vec![
            say("Accepted", true, "Accepted", "nothing stood against this request"),
            say("Revoked", false, "RevocationFailing", message.clone()),
        ];
        finish(o, &mut status, "Revoking", message, said, now);
        return Decision { step: Step::Wait, status: Some(status), requeue_at: None };
    }
    if deserves_another(o, entry, now) {
        return match refusal(o, None) {
            Some(refused) => refuse(o, None, refused, now),
            None => create(o, entry.spec.attempt + 1, None, now),
        };
    }
    let mut status = base(o, entry);
    status.binding = None;
    let (said, state_word, message) = if let Some(rejection) = &state.rejection {
        let message = rejection.message.clone();
        let said = vec![
            say("Accepted", true, "Accepted", "nothing stood against this request"),
            say("Registered", false, "RegistrationRefused", message.clone()),
            say("Ready", false, "RegistrationRefused", message.clone()),
            say("Stalled", true, "RegistrationRefused", message.clone()),
        ];
        (said, "Refused", message)
    } else if let Some(orphan) = &state.possible_orphan {
        // Nobody holds what would revoke it: that is for people to look at, and no end that can be called done.
        let message = orphan.message.clone();
        let said = vec![
            say("Revoked", false, "PossibleOrphan", message.clone()),
            say("Stalled", true, "PossibleOrphan", message.clone()),
        ];
        (said, "Revoking", message)
    } else {
        let end = state.end.clone();
        let reason = end.as_ref().map_or("Ended", |e| e.reason.as_str());
        let level = state.evidence.as_ref().map_or("there never was a client", |e| e.level.as_str());
        let message = format!("{}; {level}", end.as_ref().map_or("ended", |e| e.message.as_str()));
        let mut said: Vec<Say> = vec![say("Revoked", true, reason, message.clone())];
        if matches!(end.map(|e| e.reason), Some(EndReason::RegistrationDeleted | EndReason::GrantedTooMuch)) {
            let next = format!("{message}. It is not registered anew until this object's spec is edited");
            said.push(say("Stalled", true, reason, next));
        }
        (said, "Revoked", message)
    };
    finish(o, &mut status, state_word, message, said, now);
    let finished_at = state.revoked_at.or(state.end.map(|e| e.at));
    let delete_at = o.client.spec.ttl_seconds_after_finished.zip(finished_at).map(|(s, t)| t + TimeDelta::seconds(s));
    let step = match delete_at {
        Some(at) if now >= at && state.rejection.is_none() && state.possible_orphan.is_none() => Step::DeleteObject,
        _ => Step::Wait,
    };
    Decision { step, status: Some(status), requeue_at: delete_at.filter(|t| *t > now) }
}

/// Whether an object whose last entry has ended is to be registered anew: its end no longer holds.
fn deserves_another(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> bool {
    if o.client.spec.suspend || o.namespace != NamespaceState::Active {
        return false;
    }
    let edited = o.client.metadata.generation.unwrap_or_default() > entry.spec.generation;
    let state = entry.state();
    if state.rejection.is_some() {
        return edited;
    }
    match state.end.map(|e| e.reason) {
        Some(EndReason::Expired) => lifetime::expires_at(&o.client.spec.lifetime, entry.spec.first_registered_at) > now,
        Some(EndReason::Suspended) => true,
        Some(EndReason::RegistrationDeleted | EndReason::GrantedTooMuch) => edited,
        _ => false,
    }
}

fn deleting(o: &Observed, now: DateTime<Utc>) -> Decision {
    // Also in a terminating namespace: a pod that hangs keeps everything else in it from being deleted.
    if ours_is_there(o) {
        return Decision { step: Step::DeleteSecret, status: None, requeue_at: None };
    }
    let open: Vec<&ClientRegistration> =
        o.entries.iter().filter(|e| e.is_live() && e.state().phase != Phase::PossibleOrphan).collect();
    if open.is_empty() {
        return Decision { step: Step::RemoveFinalizer { debt: None }, status: None, requeue_at: None };
    }
    let hold =
        o.server.as_ref().and_then(|s| s.spec.revocation.hold_deletion_for.delta()).unwrap_or(TimeDelta::minutes(5));
    let since = o.client.metadata.deletion_timestamp.as_ref().map_or(now, |t| from_timestamp(t.0.as_second()));
    if o.clock_trusted && now >= since + hold {
        let debt = open.iter().map(|e| e.metadata.name.clone().unwrap_or_default()).collect::<Vec<_>>().join(", ");
        let debt = Some(format!("revocation is not proven yet; the debt stays in the ledger as {debt}"));
        return Decision { step: Step::RemoveFinalizer { debt }, status: None, requeue_at: None };
    }
    let mut decision = wait(Some(since + hold));
    if let Some(message) = open.iter().find_map(|e| e.state().retry.map(|r| r.last_error)) {
        let mut status = base(o, open[0]);
        status.binding = None;
        let said = vec![say("Revoked", false, "RevocationFailing", message.clone())];
        finish(o, &mut status, "Revoking", message, said, now);
        decision.status = Some(status);
    }
    decision
}

fn from_timestamp(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// A status that names this entry.
fn base(o: &Observed, entry: &ClientRegistration) -> OAuthClientStatus {
    let state = entry.state();
    let name = o.client.spec.secret_name(o.client.metadata.name.as_deref().unwrap_or_default());
    let published = entry.spec.request.jwks.is_none().then_some(name);
    OAuthClientStatus {
        client_id: state.client_id,
        registered_at: state.registered_at.and(Some(entry.spec.first_registered_at)),
        expires_at: Some(entry.spec.expires_at),
        revoked_at: state.revoked_at,
        tokens_expire_at: state.tokens_expire_at,
        registration_ref: Some(RegistrationRef {
            name: entry.metadata.name.clone().unwrap_or_default(),
            attempt: entry.spec.attempt,
            generation: entry.spec.generation,
        }),
        workload: entry.spec.workload.clone(),
        binding: published.map(|name| crate::api::Binding { name }),
        ..o.client.status.clone().unwrap_or_default()
    }
}

fn finish(
    o: &Observed,
    status: &mut OAuthClientStatus,
    state: &str,
    message: String,
    said: Vec<Say>,
    now: DateTime<Utc>,
) {
    let generation = o.client.metadata.generation;
    let uid = o.client.metadata.uid.as_deref().unwrap_or_default();
    let pinned = status.workload.as_ref().map(|w| w.uid.clone());
    status.observed_generation = generation;
    status.state = Some(state.into());
    status.message = Some(message);
    status.request_hash = Some(request::governed_hash(uid, pinned.as_deref(), &o.client.spec));
    let before = o.client.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
    status.conditions = conditions::merge(&before, now, generation, said);
}

/// Names that the entries of an object may have, from the attempt that its status knows.
pub fn entry_names(uid: &str, known_attempt: u32) -> impl Iterator<Item = (u32, String)> {
    let first = known_attempt.saturating_sub(3).max(1);
    let uid = uid.to_owned();
    (first..).map(move |n| (n, names::entry(&uid, n)))
}
