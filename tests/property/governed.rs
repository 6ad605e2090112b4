//! What must hold of policies and approvals. What they say is found out here once more, in few words.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use kube::ResourceExt;
use oauthclient_operator::api::{
    ApprovalDecision, ApprovalMode, ApprovalRef, ClientApproval, ClientPolicy, ClientRegistration,
    ClientRegistrationSpec, EndReason, OAuthClient, OAuthClientStatus, OnViolation, Phase, REQUESTED_BY_ANNOTATION,
    RegistrationRequest, Span,
};
use oauthclient_operator::domain::ends::NamespaceState;
use oauthclient_operator::domain::{lifetime, request};
use serde_json::{Value, json};

use super::laws;
use super::world::{Actor, Key, World};

/// What a test has to remember of what governs.
#[derive(Debug, Default)]
pub struct Facts {
    /// What objects asked for when their status named it by a hash: the hash, whose, and what.
    asked: Vec<(String, Key, Value)>,
    /// Every decision there ever was, by name.
    decisions: BTreeMap<String, ClientApproval>,
    /// What passes of the client controller may have seen.
    passes: BTreeMap<Key, Pass>,
    /// What was allowed to be asked of the server, by entry.
    granted: BTreeMap<String, RegistrationRequest>,
}

/// What was true at any time since a pass of the client controller read its object.
#[derive(Debug)]
struct Pass {
    client: OAuthClient,
    /// Of what it asks for.
    asked: Seen,
    /// It was denied all the time.
    denied: bool,
    /// Of its entries.
    entries: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Seen {
    /// It was allowed.
    allowed: bool,
    /// It was allowed without an approval.
    free: bool,
    /// By which policies.
    by: BTreeSet<String>,
    denied: bool,
    /// It was not allowed, and that ends it.
    ends: bool,
}

/// What is asked for, or runs.
struct What<'a> {
    key: &'a Key,
    request: &'a RegistrationRequest,
    lifetime: TimeDelta,
    hash: String,
    requesters: String,
    /// The approval that it runs on.
    own: Option<&'a ApprovalRef>,
}

/// What policies and approvals say to it.
struct Says {
    denied: bool,
    free: bool,
    /// Policies that allow it, and whether it has the approval that they ask for.
    allowing: Vec<(String, bool)>,
}

impl Says {
    fn allowed(&self) -> bool {
        !self.denied && (self.free || self.allowing.iter().any(|(_, approved)| *approved))
    }

    /// Whichever of the policies is gone by.
    fn surely_allowed(&self) -> bool {
        let all = self.allowing.iter().all(|(_, approved)| *approved);
        !self.denied && (self.free || all && !self.allowing.is_empty())
    }

    fn against(&self) -> Option<&'static str> {
        match self {
            _ if self.denied => Some("Denied"),
            _ if self.surely_allowed() => None,
            _ if self.allowing.is_empty() => Some("NotAllowedByPolicy"),
            _ => Some("ApprovalPending"),
        }
    }
}

fn says(world: &World, what: &What<'_>) -> Says {
    let g = &world.governance;
    let client = format!("{}/{}", what.key.0, what.key.1);
    let names = |p: &ClientPolicy| p.spec.deny.as_ref().is_some_and(|d| d.all || d.clients.contains(&client));
    let no = |a: &ClientApproval| is_about(a, what.key) && a.spec.decision == ApprovalDecision::Denied;
    let denied = g.policies.values().any(names) || g.approvals.values().any(no);
    let allow: Vec<&ClientPolicy> = g.policies.values().filter(|p| allows(p, what)).collect();
    let allowing = allow.iter().map(|p| (p.name_any(), !asks(p, what) || approved(world, what, p))).collect();
    Says { denied, free: allow.iter().any(|p| !asks(p, what)), allowing }
}

fn allows(policy: &ClientPolicy, what: &What<'_>) -> bool {
    let spec = &policy.spec;
    let long = spec.limits.max_lifetime.as_ref().and_then(Span::delta).is_some_and(|most| what.lifetime > most);
    let within = what.request.scopes.iter().all(|s| spec.allow.scopes.iter().any(|a| a == "*" || a == s));
    spec.deny.is_none() && within && !long
}

