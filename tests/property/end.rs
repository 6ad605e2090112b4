//! What must hold once faults have stopped and time has passed.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use kube::ResourceExt;
use oauthclient_operator::api::{ClientRegistration, DriftKind, EndReason, EvidenceLevel, OAuthClient, Phase};
use oauthclient_operator::domain::ends::NamespaceState;
use oauthclient_operator::domain::{lifetime, request};
use secrecy::ExposeSecret;

use super::server::Probing;
use super::world::{Key, World};
use super::{governed, laws};

/// The longest that a credential goes on beside its successor.
pub const LONGEST_OVERLAP: TimeDelta = TimeDelta::hours(1);

/// Judges a world at rest.
pub fn judge(world: &mut World) {
    let mut broken = Vec::new();
    for client in world.server.clients.iter().filter(|c| c.exists) {
        if let Err(why) = claimed(world, client) {
            broken.push(format!("client {} of {} lives, {why}", client.id, world.called(&client.entry)));
        }
    }
    for (name, entry) in &world.entries {
        if let Err(why) = settled(world, name, entry) {
            broken.push(format!("{}: {why}", world.called(name)));
        }
    }
    for (key, client) in &world.clients {
        if let Err(why) = served(world, key, client) {
            let says = client.status.as_ref().map(|s| format!("{:?}: {:?}", s.state, s.message));
            broken.push(format!("{}: {why}; it says {says:?}", key.1));
        }
    }
    let mut serving = std::collections::BTreeMap::<&str, u32>::new();
    let serves = |e: &&ClientRegistration| {
        // One that was rotated away goes on for the overlap.
        let retires = e.spec.retires_at.is_some_and(|at| at > world.now && at <= world.now + LONGEST_OVERLAP);
        e.state().phase == Phase::Registered && e.state().end.is_none() && !retires
    };
    for entry in world.entries.values().filter(serves) {
        *serving.entry(&entry.spec.client_ref.uid).or_default() += 1;
    }
    // A Secret that is another's keeps the newer one from taking over.
    if serving.values().any(|n| *n > 1) && world.facts.foreign.is_empty() {
        broken.push("two entries of one object serve".into());
    }
    broken.extend(super::consumers::old_ones_are_gone(world));
    for (key, secret) in &world.facts.foreign {
        if world.secrets.get(key) != Some(secret) {
            broken.push(format!("G7: Secret {} is not as its owner left it", key.1));
        }
    }
    for law in broken {
        world.broken(law);
    }
}

/// Every live client has a live entry whose object deserves it, is a possible orphan on record, or cannot be deleted
/// for a reason that is on record as a debt.
fn claimed(world: &World, client: &super::server::Client) -> Result<(), String> {
    if world.facts.dealt_with.contains(&client.entry) {
        return Ok(());
    }
    if world.server.admin {
        return claimed_by_id(world, client);
    }
    // A registration that was under way when its entry was removed by force.
    if world.facts.removed.contains(&client.entry) && !laws::can_be_deleted(world, client) {
        return Ok(());
    }
    let Some(entry) = world.entries.get(&client.entry) else {
        // Whoever removes an entry by force, before or after its object, takes the means of revoking into his hands.
        let removed = world.facts.removed.contains(&client.entry);
        return if removed { Ok(()) } else { Err("and no entry knows it".into()) };
    };
    let state = entry.state();
    if state.phase == Phase::PossibleOrphan && !client.answered {
        return Ok(());
    }
    if state.phase == Phase::PossibleOrphan
        && state.possible_orphan.is_some()
        && !world.management.contains_key(&client.entry)
    {
        return Ok(());
    }
    if state.phase.is_final() {
        // See `laws::entry_status`: an administrator of the server switched it off at that very time.
        let alike = client.meddled && state.deletion.is_some_and(|d| d.asked_at.is_some());
        return if alike { Ok(()) } else { Err(format!("and its entry is {:?}", state.phase)) };
    }
    if state.end.is_some() {
        let lost = client.meddled || !laws::can_be_deleted(world, client);
        return if lost { Ok(()) } else { Err("although it has ended and could be deleted".into()) };
    }
    let ends = laws::due(world, &client.entry);
    if ends.is_empty() { Ok(()) } else { Err(format!("although it should have ended: {ends:?}")) }
}

