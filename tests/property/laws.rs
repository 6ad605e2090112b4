//! What must hold after every call. Nothing here asks the code under test what it thinks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use oauthclient_operator::api::{
    ClientRegistration, ClientRegistrationSpec, ClientRegistrationStatus, ENTRY_FINALIZER, EndReason, EvidenceLevel,
    OAuthClient, OAuthClientStatus, Phase,
};
use oauthclient_operator::domain::ends::NamespaceState;
use oauthclient_operator::domain::{lifetime, request};

use super::governed;
use super::world::{Actor, Key, World};

/// What a test has to remember to judge.
#[derive(Debug, Default)]
pub struct Facts {
    /// Ends of an entry that were true at some time since its pass began.
    ends: BTreeMap<String, BTreeSet<EndReason>>,
    /// Ends of an entry that were true when its pass began.
    began_with: BTreeMap<String, BTreeSet<EndReason>>,
    /// What stood against an object when its pass began.
    against: BTreeMap<Key, Option<&'static str>>,
    /// Entries whose possible orphan an administrator dealt with.
    pub dealt_with: BTreeSet<String>,
    /// Objects by UID whose entry an administrator deleted, and their generation then.
    pub entry_deleted: BTreeMap<String, i64>,
    /// Entries of a pass that could not read the object.
    pub unread: BTreeSet<String>,
    /// Entries that an administrator removed by force.
    pub removed: BTreeSet<String>,
    /// Objects by UID that wait for an edit, because an administrator took their entry.
    pub excused: BTreeSet<String>,
    /// A pass was cut short at some time: whether its deletion was sent is not known.
    pub crashed: bool,
    /// Something else stood at the server's address at some time.
    pub swapped: bool,
    /// Secrets that are not ours and must stay as they are.
    pub foreign: BTreeMap<Key, Secret>,
    /// Entries whose client was granted more than was asked.
    pub granted_more: BTreeSet<String>,
    /// What consumers hold.
    pub consumers: super::consumers::Consumers,
    /// What governs.
    pub governed: governed::Facts,
}

/// The object that an entry was made for.
pub fn object<'a>(world: &'a World, entry: &ClientRegistration) -> Option<&'a OAuthClient> {
    let of = &entry.spec.client_ref;
    let found = world.clients.get(&(of.namespace.clone(), of.name.clone()))?;
    (found.uid().as_deref() == Some(&of.uid)).then_some(found)
}

/// The ends that may be noticed of an entry now, by a clock that is trusted.
pub fn ends(world: &World, name: &str) -> BTreeSet<EndReason> {
    let mut found = ends_at(world, name, world.now + TimeDelta::seconds(60));
    let registered = world.entries.get(name).is_some_and(|e| e.state().registered_at.is_some());
    if world.server.admin && registered && !world.server.clients.iter().any(|c| c.entry == name && c.exists) {
        found.insert(EndReason::GoneAtServer);
    }
    // Only the answer tells: where it was lost, asking again brings the client back to what is asked.
    if world.facts.granted_more.contains(name) {
        found.insert(EndReason::GrantedTooMuch);
    }
    found
}

/// The ends that have come for an entry.
pub fn due(world: &World, name: &str) -> BTreeSet<EndReason> {
    ends_at(world, name, world.now - TimeDelta::seconds(1))
}

