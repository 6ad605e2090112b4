//! What users, administrators and the world around do.

use chrono::TimeDelta;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use oauthclient_operator::api::{
    ClientRegistration, OAuthClient, OAuthClientSpec, Phase, REQUESTED_BY_ANNOTATION, ROTATE_ANNOTATION, SigningAlg,
    TokenEndpointAuthMethod,
};
use oauthclient_operator::domain::ends::NamespaceState;
use oauthclient_operator::domain::names;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::governance::{self, ASKER, Decree};
use super::server::{Client, Mode};
use super::world::{Job, Key, World};
use super::{admin, consumers, laws};

/// The objects of a case: two share a namespace, and may share a Secret.
pub fn slot(n: u8) -> Key {
    match n % 3 {
        0 => ("n0".into(), "c0".into()),
        1 => ("n0".into(), "c1".into()),
        _ => ("n1".into(), "c2".into()),
    }
}

/// What a new object asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    OwnKeys,
    Signed,
    Bound,
    SharedSecret,
    /// Its secret is rotated every half hour.
    Rotated,
    /// Its key is.
    RotatedKey,
}

/// Something that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Create(u8, Kind),
    Scopes(u8, u8),
    Method(u8, u8),
    Owner(u8),
    Lifetime(u8, i64),
    Suspend(u8, bool),
    Delete(u8),
    TearOffFinalizers(u8),
    DeleteEntry(u8),
    RemoveEntryByForce(u8),
    DeleteSecret(u8),
    AlterSecret(u8),
    ForeignSecret(u8),
    RemoveForeignSecret(u8),
    NewJob(u8),
    FinishJob(u8),
    DeleteJob(u8),
    EndNamespace(u8),
    NewNamespace(u8),
    EditServer,
    ForbidNamespaces(bool),
    DeleteServer,
    NewServer,
    ClockOff(i64),
    ServerIs(Mode),
    ServerRefuses(bool),
    /// An administrator of the server disables a client, or enables it again.
    Disabled(u8, bool),
    /// An administrator of the server deletes a client.
    Vanishes(u8),
    /// An administrator of the server lets a client do more; false: no more than nothing.
    Widened(u8, bool),
    /// An administrator of the server gives a client another key; false: takes all away.
    Keys(u8, bool),
    /// An administrator of the server takes our mark off a client, or puts it on again.
    Marked(u8, bool),
    /// Somebody else's client gets the id that our next one would have.
    Planted(u8),
    /// How often the credential is rotated, and how long the one before goes on.
    Rotation(u8, Cycle),
    /// The annotation that asks for a rotation.
    Rotate(u8),
    LateEffects,
    /// Something about policies and approvals.
    Governs(Decree),
}

/// A rotation's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cycle {
    Never,
    NoOverlap,
    OnDemand,
    HalfHourly,
}

impl Cycle {
    fn spec(self) -> Value {
        match self {
            Self::Never => Value::Null,
            Self::NoOverlap => json!({"overlap": "0s"}),
            Self::OnDemand => json!({"overlap": "10m"}),
            Self::HalfHourly => json!({"every": "30m", "overlap": "10m"}),
        }
    }
}

/// An action of the kinds that matter where an admin API is managed by, and where credentials are rotated.
pub fn new_action() -> impl Strategy<Value = Action> {
    let n = 0u8..3;
    let at_server = 0u8..4;
    let cycles = prop::sample::select(vec![Cycle::Never, Cycle::NoOverlap, Cycle::OnDemand, Cycle::HalfHourly]);
    let kinds = prop::sample::select(vec![Kind::Rotated, Kind::RotatedKey, Kind::Signed, Kind::Plain]);
    prop_oneof![
        4 => (n.clone(), kinds).prop_map(|(n, k)| Action::Create(n, k)),
        2 => (at_server.clone(), any::<bool>()).prop_map(|(n, more)| Action::Widened(n, more)),
        2 => (at_server.clone(), any::<bool>()).prop_map(|(n, more)| Action::Keys(n, more)),
        2 => (at_server.clone(), any::<bool>()).prop_map(|(n, marked)| Action::Marked(n, marked)),
        1 => n.clone().prop_map(Action::Planted),
        2 => at_server.clone().prop_map(Action::Vanishes),
        2 => (at_server, any::<bool>()).prop_map(|(n, d)| Action::Disabled(n, d)),
        2 => (n.clone(), cycles).prop_map(|(n, c)| Action::Rotation(n, c)),
        6 => n.prop_map(Action::Rotate),
    ]
}

