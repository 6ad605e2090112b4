//! The sweep for clients that no ledger entry claims, on a real Keycloak: exactly what is ours and unclaimed goes; a
//! backup that was restored; a ledger that was lost; a role too small; other installations and other clusters on the
//! same server.

mod lost_ledger;
mod neighbours;
mod planted;
mod restored;
mod small_role;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::keycloak::{NAME, Realm, brisk};
use support::operator::INSTALLATION;
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
    for (name, story) in [
        ("ours, another's, and nobody's", planted::planted as fn(&World, &Realm, &Running)),
        ("a database from before the deletions", restored::restored),
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
}

/// Changes how orphans are swept.
fn sweeping(w: &World, members: &Value) {
    w.patch(SERVER, &json!({"spec": {"orphanSweep": members}}));
}

fn ask(w: &World) {
    w.kubectl(&["annotate", "authorizationserver", NAME, "oauthclient.dev/sweep=now", "--overwrite"]);
}

/// Asks for a sweep, and waits until it is done.
fn sweep(w: &World) {
    ask(w);
    w.until("the annotation has cleared itself", || is_done(w));
}

fn is_done(w: &World) -> bool {
    w.get(SERVER)["metadata"]["annotations"]["oauthclient.dev/sweep"].is_null()
}

fn survey(w: &World) -> Value {
    w.get(SERVER)["status"]["survey"].clone()
}

/// Makes clients and waits until they are Ready; their ids.
fn clients(w: &World, names: &[&str]) -> Vec<String> {
    for name in names {
        w.client(name, &json!({"authorizationServerRef": {"name": NAME}}));
    }
    names
        .iter()
        .map(|name| {
            w.wait(&format!("oauthclient/{name}"), "condition=Ready");
            id_of(w, name)
        })
        .collect()
}

fn id_of(w: &World, name: &str) -> String {
    w.get(&format!("oauthclient/{name}"))["status"]["clientId"].as_str().expect("an id").to_owned()
}

/// Makes a client at Keycloak that looks as one of this installation's does, with the entry named.
fn plant(realm: &Realm, like: &str, installation: &str, entry: &str) -> String {
    let id = format!("oac-{installation}-{entry}");
    let mut client = realm.client(like);
    client.as_object_mut().expect("a client").remove("id");
    client["clientId"] = json!(id);
    client["attributes"]["oauthclient.installation"] = json!(installation);
    client["attributes"]["oauthclient.entry"] = json!(format!("oac-{entry}"));
    realm.plant(&client);
    id
}

/// The clients of these ids, as they are.
fn as_they_are(realm: &Realm, ids: &[String]) -> Vec<Value> {
    let all = realm.clients();
    ids.iter().map(|id| all.iter().find(|c| c["clientId"] == *id).expect("the client").clone()).collect()
}

fn ours(w: &World) -> String {
    w.installation(INSTALLATION)
}

fn is(operator: &Running, metric: &str, labels: &[&str], value: u32) -> bool {
    (operator.metric(metric, labels) - f64::from(value)).abs() < f64::EPSILON
}
