//! What a hostile tenant tries besides forging: sizes, look-alikes, a minted token, a race, another's Secret.

use serde_json::{Value, json};

use super::people::{ANNA, TOM, apply_as, grant, hash, judged, may_approve, may_edit, refused, try_to_decide};
use super::support::World;
use super::{nothing_happened, policy};

/// As the hostile tenant.
fn tries(w: &World, members: &Value) -> Result<String, String> {
    apply_as(w, TOM, &w.client_object(&json!({"name": "c"}), members))
}

pub fn what_is_too_much_is_not_taken(w: &World) {
    policy(w, "p", &json!({"allow": {"redirectUris": ["*"], "audiences": ["*"]}}));
    may_edit(w, TOM);
    let many = |of: &str| (0..10_000).map(|n| format!("{of}{n}")).collect::<Vec<_>>();
    for (field, items) in [
        ("scopes", many("reports.")),
        ("redirectUris", many("https://a.corp.example/")),
        ("audiences", many("https://api.corp.example/")),
        ("grantTypes", many("urn:")),
    ] {
        let object = w.client_object(&json!({"name": "c"}), &json!({field: items})).to_string();
        let error = w.bed.kubectl_with(&["-n", &w.namespace, "--as", TOM, "create", "-f", "-"], Some(&object));
        let error = error.expect_err(field);
        assert!(error.contains("must have at most") && error.contains(field), "{field}: {error}");
    }
    for (field, text, says) in
        [("purpose", "x".repeat(513), "512"), ("scopes", format!("reports.{}", "x".repeat(300)), "256")]
    {
        let value = if field == "purpose" { json!(text) } else { json!([text]) };
        refused(tries(w, &json!({field: value})), says);
    }
    // As much as is taken is judged, and said in an event that fits.
    let all: Vec<String> = (0..100).map(|n| format!("foreign.{n}.{}", "x".repeat(240))).collect();
    tries(w, &json!({"scopes": all})).expect("a hundred are taken");
    w.until_reason("c", "Stalled", "NotAllowedByPolicy");
    w.wait_event("c", "NotAllowedByPolicy", "foreign.0.");
    nothing_happened(w, "c");
}

pub fn look_alikes_are_something_else(w: &World) {
    policy(
        w,
        "p",
        &json!({"allow": {
            "ownerEmails": ["*@corp.example"], "scopes": ["reports.read"],
            "grantTypes": ["authorization_code", "client_credentials"], "redirectUris": ["https://*.corp.example/*"],
        }}),
    );
    may_edit(w, TOM);
    // Letters that look like others: no scope, no URI, no address.
    refused(tries(w, &json!({"scopes": ["reports.re\u{0430}d"]})), "RFC 6749 scope token");
    refused(tries(w, &json!({"scopes": ["reports.read\u{200b}"]})), "RFC 6749 scope token");
    for purpose in ["Reports\u{202e}tropxe", "Reports\u{2066}x", "Reports\u{200f}", "a\u{0007}b", "a\nb"] {
        refused(tries(w, &json!({"purpose": purpose})), "control or bidirectional characters");
    }
    let redirects = |uri: &str| json!({"grantTypes": ["authorization_code"], "redirectUris": [uri]});
    refused(tries(w, &redirects("https://a.c\u{043e}rp.example/")), "must be absolute");
    refused(tries(w, &redirects("https://a.corp.example\u{3002}evil.example/")), "must be absolute");
    refused(tries(w, &redirects("https://a.corp.example@evil.example/")), "must not hold user information");
    let owner = |email: &str| json!({"owner": {"team": "data", "email": email}});
    refused(tries(w, &owner("boss@c\u{043e}rp.example")), "e-mail");
    // What is written in ASCII alone is taken, and is not what the policy allows.
    let mut edits = 0;
    for members in [
        redirects("https://a.xn--crp-5cd.example/"),
        redirects("https://evil.example/?.corp.example/"),
        redirects("https://evil.example/.corp.example/x"),
        redirects("https://a.corp.example.evil.example/"),
        redirects("https://a.corp.example:444/"),
        redirects("http://a.corp.example/"),
        redirects("https://corp.example.:443/"),
        redirects("https://a.corp.example/../../x"),
        redirects("https://A.CORP.EXAMPLE/x%2f..%2f"),
        redirects("https://[::ffff:1.2.3.4]/.corp.example/"),
        json!({"scopes": ["Reports.read"]}),
        json!({"scopes": ["reports.read", "reports.reader"]}),
        owner("boss@corp.example.evil.example"),
        owner("boss@xn--crp-5cd.example"),
    ] {
        edits += 1;
        let mut members = members;
        members["purpose"] = json!(format!("Try {edits}"));
        tries(w, &members).unwrap_or_else(|e| panic!("{members}: {e}"));
        judged(w, "c");
        let stalled = w.client_condition("c", "Stalled").unwrap_or_default();
        assert_eq!(stalled["reason"], "NotAllowedByPolicy", "{members}: {stalled}");
    }
    nothing_happened(w, "c");
}

