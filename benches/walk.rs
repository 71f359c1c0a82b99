//! Every command of the table: this server beside redis-server, in one run.
//!
//! `cargo bench --bench walk` starts both servers on the first core and drives them in turn from
//! the second: four connections, each with sixteen requests under way. What it takes is the
//! processor time of the server's threads, divided by the requests; the servers take turns round
//! by round, and a ratio is the median of the rounds' own ratios. All rows are printed, sorted,
//! and the ten worst once more.
//!
//! `walk.txt` has the rows. A line is a request, or several separated by `;` that stand one behind
//! the other in a pipeline and are charged together. Behind `<-` stands what makes the same keys
//! anew before they are used up; that is not measured. In the words
//!
//! * `@` is the number of the key, of a thousand or of as many as the data has
//! * `N*a%,b%` is N times the words `a%` and `b%`, with 0 to N-1 for `%`; in front of a request it
//!   is that request N times
//! * `x^N` is a string of N bytes, `dump(key)` what DUMP says, `\s` a blank and `\n` a line's end
//!
//! `+` and `+N` begin the data, of a thousand or N keys; `-` names commands that are left out and
//! says why. The names of all commands are those of COMMAND LIST: one without a row or a reason
//! is an error.

mod support;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Instant;
use structopt::StructOpt;
use support::options::Who;
use support::{
    Client, Common, Outcome, Pipe, Record, Rounds, Server, check_programs, median, number,
    pin_self, request,
};

const ROWS: &str = include_str!("walk.txt");

const CONNECTIONS: usize = 4;
const PIPELINE: usize = 16;
/// Keys of a row whose data does not have fewer.
const KEYS: usize = 1_000;
/// Steps whose time tells how many a turn may have.
const TRIAL_STEPS: usize = 64;
const WORST: usize = 10;

/// Every command of the table beside redis-server: CPU of the server.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Rows that begin with one of these, for example 'sort,zadd zset' [default: all]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    only: Vec<String>,
    /// Turns of each server [default: 5]
    #[structopt(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long a turn is about to take [default: 40]
    #[structopt(long, value_name = "N")]
    millis: Option<usize>,
}

impl Options {
    fn takes(&self, row: &Row) -> bool {
        let line = row.line.to_lowercase();
        self.only.is_empty() || self.only.iter().any(|only| line.starts_with(&only.to_lowercase()))
    }
}

/// One request as it is written in the table.
type Words = Vec<&'static str>;

/// What is measured.
struct Row {
    line: &'static str,
    requests: Vec<Words>,
    refill: Vec<Words>,
    keys: usize,
}

/// What `walk.txt` says.
#[derive(Default)]
struct Table {
    data: Vec<(usize, Words)>,
    rows: Vec<Row>,
    left_out: Vec<String>,
}

impl Table {
    fn read() -> Outcome<Self> {
        let mut table = Self::default();
        let mut keys_of: HashMap<&str, usize> = HashMap::new();
        let lines = ROWS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            if let Some(line) = line.strip_prefix('+') {
                let (count, words) = line.split_once(' ').ok_or(line)?;
                let count = if count.is_empty() { KEYS } else { number(count)? };
                let words: Words = words.split(' ').collect();
                keys_of.extend(words.iter().filter(|word| is_key(word)).map(|word| (*word, count)));
                table.data.push((count, words));
            } else if let Some(line) = line.strip_prefix("- ") {
                let names = line.split_once(':').ok_or(line)?.0.split(", ");
                table.left_out.extend(names.map(|name| name.replace(' ', "|").to_lowercase()));
            } else {
                table.rows.push(Row::read(line, &keys_of));
            }
        }
        Ok(table)
    }

    /// The commands that have neither a row nor a reason to have none.
    fn forgotten<'a>(&self, names: &'a [String]) -> Vec<&'a str> {
        let rows = self.rows.iter().flat_map(|row| &row.requests);
        let measured: Vec<String> = rows
            .flat_map(|words| {
                let name = words.first().copied().unwrap_or_default().to_lowercase();
                let second = words.get(1).copied().unwrap_or_default().to_lowercase();
                [format!("{name}|{second}"), name]
            })
            .collect();
        let is_known = |name: &str| {
            let container = name.split('|').next().unwrap_or_default();
            measured.iter().any(|known| known == name)
                || self.left_out.iter().any(|known| known == name || known == container)
                // Its subcommands are in the list.
                || names.iter().any(|other| other.starts_with(&format!("{name}|")))
        };
        names.iter().map(String::as_str).filter(|name| !is_known(name)).collect()
    }
}

