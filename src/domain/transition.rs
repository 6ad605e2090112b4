//! What a tenant is told in an event: a transition, once. The same state in other words is none.

use crate::api::{Durability, OAuthClientStatus, Phase};
use crate::domain::client::Observed;

/// An event's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Somebody has to look at it.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

/// What to tell when a status follows another.
pub fn of(before: Option<&OAuthClientStatus>, after: &OAuthClientStatus) -> Vec<Told> {
    let all = [rotated(before, after), not_compliant(before, after), ending(before, after), moved(before, after)];
    all.into_iter().flatten().collect()
}

/// That its state is another, or the reason for it.
fn moved(before: Option<&OAuthClientStatus>, after: &OAuthClientStatus) -> Option<Told> {
    let is = place(after);
    let was = before.map(place);
    // What is waited for may change several times: that it waits is told once.
    let waits_still = is.0 == "Pending" && was.is_some_and(|(state, _)| state == "Pending");
    if is.0.is_empty() || was == Some(is) || waits_still {
        return None;
    }
    let (state, reason) = is;
    let fine = matches!(state, "Ready" | "Pending" | "Revoked");
    let warning = !fine || stalled(after).is_some();
    let reason = if state == "Revoked" || (fine && stalled(after).is_none()) { state } else { reason };
    Some(Told { warning, reason: reason.to_owned(), note: after.message.clone().unwrap_or_default() })
}

/// That the credential which is published came by a rotation.
fn rotated(before: Option<&OAuthClientStatus>, after: &OAuthClientStatus) -> Option<Told> {
    let last = |s: &OAuthClientStatus| s.rotation.as_ref().and_then(|r| r.last_rotated_at);
    let at = last(after).filter(|at| before.and_then(last) != Some(*at))?;
    let note =
        format!("the Secret holds a new credential since {}; the one before ends with the overlap", at.to_rfc3339());
    Some(Told { warning: false, reason: "Rotated".into(), note })
}

/// That no policy allows any more what runs.
fn not_compliant(before: Option<&OAuthClientStatus>, after: &OAuthClientStatus) -> Option<Told> {
    Some(Told { warning: true, reason: "NotCompliant".into(), note: begins("Compliant", before, after)? })
}

/// That its end is near. That of one that is used up anyway is nothing to warn of.
fn ending(before: Option<&OAuthClientStatus>, after: &OAuthClientStatus) -> Option<Told> {
    let warning = after.durability == Some(Durability::Durable);
    Some(Told { warning, reason: "Ending".into(), note: begins("Ending", before, after)? })
}

/// What a condition says that was not there before.
fn begins(type_: &str, before: Option<&OAuthClientStatus>, after: &OAuthClientStatus) -> Option<String> {
    let of = |s: &OAuthClientStatus| s.conditions.iter().find(|c| c.type_ == type_).map(|c| c.message.clone());
    of(after).filter(|_| before.and_then(of).is_none())
}

/// What to tell when an object is let go: that its client is gone, and how well that is known; unless that was told
/// before, or there never was one.
pub fn on_leaving(o: &Observed) -> Option<Told> {
    let told = o.client.status.as_ref().is_some_and(|s| s.state.as_deref() == Some("Revoked"));
    let last = o.entries.iter().rev().find(|e| e.state().phase == Phase::Revoked).filter(|_| !told)?;
    let state = last.state();
    let (end, evidence) = (state.end?, state.evidence?);
    let note = format!("{}; {}: {}", end.message, evidence.level.as_str(), evidence.statement);
    Some(Told { warning: false, reason: "Revoked".into(), note })
}

/// State, and the reason of the condition that explains it.
fn place(status: &OAuthClientStatus) -> (&str, &str) {
    let state = status.state.as_deref().unwrap_or_default();
    let decisive = if state.starts_with("Revok") { "Revoked" } else { "Ready" };
    let reason = |type_| status.conditions.iter().find(|c| c.type_ == type_).map(|c| c.reason.as_str());
    (state, stalled(status).or_else(|| reason(decisive)).unwrap_or(state))
}

