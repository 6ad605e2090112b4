//! Servers for tests, on loopback: they say exactly what they are told to, broken HTTP included.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::http::{Http, HttpConfig, RequestObserver};
use super::limits::Limits;
use crate::permit::Permit;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn form(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.body.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// A whole answer; content-length is added.
    Whole(u16, Vec<(&'static str, String)>, String),
    /// These bytes, then the connection is closed.
    Raw(String),
    /// These bytes, then nothing until the client gives up.
    Hold(String),
    /// This head, then a body without end.
    Endless(String),
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::typed(status, "application/json", &body.to_string())
    }

    pub(super) fn typed(status: u16, content_type: &str, body: &str) -> Self {
        Self::Whole(status, vec![("content-type", content_type.to_owned())], body.to_owned())
    }

    pub(super) fn empty(status: u16) -> Self {
        Self::Whole(status, Vec::new(), String::new())
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Whole(_, headers, _) = &mut self {
            headers.push((name, value.into()));
        }
        self
    }

    /// No answer, and the connection is closed.
    pub(super) fn closed() -> Self {
        Self::Raw(String::new())
    }

    /// No answer at all.
    pub(super) fn silence() -> Self {
        Self::Hold(String::new())
    }
}

/// A server; it ends with the test's runtime.
pub(super) struct Server {
    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Answers = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

impl Server {
    /// Answers every request by this function.
    pub(super) async fn start(answers: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(Arc::new(answers), None).await
    }

    /// Always the same answer.
    pub(super) async fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    /// The same over TLS.
    pub(super) async fn tls(config: rustls::ServerConfig, reply: Reply) -> Self {
        Self::listen(Arc::new(move |_| reply.clone()), Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(answers: Answers, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin =
            if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = Self { origin, seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (answers, seen, tls) = (answers.clone(), seen.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(connection, &answers, &seen).await,
                        // Clients that do not like the certificate hang up.
                        Some(tls) => match tls.accept(connection).await {
                            Ok(connection) => serve(connection, &answers, &seen).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        server
    }

    /// A URL on this server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// What came so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request that came.
    pub(super) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }
}

/// A server that expects these requests in this order, each by method and path with query, and answers each as given.
pub(super) struct Script {
    pub server: Server,
    expected: Vec<String>,
}

impl Script {
    pub(super) async fn start(exchanges: impl IntoIterator<Item = (impl Into<String>, Reply)>) -> Self {
        let (expected, replies): (Vec<String>, Vec<Reply>) =
            exchanges.into_iter().map(|(request, reply)| (request.into(), reply)).unzip();
        let left = Mutex::new((expected.clone().into_iter(), replies.into_iter()));
        let server = Server::start(move |seen| {
            let mut left = left.lock().unwrap();
            let (expected, reply) = (left.0.next(), left.1.next());
            // Whatever was not expected shows when the test asks whether this is done.
            if expected == Some(line(seen)) { reply.unwrap() } else { Reply::empty(418) }
        })
        .await;
        Self { server, expected }
    }

    /// Fails unless all that was expected came, and nothing else.
    #[track_caller]
    pub(super) fn done(&self) -> Vec<Seen> {
        let seen = self.server.seen();
        assert_eq!(seen.iter().map(line).collect::<Vec<_>>(), self.expected);
        seen
    }
}

fn line(seen: &Seen) -> String {
    format!("{} {}", seen.method, seen.path)
}

/// A request as snapshots show it.
pub(super) fn shown(seen: &Seen) -> Value {
    let body: Value = serde_json::from_str(&seen.body).unwrap_or_else(|_| seen.body.clone().into());
    let mut shown = serde_json::Map::new();
    shown.insert("request".into(), line(seen).into());
    for name in ["authorization", "content-type"] {
        if let Some(value) = seen.header(name) {
            shown.insert(name.into(), value.into());
        }
    }
    if body != "" {
        shown.insert("body".into(), body);
    }
    shown.into()
}

/// One request a connection; `None` when the client went away.
async fn serve(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    answers: &Answers,
    seen: &Mutex<Vec<Seen>>,
) -> Option<()> {
    let request = receive(&mut connection).await?;
    seen.lock().unwrap().push(request.clone());
    match answers(&request) {
        Reply::Whole(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                write!(head, "{name}: {value}\r\n").unwrap();
            }
            connection.write_all(format!("{head}\r\n{body}").as_bytes()).await.ok()?;
        }
        Reply::Raw(bytes) => connection.write_all(bytes.as_bytes()).await.ok()?,
        Reply::Hold(bytes) => {
            connection.write_all(bytes.as_bytes()).await.ok()?;
            while connection.read(&mut [0; 64]).await.ok()? > 0 {}
        }
        Reply::Endless(head) => {
            connection.write_all(head.as_bytes()).await.ok()?;
            loop {
                connection.write_all(&[b'x'; 8192]).await.ok()?;
            }
        }
    }
    connection.shutdown().await.ok()
}

async fn receive(connection: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        // A TLS record, or the end.
        if connection.read_buf(&mut bytes).await.ok()? == 0 || bytes[0] == 0x16 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { method, path, headers, body: String::new() };
    let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = String::from_utf8(bytes[end + 4..end + 4 + length].to_vec()).ok()?;
    Some(seen)
}

/// An origin where nobody listens.
pub(super) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Remembers what it was told.
#[derive(Default)]
pub(super) struct Observed(Mutex<Vec<(&'static str, String)>>);

impl RequestObserver for Observed {
    fn observe(&self, operation: &'static str, code: &str, _: Duration) {
        self.0.lock().unwrap().push((operation, code.to_owned()));
    }

    fn circuit(&self, open: bool) {
        self.0.lock().unwrap().push(("circuit", if open { "open" } else { "closed" }.to_owned()));
    }
}

impl Observed {
    pub(super) fn codes(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(_, code)| code.clone()).collect()
    }
}

/// Long enough for any machine where an answer comes.
pub(super) fn patient() -> HttpConfig {
    let limits =
        Limits { requests_per_second: 1000, burst: 1000, max_in_flight: 8, request_timeout: Duration::from_secs(60) };
    HttpConfig { ca_bundle: None, allow_plain_http: true, limits }
}

/// For answers that never come. Connecting to loopback has half of it.
pub(super) fn impatient() -> HttpConfig {
    let mut config = patient();
    config.limits.request_timeout = Duration::from_secs(2);
    config
}

pub(super) fn http(config: &HttpConfig) -> Http {
    Http::new(config, Arc::new(Observed::default()), Permit::unlimited()).unwrap()
}

/// Fails when an error tells anything of these, by either way of printing it.
#[track_caller]
pub(super) fn assert_tells_nothing_of(error: &(impl std::fmt::Display + std::fmt::Debug), secrets: &[&str]) {
    for text in [error.to_string(), format!("{error:?}")] {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is told by: {text}");
        }
    }
}

/// What contract tests ask for.
pub(super) fn metadata() -> super::ClientMetadata {
    super::ClientMetadata {
        mark: super::Mark { installation: "7f3a".into(), entry: "oac-0001".into() },
        client_name: "oauthclient-operator/7f3a/oac-0001".into(),
        scopes: vec!["reports.read".into()],
        grant_types: vec!["client_credentials".into()],
        redirect_uris: vec![],
        audiences: vec![],
        token_endpoint_auth_method: "client_secret_basic".into(),
        token_endpoint_auth_signing_alg: None,
        jwks: None,
        owner_team: "data".into(),
        owner_email: "data@corp.example".into(),
        purpose: "Reports for the partner".into(),
        object: "team-data/reports".into(),
        access_token_lifetime: Some(Duration::from_secs(600)),
    }
}