/// An action.
pub fn action() -> impl Strategy<Value = Action> {
    let n = 0u8..3;
    let kinds = prop::sample::select(vec![
        Kind::Plain,
        Kind::Plain,
        Kind::Plain,
        Kind::OwnKeys,
        Kind::Signed,
        Kind::Bound,
        Kind::Bound,
        Kind::SharedSecret,
    ]);
    let modes = prop::sample::select(vec![
        Mode::Up,
        Mode::Down,
        Mode::Hanging,
        Mode::Swapped,
        Mode::NotFound,
        Mode::ProbesUseless,
        Mode::Up,
        Mode::Up,
    ]);
    prop_oneof![
        8 => (n.clone(), kinds).prop_map(|(n, k)| Action::Create(n, k)),
        3 => (n.clone(), 0u8..3).prop_map(|(n, s)| Action::Scopes(n, s)),
        3 => (n.clone(), 0u8..3).prop_map(|(n, m)| Action::Method(n, m)),
        1 => n.clone().prop_map(Action::Owner),
        4 => (n.clone(), prop::sample::select(vec![-1i64, 0, 1, 30])).prop_map(|(n, h)| Action::Lifetime(n, h)),
        4 => (n.clone(), any::<bool>()).prop_map(|(n, s)| Action::Suspend(n, s)),
        4 => n.clone().prop_map(Action::Delete),
        2 => n.clone().prop_map(Action::TearOffFinalizers),
        2 => (0u8..6).prop_map(Action::DeleteEntry),
        1 => (0u8..6).prop_map(Action::RemoveEntryByForce),
        1 => n.clone().prop_map(Action::DeleteSecret),
        1 => n.clone().prop_map(Action::AlterSecret),
        1 => n.clone().prop_map(Action::ForeignSecret),
        1 => n.clone().prop_map(Action::RemoveForeignSecret),
        3 => n.clone().prop_map(Action::NewJob),
        2 => n.clone().prop_map(Action::FinishJob),
        1 => n.clone().prop_map(Action::DeleteJob),
        1 => n.clone().prop_map(Action::EndNamespace),
        1 => n.clone().prop_map(Action::NewNamespace),
        1 => Just(Action::EditServer),
        1 => any::<bool>().prop_map(Action::ForbidNamespaces),
        1 => Just(Action::DeleteServer),
        1 => Just(Action::NewServer),
        2 => prop::sample::select(vec![-7200i64, 0, 0, 7200]).prop_map(Action::ClockOff),
        6 => modes.prop_map(Action::ServerIs),
        1 => any::<bool>().prop_map(Action::ServerRefuses),
        2 => Just(Action::LateEffects),
        2 => (0u8..4, any::<bool>()).prop_map(|(n, d)| Action::Disabled(n, d)),
        1 => (0u8..4).prop_map(Action::Vanishes),
    ]
}

/// An action of a few kinds, on one object and its clients.
pub fn focused_action() -> impl Strategy<Value = Action> {
    let kinds = prop::sample::select(vec![Kind::Plain, Kind::Signed, Kind::RotatedKey]);
    prop_oneof![
        2 => kinds.prop_map(|kind| Action::Create(0, kind)),
        4 => Just(Action::Rotate(0)),
        2 => Just(Action::Rotation(0, Cycle::OnDemand)),
        2 => prop::sample::select(vec![-7200i64, 0, 7200]).prop_map(Action::ClockOff),
        2 => any::<bool>().prop_map(Action::ServerRefuses),
        2 => (0u8..3).prop_map(|which| Action::Scopes(0, which)),
        1 => (0u8..3).prop_map(|which| Action::Method(0, which)),
        2 => any::<bool>().prop_map(|suspend| Action::Suspend(0, suspend)),
        1 => any::<bool>().prop_map(Action::ForbidNamespaces),
        1 => Just(Action::Delete(0)),
        1 => (0u8..3).prop_map(Action::DeleteEntry),
        1 => (0u8..2).prop_map(Action::Vanishes),
        3 => Just(Action::LateEffects),
    ]
}

