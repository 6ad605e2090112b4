//! What one authorization server is asked to bear, and how long anyone waits for it.
//!
//! A [`Gate`] stands before every request to a server: so many at a time, so many a second. Those who wait are
//! counted, and when too many do, the next one is told to come back later instead of waiting as well. So a slow
//! server holds at most `4 × max_in_flight` workers, however many clients it has: half of them for what ends clients,
//! which goes before everything else.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use rand::Rng;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

/// The longest that one server's Retry-After holds back requests on behalf of other clients. The one that was told
/// honours all of it; but some servers limit each client by itself, and must not stop the revocation of the others.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What one authorization server is asked to bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests a second, on average; 0 counts as 1.
    pub requests_per_second: u32,
    /// Requests at once after a quiet time; 0 counts as 1.
    pub burst: u32,
    /// Requests waiting for their answer at any time; 0 counts as 1. As many again may wait for their turn.
    pub max_in_flight: u32,
    /// The longest wait for a whole answer, connecting included; and the longest wait for one's turn.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_second: 20, burst: 40, max_in_flight: 8, request_timeout: Duration::from_secs(10) }
    }
}

/// Tokio's clock for governor, so that waiting and counting go by the same time.
#[derive(Debug, Clone)]
struct TokioClock {
    start: Instant,
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Priority {
    /// What ends a client.
    Ending,
    /// Everything else.
    #[default]
    Other,
}

/// Why nothing is sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Too many wait already, or none of them got on.
    Crowded,
    /// The server asked for a pause (RFC 9110 section 10.2.3).
    Paused,
    /// It failed so many times in a row.
    Failing(u32),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Crowded => f.write_str("too many requests to this server are waiting"),
            Self::Paused => f.write_str("the server asked for a pause"),
            Self::Failing(times) => write!(f, "the server failed {times} times in a row and is left alone for a while"),
        }
    }
}

/// Not the time for a request: nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; try again in about {} s", .retry_after.as_secs().max(1))]
pub struct Busy {
    /// Why.
    pub why: Why,
    /// When to try again, at the earliest; with jitter, so that not all come back at once.
    pub retry_after: Duration,
}

/// The right to make one request; given back when dropped.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _slot: SemaphorePermit<'a>,
}

/// Stands before every request to one server.
#[derive(Debug)]
pub struct Gate {
    /// Those in flight and those waiting: what ends clients, and the others.
    places: [Semaphore; 2],
    /// Of the others only the first one waits for a slot, behind all that ends clients and came before.
    first: Semaphore,
    /// Those in flight.
    slots: Semaphore,
    rate: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    clock: TokioClock,
    paused_until: Mutex<Option<Instant>>,
    longest_wait: Duration,
}

impl Gate {
    /// A gate that keeps these limits.
    pub fn new(limits: &Limits) -> Self {
        let clock = TokioClock { start: Instant::now() };
        let quota = Quota::per_second(at_least_one(limits.requests_per_second)).allow_burst(at_least_one(limits.burst));
        let in_flight = limits.max_in_flight.clamp(1, 100_000) as usize;
        Self {
            places: [Semaphore::new(2 * in_flight), Semaphore::new(2 * in_flight)],
            first: Semaphore::new(1),
            slots: Semaphore::new(in_flight),
            rate: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
            paused_until: Mutex::new(None),
            longest_wait: limits.request_timeout,
        }
    }