pub fn a_minted_token_approves_nothing(w: &World) {
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    may_edit(w, TOM);
    tries(w, &json!({})).expect("an OAuthClient");
    let hash = hash(w);
    // Whoever may edit may have tokens of the namespace's ServiceAccounts, with whatever these may do.
    w.kubectl(&["create", "serviceaccount", "robot"]);
    let account = format!("system:serviceaccount:{}:robot", w.namespace);
    grant(w, "Role", "robot", &json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]), &account);
    let token = w.kubectl(&["--as", TOM, "create", "token", "robot"]);
    let approval = json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientApproval", "metadata": {"name": "own"},
        "spec": {
            "client": "c", "authorizationServer": w.namespace, "requestHash": hash, "decision": "Approved",
            "approver": account, "reason": "because",
        },
    });
    let with_token = |object: &Value, token: &str| {
        let server = format!("--server={}", w.bed.get("TESTBED_KUBE_APISERVER"));
        let ca = format!("--certificate-authority={}", w.bed.get("TESTBED_CA"));
        let token = format!("--token={}", token.trim());
        let args = ["-n", &w.namespace, "--kubeconfig=/dev/null", &server, &ca, &token, "create", "-f", "-"];
        w.bed.kubectl_with(&args, Some(&object.to_string()))
    };
    refused(with_token(&approval, &token), &format!("{account} may not approve clients of AuthorizationServer"));
    // The names that the API server gives are of its own making: nobody else's can be had by a token.
    let mut annas = approval.clone();
    annas["spec"]["approver"] = json!(ANNA);
    refused(with_token(&annas, &token), "must be who writes it");
    nothing_happened(w, "c");
}

pub fn an_edit_that_races_an_approval_gains_nothing(w: &World) {
    policy(w, "p", &json!({"approval": {"mode": "Always"}}));
    may_edit(w, TOM);
    may_approve(w, ANNA);
    for n in 0..6 {
        let name = format!("c{n}");
        let object = |scopes: Value| w.client_object(&json!({"name": name}), &json!({"scopes": scopes}));
        apply_as(w, TOM, &object(json!(["reports.read"]))).expect("an OAuthClient");
        let seen = |what: &str| w.get(&format!("oauthclient/{name}"))["status"][what].clone();
        w.until("it was judged", || seen("requestHash").is_string());
        let approved = seen("requestHash");
        let widened = object(json!(["reports.read", "reports.write"]));
        let yes = json!({"client": name, "requestHash": approved});
        let (bed, namespace) = (w.bed, w.namespace.clone());
        std::thread::scope(|both| {
            // By processes of their own: whichever comes first.
            both.spawn(move || {
                let args = ["-n", &namespace, "--as", TOM, "apply", "-f", "-"];
                bed.kubectl_with(&args, Some(&widened.to_string())).expect("an edit");
            });
            std::thread::sleep(std::time::Duration::from_millis(n * 40));
            try_to_decide(w, ANNA, &format!("yes-{name}"), &yes).expect("an approval");
        });
        judged(w, &name);
        w.wait_reason(&format!("oauthclient/{name}"), "Accepted", "False", "ApprovalPending");
    }
    for client in w.live() {
        assert_eq!(client["scope"], "reports.read", "what nobody approved: {client}");
    }
    for entry in w.ledger() {
        assert_eq!(entry["spec"]["request"]["scopes"], json!(["reports.read"]), "{entry:#}");
    }
}

pub fn anothers_secret_is_out_of_reach(w: &World) {
    policy(w, "p", &json!({}));
    may_edit(w, TOM);
    for name in ["other/c-oauth", "../other/c-oauth", "other%2fc-oauth", "Other", "", "-x"] {
        let error = tries(w, &json!({"secret": {"name": name}})).expect_err(name);
        assert!(error.contains("spec.secret.name"), "{name:?}: {error}");
    }
    // One in the same namespace that is not the operator's own is left alone.
    w.kubectl(&["create", "secret", "generic", "database", "--from-literal=password=hunter2"]);
    tries(w, &json!({"secret": {"name": "database"}})).expect("it is taken");
    w.until_reason("c", "Stalled", "SecretConflict");
    assert_eq!(w.secret("database")["password"], "hunter2");
    assert!(w.live().is_empty() && w.entries("c").is_empty());
}
