//! Workloads: which kinds may be watched, and looking at one.

use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};

use super::look::{Look, look};
use crate::api::WorkloadRef;
use crate::domain::workload::{Workload, finished};

/// Kinds that may bound a client's life without being configured.
pub const BUILT_IN: [(&str, &str, &str); 7] = [
    ("batch/v1", "Job", "jobs"),
    ("batch/v1", "CronJob", "cronjobs"),
    ("v1", "Pod", "pods"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("apps/v1", "DaemonSet", "daemonsets"),
    ("apps/v1", "ReplicaSet", "replicasets"),
];

/// The kinds that may be watched.
#[derive(Debug, Clone)]
pub struct Kinds(Vec<ApiResource>);

impl Kinds {
    /// The built-in kinds and those configured, each as `group/version/Kind` or `group/version/Kind/plural`.
    pub fn new(configured: &[String]) -> Result<Self, String> {
        let built_in = BUILT_IN.iter().map(|(version, kind, plural)| resource(version, kind, Some(plural)));
        let mut all: Vec<ApiResource> = built_in.collect();
        for text in configured {
            let parts: Vec<&str> = text.split('/').collect();
            let found = match parts.as_slice() {
                [group, version, kind] => resource(&format!("{group}/{version}"), kind, None),
                [group, version, kind, plural] => resource(&format!("{group}/{version}"), kind, Some(plural)),
                _ => return Err(format!("workload kind {text:?} is not of the form group/version/Kind[/plural]")),
            };
            all.push(found);
        }
        Ok(Self(all))
    }

    /// All of them.
    pub fn all(&self) -> &[ApiResource] {
        &self.0
    }

    fn find(&self, reference: &WorkloadRef) -> Option<&ApiResource> {
        self.0.iter().find(|r| r.api_version == reference.api_version && r.kind == reference.kind)
    }

    /// Looks at a workload, live.
    pub async fn look(&self, client: &Client, namespace: &str, reference: Option<&WorkloadRef>) -> Workload {
        let Some(reference) = reference else { return Workload::NotReferenced };
        let Some(resource) = self.find(reference) else {
            let allowed: Vec<String> = self.0.iter().map(|r| format!("{}/{}", r.api_version, r.kind)).collect();
            return Workload::NotAllowed {
                message: format!(
                    "workloads of kind {}/{} are not watched here, only {}; the operator's --workload-kind adds one",
                    reference.api_version,
                    reference.kind,
                    allowed.join(", ")
                ),
            };
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
        let named = match resource.group.as_str() {
            "" => resource.plural.clone(),
            group => format!("{}.{group}", resource.plural),
        };
        match look(&api, &named, &reference.name).await {
            Look::There(found) => Workload::Present {
                uid: found.uid().unwrap_or_default(),
                finished: found.data.get("status").and_then(|s| finished(&reference.kind, s)),
            },
            Look::Gone => Workload::Missing,
            Look::Unknown(_) => Workload::Unknown,
        }
    }
}

fn resource(api_version: &str, kind: &str, plural: Option<&str>) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    plural.map_or_else(|| ApiResource::from_gvk(&gvk), |p| ApiResource::from_gvk_with_plural(&gvk, p))
}
