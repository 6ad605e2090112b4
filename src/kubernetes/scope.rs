//! The namespaces that are watched: all, or those named. OAuthClients, tenants' Secrets and workloads in others are
//! not looked at.

use kube::api::ApiResource;
use kube::core::{DynamicResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource};

/// Which namespaces are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// The namespaces of these names; without a name, all.
    pub fn new(names: &[String]) -> Result<Self, String> {
        let mut all: Vec<String> = Vec::new();
        for name in names.iter().map(|n| n.trim()) {
            let label = (1..=63).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !name.starts_with('-')
                && !name.ends_with('-');
            if !label {
                return Err(format!(
                    "{name:?} is no name of a namespace; give names separated by commas, such as team-a,team-b, or leave it out to watch all"
                ));
            }
            all.push(name.to_owned());
        }
        all.sort_unstable();
        all.dedup();
        Ok(Self(all))
    }

    /// Whether this namespace is watched.
    pub fn includes(&self, namespace: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|n| n == namespace)
    }

    /// One namespace after the other, or `None` alone, which means all.
    pub fn each(&self) -> Vec<Option<String>> {
        if self.0.is_empty() { vec![None] } else { self.0.iter().cloned().map(Some).collect() }
    }
}

/// Objects in one namespace, or in all.
pub fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    namespace.map_or_else(|| Api::all(client.clone()), |n| Api::namespaced(client.clone(), n))
}

/// Objects of a kind that is known at run time only, in one namespace, or in all.
pub fn api_of<K>(client: &Client, namespace: Option<&str>, kind: &ApiResource) -> Api<K>
where
    K: Resource<Scope = DynamicResourceScope, DynamicType = ApiResource>,
{
    namespace.map_or_else(|| Api::all_with(client.clone(), kind), |n| Api::namespaced_with(client.clone(), n, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_those_named() {
        let all = Scope::new(&[]).unwrap();
        assert!(all.includes("any"));
        assert_eq!(all.each(), [None]);
        let some = Scope::new(&["b".into(), " a".into(), "b".into()]).unwrap();
        assert!(some.includes("a") && some.includes("b") && !some.includes("c"));
        assert_eq!(some.each(), [Some("a".into()), Some("b".into())]);
    }

    #[rstest::rstest]
    #[case("")]
    #[case("A")]
    #[case("a_b")]
    #[case("-a")]
    #[case("a/b")]
    #[case("*")]
    fn what_is_no_name_is_refused_and_not_taken_for_all(#[case] name: &str) {
        assert!(Scope::new(&[name.into()]).unwrap_err().contains("no name of a namespace"));
    }
}
