//! What stands against registering an object.

use chrono::{DateTime, TimeDelta, Utc};

use super::ending;
use super::governed::{self, Standing};
use super::serving::{goes_on, take_over};
use super::status::{base, finish};
use super::{Decision, LOOK_AGAIN, Observed, Published, Step, at, in_line, pinned};
use crate::api::{ClientRegistration, EndReason, EvidenceLevel};
use crate::domain::conditions::{Say, say};
use crate::domain::workload::Workload;

/// A reason not to register, for a condition.
pub(super) struct Refusal {
    pub reason: &'static str,
    pub message: String,
    /// It may go away by itself: not Stalled.
    waiting: bool,
    /// No watch tells when it does: look again after so long.
    again: Option<TimeDelta>,
    /// It ends by itself what was begun: the registration controller sees it as well.
    ends: bool,
}

impl Refusal {
    /// Whether a person has to say yes.
    pub(super) fn asks_a_person(&self) -> bool {
        self.reason == APPROVAL_PENDING
    }

    /// What it says of the request; not of a client that there may be.
    pub(super) fn said(&self) -> Vec<Say> {
        let mut said = vec![say("Accepted", false, self.reason, self.message.clone())];
        if self.asks_a_person() {
            said.push(say("Approved", false, self.reason, self.message.clone()));
        }
        if !self.waiting {
            said.push(say("Stalled", true, self.reason, self.message.clone()));
        }
        said
    }
}

/// The reason for waiting for a person.
pub(super) const APPROVAL_PENDING: &str = "ApprovalPending";

#[expect(clippy::unnecessary_wraps, reason = "every caller returns an option")]
fn refused(reason: &'static str, message: impl Into<String>) -> Option<Refusal> {
    Some(Refusal { reason, message: message.into(), waiting: false, again: None, ends: false })
}

#[expect(clippy::unnecessary_wraps, reason = "every caller returns an option")]
fn waiting(reason: &'static str, message: impl Into<String>) -> Option<Refusal> {
    Some(Refusal { reason, message: message.into(), waiting: true, again: None, ends: false })
}

