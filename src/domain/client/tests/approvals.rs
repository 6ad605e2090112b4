//! What policies and approvals say to clients that run, and to what was begun.

use super::super::governed::hash as request_hash;
use super::*;
use crate::api::{ApprovalMode, ApprovalRef, ClientApproval, OnViolation, TokenEndpointAuthMethod};

/// A policy that asks for an approval, and ends what has none.
fn asks(o: &mut Observed) {
    o.policies[0].spec.approval.mode = ApprovalMode::Always;
    o.policies[0].spec.on_violation = OnViolation::Revoke;
    for entry in &mut o.entries {
        entry.spec.policy.as_mut().unwrap().on_violation = OnViolation::Revoke;
    }
}

/// Somebody approves what the object asks for now.
fn approve(o: &mut Observed, minutes: i64) -> ApprovalRef {
    let at = now() + TimeDelta::minutes(minutes);
    let approval: ClientApproval = serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientApproval",
        "metadata": {
            "name": format!("a{minutes}"), "creationTimestamp": (now() - TimeDelta::minutes(5)).to_rfc3339(),
        },
        "spec": {
            "client": "export", "authorizationServer": "corp", "requestHash": request_hash(o),
            "decision": "Approved", "approver": "carol", "reason": "why", "notAfter": at,
        },
    }))
    .unwrap();
    o.approvals.push(approval);
    ApprovalRef {
        name: format!("a{minutes}"),
        request_hash: request_hash(o),
        approver: "carol".into(),
        reason: "why".into(),
        approved_at: now() - TimeDelta::minutes(5),
        not_after: Some(at),
    }
}

/// What an update of an entry gives it to run on, and until when.
fn updated(step: &Step) -> (bool, Option<String>, DateTime<Utc>) {
    let Step::UpdateEntry { whole, grounds, expires_at, .. } = step else { panic!("{step:?}") };
    (*whole, grounds.as_ref().and_then(|g| g.approval.as_ref()).map(|a| a.name.clone()), *expires_at)
}

#[test]
fn what_was_begun_and_is_edited_runs_on_the_approval_of_the_edit() {
    let mut o = observed();
    asks(&mut o);
    let mut begun = entry(&o, 1, Phase::Pending);
    begun.spec.approval = Some(approve(&mut o, 50));
    o.entries.push(begun);
    o.client.status = Some(OAuthClientStatus { attempts: Some(1), ..OAuthClientStatus::default() });
    o.client.spec.scopes = vec!["b".into()];
    edited(&mut o);
    let ten = approve(&mut o, 10).not_after.unwrap();
    assert_eq!(updated(&decide(&o, now()).step), (true, Some("a10".into()), ten));
}

#[test]
fn what_is_to_be_replaced_runs_on_the_approval_of_what_it_is() {
    let mut o = ready();
    asks(&mut o);
    let five = approve(&mut o, 5);
    let serving = o.entries.last_mut().unwrap();
    (serving.spec.expires_at, serving.spec.approval) = (five.not_after.unwrap(), Some(five.clone()));
    o.client.spec.token_endpoint_auth_method = TokenEndpointAuthMethod::ClientSecretPost;
    edited(&mut o);
    approve(&mut o, 50);
    assert_eq!(updated(&decide(&o, now()).step), (false, Some("a5".into()), five.not_after.unwrap()));
}

#[test]
fn by_a_clock_that_is_wrong_no_approval_is_over_and_none_is_taken_up() {
    let mut o = ready();
    asks(&mut o);
    let five = approve(&mut o, 5);
    o.clock_trusted = false;
    let later = now() + TimeDelta::hours(2);
    assert_eq!(decide(&o, later).step, Step::Wait, "nobody knows whether it is over");
    assert_eq!(decide(&o, now() - TimeDelta::hours(2)).step, Step::Wait, "nor whether it holds");
    let serving = o.entries.last_mut().unwrap();
    (serving.spec.expires_at, serving.spec.approval) = (five.not_after.unwrap(), Some(five));
    assert_eq!(decide(&o, later).step, Step::Wait, "what it runs on");
    o.clock_trusted = true;
    o.client.spec.scopes = vec!["b".into()];
    o.entries.last_mut().unwrap().spec.approval = None;
    assert_eq!(brief(&decide(&o, now()).step), "end e1", "nobody has approved it");
}

#[test]
fn nothing_is_ended_because_it_could_not_be_tried_whether_the_stamps_are_kept() {
    let mut o = ready();
    asks(&mut o);
    (o.stamped_since, o.stamps_tried) = (None, false);
    assert_eq!(brief(&decide(&o, now()).step), "end e1", "there is no approval, forged or not");
    approve(&mut o, 50);
    let d = decide(&o, now());
    assert_eq!((d.step, d.requeue_at), (Step::Wait, Some(now() + TimeDelta::seconds(15))));
    o.stamps_tried = true;
    assert_eq!(brief(&decide(&o, now()).step), "end e1", "it may be forged");
}

#[test]
fn what_hangs_on_the_stamps_is_looked_at_again() {
    let mut o = revoked(EndReason::Expired);
    asks(&mut o);
    o.stamped_since = None;
    approve(&mut o, 50);
    let d = decide(&o, now());
    assert_eq!((d.step, d.requeue_at), (Step::Wait, Some(now() + TimeDelta::seconds(15))));
}

#[test]
fn a_replacement_that_policies_ended_is_begun_anew_once_they_allow_it() {
    let o = replacing(|o| {
        let newer = o.entries.last_mut().unwrap().status.as_mut().unwrap();
        newer.phase = Phase::Cancelled;
        newer.end = Some(End { reason: EndReason::PolicyViolation, message: "no".into(), at: now() });
    });
    assert_eq!(brief(&decide(&o, now()).step), "create 3");
}

#[test]
fn what_was_begun_is_taken_back_when_an_edit_waits_for_a_person() {
    let mut o = observed();
    o.policies[0].spec.approval.mode = ApprovalMode::WhenScopes;
    o.policies[0].spec.approval.scopes = vec!["b".into()];
    o.entries = vec![entry(&o, 1, Phase::Pending)];
    o.client.status = Some(OAuthClientStatus { attempts: Some(1), ..OAuthClientStatus::default() });
    o.client.spec.scopes = vec!["b".into()];
    edited(&mut o);
    assert_eq!(brief(&decide(&o, now()).step), "end e1");
    state(&mut o).attempted_at = Some(now());
    assert_eq!(brief(&decide(&o, now()).step), "Wait", "the server may have heard of it");
}
