//! Dumps of other servers, loaded by this one and read back with ordinary commands: what comes out
//! must be what those servers held. tests/data/rdb/README.md says how each was made.

use crate::commands::elements;
use crate::harness::server::{Folder, Server};
use crate::harness::wire::Wire;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The form of tests/data/rdb/make.py.
fn token(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "%-".to_owned();
    }
    if bytes.len() > 16 && bytes.iter().all(|byte| *byte == bytes[0]) {
        return format!("={}x{:02X}", bytes.len(), bytes[0]);
    }
    let shown = |byte: &u8| match *byte {
        byte if byte.is_ascii_alphanumeric() || b"_.:+-".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(shown).collect()
}

/// The content of a key as one line, unordered types sorted.
fn line(wire: &mut Wire, key: &[u8]) -> String {
    let kind = String::from_utf8(wire.command(&[b"TYPE", key])).unwrap();
    let kind = kind.trim_start_matches('+').trim_end();
    let request: &[&[u8]] = match kind {
        "string" => &[b"MGET", key],
        "list" => &[b"LRANGE", key, b"0", b"-1"],
        "hash" => &[b"HGETALL", key],
        "set" => &[b"SMEMBERS", key],
        _ => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
    };
    let mut words = elements(&wire.command(request));
    match kind {
        "set" => words.sort(),
        "hash" => {
            let mut pairs: Vec<_> = words.chunks(2).map(<[_]>::to_vec).collect();
            pairs.sort();
            words = pairs.concat();
        }
        _ => {}
    }
    let words: Vec<String> = words.iter().map(|word| token(word)).collect();
    let deadline = String::from_utf8(wire.command(&[b"PEXPIRETIME", key])).unwrap();
    let deadline = deadline.trim_start_matches(':').trim_end().replace("-1", "-");
    format!("{kind} {deadline} {} {}", token(key), words.join(" "))
}

/// Old versions printed scores with other digits.
fn with_scores_reprinted(line: &str) -> String {
    if !line.starts_with("zset ") {
        return line.to_owned();
    }
    let words = line.split(' ').enumerate().map(|(index, word)| {
        let is_score = index >= 4 && index % 2 == 0;
        if is_score { word.parse::<f64>().unwrap().to_string() } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_dump_of_another_server_is_loaded_whole() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rdb");
    let mut count = 0;
    for file in fs::read_dir(&samples).unwrap() {
        let transcript = file.unwrap().path();
        if transcript.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        count += 1;
        let folder = Folder::new();
        let dump = transcript.with_extension("rdb");
        fs::copy(&dump, folder.path().join("dump.my_rdb")).unwrap();
        let server = Server::start_in(Arc::new(folder), 4, |_| {});
        let mut wire = server.wire();
        let keys = elements(&wire.run("KEYS *"));
        let mut lines: Vec<String> =
            keys.iter().map(|key| with_scores_reprinted(&line(&mut wire, key))).collect();
        let text = fs::read_to_string(&transcript).unwrap();
        let mut expected: Vec<String> = text.lines().map(with_scores_reprinted).collect();
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected, "{}", dump.display());
    }
    assert_eq!(count, 9, "a sample is missing");
}
