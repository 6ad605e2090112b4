//! What policies and approvals have follow for an object.

use super::super::governed::hash as request_hash;
use super::*;
use crate::api::{ClientApproval, DENIED_BY_ANNOTATION, REQUESTED_BY_ANNOTATION};

const TOM: &str = "tom@corp.example";
const ANNA: &str = "anna@corp.example";

/// An object that Tom asked for, of a policy with these members besides.
fn asked(of_policy: &Value) -> Observed {
    let mut o = observed();
    o.client.metadata.annotations = Some([(REQUESTED_BY_ANNOTATION.to_owned(), TOM.to_owned())].into());
    governed_by(&mut o, of_policy);
    o
}

fn governed_by(o: &mut Observed, members: &Value) {
    let mut spec = serde_json::to_value(&policy().spec).unwrap();
    for (key, value) in members.as_object().unwrap() {
        spec[key] = value.clone();
    }
    o.policies[0].spec = serde_json::from_value(spec).unwrap();
}

fn always() -> Value {
    json!({"approval": {"mode": "Always"}})
}

/// Anna's decision about what is asked now, a minute old, with these members instead.
fn decision(o: &Observed, change: &Value) -> ClientApproval {
    let mut spec = json!({
        "client": "export", "authorizationServer": "corp", "requestHash": request_hash(o), "decision": "Approved",
        "approver": ANNA, "reason": "TICKET-1",
    });
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientApproval",
        "metadata": {"name": "yes", "namespace": "team", "creationTimestamp": now() - TimeDelta::minutes(1)},
        "spec": spec,
    }))
    .unwrap()
}

#[rstest]
#[case::exactly_this(json!({}), "create 1")]
#[case::another_hash(json!({"requestHash": format!("v1:sha256:{}", "0".repeat(64))}), "Wait")]
#[case::another_client(json!({"client": "import"}), "Wait")]
#[case::another_server(json!({"authorizationServer": "other"}), "Wait")]
#[case::over(json!({"notAfter": now()}), "Wait")]
#[case::not_over_yet(json!({"notAfter": now() + TimeDelta::seconds(1)}), "create 1")]
#[case::by_who_asked(json!({"approver": TOM}), "Wait")]
#[case::a_denial(json!({"decision": "Denied"}), "Wait")]
fn an_approval_is_of_exactly_this(#[case] change: Value, #[case] follows: &str) {
    let mut o = asked(&always());
    o.approvals = vec![decision(&o, &change)];
    assert_eq!(brief(&decide(&o, now()).step), follows);
}

#[rstest]
#[case::purpose(|o: &mut Observed| o.client.spec.purpose = "another".into())]
#[case::scopes(|o: &mut Observed| o.client.spec.scopes.push("b".into()))]
#[case::owner(|o: &mut Observed| o.client.spec.owner.team = "other".into())]
#[case::lifetime(|o: &mut Observed| o.client.spec.lifetime.expires_at = Some(now() + TimeDelta::hours(2)))]
#[case::made_anew(|o: &mut Observed| o.client.metadata.uid = Some("another".into()))]
#[case::another_asked_as_well(|o: &mut Observed| {
    o.client.metadata.annotations.as_mut().unwrap().insert(REQUESTED_BY_ANNOTATION.into(), format!("{TOM}\ntina"));
})]
fn whatever_becomes_another_needs_another_yes(#[case] change: fn(&mut Observed)) {
    let mut o = asked(&always());
    o.approvals = vec![decision(&o, &json!({}))];
    change(&mut o);
    let d = decide(&o, now());
    assert_eq!(brief(&d.step), "Wait");
    assert_eq!(condition(&d, "Approved"), Some(("False".into(), "ApprovalPending".into())));
}

#[test]
fn none_counts_from_before_stamps_were_kept() {
    let mut o = asked(&always());
    o.approvals = vec![decision(&o, &json!({}))];
    o.stamped_since = Some(now() - TimeDelta::seconds(59));
    let d = decide(&o, now());
    assert_eq!(brief(&d.step), "Wait");
    assert!(d.status.unwrap().message.unwrap().contains("may be forged"));
    o.stamped_since = None;
    let d = decide(&o, now());
    assert!(d.status.as_ref().unwrap().message.as_ref().unwrap().contains("are not in force"), "{d:?}");
    assert_eq!(d.requeue_at, Some(now() + LOOK_AGAIN), "nothing tells when they are");
}

