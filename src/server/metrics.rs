//! The metrics, as Prometheus and what understands OpenMetrics read them.
//!
//! Everything is read from where INFO reads it, at the moment it is asked for: nothing is counted
//! twice, and a server that nobody asks pays nothing. The text is made whole before a byte of it is
//! sent, so no lock is held while a slow reader takes its time.
//!
//! The answer to any request is a head and a body of known length, and the end of the connection.
//! Of a request only the first line counts. Who sends too much, too slowly or with too many others
//! at a time is closed: see the constants.

use crate::command::context::Services;
use crate::command::table;
use crate::keyspace::{DatabaseNumber, ShardFigures};
use crate::pubsub::Kind;
use crate::stats::{Counter, Durations, ProcessorTimes, TaskState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a request at most.
pub const METRICS_REQUEST_BYTES_MAX: usize = 8 * 1024;
/// How long a request and its answer may take, each.
pub const METRICS_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at the same time; further ones are closed at once.
pub const METRICS_CONNECTIONS_MAX: usize = 16;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Buckets of durations with a bound, each twice as long as the one before.
const BUCKETS: usize = 20;
/// A step of the histogram ends so much above its power of two.
const BUCKET_WIDTH: f64 = 1.0 + 1.0 / 128.0;

/// Answers one request.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    services: Arc<Services>,
) {
    let request = tokio::time::timeout(METRICS_TIMEOUT, read_head(&mut stream)).await;
    let Ok(Some(head)) = request else { return };
    let answer = answer(&head, &services);
    let sent = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    };
    // Whoever has gone meanwhile does not need it.
    let _sent = tokio::time::timeout(METRICS_TIMEOUT, sent).await;
}

/// The head of a request; `None` when it is none.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let room = METRICS_REQUEST_BYTES_MAX - head.len();
        let count = (&mut *stream).take(room as u64).read_buf(&mut head).await.ok()?;
        if count == 0 {
            return None;
        }
    }
    Some(head)
}

fn answer(head: &[u8], services: &Arc<Services>) -> Vec<u8> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let is_http = words.next().is_some_and(|version| version.starts_with(b"HTTP/1."));
    let (status, kind, body) = match (method, path) {
        _ if !is_http => ("400 Bad Request", "text/plain", "not HTTP\n".to_owned()),
        (b"GET" | b"HEAD", b"/metrics") => match text(services) {
            Ok(text) => ("200 OK", CONTENT_TYPE, text),
            Err(_) => ("500 Internal Server Error", "text/plain", "no metrics\n".to_owned()),
        },
        (b"GET" | b"HEAD", _) => ("404 Not Found", "text/plain", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "use GET\n".to_owned()),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if method != b"HEAD" {
        answer.extend_from_slice(body.as_bytes());
    }
    answer
}

/// All metrics.
fn text(services: &Arc<Services>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("my_redis");
    registry.register_collector(Box::new(Metrics(Arc::clone(services))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// Reads everything when it is asked for.
#[derive(Debug)]
struct Metrics(Arc<Services>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer { encoder: &mut encoder };
        let services = &*self.0;
        general(&mut writer, services)?;
        counters(&mut writer, services)?;
        saving(&mut writer, services)?;
        tasks(&mut writer, services)?;
        shards(&mut writer, services)?;
        databases(&mut writer, services)?;
        errors(&mut writer, services)?;
        commands(&mut writer, services)
    }
}

/// Writes single metrics.
struct Writer<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
}

/// A number as a metric has it.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

impl Writer<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = ConstGauge::new(value);
        let encoder = self.encoder.encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = ConstCounter::new(value);
        let encoder = self.encoder.encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    /// One metric for each label.
    fn family<V: AsRef<str>, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        metrics: impl IntoIterator<Item = (V, M)>,
    ) -> fmt::Result {
        let mut metrics = metrics.into_iter().peekable();
        let Some((_, first)) = metrics.peek() else { return Ok(()) };
        let kind = first.metric_type();
        let mut encoder = self.encoder.encode_descriptor(name, help, None, kind)?;
        metrics.try_for_each(|(value, metric)| {
            metric.encode(encoder.encode_family(&[(label, value.as_ref())])?)
        })
    }
}

