//! What must hold once faults have stopped and time has passed.

use kube::ResourceExt;
use oauthclient_operator::api::{ClientRegistration, EndReason, EvidenceLevel, OAuthClient, Phase};
use oauthclient_operator::domain::ends::NamespaceState;
use oauthclient_operator::domain::{lifetime, request};

use super::laws;
use super::server::Probing;
use super::world::{Key, World};

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
    for entry in world.entries.values().filter(|e| e.state().phase == Phase::Registered && e.state().end.is_none()) {
        *serving.entry(&entry.spec.client_ref.uid).or_default() += 1;
    }
    // A Secret that is another's keeps the newer one from taking over.
    if serving.values().any(|n| *n > 1) && world.facts.foreign.is_empty() {
        broken.push("two entries of one object serve".into());
    }
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

/// Every entry is at work, final, a possible orphan, or a debt for one of the reasons that there are.
fn settled(world: &World, name: &str, entry: &ClientRegistration) -> Result<(), String> {
    let state = entry.state();
    let mine: Vec<_> = world.server.clients.iter().filter(|c| c.entry == *name).collect();
    if state.phase.is_final() || state.phase == Phase::PossibleOrphan {
        return Ok(());
    }
    let Some(_) = &state.end else {
        let ends = laws::due(world, name);
        if !ends.is_empty() {
            return Err(format!("should have ended: {ends:?}"));
        }
        return match state.phase {
            Phase::Registered => Ok(()),
            // What the server's administrator did to it before it was ever tried.
            Phase::Registering if mine.iter().any(|c| c.meddled) => Ok(()),
            other => Err(format!("does not get on: {other:?}, {:?}", state.retry)),
        };
    };
    // The debts that last.
    let meddled = mine.iter().any(|c| c.meddled);
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
    if meddled || nothing_tells || useless || unheard {
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
    if !is("Ready") && laws::against(world, client).is_none() {
        return Err("has a client and is not Ready".into());
    }
    if is("Ready") && client.spec.jwks.is_none() && !laws::secret_works(world, client) {
        return Err("is Ready, and its Secret does not work".into());
    }
    if is("Revoked") {
        return Err("is Revoked and has a client".into());
    }
    let wanted = request::of(&client.spec);
    let refused = world.server.refuses.as_ref().is_some_and(|s| wanted.scopes.contains(s));
    let noted = entry.state().failed_change.is_some_and(|f| f.request == request::hash(&wanted) && !f.unsupported);
    let other = entry.state().applied != Some(request::hash(&wanted));
    let meddled = world.server.clients.iter().any(|c| c.entry == entry.name_any() && c.meddled);
    if other && !refused && !noted && !meddled && laws::against(world, client).is_none() {
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
    let ended = state.end.as_ref().is_some_and(|_| state.rejection.is_some()) || state.rejection.is_some();
    let too_much = state
        .end
        .as_ref()
        .is_some_and(|e| matches!(e.reason, EndReason::GrantedTooMuch | EndReason::EvidenceUnobtainable));
    // It says so also when an administrator has deleted the entry that it was about.
    let unprovable = world.server.probing == Probing::Nothing
        && status.conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == "EvidenceUnobtainable");
    let stuck = state.possible_orphan.as_ref().is_some_and(|p| p.unmanageable);
    let debt = newest.is_some_and(|e| e.is_live() && e.state().end.is_some());
    let meddled = world.server.clients.iter().any(|c| c.meddled && newest.is_some_and(|e| e.name_any() == c.entry));
    let says = status.message.is_some();
    let excused = laws::against(world, client).is_some()
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
    match (excused, says) {
        (true, true) => Ok(()),
        (true, false) if world.namespaces.get(&key.0) != Some(&NamespaceState::Active) => Ok(()),
        (true, false) => Err("says nothing".into()),
        (false, _) => Err("deserves a client and has none".into()),
    }
}
