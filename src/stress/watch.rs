//! What becomes of the server while it works: memory, descriptors, latency.
//!
//! Samples are taken at equal intervals, so many that a day is kept in as little memory as a
//! minute. Drift is told by a straight line through the samples of memory, the first tenth left
//! out, in which the server fills its buffers; and by the latencies of the first and the last third
//! of what is left.

use crate::protocol::response::Value;
use crate::stress::figures::{histogram, milliseconds};
use crate::stress::peer::Peer;
use crate::stress::run::{Run, Stop};
use crate::util::number::parse_u64;
use hdrhistogram::Histogram;
use serde_json::json;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// Samples of a run.
const SAMPLES: u64 = 720;
/// The part of the samples that is left out at the beginning: one of so many.
const WARM_UP_PART: usize = 10;

/// What was seen at one time.
#[derive(Debug, Clone, Default)]
struct Sample {
    seconds: f64,
    used_bytes: u64,
    resident_bytes: u64,
    connected_clients: u64,
    descriptors: Option<u64>,
    threads: Option<u64>,
    p99_micros: u64,
}

/// The samples of a run.
#[derive(Debug)]
pub struct Watch {
    interval: Duration,
    process: Option<u64>,
    samples: Vec<Sample>,
    latencies: Histogram<u64>,
    last: Duration,
}

/// A figure of INFO.
fn figure<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn number(info: &str, name: &str) -> u64 {
    figure(info, name).and_then(|text| parse_u64(text.as_bytes())).unwrap_or(0)
}

/// All of INFO.
///
/// # Errors
/// When the server cannot be asked.
pub async fn info(peer: &mut Peer) -> Result<String, Stop> {
    let value = peer.setup(&[b"INFO"]).await?;
    let text = match &value {
        Value::Bulk(text) | Value::Verbatim { text, .. } => text.as_slice(),
        _ => b"",
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// What the server calls itself.
pub fn server_name(info: &str) -> String {
    let version = figure(info, "redis_version").unwrap_or("unknown");
    match figure(info, "my_redis_version") {
        Some(own) => format!("my_redis {own}, as Redis {version}"),
        None => format!("Redis {version}"),
    }
}

impl Watch {
    /// Samples for a run; the process of the server is looked at when it is on this machine.
    pub fn new(run: &Run, info: &str) -> Self {
        let settings = &run.settings;
        let place = (settings.host.as_str(), settings.port).to_socket_addrs();
        let is_here =
            place.is_ok_and(|mut places| places.all(|place| IpAddr::is_loopback(&place.ip())));
        let process = number(info, "process_id");
        // In a container of its own it has another number than here.
        let is_its = fs::read_to_string(format!("/proc/{process}/comm"))
            .is_ok_and(|name| name.contains("redis") || name.contains("valkey"));
        Self {
            interval: Duration::from_secs((settings.seconds / SAMPLES).max(1)),
            process: (is_here && is_its).then_some(process),
            samples: Vec::new(),
            latencies: histogram(),
            last: Duration::ZERO,
        }
    }

    /// Adds latencies, and takes a sample when it is time for one.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn look(
        &mut self,
        run: &Arc<Run>,
        peer: &mut Peer,
        latencies: &Histogram<u64>,
    ) -> Result<(), Stop> {
        let _same_bounds = self.latencies.add(latencies);
        let elapsed = Duration::from_nanos(run.now_ns());
        if elapsed < self.last + self.interval {
            return Ok(());
        }
        self.last = elapsed;
        let info = info(peer).await?;
        let (mut resident, mut threads, mut descriptors) = (None, None, None);
        if let Some(process) = self.process {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let field = |name| figure(&status, name)?.split_whitespace().next()?.parse().ok();
            resident = field("VmRSS").map(|kilobytes: u64| kilobytes * 1_024);
            threads = field("Threads");
            let open = fs::read_dir(format!("/proc/{process}/fd"));
            descriptors = open.ok().map(|open| open.count() as u64);
        }
        self.samples.push(Sample {
            seconds: elapsed.as_secs_f64(),
            used_bytes: number(&info, "used_memory"),
            resident_bytes: resident.unwrap_or_else(|| number(&info, "used_memory_rss")),
            connected_clients: number(&info, "connected_clients"),
            descriptors,
            threads,
            p99_micros: self.latencies.value_at_quantile(0.99),
        });
        self.latencies.reset();
        Ok(())
    }

    /// What the samples show.
    pub fn drift(&self) -> Option<Drift> {
        let settled = self.samples.get(self.samples.len() / WARM_UP_PART..)?;
        let (first, last) = (settled.first()?, settled.last()?);
        let third = settled.len().div_ceil(3);
        let p99 = |part: &[Sample]| {
            let mut values: Vec<u64> = part.iter().map(|sample| sample.p99_micros).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        };
        Some(Drift {
            samples: self.samples.len(),
            seconds: last.seconds - first.seconds,
            resident_first_bytes: first.resident_bytes,
            resident_last_bytes: last.resident_bytes,
            resident_max_bytes: settled.iter().map(|one| one.resident_bytes).max()?,
            resident_bytes_per_hour: slope(settled, |one| one.resident_bytes) * 3_600.0,
            used_bytes_per_hour: slope(settled, |one| one.used_bytes) * 3_600.0,
            descriptors: range(settled, |one| one.descriptors),
            threads: last.threads,
            clients: range(settled, |one| Some(one.connected_clients))?,
            p99_first_micros: p99(settled.get(..third)?),
            p99_last_micros: p99(settled.get(settled.len() - third..)?),
        })
    }
}

/// How a figure went; `None` when it was not always seen.
fn range(samples: &[Sample], value: impl Fn(&Sample) -> Option<u64>) -> Option<Range> {
    let values: Vec<u64> = samples.iter().map(value).collect::<Option<_>>()?;
    Some(Range {
        first: *values.first()?,
        last: *values.last()?,
        min: *values.iter().min()?,
        max: *values.iter().max()?,
    })
}

/// Bytes a second of the straight line that is nearest to the samples.
#[expect(clippy::cast_precision_loss, reason = "a trend")]
fn slope(samples: &[Sample], value: impl Fn(&Sample) -> u64) -> f64 {
    let count = samples.len() as f64;
    let mean_x = samples.iter().map(|one| one.seconds).sum::<f64>() / count;
    let mean_y = samples.iter().map(|one| value(one) as f64).sum::<f64>() / count;
    let products = samples.iter().map(|one| (one.seconds - mean_x) * (value(one) as f64 - mean_y));
    let squares: f64 = samples.iter().map(|one| (one.seconds - mean_x).powi(2)).sum();
    if squares > 0.0 { products.sum::<f64>() / squares } else { 0.0 }
}

/// How a figure went.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u64,
    last: u64,
    min: u64,
    max: u64,
}

