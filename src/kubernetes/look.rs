//! Reading an object live, and telling *gone* from everything else. A version that is not served and a proxy answer
//! 404 too; gone is a Status with reason NotFound and this very name in its details.

use kube::{Api, Error};
use serde::de::DeserializeOwned;

/// What a live look found.
#[derive(Debug, Clone)]
pub enum Look<K> {
    /// It is there.
    There(K),
    /// The API server says of this very object that it does not exist.
    Gone,
    /// Nothing can be said now, and why.
    Unknown(String),
}

/// Looks at an object. `resource` is its resource, as the API server names it in the details of a NotFound: `secrets`, or
/// with its group, `jobs.batch`.
pub async fn look<K>(api: &Api<K>, resource: &str, name: &str) -> Look<K>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.get(name).await {
        Ok(found) => Look::There(found),
        Err(error) if is_gone(&error, resource, name) => Look::Gone,
        Err(error) => Look::Unknown(explain(&error)),
    }
}

/// Whether this error says of this very object that it does not exist; `resource` as in [`look`].
pub fn is_gone(error: &Error, resource: &str, name: &str) -> bool {
    let Error::Api(status) = error else { return false };
    let Some(details) = &status.details else { return false };
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    status.code == 404
        && status.reason == "NotFound"
        && (details.kind.as_str(), details.group.as_str(), details.name.as_str()) == (plural, group, name)
}

/// Whether this error is a conflict: the object exists already, or was changed meanwhile.
pub fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409)
}

/// An error in one sentence, without the whole Status.
pub fn explain(error: &Error) -> String {
    match error {
        Error::Api(status) => format!("the API server answered {} {}: {}", status.code, status.reason, status.message),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn error(code: u16, reason: &str, details: &serde_json::Value) -> Error {
        let status = json!({"status": "Failure", "message": "m", "reason": reason, "code": code, "details": details});
        Error::Api(Box::new(serde_json::from_value::<Status>(status).unwrap()))
    }

    #[rstest::rstest]
    #[case("jobs.batch", 404, "NotFound", json!({"name": "work", "group": "batch", "kind": "jobs"}), true)]
    #[case("secrets", 404, "NotFound", json!({"name": "work", "kind": "secrets"}), true)]
    #[case("jobs.batch", 404, "NotFound", json!({"name": "work", "group": "other.example", "kind": "jobs"}), false)]
    #[case("jobs.batch", 404, "NotFound", json!({"name": "work", "kind": "jobs"}), false)]
    #[case("secrets", 404, "NotFound", json!({"name": "work", "group": "other.example", "kind": "secrets"}), false)]
    #[case("jobs.batch", 404, "NotFound", json!({"name": "other", "group": "batch", "kind": "jobs"}), false)]
    #[case("jobs.batch", 404, "NotFound", json!({"name": "work", "group": "batch", "kind": "cronjobs"}), false)]
    #[case("jobs.batch", 404, "", json!({"name": "work", "group": "batch", "kind": "jobs"}), false)]
    #[case("jobs.batch", 410, "NotFound", json!({"name": "work", "group": "batch", "kind": "jobs"}), false)]
    #[case("jobs.batch", 404, "NotFound", json!(null), false)]
    fn gone(
        #[case] resource: &str,
        #[case] code: u16,
        #[case] reason: &str,
        #[case] details: serde_json::Value,
        #[case] expected: bool,
    ) {
        assert_eq!(is_gone(&error(code, reason, &details), resource, "work"), expected);
    }
}
