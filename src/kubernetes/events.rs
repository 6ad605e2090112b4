//! Events about OAuthClients and AuthorizationServers. Each is an object of its own: they tell of transitions, so there are
//! no series of them. (kube's recorder would put a second one with the same reason into a series with the first one's words.)

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use crate::api::MANAGER;

/// The API server takes notes of up to 1,024 bytes.
const LONGEST_NOTE: usize = 1024;
/// Of a name of 253 characters, what the time in hexadecimal leaves.
const LONGEST_NAME: usize = 253 - 17;

/// Where events about objects without a namespace are: the API server takes them nowhere else.
const NOWHERE: &str = "default";

/// An event about an object, in its namespace.
pub fn build(about: &ObjectReference, warning: bool, reason: &str, note: &str, now: DateTime<Utc>) -> Event {
    let micros = now.timestamp_micros();
    let name = cut(about.name.as_deref().unwrap_or_default(), LONGEST_NAME).trim_end_matches(['.', '-']);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{micros:x}")),
            namespace: Some(about.namespace.clone().unwrap_or_else(|| NOWHERE.to_owned())),
            ..ObjectMeta::default()
        },
        regarding: Some(about.clone()),
        type_: Some(if warning { "Warning" } else { "Normal" }.into()),
        reason: Some(reason.into()),
        action: Some(reason.into()),
        note: Some(cut(note, LONGEST_NOTE).into()),
        event_time: Timestamp::from_microsecond(micros).ok().map(MicroTime),
        reporting_controller: Some(MANAGER.into()),
        reporting_instance: Some(MANAGER.into()),
        ..Event::default()
    }
}

/// At most so many bytes of a text.
fn cut(text: &str, longest: usize) -> &str {
    let end = (0..=longest.min(text.len())).rev().find(|n| text.is_char_boundary(*n)).unwrap_or_default();
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_what_the_api_server_takes() {
        let about = ObjectReference { name: Some(format!("{}.x", "n".repeat(235))), ..ObjectReference::default() };
        let event = build(&about, true, "Refused", &"ü".repeat(1000), DateTime::UNIX_EPOCH);
        assert_eq!(event.note.as_deref().map(str::len), Some(1024));
        assert!(event.metadata.name.as_deref().is_some_and(|n| n.len() <= 253 && !n.contains("..")), "{event:?}");
        assert_eq!(cut("aü", 2), "a", "no character is cut in half");
    }
}
