//! Whoever reads a tenant's Secret: what is published works, and what was published before goes on working for the
//! overlap, apart from what the tenant or an administrator did.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use oauthclient_operator::api::{ClientRegistration, EndReason, OAuthClient, Phase, RotationReason};
use secrecy::ExposeSecret;

use super::laws;
use super::world::{Key, World};

/// Two that are asked for within so long are one rotation.
const AT_ONCE: TimeDelta = TimeDelta::seconds(30);

/// What was published in a Secret.
#[derive(Debug, Clone)]
struct Published {
    client_id: String,
    credential: String,
    /// The object's, by UID and generation.
    object: (String, i64),
    /// Until when it goes on after another was published.
    until: Option<DateTime<Utc>>,
}

/// What consumers hold, by Secret: the newest last.
#[derive(Debug, Default)]
pub struct Consumers {
    held: BTreeMap<Key, Vec<Published>>,
    /// When it was asked for a rotation, by the object's UID, in the order of what happens.
    asked: BTreeMap<String, Vec<(DateTime<Utc>, u64)>>,
    /// What the last one that was asked for brought, and its place in that order.
    rotated: BTreeMap<String, (u64, Published)>,
}

/// The client's id and the credential in a Secret.
pub fn read(secret: &Secret) -> Option<(String, String)> {
    let text = |key: &str| secret.data.as_ref()?.get(key).map(|b| String::from_utf8_lossy(&b.0).into_owned());
    Some((text("client_id")?, text("private_key.pem").or_else(|| text("client_secret"))?))
}

fn overlap(client: &OAuthClient) -> TimeDelta {
    let given =
        client.spec.rotation.as_ref().and_then(|r| r.overlap.as_ref()).and_then(oauthclient_operator::api::Span::delta);
    given.unwrap_or(super::end::LONGEST_OVERLAP)
}

/// Whether nothing but the credential has changed from one client to the other.
fn is_rotation(world: &World, from: &str, to: &str) -> bool {
    let entry = |id: &str| {
        let client = world.server.clients.iter().find(|c| c.id == id)?;
        world.entries.get(&client.entry)
    };
    let rotated = |(from, to): (&ClientRegistration, &ClientRegistration)| {
        to.spec.rotation.is_some() && from.spec.request == to.spec.request
    };
    from == to || entry(from).zip(entry(to)).is_some_and(rotated)
}

/// Somebody asks for a rotation; while another is under way, whose it is cannot be told.
pub fn asked(world: &mut World, key: &Key) {
    let Some(client) = world.clients.get(key) else { return };
    let uid = client.uid().unwrap_or_default();
    if !world.clock_trusted() {
        // By a clock that jumps nobody knows how long ago the last one was.
        world.facts.consumers.rotated.remove(&uid);
    }
    let Some(client) = world.clients.get(key) else { return };
    let secret = world.secrets.get(&(key.0.clone(), client.spec.secret_name(&key.1)));
    let requested = client.status.as_ref().and_then(|s| s.rotation.as_ref()).is_some_and(|r| r.requested_at.is_some());
    let is_idle = secret.and_then(read).is_some_and(|(client_id, credential)| {
        let of = world.server.clients.iter().find(|c| c.id == client_id).map(|c| &c.entry);
        let attempt = of.and_then(|name| world.entries.get(name)).map(|e| e.spec.attempt);
        let newest = world.entries.values().filter(|e| e.spec.client_ref.uid == uid && e.is_live());
        let held = Published { client_id, credential, object: (uid.clone(), 0), until: None };
        newest.map(|e| e.spec.attempt).max() == attempt && is_latest(world, &held)
    });
    if is_idle && !requested {
        let (now, place) = (world.now, world.fresh());
        world.facts.consumers.asked.entry(uid).or_default().push((now, place));
    }
}

/// Whether the annotation asked for the rotation that brought this.
fn was_requested(world: &World, client_id: &str) -> bool {
    let client = world.server.clients.iter().find(|c| c.id == client_id);
    let spec = client.and_then(|c| world.entries.get(&c.entry)).map(|e| &e.spec);
    spec.is_some_and(|s| match (&s.key_rotation, &s.rotation) {
        (Some(by_key), _) => by_key.reason == RotationReason::Requested,
        (None, by_entry) => by_entry.as_ref().is_some_and(|r| r.reason == RotationReason::Requested),
    })
}

/// A Secret is about to hold this.
pub fn published(world: &mut World, secret: &Secret) {
    let Some((client_id, credential)) = read(secret) else { return };
    let of = secret.metadata.owner_references.iter().flatten().next();
    let key = (secret.namespace().unwrap_or_default(), of.map(|o| o.name.clone()).unwrap_or_default());
    let Some(client) = world.clients.get(&key) else { return };
    let object = (client.uid().unwrap_or_default(), client.metadata.generation.unwrap_or_default());
    let before = world.facts.consumers.held.get(&(key.0.clone(), secret.name_any())).and_then(|h| h.last().cloned());
    let rotated = before.as_ref().is_some_and(|before| is_rotation(world, &before.client_id, &client_id));
    // One whose time was over while the operator was away is not to be had back.
    let over = before.is_some_and(|before| {
        let of = world.server.clients.iter().find(|c| c.id == before.client_id);
        let spec = of.and_then(|c| world.entries.get(&c.entry)).map(|e| &e.spec);
        spec.and_then(|s| s.retires_at).is_some_and(|at| at <= world.now)
    });
    let overlap = if rotated && !over { overlap(client) - TimeDelta::seconds(1) } else { TimeDelta::zero() };
    let until = world.now + overlap;
    let held = world.facts.consumers.held.entry((key.0.clone(), secret.name_any())).or_default();
    if let Some(last) = held.last_mut() {
        if last.client_id == client_id && last.credential == credential {
            last.object = object;
            return;
        }
        last.until = Some(until);
    }
    let new = Published { client_id, credential, object, until: None };
    held.push(new.clone());
    if held.len() > 2 {
        held.remove(0);
    }
    if rotated && was_requested(world, &new.client_id) {
        let (now, place, uid) = (world.now, world.fresh(), new.object.0.clone());
        let last = world.facts.consumers.rotated.insert(uid.clone(), (place, new));
        let asked = world.facts.consumers.asked.get(&uid);
        // What was asked for before that, and not long ago, was done by that; one that came to nothing is made up for.
        let again = last.is_some_and(|(place, last)| {
            let done = asked.into_iter().flatten().any(|(at, asked)| *asked < place && now - *at < AT_ONCE);
            done && works(world, &last)
        });
        if again {
            world.broken(format!("{} is rotated twice within half a minute", key.1));
        }
    }
}

