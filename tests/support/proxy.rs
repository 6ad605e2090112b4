//! A reverse proxy that lies when a test says so. It stands before any HTTPS server and knows nothing of it: bodies
//! stream through, what came is counted, and lies are told and taken back while it runs.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

type Body = BoxBody<Bytes, io::Error>;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// When it came.
    pub at: Instant,
    /// When the server had acted on it, and answered the proxy.
    pub acted: Option<Instant>,
}

impl Call {
    /// Whether it is this method on a path that begins like this.
    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.target.starts_with(path)
    }
}

/// An answer made up by the proxy.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    /// An answer of this status, media type and body.
    pub fn new(status: u16, media_type: &str, body: impl Into<String>) -> Self {
        Self { status, headers: vec![("content-type", media_type.to_owned())], body: body.into() }
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// A page for people.
    pub fn page(status: u16) -> Self {
        Self::new(status, "text/html; charset=utf-8", "<!doctype html><title>Hello</title><p>This is a gateway.")
    }

    /// With this header too.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What becomes of a request.
pub enum Lie {
    /// The server never hears of it; this is answered.
    Instead(Reply),
    /// The server acts; this is answered.
    ActedBut(Reply),
    /// The server never hears of it; the connection breaks.
    Reset,
    /// The server acts; the connection breaks.
    ActedButReset,
    /// The server acts; half of its answer's body comes, then the connection breaks.
    Truncated,
    /// The server acts; the body of the answer never ends.
    Endless,
    /// The server's JSON is changed.
    Json(Box<dyn Fn(&mut Value) + Send + Sync>),
    /// The headers of the server's answer are changed; its body streams through.
    Headers(Box<dyn Fn(&mut HeaderMap) + Send + Sync>),
    /// It waits until [`Told::release`], and is then passed on, even when the client has given up.
    Held,
    /// It waits for so long, and is then passed on, even when the client has given up.
    Late(Duration),
    /// It waits until a request like this was answered that came later, but not longer than this, and is then passed
    /// on, even when the client has given up.
    Behind(Box<dyn Fn(&Call) -> bool + Send + Sync>, Duration),
}

/// Decides what becomes of a request, from what came and its body; `None`: the truth.
pub type Chooser = Box<dyn Fn(&Call, &[u8]) -> Option<Lie> + Send + Sync>;

struct Rule {
    matches: Box<dyn Fn(&Call) -> bool + Send + Sync>,
    lie: Lie,
    left: AtomicUsize,
    matched: AtomicUsize,
    released: watch::Sender<bool>,
}

/// A lie that is being told.
pub struct Told {
    rule: Arc<Rule>,
    shared: Arc<Shared>,
}

impl Told {
    /// How many requests it was told to.
    pub fn matched(&self) -> usize {
        self.rule.matched.load(Ordering::SeqCst)
    }

    /// Passes on what is held, now and later.
    pub fn release(&self) {
        self.rule.released.send_replace(true);
    }

    /// The truth again.
    pub fn stop(self) {
        self.shared.rules.lock().expect("no panic in here").retain(|r| !Arc::ptr_eq(r, &self.rule));
        self.release();
    }
}

struct Shared {
    upstream: Mutex<String>,
    http: reqwest::Client,
    rules: Mutex<Vec<Arc<Rule>>>,
    chooser: Mutex<Option<Chooser>>,
    calls: Mutex<Vec<Call>>,
    /// Requests that came and are not answered yet, those included whose client has given up.
    in_flight: AtomicUsize,
    /// Counts up when all connections are to break.
    cut: watch::Sender<u64>,
}

/// The proxy, running.
pub struct Proxy {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Proxy {
    /// Listens on loopback, with this certificate; until it is pointed somewhere, it breaks every connection. It
    /// trusts the certificates in `ca`.
    pub fn new(certificate: &Path, key: &Path, ca: &str) -> Self {
        Self::with_idle(certificate, key, ca, 0)
    }

    /// As [`Proxy::new`], with so many connections to the server kept open between requests: less work for a server, and
    /// a request now and then that breaks because one had just been closed.
    pub fn with_idle(certificate: &Path, key: &Path, ca: &str, idle: usize) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).expect("a certificate").collect();
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.expect("a certificate"), key)
            .expect("a certificate and its key");
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).expect("a CA")])
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(idle)
            .build()
            .expect("an HTTP client");
        let shared = Arc::new(Shared {
            upstream: Mutex::default(),
            http,
            rules: Mutex::default(),
            chooser: Mutex::default(),
            calls: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            cut: watch::Sender::new(0),
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), shared.clone()));
        Self { url, shared, runtime: Some(runtime) }
    }

    /// From now on requests go to the server at this URL.
    pub fn point_at(&self, upstream: &str) {
        upstream.clone_into(&mut self.shared.upstream.lock().expect("no panic in here"));
    }

    /// Lies to every request that matches, until stopped. A later lie goes before an earlier one.
    pub fn lie(&self, matches: impl Fn(&Call) -> bool + Send + Sync + 'static, lie: Lie) -> Told {
        self.lie_times(usize::MAX, matches, lie)
    }

    /// Lies to the next so many requests that match.
    pub fn lie_times(&self, times: usize, matches: impl Fn(&Call) -> bool + Send + Sync + 'static, lie: Lie) -> Told {
        let rule = Arc::new(Rule {
            matches: Box::new(matches),
            lie,
            left: AtomicUsize::new(times),
            matched: AtomicUsize::new(0),
            released: watch::Sender::new(false),
        });
        self.shared.rules.lock().expect("no panic in here").push(rule.clone());
        Told { rule, shared: self.shared.clone() }
    }

    /// From now on this decides about every request that no lie matches; `None`: the truth again.
    pub fn choose(&self, chooser: Option<Chooser>) {
        *self.shared.chooser.lock().expect("no panic in here") = chooser;
    }

    /// Breaks every connection that is open, streams that run included.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|n| *n += 1);
    }

    /// How many requests are under way, held back ones included.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// What came so far and matches.
    pub fn calls(&self, matches: impl Fn(&Call) -> bool) -> Vec<Call> {
        self.shared.calls.lock().expect("no panic in here").iter().filter(|c| matches(c)).cloned().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, tls.clone(), shared.clone()));
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    let serve = async {
        let Ok(stream) = tls.accept(stream).await else { return };
        let service = hyper::service::service_fn(|request| answer(request, shared.clone()));
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    };
    tokio::select! {
        () = serve => {}
        _ = cut.changed() => {}
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let call = Call {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        at: Instant::now(),
        acted: None,
    };
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let number = {
        let mut calls = shared.calls.lock().expect("no panic in here");
        calls.push(call.clone());
        calls.len() - 1
    };
    let rule = rule_for(&shared, &call).or_else(|| chosen(&shared, &call, &body));
    // A task of its own: a client that gives up does not take its request back.
    shared.in_flight.fetch_add(1, Ordering::SeqCst);
    let work = tokio::spawn(async move {
        let answer = told(&shared, rule, parts, number, &call.target, body).await;
        shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        answer
    });
    work.await.map_err(io::Error::other)?
}

