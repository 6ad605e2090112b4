//! What revoking takes cannot be deleted while clients live, by administrators included.

use serde_json::json;

use super::people::refused;
use super::policy;
use super::support::{Bed, World};

pub fn nothing_goes_that_revoking_takes(w: &World) {
    policy(w, "p", &json!({}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let entry = w.entry("c")["metadata"]["name"].as_str().expect("a name").to_owned();
    let ours = ["-n", "oauthclient-system"];
    let says = "is not revoked, and without this it could not be";
    // Tried for real: what is not refused is gone, and the stories after this one would tell.
    refused(w.try_kubectl(&["delete", "namespace", "oauthclient-system", "--wait=false"]), says);
    for kind in ["oauthclients", "clientregistrations", "authorizationservers", "clientpolicies", "clientapprovals"] {
        refused(w.try_kubectl(&["delete", "crd", &format!("{kind}.oauthclient.dev"), "--wait=false"]), says);
    }
    let delete = |what: &[&str]| w.try_kubectl(&[&ours[..], &["delete", "--wait=false"], what].concat());
    w.kubectl(&[&ours[..], &["label", "secret", "corp-registration", "oauthclient.dev/role=credential"]].concat());
    refused(delete(&["secret", &entry]), says);
    refused(delete(&["secret", "corp-registration"]), says);
    refused(delete(&["secret", "--all"]), says);
    let collection = "/api/v1/namespaces/oauthclient-system/secrets";
    refused(w.try_kubectl(&["delete", "--raw", collection]), says);
    // What is none of ours goes, such as Helm's own records.
    w.kubectl(&[&ours[..], &["create", "secret", "generic", "release"]].concat());
    delete(&["secret", "release"]).expect("not ours");
    w.kubectl(&["create", "secret", "generic", "tenants-own"]);
    w.kubectl(&["delete", "secret", "tenants-own"]);
    w.kubectl(&["create", "namespace", "another"]);
    w.kubectl(&["delete", "namespace", "another", "--wait=false"]);
    // Once nothing lives, everything may go.
    assert!(w.token("c-oauth").is_ok(), "nothing was lost");
    w.kubectl(&["delete", "oauthclient", "c", "--timeout=120s"]);
    w.until("nothing lives", || {
        let all = w.whole_ledger("");
        all.iter().all(|e| matches!(e["status"]["phase"].as_str(), Some("Revoked" | "Rejected" | "Cancelled")))
    });
    let dry = ["delete", "--dry-run=server", "namespace/oauthclient-system", "crd/oauthclients.oauthclient.dev"];
    w.until("the API server has noticed", || w.try_kubectl(&dry).is_ok());
}

/// While the kind of the ledger is not there, the guard keeps nothing: it must not keep a cluster from being tidied up.
pub fn a_guard_without_a_ledger_hinders_nobody(w: &World) {
    let bare = Bed::bare("guard");
    let apply = |what: &str| bare.kubectl(&["apply", "-f", &format!("{}/{what}", env!("CARGO_MANIFEST_DIR"))]);
    apply("crds");
    bare.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]);
    apply("deploy/operator.yaml");
    apply("deploy/guard.yaml");
    let dry = ["delete", "--dry-run=server", "namespace/oauthclient-system"];
    w.until("without a client it may be deleted", || bare.try_kubectl(&dry).is_ok());
    bare.kubectl(&["delete", "crd", "--all"]);
    for _ in 0..5 {
        bare.kubectl(&dry);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    bare.kubectl(&["delete", "namespace", "oauthclient-system", "--timeout=120s"]);
}
