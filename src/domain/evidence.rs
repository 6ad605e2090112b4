//! How well a revocation is known (G5).

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::{Acceptance, Deletion, Evidence, EvidenceLevel, ProbeRecord};

/// The longest time between the last acceptance and the deletion: beyond it a refusal afterwards may have other
/// causes.
pub const FRESH: TimeDelta = TimeDelta::minutes(10);

/// How far a clock that is trusted may be set back between two readings.
const SET_BACK: TimeDelta = TimeDelta::minutes(1);

/// What a probe says of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It authenticates.
    Accepted,
    /// It is refused exactly like one of a client that never existed.
    RefusedAsUnknown,
    /// Neither can be said: the server took the question, and its answer is of no use.
    Unclear,
    /// The server was not reached, or turned us away unread.
    Unreached,
}

/// Whether two answers are the same answer.
pub fn same(a: &ProbeRecord, b: &ProbeRecord) -> bool {
    a.status == b.status && a.error == b.error
}

/// Whether a way of probing tells a live credential from one of a client that never existed. The revocation and
/// introspection endpoints say 200 to a live one; the token endpoint says 400 with an error that is not about the
/// client.
pub fn separates(method: &str, live: &ProbeRecord, never_existed: &ProbeRecord) -> bool {
    let live_is_accepted = match method {
        "AuthorizationCode" => live.status == 400 && live.error.as_deref().is_some_and(|e| e != "invalid_client"),
        _ => live.status == 200,
    };
    live_is_accepted && matches!(never_existed.status, 400 | 401) && !same(live, never_existed)
}

/// What a way of probing is good for, tried with a credential that was just received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It separates.
    Separates,
    /// It lets in whoever comes, or nobody whom it could tell from others.
    SaysNothing,
    /// It turns this credential away. Another endpoint may take it: one that wants more than a public client has turns
    /// every such client away.
    Refuses,
}

/// What a way of probing is good for.
pub fn way(method: &str, live: &ProbeRecord, never_existed: &ProbeRecord) -> Way {
    if separates(method, live, never_existed) {
        Way::Separates
    } else if live.status == 401 {
        Way::Refuses
    } else {
        Way::SaysNothing
    }
}

/// What an answer means, given how a live credential was answered and a control taken in the same pass.
pub fn verdict(answer: &ProbeRecord, accepted: &ProbeRecord, never_existed: &ProbeRecord) -> Verdict {
    if same(accepted, never_existed) {
        Verdict::Unclear
    } else if same(answer, accepted) {
        Verdict::Accepted
    } else if same(answer, never_existed) && matches!(answer.status, 400 | 401) && answer.error.is_some() {
        Verdict::RefusedAsUnknown
    } else {
        Verdict::Unclear
    }
}

/// Whether an answer refuses a key of a client that is there: as RFC 6749 section 5.2 says it, or like one of a client
/// that never existed. Some servers tell a key that they do not know from a client that they do not know.
pub fn refuses_key(answer: &ProbeRecord, accepted: &ProbeRecord, never_existed: &ProbeRecord) -> bool {
    match verdict(answer, accepted, never_existed) {
        Verdict::RefusedAsUnknown => true,
        Verdict::Unclear => {
            !same(answer, accepted)
                && matches!(answer.status, 400 | 401)
                && answer.error.as_deref() == Some("invalid_client")
        }
        Verdict::Accepted | Verdict::Unreached => false,
    }
}

/// Whether an answer refuses a key of a client that is there, where the same request with the client's other key was just
/// answered with `beside`: nothing but the key differs. Hydra says 400 `invalid_request` to a key that it does not know,
/// which by itself could be about anything.
pub fn refuses_key_beside(answer: &ProbeRecord, accepted: &ProbeRecord, beside: &ProbeRecord) -> bool {
    same(beside, accepted) && !same(answer, accepted) && is_about_the_request(answer)
}

/// Whether an answer is a server's own word on what was sent, and not on how the server is.
pub fn is_about_the_request(answer: &ProbeRecord) -> bool {
    let words = ["invalid_client", "invalid_grant", "invalid_request", "unauthorized_client"];
    matches!(answer.status, 400 | 401) && answer.error.as_deref().is_some_and(|error| words.contains(&error))
}

/// Whether an acceptance is recent enough to delete on.
pub fn is_fresh(acceptance: &Acceptance, now: DateTime<Utc>) -> bool {
    is_close(acceptance.answer.at, now)
}

/// Whether an acceptance is recent enough for a deletion at this time: not after it either, but for a clock that was set
/// back a little.
pub fn is_close(accepted: DateTime<Utc>, deletion: DateTime<Utc>) -> bool {
    (-SET_BACK..=FRESH).contains(&(deletion - accepted))
}

