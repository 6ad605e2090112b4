//! Clients that are judged anew because a policy changed: a few at a time, so that whatever else happens to a client need not
//! wait for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::api::OAuthClient;

/// How many at a time.
const AT_ONCE: usize = 8;
/// One that was not passed over for so long is gone.
const LOST: Duration = Duration::from_secs(30);

/// Namespace and name.
type Name = (String, String);

/// Those that are judged anew now.
#[derive(Debug)]
pub struct Judging {
    places: Arc<Semaphore>,
    under_way: Mutex<HashMap<Name, (Instant, OwnedSemaphorePermit)>>,
}

impl Default for Judging {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), under_way: Mutex::default() }
    }
}

impl Judging {
    /// Waits until there is a place for this one.
    pub(super) async fn begins(&self, client: &ObjectRef<OAuthClient>) {
        let name = (client.namespace.clone().unwrap_or_default(), client.name.clone());
        loop {
            self.under_way().retain(|_, (since, _)| since.elapsed() < LOST);
            let place = timeout(Duration::from_secs(1), self.places.clone().acquire_owned()).await;
            if let Ok(Ok(place)) = place {
                self.under_way().insert(name, (Instant::now(), place));
                return;
            }
        }
    }

    /// A pass over this one has ended.
    pub(super) fn is_done(&self, client: &OAuthClient) {
        self.under_way().remove(&(client.namespace().unwrap_or_default(), client.name_any()));
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashMap<Name, (Instant, OwnedSemaphorePermit)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> OAuthClient {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient",
            "metadata": {"name": name, "namespace": "team"},
            "spec": {
                "authorizationServerRef": {"name": "s"}, "owner": {"team": "t", "email": "t@corp.example"},
                "purpose": "p", "scopes": ["a"], "lifetime": {"ttl": "1h"},
            },
        }))
        .unwrap()
    }

    /// Whether one more may begin at once.
    async fn may_begin(judging: &Judging, name: &str) -> bool {
        let all = ObjectRef::from_obj(&client(name));
        timeout(Duration::from_millis(100), judging.begins(&all)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_at_a_time_and_none_holds_a_place_for_good() {
        let judging = Judging::default();
        for n in 0..AT_ONCE {
            assert!(may_begin(&judging, &n.to_string()).await);
        }
        assert!(!may_begin(&judging, "another").await);
        judging.is_done(&client("of no wave"));
        assert!(!may_begin(&judging, "another").await);
        judging.is_done(&client("3"));
        assert!(may_begin(&judging, "another").await);
        assert!(!may_begin(&judging, "one more").await);
        // Those that were deleted before their turn are never passed over.
        tokio::time::advance(LOST).await;
        assert!(may_begin(&judging, "one more").await);
    }
}
