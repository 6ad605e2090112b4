//! What is not an end: an API server that lies, cannot be reached, or has another time. The operator talks to it
//! through a proxy; the stories themselves do not.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::proxy::{Call, Lie, Proxy, Reply};
use crate::support::{Bed, World};
use crate::{Telling, is_told, tell, tell_all};

type Story = (&'static str, fn(&World, &Proxy));

macro_rules! stories {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn(&World, &Proxy))),*] };
}

/// These lie about one namespace only: several are told at a time.
const APART: &[Story] = &stories![
    a_client_that_is_not_found,
    a_namespace_that_is_not_found,
    a_workload_that_is_not_found,
    an_end_behind_a_lie_is_seen_later,
    a_namespace_that_cannot_be_read_at_first,
    a_workload_kind_that_is_not_served,
];

/// These concern everybody: one at a time.
const ALONE: &[Story] = &stories![
    an_api_server_that_cannot_be_reached,
    a_cache_that_is_stale,
    ends_while_nobody_watched,
    a_version_that_is_no_longer_served,
    a_clock_that_is_wrong_for_a_while,
];

/// Another kind of workload than those built in.
const THINGS: (&str, &str) = ("OPERATOR_WORKLOAD_KINDS", "example.dev/v1/Thing/things");

#[test]
fn what_is_not_an_end() {
    let apart: Vec<&Story> = APART.iter().filter(|(name, _)| is_told(name)).collect();
    let alone: Vec<&Story> = ALONE.iter().filter(|(name, _)| is_told(name)).collect();
    let skewed = "a_clock_that_is_hours_ahead";
    if apart.is_empty() && alone.is_empty() && !is_told(skewed) {
        return;
    }
    let bed = Bed::up("not-an-end");
    let api = bed.proxy();
    api.point_at(bed.get("TESTBED_KUBE_APISERVER"));
    let collector = bed.collect_secrets();
    let operator = bed.operator_at(&api.url, &[THINGS]);
    let telling = |(name, story): &Story| -> Telling {
        let (name, story, bed, api) = (*name, *story, &bed, &api);
        (name, Box::new(move || tell(name, || World::new(bed, name), |w| story(w, api))))
    };
    let mut failed = tell_all(apart.into_iter().map(telling).collect());
    for story in alone {
        failed.extend(tell_all(vec![telling(story)]));
    }
    let log = operator.stop();
    if is_told(skewed) && !tell(skewed, || a_world_with_an_operator(&bed, skewed), |w| hours_ahead(&bed, w)) {
        failed.push(skewed);
    }
    collector.nothing_leaked_and_nothing_missed(&bed, "", is_told(""));
    assert!(failed.is_empty(), "failed: {failed:?}; operator log: {log}");
}

/// Requests of the operator for one object.
fn reads(path: String) -> impl Fn(&Call) -> bool + Clone + Send + Sync {
    move |call| call.method == "GET" && call.target == path
}

fn client_path(w: &World) -> String {
    format!("/apis/oauthclient.dev/v1alpha1/namespaces/{}/oauthclients/c", w.namespace)
}

fn entry_path(entry: &Value) -> String {
    let name = entry["metadata"]["name"].as_str().unwrap();
    format!("/apis/oauthclient.dev/v1alpha1/namespaces/oauthclient-system/clientregistrations/{name}")
}

/// What is no word of this very object: a gateway's page, a version that is not served, another object.
fn not_found() -> Vec<Reply> {
    let other = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "oauthclients.oauthclient.dev \"another\" not found",
        "details": {"name": "another", "group": "oauthclient.dev", "kind": "oauthclients"},
    });
    vec![
        Reply::page(404),
        Reply::new(404, "text/plain; charset=utf-8", "404 page not found\n"),
        Reply::json(404, &other),
        Reply::json(404, &json!({"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404})),
    ]
}

/// Has the registration controller look at this client's entry now.
fn have_it_looked_at(w: &World, api: &Proxy) {
    let entry = entry_path(&w.entry("c"));
    let before = api.calls(reads(entry.clone())).len();
    w.kubectl(&["annotate", "namespace", &w.namespace, "--overwrite", &format!("touched=at-{before}")]);
    w.until("the entry is looked at", || api.calls(reads(entry.clone())).len() > before);
}

/// The client lives, works, and takes a change: nothing of an end is on record.
fn lives_on(w: &World) {
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "partner.read"]}}));
    w.until("the change is made", || {
        w.live().iter().any(|c| c["scope"].as_str().is_some_and(|s| s.contains("partner.read")))
    });
    w.wait("oauthclient/c", "condition=Ready");
    let entries = w.entries("c");
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["status"]["end"].is_null(), "{:#}", entries[0]);
    assert!(w.token("c-oauth").is_ok());
    assert_eq!(w.live().len(), 1);
}

