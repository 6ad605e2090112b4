//! An object with a client, or on the way to one.

use chrono::{DateTime, Utc};

use super::refusal::{refusal, refuse, secret_conflict};
use super::rotation;
use super::status::{base, finish};
use super::{Decision, LOOK_AGAIN, Observed, Published, Step, at, create, in_line, known_attempts, only, wait};
use super::{ending, governed};
use crate::api::{ClientRegistration, DriftKind, EndReason};
use crate::domain::conditions::say;
use crate::domain::{backoff, request};

pub(super) fn name(entry: &ClientRegistration) -> String {
    entry.metadata.name.clone().unwrap_or_default()
}

/// What keeps a change from being made, while the client goes on as it was.
enum Trouble {
    /// An edit is called for, or an administrator.
    Refused(&'static str, String),
    /// It is tried again.
    Failing(String),
}

/// What to do next for a change, or why nothing is done.
enum Change {
    Next(Step),
    Trouble(Trouble),
    Nothing,
}

/// An object whose client serves.
pub(super) fn serve(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Decision {
    let state = entry.state();
    let wanted = request::of(&o.client.spec);
    let hash = request::hash(&wanted);
    let unsupported = state.failed_change.as_ref().is_some_and(|f| f.request == hash && f.unsupported);
    let replace = request::needs_replacement(&entry.spec.request, &wanted) || unsupported;
    let (grounds, expires_at) = governed::grounds(o, entry, !replace, now);
    let whole = !replace && entry.spec.request != wanted;
    let moved = grounds != governed::own(entry);
    if whole || moved || entry.spec.expires_at != expires_at || !in_line(o, entry) {
        return only(Step::UpdateEntry {
            name: name(entry),
            expires_at,
            whole: !replace,
            grounds: grounds.map(Box::new),
        });
    }
    if let Some(refused) = secret_conflict(o) {
        return refuse(o, Some(entry), refused, now);
    }
    if let Some(step) = take_over(o, entry, now) {
        return only(step);
    }
    if let Some(step) = rotation::kept_on(o, entry, now) {
        return only(step);
    }
    if let Some(step) = rotation::key_published(o, entry, now) {
        return only(step);
    }
    if let Some(decision) = rotation::asked(o, entry, now) {
        return decision;
    }
    let newer = o.entries.last().filter(|n| n.spec.attempt > entry.spec.attempt);
    let rotates = rotation::due(o, entry, now).filter(|_| !replace);
    let begun = newer.is_some_and(|n| goes_on(n) && n.spec.rotation.is_some());
    if let Some(why) = rotates.as_ref().filter(|_| !begun && rotation::is_in_place(entry)) {
        return only(rotation::begin(entry, why, now));
    }
    let trouble = match replacement(o, newer, replace || begun || rotates.is_some(), now) {
        Change::Next(mut step) => {
            if let Step::CreateEntry { rotation, .. } = &mut step {
                *rotation = rotates;
            }
            return only(step);
        }
        Change::Trouble(trouble) => Some(trouble),
        Change::Nothing => None,
    };
    let refused = state.failed_change.filter(|f| f.request == hash && !f.unsupported).map(|f| f.message);
    let pending = state.retry.filter(|_| state.applied.as_ref().is_some_and(|applied| *applied != hash));
    let pending = pending.map(|r| format!("a change is not made yet, the client goes on as it was: {}", r.last_error));
    let trouble =
        refused.map(|message| Trouble::Refused("ChangeRefused", message)).or(trouble).or(pending.map(Trouble::Failing));
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
    let mut status = base(o, entry);
    if !o.clock_trusted && now >= entry.spec.expires_at {
        let message = "by the operator's clock the lifetime is over, but that clock is more than a minute off the API server's: nothing is ended for reasons of time before it is right";
        said[2] = say("Ready", true, "ClockNotTrusted", message);
        finish(o, &mut status, "Overdue", message.into(), said, now);
        return Decision { step: Step::Wait, status: Some(status), requeue_at: Some(now + LOOK_AGAIN) };
    }
    said.extend(governed::said(o, entry, now).into_iter().chain(ending::said(o, entry, now)));
    if let Some(drift) = &state.drift {
        said.push(say("Drifted", true, drift.kind.as_str(), drift.message.clone()));
        if drift.kind == DriftKind::Disabled {
            let message =
                format!("{}; it is left so: an administrator of the server can switch it on again", drift.message);
            said[2] = say("Ready", false, "DisabledAtServer", message.clone());
            finish(o, &mut status, "Disabled", message, said, now);
            return Decision {
                step: Step::Wait,
                status: Some(status),
                requeue_at: Some(at(o, entry.spec.expires_at, now)),
            };
        }
    }
    let message = match trouble {
        None => shown.to_owned(),
        Some(Trouble::Refused(reason, message)) => {
            said.push(say("Stalled", true, reason, message.clone()));
            message
        }
        Some(Trouble::Failing(message)) => {
            said.push(say("Reconciling", true, "ChangePending", message.clone()));
            message
        }
    };
    rotation::tell(o, &mut status, entry);
    finish(o, &mut status, "Ready", message, said, now);
    Decision { step: Step::Wait, status: Some(status), requeue_at: Some(at(o, look_again(o, entry, now), now)) }
}

/// When there is something to do about an entry that serves.
fn look_again(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> DateTime<Utc> {
    let sooner = rotation::look_again(o, entry, now).into_iter().chain(ending::look_again(entry, now)).min();
    sooner.map_or(entry.spec.expires_at, |t| t.min(entry.spec.expires_at))
}

/// The entry that serves takes over: the Secret holds its credential, then those that it replaced can go.
pub(super) fn take_over(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Option<Step> {
    match (entry.spec.request.jwks.is_some(), &o.secret) {
        (true, Published::UpToDate | Published::Outdated) => return Some(Step::DeleteSecret),
        (true, _) | (false, Published::UpToDate) => {}
        (false, Published::Absent | Published::Outdated) => return Some(Step::PublishSecret { entry: name(entry) }),
        (false, Published::Foreign { .. }) => return None,
    }
    let mut old = o.entries.iter().filter(|e| e.spec.attempt < entry.spec.attempt && goes_on(e));
    old.find_map(|old| rotation::out(o, old, entry, now))
}

/// Whether there may be a client that nothing has ended yet. A possible orphan cannot be ended.
pub(super) fn goes_on(entry: &ClientRegistration) -> bool {
    entry.spec.end.is_none()
        && entry.is_live()
        && entry.state().end.is_none()
        && entry.state().possible_orphan.is_none()
}

/// The registration that is to take the place of the one that serves. `newer` is one that was begun.
fn replacement(o: &Observed, newer: Option<&ClientRegistration>, replace: bool, now: DateTime<Utc>) -> Change {
    if !replace {
        return match newer.filter(|n| goes_on(n)) {
            Some(unwanted) => {
                let why = "the change that it was made for was taken back".to_owned();
                Change::Next(Step::EndEntry { name: name(unwanted), reason: EndReason::Replaced, why })
            }
            None => Change::Nothing,
        };
    }
    let anew = |not_before| match refusal(o, None, now) {
        Some(refused) => Change::Trouble(Trouble::Refused(refused.reason, refused.message)),
        None => match create(o, not_before, None, now).step {
            // The status that says so comes first.
            Step::Wait => Change::Nothing,
            step => Change::Next(step),
        },
    };
    let refused = |message| Change::Trouble(Trouble::Refused("ChangeRefused", message));
    let Some(newer) = newer else { return anew(None) };
    let state = newer.state();
    let same = in_line(o, newer) && newer.spec.request == request::of(&o.client.spec);
    if let Some(rejection) = state.rejection.filter(|_| same && !rotation::may_try_again(newer, now)) {
        return refused(format!("{}; the client goes on as it was", rejection.message));
    }
    if let Some(orphan) = state.possible_orphan {
        if orphan.unmanageable && newer.spec.server.generation == server_generation(o) {
            return refused(format!("{}; the client goes on as it was", orphan.message));
        }
        return anew(Some(after_an_orphan(newer, orphan.since)));
    }
    if !goes_on(newer) {
        // One that was granted too much, or that an administrator deleted, waits for an edit.
        return if in_line(o, newer)
            && let Some(end) = state.end.filter(|e| match e.reason {
                EndReason::Replaced | EndReason::GoneAtServer | EndReason::PolicyViolation | EndReason::Denied => false,
                EndReason::EvidenceUnobtainable => !server_changed(o, newer),
                _ => true,
            }) {
            refused(format!(
                "the registration that was to replace this one has ended: {}; the client goes on as it was",
                end.message
            ))
        } else {
            anew(None)
        };
    }
    if let Some(step) = bring_in_line(o, newer, now) {
        return Change::Next(step);
    }
    state.retry.map_or(Change::Nothing, |r| {
        let message = format!("the registration that is to replace this one fails: {}", r.last_error);
        Change::Trouble(Trouble::Failing(message))
    })
}

/// The update that an entry which does not serve yet needs. What is asked changes only while nothing was asked.
fn bring_in_line(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Option<Step> {
    let open = entry.state().attempted_at.is_none();
    let (grounds, expires_at) = governed::grounds(o, entry, open, now);
    // Where the caller chooses the id, its credential may be stored already, and is of the kind that was asked for.
    if open
        && entry.spec.server.backend.chooses_id()
        && request::needs_replacement(&entry.spec.request, &request::of(&o.client.spec))
    {
        let why = "it was begun for a credential of another kind".to_owned();
        return Some(Step::EndEntry { name: name(entry), reason: EndReason::Replaced, why });
    }
    let differs = open && entry.spec.request != request::of(&o.client.spec) || grounds != governed::own(entry);
    (differs || entry.spec.expires_at != expires_at || !in_line(o, entry)).then(|| Step::UpdateEntry {
        name: name(entry),
        expires_at,
        whole: open,
        grounds: grounds.map(Box::new),
    })
}

fn server_generation(o: &Observed) -> i64 {
    o.server.as_ref().and_then(|s| s.metadata.generation).unwrap_or_default()
}

/// Whether the AuthorizationServer was edited since an entry was made.
pub(super) fn server_changed(o: &Observed, entry: &ClientRegistration) -> bool {
    entry.spec.server.generation != server_generation(o)
}

fn after_an_orphan(entry: &ClientRegistration, since: DateTime<Utc>) -> DateTime<Utc> {
    since + backoff::delay(&name(entry), entry.spec.attempt + 2, None)
}

/// An entry that is neither serving nor ended: registering, failing, or of unknown outcome.
pub(super) fn underway(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Decision {
    let state = entry.state();
    let changed = || server_changed(o, entry);
    if let Some(orphan) = state.possible_orphan.as_ref().filter(|p| !p.unmanageable || changed()) {
        if known_attempts(&o.client) < entry.spec.attempt {
            return troubled(o, entry, "PossibleOrphan", orphan.message.clone(), now);
        }
        return create(o, Some(after_an_orphan(entry, orphan.since)), None, now);
    }
    if let Some(step) = bring_in_line(o, entry, now) {
        return only(step);
    }
    match (state.possible_orphan, state.retry) {
        (Some(orphan), _) => troubled(o, entry, "PossibleOrphan", orphan.message, now),
        (None, Some(retry)) => troubled(o, entry, "RegistrationFailing", retry.last_error, now),
        (None, None) => wait(Some(at(o, entry.spec.expires_at, now))),
    }
}

/// Says what stands in the way of an entry.
fn troubled(
    o: &Observed,
    entry: &ClientRegistration,
    reason: &'static str,
    message: String,
    now: DateTime<Utc>,
) -> Decision {
    let mut status = base(o, entry);
    let stalled = entry.state().possible_orphan.is_some_and(|p| p.unmanageable);
    let mut said = vec![
        say("Accepted", true, "Accepted", "nothing stands against this request"),
        say("Registered", false, reason, message.clone()),
        say("Ready", false, reason, message.clone()),
    ];
    if stalled {
        said.push(say("Stalled", true, reason, message.clone()));
    }
    let word = if stalled { "Refused" } else { "Registering" };
    finish(o, &mut status, word, message, said, now);
    Decision { step: Step::Wait, status: Some(status), requeue_at: Some(at(o, entry.spec.expires_at, now)) }
}
