//! Objects as an earlier version stored them go on being read, and nothing of them is lost. The fixtures are what real
//! clusters held, but for certificates and addresses; they are never changed: a further version adds files.

use std::collections::BTreeSet;

use oauthclient_operator::api::{AuthorizationServer, ClientApproval, ClientPolicy, ClientRegistration, OAuthClient};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads an object as the operator does, and writes it.
fn through<K: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let read: K = serde_json::from_value(object.clone()).expect("an object that was stored is read");
    serde_json::to_value(read).expect("and written")
}

/// Where something of the first is not in the second.
fn lost(stored: &Value, written: &Value, path: &str, into: &mut Vec<String>) {
    match (stored, written) {
        (Value::Object(stored), Value::Object(_)) => {
            for (key, value) in stored {
                lost(value, &written[key], &format!("{path}.{key}"), into);
            }
        }
        (Value::Array(stored), Value::Array(there)) if stored.len() == there.len() => {
            for (number, value) in stored.iter().enumerate() {
                lost(value, &written[number], &format!("{path}[{number}]"), into);
            }
        }
        // Written in another way: an empty list or map that was stored is as good as none.
        (Value::Object(none), Value::Null) if none.is_empty() => {}
        (Value::Array(none), Value::Null) if none.is_empty() => {}
        (stored, written) if stored == written => {}
        _ => into.push(format!("{path}: {stored} became {written}")),
    }
}

#[test]
fn what_was_stored_is_read_whole() {
    let mut kinds = BTreeSet::new();
    for version in std::fs::read_dir("tests/fixtures").expect("fixtures") {
        for file in std::fs::read_dir(version.expect("a folder").path()).expect("a folder") {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a file");
            let object: Value = serde_yaml::from_str(&text).expect("YAML");
            let kind = object["kind"].as_str().expect("a kind").to_owned();
            let written = match kind.as_str() {
                "AuthorizationServer" => through::<AuthorizationServer>(&object),
                "ClientApproval" => through::<ClientApproval>(&object),
                "ClientPolicy" => through::<ClientPolicy>(&object),
                "ClientRegistration" => through::<ClientRegistration>(&object),
                "OAuthClient" => through::<OAuthClient>(&object),
                other => panic!("{}: {other}", path.display()),
            };
            let mut missing = Vec::new();
            lost(&object, &written, "", &mut missing);
            assert!(missing.is_empty(), "{}: {missing:#?}", path.display());
            kinds.insert(kind);
        }
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}