/// Policies and approvals, and what matters to them, on one object more than on others.
pub fn governing_action() -> impl Strategy<Value = Action> {
    let kinds = prop::sample::select(vec![Kind::Plain, Kind::Signed, Kind::OwnKeys, Kind::Bound]);
    prop_oneof![
        12 => governance::decree(0..1).prop_map(Action::Governs),
        4 => governance::decree(0..3).prop_map(Action::Governs),
        3 => (0u8..3, kinds).prop_map(|(n, kind)| Action::Create(n, kind)),
        4 => (0u8..3).prop_map(|which| Action::Scopes(0, which)),
        2 => (0u8..3).prop_map(|which| Action::Method(0, which)),
        1 => prop::sample::select(vec![1i64, 30]).prop_map(|hours| Action::Lifetime(0, hours)),
        1 => any::<bool>().prop_map(|suspend| Action::Suspend(0, suspend)),
        1 => Just(Action::Rotate(0)),
        1 => prop::sample::select(vec![-7200i64, 0, 7200]).prop_map(Action::ClockOff),
        4 => action(),
        1 => new_action(),
    ]
}

/// Approvals of one object, and what they meet.
pub fn focused_governing_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        9 => governance::focused_decree().prop_map(Action::Governs),
        2 => (0u8..3).prop_map(|which| Action::Scopes(0, which)),
        2 => (0u8..3).prop_map(|which| Action::Method(0, which)),
        2 => Just(Action::Rotate(0)),
        2 => prop::sample::select(vec![-7200i64, 0, 7200]).prop_map(Action::ClockOff),
    ]
}

fn spec(world: &World, kind: Kind) -> OAuthClientSpec {
    let mut spec = json!({
        "authorizationServerRef": {"name": "s"},
        "owner": {"team": "t", "email": "t@corp.example"},
        "purpose": "p",
        "scopes": ["a"],
        "lifetime": {"expiresAt": world.now + TimeDelta::hours(24)},
    });
    match kind {
        Kind::Plain => {}
        Kind::OwnKeys => {
            spec["tokenEndpointAuthMethod"] = json!("private_key_jwt");
            spec["jwks"] = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}]});
        }
        Kind::Signed => {
            spec["tokenEndpointAuthMethod"] = json!("private_key_jwt");
            spec["lifetime"] = json!({"ttl": "12h"});
        }
        Kind::Bound => spec["workloadRef"] = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "job"}),
        Kind::SharedSecret => spec["secret"] = json!({"name": "shared"}),
        Kind::Rotated => spec["rotation"] = Cycle::HalfHourly.spec(),
        Kind::RotatedKey => {
            spec["tokenEndpointAuthMethod"] = json!("private_key_jwt");
            spec["rotation"] = Cycle::HalfHourly.spec();
        }
    }
    serde_json::from_value(spec).expect("a spec")
}

/// Does it; false when there is nothing to do it to.
pub fn happen(world: &mut World, action: &Action) -> bool {
    let done = apply(world, action);
    if done {
        world.say(|_| format!("*** {action:?}"));
        laws::remember(world);
    }
    done
}

/// A tenant edits an object.
pub fn edit(world: &mut World, n: u8, change: impl FnOnce(&mut OAuthClientSpec)) -> bool {
    let key = slot(n);
    let editable = world.clients.get(&key).is_some_and(|c| c.metadata.deletion_timestamp.is_none());
    if !editable || world.namespaces.get(&key.0) == Some(&NamespaceState::Gone) {
        return false;
    }
    let mut spec = world.clients[&key].spec.clone();
    change(&mut spec);
    if spec == world.clients[&key].spec {
        return false;
    }
    world.change_client(&key, true, |c| c.spec = spec);
    true
}

