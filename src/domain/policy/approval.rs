//! A person's yes or no.

use chrono::{DateTime, Utc};

use super::{Asked, pattern};
use crate::api::{
    ApprovalDecision, ApprovalMode, ApprovalRef, ClientApproval, ClientPolicy, RegistrationRequest, Span,
};

/// Whether a policy asks for a person's yes as well.
pub fn is_needed(policy: &ClientPolicy, request: &RegistrationRequest) -> bool {
    let approval = &policy.spec.approval;
    match approval.mode {
        ApprovalMode::Never => false,
        ApprovalMode::Always => true,
        ApprovalMode::WhenScopes => {
            request.scopes.iter().any(|s| approval.scopes.iter().any(|p| pattern::matches(p, s)))
        }
    }
}

/// The approval of exactly this that holds longest, by somebody who did not ask for it, given `since` approvals could not
/// be forged any more; `None` where there is none, or it is over.
pub fn covering(
    approvals: &[ClientApproval],
    asked: &Asked<'_>,
    hash: &str,
    policy: &ClientPolicy,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<ApprovalRef> {
    let most = policy.spec.approval.max_validity.as_ref().and_then(Span::delta);
    let all = of_this(approvals, asked, hash).filter(|a| !asked.requesters.contains(&a.spec.approver.as_str()));
    let held = all.filter_map(|a| {
        let approved_at = given(a).filter(|at| *at > since)?;
        let longest = most.map(|m| approved_at + m);
        let not_after = [a.spec.not_after, longest].into_iter().flatten().min();
        Some(ApprovalRef {
            name: a.metadata.name.clone()?,
            request_hash: hash.to_owned(),
            approver: a.spec.approver.clone(),
            reason: a.spec.reason.clone(),
            approved_at,
            not_after,
        })
    });
    held.filter(|a| holds(a, now)).max_by_key(lasts)
}

/// Why the last approval of exactly this does not count, where there is one.
pub fn set_aside(approvals: &[ClientApproval], asked: &Asked<'_>, hash: &str, since: DateTime<Utc>) -> Option<String> {
    let last = of_this(approvals, asked, hash).max_by_key(|a| given(a))?;
    let (name, approver) = (last.metadata.name.as_deref().unwrap_or_default(), &last.spec.approver);
    let why = if asked.requesters.contains(&approver.as_str()) {
        format!("{approver} is among those who asked")
    } else if given(last).is_none_or(|at| at <= since) {
        "it was given before the admission policies of deploy/governance.yaml were last changed, and may be forged"
            .into()
    } else {
        "it is over".into()
    };
    Some(format!("ClientApproval {name} does not count: {why}"))
}

/// The approvals of exactly this.
fn of_this<'a>(
    approvals: &'a [ClientApproval],
    asked: &Asked<'_>,
    hash: &str,
) -> impl Iterator<Item = &'a ClientApproval> {
    approvals.iter().filter(move |a| {
        is_about(a, asked)
            && a.spec.decision == ApprovalDecision::Approved
            && a.spec.request_hash.as_deref() == Some(hash)
    })
}

/// Whether an approval is not over yet.
pub fn holds(approval: &ApprovalRef, now: DateTime<Utc>) -> bool {
    approval.not_after.is_none_or(|t| now < t)
}

/// How long an approval holds, for comparing; of those that hold alike, the one that comes first by name.
pub fn lasts(approval: &ApprovalRef) -> (DateTime<Utc>, std::cmp::Reverse<String>) {
    (approval.not_after.unwrap_or(DateTime::<Utc>::MAX_UTC), std::cmp::Reverse(approval.name.clone()))
}

/// A denial of a client, whatever it asks for.
pub fn denial<'a>(approvals: &'a [ClientApproval], asked: &Asked<'_>) -> Option<&'a ClientApproval> {
    let of = |a: &&ClientApproval| a.spec.decision == ApprovalDecision::Denied && is_about(a, asked);
    approvals.iter().filter(of).min_by_key(|a| a.metadata.name.clone())
}

/// Whether a decision is about this client, at this server.
fn is_about(approval: &ClientApproval, asked: &Asked<'_>) -> bool {
    approval.spec.client == asked.name && approval.spec.authorization_server == asked.server
}

/// When it was given: when the API server made the object.
fn given(approval: &ClientApproval) -> Option<DateTime<Utc>> {
    let made = approval.metadata.creation_timestamp.as_ref()?;
    DateTime::from_timestamp(made.0.as_second(), 0)
}
