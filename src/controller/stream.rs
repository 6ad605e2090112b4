//! Watching: each watch with a back-off of its own, its failures logged once, its first list told to readiness.
//!
//! `Controller::watches` would hand failures to the controller, which then holds back the events of all its watches:
//! one kind that may not be listed would slow down everything.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
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
    patiently(watcher(api, config)).filter_map(move |event| {
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

/// How long is waited after a failure, longer each time.
struct Patience(Arc<Mutex<DefaultBackoff>>);

impl Patience {
    fn lock(&self) -> MutexGuard<'_, DefaultBackoff> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.lock().next()
    }
}

impl Backoff for Patience {
    /// Called for an `Init` too, which comes before anything was asked for: one kind that may not be listed would be tried
    /// every second for ever.
    fn reset(&mut self) {}
}

/// Waits longer after each failure, until something came that only an answer can bring.
fn patiently<K: Send>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send {
    let backoff = Arc::new(Mutex::default());
    let patience = Patience(backoff.clone());
    events.backoff(Patience(backoff)).inspect(move |event| {
        if event.as_ref().is_ok_and(|event| !matches!(event, watcher::Event::Init)) {
            patience.lock().reset();
        }
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

/// As [`changes`], without those that leave what is taken of an object as it was: a status that is written often, of an
/// object that many others hang on, would have all of those looked at each time.
pub fn news<K, T>(
    ctx: &Context,
    target: &Target<'_>,
    api: Api<K>,
    config: watcher::Config,
    of: fn(&K) -> T,
) -> impl Stream<Item = watcher::Result<K>> + use<K, T>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    T: PartialEq,
{
    only_news(events(ctx, target, api, config), of).touched_objects()
}

fn only_news<K, T>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    of: fn(&K) -> T,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>>
where
    K: Resource<DynamicType = ()>,
    T: PartialEq,
{
    let mut known = HashMap::new();
    events.filter(move |event| {
        let new = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                let taken = of(object);
                let name = (object.meta().namespace.clone(), object.meta().name.clone());
                known.get(&name) != Some(&taken) && {
                    known.insert(name, taken);
                    true
                }
            }
            Ok(watcher::Event::Delete(object)) => {
                known.remove(&(object.meta().namespace.clone(), object.meta().name.clone()));
                true
            }
            _ => true,
        };
        std::future::ready(new)
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Event::{Apply, Delete, Init, InitApply, InitDone};

    use super::*;

    fn object(name: &str, value: &str) -> ConfigMap {
        let data = Some([("value".to_owned(), value.to_owned())].into());
        ConfigMap {
            data,
            metadata: kube::api::ObjectMeta { name: Some(name.into()), ..Default::default() },
            ..Default::default()
        }
    }

    /// In seconds, until the last of these has come.
    async fn takes(events: Vec<watcher::Result<watcher::Event<ConfigMap>>>) -> f64 {
        let began = tokio::time::Instant::now();
        patiently(futures::stream::iter(events)).count().await;
        began.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_not_be_listed_is_asked_for_less_and_less() {
        let fails = || [Ok(Init), Err(watcher::Error::NoResourceVersion)];
        assert!(takes((0..6).flat_map(|_| fails()).collect()).await > 20.0);
        let works = || [Ok(Init), Ok(InitDone), Err(watcher::Error::NoResourceVersion)];
        assert!(takes((0..6).flat_map(|_| works()).collect()).await < 12.0, "what works in between is no such thing");
    }

    #[tokio::test]
    async fn only_what_is_new_is_told() {
        let a = |value| object("a", value);
        let all = [
            Init,
            InitApply(a("1")),
            InitDone,
            Apply(a("1")),
            Apply(a("2")),
            Apply(object("b", "2")),
            Init,
            InitApply(a("2")),
            InitDone,
            Delete(a("2")),
            Apply(a("2")),
        ];
        let told = only_news(futures::stream::iter(all.map(Ok)), |object| object.data.clone()).touched_objects();
        let told: Vec<_> = told.map(|o| o.ok().and_then(|o| o.metadata.name)).collect().await;
        let names: Vec<_> = told.iter().flatten().map(String::as_str).collect();
        assert_eq!(names, ["a", "a", "b", "a", "a"], "made, changed, another, deleted, made again as it was");
    }
}
