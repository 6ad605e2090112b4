use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::OAuthClient;
use crate::domain::request;

/// What most cases start from: allowed by [`policy`].
fn client(change: &Value) -> OAuthClient {
    let mut spec = json!({
        "authorizationServerRef": {"name": "corp"},
        "owner": {"team": "data", "email": "data@corp.example"},
        "purpose": "export",
        "scopes": ["reports.read"],
        "lifetime": {"ttl": "1h"},
    });
    json_patch::merge(&mut spec, change);
    serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1",
        "kind": "OAuthClient",
        "metadata": {"name": "c", "namespace": "team-data"},
        "spec": spec,
    }))
    .expect("an OAuthClient")
}

fn policy(change: &Value) -> ClientPolicy {
    let mut spec = json!({
        "appliesTo": {"namespaces": {"names": ["team-data"]}, "authorizationServers": ["corp"]},
        "allow": {
            "ownerEmails": ["*@corp.example"],
            "scopes": ["reports.*"],
            "grantTypes": ["client_credentials"],
            "tokenEndpointAuthMethods": ["client_secret_basic"],
        },
    });
    json_patch::merge(&mut spec, change);
    serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1",
        "kind": "ClientPolicy",
        "metadata": {"name": "p"},
        "spec": spec,
    }))
    .expect("a ClientPolicy")
}

fn labels() -> BTreeMap<String, String> {
    [("oauthclient.dev/owner-team".to_owned(), "data".to_owned())].into()
}

/// What policies say to a request.
fn judged<'a>(
    client: &OAuthClient,
    policies: &'a [ClientPolicy],
    lifetime: TimeDelta,
    others: Others,
    before: Option<&str>,
) -> Verdict<'a> {
    let labels = labels();
    judge(&asked(client, &request::of(&client.spec), &labels, lifetime, others), policies, before)
}

fn asked<'a>(
    client: &'a OAuthClient,
    request: &'a RegistrationRequest,
    labels: &'a BTreeMap<String, String>,
    lifetime: TimeDelta,
    others: Others,
) -> Asked<'a> {
    let spec = &client.spec;
    Asked {
        namespace: "team-data",
        name: "c",
        namespace_labels: labels,
        server: &spec.authorization_server_ref.name,
        owner: &spec.owner,
        request,
        requesters: Vec::new(),
        workload: spec.workload_ref.as_ref(),
        rotated_every: spec.rotation.as_ref().and_then(|r| r.every.as_ref()?.get()),
        lifetime,
        others,
    }
}

/// What one policy says to a request; the empty text is yes.
fn said(client: &OAuthClient, policy: &ClientPolicy, lifetime: TimeDelta, others: Others) -> String {
    match judged(client, std::slice::from_ref(policy), lifetime, others, None) {
        Verdict::Allowed(_) => String::new(),
        Verdict::Refused(why) => why,
    }
}

const NONE: Value = Value::Null;