#[expect(clippy::too_many_lines, reason = "one arm for each action")]
fn apply(world: &mut World, action: &Action) -> bool {
    match *action {
        Action::Create(n, kind) => {
            let key = slot(n);
            if world.clients.contains_key(&key) || world.namespaces.get(&key.0) != Some(&NamespaceState::Active) {
                return false;
            }
            let mut client = OAuthClient::new(&key.1, spec(world, kind));
            client.metadata = world.metadata(&key);
            client.annotations_mut().insert(REQUESTED_BY_ANNOTATION.into(), ASKER.into());
            world.clients.insert(key.clone(), client);
            world.client_changed(&key);
            true
        }
        Action::Scopes(n, which) => edit(world, n, |s| {
            s.scopes = ["a", "b", "bad"].iter().take(usize::from(which) + 1).map(|s| (*s).to_owned()).collect();
        }),
        Action::Method(n, which) => edit(world, n, |s| {
            if s.jwks.is_none() {
                s.token_endpoint_auth_method = [
                    TokenEndpointAuthMethod::ClientSecretBasic,
                    TokenEndpointAuthMethod::ClientSecretPost,
                    TokenEndpointAuthMethod::PrivateKeyJwt,
                ][usize::from(which % 3)];
                s.token_endpoint_auth_signing_alg = SigningAlg::ES256;
            }
        }),
        Action::Owner(n) => {
            let team = format!("t{}", world.fresh());
            edit(world, n, |s| s.owner.team = team)
        }
        Action::Lifetime(n, hours) => {
            let at = world.now + TimeDelta::hours(hours) + TimeDelta::minutes(10);
            edit(world, n, |s| {
                s.lifetime.ttl = None;
                s.lifetime.expires_at = Some(at);
            })
        }
        Action::Suspend(n, suspend) => edit(world, n, |s| s.suspend = suspend),
        Action::Delete(n) => {
            let found = world.clients.get(&slot(n)).is_some_and(|c| c.metadata.deletion_timestamp.is_none());
            if found {
                world.delete_client(&slot(n));
            }
            found
        }
        Action::TearOffFinalizers(n) => {
            let key = slot(n);
            if !world.clients.contains_key(&key) {
                return false;
            }
            world.change_client(&key, false, |c| c.metadata.finalizers = None);
            world.delete_client(&key);
            true
        }
        Action::DeleteEntry(n) => {
            let names: Vec<String> = world.entries.keys().cloned().collect();
            let Some(name) = names.get(usize::from(n)) else { return false };
            if world.entries[name].metadata.deletion_timestamp.is_some() {
                return false;
            }
            let now = world.timestamp();
            let (uid, made_from) = {
                let spec = &world.entries[name].spec;
                (spec.client_ref.uid.clone(), spec.generation)
            };
            let newest = world.entries.values().filter(|e| e.spec.client_ref.uid == uid).map(|e| e.spec.attempt).max();
            let state = world.entries[name].state();
            if newest == Some(world.entries[name].spec.attempt) && state.end.is_none() {
                world.facts.excused.insert(uid.clone());
                // One that was to replace another is begun anew once it is gone: the object's status is about the other.
                let serves = |e: &ClientRegistration| {
                    let state = e.state();
                    e.spec.client_ref.uid == uid
                        && e.name_any() != *name
                        && state.phase == Phase::Registered
                        && state.end.is_none()
                        && e.spec.retires_at.is_none()
                };
                if state.phase == Phase::Registered && !world.entries.values().any(serves) {
                    // Edits that the controller had not seen by then are edits after it.
                    world.facts.entry_deleted.insert(uid, made_from);
                }
            }
            world.change_entry(name, false, |e| e.metadata.deletion_timestamp = Some(now));
            true
        }
        Action::RemoveEntryByForce(n) => {
            let names: Vec<String> = world.entries.keys().cloned().collect();
            let Some(name) = names.get(usize::from(n)) else { return false };
            world.facts.removed.insert(name.clone());
            let spec = &world.entries[name].spec;
            world.facts.excused.insert(spec.client_ref.uid.clone());
            let now = world.timestamp();
            world.change_entry(name, false, |e| {
                e.metadata.finalizers = None;
                e.metadata.deletion_timestamp = Some(now);
            });
            true
        }
        Action::DeleteSecret(n) | Action::AlterSecret(n) => {
            let Some(key) = secret_of(world, n).filter(|k| !world.facts.foreign.contains_key(k)) else { return false };
            if matches!(action, Action::DeleteSecret(_)) {
                world.remove_secret(&key);
                return true;
            }
            let rv = world.fresh();
            let Some(secret) = world.secrets.get_mut(&key) else { return false };
            secret.data.get_or_insert_default().insert("client_id".into(), ByteString(b"forged".to_vec()));
            secret.metadata.resource_version = Some(rv.to_string());
            let changed = secret.clone();
            world.secret_changed(&changed);
            true
        }
        Action::ForeignSecret(n) => {
            let key = (slot(n).0, format!("{}-oauth", slot(n).1));
            if world.secrets.contains_key(&key) || world.namespaces.get(&key.0) != Some(&NamespaceState::Active) {
                return false;
            }
            let secret = Secret { metadata: world.metadata(&key), ..Secret::default() };
            world.secrets.insert(key.clone(), secret.clone());
            world.facts.foreign.insert(key, secret);
            true
        }
        Action::RemoveForeignSecret(n) => {
            let key = (slot(n).0, format!("{}-oauth", slot(n).1));
            world.facts.foreign.remove(&key).is_some() && world.secrets.remove(&key).is_some()
        }
        Action::NewJob(n) | Action::DeleteJob(n) | Action::FinishJob(n) => {
            let key = (slot(n).0, "job".to_owned());
            if world.namespaces.get(&key.0) != Some(&NamespaceState::Active) {
                return false;
            }
            match action {
                Action::NewJob(_) => {
                    let uid = format!("j{}", world.fresh());
                    world.jobs.insert(key.clone(), Job { uid, finished: false });
                }
                Action::DeleteJob(_) => {
                    if world.jobs.remove(&key).is_none() {
                        return false;
                    }
                }
                _ => match world.jobs.get_mut(&key).filter(|j| !j.finished) {
                    Some(job) => job.finished = true,
                    None => return false,
                },
            }
            world.job_changed(&key);
            true
        }
        Action::EndNamespace(n) => {
            let namespace = slot(n).0;
            if world.namespaces.get(&namespace) != Some(&NamespaceState::Active) {
                return false;
            }
            world.facts.foreign.retain(|k, _| k.0 != namespace);
            world.namespaces.insert(namespace.clone(), NamespaceState::Terminating);
            world.namespace_changed(&namespace);
            true
        }
        Action::NewNamespace(n) => {
            let namespace = slot(n).0;
            if world.namespaces.get(&namespace) != Some(&NamespaceState::Gone) {
                return false;
            }
            world.namespaces.insert(namespace.clone(), NamespaceState::Active);
            world.namespace_changed(&namespace);
            true
        }
        Action::EditServer => change_object(world, |o| o.access_token_lifetime.0.push_str("1s")),
        Action::ForbidNamespaces(forbid) => {
            let names = if forbid { vec!["n1".to_owned()] } else { vec!["*".to_owned()] };
            if world.object.as_ref().is_some_and(|o| o.spec.allowed_namespaces.names == names) {
                return false;
            }
            change_object(world, |o| o.allowed_namespaces.names = names)
        }
        Action::DeleteServer => {
            let now = world.timestamp();
            let Some(object) = world.object.as_mut().filter(|o| o.metadata.deletion_timestamp.is_none()) else {
                return false;
            };
            object.metadata.deletion_timestamp = Some(now);
            world.object_changed();
            true
        }
        Action::NewServer => {
            if world.object.is_some() {
                return false;
            }
            world.object = Some(super::authorization_server(world.server.admin));
            world.object_changed();
            true
        }
        Action::ClockOff(seconds) => {
            let changed = world.skew != TimeDelta::seconds(seconds);
            world.set_skew(TimeDelta::seconds(seconds));
            changed
        }
        Action::ServerIs(mode) => {
            world.facts.swapped |= mode == Mode::Swapped;
            std::mem::replace(&mut world.server.mode, mode) != mode
        }
        Action::ServerRefuses(refuses) => {
            let before = world.server.refuses.is_some();
            world.server.refuses = refuses.then(|| "bad".to_owned());
            before != refuses
        }
        Action::LateEffects => world.server.settle() > 0,
        Action::Disabled(n, disabled) => {
            let found = world.server.clients.iter_mut().filter(|c| c.exists).nth(usize::from(n));
            found.filter(|c| c.disabled != disabled).is_some_and(|c| {
                (c.disabled, c.meddled, c.tampered) = (disabled, true, true);
                true
            })
        }
        Action::Vanishes(n) => {
            let found = world.server.clients.iter_mut().filter(|c| c.exists).nth(usize::from(n));
            found.is_some_and(|c| {
                (c.exists, c.meddled, c.tampered) = (false, true, true);
                true
            })
        }
        Action::Widened(n, more) => at_server(world, n, |c| {
            if more {
                c.scopes.push("wide".into());
            } else {
                c.scopes.clear();
            }
        }),
        Action::Keys(n, more) => at_server(world, n, |c| {
            if c.keys.is_empty() {
                // A key is of no use to one that authenticates by a secret.
            } else if more {
                c.keys.push("another".into());
            } else {
                c.keys.clear();
                (c.meddled, c.tampered) = (true, true);
            }
        }),
        Action::Marked(n, marked) => at_server(world, n, |c| c.marked = marked && !c.entry.is_empty()),
        Action::Planted(n) => planted(world, n),
        Action::Governs(decree) => governance::happen(world, decree),
        Action::Rotation(n, cycle) => edit(world, n, |s| {
            if s.jwks.is_none() {
                s.rotation = serde_json::from_value(cycle.spec()).expect("a rotation");
            }
        }),
        Action::Rotate(n) => {
            let key = slot(n);
            let there = world.clients.get(&key).is_some_and(|c| !c.annotations().contains_key(ROTATE_ANNOTATION));
            if !there || world.namespaces.get(&key.0) == Some(&NamespaceState::Gone) {
                return false;
            }
            consumers::asked(world, &key);
            world.change_client(&key, false, |c| {
                c.annotations_mut().insert(ROTATE_ANNOTATION.into(), "now".into());
            });
            true
        }
    }
}

