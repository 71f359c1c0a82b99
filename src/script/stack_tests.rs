//! The calls into Lua and out of it, where they may be left by a jump.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::tests::{Mock, run, run_compiled};
use super::*;
use crate::protocol::reply::Protocol;
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::Arc;

/// What a coroutine has raised, raised again.
const WRAPPED: &str = "-ERR user_script:1: not enough memory script: SHA, on @user_script:1.";
/// Runs between the others, and leaves no garbage that these could make room with.
const OTHER: &str = "collectgarbage() return redis.call('echo', 'x')";
const BARE: &str = "-ERR Error running script SHA, not enough memory";
const LOCATED: &str = "-ERR not enough memory script: SHA, on @user_script:1.";

/// One reply of every kind, within others.
const ALL_KINDS: &str = "*9\r\n$3\r\nabc\r\n:7\r\n%2\r\n+k\r\n*2\r\n,1.5\r\n~2\r\n$1\r\na\r\n:1\r\n\
                         +v\r\n#t\r\n=7\r\ntxt:xyz\r\n(123456789012345678901234567890\r\n\
                         |1\r\n+a\r\n:1\r\n+OK\r\n-WRONG it is\r\n_\r\n*2\r\n*1\r\n+x\r\n$-1\r\n";

fn compiled(source: &str) -> Arc<Script> {
    let script = Arc::new(Script::new(source.as_bytes(), 0));
    check_script(&script).unwrap();
    script
}

fn run_limited(given: &[u8], memory_bytes_max: usize, script: &Arc<Script>) -> String {
    let mut host = Mock::default();
    host.given = given.to_vec();
    run_compiled(&mut host, &Limits { memory_bytes_max }, Protocol::Resp3, script)
}

fn run_given(given: &[u8], memory_bytes_max: usize, source: &str) -> String {
    run_limited(given, memory_bytes_max, &compiled(source))
}

/// Kilobytes in use after a collection.
fn used() -> f64 {
    let reply = run("collectgarbage() collectgarbage() return tostring(collectgarbage('count'))");
    reply.lines().nth(1).unwrap().parse().unwrap()
}

/// Runs a script with a little more memory each time until it succeeds; how often it has failed.
fn with_growing_memory(given: &[u8], source: &str, is_done: impl Fn(&str) -> bool) -> usize {
    let (script, other) = (compiled(source), compiled(OTHER));
    let mut failed = 0;
    for memory_bytes_max in (0..).step_by(8) {
        let reply = run_limited(given, memory_bytes_max, &script);
        if is_done(&reply) {
            break;
        }
        let expected = [BARE, LOCATED, WRAPPED, "$17\r\nnot enough memory\r\n"];
        assert!(expected.contains(&&*reply), "{memory_bytes_max}: {reply}");
        assert_eq!(run_limited(b"", 1 << 20, &other), "$1\r\nx\r\n");
        failed += 1;
    }
    failed
}

/// Wherever the memory ends while a reply is put together, the script ends and nothing else does.
#[test]
fn memory_may_end_at_every_point_of_a_reply() {
    let source = "redis.setresp(3) local r = redis.call('given') return #r";
    let sources = [
        source.to_owned(),
        "redis.setresp(3) local ok, r = pcall(redis.call, 'given') return ok and #r or r".into(),
        "redis.setresp(3) local r = coroutine.wrap(function() return redis.pcall('given') end)() \
         return #r"
            .into(),
        // As garbage that is collected in the middle of it.
        "redis.setresp(3) local r for i = 1, 20 do r = redis.call('given') end return #r".into(),
    ];
    let all = ALL_KINDS.repeat(3);
    let given = format!("*4\r\n{all}$4000\r\n{}\r\n", "x".repeat(4000));
    for source in &sources {
        run_given(given.as_bytes(), 1 << 20, source);
        let before = used();
        let failed = with_growing_memory(given.as_bytes(), source, |reply| reply == ":4\r\n");
        assert!(failed > 500, "{failed}: {source}");
        let after = used();
        // The scripts themselves.
        assert!(after < before + 4.0, "{before} KB, then {after} KB: {source}");
    }
}

