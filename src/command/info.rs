//! INFO: Redis' sections with Redis' names, in Redis' order, so that exporters find their fields.
//!
//! A field is there when there is something true to say: what Redis counts for replicas, scripts or
//! the append only file is nought, because there are none of these. Own fields begin with
//! `my_redis_`.

use crate::command::connection::REDIS_VERSION;
use crate::command::context::{Call, Context, Services};
use crate::command::memory::Usage;
use crate::command::memory::losses;
use crate::command::spec::Outcome;
use crate::command::table;
use crate::keyspace::ShardFigures;
use crate::pubsub::Kind;
use crate::stats::{CallCounts, Counter, Durations, Memory, ProcessorTimes, human_bytes};
use crate::stats::{TaskFigures, TaskState};
use std::fmt::{Arguments, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Writes the fields of a section.
type WriteFields = fn(&mut Report<'_>);

/// The sections in the order in which they are printed: name, title, fields.
const SECTIONS: &[(&str, &str, WriteFields)] = &[
    ("server", "Server", server),
    ("clients", "Clients", clients),
    ("memory", "Memory", memory),
    ("persistence", "Persistence", persistence),
    ("stats", "Stats", stats),
    ("replication", "Replication", replication),
    ("cpu", "CPU", cpu),
    ("modules", "Modules", |_| {}),
    ("commandstats", "Commandstats", command_stats),
    ("errorstats", "Errorstats", error_stats),
    ("latencystats", "Latencystats", latency_stats),
    ("cluster", "Cluster", |report| report.field("cluster_enabled", 0)),
    ("keyspace", "Keyspace", keyspace),
];

/// Sections that have to be asked for.
const EXTRA: &[&str] = &["commandstats", "latencystats"];

/// What a field may have for a value: the many whole numbers and texts are written without the
/// machinery of formats.
trait Shown {
    fn append_to(self, text: &mut String);
}

macro_rules! shown_numbers {
    ($($number:ty),*) => {
        $(impl Shown for $number {
            fn append_to(self, text: &mut String) {
                text.push_str(itoa::Buffer::new().format(self));
            }
        })*
    };
}
shown_numbers!(i8, i32, i64, i128, u8, u32, u64, usize);

impl Shown for &str {
    fn append_to(self, text: &mut String) {
        text.push_str(self);
    }
}

impl Shown for &String {
    fn append_to(self, text: &mut String) {
        text.push_str(self);
    }
}

impl Shown for String {
    fn append_to(self, text: &mut String) {
        text.push_str(&self);
    }
}

impl Shown for Arguments<'_> {
    fn append_to(self, text: &mut String) {
        // Writing to a String cannot fail.
        let _infallible = text.write_fmt(self);
    }
}

/// Room for all that is told unasked.
const REPORT_BYTES_HINT: usize = 8 << 10;

/// The text being put together.
struct Report<'a> {
    text: String,
    services: &'a Services,
}

impl Report<'_> {
    fn field(&mut self, name: &str, value: impl Shown) {
        self.text.push_str(name);
        self.text.push(':');
        value.append_to(&mut self.text);
        self.text.push_str("\r\n");
    }

    /// The number, and the same with a unit.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human_bytes(bytes));
    }

    fn noughts(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.field(name, 0));
    }

    fn count(&mut self, name: &str, counter: Counter) {
        let count = self.services.stats.get(counter);
        self.field(name, count);
    }
}

/// Runs INFO.
pub(super) fn info(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let asked: Vec<Vec<u8>> = call.args.iter_from(1).map(<[u8]>::to_ascii_lowercase).collect();
    let is_asked = |name: &str| asked.iter().any(|section| section == name.as_bytes());
    let all = is_asked("all") || is_asked("everything");
    let usual = all || asked.is_empty() || is_asked("default");
    let text = String::with_capacity(if asked.is_empty() { REPORT_BYTES_HINT } else { 0 });
    let mut report = Report { text, services: &context.services };
    for (name, title, write_fields) in SECTIONS {
        if all || is_asked(name) || (usual && !EXTRA.contains(name)) {
            if !report.text.is_empty() {
                report.text.push_str("\r\n");
            }
            report.text.push_str("# ");
            report.text.push_str(title);
            report.text.push_str("\r\n");
            write_fields(&mut report);
        }
    }
    call.reply.verbatim(report.text.as_bytes());
    Ok(())
}

