//! What it means for a request when the answer is not the one hoped for.

use secrecy::SecretString;

use super::http::{self, Answer, SendError};
use super::{CallError, ClientMetadata, Refusal, RegisterError};

/// The caution that reading does not need.
const ALL_THE_SAME: &str = "; it may have taken effect all the same";

/// What a status other than 2xx says of a request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// The server looked at it and said no.
    Refused,
    /// It was turned away unread.
    None,
    /// It may have been done.
    Unknown,
}

/// How Hydra says, with 400, that its database turned a transaction away for another one (CockroachDB, PostgreSQL and
/// SQLite alike). It was rolled back.
const TURNED_AWAY: &str = "Unable to serialize access due to a concurrent update in another session";

/// Which effect an answer other than 2xx leaves.
fn effect_of(answer: &Answer) -> Effect {
    let turned_away = answer.status == 400 && answer.json().is_some_and(|said| said["error"] == TURNED_AWAY);
    if turned_away { Effect::None } else { effect(answer.status) }
}

/// Which effect a status leaves.
#[expect(clippy::match_same_arms, reason = "each arm has a reason of its own")]
pub(super) fn effect(status: u16) -> Effect {
    match status {
        // 303 is how a server says "done, see there"; the other redirects come from log-in gateways and moved hosts,
        // before anything is done.
        303 => Effect::Unknown,
        300..=399 => Effect::Refused,
        // 425 and 429 come before the request is looked at; 501 and 505 say that it cannot be.
        425 | 429 | 501 | 505 => Effect::None,
        // 408 is also what proxies say when the server behind them was too slow.
        408 => Effect::Unknown,
        400..=499 => Effect::Refused,
        // 500, 502, 503, 504 and all others: a proxy may say any of them after the server behind it has acted, and a
        // server may fail after it has stored the client.
        _ => Effect::Unknown,
    }
}

impl From<SendError> for RegisterError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent { why, retry_after } => Self::NoEffect { why, retry_after },
            SendError::MayHaveActed { why } => Self::OutcomeUnknown { why },
        }
    }
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent { why, retry_after } => Self::Inconclusive { why, may_have_acted: false, retry_after },
            SendError::MayHaveActed { why } => Self::Inconclusive { why, may_have_acted: true, retry_after: None },
        }
    }
}

/// What a backend says that cannot restrict audiences. The operator asks it for none.
pub(super) fn no_audiences(operation: &'static str, metadata: &ClientMetadata) -> Result<(), Refusal> {
    if metadata.audiences.is_empty() {
        return Ok(());
    }
    Err(Refusal {
        operation,
        status: 400,
        error: Some("invalid_client_metadata".to_owned()),
        description: Some("audiences cannot be restricted here".to_owned()),
        retry_after: None,
    })
}

/// A registration that was answered with other than 2xx.
pub(super) fn not_registered(
    operation: &'static str,
    url: &str,
    answer: &Answer,
    secrets: &[SecretString],
) -> RegisterError {
    match effect_of(answer) {
        Effect::Refused => RegisterError::Refused(answer.refusal(operation, secrets)),
        Effect::None => RegisterError::NoEffect {
            why: format!("{}; nothing was registered, try again later", answered(operation, url, answer, secrets)),
            retry_after: answer.retry_after,
        },
        Effect::Unknown => RegisterError::OutcomeUnknown {
            why: format!(
                "{}; a client may have been registered all the same",
                answered(operation, url, answer, secrets)
            ),
        },
    }
}

