//! Who goes next: passes as futures, polled one call at a time, in any order. A crash drops them all.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use chrono::{DateTime, TimeDelta, Utc};
use oauthclient_operator::api::ProbeRecord;

use super::calls::Api;
use super::faults::Fault;
use super::world::{Actor, ApiError, World};
use super::{client, drift, governed, laws, registration};

/// What a process shares between its passes: controls, by way of probing.
pub type Shared = Rc<RefCell<HashMap<String, ProbeRecord>>>;

/// When a pass wants to be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    OnChange,
    /// After so long, or when something changes.
    After(TimeDelta),
}

/// At this instant of the operator's clock: as a timer, which knows no clock.
pub fn at(api: &Api, when: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Next {
    let Some(when) = when else { return Next::OnChange };
    if when <= now {
        api.change().broken(format!("waits for {when}, which is not later than {now}: a hot loop"));
    }
    Next::After((when - now).clamp(TimeDelta::milliseconds(20), TimeDelta::days(1)))
}

type Task = Pin<Box<dyn Future<Output = Result<Next, ApiError>>>>;

pub struct Schedule {
    pub api: Api,
    shared: Shared,
    running: BTreeMap<Actor, Task>,
    timers: BTreeMap<Actor, DateTime<Utc>>,
    pub polls: u64,
}

impl Schedule {
    pub fn new(world: World) -> Self {
        Self {
            api: Api(Rc::new(RefCell::new(world))),
            shared: Shared::default(),
            running: BTreeMap::new(),
            timers: BTreeMap::new(),
            polls: 0,
        }
    }

    /// The process dies and another starts: it works on everything that there is.
    pub fn crash(&mut self) {
        self.running.clear();
        self.timers.clear();
        self.shared = Shared::default();
        let world = &mut *self.api.change();
        world.say(|_| "the operator dies and starts again".into());
        world.facts.crashed = true;
        // A token that was not stored yet is lost.
        for entry in std::mem::take(&mut world.storing) {
            world.server.clients.iter_mut().filter(|c| c.entry == entry).for_each(|c| c.meddled = true);
        }
        world.woken.clear();
        world.woken.extend(world.clients.keys().cloned().map(Actor::Client));
        world.woken.extend(world.entries.keys().cloned().map(Actor::Entry));
        world.woken.extend(world.server.admin.then_some(Actor::Server));
    }

    /// Passes that take too long are dropped wherever they are, and begun again; but storing what a change brought goes
    /// on.
    pub fn times_out(&mut self) {
        let again = self.api.world().now + TimeDelta::seconds(125);
        self.api.change().facts.crashed = true;
        for (actor, task) in std::mem::take(&mut self.running) {
            let stores = matches!(&actor, Actor::Entry(name) if self.api.world().storing.contains(name));
            if stores {
                self.running.insert(actor, task);
            } else {
                self.timers.insert(actor, again);
            }
        }
    }

    /// Whose turn it can be.
    fn eligible(&self) -> Vec<Actor> {
        let world = self.api.world();
        let due = self.timers.iter().filter(|(_, t)| **t <= world.now).map(|(a, _)| a);
        let mut all: Vec<Actor> = self.running.keys().chain(due).chain(&world.woken).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Lets the one who is `choice`-th have its turn, up to its next call, which meets this fault.
    pub fn poll(&mut self, choice: u8, fault: Fault) -> bool {
        let eligible = self.eligible();
        let Some(actor) = eligible.get(usize::from(choice) % eligible.len().max(1)).cloned() else { return false };
        self.poll_actor(&actor, fault);
        true
    }

    fn poll_actor(&mut self, actor: &Actor, fault: Fault) {
        self.polls += 1;
        let mut task = self.running.remove(actor).unwrap_or_else(|| {
            self.timers.remove(actor);
            self.api.change().woken.remove(actor);
            let api = self.api.clone();
            let mut task: Task = match actor.clone() {
                Actor::Client(key) => Box::pin(client::pass(api, key)),
                Actor::Entry(name) => Box::pin(registration::pass(api, self.shared.clone(), name)),
                Actor::Server => Box::pin(drift::pass(api)),
            };
            // To its first call.
            let _ = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            task
        });
        self.api.change().fault = fault;
        match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {
                self.running.insert(actor.clone(), task);
            }
            Poll::Ready(done) => {
                governed::pass_is_over(&mut self.api.change(), actor);
                let next = match done {
                    Ok(next) => next,
                    Err(ApiError::Conflict) => Next::After(TimeDelta::milliseconds(200)),
                    Err(_) => Next::After(TimeDelta::seconds(3)),
                };
                let now = self.api.world().now;
                if let Next::After(wait) = next {
                    self.timers.insert(actor.clone(), now + wait);
                }
            }
        }
        let world = &mut *self.api.change();
        world.fault = Fault::None;
        laws::after_every_call(world);
    }

    /// Lets all go on, without faults, until nothing is left to do at this instant.
    pub fn settle(&mut self) {
        for _ in 0..5_000 {
            self.api.change().housekeeping();
            let eligible = self.eligible();
            if eligible.is_empty() {
                return;
            }
            for actor in eligible {
                self.poll_actor(&actor, Fault::None);
            }
            if !self.api.world().violations.is_empty() {
                return;
            }
        }
        self.api.change().broken("does not come to rest".into());
    }

    /// Time passes, with everybody at work as it does.
    pub fn live_on(&mut self, span: TimeDelta) {
        let until = self.api.world().now + span;
        for _ in 0..2_000 {
            self.settle();
            if !self.api.world().violations.is_empty() {
                return;
            }
            let next = self.timers.values().min().copied().filter(|t| *t <= until);
            let Some(next) = next else {
                self.api.change().now = until;
                return;
            };
            self.api.change().now = next;
        }
        self.api.change().broken("too much happens".into());
    }
}