fn is_key(word: &str) -> bool {
    word.ends_with(":@")
}

impl Row {
    fn read(line: &'static str, keys_of: &HashMap<&str, usize>) -> Self {
        let (measured, refill) = line.split_once(" <- ").unwrap_or((line, ""));
        let words = |part: &'static str| -> Vec<Words> {
            let requests = part.split(" ; ").filter(|request| !request.is_empty());
            requests.map(|request| request.split(' ').collect()).collect()
        };
        let (requests, refill) = (words(measured), words(refill));
        let keys = requests.iter().flatten().filter_map(|word| keys_of.get(word));
        let keys = keys.copied().min().unwrap_or(KEYS);
        Self { line, requests, refill, keys }
    }

    /// The requests of one step.
    fn count(&self) -> usize {
        self.requests.len()
    }

    /// What is printed: all but the preparations, not too long.
    fn title(&self) -> String {
        let title = self.line.split(" <- ").next().unwrap_or_default();
        let title = title.replace(" ; ", "; ").replace('|', "\\|");
        match title.char_indices().nth(60) {
            Some((end, _)) => format!("{}...", title.get(..end).unwrap_or_default()),
            None => title,
        }
    }
}

/// The number and the rest of `N*rest`.
fn repetition(word: &str) -> Option<(usize, &str)> {
    let (count, rest) = word.split_once('*')?;
    Some((count.parse().ok()?, rest))
}

/// The arguments that a word stands for.
fn arguments(word: &str, key: usize, asker: &mut Client) -> Outcome<Vec<Vec<u8>>> {
    if let Some((count, words)) = repetition(word) {
        let numbered = (0..count).flat_map(|n| {
            let words = words.split(',').map(move |word| word.replace('%', &n.to_string()));
            words.collect::<Vec<_>>()
        });
        let numbered: Vec<String> = numbered.collect();
        let all = numbered.iter().map(|word| arguments(word, key, asker));
        return Ok(all.collect::<Outcome<Vec<_>>>()?.concat());
    }
    if let Some((text, Ok(count))) = word.split_once('^').map(|(text, n)| (text, n.parse())) {
        return Ok(vec![text.repeat(count).into_bytes()]);
    }
    if let Some(key) = word.strip_prefix("dump(").and_then(|rest| rest.strip_suffix(')')) {
        return Ok(vec![asker.ask_bytes(&[b"DUMP", key.as_bytes()])?]);
    }
    let word = word.replace('@', &key.to_string()).replace("\\s", " ").replace("\\n", "\n");
    Ok(vec![word.into_bytes()])
}

/// The bytes of one step and how many replies it gets.
fn encode(requests: &[Words], key: usize, asker: &mut Client) -> Outcome<(Vec<u8>, usize)> {
    let (mut bytes, mut replies) = (Vec::new(), 0);
    for words in requests {
        let repeated = words.first().and_then(|word| repetition(word));
        let (count, words) = match repeated {
            Some((count, "")) => (count, words.get(1..).unwrap_or_default()),
            _ => (1, words.as_slice()),
        };
        for n in 0..count {
            let mut args = Vec::new();
            for word in words {
                let numbered =
                    if count > 1 { word.replace('%', &n.to_string()) } else { String::new() };
                let word = if count > 1 { numbered.as_str() } else { word };
                args.extend(arguments(word, key, asker)?);
            }
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            bytes.extend_from_slice(&request(&args));
            replies += 1;
        }
    }
    Ok((bytes, replies))
}

/// A server with its connections.
struct Side {
    server: Server,
    pipes: Vec<Pipe>,
    asker: Client,
}

fn connect(port: u16) -> Outcome<Vec<Pipe>> {
    (0..CONNECTIONS).map(|_| Pipe::connect(port)).collect()
}

/// A row's requests for one server.
struct Prepared {
    steps: Vec<Vec<u8>>,
    refill: Vec<u8>,
    refill_replies: usize,
    /// The requests of one step.
    count: usize,
}

impl Side {
    fn start(program: &std::path::Path, table: &Table) -> Outcome<Self> {
        let server = Server::start_with(program, Some("0"), &["--databases", "16"])?;
        let (pipes, asker) = (connect(server.port)?, Client::connect(server.port)?);
        let mut side = Self { server, pipes, asker };
        for (count, words) in &table.data {
            for key in 0..*count {
                let (bytes, replies) = encode(std::slice::from_ref(words), key, &mut side.asker)?;
                let pipe = side.pipes.first_mut().ok_or("no connection")?;
                let sent = pipe.send(&bytes).and_then(|()| pipe.receive(replies));
                sent.map_err(|e| format!("{}: {e}", words.join(" ")))?;
            }
        }
        Ok(side)
    }

