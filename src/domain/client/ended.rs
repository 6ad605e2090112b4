//! An object whose client has ended or is to end.

use chrono::{DateTime, TimeDelta, Utc};

use super::refusal::{refusal, refuse};
use super::rotation;
use super::serving::server_changed;
use super::status::{base, finish};
use super::{Decision, LOOK_AGAIN, Observed, Step, at, create, ending, in_line, only, ours_is_there, wait};
use crate::api::{ClientRegistration, EndReason, OAuthClientStatus, Phase};
use crate::domain::conditions::{Say, say};
use crate::domain::ends::NamespaceState;
use crate::domain::{lifetime, request};

/// The entry that tells why an object has no client: the one that ended last. `None` while the newest is on its way.
pub(super) fn last_to_end(o: &Observed, now: DateTime<Utc>) -> Option<&ClientRegistration> {
    let newest = o.entries.last()?;
    if !ending(o, newest, now) {
        return None;
    }
    let over_at = |e: &ClientRegistration| {
        let s = e.state();
        let end = s.end.or_else(|| e.spec.end.clone()).map(|e| e.at);
        let at = end.or(s.rejection.and(s.attempted_at)).unwrap_or(now);
        // An end that is still to come was dated by a clock that was wrong: it is the last of nothing.
        (at <= now).then_some(at)
    };
    // One that another took the place of tells nothing, whenever it went.
    let tells = |e: &ClientRegistration| {
        e.spec.attempt == newest.spec.attempt || e.state().end.is_none_or(|end| end.reason != EndReason::Replaced)
    };
    o.entries.iter().filter(|e| ending(o, e, now)).max_by_key(|e| (tells(e), over_at(e), e.spec.attempt))
}

/// Another entry whose client is not gone yet.
fn open<'a>(o: &'a Observed, entry: &'a ClientRegistration) -> Option<&'a ClientRegistration> {
    let is_open = |e: &&ClientRegistration| e.is_live() && e.state().phase != Phase::PossibleOrphan;
    Some(entry).filter(|e| e.is_live()).or_else(|| o.entries.iter().find(is_open))
}

