//! The whole life of clients, on a real API server and a real authorization server. One cluster and one operator for
//! all stories, several of which are told at a time; each has a namespace and an authorization server of its own. The
//! stories of what is not an end have a cluster and an operator of their own, with a proxy before the API server.
//! `E2E_ONLY=word,word` tells only the stories with such a word in their name; `E2E_AT_ONCE` sets how many at a time.

mod changes;
mod credentials;
mod deletion;
mod ends;
mod false_proof;
mod lies;
mod namespaces;
mod not_an_end;
mod refusals;
mod rights;
mod rotation;
mod rules;
mod secrets;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod unready;
mod workloads;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use support::{Bed, World};

/// A story's name, and how it goes.
pub type Story = (&'static str, fn(&World));

/// Stories by the names of their functions.
#[macro_export]
macro_rules! stories {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn(&$crate::support::World))),*] };
}

/// How a story goes, with all that it needs.
type Telling<'a> = (&'static str, Box<dyn FnOnce() -> bool + Send + 'a>);

#[test]
fn a_clients_whole_life() {
    let plain = [
        workloads::STORIES,
        ends::STORIES,
        deletion::STORIES,
        namespaces::STORIES,
        secrets::STORIES,
        credentials::STORIES,
        changes::STORIES,
        refusals::STORIES,
        rotation::STORIES,
        rules::STORIES,
        rights::STORIES,
        servers::STORIES,
    ]
    .concat();
    let behind_a_proxy = [lies::STORIES, false_proof::STORIES, unready::STORIES, rotation::BEHIND_A_PROXY].concat();
    // The long ones first: most of them wait for back-off.
    let all = behind_a_proxy.into_iter().map(|s| (s, true)).chain(plain.into_iter().map(|s| (s, false)));
    let stories: Vec<(Story, bool)> = all.filter(|((name, _), _)| is_told(name)).collect();
    if stories.is_empty() {
        return;
    }
    let bed = Bed::up("e2e");
    bed.pipeline_kind();
    let collector = bed.collect_secrets();
    // Everything that any crate has to say is looked through for secrets.
    let operator = bed.operator_with(&["--workload-kind", "testing.example/v1/PipelineRun", "--log", "debug"]);
    let telling = |((name, story), proxy): (Story, bool)| -> Telling {
        let (bed, make) = (&bed, if proxy { World::behind_a_proxy } else { World::new });
        (name, Box::new(move || tell(name, || make(bed, name), story)))
    };
    let failed = tell_all(stories.into_iter().map(telling).collect());
    let metrics = operator.page("/metrics").expect("metrics");
    collector.nothing_leaked_and_nothing_missed(&bed, &metrics, is_told(""));
    if is_told("") {
        bed.every_right_is_used();
        bed.no_right_was_missing();
    }
    let log = operator.stop();
    assert!(failed.is_empty(), "failed: {failed:?}; operator log: {log}");
}

/// Whether `E2E_ONLY` asks for the story of this name.
fn is_told(name: &str) -> bool {
    let only = std::env::var("E2E_ONLY").unwrap_or_default();
    only.split(',').any(|word| name.contains(word))
}

/// Tells several stories at a time; the names of those that failed.
fn tell_all(tellings: Vec<Telling>) -> Vec<&'static str> {
    let at_once: usize = std::env::var("E2E_AT_ONCE").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let (next, failed) = (Mutex::new(tellings.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let Some((name, tell)) = next.lock().expect("no panic in here").next() else { return };
                    if !tell() {
                        failed.lock().expect("no panic in here").push(name);
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no panic in here")
}

fn tell<'a>(name: &str, make: impl FnOnce() -> World<'a>, story: impl FnOnce(&World)) -> bool {
    let start = Instant::now();
    let told = catch_unwind(AssertUnwindSafe(|| {
        let world = make();
        let told = catch_unwind(AssertUnwindSafe(|| story(&world))).is_ok();
        if !told {
            eprintln!("{}", world.describe());
        }
        told
    }));
    let told = told.unwrap_or_default();
    eprintln!("e2e: {name}: {} after {:.1} s", if told { "held" } else { "FAILED" }, start.elapsed().as_secs_f32());
    told
}
