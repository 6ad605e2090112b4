//! Two installations of the operator in one cluster, and a third one in another cluster, all on one realm, all revoking
//! at once whatever of theirs is unclaimed, with no share that would stop them. None touches the others' clients.

use serde_json::{Value, json};

use crate::stories::clients;
use crate::stories::sweeping::{is, plant, sweeping};
use crate::support::admin::{AdminServer, brisk};
use crate::support::keycloak::{NAME, Realm};
use crate::support::operator::{INSTALLATION, Installation};
use crate::support::process::Running;
use crate::support::{Bed, World};

const SECOND: Installation = Installation { namespace: "second-system", account: "second-operator" };
/// Surveys that each has made while all clients were there.
const SURVEYS: f64 = 5.0;

struct Side<'a> {
    world: &'a World<'a>,
    operator: Running,
    installation: String,
    ids: Vec<String>,
}

pub fn neighbours(bed: &Bed, first: &World, realm: &Realm) {
    let settings = relentless();
    sweeping(first, realm, &settings["orphanSweep"]);
    let one = bed.ready_operator(&[("OPERATOR_WATCH_NAMESPACES", &first.namespace)]);
    install_a_second_one(bed);
    let two = bed.ready_operator_of(SECOND, &[("OPERATOR_WATCH_NAMESPACES", "second")]);
    let second = World::new(bed, "second");
    let elsewhere = Bed::up("sweep-neighbour");
    let three = elsewhere.ready_operator(&[]);
    let third = World::new(&elsewhere, "third");
    realm.serve(&third, realm.url(), &settings);

    let side = |world, operator, installation| {
        let ids = clients(world, realm, &["a", "b", "c"]);
        Side { world, operator, installation, ids }
    };
    let mut sides = [
        side(first, one, first.installation(INSTALLATION)),
        side(&second, two, second.installation(SECOND)),
        side(&third, three, third.installation(INSTALLATION)),
    ];
    for s in &sides {
        assert!(s.ids.iter().all(|id| id.starts_with(&format!("oac-{}-", s.installation))), "{:?}", s.ids);
    }
    let all: Vec<String> = sides.iter().flat_map(|s| s.ids.clone()).collect();
    let before = realm.as_they_are(&all);
    until_surveyed(&sides);
    assert_eq!(realm.as_they_are(&all), before, "nobody touches what is there");
    assert_eq!(realm.clients().len(), 9);

    // They do sweep: what is unclaimed goes, each one's by itself.
    for s in &sides {
        assert!(is(&s.operator, "oauthclient_swept_clients_total", &[], 0));
        let orphan = plant(realm, &s.ids[0], &s.installation, "00000000000000000001");
        s.world.until("its orphan goes", || !realm.client_ids().contains(&orphan));
    }
    for s in &sides {
        s.world.until("it counts its own", || is(&s.operator, "oauthclient_swept_clients_total", &[], 1));
    }

    // One ends all its clients; the others' stay.
    sides[1].world.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    let gone = std::mem::take(&mut sides[1].ids);
    let left: Vec<String> = sides.iter().flat_map(|s| s.ids.clone()).collect();
    until_surveyed(&sides);
    let there = realm.client_ids();
    assert!(there.len() == left.len() && !gone.iter().any(|id| there.contains(id)), "{there:?}");
    let kept: Vec<Value> = before.into_iter().filter(|c| left.iter().any(|id| c["clientId"] == *id)).collect();
    assert_eq!(realm.as_they_are(&left), kept);
    for s in &sides {
        assert!(is(&s.operator, "oauthclient_swept_clients_total", &[], 1), "nothing else was swept");
    }
    for s in [&sides[0], &sides[2]] {
        // By the first one: Keycloak's certificate is of its cluster's CA.
        first.token_with(&s.world.secret("a-oauth")).expect("its credential works");
        s.world.kubectl(&["delete", "oauthclients", "--all", "--timeout=120s"]);
    }
    assert!(realm.clients().is_empty());
    for s in sides {
        s.operator.finish();
    }
}

fn relentless() -> Value {
    let mut all = brisk();
    all["orphanSweep"]["every"] = json!("1s");
    all["orphanSweep"]["mostUnclaimedPercent"] = json!(100);
    all["driftCheck"] = json!("1s");
    all
}

/// As `deploy/operator.yaml` does it, under other names.
fn install_a_second_one(bed: &Bed) {
    let manifest = include_str!("../../deploy/operator.yaml")
        .replace(INSTALLATION.namespace, SECOND.namespace)
        .replace(INSTALLATION.account, SECOND.account);
    bed.kubectl_with(&["apply", "-f", "-"], Some(&manifest)).expect("a second installation");
    let secret = bed.kubectl(&["-n", INSTALLATION.namespace, "get", "secret", NAME, "-o", "json"]);
    let secret: Value = serde_json::from_str(&secret).expect("JSON");
    let copy = json!({
        "apiVersion": "v1", "kind": "Secret", "data": secret["data"],
        "metadata": {"name": NAME, "namespace": SECOND.namespace},
    });
    bed.kubectl_with(&["apply", "-f", "-"], Some(&copy.to_string())).expect("the credential for Keycloak");
}

/// Waits until each has looked through the server some more times.
fn until_surveyed(sides: &[Side]) {
    let lists = |s: &Side| {
        let labels = [r#"operation="list_clients""#, r#"code="200""#, r#"server="keycloak""#];
        s.operator.metric("oauthclient_server_requests_total", &labels)
    };
    let from: Vec<f64> = sides.iter().map(lists).collect();
    for (s, from) in sides.iter().zip(from) {
        // A list of one page, and the empty one after it.
        s.world.until("it has looked through the server some times", || lists(s) >= from + 2.0 * SURVEYS);
    }
}