/// The client has ended, or is about to.
pub(super) fn ended(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Decision {
    // Also in a terminating namespace: a pod that hangs keeps everything else in it from being deleted.
    if ours_is_there(o) {
        return only(Step::DeleteSecret);
    }
    if let Some(step) = rotation::cut_short(o, now) {
        return only(step);
    }
    if let Some(open) = open(o, entry) {
        return not_final(o, open, now);
    }
    let state = entry.state();
    let by_policy =
        matches!(state.end.as_ref().map(|e| e.reason), Some(EndReason::PolicyViolation | EndReason::Denied));
    let mut kept_out = None;
    if deserves_another(o, entry, now) {
        match refusal(o, None, now) {
            // What ended it keeps it out, or a person's yes is over: that it is revoked is to be seen still.
            Some(refused) if by_policy || refused.asks_a_person() => kept_out = Some(refused),
            Some(refused) => return refuse(o, None, refused, now),
            None => return create(o, None, None, now),
        }
    }
    let mut status = base(o, entry);
    status.binding = None;
    let (said, word, message) = if let Some(rejection) = &state.rejection {
        let message = rejection.message.clone();
        let said = vec![
            say("Accepted", true, "Accepted", "nothing stood against this request"),
            say("Registered", false, "RegistrationRefused", message.clone()),
            say("Ready", false, "RegistrationRefused", message.clone()),
            say("Stalled", true, "RegistrationRefused", message.clone()),
        ];
        (said, "Refused", message)
    } else {
        let end = state.end.clone();
        let reason = end.as_ref().map_or("Ended", |e| e.reason.as_str());
        let level = state.evidence.as_ref().map_or("there never was a client", |e| e.level.as_str());
        let message = format!("{}; {level}", end.as_ref().map_or("ended", |e| e.message.as_str()));
        let mut said: Vec<Say> = vec![say("Revoked", true, reason, message.clone())];
        let until = match end.map(|e| e.reason) {
            Some(EndReason::RegistrationDeleted | EndReason::GrantedTooMuch) => Some("this object's spec is edited"),
            Some(EndReason::EvidenceUnobtainable) => Some("that, or this object's spec, is edited"),
            _ => None,
        };
        if let Some(until) = until {
            let next = format!("{message}. It is not registered anew until {until}");
            said.push(say("Stalled", true, reason, next));
        }
        if let Some(refused) = kept_out {
            said.extend(refused.said());
        }
        (said, "Revoked", message)
    };
    finish(o, &mut status, word, message, said, now);
    let finished_at = state.revoked_at.or(state.end.map(|e| e.at)).filter(|_| state.rejection.is_none());
    afterwards(o, Some(status), finished_at, now)
}

/// Nothing more is to be done, but for deleting the object where it asks for that.
pub(super) fn afterwards(
    o: &Observed,
    status: Option<OAuthClientStatus>,
    finished_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Decision {
    let delete_at = o.client.spec.ttl_seconds_after_finished.zip(finished_at).map(|(s, t)| t + TimeDelta::seconds(s));
    let step = match delete_at {
        Some(when) if now >= when && o.clock_trusted => Step::DeleteObject,
        _ => Step::Wait,
    };
    let requeue_at = delete_at.filter(|_| step == Step::Wait).map(|when| at(o, when, now));
    Decision { step, status, requeue_at }
}

/// The end has come, and the client is not gone yet.
fn not_final(o: &Observed, open: &ClientRegistration, now: DateTime<Utc>) -> Decision {
    let state = open.state();
    let orphan = state.possible_orphan.map(|p| p.message);
    let reason = if orphan.is_some() { "PossibleOrphan" } else { "RevocationFailing" };
    let Some(message) = orphan.or(state.retry.map(|r| r.last_error)) else {
        // The registration controller is at it; where only our clock says that the end has come, it may not be yet.
        return wait(Some(now + LOOK_AGAIN).filter(|_| state.end.is_none()));
    };
    let mut status = base(o, open);
    status.binding = None;
    let mut said = vec![
        say("Accepted", true, "Accepted", "nothing stood against this request"),
        say("Revoked", false, reason, message.clone()),
    ];
    if state.phase == Phase::PossibleOrphan {
        // Nobody holds what would revoke it: that is for people to look at, and no end that can be called done.
        said.push(say("Stalled", true, reason, message.clone()));
    }
    finish(o, &mut status, "Revoking", message, said, now);
    let expected = (open.spec.expires_at > now).then_some(open.spec.expires_at);
    let requeue_at = expected.filter(|_| state.end.is_none()).map(|when| at(o, when, now));
    Decision { step: Step::Wait, status: Some(status), requeue_at }
}

/// Whether an object whose last entry has ended is to be registered anew: its end no longer holds.
fn deserves_another(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> bool {
    if o.client.spec.suspend || o.namespace != NamespaceState::Active {
        return false;
    }
    let edited = !in_line(o, entry);
    let state = entry.state();
    if lifetime::expires_at(&o.client.spec.lifetime, entry.spec.first_registered_at) <= now {
        return false;
    }
    if state.rejection.is_some() {
        // An edit that came while the request was under way was not in it.
        return edited || entry.spec.request != request::of(&o.client.spec);
    }
    match state.end.map(|e| e.reason) {
        // One that somebody deleted at the server is made anew where the object still deserves it.
        Some(
            EndReason::Expired
            | EndReason::Suspended
            | EndReason::GoneAtServer
            | EndReason::PolicyViolation
            | EndReason::Denied,
        ) => true,
        // Refused before it was registered.
        Some(EndReason::Replaced) => state.phase == Phase::Cancelled || state.registered_at.is_none(),
        Some(EndReason::RegistrationDeleted | EndReason::GrantedTooMuch) => edited,
        Some(EndReason::EvidenceUnobtainable) => edited || server_changed(o, entry),
        _ => false,
    }
}

/// The object is being deleted: it is held until its client is gone for good, but not for ever.
pub(super) fn deleting(o: &Observed, now: DateTime<Utc>) -> Decision {
    // Also in a terminating namespace: a pod that hangs keeps everything else in it from being deleted.
    if ours_is_there(o) {
        return only(Step::DeleteSecret);
    }
    let open: Vec<&ClientRegistration> =
        o.entries.iter().filter(|e| e.is_live() && e.state().phase != Phase::PossibleOrphan).collect();
    if open.is_empty() {
        return only(Step::RemoveFinalizer { debt: None });
    }
    let hold =
        o.server.as_ref().and_then(|s| s.spec.revocation.hold_deletion_for.delta()).unwrap_or(TimeDelta::minutes(5));
    let since = o.client.metadata.deletion_timestamp.as_ref().map_or(now, |t| from_timestamp(t.0.as_second()));
    if o.clock_trusted && now >= since + hold {
        let debt = open.iter().map(|e| e.metadata.name.clone().unwrap_or_default()).collect::<Vec<_>>().join(", ");
        let debt = Some(format!("revocation is not proven yet; the debt stays in the ledger as {debt}"));
        return only(Step::RemoveFinalizer { debt });
    }
    let mut decision = wait(Some(at(o, since + hold, now)));
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
