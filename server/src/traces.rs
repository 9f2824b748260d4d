//! Traces: one span for each request with one for each of its runs below it, sent by OTLP over HTTP. Nothing is
//! recorded unless a collector is configured. Spans are made of routes and ids; of what a client sent they have the
//! ids in `traceparent`.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span, SpanContext, SpanKind, Status, TraceContextExt, TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Config, NO_COLLECTOR, is_collector};
use crate::metrics::SpanCounters;

/// How many finished spans wait to be sent, at most; what comes beyond them is dropped.
const QUEUE: usize = 4096;
/// How many are sent at once.
const BATCH: usize = 512;
/// How long a batch waits for more.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a collector may take for a batch, and how long a server that stops waits for the last one.
const DEADLINE: Duration = Duration::from_secs(5);
/// How much of a collector's answer is read, in bytes.
const ANSWER: usize = 64 << 10;

/// The variables that OpenTelemetry knows endpoints by: of traces, and of everything.
const ENDPOINT_OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The server's traces: nothing, until a collector is known.
#[derive(Debug, Default)]
pub struct Traces(OnceLock<Recorder>);

#[derive(Debug)]
struct Recorder {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to record, and to send what is recorded, if a collector is configured: by `[vicar] otlp_endpoint`, or
    /// by OpenTelemetry's own variables. Returns the task that sends.
    ///
    /// # Errors
    /// In words for the operator, when the collector's URL or the certificates for it cannot be used.
    pub fn start(&self, config: &Config, counters: &SpanCounters) -> Result<Option<JoinHandle<()>>, String> {
        let Some(url) = endpoint(config.otlp_endpoint.as_deref(), |name| std::env::var(name).ok())? else {
            return Ok(None);
        };
        let client = Collector::new(&url)?;
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&url)
            .build()
            .map_err(|e| format!("traces: {e}"))?;
        let resource = resource();
        exporter.set_resource(&resource);
        let (sender, queue) = mpsc::channel(QUEUE);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(Queue {
                sender: Mutex::new(Some(sender)),
                dropped: counters.dropped.clone(),
            })
            .build();
        let tracer = provider.tracer("vicar");
        if self.0.set(Recorder { tracer, provider }).is_err() {
            return Err("traces: started twice".to_owned());
        }
        Ok(Some(tokio::spawn(send(queue, exporter, counters.clone()))))
    }

    /// Sends what waits, within the deadline of a batch; what is recorded later is dropped.
    pub async fn finish(&self, sending: JoinHandle<()>) {
        if let Some(recorder) = self.0.get() {
            let _ = recorder.provider.shutdown();
        }
        let abort = sending.abort_handle();
        if tokio::time::timeout(DEADLINE, sending).await.is_err() {
            abort.abort();
        }
    }

    /// The trace of a request: that of its `traceparent`, or a new one.
    pub fn begin(&self, headers: &HeaderMap, method: &'static str, route: &str) -> Trace {
        if self.0.get().is_none() && !headers.contains_key("traceparent") {
            return Trace::default();
        }
        let parent = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &HeaderExtractor(headers))
            .span()
            .span_context()
            .clone();
        let Some(Recorder { tracer, .. }) = self.0.get() else {
            return Trace { id: valid(parent.trace_id()), recording: None };
        };
        let above = if parent.is_valid() {
            // Without `tracestate`, in which a client could send anything.
            let (id, span, flags) = (parent.trace_id(), parent.span_id(), parent.trace_flags());
            Context::new().with_remote_span_context(SpanContext::new(id, span, flags, true, TraceState::NONE))
        } else {
            Context::new()
        };
        let span = tracer
            .span_builder(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", if method == "other" { "_OTHER" } else { method }),
                KeyValue::new("http.route", route.to_owned()),
            ])
            .start_with_context(tracer, &above);
        let id = valid(span.span_context().trace_id());
        Trace { id, recording: Some((tracer.clone(), above.with_span(span))) }
    }
}

fn valid(id: TraceId) -> Option<TraceId> {
    (id != TraceId::INVALID).then_some(id)
}

/// Where traces are sent: the option, or what the variables say.
fn endpoint(
    option: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let set = |name| variable(name).filter(|url| !url.is_empty());
    let (name, url, path) = if let Some(base) = option {
        ("[vicar] otlp_endpoint", base.to_owned(), "/v1/traces")
    } else if let Some(url) = set(ENDPOINT_OF_TRACES) {
        (ENDPOINT_OF_TRACES, url, "")
    } else if let Some(base) = set(ENDPOINT) {
        (ENDPOINT, base, "/v1/traces")
    } else {
        return Ok(None);
    };
    if !is_collector(&url) {
        return Err(format!("{name}: {NO_COLLECTOR}"));
    }
    Ok(Some(if path.is_empty() { url } else { format!("{}{path}", url.trim_end_matches('/')) }))
}

/// Whose traces these are. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES may say it otherwise.
fn resource() -> Resource {
    let said = Resource::builder().build();
    let name = said.get(&"service.name".into()).map(|name| name.to_string());
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match name {
        Some(name) if !name.starts_with("unknown_service") => resource.build(),
        _ => resource.with_service_name("vicar").build(),
    }
}