    /// Waits for a turn, at most `request_timeout`.
    ///
    /// # Errors
    ///
    /// [`Busy`] when too many wait already, the server asked for a pause, or no turn came in time. The request was
    /// not sent.
    pub async fn enter(&self, priority: Priority) -> Result<Turn<'_>, Busy> {
        if let Some(left) = self.pause_left() {
            return Err(Busy { why: Why::Paused, retry_after: left.mul_f64(rand::rng().random_range(1.0..1.2)) });
        }
        let ends = priority == Priority::Ending;
        let place = self.places[usize::from(!ends)].try_acquire().map_err(|_| self.busy())?;
        let turn = async {
            let _first = if ends { None } else { Some(self.first.acquire().await.map_err(|_| self.busy())?) };
            // A slot first, then the right to send: else rights would pile up before a slow server and be spent at
            // once when it recovers.
            let slot = self.slots.acquire().await.map_err(|_| self.busy())?;
            while let Err(not_until) = self.rate.check() {
                sleep(not_until.wait_time_from(self.clock.now())).await;
            }
            Ok(slot)
        };
        let slot = timeout(self.longest_wait, turn).await.map_err(|_| self.busy())??;
        Ok(Turn { _place: place, _slot: slot })
    }

    /// The server said that it is called too often: nobody calls it for that long, at most 60 s.
    pub fn pause(&self, how_long: Duration) {
        let until = Instant::now() + how_long.min(LONGEST_PAUSE);
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = Some(paused.map_or(until, |earlier| earlier.max(until)));
    }

    fn pause_left(&self) -> Option<Duration> {
        let until = (*self.paused_until.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    fn busy(&self) -> Busy {
        Busy {
            why: Why::Crowded,
            retry_after: self.longest_wait.max(Duration::from_secs(1)).mul_f64(rand::rng().random_range(0.5..1.5)),
        }
    }
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests_per_second: u32, burst: u32, max_in_flight: u32) -> Limits {
        Limits { requests_per_second, burst, max_in_flight, request_timeout: Duration::from_secs(10) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_holds_a_bounded_number_of_workers() {
        let gate = Gate::new(&limits(1000, 1000, 2));
        let _first = gate.enter(Priority::Other).await.unwrap();
        let _second = gate.enter(Priority::Other).await.unwrap();
        let began = Instant::now();
        let all = futures::future::join_all((0..50).map(|_| async {
            let turn = gate.enter(Priority::Other).await;
            (turn.is_ok(), began.elapsed())
        }))
        .await;
        assert!(all.iter().all(|(ok, _)| !ok), "nobody got a turn");
        let at_once = all.iter().filter(|(_, waited)| waited.is_zero()).count();
        assert_eq!(at_once, 48, "two wait, the others are told at once");
        assert!(all.iter().all(|(_, waited)| *waited <= Duration::from_secs(11)), "and nobody waits for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_given_back_is_the_next_ones() {
        let gate = Gate::new(&limits(1000, 1000, 1));
        let first = gate.enter(Priority::Other).await.unwrap();
        let (second, ()) = tokio::join!(gate.enter(Priority::Other), async { drop(first) });
        drop(second.unwrap());
        assert!(gate.enter(Priority::Other).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_a_second_after_the_burst() {
        let gate = Gate::new(&limits(2, 3, 100));
        let began = Instant::now();
        for _ in 0..7 {
            let _ = gate.enter(Priority::Other).await.unwrap();
        }
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(1990) && took <= Duration::from_millis(2100),
            "3 at once, 4 at 2/s: {took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_for_everyone_and_ends() {
        let gate = Gate::new(&limits(1000, 1000, 4));
        gate.pause(Duration::from_secs(5));
        gate.pause(Duration::from_secs(1));
        let busy = gate.enter(Priority::Other).await.unwrap_err();
        assert!(busy.retry_after >= Duration::from_secs(5) && busy.retry_after < Duration::from_secs(7), "{busy:?}");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(gate.enter(Priority::Other).await.is_ok());
        gate.pause(Duration::from_secs(3600));
        tokio::time::advance(LONGEST_PAUSE).await;
        assert!(gate.enter(Priority::Other).await.is_ok(), "others wait for a minute at most");
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_clients_goes_first() {
        let gate = Gate::new(&limits(1000, 1000, 4));
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(gate.enter(Priority::Other).await.unwrap());
        }
        let order = Mutex::new(Vec::new());
        let next = |priority| {
            let (gate, order) = (&gate, &order);
            async move {
                let turn = gate.enter(priority).await.expect("a place, and in time");
                order.lock().unwrap().push(priority);
                sleep(Duration::from_millis(10)).await;
                drop(turn);
            }
        };
        let others = futures::future::join_all((0..4).map(|_| next(Priority::Other)));
        let endings = async {
            sleep(Duration::from_millis(1)).await;
            futures::future::join_all((0..8).map(|_| next(Priority::Ending))).await
        };
        let free = async {
            sleep(Duration::from_millis(2)).await;
            while let Some(turn) = held.pop() {
                drop(turn);
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::join!(others, endings, free);
        let order = order.into_inner().unwrap();
        let behind = order.iter().rposition(|p| *p == Priority::Ending).expect("endings");
        assert_eq!(order.len(), 12);
        assert!(behind <= 9, "8 endings, and one other in each round that was first before: {order:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn zeroes_do_not_stop_everything() {
        let gate = Gate::new(&limits(0, 0, 0));
        assert!(gate.enter(Priority::Other).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_busy_server_does_not_delay_another() {
        let (slow, fast) = (Gate::new(&limits(1000, 1000, 1)), Gate::new(&limits(1000, 1000, 1)));
        let _held = slow.enter(Priority::Other).await.unwrap();
        let began = Instant::now();
        let (_, other) = tokio::join!(slow.enter(Priority::Other), async {
            let turn = fast.enter(Priority::Other).await;
            (turn.is_ok(), began.elapsed())
        });
        assert_eq!(other, (true, Duration::ZERO));
    }
}