fn ends_at(world: &World, name: &str, now: DateTime<Utc>) -> BTreeSet<EndReason> {
    let mut found = BTreeSet::new();
    let Some(entry) = world.entries.get(name) else { return found };
    let spec = &entry.spec;
    found.extend(spec.end.as_ref().map(|e| e.reason));
    let mut expires_at = spec.expires_at;
    match object(world, entry) {
        None => {
            found.insert(EndReason::ClientGone);
        }
        Some(client) => {
            if client.metadata.deletion_timestamp.is_some() {
                found.insert(EndReason::ClientDeleted);
            }
            if client.spec.suspend {
                found.insert(EndReason::Suspended);
            }
            // An edit that is refused grants no longer life; one that could not be read neither.
            if against(world, client).is_none() && !world.facts.unread.contains(name) {
                let approved_until = spec.approval.as_ref().and_then(|a| a.not_after);
                let end = lifetime::expires_at(&client.spec.lifetime, spec.first_registered_at);
                expires_at = approved_until.map_or(end, |t| t.min(end));
            }
        }
    }
    match world.namespaces.get(&spec.client_ref.namespace) {
        Some(NamespaceState::Terminating) => {
            found.insert(EndReason::NamespaceTerminating);
        }
        None | Some(NamespaceState::Gone) => {
            found.insert(EndReason::NamespaceGone);
        }
        _ => {}
    }
    if entry.metadata.deletion_timestamp.is_some() {
        found.insert(EndReason::RegistrationDeleted);
    }
    if let Some(pinned) = &spec.workload {
        match world.jobs.get(&(spec.client_ref.namespace.clone(), pinned.reference.name.clone())) {
            Some(job) if job.uid == pinned.uid => {
                if job.finished {
                    found.insert(EndReason::WorkloadFinished);
                }
            }
            _ => {
                found.insert(EndReason::WorkloadGone);
            }
        }
    }
    if now >= expires_at {
        found.insert(EndReason::Expired);
    }
    if spec.retires_at.is_some_and(|at| now >= at) {
        found.insert(EndReason::Replaced);
    }
    let everything = |scopes: &Option<Vec<String>>| scopes.iter().flatten().any(|s| s == "everything");
    if world.management.get(name).is_some_and(|m| everything(&m.stored.grant.scopes)) {
        found.insert(EndReason::GrantedTooMuch);
    }
    found
}

/// What stands against registering an object now.
pub fn against(world: &World, client: &OAuthClient) -> Option<&'static str> {
    ungoverned(world, client).or_else(|| governed::against(world, client))
}

/// What stands against it besides policies and people.
pub fn ungoverned(world: &World, client: &OAuthClient) -> Option<&'static str> {
    let namespace = client.namespace().unwrap_or_default();
    let Some(object) = &world.object else { return Some("there is no AuthorizationServer") };
    if object.metadata.deletion_timestamp.is_some() {
        return Some("the AuthorizationServer is being deleted");
    }
    if client.metadata.deletion_timestamp.is_some() {
        return Some("the object is being deleted");
    }
    if client.spec.suspend {
        return Some("suspended");
    }
    if world.namespaces.get(&namespace) != Some(&NamespaceState::Active) {
        return Some("the namespace ends");
    }
    if !object.spec.allowed_namespaces.matches(&namespace, &BTreeMap::new()) {
        return Some("the namespace is not allowed");
    }
    if let Some(workload) = &client.spec.workload_ref {
        match world.jobs.get(&(namespace.clone(), workload.name.clone())) {
            None => return Some("the workload does not exist"),
            Some(job) if job.finished => return Some("the workload has finished"),
            Some(_) => {}
        }
    }
    if client.spec.jwks.is_none() && foreign(world, client, &client.spec.secret_name(&client.name_any())) {
        return Some("the Secret is another's");
    }
    None
}

fn foreign(world: &World, client: &OAuthClient, secret: &str) -> bool {
    let key = (client.namespace().unwrap_or_default(), secret.to_owned());
    let uid = client.uid().unwrap_or_default();
    world.secrets.get(&key).is_some_and(|s| !s.metadata.owner_references.iter().flatten().any(|o| o.uid == uid))
}

/// Something happened: what was true remains a fact for passes that are under way.
pub fn remember(world: &mut World) {
    let names: Vec<String> = world.facts.ends.keys().cloned().collect();
    for name in names {
        let now = ends(world, &name);
        world.facts.ends.entry(name).or_default().extend(now);
    }
    governed::remember(world);
}

pub fn registration_pass_begins(world: &mut World, name: &str) {
    let now = ends(world, name);
    world.facts.unread.remove(name);
    world.facts.ends.insert(name.to_owned(), now.clone());
    world.facts.began_with.insert(name.to_owned(), now);
}

