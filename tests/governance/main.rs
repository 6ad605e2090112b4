//! Governance: nothing is registered, and no Secret exists, before a policy allows it. One bed and one operator.
//! `GOVERNANCE_ONLY=word` tells only some.

mod approvals;
mod changes;
mod denial;
mod ending;
mod guard;
mod hostile;
mod limits;
mod older;
mod people;
mod policies;
#[path = "../support/mod.rs"]
mod support;
mod times;
mod uses;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use serde_json::{Value, json};
use support::{Bed, World};

type Story = (&'static str, fn(&World));

/// The named functions, as stories.
macro_rules! stories {
    ($($module:ident: $($name:ident),+;)+) => { [$($((stringify!($name), $module::$name as fn(&World))),+),+] };
}

#[test]
fn nothing_before_the_yes() {
    let stories: &[Story] = &stories![
        policies: nothing_is_registered_that_no_policy_allows, what_stands_against_it_is_named,
            an_edit_that_is_not_allowed_waits, one_policy_must_allow_the_whole;
        changes: a_narrower_policy_warns, a_narrower_policy_revokes, a_policy_that_is_deleted_counts_as_changed,
            many_clients_are_judged_anew, many_are_judged_without_a_stampede;
        approvals: nothing_before_a_person_says_yes, an_edit_needs_another_yes, an_approval_is_for_one_object,
            no_client_outlives_its_approval, a_denial_stands_as_long_as_it_exists, a_policy_that_asks_for_approval_later;
        people: who_asked_cannot_be_forged, nobody_approves_for_themselves, records_are_the_operators,
            no_approval_counts_while_nobody_keeps_the_stamps;
        denial: what_is_denied_is_revoked_and_kept_out, a_denial_goes_by_any_of_its_lists;
        limits: no_more_than_the_limit_at_once, lifetimes_count_from_the_first_registration;
        ending: durable_and_ephemeral_are_told_apart, ends_are_announced, a_review_that_is_due_is_announced;
        hostile: what_is_too_much_is_not_taken, look_alikes_are_something_else, a_minted_token_approves_nothing,
            an_edit_that_races_an_approval_gains_nothing, anothers_secret_is_out_of_reach;
        policies: rules_of_ones_own;
        times: how_long_it_takes;
        older: who_asks_writes_it_down_where_the_api_server_cannot;
        uses: team_data;
        guard: nothing_goes_that_revoking_takes, a_guard_of_nothing_hinders_nobody;
    ];
    let only = std::env::var("GOVERNANCE_ONLY").unwrap_or_default();
    let bed = Bed::up("governance");
    bed.kubectl(&["delete", "clientpolicy", "everything"]);
    let collector = bed.collect_secrets();
    let operator = bed.operator(&[]);
    let mut failed = Vec::new();
    for (name, story) in stories.iter().filter(|(name, _)| name.contains(&only)) {
        let began = Instant::now();
        let told = || {
            let world = World::new(&bed, name);
            story(&world);
            the_yes_came_first(&world);
        };
        let held = catch_unwind(AssertUnwindSafe(told)).is_ok();
        let word = if held { "held" } else { "FAILED" };
        eprintln!("governance: {name}: {word} after {:.1} s", began.elapsed().as_secs_f32());
        if !held {
            failed.push(*name);
        }
        bed.kubectl(&["delete", "clientpolicies", "--all"]);
    }
    let metrics = operator.page("/metrics").expect("metrics");
    collector.nothing_leaked(&bed, &metrics, only.is_empty());
    bed.no_right_was_missing();
    if only.is_empty() {
        bed.rights_are_used_that_only("governance");
    }
    let log = operator.stop();
    assert!(failed.is_empty(), "failed: {failed:?}; operator log: {log}");
}

/// Of the whole story: whatever was asked of the server is in the ledger, with the policy that allowed it.
fn the_yes_came_first(w: &World) {
    let ledger = w.ledger();
    for entry in ledger.iter().filter(|e| !e["status"]["attemptedAt"].is_null()) {
        assert!(entry["spec"]["policy"]["name"].is_string(), "asked of the server without a policy: {entry:#}");
    }
    let tried = ledger.iter().filter(|e| !e["status"]["attemptedAt"].is_null()).count() as u64;
    let asked = w.requests().get("POST /reg").copied().unwrap_or_default();
    assert!(asked <= tried, "{asked} registrations at the server, {tried} in the ledger");
}

/// A policy about this world's namespace and server that allows what [`World::client`] asks for, with these members
/// merged in (RFC 7396).
fn policy(w: &World, name: &str, change: &Value) {
    let mut spec = json!({
        "appliesTo": {"namespaces": {"names": [w.namespace]}, "authorizationServers": [w.namespace]},
        "allow": {
            "ownerEmails": ["*@corp.example"],
            "scopes": ["reports.*"],
            "grantTypes": ["client_credentials"],
            "tokenEndpointAuthMethods": ["client_secret_basic"],
        },
    });
    json_patch::merge(&mut spec, change);
    w.apply(&json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientPolicy", "metadata": {"name": name}, "spec": spec,
    }))
    .expect("a ClientPolicy that is valid");
}

/// Nothing was registered, nor begun, nor published.
fn nothing_happened(w: &World, client: &str) {
    assert!(w.live().is_empty(), "a client at the server");
    assert_eq!(w.requests().get("POST /reg"), None, "not even tried");
    assert!(w.entries(client).is_empty(), "an entry");
    assert!(!w.exists(&format!("secret/{client}-oauth")), "a Secret");
}
