//! Traces, sent by OTLP over HTTP (protobuf) to where the administrator says; off otherwise.
//!
//! A client has a trace for each of its two stories: from apply to Ready, and from its end to the proof. What tells a
//! story is known of the object alone (its uid, the ledger entry's name), so that every step is in the right trace,
//! whichever replica took it and however often the operator was restarted meanwhile. In it are the steps that were
//! taken, and in those the requests to the authorization server. The span around all is sent when the story is over.
//!
//! No secret is in a span: names of objects, of steps and operations, and HTTP statuses are.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kube::ResourceExt;
use opentelemetry::trace::{
    FutureExt, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SdkTracer, SdkTracerProvider};
use sha2::{Digest, Sha256};
use url::Url;

use crate::api::{ClientRegistrationSpec, OAuthClient};
use crate::authorization_server::http;
use crate::kubernetes::clock::Clock;

/// The longest that the collector is waited for, at each batch and when the process stops.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a trace is about.
#[derive(Debug, Clone)]
pub struct Story {
    name: &'static str,
    trace: TraceId,
    span: SpanId,
    about: Vec<KeyValue>,
}

impl Story {
    /// How an OAuthClient became Ready. The id of the trace is the object's uid.
    pub fn of_client(client: &OAuthClient) -> Self {
        let about = about_client(&client.namespace().unwrap_or_default(), &client.name_any());
        Self::becomes_ready(&client.uid().unwrap_or_default(), about)
    }

    /// The same story, as a ledger entry knows it.
    pub fn of_entry(entry: &ClientRegistrationSpec) -> Self {
        let client = &entry.client_ref;
        Self::becomes_ready(&client.uid, about_client(&client.namespace, &client.name))
    }

    /// How the client of a ledger entry is ended.
    pub fn of_end(name: &str, entry: &ClientRegistrationSpec) -> Self {
        let client = &entry.client_ref;
        let mut about = about_client(&client.namespace, &client.name);
        about.push(KeyValue::new("oauthclient.registration", name.to_owned()));
        about.push(KeyValue::new("oauthclient.authorization_server", entry.server.name.clone()));
        let trace = TraceId::from_bytes(digest(&format!("the end of {}/{name}", entry.installation)));
        Self { name: "OAuthClient ends", trace, span: span_of(trace), about }
    }

    fn becomes_ready(uid: &str, about: Vec<KeyValue>) -> Self {
        let trace = TraceId::from_hex(&uid.replace('-', "")).unwrap_or_else(|_| TraceId::from_bytes(digest(uid)));
        Self { name: "OAuthClient becomes Ready", trace, span: span_of(trace), about }
    }

    /// The span around all, as the parent of others.
    fn parent(&self) -> Context {
        let around = SpanContext::new(self.trace, self.span, TraceFlags::SAMPLED, true, TraceState::NONE);
        Context::new().with_remote_span_context(around)
    }
}

fn about_client(namespace: &str, name: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("oauthclient.namespace", namespace.to_owned()),
        KeyValue::new("oauthclient.name", name.to_owned()),
    ]
}

fn digest(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(text)[..16]);
    bytes
}

/// The span around a whole trace, known to whoever knows the trace.
fn span_of(trace: TraceId) -> SpanId {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest(&trace.to_string())[..8]);
    SpanId::from_bytes(bytes)
}

/// Where traces go, if anywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Traces {
    sent: Option<Arc<Sent>>,
    clock: Clock,
}

#[derive(Debug)]
struct Sent {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// None are made.
    pub fn off(clock: Clock) -> Self {
        Self { sent: None, clock }
    }

