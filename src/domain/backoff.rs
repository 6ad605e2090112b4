//! How long to wait after failures. Deterministic: the jitter comes from the name of what failed.

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::api::Retry;

const FIRST: i64 = 1_000;
const LONGEST: i64 = 300_000;
/// The longest that a server may ask us to stay away. Anything later on record was written by a clock that was wrong.
const LONGEST_ASKED: TimeDelta = TimeDelta::minutes(30);

/// The wait after so many failures in a row: doubling from 1 s to 5 min, spread over the upper half, and never
/// less than what the server asked for.
pub fn delay(name: &str, failures: u32, asked: Option<std::time::Duration>) -> TimeDelta {
    let full = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST);
    let digest = Sha256::digest(format!("{name}/{failures}"));
    let share = i64::from(u16::from_be_bytes([digest[0], digest[1]]));
    let spread = full / 2 + full / 2 * share / i64::from(u16::MAX);
    let own = TimeDelta::milliseconds(spread);
    asked.and_then(|d| TimeDelta::from_std(d).ok()).map_or(own, |d| own.max(d.min(LONGEST_ASKED)))
}

/// Whether an instant on record is still to be waited for.
pub fn holds(until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    until > now && until - now <= LONGEST_ASKED
}

/// The record of one more failure.
pub fn failed(
    name: &str,
    before: Option<&Retry>,
    now: DateTime<Utc>,
    error: &str,
    asked: Option<std::time::Duration>,
) -> Retry {
    let failures = before.map_or(0, |r| r.failures).saturating_add(1);
    Retry { failures, next_at: now + delay(name, failures, asked), last_error: error.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_is_bounded_and_honours_the_server() {
        let mut last = TimeDelta::zero();
        for n in 1..9 {
            let d = delay("x", n, None);
            assert!(d >= last / 2 && d <= TimeDelta::minutes(5), "{n}: {d}");
            last = d;
        }
        assert!(delay("x", 60, None) >= TimeDelta::seconds(150));
        assert!(delay("x", 1, Some(std::time::Duration::from_secs(90))) >= TimeDelta::seconds(90));
        assert_ne!(delay("x", 5, None), delay("y", 5, None));
        assert_eq!(delay("x", 1, Some(std::time::Duration::from_secs(86_400))), TimeDelta::minutes(30));
    }

    #[test]
    fn a_wait_on_record_ends_when_it_is_over_or_was_never_one() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        assert!(holds(now + TimeDelta::minutes(5), now));
        assert!(!holds(now, now));
        assert!(!holds(now + TimeDelta::hours(2), now), "written while the clock was two hours ahead");
    }
}
