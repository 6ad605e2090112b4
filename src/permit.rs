//! The right to act, which lapses by itself: that of the replica that holds the Lease.
//!
//! Whatever has an effect, at the API server or at an authorization server, goes through a [`Permit`]. It is asked before
//! each poll, so that a process that stood still for longer than its right lasts sends nothing more when it goes on.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// An instant of the clock that goes on while the machine sleeps, as that of everybody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// Now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
        Self(Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default()))
    }

    /// So much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// So much earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }

    /// How long ago it was; zero when it is to come.
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }

    /// How long until it comes; zero when it is over.
    pub fn remaining(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }
}

/// Until when one may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Never,
    Then(Instant),
    Always,
}

/// The right to act. Clones share it.
#[derive(Debug, Clone)]
pub struct Permit(Arc<watch::Sender<Until>>);

/// There is no right to act, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not hold the lease; the one that does goes on")]
pub struct Lapsed;

impl Permit {
    /// None, until it is granted.
    pub fn none() -> Self {
        Self(Arc::new(watch::Sender::new(Until::Never)))
    }

    /// One that never lapses, where nobody else could act.
    pub fn unlimited() -> Self {
        Self(Arc::new(watch::Sender::new(Until::Always)))
    }

    /// Grants it until then, whatever was said before.
    pub fn grant(&self, until: Instant) {
        self.0.send_replace(Until::Then(until));
    }

    /// Takes it back.
    pub fn withdraw(&self) {
        self.0.send_replace(Until::Never);
    }

    /// Whether one may act now.
    pub fn is_valid(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// How long one may act for certain; zero when one may not.
    pub fn remaining(&self) -> Duration {
        match *self.0.borrow() {
            Until::Never => Duration::ZERO,
            Until::Then(until) => until.remaining(),
            Until::Always => Duration::MAX,
        }
    }

    /// Done once one may act.
    pub async fn granted(&self) {
        let mut told = self.0.subscribe();
        while !self.is_valid() {
            // The sender lives as long as we do.
            let _ = told.changed().await;
        }
    }

    /// Done once one may not act, or not any more.
    pub async fn lapsed(&self) {
        let mut told = self.0.subscribe();
        loop {
            match self.remaining() {
                Duration::ZERO => return,
                // It may be prolonged, or taken back, while we wait.
                left => drop(tokio::time::timeout(left.min(LONGEST_WAIT), told.changed()).await),
            }
        }
    }

    /// Does this as long as one may act, and not a step of it afterwards.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Lapsed> {
        let (mut work, mut lapse) = (pin!(work), pin!(self.lapsed()));
        poll_fn(|cx| {
            if !self.is_valid() {
                return Poll::Ready(Err(Lapsed));
            }
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            lapse.as_mut().poll(cx).map(|()| Err(Lapsed))
        })
        .await
    }
}

/// The clock that timers go by stands still while the machine sleeps; the right does not.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn soon(millis: u64) -> Instant {
        Instant::now().after(Duration::from_millis(millis))
    }

    #[tokio::test]
    async fn without_it_nothing_is_begun() {
        let begun = AtomicUsize::new(0);
        let work = async { begun.fetch_add(1, Ordering::Relaxed) };
        assert_eq!(Permit::none().guard(work).await, Err(Lapsed));
        assert_eq!(begun.load(Ordering::Relaxed), 0);
        assert_eq!(Permit::unlimited().guard(async { 1 }).await, Ok(1));
    }

    #[tokio::test]
    async fn it_ends_what_is_under_way() {
        let permit = Permit::none();
        permit.grant(soon(50));
        assert_eq!(permit.guard(std::future::pending::<()>()).await, Err(Lapsed));
        assert!(!permit.is_valid());
    }

    #[tokio::test]
    async fn one_that_is_taken_back_ends_it_at_once() {
        let permit = Permit::none();
        permit.grant(soon(600_000));
        let (taker, guarded) = (permit.clone(), permit.guard(std::future::pending::<()>()));
        let take = async move {
            tokio::task::yield_now().await;
            taker.withdraw();
        };
        assert_eq!(tokio::join!(guarded, take).0, Err(Lapsed));
    }

    #[tokio::test]
    async fn prolonged_it_goes_on() {
        let permit = Permit::none();
        permit.grant(soon(200));
        let longer = permit.clone();
        let work = async move {
            longer.grant(soon(600_000));
            tokio::time::sleep(Duration::from_millis(400)).await;
        };
        assert_eq!(permit.guard(work).await, Ok(()));
    }

    /// A process that stood still is polled where it stood before any timer of it has run.
    #[tokio::test]
    async fn what_stood_still_does_no_further_step() {
        let permit = Permit::none();
        permit.grant(soon(50));
        let steps = AtomicUsize::new(0);
        let work = async {
            steps.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            tokio::task::yield_now().await;
            steps.fetch_add(1, Ordering::Relaxed);
        };
        assert_eq!(permit.guard(work).await, Err(Lapsed));
        assert_eq!(steps.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_waits_for_it_is_told() {
        let permit = Permit::none();
        let giver = permit.clone();
        let give = async move {
            tokio::task::yield_now().await;
            giver.grant(soon(600_000));
        };
        tokio::join!(permit.granted(), give);
    }
}
