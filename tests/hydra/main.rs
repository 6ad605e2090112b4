//! Clients in a real Hydra, by its admin API: the stories that are told of Keycloak, those of the sweep that need no hand on
//! the server itself, and what Hydra alone can do. `HYDRA_ADMIN_URL` and `HYDRA_PUBLIC_URL` name it; without them each story
//! is skipped by name. Others may use the Hydra: only what this run made is looked at.

mod audiences;
#[path = "../stories/mod.rs"]
mod stories;
#[path = "../support/mod.rs"]
mod support;

use serde_json::json;
use stories::{crashes, drift, ends, foreign, lives, lost_ledger, many, planted, rotation};
use support::admin::{AdminServer, brisk};
use support::hydra::{Hydra, LACK};
use support::{Bed, World};

/// A story of clients, and the name that it is told or skipped by.
type Story = (&'static str, fn(&World, &dyn AdminServer));

const STORIES: [Story; 7] = [
    ("whole life", lives::whole_life),
    ("audiences", audiences::audiences),
    ("each end", ends::ends),
    ("a client of our id that is not ours", foreign::foreign),
    ("what somebody changed at the server", drift::drift),
    ("rotation", rotation::rotation),
    ("more than a page of them", many::many),
];
const TOKENS: &str = "tokens are deleted with their client";
const PLANTED: &str = "the sweep: ours, another's, and nobody's";
const CRASHES: &str = "a crash at every step";
const ROTATION_CRASHES: &str = "a crash at every step of a rotation";
const LOST_LEDGER: &str = "the sweep: a ledger that was lost";

#[test]
fn clients_live_and_end_in_hydra() {
    let Some(hydra) = Hydra::named() else {
        let others = [TOKENS, PLANTED, CRASHES, ROTATION_CRASHES, LOST_LEDGER];
        for name in STORIES.iter().map(|(name, _)| *name).chain(others) {
            eprintln!("skipped: hydra: {name}: {LACK}");
        }
        return;
    };
    let bed = Bed::up("hydra");
    let operator = bed.ready_operator(&[]);
    let w = World::new(&bed, "hy");
    let mut settings = brisk();
    // Where it keeps its data in SQLite it turns away what comes at once.
    settings["limits"]["maxInFlight"] = json!(4);
    hydra.serve(&w, &settings);
    for (name, story) in STORIES {
        eprintln!("hydra: {name}");
        story(&w, &hydra);
    }
    eprintln!("hydra: {TOKENS}");
    let label = hydra.label();
    let done = |operation: &str| {
        let operation = format!("operation=\"{operation}\"");
        operator.metric("oauthclient_server_requests_total", &[&operation, &label, r#"code="204""#])
    };
    let (deleted, tokens) = (done("delete_client"), done("delete_the_client's_tokens"));
    assert!(deleted > 0.0 && tokens >= deleted, "{deleted} clients were deleted, and the tokens of {tokens}");
    eprintln!("hydra: {PLANTED}");
    planted::planted(&w, &hydra, &operator);
    operator.finish();
    eprintln!("hydra: {CRASHES}");
    crashes::crashes(&bed, &w, &hydra);
    eprintln!("hydra: {ROTATION_CRASHES}");
    rotation::crashes(&bed, &w, &hydra);
    eprintln!("hydra: {LOST_LEDGER}");
    lost_ledger::lost_ledger(&bed, &w, &hydra);
    assert!(hydra.clients().is_empty(), "nothing of this run is left");
}
