//! Three replicas, and troubles of the one that acts: killed, asked to stop, stopped at a named step and at any other for
//! longer than its lease lasts and then sent on, cut off from the API server. Meanwhile clients are made and ended. No
//! registration is asked for twice, nothing that lost the lease writes anything, and in the end live at the server are
//! exactly the clients whose objects live, besides those that the ledger itself reports as possible orphans. `HA_ROUNDS`
//! sets how many troubles there are.

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::fate::{Client, Fate, ready, text, under_way};
use support::operator::Operator;
use support::proxy::{Lie, Proxy};
use support::{Bed, World};

/// How long the lease lasts here, in seconds.
const LEASE: u64 = 4;
/// What takes an answer so long that troubles come in between.
const SLOW: Duration = Duration::from_millis(400);
const REPLICAS: usize = 3;

/// What happens to the replica that acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// It is killed.
    Killed,
    /// It is asked to stop.
    AskedToStop,
    /// It stands still at this step until another has taken over, and then goes on.
    StandsStillAt(&'static str),
    /// It stands still, wherever it is, until another has taken over, and then goes on.
    StandsStill,
    /// Nothing of it gets to the API server any more.
    CutOff,
}

const TROUBLES: [Trouble; 8] = [
    Trouble::StandsStillAt("before-post"),
    Trouble::AskedToStop,
    Trouble::CutOff,
    Trouble::Killed,
    Trouble::StandsStillAt("before-delete"),
    Trouble::StandsStill,
    Trouble::StandsStillAt("after-attempt"),
    Trouble::StandsStillAt("after-post"),
];

impl Trouble {
    fn kind(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::AskedToStop => "asked to stop",
            Self::StandsStillAt(_) | Self::StandsStill => "stood still",
            Self::CutOff => "cut off",
        }
    }
}

/// One replica, and its own way to the API server.
struct Replica {
    operator: Operator,
    api: Proxy,
    identity: String,
    /// Says that it stands still at its point.
    mark: String,
}

impl Replica {
    /// Starts one that stands still when it gets to this step.
    fn start(bed: &Bed, point: &str) -> Self {
        let api = bed.keeping_proxy();
        api.point_at(bed.api_server());
        let mark = bed.scratch(&format!("stands-still-{}", api.url.rsplit(':').next().unwrap_or_default()));
        let _ = std::fs::remove_file(&mark);
        let env = [("FAULT_POINT", point), ("FAULT_FILE", mark.as_str()), ("FAULT_STOPS", "1")];
        let operator = bed.replica_at(&api.url, LEASE, &env);
        let mut identity = None;
        support::process::wait("a replica starts", || {
            identity = operator.identity();
            identity.is_some()
        });
        Self { operator, api, identity: identity.unwrap_or_default(), mark }
    }

    fn stands_still(&self) -> bool {
        std::path::Path::new(&self.mark).exists()
    }

    fn signal(&self, name: &str) {
        support::process::signal(name, self.operator.pid());
    }

    /// Whatever it sent to the API server that was no reading, nor its part in the election.
    fn writes(&self) -> usize {
        let election = "/apis/coordination.k8s.io/";
        self.api.calls(|call| call.method != "GET" && !call.target.starts_with(election)).len()
    }
}

/// Who holds the lease.
fn holder(w: &World) -> String {
    let path = "/apis/coordination.k8s.io/v1/namespaces/oauthclient-system/leases/oauthclient-operator";
    text(&w.read(path).unwrap_or_default()["spec"]["holderIdentity"])
}

/// The replica that acts. On a machine that is busy enough one loses the lease with nobody's doing: it is started anew.
fn acting(bed: &Bed, w: &World, replicas: &mut [Replica]) -> usize {
    let mut acting = None;
    w.until("a replica holds the lease", || {
        for replica in replicas.iter_mut() {
            if replica.operator.ended().is_some() {
                *replica = Replica::start(bed, "none");
            }
        }
        let holder = holder(w);
        acting = replicas.iter().position(|r| r.identity == holder);
        acting.is_some()
    });
    acting.unwrap_or_default()
}

