//! The one clock. It knows how far it is off the API server's, from the `Date` of every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use http::Response;
use tower::util::MapResponseLayer;

const UNKNOWN: i64 = i64::MIN;

/// Tells the time, and how far it is off the API server's.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Local time minus the API server's, in milliseconds.
    offset: Arc<AtomicI64>,
    began: Instant,
    /// When the API server was last heard, in milliseconds from the beginning, plus one; 0 is never.
    heard: Arc<AtomicU64>,
}

impl Clock {
    /// The system's clock.
    pub fn new() -> Self {
        Self { offset: Arc::new(AtomicI64::new(UNKNOWN)), began: Instant::now(), heard: Arc::default() }
    }

    /// The local time.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + moved()
    }

    /// How far the local clock is ahead of the API server's; `None` before its first answer.
    pub fn offset(&self) -> Option<TimeDelta> {
        match self.offset.load(Ordering::Relaxed) {
            UNKNOWN => None,
            millis => Some(TimeDelta::milliseconds(millis)),
        }
    }

    /// How long ago the API server last answered anything; `None` before its first answer.
    pub fn silent_for(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_millis(heard)))
    }

    fn heard<B>(&self, response: &Response<B>) {
        let date = response.headers().get(http::header::DATE).and_then(|d| d.to_str().ok());
        if let Some(theirs) = date.and_then(|d| DateTime::parse_from_rfc2822(d).ok()) {
            // `Date` has whole seconds: on average half a second has passed since.
            let off = self.now() - theirs.with_timezone(&Utc) - TimeDelta::milliseconds(500);
            self.offset.store(off.num_milliseconds(), Ordering::Relaxed);
            let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            self.heard.store(millis + 1, Ordering::Relaxed);
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

/// What a test adds to the local time: for good, or as a file says at this moment.
#[cfg(feature = "faults")]
fn moved() -> TimeDelta {
    let text = std::env::var("FAULT_CLOCK_FILE").ok().and_then(|path| std::fs::read_to_string(path).ok());
    let seconds = text.or_else(|| std::env::var("FAULT_CLOCK_SECONDS").ok()).and_then(|s| s.trim().parse().ok());
    TimeDelta::seconds(seconds.unwrap_or(0))
}
