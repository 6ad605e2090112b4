//! The sweep for clients that no ledger entry claims, on a real Keycloak: exactly what is ours and unclaimed goes; a
//! backup that was restored; a ledger that was lost; a role too small; other installations and other clusters on the
//! same server.

mod neighbours;
mod restored;
mod small_role;
#[path = "../stories/mod.rs"]
mod stories;
#[path = "../support/mod.rs"]
mod support;

use stories::{lost_ledger, planted};
use support::admin::brisk;
use support::keycloak::Realm;
use support::process::Running;
use support::{Bed, World};

/// The AuthorizationServer, as kubectl names it.
const SERVER: &str = "authorizationserver/keycloak";

#[test]
fn exactly_what_is_ours_and_unclaimed_goes() {
    let bed = Bed::up("sweep");
    let realm = Realm::up(&bed);
    let operator = bed.ready_operator(&[]);
    let w = World::new(&bed, "sweep");
    realm.serve(&w, realm.url(), &brisk());
    eprintln!("sweep: ours, another's, and nobody's");
    planted::planted(&w, &realm, &operator);
    for (name, story) in [
        ("a database from before the deletions", restored::restored as fn(&World, &Realm, &Running)),
        ("a role too small", small_role::small_role),
    ] {
        eprintln!("sweep: {name}");
        story(&w, &realm, &operator);
    }
    operator.finish();
    eprintln!("sweep: a ledger that was lost");
    lost_ledger::lost_ledger(&bed, &w, &realm);
    eprintln!("sweep: two installations, and two clusters");
    neighbours::neighbours(&bed, &w, &realm);
    bed.rights_are_used_that_only("sweep");
}