fn asks(policy: &ClientPolicy, what: &What<'_>) -> bool {
    match policy.spec.approval.mode {
        ApprovalMode::Never => false,
        ApprovalMode::Always => true,
        ApprovalMode::WhenScopes => what.request.scopes.iter().any(|s| policy.spec.approval.scopes.contains(s)),
    }
}

fn is_about(decision: &ClientApproval, key: &Key) -> bool {
    decision.namespace().as_ref() == Some(&key.0) && decision.spec.client == key.1
}

fn made_at(decision: &ClientApproval) -> DateTime<Utc> {
    let at = decision.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
    DateTime::from_timestamp(at, 0).unwrap_or_default()
}

/// Whether there is an approval that holds, under this policy.
fn approved(world: &World, what: &What<'_>, policy: &ClientPolicy) -> bool {
    let now = world.now;
    // While the operator's clock is wrong, what it runs on is not over.
    let holds = |a: &ApprovalRef| a.not_after.is_none_or(|t| now < t || !world.clock_trusted());
    if what.own.is_some_and(|a| a.request_hash == what.hash && holds(a)) {
        return true;
    }
    let most = policy.spec.approval.max_validity.as_ref().and_then(Span::delta);
    world.governance.approvals.values().any(|a| {
        let ends = a.spec.not_after.into_iter().chain(most.map(|m| made_at(a) + m)).min();
        is_about(a, what.key)
            && a.spec.request_hash.as_ref() == Some(&what.hash)
            && !what.requesters.lines().any(|who| who == a.spec.approver)
            && world.governance.stamped_since.is_some_and(|since| made_at(a) > since)
            && ends.is_none_or(|t| now < t)
    })
}

fn key_of(client: &OAuthClient) -> Key {
    (client.namespace().unwrap_or_default(), client.name_any())
}

fn entries_of<'a>(world: &'a World, client: &OAuthClient) -> Vec<&'a ClientRegistration> {
    let uid = client.uid().unwrap_or_default();
    let mut all: Vec<_> = world.entries.values().filter(|e| e.spec.client_ref.uid == uid).collect();
    all.sort_by_key(|e| e.spec.attempt);
    all
}

fn requesters(client: &OAuthClient) -> String {
    client.annotations().get(REQUESTED_BY_ANNOTATION).cloned().unwrap_or_default()
}

/// What identifies what an object asks for, where any policy asks for approvals; its workload is found once.
fn hash(world: &World, client: &OAuthClient) -> String {
    if world.governance.policies.values().all(|p| p.spec.approval.mode == ApprovalMode::Never) {
        return String::new();
    }
    let pinned = client.status.as_ref().and_then(|s| s.workload.as_ref());
    let pinned = pinned.or_else(|| entries_of(world, client).into_iter().find_map(|e| e.spec.workload.as_ref()));
    let found = client.spec.workload_ref.as_ref().and_then(|w| world.jobs.get(&(key_of(client).0, w.name.clone())));
    request::governed_hash(client, pinned.map(|p| p.uid.as_str()).or(found.map(|job| job.uid.as_str())))
}

/// There may be a client of it that nothing has ended.
fn goes_on(entry: &ClientRegistration) -> bool {
    let state = entry.state();
    entry.spec.end.is_none() && entry.is_live() && state.end.is_none() && state.possible_orphan.is_none()
}

/// What they say to what an object asks for.
fn of_asked(world: &World, client: &OAuthClient) -> Says {
    let entries = entries_of(world, client);
    let registered = client.status.as_ref().and_then(|s| s.registered_at);
    let first = registered.or(entries.first().map(|e| e.spec.first_registered_at)).unwrap_or(world.local());
    let key = key_of(client);
    says(
        world,
        &What {
            key: &key,
            request: &request::of(&client.spec),
            lifetime: lifetime::expires_at(&client.spec.lifetime, first) - first,
            hash: hash(world, client),
            requesters: requesters(client),
            own: entries.iter().rev().filter(|e| goes_on(e)).find_map(|e| e.spec.approval.as_ref()),
        },
    )
}