fn chosen(shared: &Shared, call: &Call, body: &[u8]) -> Option<Arc<Rule>> {
    let lie = shared.chooser.lock().expect("no panic in here").as_ref()?(call, body)?;
    let (left, matched) = (AtomicUsize::new(0), AtomicUsize::new(1));
    Some(Arc::new(Rule { matches: Box::new(|_| false), lie, left, matched, released: watch::Sender::new(false) }))
}

/// Waits until the server has acted on a request like this that came after the one of this number.
async fn acted_on_later(shared: &Shared, number: usize, matches: &(dyn Fn(&Call) -> bool + Send + Sync)) {
    let is_there = || {
        let calls = shared.calls.lock().expect("no panic in here");
        calls[number + 1..].iter().any(|c| c.acted.is_some() && matches(c))
    };
    while !is_there() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn rule_for(shared: &Shared, call: &Call) -> Option<Arc<Rule>> {
    let rules = shared.rules.lock().expect("no panic in here");
    let take = |n: usize| n.checked_sub(1);
    let found = rules
        .iter()
        .rev()
        .find(|r| (r.matches)(call) && r.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok())?;
    found.matched.fetch_add(1, Ordering::SeqCst);
    Some(found.clone())
}

async fn told(
    shared: &Shared,
    rule: Option<Arc<Rule>>,
    parts: hyper::http::request::Parts,
    number: usize,
    target: &str,
    body: Bytes,
) -> io::Result<Response<Body>> {
    let Some(rule) = rule else { return Ok(stream_through(pass_on(shared, parts, number, target, body).await?)) };
    match &rule.lie {
        Lie::Instead(reply) => return Ok(made_up(reply)),
        Lie::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
        Lie::Held => {
            let _ = rule.released.subscribe().wait_for(|r| *r).await;
        }
        Lie::Late(span) => tokio::time::sleep(*span).await,
        Lie::Behind(matches, longest) => {
            let _ = tokio::time::timeout(*longest, acted_on_later(shared, number, matches)).await;
        }
        _ => {}
    }
    let answer = pass_on(shared, parts, number, target, body).await?;
    match &rule.lie {
        Lie::ActedBut(reply) => Ok(made_up(reply)),
        Lie::ActedButReset => Err(io::ErrorKind::ConnectionReset.into()),
        Lie::Truncated => {
            let (mut head, whole) = whole(answer).await?;
            head.headers_mut().insert(header::CONTENT_LENGTH, whole.len().into());
            let half = whole.slice(..whole.len() / 2);
            // Not at once, so that the head and this half are sent before.
            let broken = stream::once(async {
                tokio::task::yield_now().await;
                Err(io::ErrorKind::ConnectionReset.into())
            });
            Ok(head.map(|()| streamed(stream::iter([Ok(half)]).chain(broken))))
        }
        Lie::Endless => {
            let (head, whole) = whole(answer).await?;
            let spaces = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 4096])));
            Ok(head.map(|()| streamed(stream::iter([Ok(whole)]).chain(spaces))))
        }
        Lie::Json(change) => {
            let (head, whole) = whole(answer).await?;
            let mut json = serde_json::from_slice(&whole).map_err(io::Error::other)?;
            change(&mut json);
            Ok(head.map(|()| full(json.to_string())))
        }
        Lie::Headers(change) => {
            let mut answer = stream_through(answer);
            change(answer.headers_mut());
            Ok(answer)
        }
        _ => Ok(stream_through(answer)),
    }
}

