//! The tenant's Secret.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    the_secret_holds_all_that_a_workload_needs,
    keys_are_called_as_asked,
    lost_or_altered_secret_is_put_back,
    altered_labels_and_owners_are_put_back,
    foreign_secret_is_left_alone,
    a_foreign_secret_in_place_of_ours_is_left_alone,
    two_clients_cannot_share_a_secret,
];

const CHECKSUM: &str = "oauthclient.dev/checksum";

fn checksum(w: &World, secret: &str) -> String {
    w.get(secret)["metadata"]["annotations"][CHECKSUM].as_str().expect("a checksum").to_owned()
}

fn the_secret_holds_all_that_a_workload_needs(w: &World) {
    w.client("c", &json!({"scopes": ["reports.write", "reports.read"]}));
    w.client("key", &json!({"tokenEndpointAuthMethod": "private_key_jwt"}));
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/key", "condition=Ready");
    let issuer = w.issuer();
    let (client, mut secret) = (w.get("oauthclient/c"), w.secret("c-oauth"));
    let value = secret.remove("client_secret").expect("a client secret");
    assert!(value.len() >= 16);
    let until = client["status"]["expiresAt"].as_str().expect("an end").to_owned();
    let expected: BTreeMap<String, String> = [
        ("client_id", client["status"]["clientId"].as_str().expect("an id")),
        ("issuer", issuer.as_str()),
        ("token_endpoint", &format!("{}/token", w.issuer())),
        ("scopes", "reports.read reports.write"),
        ("token_endpoint_auth_method", "client_secret_basic"),
        ("expires_at", until.as_str()),
        ("type", "oauth2"),
        ("provider", w.namespace.as_str()),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    assert_eq!(secret, expected);
    let keys: Vec<String> = w.secret("key-oauth").into_keys().collect();
    let of_a_key = ["client_id", "expires_at", "issuer", "key_id", "private_key.pem", "provider", "scopes"];
    assert_eq!(keys, [&of_a_key[..], &["token_endpoint", "token_endpoint_auth_method", "type"]].concat());
    let (object, uid) = (w.get("secret/c-oauth"), &client["metadata"]["uid"]);
    let owner = &object["metadata"]["ownerReferences"];
    assert_eq!(owner.as_array().map(Vec::len), Some(1));
    assert_eq!((&owner[0]["kind"], &owner[0]["uid"]), (&json!("OAuthClient"), uid));
    assert_eq!(owner[0]["controller"], true);
    let labels = &object["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/managed-by"], "oauthclient-operator");
    assert_eq!(labels["oauthclient.dev/client"], "c");
    assert_eq!(client["status"]["binding"]["name"], "c-oauth");
    // Whose work it is stands in the objects themselves.
    for written in [&object, &w.entry("c")] {
        let managers = written["metadata"]["managedFields"].as_array().expect("managed fields");
        assert!(
            !managers.is_empty() && managers.iter().all(|m| m["manager"] == "oauthclient-operator"),
            "{managers:?}"
        );
    }
    // What reloaders look at changes when the content does, and only then.
    let before = checksum(w, "secret/c-oauth");
    w.patch("oauthclient/c", &json!({"spec": {"purpose": "Another test"}}));
    w.until("the edit is in the ledger", || w.entry("c")["spec"]["purpose"] == "Another test");
    assert_eq!(checksum(w, "secret/c-oauth"), before);
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read"]}}));
    w.until("the content is another", || w.secret("c-oauth")["scopes"] == "reports.read");
    assert_ne!(checksum(w, "secret/c-oauth"), before);
}

fn keys_are_called_as_asked(w: &World) {
    let keys = json!({
        "clientId": "ID", "clientSecret": "RENAMED_SECRET", "issuer": "ISS", "tokenEndpoint": "URL", "scopes": "SCOPES",
        "tokenEndpointAuthMethod": "METHOD", "expiresAt": "UNTIL",
    });
    w.client("c", &json!({"secret": {"name": "mine", "keys": keys}}));
    let keys = json!({"privateKey": "RENAMED_SECRET.pem", "keyId": "KID"});
    let method = "private_key_jwt";
    w.client("key", &json!({"secret": {"name": "other", "keys": keys}, "tokenEndpointAuthMethod": method}));
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/key", "condition=Ready");
    let secret = w.secret("mine");
    let names: Vec<&str> = secret.keys().map(String::as_str).collect();
    assert_eq!(names, ["ID", "ISS", "METHOD", "RENAMED_SECRET", "SCOPES", "UNTIL", "URL", "provider", "type"]);
    assert_eq!((secret["ISS"].as_str(), secret["SCOPES"].as_str()), (w.issuer().as_str(), "reports.read"));
    let other = w.secret("other");
    assert!(other["RENAMED_SECRET.pem"].contains("PRIVATE KEY") && !other["KID"].is_empty());
    // Other names for a client that runs: the same credential under them, and no more under the old ones.
    w.patch("oauthclient/c", &json!({"spec": {"secret": {"keys": {"clientSecret": "RENAMED_SECRET_TOO"}}}}));
    w.until("the key has its new name", || w.secret("mine").contains_key("RENAMED_SECRET_TOO"));
    let after = w.secret("mine");
    assert_eq!(after["RENAMED_SECRET_TOO"], secret["RENAMED_SECRET"]);
    assert!(!after.contains_key("RENAMED_SECRET"));
    assert_eq!(after["ID"], secret["ID"]);
}

