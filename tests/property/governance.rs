//! What governs: policies, people's decisions, and whether the API server keeps true who asked and who approved; and what
//! administrators and approvers do with them.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use kube::ResourceExt;
use oauthclient_operator::api::{ClientApproval, ClientPolicy, REQUESTED_BY_ANNOTATION};
use oauthclient_operator::domain::ends::NamespaceState;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::actions::slot;
use super::world::{Actor, Key, World};

/// Who asks for every object, to begin with.
pub const ASKER: &str = "anna";
/// Who may come to ask as well.
const ANOTHER_ASKER: &str = "bob";

#[derive(Debug)]
pub struct Governance {
    /// By name.
    pub policies: BTreeMap<String, ClientPolicy>,
    /// By namespace and name.
    pub approvals: BTreeMap<Key, ClientApproval>,
    /// Since when the API server keeps true who asked and who approved.
    pub stamped_since: Option<DateTime<Utc>>,
}

impl Governance {
    /// Everything is allowed, and the API server has kept the stamps from long before.
    pub fn new(now: DateTime<Utc>) -> Self {
        let policies = [("everything".to_owned(), policy("everything", Shape::WIDE))].into();
        Self { policies, approvals: BTreeMap::new(), stamped_since: Some(now - TimeDelta::days(1)) }
    }
}

/// What a policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many of the scopes a, b and bad it allows.
    scopes: u8,
    /// It allows no life of more than 13 hours.
    short: bool,
    asks: Asks,
    /// An approval holds for an hour.
    briefly: bool,
    revokes: bool,
}

impl Shape {
    const WIDE: Self = Self { scopes: 3, short: false, asks: Asks::Never, briefly: false, revokes: false };
}

/// For what a policy asks for an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Never,
    Always,
    /// For scope b.
    ForB,
}