/// What they say to what an entry's client is.
fn of_entry(world: &World, client: &OAuthClient, entry: &ClientRegistration) -> Says {
    let (spec, key) = (&entry.spec, key_of(client));
    let own = spec.approval.as_ref();
    says(
        world,
        &What {
            key: &key,
            request: &spec.request,
            lifetime: spec.expires_at - spec.first_registered_at,
            hash: own.map_or_else(|| hash(world, client), |a| a.request_hash.clone()),
            requesters: requesters(client),
            own,
        },
    )
}

/// Whether what stands against an entry ends it.
fn is_ended_by(world: &World, entry: &ClientRegistration, says: &Says) -> bool {
    let recorded = entry.spec.policy.as_ref();
    let now = recorded.and_then(|r| world.governance.policies.get(&r.name)).map(|p| p.spec.on_violation);
    let revokes = now.or(recorded.map(|r| r.on_violation)) == Some(OnViolation::Revoke);
    says.denied || !says.allowed() && (revokes || entry.state().phase != Phase::Registered)
}

/// What policies and approvals have against what an object asks for.
pub fn against(world: &World, client: &OAuthClient) -> Option<&'static str> {
    of_asked(world, client).against()
}

impl Pass {
    fn sees(&mut self, world: &World) {
        let says = of_asked(world, &self.client);
        self.denied &= says.denied;
        self.asked.adds(&says, false);
        for entry in entries_of(world, &self.client) {
            let says = of_entry(world, &self.client, entry);
            let ends = is_ended_by(world, entry, &says);
            self.entries.entry(entry.name_any()).or_default().adds(&says, ends);
        }
    }
}

impl Seen {
    fn adds(&mut self, says: &Says, ends: bool) {
        self.allowed |= says.allowed();
        self.free |= says.free && !says.denied;
        self.by.extend(says.allowing.iter().filter(|(_, approved)| *approved).map(|(name, _)| name.clone()));
        self.denied |= says.denied;
        self.ends |= ends;
    }
}

pub fn pass_begins(world: &mut World, key: &Key) {
    let Some(client) = world.clients.get(key).cloned() else { return };
    let mut pass = Pass { client, asked: Seen::default(), denied: true, entries: BTreeMap::new() };
    pass.sees(world);
    world.facts.governed.passes.insert(key.clone(), pass);
}

pub fn pass_is_over(world: &mut World, actor: &Actor) {
    if let Actor::Client(key) = actor {
        world.facts.governed.passes.remove(key);
    }
}

/// Something happened: what was true remains a fact for passes that are under way.
pub fn remember(world: &mut World) {
    let mut passes = std::mem::take(&mut world.facts.governed.passes);
    for pass in passes.values_mut() {
        pass.sees(world);
    }
    world.facts.governed.passes = passes;
}

/// A decision is made.
pub fn decided(world: &mut World, decision: &ClientApproval) {
    world.facts.governed.decisions.insert(decision.name_any(), decision.clone());
}

/// How an object's status names what is asked for; `first`: how it did first.
pub fn named(world: &World, key: &Key, first: bool) -> Option<String> {
    if first {
        return world.facts.governed.asked.iter().find(|(_, of, _)| of == key).map(|(hash, _, _)| hash.clone());
    }
    world.clients.get(key)?.status.as_ref()?.request_hash.clone()
}

/// Everything that an approval is about, but for the workload.
fn governs(client: &OAuthClient) -> Value {
    let spec = &client.spec;
    json!({
        "uid": client.uid(), "owner": spec.owner, "purpose": spec.purpose, "lifetime": spec.lifetime,
        "request": request::of(spec), "requesters": requesters(client),
    })
}

/// Before an OAuthClient's status is written: what it names by a hash is one thing.
pub fn status(world: &mut World, key: &Key, status: &OAuthClientStatus) {
    let Some((hash, client)) = status.request_hash.as_ref().zip(world.clients.get(key)) else { return };
    // Where it is not said anew, it is of what was asked before.
    if status.observed_generation != client.metadata.generation {
        return;
    }
    let what = governs(client);
    match world.facts.governed.asked.iter().find(|(known, _, _)| known == hash) {
        None => world.facts.governed.asked.push((hash.clone(), key.clone(), what)),
        Some((_, _, before)) if *before == what => {}
        Some(_) => world.broken(format!("{}: one hash stands for two requests", key.1)),
    }
}

