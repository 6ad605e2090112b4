//! What policies say to an object, and to the clients that it has.

use chrono::{DateTime, Utc};

use super::serving::{goes_on, name};
use super::{Observed, Step, first_registered_at};
use crate::api::{ClientPolicy, ClientRegistration, EndReason, OnViolation, Phase, PolicyRef, RegistrationRequest};
use crate::domain::conditions::{Say, say};
use crate::domain::policy::{Asked, Others, Verdict, denied, judge};
use crate::domain::{lifetime, request};

/// What policies say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// This one allows it.
    Allowed(PolicyRef),
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
    let until = lifetime::expires_at(&spec.lifetime, first);
    // One that lives is counted already.
    let others = if runs { Others::default() } else { o.others };
    let asked = Asked {
        server: &spec.authorization_server_ref.name,
        owner: &spec.owner,
        workload: spec.workload_ref.as_ref(),
        lifetime: until - first,
        others,
        ..of(o, &wanted)
    };
    standing(o, &asked)
}

/// What they say to what an entry's client is.
fn of_entry(o: &Observed, entry: &ClientRegistration) -> Standing {
    let spec = &entry.spec;
    let asked = Asked {
        server: &spec.server.name,
        owner: &spec.owner,
        workload: spec.workload.as_ref().map(|w| &w.reference),
        lifetime: spec.expires_at - spec.first_registered_at,
        ..of(o, &spec.request)
    };
    standing(o, &asked)
}

/// Whether what is asked for is something else than what an entry's client is.
pub(super) fn is_edit(o: &Observed, entry: &ClientRegistration) -> bool {
    let spec = &o.client.spec;
    request::of(spec) != entry.spec.request
        || spec.owner != entry.spec.owner
        || lifetime::expires_at(&spec.lifetime, entry.spec.first_registered_at) != entry.spec.expires_at
}

/// That a client which runs is not allowed any more; nothing where it is.
pub(super) fn compliant(o: &Observed, entry: &ClientRegistration) -> Option<Say> {
    match of_entry(o, entry) {
        Standing::Allowed(_) => None,
        Standing::Refused(why) => Some(say("Compliant", false, "NotAllowedByPolicy", why)),
        Standing::Denied(why) => Some(say("Compliant", false, "Denied", why)),
    }
}

/// The policy that allows what is asked for.
pub(super) fn policy(o: &Observed, runs: bool, now: DateTime<Utc>) -> Option<PolicyRef> {
    match of_asked(o, runs, now) {
        Standing::Allowed(by) => Some(by),
        Standing::Refused(_) | Standing::Denied(_) => None,
    }
}

/// The policy that an entry's client runs on from now on, where that is another one than is on record.
pub(super) fn moved(o: &Observed, entry: &ClientRegistration) -> Option<PolicyRef> {
    match of_entry(o, entry) {
        Standing::Allowed(by) if entry.spec.policy.as_ref() != Some(&by) => Some(by),
        _ => None,
    }
}

/// Ends a client that is denied, or that no policy allows any more where that is to end it.
pub(super) fn end(o: &Observed) -> Option<Step> {
    o.entries.iter().filter(|e| goes_on(e)).find_map(|entry| {
        let (reason, why) = match of_entry(o, entry) {
            Standing::Denied(why) => (EndReason::Denied, why),
            // One that was not published yet is not a running client.
            Standing::Refused(why)
                if on_violation(o, entry) == OnViolation::Revoke || entry.state().phase != Phase::Registered =>
            {
                (EndReason::PolicyViolation, why)
            }
            Standing::Refused(_) | Standing::Allowed(_) => return None,
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
        name: o.client.metadata.name.as_deref().unwrap_or_default(),
        namespace_labels: &o.namespace_labels,
        server: "",
        owner: &spec.owner,
        request,
        audiences: &spec.audiences,
        workload: None,
        rotated_every: spec.rotation.as_ref().and_then(|r| r.every.as_ref()?.get()),
        lifetime: chrono::TimeDelta::zero(),
        others: Others::default(),
    }
}

fn standing(o: &Observed, asked: &Asked<'_>) -> Standing {
    if let Some((policy, why)) = denied(asked, &o.policies) {
        return Standing::Denied(format!("ClientPolicy {} denies it: {why}", policy_name(policy)));
    }
    let before = o.entries.iter().rev().find_map(|e| e.spec.policy.as_ref()).map(|p| p.name.as_str());
    match judge(asked, &o.policies, before) {
        Verdict::Allowed(by) => {
            Standing::Allowed(PolicyRef { name: policy_name(by).to_owned(), on_violation: by.spec.on_violation })
        }
        Verdict::Refused(why) => Standing::Refused(why),
    }
}

fn policy_name(policy: &ClientPolicy) -> &str {
    policy.metadata.name.as_deref().unwrap_or_default()
}