    /// Sends them to a collector: `/v1/traces` below this URL. `identity` tells replicas apart. Headers, attributes of the
    /// resource and the name of the service are taken from the environment, as OpenTelemetry names them.
    ///
    /// # Errors
    ///
    /// A URL or a header that cannot be used.
    pub fn to(endpoint: &Url, identity: &str, clock: Clock) -> Result<Self, String> {
        let client = blocking_client()?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')))
            .with_timeout(PATIENCE)
            .build()
            .map_err(|e| e.to_string())?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Self::with(provider, identity, clock))
    }

    fn with(builder: opentelemetry_sdk::trace::TracerProviderBuilder, identity: &str, clock: Clock) -> Self {
        let mut resource = Resource::builder().with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", identity.to_owned()),
        ]);
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("oauthclient-operator");
        }
        let provider = builder
            .with_resource(resource.build())
            .with_sampler(Sampler::AlwaysOn)
            .with_id_generator(Ids::default())
            .build();
        let tracer = provider.tracer("oauthclient-operator");
        Self { sent: Some(Arc::new(Sent { provider, tracer })), clock }
    }

    /// Takes a step of a story, if it belongs to one. Requests that are made meanwhile are told within it.
    pub async fn step<T, E>(
        &self,
        story: Option<Story>,
        name: &'static str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (Some(sent), Some(story)) = (&self.sent, story) else { return step.await };
        let builder =
            SpanBuilder::from_name(name).with_start_time(self.now()).with_attributes(story.about.iter().cloned());
        let around = story.parent();
        let cx = around.with_span(sent.tracer.build_with_context(builder, &around));
        let mut taken = Taken { cx, traces: self, became: Status::error("given up") };
        let done = step.with_context(taken.cx.clone()).await;
        taken.became = if done.is_ok() { Status::Unset } else { Status::error("it is tried again") };
        done
    }

    /// Tells of a request to an authorization server that is over: within the step that made it, if that belongs to a
    /// story. `code` as in [`http::RequestObserver::observe`].
    pub fn request(&self, server: &str, operation: &'static str, code: &str, took: Duration) {
        let Some(sent) = &self.sent else { return };
        let cx = Context::current();
        if !cx.span().span_context().is_valid() {
            return;
        }
        let end = self.now();
        let status = code.parse::<u16>().ok();
        let said = match status {
            Some(status) => KeyValue::new("http.response.status_code", i64::from(status)),
            None => KeyValue::new("error.type", code.to_owned()),
        };
        let builder = SpanBuilder::from_name(operation)
            .with_kind(SpanKind::Client)
            .with_start_time(end.checked_sub(took).unwrap_or(end))
            .with_attributes([KeyValue::new("oauthclient.authorization_server", server.to_owned()), said]);
        let mut span = sent.tracer.build_with_context(builder, &cx);
        // Semantic conventions for HTTP clients: from 400 on.
        if status.is_none_or(|status| status >= 400) {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(end);
    }

    /// A story is over that began then.
    pub fn over(&self, story: Story, began: impl Into<SystemTime>) {
        let Some(sent) = &self.sent else { return };
        let began = began.into();
        let builder = SpanBuilder::from_name(story.name).with_start_time(began).with_attributes(story.about);
        IDS.set(Some((story.trace, story.span)));
        let mut span = sent.tracer.build_with_context(builder, &Context::new());
        IDS.set(None);
        // The beginning is by the API server's clock.
        span.end_with_timestamp(self.now().max(began));
    }

    /// Sends what was not sent yet; later spans are dropped.
    pub async fn end(self) {
        let Some(sent) = self.sent else { return };
        let done = tokio::task::spawn_blocking(move || sent.provider.shutdown_with_timeout(PATIENCE)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }

    fn now(&self) -> SystemTime {
        self.clock.now().into()
    }
}

/// A step that is being taken. Its span ends with it, also where the pass is over before it is done.
struct Taken<'a> {
    cx: Context,
    traces: &'a Traces,
    became: Status,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.cx.span().set_status(std::mem::take(&mut self.became));
        self.cx.span().end_with_timestamp(self.traces.now());
    }
}

thread_local! {
    /// The ids of the next span that has no parent, where they are not random.
    static IDS: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Random ids, but for the span around a story.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        IDS.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        IDS.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// A client that the exporter's own thread uses. Certificates are checked by the system's roots, or those that
/// `SSL_CERT_FILE` names.
fn blocking_client() -> Result<reqwest::blocking::Client, String> {
    let tls = http::tls_by_system_roots().map_err(|e| e.to_string())?;
    // It may not be built where asynchronous code runs.
    let built = std::thread::spawn(move || {
        reqwest::blocking::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
    });
    built.join().map_err(|_| "the HTTP client could not be made".to_owned())?.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClientRegistration;

    /// An object, and a ledger entry of it.
    fn both(uid: &str) -> (OAuthClient, ClientRegistrationSpec) {
        let stored = include_str!("../../tests/fixtures/v1alpha1/entry-registered.yaml");
        let mut entry = serde_yaml::from_str::<ClientRegistration>(stored).expect("an entry").spec;
        uid.clone_into(&mut entry.client_ref.uid);
        let stored = include_str!("../../tests/fixtures/v1alpha1/client-ready.yaml");
        let mut client: OAuthClient = serde_yaml::from_str(stored).expect("an object");
        client.metadata.namespace = Some(entry.client_ref.namespace.clone());
        client.metadata.name = Some(entry.client_ref.name.clone());
        client.metadata.uid = Some(uid.to_owned());
        (client, entry)
    }

    #[test]
    fn whoever_tells_of_a_client_tells_the_same_story() {
        let (client, entry) = both("0f8fad5b-d9cb-469f-a165-70867728950e");
        let (one, other) = (Story::of_client(&client), Story::of_entry(&entry));
        assert_eq!(one.trace.to_string(), "0f8fad5bd9cb469fa16570867728950e");
        assert_eq!((one.trace, one.span, one.about), (other.trace, other.span, other.about));
        let end = Story::of_end("oac-1", &entry);
        assert_ne!(end.trace, one.trace);
        assert_eq!(end.trace, Story::of_end("oac-1", &entry).trace);
        assert_ne!(end.trace, Story::of_end("oac-2", &entry).trace);
    }

    #[test]
    fn a_uid_of_another_form_has_a_trace_as_well() {
        let traces = ["", "not-hexadecimal", "1234"].map(|uid| Story::of_entry(&both(uid).1).trace);
        assert!(traces.iter().all(|t| *t != TraceId::INVALID), "{traces:?}");
        assert!(traces[0] != traces[1] && traces[1] != traces[2]);
    }
}