fn lied_to(w: &World, api: &Proxy, path: &str) {
    w.job("work", "forever");
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "work"}}));
    w.wait("oauthclient/c", "condition=Ready");
    for reply in not_found() {
        let lie = api.lie(reads(path.to_owned()), Lie::Instead(reply));
        have_it_looked_at(w, api);
        w.until("it was lied to", || lie.matched() > 0);
        lie.stop();
    }
    have_it_looked_at(w, api);
    lives_on(w);
    let requests = w.requests();
    assert!(!requests.keys().any(|r| r.starts_with("DELETE")), "{requests:?}");
}

fn a_client_that_is_not_found(w: &World, api: &Proxy) {
    lied_to(w, api, &client_path(w));
}

fn a_namespace_that_is_not_found(w: &World, api: &Proxy) {
    lied_to(w, api, &format!("/api/v1/namespaces/{}", w.namespace));
}

fn a_workload_that_is_not_found(w: &World, api: &Proxy) {
    lied_to(w, api, &format!("/apis/batch/v1/namespaces/{}/jobs/work", w.namespace));
}

fn an_end_behind_a_lie_is_seen_later(w: &World, api: &Proxy) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let lie = api.lie(reads(client_path(w)), Lie::Instead(Reply::page(404)));
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    let _ = w.try_kubectl(&["patch", "oauthclient/c", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    w.wait_gone("oauthclient/c");
    have_it_looked_at(w, api);
    assert_eq!(w.live().len(), 1, "a page is no word that it is gone");
    lie.stop();
    w.until("the end is seen, though nothing tells of it any more", || w.live().is_empty());
}

fn a_namespace_that_cannot_be_read_at_first(w: &World, api: &Proxy) {
    w.kubectl(&["label", "namespace", &w.namespace, "team=data"]);
    let server = format!("{}-labelled", w.namespace);
    w.authorization_server(&server, &json!({"allowedNamespaces": {"matchLabels": {"team": "data"}}}));
    w.wait(&format!("authorizationserver/{server}"), "condition=Ready");
    let path = format!("/api/v1/namespaces/{}", w.namespace);
    let lie = api.lie(reads(path), Lie::Instead(Reply::page(404)));
    w.client("c", &json!({"authorizationServerRef": {"name": server}}));
    w.until("it was lied to", || lie.matched() > 0);
    lie.stop();
    w.wait("oauthclient/c", "condition=Ready");
}

fn a_workload_kind_that_is_not_served(w: &World, _: &Proxy) {
    w.client("c", &json!({"workloadRef": {"apiVersion": "example.dev/v1", "kind": "Thing", "name": "work"}}));
    w.wait_reason("oauthclient/c", "Ready", "False", "WorkloadUnknown");
    assert!(w.live().is_empty(), "nothing is registered before the workload is known");
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.dev"},
        "spec": {
            "group": "example.dev", "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "things"},
        "rules": [{"apiGroups": ["example.dev"], "resources": ["things"], "verbs": ["get", "list", "watch"]}],
    });
    w.apply(&role).expect("a role");
    w.kubectl(&[
        "create",
        "clusterrolebinding",
        "things",
        "--clusterrole=things",
        "--serviceaccount=oauthclient-system:oauthclient-operator",
    ]);
    w.apply(&kind).expect("a kind");
    w.kubectl(&["wait", "--for=condition=Established", "crd/things.example.dev", "--timeout=120s"]);
    w.until("a Thing is made", || {
        w.apply(&json!({"apiVersion": "example.dev/v1", "kind": "Thing", "metadata": {"name": "work"}})).is_ok()
    });
    w.wait("oauthclient/c", "condition=Ready");
    // No longer served, really: the API server answers 404 to everything about Things.
    served(w, "things.example.dev", false, "/apis/example.dev/v1");
    w.kubectl(&["annotate", "namespace", &w.namespace, "--overwrite", "touched=yes"]);
    lives_on(w);
    served(w, "things.example.dev", true, "/apis/example.dev/v1");
    w.until("the Thing is there as before", || w.try_kubectl(&["get", "thing/work"]).is_ok());
    w.kubectl(&["delete", "thing/work"]);
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
}