    fn prepare(&mut self, row: &Row) -> Outcome<Prepared> {
        let keys = 0..row.keys;
        let steps = keys.clone().map(|key| Ok(encode(&row.requests, key, &mut self.asker)?.0));
        let steps: Vec<Vec<u8>> = steps.collect::<Outcome<_>>()?;
        let (mut refill, mut refill_replies) = (Vec::new(), 0);
        for key in keys.filter(|_| !row.refill.is_empty()) {
            let (bytes, replies) = encode(&row.refill, key, &mut self.asker)?;
            refill.extend(bytes);
            refill_replies += replies;
        }
        Ok(Prepared { steps, refill, refill_replies, count: row.count() })
    }

    /// Makes the keys anew that a pass uses up.
    fn refill(&mut self, prepared: &Prepared) -> Outcome<()> {
        let Some(pipe) = self.pipes.first_mut().filter(|_| prepared.refill_replies > 0) else {
            return Ok(());
        };
        pipe.exchange(&prepared.refill, prepared.refill_replies)
    }

    /// Sends so many steps, from the first on, in pipelines over all connections.
    fn drive(&mut self, prepared: &Prepared, steps: usize) -> Outcome<()> {
        let in_pipeline = (PIPELINE / prepared.count).max(1);
        let mut next = prepared.steps.iter().cycle().take(steps);
        let mut under_way = vec![0; self.pipes.len()];
        loop {
            let mut is_idle = true;
            for (pipe, count) in self.pipes.iter_mut().zip(&mut under_way) {
                pipe.receive(std::mem::take(count) * prepared.count)?;
                let batch: Vec<&[u8]> =
                    next.by_ref().take(in_pipeline).map(Vec::as_slice).collect();
                if !batch.is_empty() {
                    pipe.send(&batch.concat())?;
                    *count = batch.len();
                    is_idle = false;
                }
            }
            if is_idle {
                return Ok(());
            }
        }
    }

    /// Microseconds of processor time for one request.
    fn turn(&mut self, prepared: &Prepared, passes: usize, steps: usize) -> Outcome<f64> {
        let mut used = 0;
        for _ in 0..passes {
            self.refill(prepared)?;
            let before = self.server.thread_times()?;
            self.drive(prepared, steps)?;
            used += self.server.thread_times()?.since(&before);
        }
        Ok(used as f64 / 1e3 / (passes * steps * prepared.count) as f64)
    }

    /// Seconds that one step takes.
    fn trial(&mut self, prepared: &Prepared) -> Outcome<f64> {
        self.refill(prepared)?;
        let steps = TRIAL_STEPS.min(prepared.steps.len());
        let began = Instant::now();
        self.drive(prepared, steps)?;
        Ok(began.elapsed().as_secs_f64() / steps as f64)
    }
}

/// What a row gave: microseconds of Redis, if it has the command, and ours.
struct Figures {
    title: String,
    redis: Option<f64>,
    ours: f64,
    ratio: f64,
}

impl Figures {
    fn line(&self) -> String {
        let redis = self.redis.map_or("-".to_owned(), |micros| format!("{micros:.2}"));
        let ratio = self.redis.map_or("-".to_owned(), |_| format!("{:.2}", self.ratio));
        format!("| {} | {redis} | {:.2} | {ratio} |", self.title, self.ours)
    }
}