/// What an administrator does to a client by the admin API.
fn at_server(world: &mut World, n: u8, change: impl FnOnce(&mut Client)) -> bool {
    if !world.server.admin {
        return false;
    }
    let Some(client) = world.server.clients.iter_mut().filter(|c| c.exists).nth(usize::from(n)) else { return false };
    let before = (client.scopes.clone(), client.keys.clone(), client.marked);
    change(client);
    before != (client.scopes.clone(), client.keys.clone(), client.marked)
}

fn planted(world: &mut World, n: u8) -> bool {
    let Some(uid) = world.clients.get(&slot(n)).and_then(ResourceExt::uid).filter(|_| world.server.admin) else {
        return false;
    };
    let newest = world.entries.values().filter(|e| e.spec.client_ref.uid == uid).map(|e| e.spec.attempt).max();
    let name = names::entry(&uid, newest.unwrap_or(0) + 1);
    let id = admin::chosen_id(&name);
    if world.server.clients.iter().any(|c| c.id == id) {
        return false;
    }
    world.server.clients.push(Client {
        id,
        entry: String::new(),
        secret: "another's".into(),
        keys: Vec::new(),
        token: String::new(),
        scopes: vec!["theirs".into()],
        exists: true,
        disabled: false,
        marked: false,
        answered: false,
        deleted_by_us: false,
        meddled: true,
        tampered: true,
    });
    true
}

fn change_object(
    world: &mut World,
    change: impl FnOnce(&mut oauthclient_operator::api::AuthorizationServerSpec),
) -> bool {
    let Some(object) = world.object.as_mut().filter(|o| o.metadata.deletion_timestamp.is_none()) else {
        return false;
    };
    if object.spec.access_token_lifetime.0.len() > 20 {
        return false;
    }
    change(&mut object.spec);
    object.metadata.generation = object.metadata.generation.map(|g| g + 1);
    world.object_changed();
    true
}

fn secret_of(world: &World, n: u8) -> Option<Key> {
    let client = world.clients.get(&slot(n))?;
    let key = (slot(n).0, client.spec.secret_name(&client.name_any()));
    world.secrets.contains_key(&key).then_some(key)
}
