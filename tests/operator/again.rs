//! What a restart does not forget, and logs for people.

use serde_json::json;

use crate::support::proxy::{Lie, Reply};
use crate::support::{Bed, World, now, time};

/// How long to wait after failures is on record: who starts anew goes on waiting, and counting.
pub fn back_off_survives_a_restart(bed: &Bed) {
    let operator = bed.ready_operator(&[]);
    let w = World::behind_a_proxy(bed, "backs-off");
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    // Says no to everything about clients, and counts.
    let refused = Reply::json(503, &json!({"error": "unavailable"}));
    let down = w.proxy().lie(|call| call.target.starts_with("/reg"), Lie::Instead(refused));
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    // After the fifth failure it waits for eight seconds at the least.
    w.until("it has failed five times", || {
        w.entry("c")["status"]["retry"]["failures"].as_u64().is_some_and(|n| n >= 5)
    });
    operator.finish();
    let retry = w.entry("c")["status"]["retry"].clone();
    let (failures, next) = (retry["failures"].as_u64().expect("a number"), time(&retry["nextAt"]));
    let tried = down.matched();
    let operator = bed.ready_operator(&[]);
    w.until("it is tried again", || down.matched() > tried);
    let at = now();
    // The clock here is that of the operator, which rounds nothing.
    assert!(at >= next, "tried at {at}, before {next}");
    w.until("it is counted on", || w.entry("c")["status"]["retry"]["failures"].as_u64() > Some(failures));
    down.stop();
    w.wait_gone("oauthclient/c");
    assert!(w.live().is_empty());
    operator.finish();
}

/// `--log-format text`: lines for people, with the same words.
pub fn logs_can_be_for_people(bed: &Bed) {
    let log = bed.dir().join("operator.log");
    let from = std::fs::metadata(&log).map_or(0, |m| usize::try_from(m.len()).expect("a length"));
    let operator = bed.operator_with(&["--log-format", "text"]);
    let w = World::new(bed, "people");
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let text = std::fs::read_to_string(&log).expect("the log");
    let mine = &text[from..];
    let line = |words: &[&str]| mine.lines().any(|l| words.iter().all(|word| l.contains(word)));
    assert!(line(&["INFO", "started", "address="]), "{mine}");
    assert!(mine.lines().all(|l| !l.starts_with('{')), "no line is JSON");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    operator.stop();
}
