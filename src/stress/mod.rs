//! Layer 5: the stress tool: load on any server that speaks the protocol, and a proof meanwhile
//! that it keeps its promises.
//!
//! Clients are tasks, each with a connection, that take turns at the kinds of work of a mix. Each
//! kind has a check of its own whose memory does not grow with the length of the run. The first
//! fault ends the run. What is checked rests on answers and on the times at which requests were
//! sent and answered, never on the inside of the server: a server without faults cannot fail,
//! whatever its speed.

mod channels;
mod checker;
mod counters;
mod figures;
mod ledger;
mod load;
pub mod options;
mod pairs;
mod peer;
mod queues;
mod registers;
mod report;
mod run;
mod tokens;
mod watch;

use figures::milliseconds;
use hdrhistogram::Histogram;
use load::Load;
use options::{FAILED, Settings};
use peer::Peer;
use report::Report;
use run::{Ending, Run, Stop};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use watch::Watch;

/// How often it is told how things stand.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Runs the tool as `settings` say; returns the exit code of the process.
#[must_use]
pub fn run(settings: Settings) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(run_load(settings));
            runtime.shutdown_background();
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("my_redis_stress: {error}");
            ExitCode::from(FAILED)
        }
    }
}

async fn run_load(settings: Settings) -> u8 {
    let run = Arc::new(Run::new(settings));
    let load = Arc::new(Load::new(&run));
    let mut server = String::from("unknown");
    // What is wrong is kept by the run.
    let watch = match begin(&run, &load).await {
        Ok((mut peer, info)) => {
            server = watch::server_name(&info);
            let mut watch = run.settings.watch.then(|| Watch::new(&run, &info));
            let _ended = drive(&run, &load, &mut peer, watch.as_mut()).await;
            watch
        }
        Err(Stop) => None,
    };
    let seconds = Duration::from_nanos(run.now_ns()).as_secs_f64();
    let ending = finish(&run, &load).await;
    let drift = watch.and_then(|watch| watch.drift());
    tell(&Report { run: &run, load: &load, server: &server, seconds, drift, ending })
}

/// Puts everything in its place; the connection that watches, and what the server says of itself.
async fn begin(run: &Arc<Run>, load: &Load) -> Result<(Peer, String), Stop> {
    let mut peer = Peer::connect(run, run.settings.clients).await?;
    let info = watch::info(&mut peer).await?;
    load.prepare(&mut peer).await?;
    Ok((peer, info))
}

/// Has all clients work until the time is over or something is found.
async fn drive(
    run: &Arc<Run>,
    load: &Arc<Load>,
    peer: &mut Peer,
    mut watch: Option<&mut Watch>,
) -> Result<(), Stop> {
    let mut clients = JoinSet::new();
    for client in 0..run.settings.clients {
        clients.spawn(Arc::clone(load).work(client));
    }
    let mut seconds = tokio::time::interval(LINE_EVERY);
    seconds.tick().await;
    let mut requests = 0;
    let mut last = Duration::ZERO;
    let ended = loop {
        tokio::select! {
            _ = seconds.tick() => {}
            () = run.wait_until_over() => break Ok(()),
            _ = tokio::signal::ctrl_c() => break Ok(()),
        }
        let elapsed = Duration::from_nanos(run.now_ns());
        let lately = run.figures.take_lately();
        let now = run.figures.requests();
        show(elapsed, (now - requests) as f64 / (elapsed - last).as_secs_f64(), &lately);
        (requests, last) = (now, elapsed);
        if let Err(stop) = load.look() {
            break Err(stop);
        }
        if let Some(watch) = &mut watch
            && let Err(stop) = watch.look(run, peer, &lately).await
        {
            break Err(stop);
        }
        if elapsed >= Duration::from_secs(run.settings.seconds) {
            break Ok(());
        }
    };
    run.end(None);
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    while clients.join_next().await.is_some() {}
    ended
}

/// One line that tells how things stand; on a terminal it takes the place of the one before.
fn show(elapsed: Duration, rate: f64, lately: &Histogram<u64>) {
    let quantile = |quantile| milliseconds(lately.value_at_quantile(quantile));
    let line = format!(
        "{:>5} s  {rate:>9.0} requests/s  p50 {}  p99 {}  p99.9 {}  max {} ms",
        elapsed.as_secs(),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0)
    );
    let mut out = std::io::stderr().lock();
    // Nobody may be there to read it.
    let _shown = match out.is_terminal() {
        true => write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()),
        false => writeln!(out, "{line}"),
    };
}

/// Checks what is left, and cleans up; the first thing that was found.
async fn finish(run: &Arc<Run>, load: &Load) -> Option<Ending> {
    let found = run.take_ending();
    if let Some(Ending::Failure(_)) = found {
        return found;
    }
    let mut peer = Peer::connect(run, run.settings.clients).await.ok()?;
    if found.is_none() {
        let _kept = load.finish(&mut peer).await;
    }
    let found = found.or_else(|| run.take_ending());
    // What is left then is no fault.
    let _removed = load.remove_keys(&mut peer).await;
    found.or_else(|| run.take_ending())
}

fn tell(report: &Report<'_>) -> u8 {
    let mut code = match &report.ending {
        Some(Ending::Fault(_)) => 1,
        Some(Ending::Failure(_)) => FAILED,
        None if report.verdict() == "good" => 0,
        None => FAILED,
    };
    print!("{}", report.text());
    if let Some(path) = &report.run.settings.json {
        let text = format!("{:#}\n", report.json());
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("my_redis_stress: cannot write {}: {error}", path.display());
            code = code.max(FAILED);
        }
    }
    code
}
