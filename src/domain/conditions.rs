//! Conditions by the Kubernetes API conventions: written only when they say something new, and
//! `lastTransitionTime` moves only when the status does.

use chrono::{DateTime, SubsecRound, Utc};

use crate::api::Condition;

/// What a condition is to say now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Say {
    /// Type.
    pub type_: &'static str,
    /// True, False or (None) Unknown.
    pub status: Option<bool>,
    /// CamelCase reason.
    pub reason: String,
    /// Sentence.
    pub message: String,
}

/// A condition that holds or does not.
pub fn say(type_: &'static str, status: bool, reason: impl Into<String>, message: impl Into<String>) -> Say {
    Say { type_, status: Some(status), reason: reason.into(), message: message.into() }
}

/// The conditions after these things were said; those not mentioned are gone.
pub fn merge(before: &[Condition], now: DateTime<Utc>, generation: Option<i64>, said: Vec<Say>) -> Vec<Condition> {
    said.into_iter()
        .map(|s| {
            let status = match s.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let since = before
                .iter()
                .find(|c| c.type_ == s.type_ && c.status == status)
                .map_or_else(|| now.trunc_subsecs(0), |c| c.last_transition_time);
            Condition {
                type_: s.type_.into(),
                status: status.into(),
                reason: s.reason,
                message: s.message,
                last_transition_time: since,
                observed_generation: generation,
            }
        })
        .collect()
}
