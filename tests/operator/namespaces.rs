//! With `--watch-namespaces`, others are not looked at; what the ledger has about them ends by what can be seen.

use serde_json::json;

use crate::support::keycloak::{NAME, Realm};
use crate::support::{Bed, World};

pub fn other_namespaces_are_not_looked_at(bed: &Bed) {
    let operator = bed.ready_operator(&[]);
    let (inside, outside) = (World::new(bed, "inside"), World::new(bed, "outside"));
    outside.job("work", "forever");
    let bound = json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "work"}});
    inside.client("c", &json!({}));
    outside.client("c", &bound);
    outside.client("suspended", &json!({}));
    for (w, client) in [(&inside, "c"), (&outside, "c"), (&outside, "suspended")] {
        w.wait(&format!("oauthclient/{client}"), "condition=Ready");
    }
    operator.finish();

    // As docs/namespaces.md says.
    bed.kubectl(&["delete", "clusterrolebinding", "oauthclient-operator-tenants"]);
    let role = "--clusterrole=oauthclient-operator-tenants";
    let account = "--serviceaccount=oauthclient-system:oauthclient-operator";
    bed.kubectl(&["-n", "inside", "create", "rolebinding", "oauthclient-operator", role, account]);
    // What it does about AuthorizationServers it may do all the same.
    let may = |namespace: &str, verb: &str, what: &str| {
        let who = "--as=system:serviceaccount:oauthclient-system:oauthclient-operator";
        bed.try_kubectl(&["-n", namespace, "auth", "can-i", verb, what, who]).is_ok()
    };
    inside.until("rights elsewhere are gone", || !may("outside", "list", "secrets"));
    assert!(may("default", "create", "events.events.k8s.io") && !may("oauthclient-system", "list", "secrets"));
    let operator = bed.ready_operator(&[("OPERATOR_WATCH_NAMESPACES", "inside")]);
    assert_eq!(operator.get("/readyz"), Some((200, "ok\n".into())), "nothing is watched that may not be");

    // Ends that cannot be seen are none, and a right that is missing is none either.
    outside.kubectl(&["delete", "job/work"]);
    outside.kubectl(&["delete", "secret/c-oauth"]);
    outside.patch("oauthclient/suspended", &json!({"spec": {"suspend": true}}));
    outside.client("new", &json!({}));
    let passes = || operator.metric("oauthclient_reconciles_total", &["controller=\"registration\""]);
    let before = passes();
    for client in ["c", "suspended"] {
        let name = outside.entry(client)["metadata"]["name"].as_str().expect("a name").to_owned();
        bed.kubectl(&["-n", "oauthclient-system", "label", "clientregistration", &name, "look=again"]);
    }
    outside.until("both entries were looked at", || passes() >= before + 2.0);
    inside.client("d", &json!({}));
    inside.wait("oauthclient/d", "condition=Ready");
    assert_eq!(outside.live().len(), 2);
    assert!(!outside.exists("secret/c-oauth"), "not put back");
    assert!(outside.get("oauthclient/new")["status"].is_null(), "not looked at");
    assert!(operator.metric("oauthclient_unwatched_registrations", &[]) >= 2.0);
    assert!((operator.metric("oauthclient_clients", &[]) - 2.0).abs() < f64::EPSILON, "those inside");

    // Comparing keys with those at a server takes no right that the manifest does not give at home: to read Secrets there
    // by their names, and to list none.
    let realm = Realm::up(bed);
    realm.serve(&inside, realm.url(), &json!({"driftCheck": "3s"}));
    let server = format!("authorizationserver/{NAME}");
    let method = "private_key_jwt";
    inside.client("keyed", &json!({"authorizationServerRef": {"name": NAME}, "tokenEndpointAuthMethod": method}));
    inside.wait("oauthclient/keyed", "condition=Ready");
    inside.until("its key was compared", || inside.get(&server)["status"]["driftCheck"]["clients"] == 1);
    assert_eq!(inside.get(&server)["status"]["driftCheck"]["drifted"], 0);
    assert_eq!(inside.condition(&server, "Ready")["status"], "True");

    // What can be seen: the ledger entry's own deletion, and the namespace.
    let name = outside.entry("c")["metadata"]["name"].as_str().expect("a name").to_owned();
    bed.kubectl(&["-n", "oauthclient-system", "delete", "clientregistration", &name, "--timeout=120s"]);
    assert_eq!(outside.live().len(), 1);
    bed.kubectl(&["delete", "namespace", "outside", "--wait=false"]);
    outside.until("the end of the namespace is an end", || outside.live().is_empty());
    assert_eq!(outside.entry("suspended")["status"]["evidence"]["level"], "Proven");

    // Inside, rights end before the namespace does; it must come to its end all the same.
    bed.kubectl(&["delete", "namespace", "inside", "--wait=false"]);
    inside.until("the namespace is gone", || {
        bed.kubectl(&["get", "namespace", "inside", "--ignore-not-found", "-o", "name"]).is_empty()
    });
    assert!(inside.live().is_empty() && realm.clients().is_empty());
    assert!(!operator.said("WARN", "a watch failed"), "{:?}", operator.lines());
    operator.finish();
}