fn general(writer: &mut Writer<'_, '_>, services: &Services) -> fmt::Result {
    let stats = &services.stats;
    let memory = stats.memory();
    let times = ProcessorTimes::of_process();
    let pubsub = &services.pubsub;
    let loading = if services.is_loading() { 1.0 } else { 0.0 };
    let gauges = [
        ("uptime_seconds", "Time since the start", stats.started().elapsed().as_secs_f64()),
        ("loading", "1 while the dump is being loaded", loading),
        ("memory_resident_bytes", "Memory of the process", float(memory.resident_bytes)),
        (
            "memory_used_bytes",
            "Memory that was asked for, as used_memory",
            float(memory.used_bytes),
        ),
        ("memory_peak_bytes", "The most of it that ever was", float(memory.peak_bytes)),
        (
            "maxmemory_bytes",
            "Memory that may be used; 0 for no limit",
            float(services.config.memory().bytes_max()),
        ),
        ("connected_clients", "Clients", float(services.clients.connected() as u64)),
        (
            "maxclients",
            "Clients that may be connected",
            float(services.config.clients_max() as u64),
        ),
        ("blocked_clients", "Clients that wait", float(services.clients.blocked() as u64)),
        ("pubsub_channels", "Channels with subscribers", float(pubsub.count(Kind::Channel) as u64)),
        ("pubsub_patterns", "Patterns with subscribers", float(pubsub.count(Kind::Pattern) as u64)),
        (
            "lazyfree_pending_values",
            "Values that are still to be freed",
            float(u64::try_from(stats.lazyfree_pending()).unwrap_or(0)),
        ),
    ];
    for (name, help, value) in gauges {
        writer.gauge(name, help, value)?;
    }
    let help = "Time on processors, in user mode";
    writer.counter("cpu_user_seconds", help, times.user.as_secs_f64())?;
    writer.counter("cpu_system_seconds", "Time on processors, in the system", {
        times.system.as_secs_f64()
    })
}

/// Counters of INFO: the name, what it is, and which it is.
const COUNTERS: [(&str, &str, Counter); 15] = [
    ("connections_received", "Connections accepted", Counter::Connections),
    ("connections_rejected", "Connections refused", Counter::RejectedConnections),
    ("commands_processed", "Commands that were run", Counter::Commands),
    ("error_replies", "Answers that were errors", Counter::ErrorReplies),
    ("keyspace_hits", "Reads that found their key", Counter::KeyspaceHits),
    ("keyspace_misses", "Reads that did not", Counter::KeyspaceMisses),
    ("net_input_bytes", "Bytes received", Counter::InputBytes),
    ("net_output_bytes", "Bytes sent", Counter::OutputBytes),
    ("expired_keys", "Keys removed at their deadline", Counter::ExpiredKeys),
    ("evicted_keys", "Keys removed because memory was short", Counter::EvictedKeys),
    ("evicted_clients", "Clients closed because all together used too much memory", {
        Counter::EvictedClients
    }),
    ("protocol_errors", "Connections closed because of bytes that are no request", {
        Counter::ProtocolErrors
    }),
    ("output_limit_disconnections", "Clients closed because too much waited for them", {
        Counter::OutputLimitDisconnections
    }),
    ("background_restarts", "Background work that panicked and was begun anew", {
        Counter::BackgroundRestarts
    }),
    ("client_panics", "Clients closed because their task panicked", Counter::ClientPanics),
];

fn counters(writer: &mut Writer<'_, '_>, services: &Services) -> fmt::Result {
    for (name, help, counter) in COUNTERS {
        writer.counter(name, help, float(services.stats.get(counter)))?;
    }
    let (last_ms, max_ms) = services.stats.expire_lag_ms();
    let help = "By how much the last removal of expired keys was late";
    writer.gauge("expire_lag_last_seconds", help, float(last_ms) / 1e3)?;
    let help = "By how much a removal of expired keys was late at most";
    writer.gauge("expire_lag_max_seconds", help, float(max_ms) / 1e3)
}

fn saving(writer: &mut Writer<'_, '_>, services: &Services) -> fmt::Result {
    let save = services.saver.figures();
    let seconds = |duration: Option<Duration>| duration.map_or(0.0, |one| one.as_secs_f64());
    let yes_no = |yes: bool| if yes { 1.0 } else { 0.0 };
    let now = services.clock.now().0 / 1_000;
    let age = u64::try_from(now.saturating_sub(save.last_save_unix)).unwrap_or(0);
    let dump_bytes = std::fs::metadata(services.saver.path()).map_or(0, |file| file.len());
    let gauges = [
        ("save_last_status", "1 if the last save was good", yes_no(save.last_ok)),
        ("save_last_duration_seconds", "Time that it took", seconds(save.last_duration)),
        ("save_age_seconds", "Time since the last good save, or since the start", float(age)),
        ("save_in_progress", "1 while a save runs", yes_no(save.current_duration.is_some())),
        ("save_current_seconds", "How long it has been running", seconds(save.current_duration)),
        ("save_dump_bytes", "Size of the dump on disk", float(dump_bytes)),
        (
            "save_longest_hold_seconds",
            "Longest time for which the last save held a lock",
            float(save.longest_hold_micros) / 1e6,
        ),
        (
            "save_changes",
            "Changes since the last good save",
            float(services.saver.changes_since_save()),
        ),
        (
            "save_aside_keys",
            "Keys put aside for the running save",
            float(services.figures.sum(ShardFigures::aside)),
        ),
        (
            "save_aside_bytes",
            "Memory put aside for the running save",
            float(services.figures.sum(ShardFigures::aside_bytes)),
        ),
    ];
    for (name, help, value) in gauges {
        writer.gauge(name, help, value)?;
    }
    writer.counter("saves", "Good saves", float(save.saves))
}

/// Which of the work in the background is done.
fn tasks(writer: &mut Writer<'_, '_>, services: &Services) -> fmt::Result {
    let value = |state| if state == TaskState::Alive { 1.0 } else { 0.0 };
    let all = services.stats.tasks.figures().into_iter();
    let all = all.map(|task| (task.name, ConstGauge::new(value(task.state))));
    writer.family("task_alive", "1 while this work in the background is done", "task", all)
}

