//! One HTTP exchange with an authorization server: bounded in time and size, certificates always checked, redirects
//! and proxies never followed, nothing sent twice.
//!
//! Each request has a connection of its own. They are few; and a request on a connection kept from before could
//! fail because the server had just closed it, which cannot be told from a registration whose answer was lost.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use super::answer::{Answer, BrokenBody};
use super::breaker::{Breaker, Change, Outcome};
use super::limits::{Busy, Gate, Limits, Priority, Why};
use super::text;
use crate::permit::{Lapsed, Permit};

/// The largest body that is read, in bytes, unless a call says otherwise.
pub const LARGEST_BODY: usize = 256 * 1024;

/// The largest body that is read where a list is asked for, in bytes.
pub const LARGEST_LIST: usize = 8 * 1024 * 1024;

/// The longest a connection may take, TLS included; never more than half of the whole time-out, so that a time-out
/// tells whether anything was sent.
const LONGEST_CONNECT: Duration = Duration::from_secs(5);

/// How a server is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpConfig {
    /// PEM certificates. With them, only they are trusted; without, the system's.
    pub ca_bundle: Option<String>,
    /// Whether `http://` URLs are allowed.
    pub allow_plain_http: bool,
    /// What the server is asked to bear.
    pub limits: Limits,
}

/// Told of every request that was tried, for metrics.
pub trait RequestObserver: Send + Sync {
    /// `code` is the HTTP status, or `connect`, `tls`, `timeout`, `reset`, or `body` where the status came and the
    /// body did not.
    fn observe(&self, operation: &'static str, code: &str, took: Duration);
    /// The circuit to the server opened, or closed.
    fn circuit(&self, _open: bool) {}
}

/// Why no requests can be made to a server at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The CA bundle cannot be used.
    #[error("the CA bundle cannot be used: {0}; give one or more CERTIFICATE blocks in PEM")]
    CaBundle(String),
    /// TLS or the client could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(String),
}

/// An exchange that brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Certainly not sent: address refused, no turn, name not found, connection or TLS failed.
    #[error("{why}")]
    NotSent {
        /// What was being done, to what, what came of it, what to do next.
        why: String,
        /// When to try again at the earliest, where that is known.
        retry_after: Option<Duration>,
    },
    /// Sent, at least in part, and unanswered: it may have taken effect.
    #[error("{why}")]
    MayHaveActed {
        /// What was being done, to what, what came of it.
        why: String,
    },
}

/// What to send.
pub struct Call<'a> {
    /// What is being done, such as `register client`: for errors and metrics.
    pub operation: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Where to.
    pub url: &'a str,
    /// The whole Authorization header.
    pub authorization: Option<SecretString>,
    /// Media type and content.
    pub body: Option<(&'static str, SecretString)>,
    /// Whether it changes nothing at the server, so that an error need not warn of it.
    pub harmless: bool,
    /// The largest answer that is read, in bytes.
    pub largest_body: usize,
}

impl<'a> Call<'a> {
    /// A call without credentials and body.
    pub fn new(operation: &'static str, method: Method, url: &'a str) -> Self {
        let harmless = method == Method::GET;
        Self { operation, method, url, authorization: None, body: None, harmless, largest_body: LARGEST_BODY }
    }

    /// With a bearer token (RFC 6750 section 2.1).
    #[must_use]
    pub fn bearer(mut self, token: &SecretString) -> Self {
        self.authorization = Some(format!("Bearer {}", token.expose_secret()).into());
        self
    }
}

/// Makes requests to one server. Cheap to clone; all clones share one [`Gate`] and one [`Breaker`].
#[derive(Clone)]
pub struct Http {
    inner: Arc<Inner>,
    observer: Arc<dyn RequestObserver>,
    priority: Priority,
}

struct Inner {
    client: Client,
    gate: Arc<Gate>,
    breaker: Arc<Breaker>,
    permit: Permit,
    allow_plain_http: bool,
    request_timeout: Duration,
    no_roots: bool,
}

impl Http {
    /// A client for one server, which sends as long as it is permitted to, and gives up what it has sent when it no longer is.
    ///
    /// # Errors
    ///
    /// A CA bundle that is not PEM certificates.
    pub fn new(config: &HttpConfig, observer: Arc<dyn RequestObserver>, permit: Permit) -> Result<Self, HttpError> {
        Self::sharing(config, observer, permit, Arc::new(Gate::new(&config.limits)), Arc::default())
    }

    /// A client for the same server that trusts this CA bundle: limits and circuit are shared with this one.
    ///
    /// # Errors
    ///
    /// A CA bundle that is not PEM certificates.
    pub fn trusting(&self, config: &HttpConfig) -> Result<Self, HttpError> {
        let inner = &self.inner;
        Self::sharing(config, self.observer.clone(), inner.permit.clone(), inner.gate.clone(), inner.breaker.clone())
    }

