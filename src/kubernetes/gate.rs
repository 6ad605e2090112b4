//! What the controllers' Kubernetes client sends, and when: a replica that may not act now reads, and writes nothing; and
//! never is so much under way that the renewal of the lease waits behind it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request};
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service};

use crate::permit::{Lapsed, Permit};

/// How many requests are under way at a time, reading and writing each, watches apart. A replica that takes over looks at
/// everything: without a bound all of it is asked at once, and the API server, which lets each user's requests wait for each
/// other, is late with the lease. What writes has turns of its own: a credential that has to be stored waits behind no reading.
const AT_A_TIME: usize = 24;

/// The longest that an answer is waited for, watches apart: a turn is not kept for one that does not come.
const LONGEST: Duration = Duration::from_secs(60);

/// A layer for the Kubernetes client: whatever is no reading is sent while the permit is valid, and only then.
#[derive(Debug, Clone)]
pub struct Gate {
    permit: Permit,
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
}

impl Gate {
    /// A gate that this permit opens.
    pub fn new(permit: Permit) -> Self {
        let turns = || Arc::new(Semaphore::new(AT_A_TIME));
        Self { permit, reading: turns(), writing: turns() }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.clone() }
    }
}

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let reads = request.method() == Method::GET;
        let watches = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
        let Gate { permit, reading, writing } = self.gate.clone();
        if !reads && !permit.is_valid() {
            return Box::pin(async { Err(Lapsed.into()) });
        }
        // Nothing of it is sent before it is polled.
        let sent = self.inner.call(request);
        Box::pin(async move {
            if watches {
                return sent.await.map_err(Into::into);
            }
            let in_turn = async {
                let _turn = if reads { reading.acquire().await? } else { writing.acquire().await? };
                let answered = tokio::time::timeout(LONGEST, sent).await;
                answered.map_err(|_| format!("no answer within {} s", LONGEST.as_secs()))?.map_err(Into::into)
            };
            if reads { in_turn.await } else { permit.guard(in_turn).await? }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::Response;
    use tower::ServiceExt;

    use super::*;

    #[rstest::rstest]
    #[case(Method::GET, Permit::none(), 1)]
    #[case(Method::POST, Permit::none(), 0)]
    #[case(Method::PATCH, Permit::none(), 0)]
    #[case(Method::DELETE, Permit::none(), 0)]
    #[case(Method::PUT, Permit::unlimited(), 1)]
    #[tokio::test]
    async fn only_reading_needs_no_permit(#[case] method: Method, #[case] permit: Permit, #[case] expected: usize) {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let server = tower::service_fn(move |_: Request<()>| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, BoxError>(Response::new(())))
        });
        let request = Request::builder().method(method).body(()).unwrap();
        let answer = Gate::new(permit).layer(server).oneshot(request).await;
        assert_eq!((answer.is_ok(), sent.load(Ordering::Relaxed)), (expected == 1, expected));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_under_way_and_watches_besides() {
        let under_way = Arc::new(AtomicUsize::new(0));
        let counted = under_way.clone();
        let server = tower::service_fn(move |_: Request<()>| {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                Ok::<_, BoxError>(Response::new(()))
            }
        });
        let gated = Gate::new(Permit::unlimited()).layer(server);
        let ask = |method: Method, uri: &'static str| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            tokio::spawn(gated.clone().oneshot(request))
        };
        let reads = (0..2 * AT_A_TIME).map(|_| ask(Method::GET, "/api/v1/namespaces/a?limit=5"));
        let writes = (0..2 * AT_A_TIME).map(|_| ask(Method::PATCH, "/api/v1/namespaces/a"));
        let all: Vec<_> = reads.chain(writes).collect();
        let watch = ask(Method::GET, "/api/v1/namespaces?limit=5&watch=true");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(under_way.load(Ordering::Relaxed), 2 * AT_A_TIME + 1, "and the watch");
        // One whose asker goes away makes room.
        all[0].abort();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(under_way.load(Ordering::Relaxed), 2 * AT_A_TIME + 2);
        for sent in all.into_iter().skip(1).chain([watch]) {
            assert!(sent.await.expect("it was not aborted").is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_answered_does_not_keep_its_turn() {
        let server = tower::service_fn(|request: Request<()>| async move {
            if request.method() == Method::GET {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Response::new(()))
        });
        let gated = Gate::new(Permit::unlimited()).layer(server);
        let ask = |method: Method| gated.clone().oneshot(Request::builder().method(method).body(()).unwrap());
        let hang: Vec<_> = (0..3 * AT_A_TIME).map(|_| tokio::spawn(ask(Method::GET))).collect();
        let began = tokio::time::Instant::now();
        ask(Method::PUT).await.expect("what writes waits behind nothing that reads");
        assert!(began.elapsed() < std::time::Duration::from_secs(1));
        for read in hang {
            let why = read.await.expect("no panic").expect_err("it is given up");
            assert!(why.to_string().contains("no answer within 60 s"), "{why}");
        }
    }
}