/// How evenly the keys are spread over the shards.
fn shards(writer: &mut Writer<'_, '_>, services: &Services) -> fmt::Result {
    let keys = services.figures.shards().map(ShardFigures::keys).enumerate();
    let keys = keys.map(|(number, keys)| (number.to_string(), ConstGauge::new(float(keys))));
    writer.family("shard_keys", "Keys of a shard", "shard", keys)
}

fn databases(writer: &mut Writer<'_, '_>, services: &Services) -> fmt::Result {
    let figures = &services.figures;
    let sums = |sum: &dyn Fn(&ShardFigures, DatabaseNumber) -> u64| {
        let numbers = (0..).take(figures.database_count());
        let sum = |number| figures.sum(|shard| sum(shard, number));
        let sums: Vec<_> = numbers.map(|number: DatabaseNumber| (number, sum(number))).collect();
        sums
    };
    let metric =
        |(number, sum): (DatabaseNumber, u64)| (number.to_string(), ConstGauge::new(float(sum)));
    // Most of many databases are empty.
    let shown = |(number, sum): &(DatabaseNumber, u64)| *number == 0 || *sum > 0;
    let keys = sums(&|shard, number| shard.keys_of(number));
    let keys = keys.into_iter().filter(shown).map(metric);
    writer.family("database_keys", "Keys of a database", "database", keys)?;
    let deadlines = sums(&|shard, number| shard.with_deadline_of(number));
    let deadlines = deadlines.into_iter().filter(shown).map(metric);
    writer.family("database_expiring_keys", "Keys with a deadline", "database", deadlines)
}

fn errors(writer: &mut Writer<'_, '_>, services: &Services) -> fmt::Result {
    let errors = services.stats.errors();
    let errors = errors.into_iter().map(|(code, count)| (code, ConstCounter::new(count)));
    writer.family("errors", "Answers that were errors, by their code", "code", errors)
}

/// How long the calls of a command took.
struct DurationsMetric {
    sum_seconds: f64,
    calls: u64,
    /// Upper bounds in seconds, and the calls of each bucket alone.
    buckets: Vec<(f64, u64)>,
}

impl EncodeMetric for DurationsMetric {
    fn encode(&self, mut encoder: prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
            self.sum_seconds,
            self.calls,
            &self.buckets,
            None,
        )
    }

    fn metric_type(&self) -> prometheus_client::metrics::MetricType {
        prometheus_client::metrics::MetricType::Histogram
    }
}

/// The buckets of all commands are the same: one microsecond, two, four, up to half a second, and
/// beyond; like those of LATENCY HISTOGRAM, a little wider, so that none is divided.
fn buckets(durations: &Durations) -> Vec<(f64, u64)> {
    let steps = durations.cumulative();
    let mut before = 0;
    let mut buckets: Vec<(f64, u64)> = (0..BUCKETS)
        .map(|power| {
            let nanos = 1_024_u64 << power;
            // The bound of this step is near to this power of two, that of the next is twice it.
            let within = steps.iter().take_while(|(micros, _)| micros * 2_000 <= nanos * 3);
            let calls = within.last().map_or(before, |(_, calls)| *calls);
            let alone = calls - before;
            before = calls;
            (float(nanos) * BUCKET_WIDTH / 1e9, alone)
        })
        .collect();
    buckets.push((f64::INFINITY, durations.calls() - before));
    buckets
}

fn commands(writer: &mut Writer<'_, '_>, services: &Services) -> fmt::Result {
    let stats = &services.stats.commands;
    let rows = || stats.used().filter_map(|number| table::numbered().get(number));
    let called = || rows().map(|row| (row.name(), stats.counts(row.number)));
    let rejected = called().filter(|(_, counts)| counts.rejected > 0);
    let rejected = rejected.map(|(name, counts)| (name, ConstCounter::new(counts.rejected)));
    let help = "Calls that were refused before they ran";
    writer.family("command_rejected_calls", help, "command", rejected)?;
    let failed = called().filter(|(_, counts)| counts.failed > 0);
    let failed = failed.map(|(name, counts)| (name, ConstCounter::new(counts.failed)));
    let help = "Calls that ended with an error";
    writer.family("command_failed_calls", help, "command", failed)?;
    let calls = called().filter(|(_, counts)| counts.calls > 0);
    let calls = calls.map(|(name, counts)| (name, ConstCounter::new(counts.calls)));
    writer.family("command_calls", "Calls", "command", calls)?;
    let mut durations = Durations::default();
    let measured = rows().filter_map(|row| {
        let is_measured = stats.read_durations(row.number, &mut durations);
        is_measured.then(|| {
            let sum_seconds = float(stats.counts(row.number).nanos) / 1e9;
            let (calls, buckets) = (durations.calls(), buckets(&durations));
            (row.name(), DurationsMetric { sum_seconds, calls, buckets })
        })
    });
    let help = "How long commands took";
    writer.family("command_duration_seconds", help, "command", measured)
}