/// The same for what is made before the script begins, and for errors.
#[test]
fn memory_may_end_before_a_script_begins_and_when_it_fails() {
    let failed = with_growing_memory(b"", "return KEYS[1]", |reply| reply == "$4\r\nkey1\r\n");
    assert!(failed > 3, "{failed}");
    let is_error = |reply: &str| reply.contains("@user_script:1") && reply.contains("WRONG it is");
    let failed = with_growing_memory(b"-WRONG it is\r\n", "redis.call('given')", is_error);
    assert!(failed > 3, "{failed}");
    let source = "local e = redis.pcall('given') return e.err";
    let is_error = |reply: &str| reply == "$11\r\nWRONG it is\r\n";
    assert!(with_growing_memory(b"-WRONG it is\r\n", source, is_error) > 3);
}

#[test]
fn replies_nest_to_a_limit_and_no_further() {
    let deep = |kind: &str, levels| format!("{}:1\r\n", kind.repeat(levels)).into_bytes();
    let arrays = "redis.setresp(3) local r, n = redis.call('given'), 0 \
                  while type(r) == 'table' do r, n = r[1], n + 1 end return n";
    let maps = "redis.setresp(3) local r, n = redis.call('given'), 0 \
                while type(r) == 'table' do r, n = r.map.k, n + 1 end return n";
    for (source, kind) in [(arrays, "*1\r\n"), (maps, "%1\r\n$1\r\nk\r\n")] {
        assert_eq!(run_given(&deep(kind, 64), 1 << 20, source), ":64\r\n");
        for levels in [65, 100, 100_000] {
            let caught = format!(
                "{} local ok, e = pcall(redis.pcall, 'given') return e",
                "redis.setresp(3)"
            );
            let reply = run_given(&deep(kind, levels), 64 << 20, &caught);
            assert_eq!(reply, "$27\r\nERR reached lua stack limit\r\n", "{levels}");
        }
    }
    // Every level is left by a jump, too.
    let source = "redis.setresp(3) return #redis.call('given')";
    let given = deep("*1\r\n", 64);
    assert!(with_growing_memory(&given, source, |reply| reply == ":1\r\n") > 64);
}

#[test]
fn arguments_are_strings_and_numbers() {
    let wrong = "ERR Lua redis lib command arguments must be strings or integers";
    for value in [
        "nil",
        "true",
        "false",
        "{}",
        "tostring",
        "function() end",
        "redis.call",
        "redis",
        "coroutine.create(function() end)",
    ] {
        for place in ["{V}", "'echo', {V}", "'echo', 'x', {V}, 'y'"] {
            let place = place.replace("{V}", value);
            let reply = run(&format!("return redis.pcall({place}).err"));
            assert_eq!(reply, format!("${}\r\n{wrong}\r\n", wrong.len()), "{place}");
            let reply = run(&format!("redis.call({place})"));
            assert_eq!(reply, format!("-{wrong} script: SHA, on @user_script:1."), "{place}");
        }
    }
    let reply = run("return redis.pcall().err");
    assert!(reply.contains("Please specify at least one argument for this redis lib call"));
    let numbers = [
        ("1", "1"),
        ("-1", "-1"),
        ("0", "0"),
        ("-0", "-0"),
        ("0 * -1", "-0"),
        ("1.5", "1.5"),
        ("0.1", "0.10000000000000001"),
        ("1e15", "1000000000000000"),
        ("2^53", "9007199254740992"),
        ("2^53 + 2", "9007199254740994"),
        ("1e17", "1e+17"),
        ("2^63", "9.2233720368547758e+18"),
        ("-2^63", "-9.2233720368547758e+18"),
        ("1e300", "1.0000000000000001e+300"),
        ("5e-324", "4.9406564584124654e-324"),
        ("1 / 0", "inf"),
        ("-1 / 0", "-inf"),
    ];
    for (number, text) in numbers {
        let reply = run(&format!("return redis.call('echo', {number})"));
        assert_eq!(reply, format!("${}\r\n{text}\r\n", text.len()), "{number}");
    }
    assert_eq!(run("return redis.call('echo', 'a\\0b\\r\\n')"), "$5\r\na\0b\r\n\r\n");
    assert_eq!(run("return redis.call('echo', '')"), "$0\r\n\r\n");
}

#[test]
fn as_many_arguments_as_the_stack_holds() {
    let source = |count: usize| {
        format!(
            "local t = {{}} for i = 1, {count} do t[i] = 's' .. i end \
             local r = redis.call('list', unpack(t)) return {{#r, r[1], r[#r]}}"
        )
    };
    for count in [1, 20, 21, 1_000, 7_950, 7_999] {
        let last = format!("s{count}");
        let expected = format!("*3\r\n:{count}\r\n$2\r\ns1\r\n${}\r\n{last}\r\n", last.len());
        assert_eq!(run(&source(count)), expected);
    }
}

