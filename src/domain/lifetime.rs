//! When a client ends for reasons of time, and whether our clock may be believed.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::Lifetime;

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
