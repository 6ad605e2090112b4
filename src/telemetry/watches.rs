//! What is watched, whether its first list is complete, and whether watching works.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A watch counts as failing for so long after a failure; longer than the longest wait between two tries.
const REMEMBERED: Duration = Duration::from_secs(90);

/// All watches of the process.
#[derive(Debug)]
pub struct Watches {
    began: Instant,
    all: Mutex<Vec<Arc<Watch>>>,
}

/// One watch.
#[derive(Debug)]
pub struct Watch {
    /// The controller that it is for.
    pub controller: &'static str,
    /// What is watched, in the plural.
    pub resource: String,
    /// The namespace, where it is restricted to one.
    pub namespace: Option<String>,
    /// Whether the operator is of no use without it.
    pub needed: bool,
    began: Instant,
    complete: AtomicBool,
    /// When it last failed, in milliseconds from the beginning, plus one; 0 is never.
    failed: AtomicU64,
}

impl Default for Watches {
    fn default() -> Self {
        Self { began: Instant::now(), all: Mutex::default() }
    }
}

impl Watches {
    /// Notes a watch that is about to begin.
    pub fn add(&self, controller: &'static str, resource: &str, namespace: Option<&str>, needed: bool) -> Arc<Watch> {
        let watch = Arc::new(Watch {
            controller,
            resource: resource.to_owned(),
            namespace: namespace.map(ToOwned::to_owned),
            needed,
            began: self.began,
            complete: AtomicBool::new(false),
            failed: AtomicU64::new(0),
        });
        self.lock().push(watch.clone());
        watch
    }

    /// The needed watches whose first list is not complete, each in words.
    pub fn incomplete(&self) -> Vec<String> {
        self.lock().iter().filter(|w| w.needed && !w.is_complete()).map(|w| w.describe()).collect()
    }

    /// The watches that fail, each in words.
    pub fn failing(&self) -> Vec<String> {
        self.lock().iter().filter(|w| w.is_failing()).map(|w| w.describe()).collect()
    }

    /// Whether all watches of a controller for a resource work, by both.
    pub fn up(&self) -> BTreeMap<(&'static str, String), bool> {
        let mut up = BTreeMap::new();
        for watch in self.lock().iter() {
            let works = watch.is_complete() && !watch.is_failing();
            *up.entry((watch.controller, watch.resource.clone())).or_insert(true) &= works;
        }
        up
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Watch>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Its first list is complete.
    pub fn completed(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// It failed; true when it was not failing before.
    pub fn failed(&self) -> bool {
        let was_failing = self.is_failing();
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.failed.store(millis + 1, Ordering::Relaxed);
        !was_failing
    }

    fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    fn is_failing(&self) -> bool {
        match self.failed.load(Ordering::Relaxed) {
            0 => false,
            millis => self.began.elapsed() < Duration::from_millis(millis - 1) + REMEMBERED,
        }
    }

    fn describe(&self) -> String {
        let place = self.namespace.as_ref().map(|n| format!(" in namespace {n}")).unwrap_or_default();
        format!("{} controller: {}{place}", self.controller, self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_until_the_list_is_and_failing_for_a_while() {
        let watches = Watches::default();
        let clients = watches.add("client", "oauthclients", Some("a"), true);
        let kind = watches.add("client", "pipelineruns", None, false);
        assert_eq!(watches.incomplete(), ["client controller: oauthclients in namespace a"]);
        clients.completed();
        assert!(watches.incomplete().is_empty(), "a workload kind that is not installed holds nothing up");
        assert!(kind.failed(), "the first failure is told");
        assert!(!kind.failed(), "further ones are not");
        assert_eq!(watches.failing(), ["client controller: pipelineruns"]);
        let up = watches.up();
        assert!(up[&("client", "oauthclients".into())] && !up[&("client", "pipelineruns".into())]);
    }
}