/// Serves the only version of a kind, or no longer.
fn served(w: &World, kind: &str, served: bool, path: &str) {
    let change = json!([{"op": "replace", "path": "/spec/versions/0/served", "value": served}]);
    w.kubectl(&["patch", "crd", kind, "--type=json", "-p", &change.to_string()]);
    w.until(&format!("{path} is served: {served}"), || w.try_kubectl(&["get", "--raw", path]).is_ok() == served);
}

fn an_api_server_that_cannot_be_reached(w: &World, api: &Proxy) {
    w.client("c", &json!({}));
    w.client("short", &json!({"lifetime": {"ttl": "15s"}}));
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/short", "condition=Ready");
    let lie = api.lie(|_| true, Lie::Reset);
    api.cut();
    w.kubectl(&["delete", "oauthclient/short", "--wait=false"]);
    w.until("the operator has tried in vain", || lie.matched() > 20);
    assert!(lie.matched() < 2000, "with back-off");
    assert_eq!(w.live().len(), 2, "what cannot be read is no end");
    lie.stop();
    w.wait_gone("oauthclient/short");
    w.kubectl(&["delete", "oauthclient/short", "--ignore-not-found"]);
    w.until("it goes on: the one that ended is gone", || w.live().len() == 1);
    lives_on(w);
}

/// The answer to a watch that has missed too much.
fn list_again() -> Reply {
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410});
    Reply::new(200, "application/json", format!("{}\n", json!({"type": "ERROR", "object": gone})))
}

fn a_cache_that_is_stale(w: &World, api: &Proxy) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let ours = |call: &Call, watch: bool| {
        let list = ["/apis/oauthclient.dev/v1alpha1/oauthclients?", "/clientregistrations?"];
        call.method == "GET"
            && list.iter().any(|path| call.target.contains(path))
            && call.target.contains("watch=true") == watch
    };
    // Lists are as they were when nothing was registered yet; and somebody is in them who is gone since.
    let old = api.lie(
        move |call| ours(call, false),
        Lie::Json(Box::new(|list| {
            let items = list["items"].as_array_mut().unwrap();
            items.retain(|i| i["spec"]["clientRef"].is_null());
            for item in items.iter_mut() {
                item.as_object_mut().unwrap().remove("status");
                item["metadata"].as_object_mut().unwrap().remove("finalizers");
            }
            if let Some(mut ghost) = items.first().cloned() {
                ghost["metadata"]["name"] = json!("ghost");
                ghost["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
                items.push(ghost);
            }
        })),
    );
    let held = api.lie(move |call| ours(call, true), Lie::Held);
    // The five that watch are told to list again.
    let again = api.lie_times(5, move |call| ours(call, true), Lie::Instead(list_again()));
    api.cut();
    w.until("the operator has an old list and nothing newer", || again.matched() == 5 && held.matched() >= 5);
    w.client("new", &json!({}));
    w.kubectl(&["delete", "oauthclient/new", "--wait=false"]);
    w.client("other", &json!({}));
    let ghost = client_path(w).replace("oauthclients/c", "oauthclients/ghost");
    w.until("the ghost was looked for", || !api.calls(reads(ghost.clone())).is_empty());
    w.until("the client was looked at", || old.matched() > 2);
    assert_eq!(w.live().len(), 1);
    old.stop();
    held.stop();
    api.cut();
    w.wait("oauthclient/other", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/other", "--timeout=120s"]);
    let requests = w.requests();
    assert_eq!(requests["POST /reg"], 2, "no second client: {requests:?}");
    assert_eq!(requests["DELETE /reg/:id"], 1, "nothing else is revoked: {requests:?}");
    assert_eq!((w.live().len(), w.entries("c").len()), (1, 1));
    assert!(w.entry("c")["status"]["end"].is_null());
    assert!(w.token("c-oauth").is_ok());
}

/// What was deleted while nobody watched is just not in the next list; nothing else tells of it.
fn ends_while_nobody_watched(w: &World, api: &Proxy) {
    w.job("work", "forever");
    w.client("c", &json!({}));
    w.client("of-a-job", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "work"}}));
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/of-a-job", "condition=Ready");
    let watches = |call: &Call| {
        call.target.contains("watch=true") && ["/oauthclients?", "/jobs?"].iter().any(|path| call.target.contains(path))
    };
    let unwatched = api.lie(watches, Lie::Reset);
    api.cut();
    w.until("nobody watches", || unwatched.matched() >= 4);
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    let _ = w.try_kubectl(&["patch", "oauthclient/c", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    w.wait_gone("oauthclient/c");
    w.kubectl(&["delete", "job/work"]);
    assert_eq!(w.live().len(), 2);
    let again = api.lie_times(4, watches, Lie::Instead(list_again()));
    unwatched.stop();
    w.until("all four list again", || again.matched() == 4);
    w.until("both ends are seen", || w.live().is_empty());
    w.wait("oauthclient/of-a-job", "condition=Revoked");
}

fn a_version_that_is_no_longer_served(w: &World, api: &Proxy) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let path = "/apis/oauthclient.dev/v1alpha1/oauthclients";
    served(w, "oauthclients.oauthclient.dev", false, path);
    let before = api.calls(reads(client_path(w))).len();
    w.kubectl(&["annotate", "namespace", &w.namespace, "--overwrite", "touched=yes"]);
    w.until("the client is looked for", || api.calls(reads(client_path(w))).len() > before);
    have_it_looked_at(w, api);
    assert_eq!(w.live().len(), 1, "404 page not found is no end");
    assert!(w.exists("secret/c-oauth"));
    served(w, "oauthclients.oauthclient.dev", true, path);
    w.until("OAuthClients can be read", || w.try_kubectl(&["get", "oauthclients"]).is_ok());
    lives_on(w);
}