/// The trace that a request belongs to; empty where nobody asked for one.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    id: Option<TraceId>,
    recording: Option<(SdkTracer, Context)>,
}

impl Trace {
    /// Its id, for the log.
    pub fn id(&self) -> Option<String> {
        self.id.map(|id| id.to_string())
    }

    /// Records which operations the request's route may ask the policy for.
    pub fn operations(&self, names: impl Iterator<Item = &'static str>) {
        if let Some((_, context)) = &self.recording {
            let names = names.map(StringValue::from).collect();
            context
                .span()
                .set_attribute(KeyValue::new("vicar.operations", Value::Array(Array::String(names))));
        }
    }

    /// Begins a part of the request.
    pub fn part(&self, name: &'static str) -> Part {
        Part(self.recording.as_ref().map(|(tracer, context)| tracer.start_with_context(name, context)))
    }

    /// The request was answered.
    pub fn end(&self, status: u16, request_id: &str) {
        if let Some((_, context)) = &self.recording {
            let span = context.span();
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            span.set_attribute(KeyValue::new("vicar.request_id", request_id.to_owned()));
            if status >= 500 {
                span.set_status(Status::error(""));
            }
            span.end();
        }
    }
}

/// A part of a request that has begun.
#[derive(Debug)]
pub struct Part(Option<opentelemetry_sdk::trace::Span>);

impl Part {
    /// It ended, and how.
    pub fn end(self, outcome: &'static str) {
        if let Some(mut span) = self.0 {
            span.set_attribute(KeyValue::new("vicar.outcome", outcome));
            span.end();
        }
    }
}

/// Puts finished spans into the queue; a full one never holds up a request.
#[derive(Debug)]
struct Queue {
    sender: Mutex<Option<mpsc::Sender<SpanData>>>,
    dropped: prometheus_client::metrics::counter::Counter,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_none_or(|sender| sender.try_send(span).is_err()) {
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// The task that sends ends when it has sent what waits.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

/// Sends what is in the queue until it is closed. A batch that is not taken is dropped: it is tried once.
async fn send(mut queue: mpsc::Receiver<SpanData>, exporter: impl SpanExporter, counters: SpanCounters) {
    let mut is_away = false;
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let more = async {
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                if queue.recv_many(&mut batch, room).await == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(PAUSE, more).await;
        let number = batch.len() as u64;
        match exporter.export(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await {
            Ok(()) => {
                counters.sent.inc_by(number);
                if std::mem::take(&mut is_away) {
                    tracing::info!("traces are sent again");
                }
            }
            Err(e) => {
                counters.dropped.inc_by(number);
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(error = %e, "traces cannot be sent and are dropped");
                }
            }
        }
    }
}

/// What speaks to the collector.
#[derive(Debug)]
struct Collector(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Collector {
    fn new(url: &str) -> Result<Self, String> {
        let builder = HttpsConnectorBuilder::new();
        let builder = if url.starts_with("https:") {
            builder.with_native_roots().map_err(|e| format!("traces: the machine's certificates: {e}"))?
        } else {
            let provider = tokio_rustls::rustls::crypto::ring::default_provider().into();
            let tls = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|e| format!("traces: {e}"))?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            builder.with_tls_config(tls)
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let work = async {
            let (parts, body) = self.0.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(parts, body))
        };
        tokio::time::timeout(DEADLINE, work).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_before_the_variables() {
        let variables = |name: &str| match name {
            ENDPOINT => Some("http://all:4318/".to_owned()),
            ENDPOINT_OF_TRACES => Some("https://traces:4318/here".to_owned()),
            _ => None,
        };
        let of = |option| endpoint(option, variables).expect("a URL");
        assert_eq!(of(Some("http://own:4318")).as_deref(), Some("http://own:4318/v1/traces"));
        assert_eq!(of(None).as_deref(), Some("https://traces:4318/here"));
        let general = |name: &str| variables(name).filter(|_| name == ENDPOINT);
        assert_eq!(endpoint(None, general), Ok(Some("http://all:4318/v1/traces".to_owned())));
        assert_eq!(endpoint(None, |_| Some(String::new())), Ok(None));
        let said = endpoint(None, |_| Some("grpc://h:4317".to_owned())).expect_err("not HTTP");
        assert!(said.starts_with(ENDPOINT_OF_TRACES), "{said}");
    }

    #[test]
    fn spans_beyond_the_queue_are_dropped_and_counted() {
        let counters = SpanCounters::default();
        let (sender, mut queue) = mpsc::channel(2);
        let processor = Queue { sender: Mutex::new(Some(sender)), dropped: counters.dropped.clone() };
        let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
        let traces = Traces::default();
        traces.0.set(Recorder { tracer: provider.tracer("t"), provider: provider.clone() }).expect("once");
        for _ in 0..5 {
            traces.begin(&HeaderMap::new(), "GET", "/v3").end(200, "req-1");
        }
        assert_eq!(counters.dropped.get(), 3);
        provider.shutdown().expect("ends");
        traces.begin(&HeaderMap::new(), "GET", "/v3").end(200, "req-1");
        let mut taken = 0;
        while queue.try_recv().is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 2);
    }
}
