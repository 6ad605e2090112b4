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

/// Looks at an object. `plural` is its resource name, which the API server puts into the details of a NotFound.
pub async fn look<K>(api: &Api<K>, plural: &str, name: &str) -> Look<K>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.get(name).await {
        Ok(found) => Look::There(found),
        Err(error) if is_gone(&error, plural, name) => Look::Gone,
        Err(error) => Look::Unknown(explain(&error)),
    }
}

/// Whether this error says of this very object that it does not exist.
pub fn is_gone(error: &Error, plural: &str, name: &str) -> bool {
    let Error::Api(status) = error else { return false };
    let Some(details) = &status.details else { return false };
    status.code == 404 && status.reason == "NotFound" && details.kind == plural && details.name == name
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