fn server(report: &mut Report<'_>) {
    let services = report.services;
    let micros = services.clock.now_micros();
    let uptime = services.stats.started().elapsed().as_secs();
    report.field("redis_version", REDIS_VERSION);
    report.field("my_redis_version", env!("CARGO_PKG_VERSION"));
    report.field("redis_git_sha1", "00000000");
    report.field("redis_git_dirty", 0);
    report.field("redis_build_id", "0");
    report.field("redis_mode", "standalone");
    report.field("os", &services.stats.machine.system);
    report.field("arch_bits", usize::BITS);
    report.field("monotonic_clock", "POSIX clock_gettime");
    report.field("multiplexing_api", "epoll");
    report.field("process_id", std::process::id());
    let is_supervised = services.config.start().operation.supervision.socket().is_some();
    report.field("process_supervised", if is_supervised { "systemd" } else { "no" });
    report.field("run_id", &services.run_id);
    report.field("tcp_port", services.config.value("port"));
    report.field("server_time_usec", micros);
    report.field("uptime_in_seconds", uptime);
    report.field("uptime_in_days", uptime / 86_400);
    report.field("hz", services.config.value("hz"));
    report.field("configured_hz", services.config.value("hz"));
    report.field("lru_clock", (micros / 1_000_000) & 0xff_ffff);
    let executable = services.stats.machine.executable.display();
    report.field("executable", format_args!("{executable}"));
    let file = services.config.start().file.as_deref().unwrap_or(Path::new(""));
    report.field("config_file", format_args!("{}", file.display()));
    report.field("io_threads_active", 0);
    report.field("my_redis_threads", worker_threads(services));
    let (mut shards, mut least, mut most) = (0_usize, u64::MAX, 0);
    for keys in services.figures.shards().map(ShardFigures::keys) {
        (shards, least, most) = (shards + 1, least.min(keys), most.max(keys));
    }
    report.field("my_redis_shards", shards);
    report.field("my_redis_shard_keys_min", least);
    report.field("my_redis_shard_keys_max", most);
}

fn worker_threads(services: &Services) -> usize {
    match services.config.start().threads {
        0 => services.stats.machine.cores,
        threads => threads,
    }
}

fn clients(report: &mut Report<'_>) {
    let services = report.services;
    let buffers: Vec<_> =
        services.clients.all().iter().map(|client| client.buffered_bytes()).collect();
    report.field("connected_clients", services.clients.connected());
    report.field("cluster_connections", 0);
    report.field("maxclients", services.config.clients_max());
    let input = buffers.iter().map(|(input, _)| *input).max().unwrap_or(0);
    let output = buffers.iter().map(|(_, output)| *output).max().unwrap_or(0);
    report.field("client_recent_max_input_buffer", input);
    report.field("client_recent_max_output_buffer", output);
    let clients = &report.services.clients;
    report.field("blocked_clients", clients.blocked() + clients.postponed());
    let [tracking_clients, ..] = report.services.tracking.counts();
    report.field("tracking_clients", tracking_clients);
    report.field("clients_in_timeout_table", report.services.clients.blocked_with_timeout());
}

#[expect(clippy::cast_precision_loss, reason = "a percentage with two digits")]
fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64)
}

/// Scripts and functions share the interpreters, whose memory is counted once.
fn scripts(report: &mut Report<'_>) {
    let store = &report.services.scripts;
    let interpreters = crate::script::memory_bytes() as u64;
    let (script_count, script_bytes) = store.script_figures();
    let (libraries, functions) = store.libraries().counts();
    let function_bytes = store.function_bytes();
    report.field("used_memory_lua", interpreters);
    report.field("used_memory_vm_eval", interpreters);
    report.field("used_memory_lua_human", human_bytes(interpreters));
    report.field("used_memory_scripts_eval", script_bytes);
    report.field("number_of_cached_scripts", script_count);
    report.field("number_of_functions", functions);
    report.field("number_of_libraries", libraries);
    report.field("used_memory_vm_functions", 0);
    report.bytes("used_memory_vm_total", interpreters);
    report.field("used_memory_functions", function_bytes);
    report.bytes("used_memory_scripts", (script_bytes + function_bytes) as u64);
}