fn lost_or_altered_secret_is_put_back(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let before = w.secret("c-oauth");
    w.requests();
    w.kubectl(&["delete", "secret/c-oauth"]);
    w.until("the Secret is back", || w.exists("secret/c-oauth"));
    assert_eq!(w.secret("c-oauth"), before);
    w.patch("secret/c-oauth", &json!({"stringData": {"client_secret": "altered"}}));
    w.until("the Secret is as it was", || w.secret("c-oauth") == before);
    w.patch("secret/c-oauth", &json!({"data": {"client_id": null}}));
    w.until("the Secret is as it was", || w.secret("c-oauth") == before);
    w.patch("secret/c-oauth", &json!({"stringData": {"another": "key"}}));
    w.until("the Secret is as it was", || w.secret("c-oauth") == before);
    assert!(w.requests().is_empty(), "the server is not asked for it");
    assert_eq!(w.live().len(), 1);
}

fn altered_labels_and_owners_are_put_back(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let ours = |object: &Value| {
        let meta = &object["metadata"];
        (meta["labels"].clone(), meta["ownerReferences"].clone(), meta["annotations"][CHECKSUM].clone())
    };
    let before = ours(&w.get("secret/c-oauth"));
    for alter in [
        json!({"labels": {"oauthclient.dev/client": "somebody-else"}}),
        json!({"labels": {"oauthclient.dev/client": null}}),
        json!({"labels": {"app.kubernetes.io/managed-by": null}}),
        json!({"annotations": {CHECKSUM: "v1:sha256:0"}}),
        json!({"annotations": null}),
        json!({"ownerReferences": null}),
    ] {
        w.patch("secret/c-oauth", &json!({"metadata": alter}));
        w.until(&format!("put back: {alter}"), || ours(&w.get("secret/c-oauth")) == before);
    }
    // What others add beside is theirs.
    w.patch("secret/c-oauth", &json!({"metadata": {"annotations": {"corp.example/note": "ours"}}}));
    w.patch("secret/c-oauth", &json!({"stringData": {"client_secret": "altered"}}));
    w.until("the credential is back", || w.secret("c-oauth")["client_secret"] != "altered");
    assert_eq!(w.get("secret/c-oauth")["metadata"]["annotations"]["corp.example/note"], "ours");
    assert!(w.token("c-oauth").is_ok());
    assert_eq!(w.live().len(), 1);
}

fn foreign_secret_is_left_alone(w: &World) {
    w.kubectl(&["create", "secret", "generic", "c-oauth", "--from-literal=mine=1"]);
    w.client("c", &json!({}));
    let says = w.until_reason("c", "Stalled", "SecretConflict");
    assert!(says.contains("was not made by this operator"), "{says}");
    w.wait_event("c", "SecretConflict", "was not made by this operator");
    assert_eq!(w.secret("c-oauth").len(), 1);
    assert!(w.live().is_empty());
    // What stood against it goes away, and it goes on by itself.
    w.kubectl(&["delete", "secret/c-oauth"]);
    w.wait("oauthclient/c", "condition=Ready");
    assert!(w.token("c-oauth").is_ok());
}

fn a_foreign_secret_in_place_of_ours_is_left_alone(w: &World) {
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let before = w.secret("c-oauth");
    let foreign = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c-oauth", "namespace": w.namespace},
        "stringData": {"mine": "1"},
    });
    w.until("a Secret of somebody else is quicker than the operator", || {
        // Deletes and creates at once; where the operator was quicker, this conflicts, and is tried again.
        let _ = w.bed.kubectl_with(&["replace", "--force", "-f", "-"], Some(&foreign.to_string()));
        w.secret("c-oauth").contains_key("mine")
    });
    let says = w.until_reason("c", "Stalled", "SecretConflict");
    assert!(says.contains("c-oauth") && says.contains("was not made by this operator"), "{says}");
    assert_eq!(w.client_condition("c", "Ready").expect("a condition")["status"], "False");
    assert_eq!(w.secret("c-oauth"), BTreeMap::from([("mine".to_owned(), "1".to_owned())]));
    assert!(w.token_with(&before).is_ok(), "the client runs on (G6)");
    w.kubectl(&["delete", "secret/c-oauth"]);
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.secret("c-oauth"), before, "the same credential again");
    assert!(w.client_condition("c", "Stalled").is_none());
    // The end leaves what is foreign alone too.
    w.until("a Secret of somebody else is quicker than the operator", || {
        let _ = w.bed.kubectl_with(&["replace", "--force", "-f", "-"], Some(&foreign.to_string()));
        w.secret("c-oauth").contains_key("mine")
    });
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.secret("c-oauth").contains_key("mine"));
    assert!(w.live().is_empty());
}

fn two_clients_cannot_share_a_secret(w: &World) {
    w.client("first", &json!({"secret": {"name": "shared"}}));
    w.wait("oauthclient/first", "condition=Ready");
    let before = w.secret("shared");
    w.client("second", &json!({"secret": {"name": "shared"}}));
    let says = w.until_reason("second", "Stalled", "SecretConflict");
    assert!(says.contains("belongs to OAuthClient first"), "{says}");
    assert_eq!(w.secret("shared"), before);
    assert_eq!(w.live().len(), 1, "nothing was registered for the second");
    w.kubectl(&["delete", "oauthclient/second", "--timeout=120s"]);
    assert_eq!(w.secret("shared"), before, "its deletion takes nothing from the first");
    w.client("third", &json!({"secret": {"name": "shared"}}));
    w.until_reason("third", "Stalled", "SecretConflict");
    w.kubectl(&["delete", "oauthclient/first", "--timeout=120s"]);
    w.wait("oauthclient/third", "condition=Ready");
    assert_ne!(w.secret("shared")["client_id"], before["client_id"]);
}
