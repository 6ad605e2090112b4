//! The ClusterRoles for people, each bound to somebody: they may what their role is for, and not what another's is.

use serde_json::{Value, json};

use crate::support::World;

/// Told with dry runs: nothing is decided.
pub fn roles_are_what_they_are_for(w: &World) {
    for role in ["oauthclient-approver", "oauthclient-platform", "oauthclient-auditor"] {
        let (bound, user) = (format!("--clusterrole={role}"), format!("--user={role}"));
        w.bed.kubectl(&["create", "clusterrolebinding", role, &bound, &user]);
    }
    let try_as = |role: &str, object: &Value| {
        let args = ["-n", &w.namespace, "create", "--dry-run=server", "-f", "-", "--as", role];
        w.bed.kubectl_with(&args, Some(&object.to_string()))
    };
    let approval = |role: &str| {
        json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientApproval", "metadata": {"name": "no"},
            "spec": {"client": "c", "authorizationServer": w.namespace, "decision": "Denied", "approver": role, "reason": "A test"},
        })
    };
    let policy = json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientPolicy", "metadata": {"name": "a-test"},
        "spec": {"deny": {"namespaces": [w.namespace], "reason": "A test"}},
    });
    let (approver, platform, auditor) = ("oauthclient-approver", "oauthclient-platform", "oauthclient-auditor");
    w.until("the approver may approve", || try_as(approver, &approval(approver)).is_ok());
    w.until("the platform may write policies", || try_as(platform, &policy).is_ok());
    let client = w.client_object(&json!({"name": "d"}), &json!({}));
    for (who, what) in [
        (approver, &policy),
        (approver, &client),
        (platform, &approval(platform)),
        (platform, &client),
        (auditor, &policy),
        (auditor, &approval(auditor)),
        (auditor, &client),
    ] {
        let said = try_as(who, what).expect_err("not its role");
        assert!(said.contains("forbidden") || said.contains("Forbidden"), "{who}: {said}");
    }
    let may = |who: &str, args: &[&str]| w.try_kubectl(&[&["auth", "can-i", "--as", who], args].concat()).is_ok();
    for who in [approver, platform, auditor] {
        assert!(may(who, &["list", "oauthclients"]), "{who}");
        assert!(!may(who, &["get", "secrets"]), "{who}");
        assert_eq!(may(who, &["list", "clientregistrations"]), who != approver, "{who}");
    }
}