/// Where the caller chooses the id there are no orphans: what lives has an entry that goes on. But for what is not ours,
/// and for entries that somebody removed by force.
fn claimed_by_id(world: &World, client: &super::server::Client) -> Result<(), String> {
    if !client.marked {
        return Ok(());
    }
    let Some(entry) = world.entries.get(&client.entry) else {
        let removed = world.facts.removed.contains(&client.entry);
        return if removed { Ok(()) } else { Err("and no entry knows it".into()) };
    };
    let state = entry.state();
    if state.phase.is_final() || state.phase == Phase::PossibleOrphan || state.end.is_some() {
        return Err(format!("and its entry is {:?}: {:?}", state.phase, state.retry.map(|r| r.last_error)));
    }
    let ends = laws::due(world, &client.entry);
    if ends.is_empty() { Ok(()) } else { Err(format!("although it should have ended: {ends:?}")) }
}

/// What the server has of an entry that goes on is what was asked for. What an administrator of the server switched off,
/// or took our mark from, is on record as that, and left so.
fn as_asked(world: &World, name: &str, entry: &ClientRegistration) -> Result<(), String> {
    let (state, spec) = (entry.state(), &entry.spec);
    // Nobody compares the clients of a server that is to go.
    if world.object.as_ref().is_none_or(|o| o.metadata.deletion_timestamp.is_some()) {
        return Ok(());
    }
    let Some(client) = world.server.clients.iter().find(|c| c.entry == *name && c.exists) else {
        // One that was rotated away ends soon, and what became of a change to it is not asked any more.
        if spec.retires_at.is_some() && state.failed_change.is_some() {
            return Ok(());
        }
        return Err("its client is gone, and that goes unnoticed".into());
    };
    let seen = state.drift.as_ref().map(|d| d.kind);
    let expected = match (client.marked, client.disabled) {
        (false, _) => Some(DriftKind::Foreign),
        (true, true) => Some(DriftKind::Disabled),
        (true, false) => None,
    };
    if seen != expected {
        return Err(format!("its client has drifted: {expected:?}, and on record is {seen:?}"));
    }
    if expected.is_some() {
        return Ok(());
    }
    // A change that is under way or was refused is compared later.
    if state.applied != Some(request::hash(&spec.request)) {
        return Ok(());
    }
    let scopes: BTreeSet<_> = client.scopes.iter().collect();
    if scopes != spec.request.scopes.iter().collect() {
        return Err(format!("its client has scopes {:?} instead of {:?}", client.scopes, spec.request.scopes));
    }
    let stored = world.management.get(name).map(|m| &m.stored);
    let known: BTreeSet<_> =
        stored.iter().flat_map(|s| s.keys_at_server(false)).map(ExposeSecret::expose_secret).collect();
    let more = client.keys.iter().find(|k| spec.request.jwks.is_none() && !known.contains(k.as_str()));
    more.map_or(Ok(()), |key| Err(format!("its client may use {key} as well")))
}

