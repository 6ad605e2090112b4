//! A storm on the way to a server: a part of all requests meets a fault, chosen by a seed that is printed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::proxy::{Call, Lie, Proxy, Reply};

/// The faults. Each is told once before any is told again, so that a short storm has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The connection breaks; the server never heard of it.
    ResetBefore,
    /// The server acts, and the connection breaks.
    ResetAfter,
    /// Held back until after the time-out.
    HeldPastTimeout,
    /// A registration held back until after the deletion of the same client, if that comes in time.
    HeldBehindDeletion,
    /// Slow, within the time-out.
    Delay,
    /// 429 with Retry-After in seconds.
    TooManySeconds,
    /// 429 with Retry-After as a date.
    TooManyDate,
    /// 500 by something that never asked the server.
    Error,
    /// The server acts, and a gateway says 502.
    ActedButError,
    /// The server acts, and half of the body comes.
    Truncated,
}

const FAULTS: [Fault; 10] = [
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::HeldPastTimeout,
    Fault::HeldBehindDeletion,
    Fault::Delay,
    Fault::TooManySeconds,
    Fault::TooManyDate,
    Fault::Error,
    Fault::ActedButError,
    Fault::Truncated,
];

/// How a storm blows.
#[derive(Debug, Clone, Copy)]
pub struct Strength {
    /// How many of a hundred requests that change a client meet a fault.
    pub changes: u32,
    /// How many of a hundred others.
    pub others: u32,
    /// The operator's time-out.
    pub timeout: Duration,
    /// The longest that anything is held back.
    pub longest: Duration,
}

struct Chance {
    random: StdRng,
    /// What is left of the faults until all were told: for changes, and for the others.
    decks: [Vec<Fault>; 2],
    told: BTreeMap<Fault, usize>,
    asked: usize,
}

/// A storm over a proxy.
pub struct Storm {
    /// What chose the faults. Requests that run at the same time come in no certain order, so the same seed brings the
    /// same faults, and not to the same requests.
    pub seed: u64,
    chance: Arc<Mutex<Chance>>,
}

impl Storm {
    /// Lets it blow; `STORM_SEED` chooses the seed.
    pub fn over(proxy: &Proxy, strength: Strength) -> Self {
        let seed = std::env::var("STORM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
        eprintln!("storm: STORM_SEED={seed}");
        let random = StdRng::seed_from_u64(seed);
        let chance = Chance { random, decks: [Vec::new(), Vec::new()], told: BTreeMap::new(), asked: 0 };
        let chance = Arc::new(Mutex::new(chance));
        let own = chance.clone();
        proxy.choose(Some(Box::new(move |call, body| own.lock().expect("no panic in here").lie(call, body, strength))));
        Self { seed, chance }
    }

    /// What was told, in words; every fault must have been.
    pub fn told(&self) -> String {
        let chance = self.chance.lock().expect("no panic in here");
        for fault in FAULTS {
            assert!(chance.told.contains_key(&fault), "{fault:?} was never told: {:?}", chance.told);
        }
        format!(
            "seed {}, {} of {} requests: {:?}",
            self.seed,
            chance.told.values().sum::<usize>(),
            chance.asked,
            chance.told
        )
    }
}

/// Whether this registers a client by Keycloak's admin API.
pub fn registers(call: &Call) -> bool {
    call.method == "POST" && call.target.starts_with("/admin/realms/") && call.target.ends_with("/clients")
}

impl Chance {
    fn lie(&mut self, call: &Call, body: &[u8], strength: Strength) -> Option<Lie> {
        self.asked += 1;
        let changes = call.method != "GET" && call.target.starts_with("/admin/");
        let share = if changes { strength.changes } else { strength.others };
        if self.random.random_range(0..100) >= share {
            return None;
        }
        let deck = &mut self.decks[usize::from(changes)];
        // Only a registration can be held behind a deletion: for others that fault stays in the deck.
        let fits = |f: &Fault| *f != Fault::HeldBehindDeletion || registers(call);
        if !deck.iter().any(fits) {
            deck.extend(FAULTS);
            deck.shuffle(&mut self.random);
        }
        // What only fits a registration goes first there: there are few of them.
        let own = registers(call).then(|| deck.iter().position(|f| *f == Fault::HeldBehindDeletion)).flatten();
        let fault = deck.remove(own.or_else(|| deck.iter().rposition(fits))?);
        *self.told.entry(fault).or_default() += 1;
        let mut between = |a: Duration, b: Duration| self.random.random_range(a..=b);
        Some(match fault {
            Fault::ResetBefore => Lie::Reset,
            Fault::ResetAfter => Lie::ActedButReset,
            Fault::HeldPastTimeout => Lie::Late(between(strength.timeout, strength.longest)),
            Fault::HeldBehindDeletion => {
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                let own = format!("/clients/{}", body["id"].as_str().unwrap_or_default());
                Lie::Behind(Box::new(move |c| c.method == "DELETE" && c.target.ends_with(&own)), strength.longest)
            }
            Fault::Delay => Lie::Late(between(Duration::from_millis(100), strength.timeout / 2)),
            Fault::TooManySeconds => Lie::Instead(too_many().header("retry-after", "1")),
            Fault::TooManyDate => {
                let soon = super::now() + chrono::TimeDelta::seconds(2);
                Lie::Instead(too_many().header("retry-after", soon.format("%a, %d %b %Y %H:%M:%S GMT").to_string()))
            }
            Fault::Error => Lie::Instead(Reply::json(500, &json!({"error": "unknown_error"}))),
            Fault::ActedButError => Lie::ActedBut(Reply::page(502)),
            Fault::Truncated => Lie::Truncated,
        })
    }
}

fn too_many() -> Reply {
    Reply::json(429, &json!({"error": "too many requests"}))
}