#[rstest]
#[case::allowed(NONE, NONE, "")]
#[case::every_namespace(NONE, json!({"appliesTo": {"namespaces": {"names": ["*"]}}}), "")]
#[case::by_label(NONE, json!({"appliesTo": {"namespaces": {"names": [], "matchLabels": {"oauthclient.dev/owner-team": "data"}}}}), "")]
#[case::any_server(NONE, json!({"appliesTo": {"authorizationServers": ["*"]}}), "")]
#[case::another_namespace(NONE, json!({"appliesTo": {"namespaces": {"names": ["other"]}}}), "no ClientPolicy is about namespace team-data and AuthorizationServer corp")]
#[case::another_server(NONE, json!({"appliesTo": {"authorizationServers": ["other"]}}), "no ClientPolicy is about")]
#[case::about_nothing(NONE, json!({"appliesTo": null}), "no ClientPolicy is about")]
#[case::owner(json!({"owner": {"email": "data@evil.example"}}), NONE, "owner data@evil.example is not in allow.ownerEmails (*@corp.example)")]
#[case::scope(json!({"scopes": ["reports.read", "admin"]}), NONE, "p: scope admin is not in allow.scopes (reports.*)")]
#[case::nothing_is_allowed_by_default(NONE, json!({"allow": null}), "scope reports.read is not in allow.scopes, which is empty")]
#[case::grant(json!({"grantTypes": ["client_credentials", "refresh_token"]}), NONE, "grant type refresh_token is not in allow.grantTypes (client_credentials)")]
#[case::method(json!({"tokenEndpointAuthMethod": "client_secret_post"}), NONE, "tokenEndpointAuthMethod client_secret_post is not in allow.tokenEndpointAuthMethods (client_secret_basic)")]
#[case::audience(json!({"audiences": ["https://api.example"]}), NONE, "audience https://api.example is not in allow.audiences, which is empty")]
#[case::redirect(json!({"redirectUris": ["https://evil.example/cb"]}), json!({"allow": {"redirectUris": ["https://*.corp.example/*"]}}), "redirect URI https://evil.example/cb is not in allow.redirectUris (https://*.corp.example/*)")]
#[case::workload(json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "j"}}), json!({"allow": {"workloadKinds": ["batch/v1/*"]}}), "")]
#[case::workload_kind(json!({"workloadRef": {"apiVersion": "v1", "kind": "Pod", "name": "j"}}), json!({"allow": {"workloadKinds": ["batch/v1/Job"]}}), "workload kind v1/Pod is not in allow.workloadKinds (batch/v1/Job)")]
#[case::short_enough(NONE, json!({"limits": {"maxLifetime": "1h"}}), "")]
#[case::too_long(NONE, json!({"limits": {"maxLifetime": "59m"}}), "longer than limits.maxLifetime 59m")]
#[case::workload_missing(NONE, json!({"require": {"workloadRef": true}}), "require.workloadRef: there is no workloadRef")]
#[case::rotation_missing(NONE, json!({"require": {"rotation": "720h"}}), "require.rotation: rotation.every must be at most 720h")]
#[case::rotation_by_hand_only(json!({"rotation": {}}), json!({"require": {"rotation": "720h"}}), "require.rotation")]
#[case::rotation_seldom(json!({"rotation": {"every": "721h"}}), json!({"require": {"rotation": "720h"}}), "require.rotation")]
#[case::rotation(json!({"rotation": {"every": "24h"}}), json!({"require": {"rotation": "720h"}}), "")]
#[case::label(NONE, json!({"require": {"ownerMatchesNamespaceLabel": "oauthclient.dev/owner-team"}}), "")]
#[case::label_of_another_team(json!({"owner": {"team": "sales"}}), json!({"require": {"ownerMatchesNamespaceLabel": "oauthclient.dev/owner-team"}}), "owner.team is sales, and the namespace's label oauthclient.dev/owner-team says data")]
#[case::no_label(NONE, json!({"require": {"ownerMatchesNamespaceLabel": "oauthclient.dev/other"}}), "the namespace has no label oauthclient.dev/other")]
#[case::method_required(NONE, json!({"require": {"tokenEndpointAuthMethod": "private_key_jwt"}}), "require.tokenEndpointAuthMethod: it must be private_key_jwt")]
fn one_policy(#[case] asked: Value, #[case] of: Value, #[case] says: &str) {
    let (asked, of) = (if asked.is_null() { json!({}) } else { asked }, if of.is_null() { json!({}) } else { of });
    let said = said(&client(&asked), &policy(&of), TimeDelta::hours(1), Others::default());
    assert!(said.contains(says) && said.is_empty() == says.is_empty(), "{said}");
}

#[rstest]
#[case(9, 0, true)]
#[case(10, 0, false)]
#[case(0, 4, true)]
#[case(0, 5, false)]
fn counts(#[case] in_namespace: u32, #[case] of_owner: u32, #[case] allowed: bool) {
    let policy = policy(&json!({"limits": {"maxClientsPerNamespace": 10, "maxClientsPerOwner": 5}}));
    let said = said(&client(&json!({})), &policy, TimeDelta::hours(1), Others { in_namespace, of_owner });
    assert_eq!(said.is_empty(), allowed, "{said}");
}

#[test]
fn one_policy_must_allow_the_whole() {
    let mut more = policy(&json!({"allow": {"scopes": ["admin"]}}));
    more.metadata.name = Some("q".into());
    let client = client(&json!({"scopes": ["reports.read", "admin"]}));
    let policies = [more, policy(&json!({}))];
    let Verdict::Refused(why) = judged(&client, &policies, TimeDelta::hours(1), Others::default(), None) else {
        panic!("two halves are no whole")
    };
    assert!(why.contains("p: scope admin") && why.contains("q: scope reports.read"), "{why}");
}

#[test]
fn the_same_policy_is_taken_every_time() {
    let mut second = policy(&json!({}));
    second.metadata.name = Some("a".into());
    let policies = [policy(&json!({})), second];
    let client = client(&json!({}));
    let taken = |before| judged(&client, &policies, TimeDelta::hours(1), Others::default(), before);
    assert_eq!(taken(None), Verdict::Allowed(&policies[1]), "the first by name");
    assert_eq!(taken(Some("p")), Verdict::Allowed(&policies[0]), "the one that it runs on");
    assert_eq!(taken(Some("gone")), Verdict::Allowed(&policies[1]));
}

#[rstest]
#[case(json!({"all": true}), true)]
#[case(json!({"clients": ["team-data/c"]}), true)]
#[case(json!({"clients": ["*/c"]}), true)]
#[case(json!({"clients": ["team-*/other", "c/team-data"]}), false)]
#[case(json!({"owners": ["*@corp.example"]}), true)]
#[case(json!({"owners": ["*@evil.example"]}), false)]
#[case(json!({"namespaces": ["team-data"]}), true)]
#[case(json!({"namespaces": ["team"]}), false)]
#[case(json!({"authorizationServers": ["corp"]}), true)]
#[case(json!({"authorizationServers": ["other"]}), false)]
fn denials(#[case] mut deny: Value, #[case] denies: bool) {
    deny["reason"] = json!("INCIDENT-7");
    let (client, labels) = (client(&json!({})), labels());
    let request = request::of(&client.spec);
    let asked = asked(&client, &request, &labels, TimeDelta::hours(1), Others::default());
    // Wherever else it is about.
    let policies = [policy(&json!({})), policy(&json!({"appliesTo": null, "deny": deny}))];
    assert_eq!(denied(&asked, &policies).map(|(_, why)| why), denies.then_some("INCIDENT-7"));
}