fn stalled(status: &OAuthClientStatus) -> Option<&str> {
    status.conditions.iter().find(|c| c.type_ == "Stalled" && c.status == "True").map(|c| c.reason.as_str())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::conditions::{merge, say};

    fn status(state: &str, message: &str, conditions: &[(&'static str, bool, &str)]) -> OAuthClientStatus {
        let said = conditions.iter().map(|(type_, holds, reason)| say(type_, *holds, *reason, message)).collect();
        OAuthClientStatus {
            state: Some(state.into()),
            message: Some(message.into()),
            conditions: merge(&[], DateTime::UNIX_EPOCH, None, said),
            ..OAuthClientStatus::default()
        }
    }

    /// The events of a life: warning or not, and the reason.
    fn told(life: &[OAuthClientStatus]) -> Vec<(bool, String)> {
        let before = std::iter::once(None).chain(life.iter().map(Some));
        before.zip(life).flat_map(|(b, a)| of(b, a)).map(|t| (t.warning, t.reason)).collect()
    }

    #[test]
    fn each_phase_of_a_life_is_told_once() {
        let life = [
            status("Pending", "no server", &[("Ready", false, "AuthorizationServerNotReady")]),
            status("Pending", "no Job", &[("Ready", false, "WorkloadNotFound")]),
            status("Ready", "registered", &[("Ready", true, "Ready")]),
            status("Ready", "registered since", &[("Ready", true, "Ready")]),
            status("Revoking", "connection refused", &[("Revoked", false, "RevocationFailing")]),
            status("Revoking", "timed out", &[("Revoked", false, "RevocationFailing")]),
            status("Revoked", "the Job ended; Proven", &[("Revoked", true, "WorkloadFinished")]),
        ];
        let expected = [(false, "Pending"), (false, "Ready"), (true, "RevocationFailing"), (false, "Revoked")];
        assert_eq!(told(&life), expected.map(|(w, r)| (w, r.to_owned())));
    }

    #[test]
    fn refusals_are_warnings_by_their_reason() {
        let life = [
            status(
                "Refused",
                "no",
                &[("Ready", false, "NamespaceNotAllowed"), ("Stalled", true, "NamespaceNotAllowed")],
            ),
            status("Refused", "no", &[("Ready", false, "SecretConflict"), ("Stalled", true, "SecretConflict")]),
            status("Ready", "yes", &[("Ready", true, "Ready")]),
            status("Ready", "no", &[("Ready", true, "Ready"), ("Stalled", true, "ChangeRefused")]),
            status(
                "Revoked",
                "deleted",
                &[("Revoked", true, "RegistrationDeleted"), ("Stalled", true, "RegistrationDeleted")],
            ),
        ];
        let expected = [
            (true, "NamespaceNotAllowed"),
            (true, "SecretConflict"),
            (false, "Ready"),
            (true, "ChangeRefused"),
            (true, "Revoked"),
        ];
        assert_eq!(told(&life), expected.map(|(w, r)| (w, r.to_owned())));
    }

    #[test]
    fn an_end_is_announced_once_beside_whatever_else_there_is_to_tell() {
        let ready = status("Ready", "registered", &[("Ready", true, "Ready")]);
        let ending = |words: &str, durability| OAuthClientStatus {
            durability: Some(durability),
            ..status("Ready", words, &[("Ready", true, "Ready"), ("Ending", true, "LifetimeEnds")])
        };
        let life = [ready.clone(), ending("soon", Durability::Ephemeral), ending("sooner", Durability::Ephemeral)];
        assert_eq!(told(&life), [(false, "Ready".to_owned()), (false, "Ending".to_owned())]);
        let life = [ready.clone(), ending("soon", Durability::Durable), ready, ending("soon", Durability::Durable)];
        let twice = [(false, "Ready"), (true, "Ending"), (true, "Ending")];
        assert_eq!(told(&life), twice.map(|(w, r)| (w, r.to_owned())), "one that was extended and ends again");
        let refused = OAuthClientStatus {
            durability: Some(Durability::Durable),
            ..status(
                "Ready",
                "no",
                &[("Ready", true, "Ready"), ("Ending", true, "E"), ("Stalled", true, "ChangeRefused")],
            )
        };
        let life = [life[0].clone(), refused];
        let both = [(false, "Ready"), (true, "Ending"), (true, "ChangeRefused")];
        assert_eq!(told(&life), both.map(|(w, r)| (w, r.to_owned())));
    }
}