/// Every entry is at work, final, a possible orphan, or a debt for one of the reasons that there are.
fn settled(world: &World, name: &str, entry: &ClientRegistration) -> Result<(), String> {
    let state = entry.state();
    let mine: Vec<_> = world.server.clients.iter().filter(|c| c.entry == *name).collect();
    let admin = world.server.admin;
    if admin && state.phase == Phase::PossibleOrphan {
        return Err("is called a possible orphan, and its client's id is known".into());
    }
    if state.phase.is_final() || state.phase == Phase::PossibleOrphan {
        return Ok(());
    }
    let Some(_) = &state.end else {
        let ends = laws::due(world, name);
        if !ends.is_empty() {
            return Err(format!("should have ended: {ends:?}"));
        }
        let object = laws::object(world, entry);
        let waits = object.is_some_and(|c| governed::against(world, c) == Some("ApprovalPending"));
        return match state.phase {
            Phase::Registered if admin => as_asked(world, name, entry),
            Phase::Registered => Ok(()),
            // An edit of what was begun waits for a person.
            Phase::Pending | Phase::Registering if waits => Ok(()),
            Phase::Registering if admin && mine.iter().any(|c| c.exists && (c.disabled || !c.marked)) => Ok(()),
            // What the server's administrator did to it before it was ever tried.
            Phase::Registering if !admin && mine.iter().any(|c| c.meddled) => Ok(()),
            other => Err(format!("does not get on: {other:?}, {:?}", state.retry)),
        };
    };
    // Dated by a clock that was ahead: it takes that much longer.
    if admin && state.settles_at.is_some_and(|at| at > world.now && at <= world.now + TimeDelta::hours(3)) {
        return Ok(());
    }
    // The debts that last.
    let meddled = mine.iter().any(|c| c.meddled || c.exists && !c.marked);
    let proof = entry.spec.server.least_evidence == EvidenceLevel::Proven;
    // Where no probe tells, or a control was another server's so that the wrong one was taken to.
    let nothing_tells = match world.server.probing {
        Probing::Nothing => proof,
        Probing::CodeOnly => world.facts.swapped,
        Probing::Revocation | Probing::RevocationRefuses | Probing::RevocationIsAPage => false,
    };
    let deletion = state.deletion.clone().unwrap_or_default();
    // The server took five probes without a useful answer.
    let useless = deletion.useless_probes >= 5;
    // There is no credential of ours to make up for the lost answer to the deletion.
    let unheard = !proof && deletion.status.is_some_and(|s| s == 401) && mine.iter().all(|c| c.deleted_by_us);
    // Something else stood at the address, or answered, just when the credential was to be tried before the deletion.
    let missed =
        world.facts.swapped && state.evidence.as_ref().is_some_and(|e| e.level == EvidenceLevel::ServerConfirmed);
    // What was stored for an entry may not fit the one that was written in its place.
    let removed = world.facts.removed.contains(name);
    // A new registration access token was in an answer that nobody lived to store.
    let lost = !admin && mine.iter().any(|c| c.exists && !laws::can_be_deleted(world, c));
    if lost || missed || meddled || nothing_tells || useless || unheard || removed {
        Ok(())
    } else {
        Err(format!("ended, and stays a debt: {:?}; {:?}", state.retry.map(|r| r.last_error), state.deletion))
    }
}

/// Every object that deserves a client has one that works as asked, or says why not; every other has none.
fn served(world: &World, key: &Key, client: &OAuthClient) -> Result<(), String> {
    if client.metadata.deletion_timestamp.is_some() {
        return if world.namespaces.get(&key.0) == Some(&NamespaceState::Gone) {
            Ok(())
        } else {
            Err("is being deleted and still there".into())
        };
    }
    let uid = client.uid().unwrap_or_default();
    let status = client.status.clone().unwrap_or_default();
    let is = |type_: &str| status.conditions.iter().any(|c| c.type_ == type_ && c.status == "True");
    let serving = world
        .entries
        .values()
        .filter(|e| e.spec.client_ref.uid == uid && e.state().phase == Phase::Registered && e.state().end.is_none())
        .max_by_key(|e| e.spec.attempt);
    let secret = (key.0.clone(), client.spec.secret_name(&key.1));
    let ours =
        world.secrets.get(&secret).filter(|s| s.metadata.owner_references.iter().flatten().any(|o| o.uid == uid));
    let Some(entry) = serving else {
        if is("Ready") {
            return Err("is Ready without a client".into());
        }
        if ours.is_some() {
            return Err("has a Secret without a client".into());
        }
        return wants(world, key, client);
    };
    governed::says_so(world, client, entry)?;
    let at_server = world.server.clients.iter().find(|c| c.entry == entry.name_any() && c.exists);
    if world.server.admin && at_server.is_some_and(|c| c.disabled && c.marked) && laws::against(world, client).is_none()
    {
        let told = status.conditions.iter().any(|c| c.type_ == "Ready" && c.reason == "DisabledAtServer");
        return if told { Ok(()) } else { Err("is switched off at the server, and does not say so".into()) };
    }
    if !is("Ready") && laws::against(world, client).is_none() {
        return Err("has a client and is not Ready".into());
    }
    // What was stored for an entry may not fit the one that was written in its place.
    let removed = world.facts.removed.contains(&entry.name_any());
    if is("Ready") && client.spec.jwks.is_none() && !removed && !laws::secret_works(world, client) {
        return Err("is Ready, and its Secret does not work".into());
    }
    if is("Revoked") {
        return Err("is Revoked and has a client".into());
    }
    let wanted = request::of(&client.spec);
    let refused = world.server.refuses.as_ref().is_some_and(|s| wanted.scopes.contains(s));
    let noted = entry.state().failed_change.is_some_and(|f| f.request == request::hash(&wanted) && !f.unsupported);
    let other = entry.state().applied != Some(request::hash(&wanted));
    let mine = |c: &super::server::Client| world.entries.get(&c.entry).is_some_and(|e| e.spec.client_ref.uid == uid);
    let meddled = world.server.clients.iter().any(|c| mine(c) && laws::excused(world, c));
    let said = status.conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == "ChangeRefused");
    // What policies ended is begun anew once they allow it.
    let newest = world.entries.values().filter(|e| e.spec.client_ref.uid == uid).max_by_key(|e| e.spec.attempt);
    let end = newest.and_then(|e| e.state().end).map(|e| e.reason);
    let said = said && !matches!(end, Some(EndReason::PolicyViolation | EndReason::Denied));
    if other && !refused && !noted && !said && !meddled && laws::against(world, client).is_none() {
        return Err("has a client that is not what is asked for, and nothing says why".into());
    }
    Ok(())
}

