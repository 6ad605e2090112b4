//! The operator as a process, on a real cluster: what it tells, what it watches, what it makes of a wrong clock, how
//! it stops. One bed; each story starts operators of its own. `OPERATOR_ONLY=word` tells only some.

mod again;
mod clock;
mod namespaces;
mod retention;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
mod telling;
mod traces;

use std::panic::{AssertUnwindSafe, catch_unwind};

use support::Bed;

type Story = (&'static str, fn(&Bed));

const STORIES: [Story; 11] = [
    ("metrics_and_readiness", telling::metrics_and_readiness),
    ("one_audit_line_and_one_event_each", telling::one_audit_line_and_one_event_each),
    ("a_clients_two_stories", traces::a_clients_two_stories),
    ("traces_hold_up_nothing", traces::traces_hold_up_nothing),
    ("a_wrong_clock_ends_nothing", clock::a_wrong_clock_ends_nothing),
    ("stopping_finishes_what_was_begun", stopping::stopping_finishes_what_was_begun),
    ("stopping_does_not_wait_for_ever", stopping::stopping_does_not_wait_for_ever),
    ("back_off_survives_a_restart", again::back_off_survives_a_restart),
    ("what_was_kept_long_enough_goes", retention::what_was_kept_long_enough_goes),
    ("logs_can_be_for_people", again::logs_can_be_for_people),
    // Takes rights away: the last one.
    ("other_namespaces_are_not_looked_at", namespaces::other_namespaces_are_not_looked_at),
];

#[test]
fn the_operator_as_a_process() {
    let only = std::env::var("OPERATOR_ONLY").unwrap_or_default();
    let bed = Bed::up("operator");
    let collector = bed.collect_secrets();
    let mut failed = Vec::new();
    for (name, story) in STORIES.into_iter().filter(|(name, _)| name.contains(&only)) {
        let began = std::time::Instant::now();
        let held = catch_unwind(AssertUnwindSafe(|| story(&bed))).is_ok();
        let word = if held { "held" } else { "FAILED" };
        eprintln!("operator: {name}: {word} after {:.1} s", began.elapsed().as_secs_f32());
        if !held {
            failed.push(name);
        }
    }
    if only.is_empty() {
        bed.rights_are_used_that_only("operator");
    }
    // One of them stops the API server.
    collector.nothing_leaked(&bed, "", only.is_empty());
    assert!(failed.is_empty(), "failed: {failed:?}; target/operator-of-the-last-run-of-operator.log");
}
