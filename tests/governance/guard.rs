//! What revoking takes cannot be deleted while clients live, by administrators included.

use serde_json::{Value, json};

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
    assert!(w.token("c-oauth").is_ok(), "nothing was lost");
}

/// Once nothing lives, everything may go; and while the kind of the ledger is not there, the guard must not keep a cluster from
/// being tidied up.
pub fn a_guard_of_nothing_hinders_nobody(w: &World) {
    let bare = Bed::bare("guard");
    let apply = |what: &str| bare.kubectl(&["apply", "-f", &format!("{}/{what}", env!("CARGO_MANIFEST_DIR"))]);
    apply("crds");
    bare.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    apply("deploy/operator.yaml");
    apply("deploy/guard.yaml");
    let dry = ["delete", "--dry-run=server", "namespace/oauthclient-system"];
    w.until("without a client it may be deleted", || bare.try_kubectl(&dry).is_ok());
    let mut entry = a_clients_entry(w);
    entry["metadata"] = json!({"name": "oac-1", "namespace": "oauthclient-system"});
    entry["status"] = Value::Null;
    bare.kubectl_with(&["apply", "-f", "-"], Some(&entry.to_string())).expect("an entry");
    w.until("it is kept", || bare.try_kubectl(&dry).is_err());
    for (phase, goes) in [("Registered", false), ("Revoking", false), ("PossibleOrphan", false), ("Revoked", true)] {
        let patch = json!({"status": {"phase": phase}}).to_string();
        let ours = ["-n", "oauthclient-system", "patch", "clientregistration", "oac-1", "--subresource=status"];
        bare.kubectl(&[&ours[..], &["--type=merge", "-p", &patch]].concat());
        w.until(&format!("{phase}: {goes}"), || bare.try_kubectl(&dry).is_ok() == goes);
    }
    bare.kubectl(&["delete", "crd", "--all"]);
    for _ in 0..5 {
        bare.kubectl(&dry);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    bare.kubectl(&["delete", "namespace", "oauthclient-system", "--timeout=120s"]);
}

/// The entry of a client of this world.
fn a_clients_entry(w: &World) -> Value {
    policy(w, "p", &json!({}));
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.entry("c")
}