pub fn client_pass_begins(world: &mut World, key: &Key) {
    let now = world.clients.get(key).and_then(|c| ungoverned(world, c));
    world.facts.against.insert(key.clone(), now);
    governed::pass_begins(world, key);
}

/// Before a registration: the entry is stored, with finalizer and attempt (G3); nothing stands against it (G2); and it
/// is the entry's only one.
pub fn post(world: &mut World, name: &str) {
    governed::asked_of_server(world, name);
    let called = world.called(name);
    let stored = world
        .entries
        .get(name)
        .is_some_and(|e| e.finalizers().iter().any(|f| f == ENTRY_FINALIZER) && e.state().attempted_at.is_some());
    if !stored && !world.facts.removed.contains(name) {
        world.broken(format!("G3: {called} is registered without an entry, a finalizer or an attempt on record"));
    }
    let now = due(world, name);
    let since = world.facts.began_with.get(name).cloned().unwrap_or_default();
    if let Some(end) = since.intersection(&now).next() {
        world.broken(format!("G2: {called} is registered although its end has come: {end:?}"));
    }
    let before = world.server.clients.iter().any(|c| c.entry == name)
        || world.server.late.iter().any(|l| matches!(l, super::server::Late::Post { entry, .. } if entry == name));
    // Where the caller chooses the id, it is the same client.
    if before && !world.facts.removed.contains(name) && !world.server.admin {
        world.broken(format!("{called} is registered a second time"));
    }
}

/// Before an entry is written.
pub fn entry_created(world: &mut World, key: &Key, spec: &ClientRegistrationSpec) {
    let now = world.clients.get(key).and_then(|c| ungoverned(world, c));
    let began = world.facts.against.get(key).copied().flatten();
    if spec.end.is_some() {
        // What a removed entry stood for is to be revoked.
        return;
    }
    if now.is_some() && now == began {
        world.broken(format!("G2: an entry for {} although {}", key.1, now.unwrap_or_default()));
    }
    let generation = spec.generation;
    if world.facts.entry_deleted.get(&spec.client_ref.uid).is_some_and(|at| generation <= *at) {
        world.broken(format!("{} is registered anew though its entry was deleted and it was not edited", key.1));
    }
}

/// Before an entry is ended for another: that one serves, or this one was never registered.
pub fn entry_replaced(world: &mut World, name: &str) {
    let Some(entry) = world.entries.get(name) else { return };
    let serves = |e: &&ClientRegistration| {
        let state = e.state();
        e.spec.client_ref.uid == entry.spec.client_ref.uid
            && e.spec.attempt != entry.spec.attempt
            && state.phase == Phase::Registered
    };
    let of = &entry.spec.client_ref;
    // What changed since the pass began is looked at again anyway.
    let changed = world.woken.contains(&Actor::Client((of.namespace.clone(), of.name.clone())));
    let refused = changed || object(world, entry).is_some_and(|c| against(world, c).is_some());
    // One that was never registered, for a credential that is not asked for any more.
    let another = |c: &OAuthClient| request::needs_replacement(&entry.spec.request, &request::of(&c.spec));
    let begun = entry.state().registered_at.is_none() && object(world, entry).is_some_and(another);
    if !world.entries.values().any(|e| serves(&e)) && !refused && !begun {
        let called = world.called(name);
        world.broken(format!("G6: {called} is ended for another, and there is none"));
    }
}

