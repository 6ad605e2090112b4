//! Traces, as a collector receives them.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use oauthclient_operator::domain::names::hex;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::json;

use crate::support::credentials::data;
use crate::support::provider::TOKEN;
use crate::support::{Bed, World, now, time};

/// A receiver of OTLP over HTTP. It keeps every body as it came.
struct Collector {
    address: String,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Ends with it.
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let received = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let keeps = received.clone();
        let take = move |headers: HeaderMap, body: Bytes| async move {
            if headers.get("x-team").is_none_or(|team| team != "platform") {
                return StatusCode::UNAUTHORIZED;
            }
            keeps.lock().expect("what was received").push(body.to_vec());
            StatusCode::OK
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let routes = axum::Router::new().route("/v1/traces", axum::routing::post(take));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, received, _runtime: runtime }
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.received.lock().expect("what was received").clone()
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.bodies().into_iter().map(|b| ExportTraceServiceRequest::decode(&*b).expect("protobuf"));
        let resources: Vec<_> = requests.flat_map(|r| r.resource_spans).collect();
        for resource in &resources {
            let attributes = resource.resource.as_ref().expect("a resource").attributes.iter();
            let mut named = attributes.filter(|a| a.key == "service.name");
            assert!(named.any(|a| format!("{:?}", a.value).contains("oauthclient-operator")));
        }
        resources.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
    }
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Attribute> {
    span.attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn says(span: &Span, key: &str, text: &str) -> bool {
    matches!(attribute(span, key), Some(Attribute::StringValue(value)) if value == text)
}

/// The span around a trace; all others are in it, at whatever depth, and not before or after it.
fn whole<'a>(trace: &[&'a Span]) -> &'a Span {
    let roots: Vec<_> = trace.iter().filter(|s| s.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 1, "one span is around all: {trace:#?}");
    for span in trace.iter().filter(|s| !s.parent_span_id.is_empty()) {
        let parent = trace.iter().find(|p| p.span_id == span.parent_span_id).expect("its parent was sent as well");
        let within = |at: u64| (parent.start_time_unix_nano..=parent.end_time_unix_nano).contains(&at);
        assert!(within(span.start_time_unix_nano) && within(span.end_time_unix_nano), "{span:#?} in {parent:#?}");
    }
    roots[0]
}

/// The step of this name in which this request was made.
fn request<'a>(trace: &[&'a Span], step: &str, operation: &str) -> &'a Span {
    let steps: Vec<_> = trace.iter().filter(|s| s.name == step).collect();
    let made = trace.iter().find(|s| s.name == operation && steps.iter().any(|p| p.span_id == s.parent_span_id));
    let made = made.unwrap_or_else(|| panic!("no {operation:?} in {step}: {trace:#?}"));
    assert_eq!(made.kind, SpanKind::Client as i32);
    made
}

/// From apply to Ready, and from the end to the proof, with the requests to the server; nothing secret.
pub fn a_clients_two_stories(bed: &Bed) {
    let collector = Collector::start();
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=platform"),
    ];
    let operator = bed.ready_operator(&env);
    let w = World::new(bed, "traced");
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    let client = w.get("oauthclient/c");
    let mut secrets = vec![w.secret("c-oauth")["client_secret"].clone(), TOKEN.to_owned()];
    let managed = w.entry("c")["metadata"]["name"].as_str().expect("a name").to_owned();
    let managed = w.kubectl(&["-n", "oauthclient-system", "get", "secret", &managed, "-o", "json"]);
    secrets.extend(["registration_access_token", "client_secret"].iter().filter_map(|key| data(&managed).remove(*key)));
    // What changes later is in no story.
    w.patch("oauthclient/c", &json!({"spec": {"scopes": ["reports.read", "reports.write"]}}));
    w.until("the change is in force", || w.secret("c-oauth").get("scopes").is_some_and(|s| s.contains("write")));
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    operator.ask_to_stop();
    assert_eq!(operator.ended().code(), Some(0));

    let spans = collector.spans();
    let uid = client["metadata"]["uid"].as_str().expect("a uid").replace('-', "");
    let becomes: Vec<&Span> = spans.iter().filter(|s| hex(&s.trace_id) == uid).collect();
    let around = whole(&becomes);
    assert_eq!(around.name, "OAuthClient becomes Ready");
    let applied = time(&client["metadata"]["creationTimestamp"]).timestamp_nanos_opt().expect("after 1970");
    assert_eq!(i64::try_from(around.start_time_unix_nano), Ok(applied));
    for step in ["CreateEntry", "RecordAttempt", "Register", "Prove", "RecordRegistered", "PublishSecret"] {
        assert!(becomes.iter().any(|s| s.name == step && s.parent_span_id == around.span_id), "{step}: {becomes:#?}");
    }
    let registered = request(&becomes, "Register", "register client");
    assert_eq!(attribute(registered, "http.response.status_code"), Some(&Attribute::IntValue(201)));
    assert!(says(registered, "oauthclient.authorization_server", "traced"));
    assert!(becomes.iter().all(|s| s.name != "Update"), "{becomes:#?}");

    let ours = |s: &&Span| says(s, "oauthclient.namespace", "traced") && says(s, "oauthclient.name", "c");
    let ended = spans.iter().filter(ours).find(|s| s.name == "OAuthClient ends").expect("the end is told");
    let ends: Vec<&Span> = spans.iter().filter(|s| s.trace_id == ended.trace_id).collect();
    assert_eq!(whole(&ends), ended);
    request(&ends, "Delete", "delete client");
    assert!(ends.iter().any(|s| s.name == "ProbeAfter") && ends.iter().any(|s| s.name == "RecordFinal"), "{ends:#?}");

    assert_eq!(secrets.len(), 4);
    for (secret, body) in secrets.iter().flat_map(|s| collector.bodies().into_iter().map(move |body| (s, body))) {
        assert!(!body.windows(secret.len()).any(|w| w == secret.as_bytes()), "a credential in a trace");
    }
}

/// A collector that says nothing costs neither clients nor a stop, and is told of.
pub fn traces_hold_up_nothing(bed: &Bed) {
    // Connections are made, and nothing is ever answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let operator = bed.ready_operator(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())]);
    let w = World::new(bed, "untraced");
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    w.until("it is told of", || {
        operator.lines().iter().any(|l| l["level"] == "ERROR" && l["target"] == "opentelemetry_sdk")
    });
    let asked = now();
    operator.ask_to_stop();
    assert_eq!(operator.ended().code(), Some(0));
    // Less than passes under way would get.
    assert!((now() - asked).num_seconds() < 20, "it was waited for the collector");
    drop(silent);
}