#[test]
fn no_client_outlives_what_it_runs_on() {
    let mut o = asked(&always());
    let soon = now() + TimeDelta::minutes(10);
    o.approvals = vec![decision(&o, &json!({"notAfter": soon}))];
    let Step::CreateEntry { expires_at, grounds: Some(grounds), .. } = decide(&o, now()).step else { panic!() };
    assert_eq!((expires_at, grounds.approval.unwrap().not_after), (soon, Some(soon)));
    // The policy's own bound, from when it was given.
    governed_by(&mut o, &json!({"approval": {"mode": "Always", "maxValidity": "5m"}}));
    let Step::CreateEntry { expires_at, .. } = decide(&o, now()).step else { panic!() };
    assert_eq!(expires_at, now() + TimeDelta::minutes(4));
    // Of two, the one that holds longest.
    let mut longer = decision(&o, &json!({}));
    longer.metadata.name = Some("longer".into());
    longer.metadata.creation_timestamp = serde_json::from_value(json!(now() - TimeDelta::seconds(10))).unwrap();
    o.approvals.push(longer);
    let Step::CreateEntry { grounds: Some(grounds), .. } = decide(&o, now()).step else { panic!() };
    assert_eq!(grounds.approval.unwrap().name, "longer");
}

#[test]
fn who_denied_is_in_the_ledger() {
    let mut o = ready();
    o.policies[0].spec.deny =
        serde_json::from_value(json!({"clients": ["team/export"], "reason": "INC-7: leaked"})).unwrap();
    let why = |o: &Observed| match decide(o, now()).step {
        Step::EndEntry { reason: EndReason::Denied, why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(&o), "ClientPolicy all denies it: INC-7: leaked");
    o.policies[0].metadata.annotations = Some([(DENIED_BY_ANNOTATION.to_owned(), ANNA.to_owned())].into());
    assert_eq!(why(&o), "ClientPolicy all denies it, by anna@corp.example: INC-7: leaked");
}

#[test]
fn an_end_is_announced_with_what_extends_it() {
    let mut o = ready();
    // 65 minutes from first to last: announced six and a half before the end.
    let announced = now() + TimeDelta::hours(1) - TimeDelta::seconds(390);
    let d = decide(&o, now());
    assert_eq!((condition(&d, "Ending"), d.requeue_at), (None, Some(announced)));
    let d = decide(&o, announced);
    assert_eq!(condition(&d, "Ending"), Some(("True".into(), "LifetimeEnds".into())));
    assert_eq!(d.requeue_at, Some(now() + TimeDelta::hours(1)));
    o.clock_trusted = false;
    assert_eq!(condition(&decide(&o, announced), "Ending"), None, "by a clock that is not to be believed");
    // What it runs on ends first: another approval of the same extends it.
    let mut o = asked(&always());
    let end = now() + TimeDelta::minutes(1);
    o.client.spec.lifetime.expires_at = Some(now() + TimeDelta::hours(1));
    o.approvals = vec![decision(&o, &json!({"notAfter": end}))];
    let Step::CreateEntry { grounds: Some(grounds), .. } = decide(&o, now()).step else { panic!() };
    let mut e = entry(&o, 1, Phase::Registered);
    (e.spec.policy, e.spec.approval, e.spec.expires_at) = (Some(grounds.policy), grounds.approval, end);
    o.entries = vec![e];
    o.client.status = Some(OAuthClientStatus { attempts: Some(1), ..OAuthClientStatus::default() });
    o.secret = Published::UpToDate;
    let d = decide(&o, end - TimeDelta::seconds(10));
    assert_eq!(condition(&d, "Ending"), Some(("True".into(), "ApprovalEnds".into())), "{d:?}");
    let status = d.status.unwrap();
    let says = &status.conditions.iter().find(|c| c.type_ == "Ending").unwrap().message;
    assert!(says.contains("the approval that it runs on, yes, ends at") && says.contains("kubectl create"), "{says}");
}

#[test]
fn it_is_durable_or_ephemeral_by_its_first_registration() {
    let shown = |o: &Observed| decide(o, now()).status.unwrap().durability.unwrap().as_str();
    let mut o = ready();
    assert_eq!(shown(&o), "Ephemeral");
    for (first, expected) in [(TimeDelta::hours(22), "Ephemeral"), (TimeDelta::hours(24), "Durable")] {
        o.entries[0].spec.first_registered_at = now() - first;
        assert_eq!(shown(&o), expected, "an hour is left of it");
    }
    let mut o = observed();
    o.server = None;
    o.client.spec.lifetime.expires_at = Some(now() + TimeDelta::days(2));
    assert_eq!(shown(&o), "Durable", "also while it waits");
}
