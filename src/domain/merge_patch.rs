//! JSON merge patches (RFC 7396).

use serde::Serialize;
use serde_json::{Map, Value};

/// A patch that replaces a part of an object by this one: of its optional members, those that it does not have are taken
/// away.
pub fn replacing(part: &impl Serialize, optional: &[&str]) -> Value {
    let mut patch: Map<String, Value> = optional.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    if let Ok(Value::Object(members)) = serde_json::to_value(part) {
        patch.extend(members);
    }
    Value::Object(patch)
}
