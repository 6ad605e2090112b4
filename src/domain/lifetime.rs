//! When a client ends for reasons of time, when that is announced, how durable that makes it, and whether our clock may be
//! believed.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::{Durability, Lifetime, WorkloadRef};
use crate::domain::workload;

/// How far the local clock may be off the API server's before nothing is ended for reasons of time.
pub const TRUSTED_SKEW: TimeDelta = TimeDelta::seconds(60);

/// The instant of the end; `ttl` counts from the first registration.
pub fn expires_at(lifetime: &Lifetime, first_registered_at: DateTime<Utc>) -> DateTime<Utc> {
    match (&lifetime.ttl, lifetime.expires_at) {
        (_, Some(at)) => at,
        // The API server has refused what is no span; an end now is the safe reading of one all the same.
        (Some(ttl), None) => {
            ttl.delta().and_then(|d| first_registered_at.checked_add_signed(d)).unwrap_or(first_registered_at)
        }
        (None, None) => first_registered_at,
    }
}

/// Whether the local clock is near enough to the API server's; `None`, when the offset is not known, is no.
pub fn clock_is_trusted(offset: Option<TimeDelta>) -> bool {
    offset.is_some_and(|o| o.abs() <= TRUSTED_SKEW)
}

/// How long ahead an end is announced at most.
const AHEAD: TimeDelta = TimeDelta::days(7);

/// When an end by time is announced: in the last tenth of the client's life, and not more than seven days ahead.
pub fn announced_at(first_registered_at: DateTime<Utc>, expires_at: DateTime<Utc>) -> DateTime<Utc> {
    expires_at - ((expires_at - first_registered_at) / 10).min(AHEAD)
}

/// The longest life of a client that is ephemeral whatever it is bound to.
const A_DAY: TimeDelta = TimeDelta::hours(24);

/// How durable a client is that ends with this workload, and lives so long from its first registration.
pub fn durability(workload: Option<&WorkloadRef>, life: TimeDelta) -> Durability {
    if life <= A_DAY || workload.is_some_and(|w| workload::runs_to_completion(&w.kind)) {
        Durability::Ephemeral
    } else {
        Durability::Durable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    #[rstest::rstest]
    #[case(1000, 900)]
    #[case(10, 9)]
    #[case(1_680, 1_512)]
    #[case(16_800, 16_632)]
    fn an_end_is_announced_in_the_last_tenth_of_a_life(#[case] end: i64, #[case] announced: i64) {
        assert_eq!(announced_at(at(0), at(end)), at(announced));
    }

    #[rstest::rstest]
    #[case(None, 24, Durability::Ephemeral)]
    #[case(None, 25, Durability::Durable)]
    #[case(Some("Job"), 8_760, Durability::Ephemeral)]
    #[case(Some("PipelineRun"), 8_760, Durability::Ephemeral)]
    #[case(Some("Deployment"), 8_760, Durability::Durable)]
    #[case(Some("CronJob"), 8_760, Durability::Durable)]
    #[case(Some("Deployment"), 1, Durability::Ephemeral)]
    fn ephemeral_is_what_is_used_up(#[case] kind: Option<&str>, #[case] hours: i64, #[case] expected: Durability) {
        let workload = kind.map(|kind| WorkloadRef { api_version: "v1".into(), kind: kind.into(), name: "w".into() });
        assert_eq!(durability(workload.as_ref(), TimeDelta::hours(hours)), expected);
    }
}