/// Before an entry's status is written.
pub fn entry_status(
    world: &mut World,
    name: &str,
    before: &ClientRegistrationStatus,
    after: &ClientRegistrationStatus,
) {
    let called = world.called(name);
    if let (None, Some(end)) = (&before.end, &after.end) {
        let mut true_ones = ends(world, name);
        true_ones.extend(world.facts.ends.get(name).into_iter().flatten());
        // Of a client that nobody has the credential of yet.
        if world.server.probing == super::server::Probing::Nothing && before.registered_at.is_none() {
            true_ones.insert(EndReason::EvidenceUnobtainable);
        }
        if !true_ones.contains(&end.reason) {
            world.broken(format!("G6: {called} ends for {:?}, which is not so", end.reason));
        }
    }
    if before.end.is_some() && after.end.is_none() {
        world.broken(format!("{called} came back from its end"));
    }
    if before.phase.is_final() && before.phase != after.phase {
        world.broken(format!("{called} was {:?} and is {:?}", before.phase, after.phase));
    }
    if !after.phase.is_final() || before.phase.is_final() {
        return;
    }
    let mine: Vec<_> = world.server.clients.iter().filter(|c| c.entry == name).cloned().collect();
    // Of an entry that was removed by force before its object knew it, nothing is known.
    let known = !world.facts.removed.contains(name);
    // The one thing that cannot be told from a deletion whose answer was lost: a client that an administrator of the
    // server disabled at that very time (docs/decisions/0001).
    let unsure = world.facts.crashed || after.deletion.as_ref().is_some_and(|d| d.asked_at.is_some());
    // By an admin API, one that is switched off is deleted like any other; one without our mark is not ours.
    let admin = world.server.admin;
    let alike = |c: &super::server::Client| if admin { !c.marked } else { c.disabled && unsure };
    if let Some(alive) = mine.iter().find(|c| c.exists && known && !alike(c)) {
        world.broken(format!("G5: {called} is called {:?}, and {} lives", after.phase, alive.id));
    }
    let proven = after.evidence.as_ref().is_some_and(|e| e.level == EvidenceLevel::Proven);
    if proven && !mine.iter().any(|c| c.deleted_by_us || c.meddled) {
        world.broken(format!("G5: {called} is called Proven, and nobody deleted it"));
    }
}

/// Before an OAuthClient's status is written.
pub fn client_status(world: &mut World, key: &Key, status: &OAuthClientStatus) {
    let said = |type_: &str| status.conditions.iter().any(|c| c.type_ == type_ && c.status == "True");
    // What changed since the pass began is looked at again anyway.
    if world.woken.contains(&Actor::Client(key.clone())) {
        return;
    }
    let name = status.registration_ref.as_ref().map(|r| r.name.clone()).unwrap_or_default();
    if said("Ready") {
        // A server that makes a new secret with a change has it before anybody can know.
        let entry = world.entries.get(&name).map(|e| (e.state().applied, request::hash(&e.spec.request)));
        let stored = world.management.get(&name).map(|m| m.stored.applied.clone());
        let settled = entry.is_some_and(|(applied, asked)| applied == stored && applied == Some(asked));
        let ended = !ends(world, &name).is_empty() || world.server.rotates_secret && !settled;
        let client = world.clients.get(key);
        if !ended && client.is_some_and(|c| c.spec.jwks.is_none() && !secret_works(world, c)) {
            world.broken(format!("{} is called Ready, and what its Secret holds does not work", key.1));
        }
    }
    if said("Revoked") && world.entries.get(&name).is_some_and(ClientRegistration::is_live) {
        world.broken(format!("{} is called Revoked, and its entry is not", key.1));
    }
}

/// Whether what the object's Secret holds is accepted at the server, as far as that is up to the operator.
pub fn secret_works(world: &World, client: &OAuthClient) -> bool {
    let key = (client.namespace().unwrap_or_default(), client.spec.secret_name(&client.name_any()));
    let Some((id, credential)) = world.secrets.get(&key).and_then(super::consumers::read) else { return false };
    world.server.clients.iter().any(|c| c.id == id && (excused(world, c) || c.accepts(&credential)))
}

/// Whether the server's administrator, or an answer that was lost, is to blame for a client that does not work.
pub fn excused(world: &World, client: &super::server::Client) -> bool {
    if world.server.admin { client.tampered || client.disabled || !client.marked } else { client.meddled }
}