/// Before what an entry asks for, or what it runs on, is written.
pub fn entry_written(
    world: &mut World,
    key: &Key,
    name: &str,
    before: Option<&ClientRegistrationSpec>,
    after: &ClientRegistrationSpec,
) {
    let Some(pass) = world.facts.governed.passes.get(key) else { return };
    let called = format!("{}#{}", key.1, after.attempt);
    let Seen { allowed, free, by, .. } = pass.asked.clone();
    let spec = &pass.client.spec;
    let wanted = request::of(spec) == after.request && spec.owner == after.owner && spec.purpose == after.purpose;
    // What was removed by force has an end from the start.
    let same =
        |b: &ClientRegistrationSpec| b.request == after.request && b.owner == after.owner && b.purpose == after.purpose;
    let is_news = !before.is_some_and(same) && after.end.is_none();
    let own = pass.entries.get(name).filter(|_| !is_news).cloned().unwrap_or_default();
    let mut broken = Vec::new();
    if is_news && !(allowed && wanted) {
        broken.push(format!("G2: {called} is to have what nothing allowed"));
    }
    if before.is_some_and(|b| b.expires_at < after.expires_at) && !allowed {
        broken.push(format!("G6: {called} is to live longer, which nothing allowed"));
    }
    if before.is_none_or(|b| b.policy != after.policy) && after.end.is_none() {
        let allows = |p: &String| wanted && by.contains(p) || own.by.contains(p);
        if !after.policy.as_ref().is_some_and(|p| allows(&p.name)) {
            broken.push(format!("{called} is to run on {:?}, which does not allow it", after.policy));
        }
    }
    if let Some(approval) = &after.approval {
        broken.extend(unlike(world, key, approval, after));
    } else if (is_news || before.is_some_and(|b| b.approval.is_some())) && !(wanted && free || own.free) {
        broken.push(format!("{called} has no approval on record, and needs one"));
    }
    if is_news {
        world.facts.governed.granted.insert(name.to_owned(), after.request.clone());
    }
    for law in broken {
        world.broken(law);
    }
}

/// How the approval that is on record is not the one for exactly what the client is.
fn unlike(world: &World, key: &Key, approval: &ApprovalRef, spec: &ClientRegistrationSpec) -> Option<String> {
    let called = format!("{}#{}", key.1, spec.attempt);
    let facts = &world.facts.governed;
    let what = facts.asked.iter().find(|(hash, _, _)| *hash == approval.request_hash).map(|(_, _, what)| what)?;
    let is = json!({
        "uid": spec.client_ref.uid, "owner": spec.owner, "purpose": spec.purpose, "lifetime": what["lifetime"],
        "request": spec.request, "requesters": what["requesters"],
    });
    if *what != is {
        return Some(format!("{called} has the approval of something else on record"));
    }
    let requesters = what["requesters"].as_str().unwrap_or_default();
    let given = facts.decisions.get(&approval.name)?;
    let same = is_about(given, key)
        && given.spec.decision == ApprovalDecision::Approved
        && given.spec.request_hash.as_ref() == Some(&approval.request_hash)
        && given.spec.approver == approval.approver;
    if !same || requesters.lines().any(|who| who == approval.approver) {
        return Some(format!("{called} has an approval on record that nobody gave who may"));
    }
    let longer = given.spec.not_after.is_some_and(|t| approval.not_after.is_none_or(|recorded| recorded > t));
    let outlives = approval.not_after.is_some_and(|t| spec.expires_at > t);
    (longer || outlives).then(|| format!("{called} is to outlive its approval"))
}

/// Before the server is asked for a client, or for a change of one (G2).
pub fn asked_of_server(world: &mut World, name: &str) {
    let Some(entry) = world.entries.get(name).filter(|_| !world.facts.removed.contains(name)) else { return };
    if world.facts.governed.granted.get(name) != Some(&entry.spec.request) {
        let called = world.called(name);
        world.broken(format!("G2: the server is asked for {called}, which nothing allowed"));
    }
}