/// An object without a client: something stands against it, and it says so.
fn wants(world: &World, key: &Key, client: &OAuthClient) -> Result<(), String> {
    let uid = client.uid().unwrap_or_default();
    let status = client.status.clone().unwrap_or_default();
    let newest = world.entries.values().filter(|e| e.spec.client_ref.uid == uid).max_by_key(|e| e.spec.attempt);
    let first = status.registered_at.or(newest.map(|e| e.spec.first_registered_at));
    let over = lifetime::expires_at(&client.spec.lifetime, first.unwrap_or(world.now)) <= world.now;
    let refused = world.server.refuses.as_ref().is_some_and(|s| client.spec.scopes.contains(s))
        && status.state.as_deref() == Some("Refused");
    let state = newest.map(ClientRegistration::state).unwrap_or_default();
    let unmanageable = world
        .object
        .as_ref()
        .and_then(|o| o.status.clone())
        .and_then(|s| s.capabilities)
        .is_some_and(|c| !c.management);
    let once = client.spec.workload_ref.is_some() && state.end.is_some();
    let deleted = world.facts.excused.contains(&uid);
    // What was refused is what is asked for still.
    let ended = state.rejection.is_some() && newest.is_some_and(|e| e.spec.request == request::of(&client.spec));
    let too_much = state
        .end
        .as_ref()
        .is_some_and(|e| matches!(e.reason, EndReason::GrantedTooMuch | EndReason::EvidenceUnobtainable));
    // It says so also when an administrator has deleted the entry that it was about.
    let unprovable = world.server.probing == Probing::Nothing
        && status.conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == "EvidenceUnobtainable");
    let stuck = state.possible_orphan.as_ref().is_some_and(|p| p.unmanageable);
    // Nothing is registered anew before all of its clients are gone.
    let debt = world.entries.values().any(|e| e.spec.client_ref.uid == uid && e.is_live() && e.state().end.is_some());
    let meddled = world.server.clients.iter().any(|c| {
        laws::excused(world, c) && c.exists == world.server.admin && newest.is_some_and(|e| e.name_any() == c.entry)
    });
    let says = status.message.is_some();
    let excused = laws::ungoverned(world, client).is_some()
        || over
        || refused
        || unmanageable
        || once
        || deleted
        || ended
        || too_much
        || unprovable
        || stuck
        || debt
        || meddled;
    // That a client may exist goes before what stands against another.
    if !excused && state.possible_orphan.is_none() {
        governed::says_why_not(world, client)?;
    }
    let excused = excused || governed::against(world, client).is_some();
    match (excused, says) {
        (true, true) => Ok(()),
        (true, false) if world.namespaces.get(&key.0) != Some(&NamespaceState::Active) => Ok(()),
        (true, false) => Err("says nothing".into()),
        (false, _) => Err("deserves a client and has none".into()),
    }
}