/// Before an object's finalizer goes: its entries are final, or it was held long enough.
pub fn client_released(world: &mut World, key: &Key) {
    let Some(client) = world.clients.get(key) else { return };
    let uid = client.uid().unwrap_or_default();
    let since = client.metadata.deletion_timestamp.as_ref().map_or(0, |t| t.0.as_second());
    let held = world.now.timestamp() + 61 >= since + 300;
    let open = world.entries.values().find(|e| {
        e.spec.client_ref.uid == uid
            && e.is_live()
            && e.state().possible_orphan.is_none()
            && e.state().attempted_at.is_some()
    });
    if let Some(open) = open.filter(|_| !held) {
        let called = world.called(&open.name_any());
        world.broken(format!("{} is let go while {called} is not final", key.1));
    }
}

/// Before an entry is let go.
pub fn released(world: &mut World, name: &str) {
    let Some(entry) = world.entries.get(name) else { return };
    let (state, called) = (entry.state(), world.called(name));
    if state.phase == Phase::PossibleOrphan && entry.metadata.deletion_timestamp.is_some() {
        world.facts.dealt_with.insert(name.to_owned());
    } else if !state.phase.is_final() {
        world.broken(format!("{called} is let go in phase {:?}", state.phase));
    }
}

/// Before a Secret that is there is overwritten or deleted (G7).
pub fn secret_touched(world: &mut World, secret: &Secret) {
    let key = (secret.namespace().unwrap_or_default(), secret.name_any());
    if world.facts.foreign.contains_key(&key) {
        world.broken(format!("G7: Secret {} is not ours and is touched", key.1));
    }
}

/// Whether the second of two live clients is there to replace the first.
fn replaces(old: &ClientRegistration, new: &ClientRegistration) -> bool {
    let hash = request::hash(&new.spec.request);
    request::needs_replacement(&old.spec.request, &new.spec.request)
        || old.state().failed_change.is_some_and(|f| f.unsupported)
        || hash != request::hash(&old.spec.request)
        || new.spec.rotation.is_some()
}

/// One object has one client, but while one replaces the other, and but for possible orphans.
pub fn after_every_call(world: &mut World) {
    super::consumers::are_served(world);
    if world.server.clients.iter().filter(|c| c.exists).count() < 2 {
        return;
    }
    let mut live: BTreeMap<&str, Vec<&ClientRegistration>> = BTreeMap::new();
    for client in world.server.clients.iter().filter(|c| c.exists && c.answered) {
        let known = world.management.get(&client.entry).is_some_and(|m| m.stored.management.client_id == client.id);
        let Some(entry) = world.entries.get(&client.entry).filter(|_| known) else { continue };
        let state = entry.state();
        // What was removed by force is not known to its object.
        let counts = state.possible_orphan.is_none() && !world.facts.removed.contains(&client.entry);
        if state.end.is_none() && entry.spec.end.is_none() && counts {
            live.entry(&entry.spec.client_ref.uid).or_default().push(entry);
        }
    }
    let mut found = None;
    for entries in live.values().filter(|e| e.len() > 1) {
        let mut sorted = entries.clone();
        sorted.sort_by_key(|e| e.spec.attempt);
        let names: Vec<String> = sorted.iter().map(|e| world.called(&e.name_any())).collect();
        // Those that were rotated away go on for a while.
        let go_on = sorted.iter().filter(|e| e.spec.retires_at.is_none()).count();
        if go_on > 2 || sorted.windows(2).any(|pair| !replaces(pair[0], pair[1])) {
            found = Some(format!("one object has {} clients: {}", sorted.len(), names.join(", ")));
        }
    }
    if let Some(law) = found {
        world.broken(law);
    }
}

/// Whether the operator has what deleting this client takes.
pub fn can_be_deleted(world: &World, client: &super::server::Client) -> bool {
    if world.server.admin {
        return client.marked && world.entries.contains_key(&client.entry);
    }
    world.management.get(&client.entry).is_some_and(|m| {
        m.stored.management.client_id == client.id && super::server::token_of(&m.stored.management) == client.token
    })
}