#[test]
fn one_acts_whatever_happens_to_it() {
    let rounds: usize = std::env::var("HA_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(TROUBLES.len());
    let bed = Bed::up("ha");
    let mut replicas: Vec<Replica> = (0..REPLICAS).map(|_| Replica::start(&bed, "none")).collect();
    let w = World::behind_a_proxy(&bed, "ha");
    let limits = json!({"requestsPerSecond": 1000, "burst": 1000, "maxInFlight": 8, "requestTimeout": "10s"});
    w.server(&json!({"allowedNamespaces": {"names": ["*"]}, "limits": limits}));
    let asked = registrations_asked_for(w.proxy());
    let mut hand_overs: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    let mut clients: Vec<Client> = Vec::new();
    for round in 0..rounds {
        let trouble = TROUBLES[round % TROUBLES.len()];
        let took = suffer(&bed, &w, &mut replicas, trouble, &mut clients, round);
        hand_overs.entry(trouble.kind()).or_default().push(took);
        eprintln!("ha: round {} of {rounds}: {trouble:?}, another acts after {} ms", round + 1, took.as_millis());
    }
    settle(&bed, &w, &mut replicas, &clients);
    let asked = asked.lock().expect("no panic in here");
    let twice: Vec<_> = asked.iter().filter(|(_, times)| **times > 1).collect();
    assert!(!asked.is_empty() && twice.is_empty(), "asked for more than once: {twice:?}");
    for (kind, times) in &mut hand_overs {
        times.sort();
        eprintln!(
            "ha: {kind}: another acted after {} ms in the median of {}",
            times[times.len() / 2].as_millis(),
            times.len()
        );
    }
}

/// How often each registration was asked for, by the name that tells which entry it is for. What changes anything takes
/// its time from now on.
fn registrations_asked_for(proxy: &Proxy) -> Arc<Mutex<BTreeMap<String, usize>>> {
    let asked: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let told = asked.clone();
    proxy.choose(Some(Box::new(move |call, body| {
        if call.method == "POST"
            && let Ok(body) = serde_json::from_slice::<Value>(body)
            && let Some(name) = body["client_name"].as_str()
        {
            *told.lock().expect("no panic in here").entry(name.to_owned()).or_default() += 1;
        }
        matches!(call.method.as_str(), "POST" | "PUT" | "DELETE").then_some(Lie::Late(SLOW))
    })));
    asked
}

/// Makes three clients, and has what is to become of the three before them come.
fn make(w: &World, clients: &mut Vec<Client>, round: usize) {
    for part in 0..3 {
        let fate = if part == 0 { Fate::Lives } else { Fate::Deleted };
        let client = Client::new(format!("r{round}-{}", clients.len()), fate);
        client.make(w);
        clients.push(client);
    }
    clients.iter().rev().skip(3).take(3).for_each(|c| c.act(w));
}

/// The replica that acts, standing still at this step. On a machine that is busy enough it loses the lease before it gets
/// there: then once more.
fn stood_still(
    bed: &Bed,
    w: &World,
    replicas: &mut Vec<Replica>,
    point: &str,
    clients: &mut Vec<Client>,
    round: usize,
) -> usize {
    loop {
        // It has to be the one that acts, and the only one that stands still.
        replicas.clear();
        replicas.push(Replica::start(bed, point));
        acting(bed, w, replicas);
        replicas.resize_with(REPLICAS, || Replica::start(bed, "none"));
        make(w, clients, round);
        if point == "before-delete" {
            // One that was never registered is not deleted at the server.
            let client = Client::new(format!("r{round}-{}", clients.len()), Fate::Deleted);
            client.make(w);
            w.until("there is a client to be deleted", || {
                let there = ready(w).iter().any(|(name, _)| *name == client.name);
                there || replicas[0].stands_still() || holder(w) != replicas[0].identity
            });
            client.act(w);
            clients.push(client);
        }
        let mut lost = false;
        w.until(&format!("a replica stands still {point}"), || {
            lost = holder(w) != replicas[0].identity && !replicas[0].stands_still();
            lost || replicas[0].stands_still()
        });
        if !lost {
            return 0;
        }
        eprintln!("ha: the replica that was to stand still {point} lost the lease before; once more");
    }
}

/// One trouble while clients are made and ended; how long it took until another replica acted.
fn suffer(
    bed: &Bed,
    w: &World,
    replicas: &mut Vec<Replica>,
    trouble: Trouble,
    clients: &mut Vec<Client>,
    round: usize,
) -> Duration {
    let victim = if let Trouble::StandsStillAt(point) = trouble {
        stood_still(bed, w, replicas, point, clients, round)
    } else {
        acting(bed, w, replicas);
        make(w, clients, round);
        std::thread::sleep(Duration::from_millis(u64::from(rand::random::<u16>() % 1_000)));
        acting(bed, w, replicas)
    };
    if replicas[victim].operator.ended().is_some() {
        // The machine was busy enough to have it lose the lease by itself: once more.
        return suffer(bed, w, replicas, trouble, clients, round);
    }
    let began = Instant::now();
    let old = replicas[victim].identity.clone();
    let mut cut = None;
    match trouble {
        Trouble::Killed => replicas[victim].signal("KILL"),
        Trouble::AskedToStop => replicas[victim].signal("TERM"),
        Trouble::StandsStill => replicas[victim].signal("STOP"),
        Trouble::StandsStillAt(_) => {}
        Trouble::CutOff => {
            cut = Some(replicas[victim].api.lie(|_| true, Lie::Reset));
            replicas[victim].api.cut();
        }
    }
    w.until("another replica holds the lease", || {
        let now = holder(w);
        now != old && replicas.iter().any(|r| r.identity == now)
    });
    let took = began.elapsed();
    let written = replicas[victim].writes();
    if matches!(trouble, Trouble::StandsStill | Trouble::StandsStillAt(_)) {
        // What the other one made of it is on record before the first one goes on.
        w.until("another replica does the work", || {
            let now = holder(w);
            replicas.iter().any(|r| r.identity == now && r.identity != old && r.writes() > 0)
        });
        replicas[victim].signal("CONT");
    }
    if let Some(cut) = cut {
        cut.stop();
    }
    w.until("the one that lost the lease ends by itself", || replicas[victim].operator.ended().is_some());
    let status = replicas[victim].operator.ended().expect("it has ended");
    match trouble {
        Trouble::AskedToStop => {
            assert_eq!(status.code(), Some(0));
            assert!(w.operator_log().lines().any(|l| l.contains("the lease is let go") && l.contains(&old)));
        }
        Trouble::Killed => assert_eq!(status.code(), None),
        _ => {
            assert_eq!(status.code(), Some(1), "{trouble:?}");
            assert_eq!(replicas[victim].writes(), written, "it wrote without the lease: {trouble:?}");
        }
    }
    replicas[victim] = Replica::start(bed, "none");
    took
}

/// Leaves them alone, and looks at what there is.
fn settle(bed: &Bed, w: &World, replicas: &mut [Replica], clients: &[Client]) {
    clients.iter().rev().take(6).for_each(|c| c.act(w));
    let living: BTreeSet<&str> = clients.iter().filter(|c| c.lives()).map(|c| c.name.as_str()).collect();
    w.until_after(Duration::from_secs(600), "those that live are Ready, and nothing is under way", || {
        acting(bed, w, replicas);
        under_way(w, &living).is_empty()
    });
    let expected: BTreeSet<String> = ready(w).into_iter().map(|(_, id)| id).collect();
    let live = w.live();
    let ids: BTreeSet<String> = live.iter().map(|c| text(&c["client_id"])).collect();
    assert!(expected.is_subset(&ids), "a client whose object lives is not at the server");
    let entries = w.whole_ledger("");
    let reported: Vec<String> = entries
        .iter()
        .filter(|e| e["status"]["phase"] == "PossibleOrphan")
        .map(|e| text(&e["metadata"]["name"]))
        .collect();
    for client in live.iter().filter(|c| !expected.contains(&text(&c["client_id"]))) {
        let name = text(&client["client_name"]);
        assert!(reported.iter().any(|marker| name.ends_with(marker.as_str())), "{name} lives, and nothing says so");
    }
    let revoked = entries.iter().filter(|e| e["status"]["phase"] == "Revoked").count();
    assert!(revoked > 0);
    eprintln!(
        "ha: {} clients, {} live as they should, {revoked} revoked, {} possible orphans reported",
        clients.len(),
        expected.len(),
        reported.len()
    );
}
