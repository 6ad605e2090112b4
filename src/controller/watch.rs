//! Watches: what a controller's objects hang on, and which of them an event is about. An index answers that, so that an
//! event costs the same however many objects there are.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, reflector};
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Context;
use super::stream::{self, Target};
use crate::kubernetes::scope;

/// Something that an object hangs on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A namespace.
    Namespace(String),
    /// An `AuthorizationServer`.
    Server(String),
    /// The policies, all of them.
    Policies,
    /// A tenant's Secret.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A workload.
    Workload {
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Objects by what they hang on.
pub struct Index<K: Resource<DynamicType = ()>> {
    known: Mutex<Known<K>>,
    keys_of: fn(&K) -> Vec<Key>,
}

struct Known<K: Resource<DynamicType = ()>> {
    objects: HashMap<Key, HashSet<ObjectRef<K>>>,
    keys: HashMap<ObjectRef<K>, Vec<Key>>,
    /// Objects named so far by a list that is under way: the others are gone.
    listed: HashSet<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()>> Known<K> {
    fn put(&mut self, object: ObjectRef<K>, keys: Vec<Key>) {
        self.forget(&object);
        for key in &keys {
            self.objects.entry(key.clone()).or_default().insert(object.clone());
        }
        if !keys.is_empty() {
            self.keys.insert(object, keys);
        }
    }

    fn forget(&mut self, object: &ObjectRef<K>) {
        for key in self.keys.remove(object).unwrap_or_default() {
            if let Some(objects) = self.objects.get_mut(&key) {
                objects.remove(object);
                if objects.is_empty() {
                    self.objects.remove(&key);
                }
            }
        }
    }
}

impl<K: Resource<DynamicType = ()>> Index<K> {
    fn new(keys_of: fn(&K) -> Vec<Key>) -> Self {
        let known = Known { objects: HashMap::new(), keys: HashMap::new(), listed: HashSet::new() };
        Self { known: Mutex::new(known), keys_of }
    }

    /// The objects that hang on this.
    pub fn on(&self, key: &Key) -> Vec<ObjectRef<K>> {
        self.lock().objects.get(key).into_iter().flatten().cloned().collect()
    }

    fn see(&self, event: &Event<K>) {
        let mut known = self.lock();
        match event {
            Event::Apply(object) => known.put(ObjectRef::from_obj(object), (self.keys_of)(object)),
            Event::Delete(object) => known.forget(&ObjectRef::from_obj(object)),
            Event::Init => known.listed.clear(),
            Event::InitApply(object) => {
                let this = ObjectRef::from_obj(object);
                known.listed.insert(this.clone());
                known.put(this, (self.keys_of)(object));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut known.listed);
                let gone: Vec<_> = known.keys.keys().filter(|o| !listed.contains(o)).cloned().collect();
                for object in gone {
                    known.forget(&object);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known<K>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A controller, what its objects hang on, and its cache of them.
pub struct Begun<K: Resource<DynamicType = ()> + Clone + Debug + 'static> {
    /// The controller.
    pub controller: Controller<K>,
    /// Which objects hang on what.
    pub index: Arc<Index<K>>,
    /// The objects.
    pub store: Store<K>,
}

/// A controller of these objects, started by changes of theirs, of their namespaces, and of their workloads in these
/// places (`None` is everywhere); and by whatever calls for looking at everything again.
pub fn controller<K>(
    ctx: &Context,
    target: &Target<'_>,
    api: Api<K>,
    places: &[Option<String>],
    keys_of: fn(&K) -> Vec<Key>,
) -> Begun<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let index = Arc::new(Index::new(keys_of));
    let writer = Writer::<K>::new(());
    let store = writer.as_reader();
    let seen = index.clone();
    let any = watcher::Config::default();
    let events = stream::events(ctx, target, api, any.clone()).inspect_ok(move |event| seen.see(event));
    let mut controller = Controller::for_stream(reflector(writer, events).applied_objects(), store.clone())
        .reconcile_all_on(ctx.occasions())
        .graceful_shutdown_on(ctx.stopped());
    let on = index.clone();
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(ctx.client.clone());
    controller = controller.watches_stream(
        stream::changes(ctx, &Target { resource: "namespaces", ..*target }, namespaces, any.clone()),
        move |namespace| on.on(&Key::Namespace(namespace.name_any())),
    );
    for (resource, place) in ctx.kinds.all().iter().flat_map(|r| places.iter().map(move |p| (r, p.as_deref()))) {
        let (on, kind) = (index.clone(), resource.kind.clone());
        let target = Target { resource: &resource.plural, namespace: place, needed: false, ..*target };
        let workloads = scope::api_of::<PartialObjectMeta<DynamicObject>>(&ctx.client, place, resource);
        controller = controller.watches_stream_with(
            stream::changes(ctx, &target, workloads, any.clone()),
            move |workload| {
                let (namespace, name) = (workload.namespace().unwrap_or_default(), workload.name_any());
                on.on(&Key::Workload { kind: kind.clone(), namespace, name })
            },
            resource.clone(),
        );
    }
    Begun { controller, index, store }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn object(name: &str, on: &[&str]) -> ConfigMap {
        let data = on.iter().map(|k| ((*k).to_owned(), String::new())).collect();
        ConfigMap {
            metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
            data: Some(data),
            ..ConfigMap::default()
        }
    }

    fn names(index: &Index<ConfigMap>, key: &str) -> Vec<String> {
        let mut names: Vec<_> = index.on(&Key::Server(key.into())).into_iter().map(|o| o.name).collect();
        names.sort();
        names
    }

    #[test]
    fn follows_changes_deletions_and_fresh_lists() {
        let index = Index::new(|o: &ConfigMap| o.data.iter().flatten().map(|(k, _)| Key::Server(k.clone())).collect());
        for event in [
            Event::Init,
            Event::InitApply(object("a", &["x", "y"])),
            Event::InitApply(object("b", &["x"])),
            Event::InitDone,
        ] {
            index.see(&event);
        }
        assert_eq!(names(&index, "x"), ["a", "b"]);
        index.see(&Event::Apply(object("a", &["y"])));
        assert_eq!(names(&index, "x"), ["b"]);
        index.see(&Event::Delete(object("b", &["x"])));
        assert!(names(&index, "x").is_empty());
        assert_eq!(names(&index, "y"), ["a"]);
        for event in [Event::Init, Event::InitApply(object("c", &["y"])), Event::InitDone] {
            index.see(&event);
        }
        assert_eq!(names(&index, "y"), ["c"], "what a fresh list does not name is gone");
        assert_eq!(index.lock().keys.len(), 1);
    }
}