/// What stands against registering this object now; where a client serves, against changing it to what is asked for.
pub(super) fn refusal(o: &Observed, serving: Option<&ClientRegistration>, now: DateTime<Utc>) -> Option<Refusal> {
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
    if !spec.audiences.is_empty() && !server.spec.backend.restricts_audiences() {
        return refused(
            "AudiencesUnsupported",
            format!(
                "audiences cannot be restricted at AuthorizationServer {server_name}: only backend.hydra can; remove spec.audiences"
            ),
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
    let standing = governed::of_asked(o, serving.is_some(), now);
    let is_news = serving.is_none_or(|entry| governed::is_edit(o, entry));
    match &standing {
        Standing::Denied(why) => return refused("Denied", why),
        // What runs and is not allowed any more is another matter.
        Standing::Refused(why) if is_news => return refused("NotAllowedByPolicy", why),
        Standing::Waiting(why) | Standing::Unsure(why) if is_news && serving.is_some() => return asks(o, why.clone()),
        Standing::Refused(_) | Standing::Waiting(_) | Standing::Unsure(_) | Standing::Allowed(_) => {}
    }
    // A client that was registered already goes on, whatever became of the server.
    if serving.is_some() {
        return None;
    }
    if !o.clock_trusted {
        let message = "the operator's clock is more than a minute off the API server's, so no end could be promised: nothing is registered before it is right";
        return waiting("ClockNotTrusted", message).map(|r| Refusal { again: Some(LOOK_AGAIN), ..r });
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
    if let Some(found) = of_workload(o) {
        return Some(Refusal { ends: true, ..found });
    }
    // Last: what is approved can be registered.
    secret_conflict(o).or_else(|| match standing {
        Standing::Waiting(why) | Standing::Unsure(why) => asks(o, why),
        _ => None,
    })
}

/// That a person has to say yes.
fn asks(o: &Observed, why: String) -> Option<Refusal> {
    // Nothing tells when the API server keeps true again who does.
    let again = o.stamped_since.is_none().then_some(LOOK_AGAIN);
    waiting(APPROVAL_PENDING, why).map(|r| Refusal { again, ..r })
}

/// What its workload says against it.
fn of_workload(o: &Observed) -> Option<Refusal> {
    match (&o.workload, pinned(o)) {
        (Workload::NotAllowed { message }, _) => refused("WorkloadKindNotAllowed", message.clone()),
        (Workload::Missing, None) => waiting(
            "WorkloadNotFound",
            format!("waiting for {}: nothing is registered before it exists", workload_name(o)),
        ),
        (Workload::Missing, Some(_)) => refused("WorkloadGone", format!("{} is gone", workload_name(o))),
        (Workload::Present { uid, .. }, Some(pinned)) if *uid != pinned.uid => refused(
            "WorkloadGone",
            format!("{} with UID {} is gone; another has its name", workload_name(o), pinned.uid),
        ),
        (Workload::Present { finished: Some(why), .. }, _) => {
            refused("WorkloadFinished", format!("{} has finished already: {why}", workload_name(o)))
        }
        (Workload::Unknown, _) => waiting("WorkloadUnknown", format!("{} could not be read yet", workload_name(o)))
            .map(|r| Refusal { again: Some(LOOK_AGAIN), ..r }),
        (Workload::NotReferenced | Workload::Present { .. }, _) => None,
    }
}

/// That the Secret is somebody else's. No watch tells when it is gone.
pub(super) fn secret_conflict(o: &Observed) -> Option<Refusal> {
    let spec = &o.client.spec;
    if let (Published::Foreign { whose }, None) = (&o.secret, &spec.jwks) {
        let found = refused(
            "SecretConflict",
            format!(
                "Secret {} exists and {whose}; it is left alone. Choose another spec.secret.name in a new OAuthClient, or delete that Secret",
                spec.secret_name(o.client.metadata.name.as_deref().unwrap_or_default())
            ),
        );
        return found.map(|r| Refusal { again: Some(LOOK_AGAIN), ..r });
    }
    None
}

fn workload_name(o: &Observed) -> String {
    o.client.spec.workload_ref.as_ref().map_or_else(String::new, |w| format!("{} {}", w.kind, w.name))
}

/// Ends what was begun after this attempt: the registration controller knows nothing of what stands against it. Where the
/// caller chooses the id, also one whose request had no answer can be taken back.
fn take_back(o: &Observed, refusal: &Refusal, after: u32) -> Option<Step> {
    let can_be_taken_back = |e: &&ClientRegistration| {
        let state = e.state();
        state.attempted_at.is_none() || e.spec.server.backend.chooses_id() && state.registered_at.is_none()
    };
    let begun = o.entries.last().filter(|e| e.spec.attempt > after && goes_on(e) && can_be_taken_back(e));
    // What waits for a person would keep what was begun for something else from ever coming to its end.
    let begun = begun.filter(|_| (!refusal.waiting || refusal.asks_a_person()) && !refusal.ends)?;
    let name = begun.metadata.name.clone().unwrap_or_default();
    let why = "it was refused before it was registered".to_owned();
    Some(Step::EndEntry { name, reason: EndReason::Replaced, why })
}

/// Says what stands against it. A client that runs goes on as it does (G6).
pub(super) fn refuse(
    o: &Observed,
    serving: Option<&ClientRegistration>,
    refusal: Refusal,
    now: DateTime<Utc>,
) -> Decision {
    if let Some(serving) = serving {
        if !in_line(o, serving) {
            // Judged: what the edit asks for is not granted, but for a shorter life.
            let name = serving.metadata.name.clone().unwrap_or_default();
            let asked = governed::until(o, serving.spec.first_registered_at, serving.spec.approval.as_ref());
            let expires_at = asked.min(serving.spec.expires_at);
            let step = Step::UpdateEntry { name, expires_at, whole: false, grounds: None };
            return Decision { step, status: None, requeue_at: None };
        }
        if let Some(step) = take_over(o, serving, now) {
            return Decision { step, status: None, requeue_at: None };
        }
        if let Some(step) = take_back(o, &refusal, serving.spec.attempt) {
            return Decision { step, status: None, requeue_at: None };
        }
        let expiry = at(o, ending::look_again(serving, now).unwrap_or(serving.spec.expires_at), now);
        let requeue_at = Some(refusal.again.map_or(expiry, |t| expiry.min(now + t)));
        let mut status = base(o, serving);
        let ready = o.secret == Published::UpToDate || serving.spec.request.jwks.is_some();
        let mut said = vec![
            say("Accepted", false, refusal.reason, refusal.message.clone()),
            say("Registered", true, "Registered", "the client exists at the authorization server"),
            say("Ready", ready, if ready { "Ready" } else { refusal.reason }, refusal.message.clone()),
        ];
        let stands = if refusal.waiting { "Reconciling" } else { "Stalled" };
        said.push(say(stands, true, refusal.reason, refusal.message.clone()));
        said.extend(governed::said(o, serving, now));
        said.extend(ending::said(o, serving, now));
        finish(o, &mut status, if ready { "Ready" } else { "Refused" }, refusal.message, said, now);
        return Decision { step: Step::Wait, status: Some(status), requeue_at };
    }
    if let Some(step) = take_back(o, &refusal, 0) {
        return Decision { step, status: None, requeue_at: None };
    }
    let mut status = o.client.status.clone().unwrap_or_default();
    let mut said = refusal.said();
    said.push(say("Ready", false, refusal.reason, refusal.message.clone()));
    let state = if refusal.waiting { "Pending" } else { "Refused" };
    finish(o, &mut status, state, refusal.message, said, now);
    Decision { step: Step::Wait, status: Some(status), requeue_at: refusal.again.map(|t| now + t) }
}