    fn sharing(
        config: &HttpConfig,
        observer: Arc<dyn RequestObserver>,
        permit: Permit,
        gate: Arc<Gate>,
        breaker: Arc<Breaker>,
    ) -> Result<Self, HttpError> {
        let roots = match &config.ca_bundle {
            Some(bundle) => roots_of(bundle)?,
            None => system_roots(),
        };
        let no_roots = roots.is_empty();
        let client = Client::builder()
            .tls_backend_preconfigured(tls(roots)?)
            .http1_only()
            .https_only(!config.allow_plain_http)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .connect_timeout(LONGEST_CONNECT.min(config.limits.request_timeout / 2))
            .user_agent(concat!("oauthclient-operator/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| HttpError::Setup(e.to_string()))?;
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                gate,
                breaker,
                permit,
                allow_plain_http: config.allow_plain_http,
                request_timeout: config.limits.request_timeout,
                no_roots,
            }),
            observer,
            priority: Priority::default(),
        })
    }

    /// The same client, with its limits shared, of whose requests somebody else is told.
    #[must_use]
    pub fn told_to(&self, observer: Arc<dyn RequestObserver>) -> Self {
        Self { observer, ..self.clone() }
    }

    /// The same client, with its limits shared, whose requests have this priority.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self { priority, ..self.clone() }
    }

    /// The origins (RFC 6454) of the server that failed again and again and are left alone; in order.
    pub fn left_alone(&self) -> Vec<String> {
        self.inner.breaker.open()
    }

    /// Parses a URL that requests may be sent to: absolute, https (or http where allowed), a host, no user
    /// information, no fragment.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check_url(&self, text: &str) -> Result<Url, &'static str> {
        check_url(text, self.inner.allow_plain_http)
    }

    /// Sends once and reads the answer, whatever its status. Never sent again, redirects not followed.
    ///
    /// # Errors
    ///
    /// [`SendError`] when there is no status: nothing was sent, or nobody knows.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, SendError> {
        let inner = &*self.inner;
        let url = self.check_url(call.url).map_err(|what| SendError::NotSent {
            why: format!("{}: not sent, {what}; check the server's addresses", call.operation),
            retry_after: None,
        })?;
        let exchange = Exchange {
            operation: call.operation,
            target: target(&url),
            caution: if call.harmless { "" } else { "; it may have taken effect all the same" },
            no_roots: inner.no_roots,
        };
        let origin = url.origin().ascii_serialization();
        let largest_body = call.largest_body;
        let sent = call.authorization.clone();
        let request = exchange.request(&inner.client, call, url)?;

        let not_now = |busy: Busy| SendError::NotSent {
            why: format!("{exchange}: not sent, {busy}"),
            retry_after: Some(busy.retry_after),
        };
        let pass = inner
            .breaker
            .enter(&origin)
            .map_err(|open| not_now(Busy { why: Why::Failing(open.failures), retry_after: open.retry_after }))?;
        let _turn = inner.gate.enter(self.priority).await.map_err(not_now)?;
        if !inner.permit.is_valid() {
            return Err(exchange.not_sent(&Lapsed.to_string()));
        }
        let began = Instant::now();
        let deadline = tokio::time::Instant::now() + inner.request_timeout;
        let exchanged = tokio::time::timeout_at(deadline, inner.client.execute(request));
        let answered = inner.permit.guard(exchanged).await.map_err(|lapsed| {
            let why = format!("{exchange}: given up, {lapsed}{}", exchange.caution);
            SendError::MayHaveActed { why }
        })?;
        let (result, code) = match answered {
            Ok(Ok(response)) => {
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                let body = tokio::time::timeout_at(deadline, read(response, largest_body))
                    .await
                    .unwrap_or(Err(BrokenBody::TooSlow));
                let code = if body.is_ok() { status.to_string() } else { "body".to_owned() };
                (Ok(Answer::new(status, &headers, body, sent)), code)
            }
            Ok(Err(error)) => {
                let (error, code) = exchange.failed(&error);
                (Err(error), code.to_owned())
            }
            Err(_) => {
                let seconds = inner.request_timeout.as_secs_f32();
                let why = format!("{exchange}: no answer within {seconds} s{}", exchange.caution);
                (Err(SendError::MayHaveActed { why }), "timeout".to_owned())
            }
        };
        self.observer.observe(exchange.operation, &code, began.elapsed());
        match pass.tell(outcome(&result)) {
            Change::None => {}
            change => self.observer.circuit(change == Change::Opened),
        }
        if let Ok(Answer { status: 429 | 503, retry_after: Some(wait), .. }) = &result {
            inner.gate.pause(*wait);
        }
        result
    }
}

/// What an exchange says of the server.
fn outcome(result: &Result<Answer, SendError>) -> Outcome {
    match result {
        Ok(Answer { status: 500 | 502..=504, .. }) | Err(_) => Outcome::Failed,
        Ok(answer) if answer.body.is_err() => Outcome::Failed,
        Ok(_) => Outcome::Answered,
    }
}

/// What is being done and to what, for errors.
struct Exchange {
    operation: &'static str,
    target: String,
    caution: &'static str,
    no_roots: bool,
}

impl std::fmt::Display for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.operation, self.target)
    }
}

