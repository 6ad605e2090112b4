//! Watching: each watch with a back-off of its own, its failures logged once, its first list told to readiness.
//!
//! `Controller::watches` would hand failures to the controller, which then holds back the events of all its watches:
//! one kind that may not be listed would slow down everything.

use std::fmt::Debug;

use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::Context;

/// Whose watch it is, and of what.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The controller's name.
    pub controller: &'static str,
    /// What is watched, in the plural.
    pub resource: &'a str,
    /// The namespace, where it is one alone.
    pub namespace: Option<&'a str>,
    /// Whether the operator is of no use without it.
    pub needed: bool,
}

/// Everything that a watch brings, for an index or a cache.
pub fn events<K>(
    ctx: &Context,
    target: &Target<'_>,
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watch = ctx.watches.add(target.controller, target.resource, target.namespace, target.needed);
    let look_again = ctx.look_again.clone();
    let mut listed_before = false;
    watcher(api, config).default_backoff().filter_map(move |event| {
        let kept = match event {
            Ok(event) => {
                if matches!(event, watcher::Event::InitDone) {
                    watch.completed();
                    // What was deleted while nobody watched is not in the list, and nothing else tells of it.
                    if std::mem::replace(&mut listed_before, true) {
                        look_again.send_replace(());
                    }
                }
                Some(Ok(event))
            }
            Err(error) => {
                let (controller, resource) = (watch.controller, watch.resource.as_str());
                let namespace = watch.namespace.as_deref().unwrap_or_default();
                if watch.failed() {
                    tracing::warn!(controller, resource, namespace, %error, "a watch failed; it is tried again, and until it works changes go unnoticed");
                } else {
                    tracing::debug!(controller, resource, namespace, %error, "a watch fails still");
                }
                None
            }
        };
        std::future::ready(kept)
    })
}

/// What changes, for `Controller::watches_stream` and the like.
pub fn changes<K>(
    ctx: &Context,
    target: &Target<'_>,
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<K>> + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    events(ctx, target, api, config).touched_objects()
}