fn memory(report: &mut Report<'_>) {
    let services = report.services;
    let usage = Usage::of(services);
    let Memory { used_bytes: used, peak_bytes: peak, committed_bytes, .. } = usage.memory;
    report.bytes("used_memory", used);
    report.bytes("used_memory_rss", usage.memory.resident_bytes);
    report.bytes("used_memory_peak", peak);
    report.field("used_memory_peak_perc", percent(used, peak));
    report.field("used_memory_overhead", usage.overhead());
    report.field("used_memory_startup", usage.startup);
    report.field("used_memory_dataset", usage.dataset());
    report.field("used_memory_dataset_perc", percent(usage.dataset(), usage.grown()));
    report.field("allocator_allocated", used);
    report.field("allocator_active", committed_bytes);
    report.field("allocator_resident", committed_bytes);
    report.bytes("total_system_memory", usage.memory.total_bytes);
    scripts(report);
    report.bytes("maxmemory", services.config.memory().bytes_max());
    report.field("maxmemory_policy", services.config.memory().policy().name());
    let names = ["allocator_frag", "allocator_rss", "rss_overhead", "mem_fragmentation"];
    for (name, loss) in names.iter().zip(losses(&usage.memory)) {
        report.field(&format!("{name}_ratio"), format_args!("{:.2}", loss.ratio()));
        report.field(&format!("{name}_bytes"), loss.bytes());
    }
    report.field("mem_not_counted_for_evict", services.figures.sum(ShardFigures::aside_bytes));
    report.noughts(&["mem_replication_backlog", "mem_total_replication_buffers"]);
    report.field("mem_clients_slaves", 0);
    report.field("mem_clients_normal", usage.clients);
    report.noughts(&["mem_cluster_links", "mem_aof_buffer"]);
    report.field("mem_allocator", "mimalloc");
    report.field("active_defrag_running", 0);
    report.field("lazyfree_pending_objects", services.stats.lazyfree_pending().max(0));
    report.field("lazyfreed_objects", 0);
}