#[test]
fn errors_are_tables_and_can_be_raised_again() {
    let cases = [
        (
            "local ok, e = pcall(pcall, redis.call, 'nope') return {tostring(ok), tostring(e)}",
            "*2\r\n$4\r\ntrue\r\n$5\r\nfalse\r\n",
        ),
        (
            "local ok, e = pcall(function() redis.call('given') end) return {type(e), e}",
            "*2\r\n$6\r\nstring\r\n$8\r\nBAD text\r\n",
        ),
        (
            "local e = redis.pcall('given') return {type(e), e.err}",
            "*2\r\n$5\r\ntable\r\n$8\r\nBAD text\r\n",
        ),
        ("local e = redis.pcall('given') error(e)", "-BAD text script: SHA, on @user_script:1."),
        ("return redis.pcall('given')", "-BAD text"),
        (
            "local ok, e = xpcall(function() redis.call('given') end, \
             function(e) return e.err end) \
          return e",
            "$8\r\nBAD text\r\n",
        ),
        (
            "local f = coroutine.wrap(function() redis.call('given') end) \
          local ok, e = pcall(f) return e",
            "$8\r\nBAD text\r\n",
        ),
        (
            "local c = coroutine.create(function() redis.call('given') end) \
          local ok, e = coroutine.resume(c) return {tostring(ok), e.err}",
            "*2\r\n$5\r\nfalse\r\n$8\r\nBAD text\r\n",
        ),
        (
            "local n = 0 for i = 1, 1000 do \
             if not pcall(redis.call, 'given') then n = n + 1 end end \
          return n",
            ":1000\r\n",
        ),
        (
            "local function f(n) if n == 0 then redis.call('given') end \
          local ok, e = pcall(f, n - 1) error(e, 0) end \
          local ok, e = pcall(f, 50) return e",
            "$8\r\nBAD text\r\n",
        ),
        (
            "return (('x'):gsub('x', function() return redis.pcall('given').err end))",
            "$8\r\nBAD text\r\n",
        ),
        (
            "local ok, e = pcall(string.gsub, 'x', 'x', function() redis.call('given') end) \
             return e",
            "$8\r\nBAD text\r\n",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(run_given(b"-BAD text\r\n", 1 << 20, source), expected, "{source}");
    }
}

/// A whole reply as bytes, of the kinds that a script passes on as they are.
fn any_reply() -> impl Strategy<Value = Vec<u8>> {
    let bulk = proptest::collection::vec(any::<u8>(), 0..40)
        .prop_map(|bytes| [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat());
    let leaf = prop_oneof![
        bulk,
        any::<i32>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        "[a-zA-Z ]{0,20}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        "[A-Z]{1,5} [a-z]{1,20}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
        any::<bool>().prop_map(|value| if value { b"#t\r\n".to_vec() } else { b"#f\r\n".to_vec() }),
        any::<i16>().prop_map(|number| format!(",{}.5\r\n", number).into_bytes()),
        "[0-9]{1,40}".prop_map(|digits| format!("({digits}\r\n").into_bytes()),
        "[a-z]{3}:[a-z]{0,20}"
            .prop_map(|text| format!("={}\r\n{text}\r\n", text.len()).into_bytes()),
    ];
    leaf.prop_recursive(6, 200, 20, |inner| {
        let array = |parts: Vec<Vec<u8>>| {
            [format!("*{}\r\n", parts.len()).into_bytes(), parts.concat()].concat()
        };
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(array),
            inner.prop_map(|value| [b"%1\r\n$1\r\nk\r\n".to_vec(), value].concat()),
        ]
    })
}

proptest! {
    /// Into Lua and out again, and cut off anywhere.
    #[test]
    fn replies_pass_through_unchanged(reply in any_reply(), cut in any::<Index>()) {
        let source = "redis.setresp(3) local r = redis.pcall('given') return {r}";
        let passed = run_given(&reply, 16 << 20, source);
        let expected = [b"*1\r\n", &*reply].concat();
        prop_assert_eq!(passed, String::from_utf8_lossy(&expected));
        let part = &reply[..cut.index(reply.len())];
        let refused = run_given(part, 16 << 20, source);
        prop_assert!(refused.contains("answered with what is no reply"), "{}", refused);
    }
}
