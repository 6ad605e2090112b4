//! A clock that is off ends nothing, says so once, and what it held up is made up for.

use std::time::SystemTime;

use serde_json::json;

use crate::support::{Bed, World};

pub fn a_wrong_clock_ends_nothing(bed: &Bed) {
    let file = bed.scratch("clock");
    let set = |seconds: &str| std::fs::write(&file, seconds).expect("set the clock");
    set("0");
    let operator = bed.ready_operator(&[("FAULT_CLOCK_FILE", &file)]);
    let w = World::new(bed, "clock");
    w.client("long", &json!({"lifetime": {"ttl": "1h"}}));
    w.client("short", &json!({"lifetime": {"ttl": "15s"}}));
    w.wait("oauthclient/long", "condition=Ready");
    w.wait("oauthclient/short", "condition=Ready");

    // Two hours ahead: the one that lives for an hour seems to be over.
    set("7200");
    w.until("the operator has noticed", || operator.said("ERROR", "more than a minute off"));
    w.until("the metric tells", || operator.metric("oauthclient_clock_trusted", &[]) < 1.0);
    assert!(operator.metric("oauthclient_clock_offset_seconds", &[]) > 7000.0);
    let passes = || operator.metric("oauthclient_reconciles_total", &["controller=\"registration\""]);
    let before = passes();
    w.kubectl(&["label", "oauthclient/long", "look=again"]);
    w.until("it was looked at", || passes() > before);
    assert_eq!(w.live().len(), 2, "nothing is ended by a clock that is wrong");
    let retried = passes();

    // Two hours behind: the one whose time is up seems to have long to live.
    set("-7200");
    let expires = w.get("oauthclient/short")["status"]["expiresAt"].as_str().expect("an end").to_owned();
    w.until("the short life is over", || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        chrono::DateTime::parse_from_rfc3339(&expires).expect("a time").timestamp() + 2
            < i64::try_from(now).expect("now")
    });
    assert_eq!(w.live().len(), 2);
    assert!(passes() - retried < 50.0, "no hot loop");
    let warnings = || {
        operator
            .lines()
            .iter()
            .filter(|l| l["fields"]["message"].as_str().is_some_and(|m| m.contains("more than a minute off")))
            .count()
    };
    assert_eq!(warnings(), 1, "told on the transition");

    set("0");
    w.wait("oauthclient/short", "condition=Revoked");
    w.until("it says that the clock is right", || operator.said("WARN", "ends that are due come now"));
    assert_eq!(w.live().len(), 1, "the other one lives on");
    assert_eq!(w.entry("short")["status"]["end"]["reason"], "Expired");
    operator.finish();
}
