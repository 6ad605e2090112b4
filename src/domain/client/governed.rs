//! What policies and approvals say to an object, and to the clients that it has.

use chrono::{DateTime, Utc};

use super::serving::{goes_on, name};
use super::{Observed, Step, first_registered_at, pinned};
use crate::api::{
    ApprovalDecision, ApprovalMode, ApprovalRef, ClientApproval, ClientPolicy, ClientRegistration,
    DENIED_BY_ANNOTATION, EndReason, OnViolation, Phase, PolicyRef, REQUESTED_BY_ANNOTATION, RegistrationRequest,
};
use crate::domain::conditions::{Say, say};
use crate::domain::policy::approval::{covering, denial, holds, is_needed, lasts, set_aside};
use crate::domain::policy::{Asked, Others, Verdict, denied, judge};
use crate::domain::workload::Workload;
use crate::domain::{lifetime, request};

/// What a client may run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds {
    /// The policy that allows it.
    pub policy: PolicyRef,
    /// The approval, where that policy asks for one.
    pub approval: Option<ApprovalRef>,
}

/// What policies and approvals say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may run on this.
    Allowed(Grounds),
    /// This policy allows it, once a person says yes.
    Waiting(String),
    /// Whether somebody has said yes cannot be told now.
    Unsure(String),
    /// None allows it, and what stands against it.
    Refused(String),
    /// One denies it, and why.
    Denied(String),
}

/// What they say to what the object asks for.
pub(super) fn of_asked(o: &Observed, runs: bool, now: DateTime<Utc>) -> Standing {
    let spec = &o.client.spec;
    let wanted = request::of(spec);
    let first = first_registered_at(o).unwrap_or(now);
    // One that lives is counted already.
    let others = if runs { Others::default() } else { o.others };
    let asked = Asked {
        server: &spec.authorization_server_ref.name,
        owner: &spec.owner,
        workload: spec.workload_ref.as_ref(),
        lifetime: lifetime::expires_at(&spec.lifetime, first) - first,
        others,
        ..of(o, &wanted)
    };
    // What was approved stays so, also when nobody can find the approval any more.
    let own = o.entries.iter().rev().filter(|e| goes_on(e)).find_map(|e| e.spec.approval.as_ref());
    standing(o, &asked, &hash(o), own, now)
}

