//! What logs and metrics say about a request.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::builder;
use crate::error::Operation;

type Lines = Arc<Mutex<Vec<String>>>;

struct Recorder(Lines);

struct Line(Lines, String);

impl CounterFn for Line {
    fn increment(&self, value: u64) {
        self.0.lock().unwrap().push(format!("{} +{value}", self.1));
    }

    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Line {
    fn record(&self, _: f64) {
        self.0.lock().unwrap().push(format!("{} recorded", self.1));
    }
}

impl Recorder {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Line(self.0.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

struct Log(Lines);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("certlife")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            write!(line, " {field}={value:?}").unwrap();
        });
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn one_event_a_call_and_one_count_an_attempt() {
    let (counts, log) = (Lines::default(), Lines::default());
    let recorder = Recorder(counts.clone());
    let _metrics = metrics::set_default_local_recorder(&recorder);
    // With a single subscriber `tracing` asks only that of the thread which comes by an event first, and
    // remembers the answer; that thread may be another test's, which has none.
    let _second = tracing::Dispatch::new(Log(Lines::default()));
    let _log = tracing::subscriber::set_default(Log(log.clone()));
    tracing::callsite::rebuild_interest_cache();

    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "3");
    Mock::given(matchers::any()).respond_with(busy).up_to_n_times(1).mount(&server).await;
    let done = ResponseTemplate::new(200).set_body_string("the body");
    Mock::given(matchers::any()).respond_with(done).mount(&server).await;
    let client = builder(&server.uri()).0.bearer("hunter2").build().unwrap();
    client.get(Operation::FindZone, &["z"]).query("name", "value").send().await.unwrap();

    let log = log.lock().unwrap().clone();
    assert_eq!(log.len(), 1, "{log:?}");
    for told in [
        "DEBUG",
        "testvendor",
        "find the zone",
        "GET",
        "/z?name=…",
        "\"200\"",
        "attempts=2",
        "elapsed_ms=3000",
    ] {
        assert!(log[0].contains(told), "{told}: {}", log[0]);
    }
    for secret in ["hunter2", "the body", "value\""] {
        assert!(!log[0].contains(secret), "{}", log[0]);
    }
    let labels = |status| format!("{{provider=testvendor,operation=find_zone,status={status}}}");
    let expected: Vec<String> = ["503", "200"]
        .into_iter()
        .flat_map(|status| {
            [
                format!("certlife_http_requests_total{} +1", labels(status)),
                format!("certlife_http_request_seconds{} recorded", labels(status)),
            ]
        })
        .collect();
    assert_eq!(*counts.lock().unwrap(), expected);
}

#[tokio::test]
async fn an_attempt_without_answer_is_counted_by_its_cause() {
    let counts = Lines::default();
    let recorder = Recorder(counts.clone());
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let client = builder("http://127.0.0.1:1").0.retries(1).build().unwrap();
    client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert!(counts.lock().unwrap()[0].contains("status=unreachable"));
}