fn words() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(vec!["a", "a.read", "a.write", "b", "b.read", "*"]);
    prop::collection::btree_set(word, 0..4).prop_map(|all| all.into_iter().map(ToOwned::to_owned).collect())
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(vec!["a", "a.*", "*.read", "*.write", "b", "*"]);
    prop::collection::btree_set(word, 0..4).prop_map(|all| all.into_iter().map(ToOwned::to_owned).collect())
}

fn uris() -> impl Strategy<Value = Vec<String>> {
    let uri = prop::sample::select(vec![
        "https://a.corp.example/cb",
        "https://a.corp.example/cb/x",
        "https://b.corp.example/",
        "https://evil.example/?.corp.example/",
        "http://127.0.0.1:8000/cb",
    ]);
    prop::collection::btree_set(uri, 0..3).prop_map(|all| all.into_iter().map(ToOwned::to_owned).collect())
}

fn uri_patterns() -> impl Strategy<Value = Vec<String>> {
    let uri = prop::sample::select(vec![
        "https://*.corp.example/*",
        "https://a.corp.example/cb",
        "https://a.corp.example/cb/*",
        "http://127.0.0.1:*/cb",
        "*",
    ]);
    prop::collection::btree_set(uri, 0..3).prop_map(|all| all.into_iter().map(ToOwned::to_owned).collect())
}

proptest! {
    /// Granting more in a policy never refuses what was allowed, in any field.
    #[test]
    fn granting_more_refuses_nothing(
        scopes in words(), audiences in words(), redirects in uris(),
        allowed in (patterns(), patterns(), uri_patterns()), more in (patterns(), patterns(), uri_patterns()),
        minutes in 1_i64..120, most in 1_u32..120, longer in 0_u32..120, others in 0_u32..5, count in 0_u32..5,
        required: bool,
    ) {
        let client = client(&json!({"scopes": scopes, "audiences": audiences, "redirectUris": redirects}));
        let (life, others) = (TimeDelta::minutes(minutes), Others { in_namespace: others, of_owner: others });
        let narrow = policy(&json!({
            "allow": {"scopes": allowed.0, "audiences": allowed.1, "redirectUris": allowed.2},
            "limits": {"maxLifetime": format!("{most}m"), "maxClientsPerNamespace": count},
            "require": {"workloadRef": required},
        }));
        let both = |a: &[String], b: &[String]| a.iter().chain(b).cloned().collect::<Vec<_>>();
        let wide = policy(&json!({
            "allow": {
                "scopes": both(&allowed.0, &more.0),
                "audiences": both(&allowed.1, &more.1),
                "redirectUris": both(&allowed.2, &more.2),
                "ownerEmails": ["*@corp.example", "*"],
                "workloadKinds": ["batch/v1/Job"],
            },
            "limits": {"maxLifetime": format!("{}m", most + longer), "maxClientsPerNamespace": count + 1},
        }));
        if said(&client, &narrow, life, others).is_empty() {
            prop_assert_eq!(said(&client, &wide, life, others), "");
        }
    }

    /// Widening a request never allows what was refused, in any field.
    #[test]
    fn asking_for_more_allows_nothing(
        scopes in words(), audiences in words(), redirects in uris(), more in (words(), words(), uris()),
        allowed in (patterns(), patterns(), uri_patterns()), minutes in 1_i64..120, longer in 0_i64..120, most in 1_u32..120,
        others in 0_u32..5, count in 0_u32..5,
    ) {
        let policy = policy(&json!({
            "allow": {"scopes": allowed.0, "audiences": allowed.1, "redirectUris": allowed.2},
            "limits": {"maxLifetime": format!("{most}m"), "maxClientsPerOwner": count},
        }));
        let both = |a: &[String], b: &[String]| a.iter().chain(b).cloned().collect::<Vec<_>>();
        let little = client(&json!({"scopes": scopes, "audiences": audiences, "redirectUris": redirects}));
        let much = client(&json!({
            "scopes": both(&scopes, &more.0),
            "audiences": both(&audiences, &more.1),
            "redirectUris": both(&redirects, &more.2),
        }));
        let few = Others { in_namespace: 0, of_owner: others };
        let many = Others { in_namespace: 0, of_owner: others + 1 };
        if !said(&little, &policy, TimeDelta::minutes(minutes), few).is_empty() {
            prop_assert!(!said(&much, &policy, TimeDelta::minutes(minutes + longer), many).is_empty());
        }
    }
}