/// What they say to what an entry's client is.
fn of_entry(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Standing {
    let spec = &entry.spec;
    let asked = Asked {
        server: &spec.server.name,
        owner: &spec.owner,
        workload: spec.workload.as_ref().map(|w| &w.reference),
        lifetime: spec.expires_at - spec.first_registered_at,
        ..of(o, &spec.request)
    };
    let own = spec.approval.as_ref();
    let hash = own.map_or_else(|| hash(o), |a| a.request_hash.clone());
    standing(o, &asked, &hash, own, now)
}

/// Identifies what the object asks for, as an approval names it.
pub(super) fn hash(o: &Observed) -> String {
    let found = match &o.workload {
        Workload::Present { uid, .. } => Some(uid.as_str()),
        _ => None,
    };
    let workload = pinned(o).map(|p| p.uid.as_str()).or(found);
    request::governed_hash(&o.client, workload)
}

/// Whether what is asked for is something else than what an entry's client is.
pub(super) fn is_edit(o: &Observed, entry: &ClientRegistration) -> bool {
    let spec = &o.client.spec;
    request::of(spec) != entry.spec.request
        || spec.owner != entry.spec.owner
        || spec.purpose != entry.spec.purpose
        || until(o, entry.spec.first_registered_at, entry.spec.approval.as_ref()) != entry.spec.expires_at
        || entry.spec.approval.as_ref().is_some_and(|a| a.request_hash != hash(o))
}

/// When a client ends: by its lifetime, and not after the approval that it runs on.
pub(super) fn until(o: &Observed, first: DateTime<Utc>, approval: Option<&ApprovalRef>) -> DateTime<Utc> {
    let end = lifetime::expires_at(&o.client.spec.lifetime, first);
    approval.and_then(|a| a.not_after).map_or(end, |t| t.min(end))
}

/// What an entry's client runs on from now on, and until when: where it comes to be what is asked for, what allows that; else
/// what it has.
pub(super) fn grounds(
    o: &Observed,
    entry: &ClientRegistration,
    comes: bool,
    now: DateTime<Utc>,
) -> (Option<Grounds>, DateTime<Utc>) {
    let grounds = match of_asked(o, true, now) {
        Standing::Allowed(grounds) if comes => Some(grounds),
        _ => own(entry),
    };
    let until = until(o, entry.spec.first_registered_at, grounds.as_ref().and_then(|g| g.approval.as_ref()));
    (grounds, until)
}

/// What an entry's client runs on.
pub(super) fn own(entry: &ClientRegistration) -> Option<Grounds> {
    let policy = entry.spec.policy.clone()?;
    Some(Grounds { policy, approval: entry.spec.approval.clone() })
}

/// What allows what is asked for.
pub(super) fn allowed_by(o: &Observed, now: DateTime<Utc>) -> Option<Grounds> {
    match of_asked(o, false, now) {
        Standing::Allowed(grounds) => Some(grounds),
        _ => None,
    }
}

/// That a client which runs is not allowed any more, or who approved it.
pub(super) fn said(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Vec<Say> {
    let against = match of_entry(o, entry, now) {
        Standing::Allowed(_) | Standing::Unsure(_) => None,
        Standing::Waiting(why) => Some(("ApprovalMissing", why)),
        Standing::Refused(why) => Some(("NotAllowedByPolicy", why)),
        Standing::Denied(why) => Some(("Denied", why)),
    };
    let approved = entry.spec.approval.as_ref().map(|a| {
        let until = a.not_after.map_or_else(String::new, |t| format!(", until {}", t.to_rfc3339()));
        say("Approved", true, "Approved", format!("by {}: {}{until}", a.approver, a.reason))
    });
    let compliant = against.map(|(reason, why)| say("Compliant", false, reason, why));
    approved.into_iter().chain(compliant).collect()
}

/// Ends a client that is denied, or that no policy allows any more where that is to end it.
pub(super) fn end(o: &Observed, now: DateTime<Utc>) -> Option<Step> {
    o.entries.iter().filter(|e| goes_on(e)).find_map(|entry| {
        // One that was not published yet is not a running client.
        let ends = || on_violation(o, entry) == OnViolation::Revoke || entry.state().phase != Phase::Registered;
        let (reason, why) = match of_entry(o, entry, now) {
            Standing::Denied(why) => (EndReason::Denied, why),
            Standing::Refused(why) | Standing::Waiting(why) if ends() => (EndReason::PolicyViolation, why),
            Standing::Refused(_) | Standing::Waiting(_) | Standing::Unsure(_) | Standing::Allowed(_) => return None,
        };
        Some(Step::EndEntry { name: name(entry), reason, why })
    })
}

/// What its policy says now; one that was deleted, what it said when it allowed this.
fn on_violation(o: &Observed, entry: &ClientRegistration) -> OnViolation {
    let Some(recorded) = &entry.spec.policy else { return OnViolation::Warn };
    let now = o.policies.iter().find(|p| p.metadata.name.as_ref() == Some(&recorded.name));
    now.map_or(recorded.on_violation, |p| p.spec.on_violation)
}

/// What does not depend on whether it is asked for or runs.
fn of<'a>(o: &'a Observed, request: &'a RegistrationRequest) -> Asked<'a> {
    let spec = &o.client.spec;
    Asked {
        namespace: o.client.metadata.namespace.as_deref().unwrap_or_default(),
        name: client_name(o),
        namespace_labels: &o.namespace_labels,
        server: "",
        owner: &spec.owner,
        request,
        requesters: requesters(o),
        workload: None,
        rotated_every: spec.rotation.as_ref().and_then(|r| r.every.as_ref()?.get()),
        lifetime: chrono::TimeDelta::zero(),
        others: Others::default(),
    }
}

/// `own` is the approval that it runs on already.
fn standing(o: &Observed, asked: &Asked<'_>, hash: &str, own: Option<&ApprovalRef>, now: DateTime<Utc>) -> Standing {
    if let Some((policy, why)) = denied(asked, &o.policies) {
        return Standing::Denied(format!("ClientPolicy {} denies it{}: {why}", policy_name(policy), denier(policy)));
    }
    if let Some(no) = denial(&o.approvals, asked) {
        let by = no.metadata.name.as_deref().unwrap_or_default();
        return Standing::Denied(format!("ClientApproval {by} denies it, by {}: {}", no.spec.approver, no.spec.reason));
    }
    let before = o.entries.iter().rev().find_map(|e| e.spec.policy.as_ref()).map(|p| p.name.as_str());
    let by = match judge(asked, &o.policies, before) {
        Verdict::Allowed(by) => by,
        Verdict::Refused(why) => return Standing::Refused(why),
    };
    let policy = PolicyRef { name: policy_name(by).to_owned(), on_violation: by.spec.on_violation };
    if !is_needed(by, asked.request) {
        return Standing::Allowed(Grounds { policy, approval: None });
    }
    // By a clock that is wrong nothing is over, and nothing that has an end counts anew.
    let own = own.filter(|a| a.request_hash == hash && (holds(a, now) || !o.clock_trusted)).cloned();
    let covered = o.stamped_since.and_then(|since| covering(&o.approvals, asked, hash, by, since, now));
    let covered = covered.filter(|a| a.not_after.is_none() || o.clock_trusted);
    if let Some(approval) = covered.into_iter().chain(own).max_by_key(lasts) {
        return Standing::Allowed(Grounds { policy, approval: Some(approval) });
    }
    let asks = format!("ClientPolicy {} asks for an approval", policy.name);
    if may_be_covered(o, asked, hash, by, now) {
        let what = if o.clock_trusted {
            "whether the API server keeps true who asked and who approved could not be tried"
        } else {
            "the operator's clock is more than a minute off the API server's"
        };
        return Standing::Unsure(format!("{asks}, and whether it has one cannot be told now: {what}"));
    }
    let Some(since) = o.stamped_since else {
        return Standing::Waiting(format!(
            "{asks}, and none is honoured while the admission policies of deploy/governance.yaml are not in force: nobody would know who asked and who approved"
        ));
    };
    let but = set_aside(&o.approvals, asked, hash, since).map_or_else(String::new, |why| format!(". {why}"));
    Standing::Waiting(format!("{asks}{but}. {}", how_to_approve(o, hash)))
}

/// Whether somebody has said yes, as far as it can be told by a clock that is wrong, or without knowing whether it could
/// have been forged.
fn may_be_covered(o: &Observed, asked: &Asked<'_>, hash: &str, by: &ClientPolicy, now: DateTime<Utc>) -> bool {
    let ever = DateTime::<Utc>::MIN_UTC;
    let since = o.stamped_since.or_else(|| (!o.stamps_tried).then_some(ever));
    let now = if o.clock_trusted { now } else { ever };
    since.is_some_and(|since| covering(&o.approvals, asked, hash, by, since, now).is_some())
}

/// Whether an approval may come to count, or to count no more, of which nothing tells: by what the API server keeps true.
pub(super) fn hangs_on_stamps(o: &Observed) -> bool {
    asks_a_person(&o.policies) && o.stamped_since.is_none() && has_news(&o.approvals, client_name(o), &o.entries)
}

/// Whether any policy may ask for a person's yes.
pub fn asks_a_person(policies: &[ClientPolicy]) -> bool {
    policies.iter().any(|p| p.spec.approval.mode != ApprovalMode::Never)
}

/// Whether somebody has said yes to a client of this name of which none of its entries has a record.
pub fn has_news(approvals: &[ClientApproval], client: &str, entries: &[ClientRegistration]) -> bool {
    let known = |a: &ClientApproval| {
        entries.iter().filter_map(|e| e.spec.approval.as_ref()).any(|own| a.metadata.name.as_ref() == Some(&own.name))
    };
    let may_count =
        |a: &ClientApproval| a.spec.client == client && a.spec.decision == ApprovalDecision::Approved && !known(a);
    approvals.iter().any(may_count)
}

/// How a person says yes.
pub(super) fn how_to_approve(o: &Observed, hash: &str) -> String {
    let namespace = o.client.metadata.namespace.as_deref().unwrap_or_default();
    let client = client_name(o);
    let approval = serde_json::json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientApproval",
        "metadata": {"generateName": format!("{}-", client.chars().take(200).collect::<String>())},
        "spec": {
            "client": client, "authorizationServer": o.client.spec.authorization_server_ref.name, "requestHash": hash,
            "decision": "Approved", "approver": "WHO", "reason": "WHY",
        },
    });
    format!(
        "Somebody who may approve at this AuthorizationServer gives it, with their own name for WHO, by: kubectl create -n {namespace} -f - <<< '{approval}'"
    )
}

/// Everyone who asked, as the API server keeps it.
fn requesters(o: &Observed) -> Vec<&str> {
    let stamp = o.client.metadata.annotations.as_ref().and_then(|a| a.get(REQUESTED_BY_ANNOTATION));
    stamp.map(|s| s.lines().collect()).unwrap_or_default()
}

fn client_name(o: &Observed) -> &str {
    o.client.metadata.name.as_deref().unwrap_or_default()
}

/// Who wrote what a policy denies, where that is known.
fn denier(policy: &ClientPolicy) -> String {
    let stamp = policy.metadata.annotations.as_ref().and_then(|a| a.get(DENIED_BY_ANNOTATION));
    stamp.map_or_else(String::new, |who| format!(", by {}", request::cut(who)))
}

fn policy_name(policy: &ClientPolicy) -> &str {
    policy.metadata.name.as_deref().unwrap_or_default()
}
