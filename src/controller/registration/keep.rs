//! Storing what managing a client takes. It exists nowhere else until it is stored.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use tokio::time::{Instant, sleep};

use crate::controller::Context;
use crate::kubernetes::look::is_conflict;
use crate::kubernetes::management_secret::{self, Stored};
use crate::kubernetes::writer;

/// How long storing a registration is tried, before it is undone; a pass may take twice as long.
const LONGEST: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(500);
/// The longest between two tries to store what a change brought.
const LONGEST_BETWEEN: Duration = Duration::from_secs(5);

/// The entries whose changed credentials are being stored. That goes on when the pass that began it does not, as long as
/// the process lives: a pass that comes later would know the old ones only, which are dead.
#[derive(Debug, Default)]
pub struct Keeping {
    under_way: Mutex<HashSet<String>>,
    done: tokio::sync::Notify,
}

/// One of them, until dropped.
struct Kept {
    all: Arc<Keeping>,
    name: String,
}

impl Keeping {
    /// Whether this entry's are: what is on record is not what is true.
    pub fn is_under_way(&self, name: &str) -> bool {
        self.lock().contains(name)
    }

    /// Done once nothing is left to store.
    pub async fn idle(&self) {
        loop {
            let done = self.done.notified();
            if self.lock().is_empty() {
                return;
            }
            done.await;
        }
    }

    fn begin(self: &Arc<Self>, name: &str) -> Kept {
        self.lock().insert(name.to_owned());
        Kept { all: self.clone(), name: name.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.lock().remove(&self.name);
        self.all.done.notify_waiters();
    }
}

/// Stores what a registration brought. A conflict means that another pass registered for this entry as well, unless what
/// is there is this very client, stored by a write whose answer was lost.
pub async fn new(ctx: &Context, name: &str, stored: &Stored) -> Result<(), kube::Error> {
    let secrets = secrets(ctx);
    let secret = management_secret::build(name, stored);
    let start = Instant::now();
    loop {
        match secrets.create(&writer::post(), &secret).await {
            Ok(_) => return Ok(()),
            Err(error) if is_conflict(&error) => {
                let there = secrets.get(name).await.ok().and_then(|s| management_secret::parse(&s));
                let same = there.is_some_and(|t| t.management.client_id == stored.management.client_id);
                return if same { Ok(()) } else { Err(error) };
            }
            Err(_) if start.elapsed() < LONGEST => sleep(BETWEEN).await,
            Err(error) => return Err(error),
        }
    }
}

/// Stores a credential before the server hears of it. One that is there already was made by a pass that is forgotten:
/// the next pass reads it.
pub async fn prepared(ctx: &Context, name: &str, stored: &Stored) -> Result<(), kube::Error> {
    secrets(ctx).create(&writer::post(), &management_secret::build(name, stored)).await.map(|_| ())
}

/// Stores what a change brought: a rotated token is in hand, and the old one is dead. Whoever stops waiting for it does
/// not stop it.
pub async fn changed(ctx: &Context, name: &str, stored: &Stored) -> Result<(), kube::Error> {
    let secret = management_secret::build(name, stored);
    let kept = ctx.keeping.begin(name);
    let storing = tokio::spawn(replace(secrets(ctx), secret, kept));
    storing.await.unwrap_or_else(|ended| Err(kube::Error::Service(ended.into())))
}

/// Replaces a Secret, however long the API server cannot be reached.
async fn replace(secrets: Api<Secret>, secret: Secret, kept: Kept) -> Result<(), kube::Error> {
    let mut between = BETWEEN;
    loop {
        match secrets.replace(&kept.name, &writer::post(), &secret).await {
            Ok(_) => return Ok(()),
            Err(error) if is_refused(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(entry = kept.name, %error, "what a change brought could not be stored yet");
                sleep(between).await;
                between = (2 * between).min(LONGEST_BETWEEN);
            }
        }
    }
}

/// Whether trying again is no use: somebody removed the Secret by force, or it cannot be what it is to be.
fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422))
}

fn secrets(ctx: &Context) -> Api<Secret> {
    Api::namespaced(ctx.client.clone(), &ctx.namespace)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::Client;
    use kube::client::Body;

    use super::*;

    /// The API server fails so many times, then answers with this status.
    fn api(failures: usize, status: u16) -> (Api<Secret>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let n = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                if n < failures {
                    return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
                }
                let body = serde_json::json!({"code": status, "status": "Failure", "reason": "", "message": ""});
                let body = Body::from(serde_json::to_vec(&body).expect("a body"));
                Ok(http::Response::builder().status(status).body(body).expect("an answer"))
            }
        });
        (Api::namespaced(Client::new(service, "o"), "o"), asked)
    }

    async fn kept(keeping: &Arc<Keeping>, failures: usize, status: u16, patience: u64) -> (bool, usize) {
        let (secrets, asked) = api(failures, status);
        let task = tokio::spawn(replace(secrets, Secret::default(), keeping.begin("e")));
        // The pass that began it goes away.
        let _ = tokio::time::timeout(Duration::from_secs(patience), task).await;
        (keeping.is_under_way("e"), asked.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_ends_does_not_end_storing() {
        let keeping = Arc::default();
        let (under_way, tries) = kept(&keeping, 200, 200, 120).await;
        assert!(under_way && tries > 20 && tries < 40, "{tries}");
        let began = Instant::now();
        keeping.idle().await;
        assert!(!keeping.is_under_way("e") && began.elapsed() > Duration::from_secs(600));
    }

    #[rstest::rstest]
    #[case::removed_by_force(404, false)]
    #[case::not_allowed_for_a_while(403, true)]
    #[case::busy(503, true)]
    #[tokio::test(start_paused = true)]
    async fn only_what_is_refused_for_good_ends_it(#[case] status: u16, #[case] goes_on: bool) {
        assert_eq!(kept(&Arc::default(), 3, status, 60).await.0, goes_on);
    }
}
