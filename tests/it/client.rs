//! The client program from outside: what it sends, what it prints, how it exits.
//!
//! The server is a script: it expects exact bytes and answers with exact bytes, so that every
//! test decides what the client meets, faults included.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// No step of a script takes longer.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// One connection: bytes expected and bytes answered, in turn; then the server closes it.
type Script = &'static [(&'static str, &'static str)];

/// Serves one connection after the other, as many as there are scripts.
struct ScriptedServer {
    port: u16,
    thread: JoinHandle<()>,
}

impl ScriptedServer {
    fn start(scripts: &'static [Script]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                play(stream, script);
            }
        });
        Self { port, thread }
    }

    /// Fails if the client sent anything but what the scripts say.
    fn finish(self) {
        self.thread.join().unwrap();
    }
}

fn play(mut stream: TcpStream, script: Script) {
    stream.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
    for (request, response) in script {
        let expected = encode(request);
        let mut received = vec![0; expected.len()];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(&expected));
        stream.write_all(response.as_bytes()).unwrap();
    }
}

/// The words of `line` as a request.
fn encode(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

struct Outcome {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

fn client(port: u16, arguments: &[&str], input: &[u8]) -> Outcome {
    let mut child = Command::new(env!("CARGO_BIN_EXE_my_redis_client"))
        .args(["-p", &port.to_string()])
        .args(arguments)
        .env_remove("REDISCLI_AUTH")
        .env_remove("FAKETTY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client that ends without reading its input is no fault.
    let _unread = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Outcome {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

/// Runs the client against `scripts`; what it sends must be what they say.
fn against(scripts: &'static [Script], arguments: &[&str], input: &[u8]) -> Outcome {
    let server = ScriptedServer::start(scripts);
    let outcome = client(server.port, arguments, input);
    server.finish();
    outcome
}

#[test]
fn a_command_is_sent_as_it_is_and_its_response_is_raw_when_piped() {
    let outcome = against(&[&[("get -h", "$5\r\nwo\"rd\r\n")]], &["get", "-h"], b"");
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("wo\"rd\n", Some(0)));
    assert_eq!(outcome.stderr, "");
}

#[test]
fn formatted_output_can_be_forced() {
    let scripts: &[Script] = &[&[("x", "*2\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n")]];
    let outcome = against(scripts, &["--no-raw", "x"], b"");
    assert_eq!(outcome.stdout, "1) (integer) 1\n2) 1) \"a\"\n   2) (nil)\n");
    let outcome = against(scripts, &["--csv", "x"], b"");
    assert_eq!(outcome.stdout, "1,\"a\",NULL\n");
    let outcome = against(scripts, &["--json", "-2", "x"], b"");
    assert_eq!(outcome.stdout, "[1,[\"a\",null]]\n");
}

#[test]
fn json_asks_for_resp3_and_goes_on_without() {
    let scripts: &[Script] = &[&[("HELLO 3", "-NOPROTO no\r\n"), ("x", ":1\r\n")]];
    let outcome = against(scripts, &["--json", "x"], b"");
    assert_eq!(outcome.stdout, "1\n");
    assert_eq!(outcome.stderr, "HELLO 3 failed: NOPROTO no\n");
}

#[test]
fn a_connection_is_prepared_in_order() {
    let scripts: &[Script] = &[&[
        ("AUTH me secret", "+OK\r\n"),
        ("SELECT 5", "+OK\r\n"),
        ("HELLO 3", "%1\r\n+proto\r\n:3\r\n"),
        ("ping", "+PONG\r\n"),
    ]];
    let options = ["--user", "me", "-a", "secret", "-n", "5", "-3", "ping"];
    let outcome = against(scripts, &options, b"");
    assert_eq!(outcome.stdout, "PONG\n");
    assert!(outcome.stderr.starts_with("Warning: Using a password"));
}

#[test]
fn an_error_response_is_an_exit_code_only_when_asked_for() {
    let scripts: &[Script] = &[&[("get", "-ERR no\r\n")]];
    let outcome = against(scripts, &["get"], b"");
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("ERR no\n\n", Some(0)));
    let outcome = against(scripts, &["-e", "get"], b"");
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("", Some(1)));
    assert_eq!(outcome.stderr, "ERR no\n");
}

#[test]
fn the_last_argument_comes_from_standard_input_byte_for_byte() {
    let scripts: &[Script] = &[&[("set k a\0\nb\n", "+OK\r\n")]];
    let outcome = against(scripts, &["-x", "set", "k"], b"a\0\nb\n");
    assert_eq!(outcome.stdout, "OK\n");
}

#[test]
fn a_command_is_repeated_on_one_connection() {
    let scripts: &[Script] = &[&[("incr n", ":1\r\n"), ("incr n", ":2\r\n"), ("incr n", ":3\r\n")]];
    let outcome = against(scripts, &["-r", "3", "incr", "n"], b"");
    assert_eq!(outcome.stdout, "1\n2\n3\n");
}

#[test]
fn no_server_is_one_line_and_code_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let outcome = client(port, &["ping"], b"");
    let expected = format!("Could not connect to Redis at 127.0.0.1:{port}: Connection refused\n");
    assert_eq!((outcome.stderr, outcome.code), (expected, Some(1)));
}

#[test]
fn a_lost_connection_and_a_foreign_server_are_code_1() {
    let outcome = against(&[&[("ping", "")]], &["ping"], b"");
    assert_eq!(outcome.stderr, "Error: Server closed the connection\n");
    assert_eq!(outcome.code, Some(1));
    let outcome = against(&[&[("ping", "HTTP/1.1 400 Bad Request\r\n\r\n")]], &["ping"], b"");
    assert_eq!(outcome.stderr, "Error: Protocol error, got \"H\" as reply type byte\n");
    assert_eq!(outcome.code, Some(1));
}

#[test]
fn a_shutdown_that_closes_the_connection_is_no_failure() {
    let outcome = against(&[&[("shutdown nosave", "")]], &["shutdown", "nosave"], b"");
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("", Some(0)));
}