/// Before an entry is ended because of what governs: that was so, and ends it.
pub fn entry_ended(world: &mut World, key: &Key, name: &str, reason: EndReason) {
    let seen = world.facts.governed.passes.get(key).and_then(|p| p.entries.get(name)).cloned().unwrap_or_default();
    let is_so = if reason == EndReason::Denied { seen.denied } else { seen.ends };
    if !is_so {
        let called = world.called(name);
        world.broken(format!("G6: {called} is ended for {reason:?}, which is not so"));
    }
}

/// Before a tenant's Secret is written.
pub fn published(world: &mut World, key: &Key) {
    if world.facts.governed.passes.get(key).is_some_and(|p| p.denied) {
        world.broken(format!("a Secret for {}, which is denied", key.1));
    }
}

/// A pass of the client controller has nothing more to do: what is to end has its end on record. By a clock that is wrong,
/// or where it could not be `tried` whether the stamps are kept, it cannot tell what is approved.
pub fn pass_rests(world: &mut World, key: &Key, tried: bool) {
    // What changed since it began is looked at again anyway.
    let Some(client) = world.clients.get(key).filter(|_| !world.woken.contains(&Actor::Client(key.clone()))) else {
        return;
    };
    let ends = client.metadata.deletion_timestamp.is_some() || client.spec.suspend;
    if ends || world.namespaces.get(&key.0) != Some(&NamespaceState::Active) {
        return;
    }
    let left = |e: &&ClientRegistration| {
        let over = world.now >= e.spec.expires_at && world.clock_trusted();
        let known = !over && e.metadata.deletion_timestamp.is_none() && !world.facts.removed.contains(&e.name_any());
        let says = of_entry(world, client, e);
        goes_on(e) && known && is_ended_by(world, e, &says) && (says.denied || tried && world.clock_trusted())
    };
    if let Some(entry) = entries_of(world, client).into_iter().find(left) {
        let called = world.called(&entry.name_any());
        world.broken(format!("{called} goes on, which {:?} stands against", of_entry(world, client, entry).against()));
    }
}

fn condition<'a>(status: &'a OAuthClientStatus, type_: &str) -> Option<(bool, &'a str)> {
    status.conditions.iter().find(|c| c.type_ == type_).map(|c| (c.status == "True", c.reason.as_str()))
}

/// At rest: what an object with a client says of policies and approvals is so.
pub fn says_so(world: &World, client: &OAuthClient, entry: &ClientRegistration) -> Result<(), String> {
    let status = client.status.clone().unwrap_or_default();
    let (asked, runs) = (of_asked(world, client), of_entry(world, client, entry));
    if is_ended_by(world, entry, &runs) {
        return Err(format!("has a client that is to have ended: {:?}", runs.against()));
    }
    let approved = condition(&status, "Approved").is_some_and(|(yes, _)| yes);
    if approved != entry.spec.approval.is_some() {
        return Err(format!("says Approved={approved}, and on record is {:?}", entry.spec.approval));
    }
    let compliant = condition(&status, "Compliant").is_none_or(|(yes, _)| yes);
    if compliant && !runs.allowed() || !compliant && runs.surely_allowed() {
        return Err(format!("says Compliant={compliant}, and {:?} stands against it", runs.against()));
    }
    let accepted = condition(&status, "Accepted").is_none_or(|(yes, _)| yes);
    let edited = entry.spec.request != request::of(&client.spec)
        || entry.spec.owner != client.spec.owner
        || entry.spec.purpose != client.spec.purpose;
    if edited && !asked.allowed() && accepted {
        return Err(format!("says that its edit is accepted, and {:?} stands against it", asked.against()));
    }
    if !accepted && laws::against(world, client).is_none() {
        return Err("says that it is not accepted, and nothing stands against it".into());
    }
    Ok(())
}

/// At rest: an object without a client says so where a policy or a person stands against it alone.
pub fn says_why_not(world: &World, client: &OAuthClient) -> Result<(), String> {
    let Some(why) = against(world, client).filter(|_| laws::ungoverned(world, client).is_none()) else { return Ok(()) };
    let status = client.status.clone().unwrap_or_default();
    if condition(&status, "Accepted") != Some((false, why)) {
        return Err(format!("{why} stands against it, and it says {:?}", condition(&status, "Accepted")));
    }
    Ok(())
}