/// What somebody decrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decree {
    /// A policy is made or changed.
    Policy(&'static str, Shape),
    /// A policy is deleted.
    NoPolicy(&'static str),
    /// A policy denies one object, or all.
    Deny(Option<u8>),
    /// It does not any more.
    Allow,
    /// Somebody approves, with an end after so many minutes.
    Approve { n: u8, of: Of, by: &'static str, minutes: Option<i64> },
    /// Somebody says no to an object.
    Refuse(u8),
    /// A decision is deleted.
    Forget(u8),
    /// The API server stops keeping the stamps.
    Unstamped,
    /// It keeps them (again): as it did before, or what was given before may be forged.
    Stamped { anew: bool },
    /// Another person edits an object.
    AsksToo(u8),
}

/// What is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// What the object's status says now.
    Now,
    /// What it said first.
    First,
}

fn shape() -> impl Strategy<Value = Shape> {
    let asks = prop_oneof![4 => Just(Asks::Never), 2 => Just(Asks::Always), 2 => Just(Asks::ForB)];
    let scopes = prop_oneof![5 => Just(3u8), 2 => Just(2u8), 2 => Just(1u8), 1 => Just(0u8)];
    (scopes, prop::bool::weighted(0.2), asks, prop::bool::weighted(0.3), any::<bool>())
        .prop_map(|(scopes, short, asks, briefly, revokes)| Shape { scopes, short, asks, briefly, revokes })
}

/// A decree; `n` are the objects that it may be about.
pub fn decree(n: std::ops::Range<u8>) -> impl Strategy<Value = Decree> {
    let n = move || n.clone();
    let policies = prop::sample::select(vec!["everything", "everything", "another"]);
    let approvers = prop::sample::select(vec!["carol", "carol", "carol", ANOTHER_ASKER, ASKER]);
    let of = prop::sample::select(vec![Of::Now, Of::Now, Of::Now, Of::First]);
    let ends = prop::sample::select(vec![None, None, Some(-5), Some(10), Some(100), Some(700)]);
    prop_oneof![
        8 => (policies.clone(), shape()).prop_map(|(name, shape)| Decree::Policy(name, shape)),
        3 => Just(Decree::Policy("everything", Shape::WIDE)),
        2 => policies.prop_map(Decree::NoPolicy),
        1 => prop::option::of(n()).prop_map(Decree::Deny),
        2 => Just(Decree::Allow),
        8 => (n(), of, approvers, ends).prop_map(|(n, of, by, minutes)| Decree::Approve { n, of, by, minutes }),
        1 => n().prop_map(Decree::Refuse),
        3 => (0u8..4).prop_map(Decree::Forget),
        1 => Just(Decree::Unstamped),
        2 => any::<bool>().prop_map(|anew| Decree::Stamped { anew }),
        2 => n().prop_map(Decree::AsksToo),
    ]
}

/// A decree of the kinds that seldom meet what else they need, about one object.
pub fn focused_decree() -> impl Strategy<Value = Decree> {
    let asks = prop::sample::select(vec![Asks::Never, Asks::Always, Asks::Always]);
    let shapes = (asks, prop::bool::weighted(0.2), prop::bool::weighted(0.7));
    let shapes = shapes.prop_map(|(asks, briefly, revokes)| Shape { asks, briefly, revokes, ..Shape::WIDE });
    let ends = prop::sample::select(vec![None, Some(10), Some(100)]);
    prop_oneof![
        4 => shapes.prop_map(|shape| Decree::Policy("everything", shape)),
        6 => ends.prop_map(|minutes| Decree::Approve { n: 0, of: Of::Now, by: "carol", minutes }),
        1 => (0u8..2).prop_map(Decree::Forget),
        1 => Just(Decree::Unstamped),
        1 => any::<bool>().prop_map(|anew| Decree::Stamped { anew }),
    ]
}

/// Does it; false where there is nothing to do.
pub fn happen(world: &mut World, decree: Decree) -> bool {
    match decree {
        Decree::Policy(name, shape) => put(world, policy(name, shape)),
        Decree::NoPolicy(name) => remove(world, name),
        Decree::Deny(who) => put(world, denial(who.map(slot))),
        Decree::Allow => remove(world, "incident"),
        Decree::Approve { n, of, by, minutes } => {
            let key = slot(n);
            let Some(hash) = super::governed::named(world, &key, of == Of::First) else { return false };
            let not_after = minutes.map(|m| world.now + TimeDelta::minutes(m));
            let decided = json!({"decision": "Approved", "requestHash": hash, "notAfter": not_after});
            decide(world, &key, by, &decided)
        }
        Decree::Refuse(n) => decide(world, &slot(n), "carol", &json!({"decision": "Denied"})),
        Decree::Forget(n) => {
            let key = world.governance.approvals.keys().nth(usize::from(n)).cloned();
            let Some(gone) = key.and_then(|key| world.governance.approvals.remove(&key)) else { return false };
            world.decided(&gone);
            true
        }
        Decree::Unstamped => world.governance.stamped_since.take().is_some(),
        Decree::Stamped { anew } => {
            let since = if anew { world.now.trunc_subsecs(0) } else { super::start() - TimeDelta::days(1) };
            world.governance.stamped_since.replace(since) != Some(since)
        }
        Decree::AsksToo(n) => {
            let purpose = format!("p{}", world.fresh());
            let done = super::actions::edit(world, n, |s| s.purpose = purpose);
            if done {
                world.change_client(&slot(n), false, |c| {
                    let stamp = format!("{ASKER}\n{ANOTHER_ASKER}");
                    c.annotations_mut().insert(REQUESTED_BY_ANNOTATION.into(), stamp);
                });
            }
            done
        }
    }
}

/// Whether anything is not as it was in the beginning: then it is made so.
pub fn restore(world: &mut World) -> bool {
    let as_ever = Governance::new(super::start());
    let g = &world.governance;
    if g.policies == as_ever.policies && g.approvals.is_empty() {
        return false;
    }
    world.governance = as_ever;
    world.judged_anew();
    true
}

fn policy(name: &str, shape: Shape) -> ClientPolicy {
    let scopes: Vec<&str> =
        if shape.scopes == 3 { vec!["*"] } else { ["a", "b"].into_iter().take(usize::from(shape.scopes)).collect() };
    let mut approval = match shape.asks {
        Asks::Never => json!({"mode": "Never"}),
        Asks::Always => json!({"mode": "Always"}),
        Asks::ForB => json!({"mode": "WhenScopes", "scopes": ["b"]}),
    };
    if shape.briefly {
        approval["maxValidity"] = json!("1h");
    }
    let limits = if shape.short { json!({"maxLifetime": "13h"}) } else { json!({}) };
    made(
        name,
        &json!({
            "appliesTo": {"namespaces": {"names": ["*"]}, "authorizationServers": ["*"]},
            "allow": {
                "ownerEmails": ["*"], "scopes": scopes, "grantTypes": ["*"], "redirectUris": ["*"], "audiences": ["*"],
                "tokenEndpointAuthMethods": ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
                "workloadKinds": ["*"],
            },
            "limits": limits,
            "approval": approval,
            "onViolation": if shape.revokes { "Revoke" } else { "Warn" },
        }),
    )
}

fn denial(who: Option<Key>) -> ClientPolicy {
    let deny = match who {
        Some((namespace, name)) => json!({"clients": [format!("{namespace}/{name}")], "reason": "an incident"}),
        None => json!({"all": true, "reason": "an incident"}),
    };
    made("incident", &json!({"deny": deny}))
}

fn made(name: &str, spec: &Value) -> ClientPolicy {
    let kind = "ClientPolicy";
    let policy =
        json!({"apiVersion": "oauthclient.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(policy).expect("a ClientPolicy")
}

fn put(world: &mut World, policy: ClientPolicy) -> bool {
    let changed = world.governance.policies.get(&policy.name_any()) != Some(&policy);
    world.governance.policies.insert(policy.name_any(), policy);
    if changed {
        world.judged_anew();
    }
    changed
}

fn remove(world: &mut World, name: &str) -> bool {
    let was = world.governance.policies.remove(name).is_some();
    if was {
        world.judged_anew();
    }
    was
}

/// Somebody decides on an object.
fn decide(world: &mut World, key: &Key, by: &str, decided: &Value) -> bool {
    if world.namespaces.get(&key.0) != Some(&NamespaceState::Active) {
        return false;
    }
    let mut spec = json!({"client": key.1, "authorizationServer": "s", "approver": by, "reason": "why"});
    super::client::merge(&mut spec, decided);
    let name = format!("d{}", world.fresh());
    let mut approval = ClientApproval::new(&name, serde_json::from_value(spec).expect("a decision"));
    approval.metadata = world.metadata(&(key.0.clone(), name.clone()));
    approval.metadata.creation_timestamp = Some(world.timestamp());
    super::governed::decided(world, &approval);
    world.governance.approvals.insert((key.0.clone(), name), approval.clone());
    world.decided(&approval);
    true
}

impl World {
    /// What the watches make of a change to a policy.
    fn judged_anew(&mut self) {
        self.woken.extend(self.clients.keys().cloned().map(Actor::Client));
    }

    /// What the watches make of a decision that is made or deleted.
    pub fn decided(&mut self, decision: &ClientApproval) {
        self.woken.insert(Actor::Client((decision.namespace().unwrap_or_default(), decision.spec.client.clone())));
    }
}