impl Exchange {
    fn request(&self, client: &Client, call: Call<'_>, url: Url) -> Result<reqwest::Request, SendError> {
        let mut request = client.request(call.method, url).header(ACCEPT, "application/json");
        if let Some(authorization) = call.authorization {
            // A token that is no header value is refused by name, without quoting it.
            let mut value = HeaderValue::from_str(authorization.expose_secret())
                .map_err(|_| self.not_sent("the credential holds characters that no HTTP header can carry"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some((content_type, body)) = call.body {
            request = request.header(CONTENT_TYPE, content_type).body(body.expose_secret().to_owned());
        }
        request.build().map_err(|_| self.not_sent("the request cannot be built; check the server's addresses"))
    }

    fn not_sent(&self, what: &str) -> SendError {
        SendError::NotSent { why: format!("{self}: not sent, {what}"), retry_after: None }
    }

    fn failed(&self, error: &reqwest::Error) -> (SendError, &'static str) {
        let cause = text::clean(&root_cause(error), &[]).unwrap_or_default();
        if error.is_connect() || error.is_builder() {
            let (code, what, hint) = if is_tls(error) {
                let hint = if self.no_roots {
                    "no system CA certificates were found: give a CA bundle"
                } else {
                    "check the server's certificate and the CA bundle"
                };
                ("tls", "TLS failed", hint)
            } else {
                ("connect", "no connection", "check that the host is right, up, and open to the operator")
            };
            (self.not_sent(&format!("{what} ({cause}); {hint}")), code)
        } else {
            let why = format!("{self}: the connection broke before an answer came ({cause}){}", self.caution);
            (SendError::MayHaveActed { why }, "reset")
        }
    }
}

async fn read(mut response: Response, largest: usize) -> Result<Vec<u8>, BrokenBody> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| BrokenBody::BrokeOff)? {
        if body.len() + chunk.len() > largest {
            return Err(BrokenBody::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What is being done and to what; for answers that turn out to be of no use.
pub(super) fn describe(operation: &str, url: &str) -> String {
    let target = Url::parse(url).map(|url| target(&url)).unwrap_or_default();
    format!("{operation} at {target}")
}

/// Scheme, host, port and path: queries may hold tokens.
fn target(url: &Url) -> String {
    let whole = format!("{}{}", url.origin().ascii_serialization(), url.path());
    text::clean(&whole, &[]).unwrap_or_default()
}

pub(super) fn check_url(text: &str, allow_plain_http: bool) -> Result<Url, &'static str> {
    if text.len() > 2048 {
        return Err("the URL is longer than 2048 characters");
    }
    // The parser forgives what another party's parser may read differently.
    if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
        return Err("the URL holds characters that belong in no URL");
    }
    let url = Url::parse(text).map_err(|_| "the URL is not absolute or not a URL")?;
    match url.scheme() {
        "https" => {}
        "http" if allow_plain_http => {}
        "http" => return Err("plain http is not allowed for this server"),
        _ => return Err("the URL is not https"),
    }
    if url.host_str().is_none_or(str::is_empty) {
        Err("the URL has no host")
    } else if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
        Err("the URL holds user information")
    } else if url.fragment().is_some() {
        Err("the URL has a fragment")
    } else {
        Ok(url)
    }
}

fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Whether certificates can be checked by this bundle.
///
/// # Errors
///
/// [`HttpError::CaBundle`]: what is wrong with it.
pub fn check_ca_bundle(bundle: &str) -> Result<(), HttpError> {
    roots_of(bundle).map(drop)
}

fn roots_of(bundle: &str) -> Result<RootCertStore, HttpError> {
    let blocks = pem::parse_many(bundle).map_err(|e| HttpError::CaBundle(format!("it is not PEM ({e})")))?;
    let mut roots = RootCertStore::empty();
    for block in &blocks {
        if block.tag() != "CERTIFICATE" {
            let tag = text::clean(block.tag(), &[]).unwrap_or_default();
            return Err(HttpError::CaBundle(format!("it holds a {tag} block")));
        }
        roots
            .add(CertificateDer::from(block.contents().to_vec()))
            .map_err(|e| HttpError::CaBundle(format!("certificate {} does not parse ({e})", roots.len() + 1)))?;
    }
    if roots.is_empty() {
        return Err(HttpError::CaBundle("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// TLS that trusts the system's roots.
///
/// # Errors
///
/// [`HttpError::Setup`].
pub fn tls_by_system_roots() -> Result<ClientConfig, HttpError> {
    tls(system_roots())
}

fn tls(roots: RootCertStore) -> Result<ClientConfig, HttpError> {
    // Named here, so that nothing depends on what the process installed as its default.
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| HttpError::Setup(e.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The system's roots; possibly none, which only matters once a certificate is checked.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(StdError::source(error), |&error| match error.downcast_ref::<io::Error>() {
        // An I/O error hides what it wraps from its source.
        Some(wrapping) => wrapping.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

fn is_tls(error: &reqwest::Error) -> bool {
    chain(error).any(<dyn StdError>::is::<rustls::Error>)
}

fn root_cause(error: &reqwest::Error) -> String {
    chain(error).last().map_or_else(|| "unknown cause".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
