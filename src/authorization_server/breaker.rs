//! A circuit breaker: a server that fails again and again is left alone for a while, and then tried with one request
//! before others follow.
//!
//! What counts as a failure is the server's, not a client's: no connection, no answer, or one of those that say "not
//! now" (RFC 9110 sections 15.6.1, 15.6.3 to 15.6.5). Any other answer shows that the server works.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// So many failures in a row open the circuit.
const MOST_FAILURES: u32 = 5;

/// How long it stays open at first; twice as long after each try that fails.
const FIRST: Duration = Duration::from_secs(2);

/// The longest that it stays open before the next try, but for jitter.
const LONGEST: Duration = Duration::from_secs(30);

/// The server is left alone: nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// How often it failed in a row.
    pub failures: u32,
    /// When to try again, at the earliest; with jitter.
    pub retry_after: Duration,
}

/// One circuit for each origin (RFC 6454) that a server's endpoints have.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<HashMap<String, Circuit>>);

#[derive(Debug, Default)]
struct Circuit {
    /// In a row.
    failures: u32,
    /// Tries that failed, in a row, and the failures that opened it.
    opened: u32,
    /// Nothing is sent before.
    until: Option<Instant>,
    /// A try is under way.
    trying: bool,
}

/// What became of a request, for the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server works.
    Answered,
    /// It does not.
    Failed,
}

/// Whether the circuit opened or closed by an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It stays as it was.
    None,
    /// It opened.
    Opened,
    /// It closed.
    Closed,
}

/// The right to send one request, whose outcome is told. Dropped without: nothing was learned.
#[derive(Debug)]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    origin: String,
    is_try: bool,
}

impl Breaker {
    /// Lets a request through, unless the circuit is open.
    ///
    /// # Errors
    ///
    /// [`Open`], with nothing sent.
    pub fn enter(&self, origin: &str) -> Result<Pass<'_>, Open> {
        let mut all = self.lock();
        let circuit = all.entry(origin.to_owned()).or_default();
        let is_try = match circuit.until {
            None => false,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() || circuit.trying {
                    let retry_after = left.max(Duration::from_secs(1)).mul_f64(rand::rng().random_range(1.0..1.5));
                    return Err(Open { failures: circuit.failures, retry_after });
                }
                circuit.trying = true;
                true
            }
        };
        Ok(Pass { breaker: self, origin: origin.to_owned(), is_try })
    }

    /// The origins whose circuit is open, or was when something was last to be sent there; in order.
    pub fn open(&self) -> Vec<String> {
        let all = self.lock();
        let mut open: Vec<String> = all.iter().filter(|(_, c)| c.until.is_some()).map(|(o, _)| o.clone()).collect();
        open.sort();
        open
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Tells what became of the request.
    pub fn tell(mut self, outcome: Outcome) -> Change {
        let mut all = self.breaker.lock();
        let circuit = all.entry(std::mem::take(&mut self.origin)).or_default();
        let is_try = std::mem::take(&mut self.is_try);
        match outcome {
            Outcome::Answered => {
                let was_open = circuit.until.is_some();
                *circuit = Circuit::default();
                if was_open { Change::Closed } else { Change::None }
            }
            Outcome::Failed => {
                circuit.failures = circuit.failures.saturating_add(1);
                let was_open = circuit.until.is_some();
                if is_try || !was_open && circuit.failures >= MOST_FAILURES {
                    circuit.trying = false;
                    circuit.opened = circuit.opened.saturating_add(1);
                    let wait = FIRST.saturating_mul(1 << (circuit.opened - 1).min(10)).min(LONGEST);
                    circuit.until = Some(Instant::now() + wait.mul_f64(rand::rng().random_range(0.75..1.25)));
                }
                if was_open || circuit.until.is_none() { Change::None } else { Change::Opened }
            }
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        // A try that was never sent, or given up: the next one may try.
        if self.is_try
            && let Some(circuit) = self.breaker.lock().get_mut(&self.origin)
        {
            circuit.trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://sso.corp.example";

    fn fail(breaker: &Breaker, times: u32) -> Vec<Change> {
        (0..times).map(|_| breaker.enter(HERE).expect("closed").tell(Outcome::Failed)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_and_tries_with_one() {
        let breaker = Breaker::default();
        assert!(fail(&breaker, 4).iter().all(|c| *c == Change::None));
        assert_eq!(breaker.enter(HERE).unwrap().tell(Outcome::Answered), Change::None);
        assert!(fail(&breaker, 4).iter().all(|c| *c == Change::None), "an answer between makes them start anew");
        assert_eq!(fail(&breaker, 1), [Change::Opened]);
        let open = breaker.enter(HERE).unwrap_err();
        assert_eq!(open.failures, 5);
        assert!(open.retry_after <= FIRST.mul_f64(2.0), "{open:?}");
        tokio::time::advance(FIRST.mul_f64(1.25)).await;
        let one = breaker.enter(HERE).expect("one may try");
        assert!(breaker.enter(HERE).is_err(), "and others wait for what comes of it");
        assert_eq!(one.tell(Outcome::Answered), Change::Closed);
        assert!(breaker.enter(HERE).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_longer_after_each_try_and_never_too_long() {
        let breaker = Breaker::default();
        fail(&breaker, MOST_FAILURES);
        let mut waits = Vec::new();
        for _ in 0..10 {
            let began = Instant::now();
            let one = loop {
                match breaker.enter(HERE) {
                    Ok(one) => break one,
                    Err(_) => tokio::time::advance(Duration::from_millis(100)).await,
                }
            };
            waits.push(began.elapsed());
            assert_eq!(one.tell(Outcome::Failed), Change::None);
        }
        assert!(waits[0] < Duration::from_millis(2_700) && waits[1] > Duration::from_millis(2_900), "{waits:?}");
        assert!(waits.iter().all(|w| *w <= LONGEST.mul_f64(1.26)), "{waits:?}");
        assert!(waits[9] >= LONGEST.mul_f64(0.75), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_is_given_up_leaves_the_next_one_to_try() {
        let breaker = Breaker::default();
        fail(&breaker, MOST_FAILURES);
        tokio::time::advance(FIRST.mul_f64(1.25)).await;
        drop(breaker.enter(HERE).expect("one may try"));
        assert!(breaker.enter(HERE).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn late_failures_do_not_keep_it_open_and_a_late_answer_closes_it() {
        let breaker = Breaker::default();
        let (late, later) = (breaker.enter(HERE).unwrap(), breaker.enter(HERE).unwrap());
        fail(&breaker, MOST_FAILURES);
        tokio::time::advance(FIRST.mul_f64(1.25)).await;
        assert_eq!(late.tell(Outcome::Failed), Change::None);
        let one = breaker.enter(HERE).expect("its time has come all the same");
        assert_eq!(later.tell(Outcome::Answered), Change::Closed);
        assert_eq!(one.tell(Outcome::Failed), Change::Opened, "a try that fails opens it, whatever was between");
    }

    #[tokio::test(start_paused = true)]
    async fn one_origin_says_nothing_of_another() {
        let breaker = Breaker::default();
        fail(&breaker, MOST_FAILURES);
        assert!(breaker.enter("https://admin.corp.example").is_ok());
        assert_eq!(breaker.open(), [HERE]);
        tokio::time::advance(FIRST.mul_f64(1.25)).await;
        assert_eq!(breaker.open(), [HERE], "its time has come, and nothing was answered yet");
        breaker.enter(HERE).expect("one may try").tell(Outcome::Answered);
        assert!(breaker.open().is_empty());
    }
}