#[test]
fn lines_on_standard_input_are_a_session_that_reconnects() {
    let scripts: &[Script] = &[
        &[("select 3", "+OK\r\n"), ("multi", "+OK\r\n"), ("gone", "")],
        &[("SELECT 3", "+OK\r\n"), ("echo a b", "$3\r\na b\r\n")],
    ];
    let input = b"select 3\nmulti\ngone\n\n\"unbalanced\necho \"a\" 'b'\nquit\nnever\n";
    let outcome = against(scripts, &[], input);
    assert_eq!(outcome.stdout, "OK\nOK\nInvalid argument(s)\na b\n");
    assert_eq!(outcome.stderr, "Error: Server closed the connection\n");
    assert_eq!(outcome.code, Some(0));
}

#[test]
fn messages_are_shown_until_the_server_goes() {
    let scripts: &[Script] = &[&[(
        "subscribe c",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n\
         *3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
    )]];
    let outcome = against(scripts, &["subscribe", "c"], b"");
    assert_eq!(outcome.stdout, "subscribe\nc\n1\nmessage\nc\nhi\n");
    assert_eq!(outcome.code, Some(1));
}

#[test]
fn messages_that_answer_nothing_are_left_out_of_raw_output() {
    let scripts: &[Script] = &[&[("get k", ">2\r\n$10\r\ninvalidate\r\n*0\r\n$1\r\nv\r\n")]];
    assert_eq!(against(scripts, &["get", "k"], b"").stdout, "v\n");
}

#[test]
fn help_is_made_from_what_the_server_says_of_its_commands() {
    let scripts: &[Script] = &[&[(
        "COMMAND DOCS",
        "*2\r\n$3\r\nget\r\n*4\r\n$7\r\nsummary\r\n$6\r\nReads.\r\n\
         $5\r\ngroup\r\n$6\r\nstring\r\n",
    )]];
    let outcome = against(scripts, &["help", "GET"], b"");
    assert!(outcome.stdout.contains("summary:\x1b[0m Reads."), "{}", outcome.stdout);
    assert_eq!(against(&[&[("COMMAND DOCS", "-ERR no\r\n")]], &["help", "x"], b"").stdout, "\r\n");
}

#[test]
fn standard_input_is_sent_as_it_is_and_its_responses_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let input = b"*1\r\n$4\r\nPING\r\nset a 1\r\nunfinished";
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
        let mut received = vec![0; input.len() + b"\r\n*2\r\n$4\r\nECHO\r\n$20\r\n".len() + 22];
        stream.read_exact(&mut received).unwrap();
        let (requests, end) = received.split_at(input.len());
        assert_eq!(requests, input);
        let mark = end.strip_prefix(b"\r\n*2\r\n$4\r\nECHO\r\n").unwrap();
        stream.write_all(b"+PONG\r\n-ERR a\r\n-ERR b\r\n").unwrap();
        stream.write_all(mark).unwrap();
    });
    let outcome = client(port, &["--pipe"], input);
    server.join().unwrap();
    let expected = "All data transferred. Waiting for the last reply...\n\
                    Last reply received from server.\n\
                    errors: 2, replies: 3\n";
    assert_eq!(outcome.stdout, expected);
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("ERR a\nERR b\n", Some(1)));
}

#[test]
fn a_pipe_without_an_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let outcome = client(port, &["--pipe", "--pipe-timeout", "1"], b"PING\r\n");
    assert_eq!(outcome.stderr, "No replies for 1 seconds: exiting.\n");
    assert!(outcome.stdout.ends_with("errors: 1, replies: 0\n"), "{}", outcome.stdout);
    assert_eq!(outcome.code, Some(1));
    drop(listener);
}

#[test]
fn a_bad_option_is_code_1_and_names_the_option() {
    let outcome = client(1, &["--nonsense"], b"");
    assert!(outcome.stderr.contains("--nonsense"), "{}", outcome.stderr);
    assert_eq!(outcome.code, Some(1));
    let outcome = client(1, &["--help"], b"");
    assert!(outcome.stdout.contains("--pipe-timeout <seconds>"), "{}", outcome.stdout);
    assert_eq!(outcome.code, Some(0));
}
