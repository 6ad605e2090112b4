//! The Kubernetes client of a replica that may not act now reads, and writes nothing.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request};
use tower::{BoxError, Layer, Service};

use crate::permit::{Lapsed, Permit};

/// A layer for the Kubernetes client: whatever is no reading is sent while the permit is valid, and only then.
#[derive(Debug, Clone)]
pub struct Gate(pub Permit);

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, permit: self.0.clone() }
    }
}

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    inner: S,
    permit: Permit,
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
        if !reads && !self.permit.is_valid() {
            return Box::pin(async { Err(Lapsed.into()) });
        }
        let sent = self.inner.call(request);
        if reads {
            return Box::pin(async { sent.await.map_err(Into::into) });
        }
        let permit = self.permit.clone();
        Box::pin(async move { permit.guard(sent).await?.map_err(Into::into) })
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
        let answer = Gate(permit).layer(server).oneshot(request).await;
        assert_eq!((answer.is_ok(), sent.load(Ordering::Relaxed)), (expected == 1, expected));
    }
}
