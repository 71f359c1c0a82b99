//! The protocol without sockets: requests decoded, replies written, responses decoded.
//!
//! Each measurement states the bytes that pass, so that a result is a throughput and can be held
//! against what a connection carries. Requests in single bytes are there because a decoder that
//! starts anew with every piece looks the same in every other measurement.

#![allow(clippy::unwrap_used, reason = "a benchmark that meets the unexpected has to stop")]

use bytes::Buf;
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use my_redis::protocol::response::ResponseDecoder;
use my_redis::protocol::{OutputBuffer, Protocol, ReplyWriter, RequestDecoder};
use std::hint::black_box;

/// Requests of the small pipeline, and what a connection's task decodes before it runs them.
const PIPELINE_REQUESTS: usize = 64;
const LARGE_VALUE_BYTES: usize = 1024 * 1024;
const ARRAY_ELEMENTS: usize = 100;
const REPLIES: usize = 64;

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Decodes all requests of `input`, looking at every argument; returns how many there were.
fn decode_all(decoder: &mut RequestDecoder, input: &[u8]) -> usize {
    let (mut start, mut requests) = (0, 0);
    while let Some(request) = decoder.decode(input.get(start..).unwrap()).unwrap() {
        let args = decoder.args(request, input.get(start..).unwrap());
        black_box(args.iter_from(0).map(<[u8]>::len).sum::<usize>());
        start += request.length;
        requests += 1;
        decoder.forget();
    }
    requests
}

/// Hands `input` to the decoder in pieces, each time all that has come, as a connection does.
fn decode_in_pieces(input: &[u8], piece_bytes: usize) -> usize {
    let mut decoder = RequestDecoder::new();
    let mut end = 0;
    loop {
        end = (end + piece_bytes).min(input.len());
        let input = input.get(..end).unwrap();
        if let Some(request) = decoder.decode(black_box(input)).unwrap() {
            return decoder.args(request, input).len();
        }
    }
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    let small = request(&[b"SET", b"key:000000000042", b"0123456789abcdef"]);
    let pipeline = small.repeat(PIPELINE_REQUESTS);
    group.throughput(Throughput::Bytes(pipeline.len() as u64));
    let mut decoder = RequestDecoder::new();
    group.bench_function("64 small SETs", |b| {
        b.iter(|| assert_eq!(decode_all(&mut decoder, black_box(&pipeline)), PIPELINE_REQUESTS));
    });
    let large = request(&[b"SET", b"key", &vec![b'x'; LARGE_VALUE_BYTES]]);
    group.throughput(Throughput::Bytes(large.len() as u64));
    group.bench_function("1 MB value in pieces of 16 KB", |b| {
        b.iter(|| assert_eq!(decode_in_pieces(&large, 16 * 1024), 3));
    });
    let pieces = request(&[b"SET", b"key:000000000042", &[b'x'; 4096]]);
    group.throughput(Throughput::Bytes(pieces.len() as u64));
    group.bench_function("4 KB value in single bytes", |b| {
        b.iter(|| assert_eq!(decode_in_pieces(&pieces, 1), 3));
    });
    let inline = b"SET key:000000000042 \"0123456789 abcdef\"\r\n".repeat(PIPELINE_REQUESTS);
    group.throughput(Throughput::Bytes(inline.len() as u64));
    group.bench_function("64 inline SETs", |b| {
        b.iter(|| assert_eq!(decode_all(&mut decoder, black_box(&inline)), PIPELINE_REQUESTS));
    });
    group.finish();
}

/// Measures `write`, run `REPLIES` times into one output, which is then emptied.
fn bench_reply(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    write: impl Fn(&mut ReplyWriter<'_>),
) {
    let mut output = OutputBuffer::new();
    let write_all = |output: &mut OutputBuffer| {
        for _ in 0..REPLIES {
            write(&mut ReplyWriter::new(output, Protocol::Resp2));
        }
        let bytes = output.len();
        output.advance(bytes);
        bytes
    };
    group.throughput(Throughput::Bytes(write_all(&mut output) as u64));
    group.bench_function(name, |b| b.iter(|| black_box(write_all(&mut output))));
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    let value = [b'x'; 16];
    bench_reply(&mut group, "64 bulks of 16 bytes", |reply| reply.bulk(black_box(&value)));
    bench_reply(&mut group, "64 integers", |reply| reply.integer(black_box(1_234_567)));
    bench_reply(&mut group, "64 arrays of 100 bulks", |reply| {
        reply.array(ARRAY_ELEMENTS);
        (0..ARRAY_ELEMENTS).for_each(|_| reply.bulk(black_box(&value)));
    });
    group.finish();
}

/// Decodes every response of `input`; returns how many there were.
fn decode_responses(input: &[u8]) -> usize {
    let mut decoder = ResponseDecoder::new();
    let (mut start, mut responses) = (0, 0);
    while let (used, Some(value)) = decoder.decode(input.get(start..).unwrap()).unwrap() {
        black_box(value);
        start += used;
        responses += 1;
    }
    responses
}

fn responses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response");
    let bulk = b"$16\r\n0123456789abcdef\r\n";
    let array =
        [format!("*{ARRAY_ELEMENTS}\r\n").as_bytes(), &bulk.repeat(ARRAY_ELEMENTS)].concat();
    for (name, input) in [
        ("64 status lines", b"+OK\r\n".repeat(REPLIES)),
        ("64 bulks of 16 bytes", bulk.repeat(REPLIES)),
        ("64 arrays of 100 bulks", array.repeat(REPLIES)),
    ] {
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(decode_responses(black_box(&input)), REPLIES));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    replies(&mut criterion);
    responses(&mut criterion);
    criterion.final_summary();
}
