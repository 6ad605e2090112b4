//! The one clock. It knows how far it is off the API server's, from the `Date` of every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use http::Response;
use tower::util::MapResponseLayer;

use crate::domain::lifetime::clock_is_trusted;

const UNKNOWN: i64 = i64::MIN;

/// Tells the time, and how far it is off the API server's.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Local time minus the API server's, in milliseconds.
    offset: Arc<AtomicI64>,
    /// What a test adds to the local time.
    moved: TimeDelta,
}

impl Clock {
    /// The system's clock.
    pub fn new() -> Self {
        Self { offset: Arc::new(AtomicI64::new(UNKNOWN)), moved: moved() }
    }

    /// The local time.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.moved
    }

    /// How far the local clock is ahead of the API server's; `None` before its first answer.
    pub fn offset(&self) -> Option<TimeDelta> {
        match self.offset.load(Ordering::Relaxed) {
            UNKNOWN => None,
            millis => Some(TimeDelta::milliseconds(millis)),
        }
    }

    fn heard<B>(&self, response: &Response<B>) {
        let date = response.headers().get(http::header::DATE).and_then(|d| d.to_str().ok());
        if let Some(theirs) = date.and_then(|d| DateTime::parse_from_rfc2822(d).ok()) {
            // `Date` has whole seconds: on average half a second has passed since.
            let off = self.now() - theirs.with_timezone(&Utc) - TimeDelta::milliseconds(500);
            let before = self.offset.swap(off.num_milliseconds(), Ordering::Relaxed);
            let trusted = |millis| millis == UNKNOWN || clock_is_trusted(Some(TimeDelta::milliseconds(millis)));
            match (trusted(before), clock_is_trusted(Some(off))) {
                (true, false) => tracing::error!(
                    seconds_ahead = off.num_seconds(),
                    "the local clock is more than a minute off the API server's: nothing is registered, and nothing is ended for reasons of time, before it is right"
                ),
                (false, true) => {
                    tracing::warn!("the local clock is near the API server's again: ends that are due come now")
                }
                _ => {}
            }
        }
    }

    /// A layer for the Kubernetes client that reads the API server's `Date`.
    pub fn layer<B>(&self) -> MapResponseLayer<impl FnMut(Response<B>) -> Response<B> + Clone + use<B>> {
        let clock = self.clone();
        MapResponseLayer::new(move |response| {
            clock.heard(&response);
            response
        })
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(feature = "faults"))]
fn moved() -> TimeDelta {
    TimeDelta::zero()
}

#[cfg(feature = "faults")]
fn moved() -> TimeDelta {
    let seconds = std::env::var("FAULT_CLOCK_SECONDS").ok().and_then(|s| s.parse().ok());
    TimeDelta::seconds(seconds.unwrap_or(0))
}