fn a_clock_that_is_wrong_for_a_while(w: &World, api: &Proxy) {
    w.client("c", &json!({}));
    w.client("short", &json!({"lifetime": {"ttl": "20s"}}));
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/short", "condition=Ready");
    // The API server's time is two hours behind: so the operator's clock is two hours ahead.
    let lie = api.lie(
        |_| true,
        Lie::Headers(Box::new(|headers| {
            let date = headers["date"].to_str().unwrap();
            let date = chrono::DateTime::parse_from_rfc2822(date).unwrap() - chrono::TimeDelta::hours(2);
            let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            headers.insert("date", date.parse().unwrap());
        })),
    );
    let (start, path) = (Instant::now(), client_path(w).replace("oauthclients/c", "oauthclients/short"));
    have_it_looked_at(w, api);
    let before = api.calls(reads(path.clone())).len();
    let why = w.wait_reason("oauthclient/short", "Ready", "True", "ClockNotTrusted");
    assert!(why.contains("more than a minute off"), "{why}");
    w.wait_event("short", "ClockNotTrusted", "more than a minute off");
    w.client("new", &json!({}));
    w.wait_reason("oauthclient/new", "Ready", "False", "ClockNotTrusted");
    let looks = api.calls(reads(path)).len() - before;
    assert!(looks < 60, "{looks} looks in {:?}: no hot loop", start.elapsed());
    assert!(w.operator_log().contains("the local clock is more than a minute off the API server's"));
    assert_eq!(w.live().len(), 2);
    assert!(w.token("short-oauth").is_ok(), "nothing is ended by a clock that is wrong");
    lie.stop();
    w.wait("oauthclient/short", "condition=Revoked");
    assert_eq!(w.entry("short")["status"]["end"]["reason"], "Expired");
    assert_eq!(w.entry("short")["status"]["evidence"]["level"], "Proven");
    w.wait("oauthclient/new", "condition=Ready");
    assert_eq!(w.live().len(), 2);
    lives_on_beside(w);
}

fn lives_on_beside(w: &World) {
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.entry("c")["status"]["end"].is_null());
    assert!(w.token("c-oauth").is_ok());
}

/// A world that was made while an operator with the right time ran.
fn a_world_with_an_operator<'a>(bed: &'a Bed, name: &str) -> World<'a> {
    let operator = bed.operator(&[]);
    let world = World::new(bed, name);
    world.client("c", &json!({}));
    world.wait("oauthclient/c", "condition=Ready");
    operator.stop();
    world
}

/// The operator's own clock is hours ahead: a client of one hour looks as if it were over.
fn hours_ahead(bed: &Bed, w: &World) {
    let operator = bed.operator(&[("FAULT_CLOCK_SECONDS", "10800")]);
    w.wait_reason("oauthclient/c", "Ready", "True", "ClockNotTrusted");
    assert!(w.entry("c")["status"]["end"].is_null());
    assert_eq!(w.live().len(), 1);
    operator.stop();
    let operator = bed.operator(&[]);
    w.wait_reason("oauthclient/c", "Ready", "True", "Ready");
    lives_on(w);
    operator.stop();
}