async fn pass_on(
    shared: &Shared,
    parts: hyper::http::request::Parts,
    number: usize,
    target: &str,
    body: Bytes,
) -> io::Result<reqwest::Response> {
    let upstream = shared.upstream.lock().expect("no panic in here").clone();
    let mut headers = parts.headers;
    // Servers that go by it name the proxy's addresses for theirs.
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
        headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https"));
    }
    // What belongs to this hop; and answers in plain text, so that they can be changed.
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::ACCEPT_ENCODING] {
        headers.remove(name);
    }
    let request = shared.http.request(parts.method, format!("{upstream}{target}")).headers(headers).body(body);
    let answer = request.send().await.map_err(io::Error::other)?;
    shared.calls.lock().expect("no panic in here")[number].acted = Some(Instant::now());
    Ok(answer)
}

fn head(answer: &reqwest::Response) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = answer.status();
    *head.headers_mut() = answer.headers().clone();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        head.headers_mut().remove(name);
    }
    head
}

async fn whole(answer: reqwest::Response) -> io::Result<(Response<()>, Bytes)> {
    let head = head(&answer);
    Ok((head, answer.bytes().await.map_err(io::Error::other)?))
}

fn stream_through(answer: reqwest::Response) -> Response<Body> {
    head(&answer).map(|()| streamed(answer.bytes_stream().map_err(io::Error::other)))
}

fn made_up(reply: &Reply) -> Response<Body> {
    let mut answer = Response::new(full(reply.body.clone()));
    *answer.status_mut() = reply.status.try_into().expect("a status");
    for (name, value) in &reply.headers {
        answer.headers_mut().insert(HeaderName::from_static(name), value.parse().expect("a header's value"));
    }
    answer
}

fn full(text: String) -> Body {
    Full::from(text).map_err(|never: Infallible| match never {}).boxed()
}

fn streamed(chunks: impl futures::Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Body {
    BodyExt::boxed(StreamBody::new(chunks.map_ok(Frame::data)))
}