/// A call on an existing client that was answered with other than 2xx.
pub(super) fn not_done(operation: &'static str, url: &str, answer: &Answer, secrets: &[SecretString]) -> CallError {
    let redirect = (300..400).contains(&answer.status);
    let may_have_acted = match effect_of(answer) {
        // A redirect says nothing about the client: the address is wrong, or something stands before the server.
        Effect::Refused if redirect => false,
        Effect::Refused => return CallError::Refused(answer.refusal(operation, secrets)),
        Effect::None => false,
        Effect::Unknown => true,
    };
    let hint = match (redirect, may_have_acted) {
        (true, _) => "redirects are never followed: check the server's addresses",
        (false, true) => "it may have taken effect all the same",
        (false, false) => "it had no effect, try again later",
    };
    CallError::Inconclusive {
        why: format!("{}; {hint}", answered(operation, url, answer, secrets)),
        may_have_acted,
        retry_after: answer.retry_after,
    }
}

/// Nothing can be concluded, and nothing was done.
pub(super) fn unclear(why: String) -> CallError {
    CallError::Inconclusive { why, may_have_acted: false, retry_after: None }
}

/// A failure to read: whatever became of it, nothing was done.
pub(super) fn harmless(error: CallError) -> CallError {
    match error {
        CallError::Inconclusive { why, retry_after, .. } => {
            CallError::Inconclusive { why: why.replace(ALL_THE_SAME, ""), may_have_acted: false, retry_after }
        }
        other => other,
    }
}

/// What a failure half-way means for a change.
pub(super) fn half_done(error: CallError) -> CallError {
    let (why, retry_after) = match error {
        CallError::Refused(refusal) => {
            let description = refusal.description.as_deref().map(|d| format!(" ({d})")).unwrap_or_default();
            (format!("{refusal}{description}"), refusal.retry_after)
        }
        CallError::Inconclusive { why, retry_after, .. } => (why, retry_after),
        foreign @ CallError::Foreign { .. } => return foreign,
    };
    let why = format!("{why}; the client is there, and changed at least in part");
    CallError::Inconclusive { why, may_have_acted: true, retry_after }
}

/// A change of a client that is not there.
pub(super) fn missing(operation: &'static str, client_id: &str) -> CallError {
    CallError::Refused(Refusal {
        operation,
        status: 404,
        error: None,
        description: Some(format!("the server has no client {client_id} any more")),
        retry_after: None,
    })
}

impl RegisterError {
    /// What a failure before the registration means for it.
    pub(super) fn before(error: CallError) -> Self {
        match harmless(error) {
            CallError::Refused(refusal) => Self::Refused(refusal),
            CallError::Inconclusive { why, retry_after, .. } => Self::NoEffect { why, retry_after },
            CallError::Foreign { why } => Self::Foreign { why },
        }
    }

    /// What a failure after the registration means for it: the client is there, and asking again settles the rest.
    pub(super) fn after(error: CallError) -> Self {
        match half_done(error) {
            CallError::Foreign { why } => Self::Foreign { why },
            CallError::Inconclusive { why, .. } => Self::OutcomeUnknown { why },
            CallError::Refused(refusal) => Self::OutcomeUnknown { why: refusal.to_string() },
        }
    }
}

/// A page for people where an API was asked: something else answered.
pub(super) fn page(operation: &'static str, url: &str, answer: &Answer, secrets: &[SecretString]) -> CallError {
    CallError::Inconclusive {
        why: format!(
            "{} with a page for people, which no such endpoint does; check what stands before the server",
            answered(operation, url, answer, secrets)
        ),
        may_have_acted: true,
        retry_after: None,
    }
}

/// What was being done, to what, and what came back.
pub(super) fn answered(operation: &'static str, url: &str, answer: &Answer, secrets: &[SecretString]) -> String {
    let error = answer.error(secrets).0.map(|error| format!(" {error}")).unwrap_or_default();
    format!("{}: the server answered {}{error}", http::describe(operation, url), answer.status)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 415, 418, 422, 451], Effect::Refused)]
    #[case(&[425, 429, 501, 505], Effect::None)]
    #[case(&[101, 303, 408, 500, 502, 503, 504, 507, 511, 520, 599, 600, 999], Effect::Unknown)]
    fn effects(#[case] statuses: &[u16], #[case] expected: Effect) {
        for status in statuses {
            assert_eq!(effect(*status), expected, "{status}");
        }
    }
}