/// What a revocation rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grounds {
    /// The last acceptance before the deletion.
    pub before: Option<Acceptance>,
    /// What became of the deletion.
    pub deletion: Deletion,
    /// The credential afterwards.
    pub after: Option<ProbeRecord>,
    /// The control, in the same pass.
    pub never_existed: Option<ProbeRecord>,
    /// Whether the server that answers now has the signing keys of the one that registered the client.
    pub same_server: bool,
}

/// Weighs the grounds. `Err` says why the client cannot be called gone at all: it still authenticates.
pub fn weigh(grounds: &Grounds) -> Result<Evidence, String> {
    let taken = grounds.deletion.is_taken();
    let (asked_at, answered_at) = (grounds.deletion.asked_at, grounds.deletion.answered_at);
    let (level, statement) = match (&grounds.before, &grounds.after, &grounds.never_existed) {
        (Some(before), Some(after), Some(control)) => match verdict(after, &before.answer, control) {
            Verdict::Accepted => {
                let refused = grounds.deletion.status.filter(|_| !taken).map_or_else(String::new, |s| {
                    format!("; the deletion was refused with {s}: the registration access token may have been replaced by an answer that was lost, or something before the server refuses it. If this lasts, delete the client at the server by hand")
                });
                return Err(format!("the credential is still accepted after the deletion{refused}"));
            }
            Verdict::Unclear | Verdict::Unreached => (
                EvidenceLevel::Unverifiable,
                "the answer to the credential is neither that to a live client nor that to one that never existed",
            ),
            Verdict::RefusedAsUnknown => {
                let fresh = |at: Option<DateTime<Utc>>| at.is_some_and(|at| is_close(before.answer.at, at));
                if taken && fresh(answered_at) {
                    (
                        EvidenceLevel::Proven,
                        "the server took the deletion, and the credential that it accepted before is now refused like that of a client that never existed",
                    )
                } else if fresh(asked_at) && grounds.same_server {
                    (
                        EvidenceLevel::Proven,
                        "a deletion was sent whose answer was lost; the same server, by its signing keys, now refuses the registration token and the credential that it accepted before, like those of a client that never existed",
                    )
                } else if grounds.deletion.absent && grounds.same_server {
                    (
                        EvidenceLevel::Proven,
                        "the server's admin API has no such client, and the same server, by its signing keys, refuses the credential that it once accepted like that of a client that never existed",
                    )
                } else if !taken && !grounds.same_server {
                    (
                        EvidenceLevel::Unverifiable,
                        "the server refuses the deletion and the credential, but was not shown by its signing keys to be the one that registered the client; look whether another server stands in its place",
                    )
                } else if taken {
                    (
                        EvidenceLevel::ServerConfirmed,
                        "the server took the deletion and refuses the credential, but had not accepted it within ten minutes before",
                    )
                } else {
                    (
                        EvidenceLevel::Unverifiable,
                        "the server refuses the deletion and the credential, but never took a deletion from us: look whether the client was deleted or switched off there",
                    )
                }
            }
        },
        _ if taken => (
            EvidenceLevel::ServerConfirmed,
            "the server took the deletion; there was no credential of ours that could be tried",
        ),
        _ => (
            EvidenceLevel::Unverifiable,
            "the server took no deletion, and there was no credential of ours that could be tried",
        ),
    };
    Ok(Evidence {
        level,
        statement: statement.into(),
        before: grounds.before.clone(),
        deletion: Some(grounds.deletion.clone()),
        after: grounds.after.clone(),
        never_existed: grounds.never_existed.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }
    fn answer(minutes: i64, status: u16, error: Option<&str>) -> ProbeRecord {
        ProbeRecord { at: at(minutes), status, error: error.map(Into::into) }
    }
    fn grounds() -> Grounds {
        Grounds {
            before: Some(Acceptance { method: "Revocation".into(), answer: answer(0, 200, None) }),
            deletion: Deletion { answered_at: Some(at(5)), status: Some(204), ..Deletion::default() },
            after: Some(answer(5, 401, Some("invalid_client"))),
            never_existed: Some(answer(5, 401, Some("invalid_client"))),
            same_server: true,
        }
    }

    #[test]
    fn a_key_is_refused_also_where_its_client_is_known() {
        let (accepted, unknown) = (answer(0, 200, None), answer(5, 401, Some("invalid_client")));
        let refuses = |status, error| refuses_key(&answer(5, status, error), &accepted, &unknown);
        assert!(refuses(401, Some("invalid_client")) && refuses(400, Some("invalid_client")));
        assert!(!refuses(200, None) && !refuses(400, Some("invalid_request")) && !refuses(503, None));
        let code = answer(0, 400, Some("invalid_grant"));
        assert!(!refuses_key(&code, &code, &unknown));
    }

    #[test]
    fn a_key_is_refused_where_the_other_one_is_accepted_by_the_same_request() {
        let accepted = answer(0, 200, None);
        let refuses = |status, error, beside| refuses_key_beside(&answer(5, status, error), &accepted, &beside);
        let works = || answer(6, 200, None);
        assert!(refuses(400, Some("invalid_request"), works()), "as Hydra says it");
        assert!(refuses(401, Some("unauthorized_client"), works()));
        assert!(!refuses(400, Some("invalid_request"), answer(6, 400, Some("invalid_request"))), "so is any");
        assert!(!refuses(200, None, works()));
        assert!(!refuses(429, Some("invalid_request"), works()) && !refuses(503, None, works()));
        assert!(!refuses(400, Some("server_error"), works()) && !refuses(401, None, works()));
    }

    #[rstest::rstest]
    #[case("Revocation", (200, None), (401, Some("invalid_client")), Way::Separates)]
    #[case("AuthorizationCode", (400, Some("invalid_grant")), (401, Some("invalid_client")), Way::Separates)]
    #[case("Revocation", (200, None), (200, None), Way::SaysNothing)]
    #[case("AuthorizationCode", (400, Some("invalid_client")), (400, Some("invalid_client")), Way::SaysNothing)]
    #[case("Revocation", (401, Some("invalid_client")), (401, Some("invalid_client")), Way::Refuses)]
    #[case("Introspection", (401, Some("access_denied")), (401, Some("invalid_client")), Way::Refuses)]
    fn ways(
        #[case] method: &str,
        #[case] live: (u16, Option<&str>),
        #[case] never_existed: (u16, Option<&str>),
        #[case] expected: Way,
    ) {
        assert_eq!(way(method, &answer(0, live.0, live.1), &answer(0, never_existed.0, never_existed.1)), expected);
    }

    #[test]
    fn an_acceptance_dated_ahead_by_a_wrong_clock_is_no_recent_one() {
        let accepted = Acceptance { method: "Revocation".into(), answer: answer(8, 200, None) };
        assert!(!is_fresh(&accepted, at(0)), "what could prove nothing afterwards is tried again before");
        assert!(is_fresh(&accepted, at(7)) && is_fresh(&accepted, at(18)) && !is_fresh(&accepted, at(19)));
    }

    #[test]
    fn proven_needs_all_of_it() {
        assert_eq!(weigh(&grounds()).unwrap().level, EvidenceLevel::Proven);
        let with = |change: fn(&mut Grounds)| {
            let mut g = grounds();
            change(&mut g);
            weigh(&g).map(|e| e.level)
        };
        assert_eq!(with(|g| g.deletion.status = Some(401)), Ok(EvidenceLevel::Unverifiable));
        assert_eq!(with(|g| g.deletion.status = Some(404)), Ok(EvidenceLevel::Unverifiable));
        assert_eq!(
            with(|g| {
                g.deletion.status = Some(404);
                g.deletion.absent = true;
            }),
            Ok(EvidenceLevel::Proven),
            "an admin API that still answers for its realm is believed"
        );
        assert_eq!(with(|g| g.deletion.answered_at = Some(at(11))), Ok(EvidenceLevel::ServerConfirmed));
        assert_eq!(
            with(|g| g.after = Some(answer(5, 401, Some("unauthorized_client")))),
            Ok(EvidenceLevel::Unverifiable)
        );
        assert_eq!(
            with(|g| g.after = Some(answer(5, 200, None))).unwrap_err(),
            "the credential is still accepted after the deletion"
        );
        assert_eq!(
            with(|g| {
                g.after = Some(answer(5, 404, None));
                g.never_existed = Some(answer(5, 404, None));
            }),
            Ok(EvidenceLevel::Unverifiable),
            "a server that answers 404 to everything proves nothing"
        );
        assert_eq!(
            with(|g| {
                g.before = None;
                g.after = None;
            }),
            Ok(EvidenceLevel::ServerConfirmed)
        );
    }

    #[test]
    fn a_lost_answer_to_the_deletion_is_made_up_for_by_the_servers_identity() {
        let mut g = grounds();
        g.deletion =
            Deletion { asked_at: Some(at(5)), answered_at: Some(at(6)), status: Some(401), ..Deletion::default() };
        assert_eq!(weigh(&g).unwrap().level, EvidenceLevel::Proven);
        g.same_server = false;
        assert_eq!(weigh(&g).unwrap().level, EvidenceLevel::Unverifiable);
        g.same_server = true;
        g.deletion.asked_at = Some(at(-5));
        assert_eq!(weigh(&g).unwrap().level, EvidenceLevel::Unverifiable, "it was accepted after that deletion");
    }

    #[test]
    fn what_separates() {
        let refused = answer(0, 401, Some("invalid_client"));
        assert!(separates("Revocation", &answer(0, 200, None), &refused));
        assert!(!separates("Revocation", &refused, &refused));
        assert!(!separates("Revocation", &answer(0, 200, None), &answer(0, 200, None)));
        assert!(separates("AuthorizationCode", &answer(0, 400, Some("invalid_grant")), &refused));
        assert!(!separates("AuthorizationCode", &answer(0, 400, Some("invalid_client")), &answer(0, 401, None)));
    }
}
