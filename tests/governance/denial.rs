//! Break-glass: what is denied ends at once, and stays out.

use serde_json::json;

use super::people::judged;
use super::policy;
use super::support::World;

pub fn what_is_denied_is_revoked_and_kept_out(w: &World) {
    policy(w, "p", &json!({}));
    for name in ["c", "other"] {
        w.client(name, &json!({}));
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
    }
    let old = w.secret("c-oauth");
    let this = format!("{}/c", w.namespace);
    policy(
        w,
        "incident",
        &json!({"appliesTo": null, "allow": null, "deny": {"clients": [this], "reason": "INC-7: leaked"}}),
    );
    let says = w.until_reason("c", "Revoked", "Denied");
    // Who wrote it, by the API server's word.
    assert!(says.contains("ClientPolicy incident denies it, by testbed-admin: INC-7: leaked"), "{says}");
    assert_eq!(w.entry("c")["status"]["end"]["message"], w.entry("c")["spec"]["end"]["message"]);
    let end = &w.entry("c")["status"]["end"];
    assert_eq!(
        (end["reason"].as_str(), w.entry("c")["status"]["evidence"]["level"].as_str()),
        (Some("Denied"), Some("Proven"))
    );
    assert!(w.token_with(&old).is_err() && !w.exists("secret/c-oauth"));
    w.until_reason("c", "Stalled", "Denied");
    // No edit dodges it, nor making it anew.
    w.client("c", &json!({"scopes": ["reports.write"]}));
    judged(w, "c");
    w.until_reason("c", "Stalled", "Denied");
    w.kubectl(&["delete", "oauthclient", "c", "--timeout=120s"]);
    w.client("c", &json!({}));
    w.until_reason("c", "Stalled", "Denied");
    assert_eq!(w.live().len(), 1, "the other one goes on");
    assert!(w.token("other-oauth").is_ok());
    w.kubectl(&["delete", "clientpolicy", "incident"]);
    w.wait("oauthclient/c", "condition=Ready");
}

pub fn a_denial_goes_by_any_of_its_lists(w: &World) {
    policy(w, "p", &json!({}));
    w.client("c", &json!({}));
    for (n, deny) in [
        json!({"owners": ["data@*"]}),
        json!({"namespaces": [w.namespace]}),
        json!({"authorizationServers": [w.namespace]}),
        json!({"all": true}),
    ]
    .into_iter()
    .enumerate()
    {
        w.wait("oauthclient/c", "condition=Ready");
        let mut deny = deny;
        deny["reason"] = json!(format!("drill {n}"));
        policy(w, "incident", &json!({"deny": deny}));
        w.until(&format!("drill {n} has revoked it"), || w.live().is_empty());
        let says = w.until_reason("c", "Stalled", "Denied");
        assert!(says.contains(&format!("drill {n}")), "{says}");
        w.kubectl(&["delete", "clientpolicy", "incident"]);
    }
}