/// What changed while the server worked.
#[derive(Debug)]
pub struct Drift {
    samples: usize,
    seconds: f64,
    resident_first_bytes: u64,
    resident_last_bytes: u64,
    resident_max_bytes: u64,
    resident_bytes_per_hour: f64,
    used_bytes_per_hour: f64,
    descriptors: Option<Range>,
    threads: Option<u64>,
    clients: Range,
    p99_first_micros: u64,
    p99_last_micros: u64,
}

impl Drift {
    /// The slope of resident memory in percent of it in ten minutes.
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    fn percent_in_ten_minutes(&self) -> f64 {
        self.resident_bytes_per_hour / 6.0 / self.resident_first_bytes.max(1) as f64 * 100.0
    }

    /// For a person.
    #[expect(clippy::cast_precision_loss, reason = "megabytes with two digits")]
    pub fn lines(&self) -> Vec<String> {
        let megabytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1e6);
        let range = |range: Range| {
            format!(
                "{} at first, {} at last, between {} and {}",
                range.first, range.last, range.min, range.max
            )
        };
        let descriptors = match self.descriptors {
            Some(open) => range(open),
            None => "not seen: the server's process is not on this machine".to_owned(),
        };
        vec![
            format!("{} samples over {:.0} s after the warm-up", self.samples, self.seconds),
            format!(
                "resident memory   {} MB at first, {} at last, {} at most; {:+.3} MB an hour, \
                 {:+.3} % in ten minutes",
                megabytes(self.resident_first_bytes),
                megabytes(self.resident_last_bytes),
                megabytes(self.resident_max_bytes),
                self.resident_bytes_per_hour / 1e6,
                self.percent_in_ten_minutes()
            ),
            format!("used_memory       {:+.3} MB an hour", self.used_bytes_per_hour / 1e6),
            format!("descriptors       {descriptors}"),
            format!("clients           {}", range(self.clients)),
            format!(
                "p99               {} ms in the first third, {} ms in the last",
                milliseconds(self.p99_first_micros),
                milliseconds(self.p99_last_micros)
            ),
        ]
    }

    /// For a program.
    pub fn json(&self) -> serde_json::Value {
        let range = |range: Range| {
            json!({
                "first": range.first, "last": range.last, "min": range.min, "max": range.max,
            })
        };
        json!({
            "samples": self.samples,
            "seconds": self.seconds,
            "resident_first_bytes": self.resident_first_bytes,
            "resident_last_bytes": self.resident_last_bytes,
            "resident_max_bytes": self.resident_max_bytes,
            "resident_bytes_per_hour": self.resident_bytes_per_hour,
            "resident_percent_in_ten_minutes": self.percent_in_ten_minutes(),
            "used_bytes_per_hour": self.used_bytes_per_hour,
            "descriptors": self.descriptors.map(range),
            "threads": self.threads,
            "clients": range(self.clients),
            "p99_first_third_us": self.p99_first_micros,
            "p99_last_third_us": self.p99_last_micros,
        })
    }
}