fn persistence(report: &mut Report<'_>) {
    let services = report.services;
    let seconds = |duration: Option<Duration>| {
        duration.map_or(-1, |duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
    };
    let save = services.saver.figures();
    let progress = &services.load_progress;
    let is_saving = save.current_duration.is_some();
    report.field("loading", u8::from(services.is_loading()));
    report.noughts(&["async_loading", "current_cow_peak", "current_cow_size"]);
    report.field("current_cow_size_age", 0);
    report.field("current_fork_perc", "0.00");
    report.field("current_save_keys_processed", save.keys.0);
    report.field("current_save_keys_total", save.keys.1);
    let changes = services.saver.changes_since_save();
    report.field("rdb_changes_since_last_save", changes);
    report.field("rdb_bgsave_in_progress", u8::from(is_saving));
    report.field("rdb_last_save_time", save.last_save_unix);
    report.field("rdb_last_bgsave_status", if save.last_ok { "ok" } else { "err" });
    report.field("rdb_last_bgsave_time_sec", seconds(save.last_duration));
    report.field("rdb_current_bgsave_time_sec", seconds(save.current_duration));
    report.field("rdb_saves", save.saves);
    report.field("rdb_last_cow_size", 0);
    report.field("rdb_last_load_keys_expired", progress.expired_keys.load(Ordering::Relaxed));
    report.field("rdb_last_load_keys_loaded", progress.loaded_keys.load(Ordering::Relaxed));
    report.noughts(&["aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    report.field("aof_last_rewrite_time_sec", -1);
    report.field("aof_current_rewrite_time_sec", -1);
    report.field("aof_last_bgrewrite_status", "ok");
    report.noughts(&["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    report.field("aof_last_write_status", "ok");
    report.noughts(&["aof_last_cow_size", "module_fork_in_progress"]);
    report.field("module_fork_last_cow_size", 0);
    report.field("my_redis_snapshot_aside_keys", services.figures.sum(ShardFigures::aside));
    let aside_bytes = services.figures.sum(ShardFigures::aside_bytes);
    report.field("my_redis_snapshot_aside_bytes", aside_bytes);
    report.field("my_redis_snapshot_longest_hold_us", save.longest_hold_micros);
    if services.is_loading() {
        loading(report);
    }
}

fn loading(report: &mut Report<'_>) {
    let progress = &report.services.load_progress;
    let total = progress.total_bytes.load(Ordering::Relaxed);
    let loaded = progress.loaded_bytes.load(Ordering::Relaxed);
    let elapsed = report.services.stats.started().elapsed().as_secs();
    let left = elapsed.saturating_mul(total.saturating_sub(loaded)) / loaded.max(1);
    let began = report.services.clock.now().0 / 1_000 - i64::try_from(elapsed).unwrap_or(0);
    report.field("loading_start_time", began);
    report.field("loading_total_bytes", total);
    report.field("loading_rdb_used_mem", 0);
    report.field("loading_loaded_bytes", loaded);
    report.field("loading_loaded_perc", percent(loaded, total).trim_end_matches('%'));
    report.field("loading_eta_seconds", left);
}

fn stats(report: &mut Report<'_>) {
    let stats = &report.services.stats;
    let [commands, input, output] = stats.per_second();
    let (lag_last, lag_max) = stats.expire_lag_ms();
    report.count("total_connections_received", Counter::Connections);
    report.count("total_commands_processed", Counter::Commands);
    report.field("instantaneous_ops_per_sec", format!("{commands:.0}"));
    report.count("total_net_input_bytes", Counter::InputBytes);
    report.count("total_net_output_bytes", Counter::OutputBytes);
    report.noughts(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    report.field("instantaneous_input_kbps", format!("{:.2}", input / 1_024.0));
    report.field("instantaneous_output_kbps", format!("{:.2}", output / 1_024.0));
    report.field("instantaneous_input_repl_kbps", "0.00");
    report.field("instantaneous_output_repl_kbps", "0.00");
    report.count("rejected_connections", Counter::RejectedConnections);
    report.noughts(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    report.count("expired_keys", Counter::ExpiredKeys);
    report.field("expired_stale_perc", "0.00");
    report.noughts(&["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"]);
    report.count("evicted_keys", Counter::EvictedKeys);
    report.count("evicted_clients", Counter::EvictedClients);
    let (exceeded_ms, exceeded_now_ms) = report.services.eviction.exceeded_ms();
    report.field("total_eviction_exceeded_time", exceeded_ms);
    report.field("current_eviction_exceeded_time", exceeded_now_ms);
    report.count("keyspace_hits", Counter::KeyspaceHits);
    report.count("keyspace_misses", Counter::KeyspaceMisses);
    let pubsub = &report.services.pubsub;
    report.field("pubsub_channels", pubsub.count(Kind::Channel));
    report.field("pubsub_patterns", pubsub.count(Kind::Pattern));
    report.field("pubsubshard_channels", pubsub.count(Kind::ShardChannel));
    report.noughts(&["latest_fork_usec", "total_forks", "migrate_cached_sockets"]);
    report.noughts(&["slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses"]);
    report.noughts(&["active_defrag_key_hits", "active_defrag_key_misses"]);
    report.noughts(&["total_active_defrag_time", "current_active_defrag_time"]);
    let [_, keys, items, prefixes] = report.services.tracking.counts();
    report.field("tracking_total_keys", keys);
    report.field("tracking_total_items", items);
    report.field("tracking_total_prefixes", prefixes);
    report.field("unexpected_error_replies", 0);
    report.count("total_error_replies", Counter::ErrorReplies);
    report.field("dump_payload_sanitizations", 0);
    report.count("total_reads_processed", Counter::Reads);
    report.count("total_writes_processed", Counter::Writes);
    report.noughts(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    report.noughts(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    let disconnections = Counter::OutputLimitDisconnections;
    report.count("my_redis_output_limit_disconnections", disconnections);
    report.count("my_redis_protocol_errors", Counter::ProtocolErrors);
    report.count("my_redis_background_restarts", Counter::BackgroundRestarts);
    report.count("my_redis_client_panics", Counter::ClientPanics);
    tasks(report);
    report.field("my_redis_expire_lag_last_ms", lag_last);
    report.field("my_redis_expire_lag_max_ms", lag_max);
}

/// The work in the background: how much of it is done, and how each task is.
fn tasks(report: &mut Report<'_>) {
    let all = report.services.stats.tasks.figures();
    let alive = all.iter().filter(|task| task.state == TaskState::Alive).count();
    report.field("my_redis_tasks", alive);
    report.field("my_redis_tasks_dead", all.len() - alive);
    for TaskFigures { name, state, restarts, silence } in all {
        let (name, state) = (format!("my_redis_task_{name}"), state.name());
        match silence {
            None => report.field(&name, format_args!("state={state},restarts={restarts}")),
            Some(silence) => {
                let silence_ms = silence.as_millis();
                let line =
                    format_args!("state={state},restarts={restarts},silence_ms={silence_ms}");
                report.field(&name, line);
            }
        }
    }
}

fn replication(report: &mut Report<'_>) {
    report.field("role", "master");
    report.field("connected_slaves", 0);
    report.field("master_failover_state", "no-failover");
    let run_id = &report.services.run_id;
    report.field("master_replid", run_id);
    report.field("master_replid2", "0".repeat(40));
    report.field("master_repl_offset", 0);
    report.field("second_repl_offset", -1);
    report.field("repl_backlog_active", 0);
    report.field("repl_backlog_size", report.services.config.value("repl-backlog-size"));
    report.noughts(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

fn cpu(report: &mut Report<'_>) {
    let times = ProcessorTimes::of_process();
    report.field("used_cpu_sys", format!("{:.6}", times.system.as_secs_f64()));
    report.field("used_cpu_user", format!("{:.6}", times.user.as_secs_f64()));
    report.field("used_cpu_sys_children", "0.000000");
    report.field("used_cpu_user_children", "0.000000");
}

#[expect(clippy::cast_precision_loss, reason = "an average with two digits")]
fn command_stats(report: &mut Report<'_>) {
    let counted = &report.services.stats.commands;
    for row in counted.used().filter_map(|number| table::numbered().get(number)) {
        let CallCounts { calls, nanos, rejected, failed } = counted.counts(row.number);
        if calls == 0 && rejected == 0 && failed == 0 {
            continue;
        }
        let micros = nanos as f64 / 1_000.0 / calls.max(1) as f64;
        let line = format_args!(
            "calls={calls},usec={},usec_per_call={micros:.2},rejected_calls={rejected},\
             failed_calls={failed}",
            nanos / 1_000
        );
        report.field(&format!("cmdstat_{}", row.name()), line);
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of up to a second")]
fn latency_stats(report: &mut Report<'_>) {
    let percentiles = report.services.config.observation().percentiles();
    let mut durations = Durations::default();
    let counted = &report.services.stats.commands;
    for row in counted.used().filter_map(|number| table::numbered().get(number)) {
        if !counted.read_durations(row.number, &mut durations) {
            continue;
        }
        let percentile = |percent: &f64| {
            format!("p{percent}={:.3}", durations.percentile(*percent) as f64 / 1_000.0)
        };
        let line = percentiles.iter().map(percentile).collect::<Vec<_>>().join(",");
        report.field(&format!("latency_percentiles_usec_{}", row.name()), line);
    }
}

fn error_stats(report: &mut Report<'_>) {
    for (code, count) in report.services.stats.errors() {
        report.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn keyspace(report: &mut Report<'_>) {
    for (number, keys, expires) in report.services.figures.databases() {
        let line = format_args!("keys={keys},expires={expires},avg_ttl=0");
        report.field(&format!("db{number}"), line);
    }
}