/// What each consumer holds is accepted.
pub fn are_served(world: &mut World) {
    let mut refused = None;
    for (key, held) in &world.facts.consumers.held {
        let Some(secret) = world.secrets.get(key) else { continue };
        let Some(newest) = held.last().filter(|p| read(secret).is_some_and(|(id, _)| id == p.client_id)) else {
            continue;
        };
        if !serves(world, newest, true) {
            continue;
        }
        let old = held.iter().rev().skip(1).filter(|p| {
            let asked_for = p.object == newest.object && unedited(world, newest) && is_latest(world, newest);
            p.until.is_some_and(|until| world.now < until) && asked_for && serves(world, p, false)
        });
        for p in std::iter::once(newest).chain(old) {
            if !works(world, p) {
                let which = if p.until.is_some() { "was published before" } else { "is published" };
                refused = Some(format!("a consumer of {} is refused: {} {which}", key.1, p.credential));
            }
        }
    }
    if let Some(law) = refused {
        world.broken(law);
    }
}

fn works(world: &World, held: &Published) -> bool {
    world.server.clients.iter().any(|c| c.id == held.client_id && c.accepts(&held.credential))
}

fn unedited(world: &World, held: &Published) -> bool {
    world
        .clients
        .values()
        .any(|c| c.uid().as_ref() == Some(&held.object.0) && c.metadata.generation == Some(held.object.1))
}

/// Whether no other key has been made for its client since: whoever asks twice may have lost one, and the one before the
/// last ends at once.
fn is_latest(world: &World, held: &Published) -> bool {
    let Some(client) = world.server.clients.iter().find(|c| c.id == held.client_id) else { return false };
    let (Some(entry), Some(managed)) = (world.entries.get(&client.entry), world.management.get(&client.entry)) else {
        return false;
    };
    let under_way = entry.spec.key_rotation.as_ref().is_some_and(|r| r.became(&entry.state()).is_none());
    let key = managed.stored.private_key.as_ref().map(|k| k.expose_secret().to_owned());
    !under_way && key.is_none_or(|key| key == held.credential)
}

/// Whether nothing but the operator can keep this credential from working. One that was rotated away may have an end that
/// the operator gave it.
fn serves(world: &World, held: &Published, newest: bool) -> bool {
    let Some(client) = world.server.clients.iter().find(|c| c.id == held.client_id) else { return false };
    if client.tampered || client.disabled || !client.marked || world.server.rotates_secret {
        return false;
    }
    let Some(entry) = world.entries.get(&client.entry) else { return false };
    let state = entry.state();
    if newest {
        return state.phase == Phase::Registered
            && state.end.is_none()
            && entry.spec.end.is_none()
            && laws::ends(world, &client.entry).iter().all(|end| *end == EndReason::GoneAtServer);
    }
    let end = entry.spec.end.as_ref().map(|e| e.reason);
    let approved_until = entry.spec.approval.as_ref().and_then(|a| a.not_after);
    entry.metadata.deletion_timestamp.is_none()
        && !world.facts.granted_more.contains(&client.entry)
        && !matches!(end, Some(EndReason::PolicyViolation | EndReason::Denied))
        && approved_until.is_none_or(|t| world.now < t)
}

/// What was rotated away is gone from the server once the overlap is over.
pub fn old_ones_are_gone(world: &World) -> Vec<String> {
    // The overlap begins when the operator has seen that the new one is published.
    let goes_on = |p: &Published| {
        let client = world.server.clients.iter().find(|c| c.id == p.client_id);
        let spec = client.and_then(|c| world.entries.get(&c.entry)).map(|e| &e.spec);
        let key = spec.and_then(|s| s.key_rotation.as_ref()).and_then(|r| r.retires_at);
        let ends = spec.and_then(|s| s.retires_at).into_iter().chain(key).max();
        ends.is_some_and(|at| at > world.now && at <= world.now + super::end::LONGEST_OVERLAP)
    };
    let over = |p: &Published| p.until.is_some_and(|until| until + TimeDelta::minutes(10) < world.now) && !goes_on(p);
    let all = world.facts.consumers.held.iter().flat_map(|(key, held)| held.iter().map(move |p| (key, p)));
    all.filter(|(_, p)| over(p) && works(world, p))
        .filter(|(_, p)| {
            world.server.clients.iter().any(|c| {
                // One whose registration access token was lost with an answer cannot be changed any more.
                let means = world.server.admin || !c.meddled;
                c.id == p.client_id && c.marked && means && !world.facts.removed.contains(&c.entry)
            })
        })
        .map(|(key, p)| format!("{} of {} works still, long after it was rotated away", p.credential, key.1))
        .collect()
}