/// Measures a row in turns that are about so long.
fn measure(
    row: &Row,
    (rounds_wanted, millis): (usize, usize),
    redis: &mut Side,
    ours: &mut Side,
) -> Outcome<Figures> {
    let of_redis = redis.prepare(row)?;
    let of_ours = ours.prepare(row)?;
    let slowest = match redis.trial(&of_redis) {
        Ok(seconds) => Some(seconds.max(ours.trial(&of_ours)?)),
        Err(error) if error.contains("unknown ") => {
            // More replies are on their way.
            redis.pipes = connect(redis.server.port)?;
            None
        }
        Err(error) => return Err(format!("redis-server: {error}")),
    };
    let seconds = slowest.map_or_else(|| ours.trial(&of_ours), Ok)?;
    let wanted = (millis as f64 / 1e3 / seconds).ceil() as usize;
    // What is used up must be there; what is not may be asked for again and again.
    let (passes, steps) = if of_redis.refill_replies > 0 {
        (wanted.div_ceil(row.keys).min(3), row.keys)
    } else {
        (1, wanted.max(PIPELINE))
    };
    let mut rounds = Vec::new();
    for _ in 0..rounds_wanted {
        let theirs = slowest.map(|_| redis.turn(&of_redis, passes, steps)).transpose()?;
        rounds.push((theirs.unwrap_or(f64::NAN), ours.turn(&of_ours, passes, steps)?));
    }
    Ok(Figures {
        title: row.title(),
        redis: slowest.map(|_| median(rounds.iter().map(|(redis, _)| *redis))),
        ours: median(rounds.iter().map(|(_, ours)| *ours)),
        ratio: median(rounds.iter().map(|(redis, ours)| ours / redis)),
    })
}

/// The commands and the worst rows, as figures.
fn keep(compared: &[&Figures], slower: usize, record: &mut Record) -> Outcome<()> {
    let mut rows = Rounds::new("walk/slower", "commands slower than Redis", "rows");
    rows.add(Who::Ours, slower as f64);
    record.keep(&rows)?;
    let mut middle = Rounds::new("walk/median", "median of all rows", "x the CPU of Redis");
    middle.add(Who::Ours, median(compared.iter().map(|figures| figures.ratio)));
    record.keep(&middle)?;
    for (place, figures) in compared.iter().rev().take(WORST).enumerate() {
        let name = format!("walk/worst/{}", place + 1);
        let mut rounds = Rounds::new(name, figures.title.clone(), "µs a request");
        rounds.add(Who::Redis, figures.redis.unwrap_or(f64::NAN));
        rounds.add(Who::Ours, figures.ours);
        record.keep(&rounds)?;
    }
    Ok(())
}

/// All rows in the order of their ratio, and what went wrong.
fn measure_all(
    options: &Options,
    table: &Table,
    redis: &mut Side,
    ours: &mut Side,
) -> Outcome<(Vec<Figures>, Vec<String>)> {
    let common = &options.common;
    let turns = (common.pick(options.rounds, 5, 3), common.pick(options.millis, 40, 15));
    println!(
        "{CONNECTIONS} connections, pipelines of {PIPELINE}, {} rounds; CPU is the server's, in \
         microseconds a request.\n",
        turns.0
    );
    pin_self("1");
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for row in table.rows.iter().filter(|row| options.takes(row)) {
        match measure(row, turns, redis, ours) {
            Ok(figures) => results.push(figures),
            Err(problem) => {
                problems.push(format!("{}: {problem}", row.line));
                redis.pipes = connect(redis.server.port)?;
                ours.pipes = connect(ours.server.port)?;
            }
        }
    }
    results.sort_by(|one, other| one.ratio.total_cmp(&other.ratio));
    Ok((results, problems))
}

fn run(options: &Options) -> Outcome<()> {
    let common = &options.common;
    check_programs(common)?;
    let table = Table::read()?;
    let mut record = Record::open(common)?;
    let mut redis = Side::start(&common.redis, &table)?;
    let mut ours = Side::start(&common.ours, &table)?;
    let names = ours.asker.ask_all(&[b"COMMAND", b"LIST"])?;
    let (results, mut problems) = measure_all(options, &table, &mut redis, &mut ours)?;
    let head = "| request | Redis CPU | ours CPU | ratio |\n|---|--:|--:|--:|";
    println!("{head}");
    results.iter().for_each(|result| println!("{}", result.line()));
    let compared: Vec<&Figures> = results.iter().filter(|result| result.redis.is_some()).collect();
    let slower = compared.iter().filter(|result| result.ratio > 1.0).count();
    let middle = median(compared.iter().map(|result| result.ratio));
    println!(
        "\n{} rows, {} of them without a counterpart in Redis; {slower} slower than Redis, median \
         ratio {middle:.2}. The worst:\n\n{head}",
        results.len(),
        results.len() - compared.len(),
    );
    compared.iter().rev().take(WORST).for_each(|result| println!("{}", result.line()));
    if options.only.is_empty() {
        keep(&compared, slower, &mut record)?;
    }
    let forgotten = table.forgotten(&names);
    problems.extend(forgotten.iter().map(|name| format!("{name}: no row in walk.txt")));
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn main() -> ExitCode {
    support::main("walk", run)
}
