//! The interpreter with a host that only remembers what it is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::protocol::output::OutputBuffer;
use crate::protocol::reply::{Protocol, ReplyWriter};
use crate::protocol::request::{Args, ArgsBuffer};
use std::sync::Arc;

/// A host that answers commands with what a test says.
#[derive(Default)]
pub(super) struct Mock {
    polls: usize,
    polls_max: Option<usize>,
    log: Vec<(LogLevel, Vec<u8>)>,
    panics: bool,
    /// The answer to `given`.
    pub(super) given: Vec<u8>,
}

impl Host for Mock {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut OutputBuffer) {
        assert!(!self.panics, "planted");
        let mut writer = ReplyWriter::new(reply, protocol);
        match args.at(0) {
            b"echo" => writer.bulk(args.at(1)),
            b"raw" => reply.put(args.at(1)),
            b"ok" => writer.ok(),
            b"count" => writer.count(args.len()),
            b"null" => writer.null(),
            b"given" => reply.put(&self.given),
            b"list" => {
                writer.array(args.len() - 1);
                args.iter_from(1).for_each(|argument| writer.bulk(argument));
            }
            _ => writer.error(b"ERR Unknown Redis command called from script"),
        }
    }

    fn check_acl(&mut self, args: Args<'_>) -> Option<bool> {
        (args.at(0) != b"none").then_some(args.at(0) == b"echo")
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.log.push((level, message.to_vec()));
    }

    fn poll(&mut self) -> Result<(), Stopped> {
        self.polls += 1;
        match self.polls_max {
            Some(max) if self.polls > max => Err(Stopped { text: "Script killed by user" }),
            _ => Ok(()),
        }
    }
}

pub(super) fn run_with(
    host: &mut Mock,
    limits: &Limits,
    protocol: Protocol,
    source: &str,
) -> String {
    run_compiled(host, limits, protocol, &Arc::new(Script::new(source.as_bytes(), 0)))
}

pub(super) fn run_compiled(
    host: &mut Mock,
    limits: &Limits,
    protocol: Protocol,
    script: &Arc<Script>,
) -> String {
    let mut output = OutputBuffer::new();
    let (mut keys, mut argv) = (ArgsBuffer::default(), ArgsBuffer::default());
    keys.push(b"key1");
    argv.push(b"arg1");
    argv.push(b"arg2");
    let mut reply = ReplyWriter::new(&mut output, protocol);
    match run_script(script, keys.args(), argv.args(), host, limits, &mut reply) {
        Ok(()) => String::from_utf8_lossy(output.in_one_piece()).into_owned(),
        Err(error) => format!("-{error}").replace(script.id().as_str(), "SHA"),
    }
}

pub(super) fn run(source: &str) -> String {
    run_with(&mut Mock::default(), &Limits::default(), Protocol::Resp2, source)
}

#[test]
fn values_become_replies() {
    let cases = [
        ("return 1.9", ":1\r\n"),
        ("return 'a'", "$1\r\na\r\n"),
        ("return true", ":1\r\n"),
        ("return false", "$-1\r\n"),
        ("return {1, 'a', nil, 3}", "*2\r\n:1\r\n$1\r\na\r\n"),
        ("return {ok='fine'}", "+fine\r\n"),
        ("return {{err='ERR x'}, {1}}", "*2\r\n-ERR x\r\n*1\r\n:1\r\n"),
        ("return {KEYS[1], ARGV[2]}", "*2\r\n$4\r\nkey1\r\n$4\r\narg2\r\n"),
        ("return redis.call('echo', 12.5)", "$4\r\n12.5\r\n"),
        ("return redis.call('ok')", "+OK\r\n"),
        ("return redis.call('null')", "$-1\r\n"),
        (
            "return redis.pcall('nope').err",
            "$44\r\nERR Unknown Redis command called from script\r\n",
        ),
    ];
    for (source, reply) in cases {
        assert_eq!(run(source), reply, "{source}");
    }
}

#[test]
fn errors_tell_where() {
    let cases = [
        (
            "return redis.call('nope')",
            "-ERR Unknown Redis command called from script script: SHA, on @user_script:1.",
        ),
        ("\nerror('x')", "-ERR user_script:2: x script: SHA, on @user_script:2."),
        (
            "x = 1",
            "-ERR user_script:1: Attempt to modify a readonly table script: SHA, on @user_script:1.",
        ),
        (
            "return y",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'y' script: SHA, on @user_script:1.",
        ),
        ("return redis.error_reply('My Err')", "-My Err"),
        ("return {err='Own text'}", "-Own text"),
    ];
    for (source, reply) in cases {
        assert_eq!(run(source), reply, "{source}");
    }
}

#[test]
fn a_script_that_does_not_end_is_ended() {
    let sources = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function(e) return e end) end",
        "local f = coroutine.wrap(function() while true do end end) while true do pcall(f) end",
        "repeat until false",
        "return load(function() while true do end end)",
    ];
    for source in sources {
        let mut host = Mock { polls_max: Some(3), ..Mock::default() };
        let reply = run_with(&mut host, &Limits::default(), Protocol::Resp2, source);
        assert!(reply.starts_with("-ERR Script killed by user script: SHA"), "{source}: {reply}");
    }
    assert_eq!(run("return 1"), ":1\r\n");
}

#[test]
fn memory_has_an_end() {
    let limits = Limits { memory_bytes_max: 4 << 20 };
    let bare = "-ERR Error running script SHA, not enough memory";
    let located = "-ERR not enough memory script: SHA, on @user_script:1.";
    let sources = [
        ("local s = 'x' while true do s = s .. s end", bare),
        ("local t = {} for i = 1, 1e9 do t[i] = {i} end", bare),
        ("local t = {} while true do t[#t + 1] = function() return t end end", bare),
        ("local t = {} while true do t[#t + 1] = coroutine.create(function() end) end", bare),
        ("local s = ('x'):rep(1e6) return table.concat({s, s, s, s, s, s, s, s})", bare),
        ("local s = ('x'):rep(1e6) return ('%s%s%s%s%s%s'):format(s, s, s, s, s, s)", bare),
        ("return string.rep('x', 1e9)", located),
        ("return ('x'):rep(1e5):gsub('x', ('y'):rep(1e5))", located),
        (
            "return redis.call('echo', unpack((function() local t = {} local s = ('x'):rep(1e6) \
           for i = 1, 100 do t[i] = s end return t end)()))",
            located,
        ),
        (
            "return cjson.encode((function() local t = {} for i = 1, 40 do t = {t, t} end \
           return t end)())",
            located,
        ),
        (
            "return cmsgpack.pack((function() local t = {} for i = 1, 15 do local n = {} \
           for j = 1, 99 do n[j] = t end t = n end return t end)())",
            located,
        ),
        (
            "return struct.pack(('s'):rep(200), unpack((function() local t = {} \
           local s = ('x'):rep(1e6) for i = 1, 200 do t[i] = s end return t end)()))",
            located,
        ),
        ("return cjson.decode('[' .. ('[],'):rep(2e5) .. '[]]')", located),
        ("return cmsgpack.unpack('\\221\\0\\15\\66\\64' .. ('\\144'):rep(1e6))", located),
    ];
    for (source, expected) in sources {
        let reply = run_with(&mut Mock::default(), &limits, Protocol::Resp2, source);
        assert_eq!(reply, expected, "{source}");
        let caught = format!("local ok, e = pcall(function() {source} end) return tostring(e)");
        let reply = run_with(&mut Mock::default(), &limits, Protocol::Resp2, &caught);
        assert_eq!(reply, "$17\r\nnot enough memory\r\n", "{source}");
    }
    assert_eq!(run("return 1"), ":1\r\n");
}

/// A small table can describe a reply without end.
#[test]
fn a_reply_has_an_end() {
    let limits = Limits { memory_bytes_max: 1 << 20 };
    let source = "local t = {} for i = 1, 60 do t = {t, t} end return t";
    let reply = run_with(&mut Mock::default(), &limits, Protocol::Resp2, source);
    assert_eq!(reply, "-ERR Error running script SHA, not enough memory");
    let source = "local a, b = {}, {} a[1] = b b[1] = a return a";
    let reply = run(source);
    assert!(reply.ends_with("*1\r\n-ERR reached lua stack limit\r\n"), "{}", reply.len());
    // Redis has 7995 levels.
    assert!(reply.matches("*1").count() > 7900, "{}", reply.len());
}

/// What Lua does in C, where nobody could interrupt it.
#[test]
fn long_functions_can_be_ended() {
    let sources = [
        "return ('a'):rep(1e4):find(('a?'):rep(1e4) .. ('a'):rep(1e4))",
        "return ('x'):rep(1e5):find('.-.-.-.-.-b')",
        "return ('x'):rep(1e5):match('(.-)(.-)(.-)(.-)b')",
        "for w in ('x'):rep(1e5):gmatch('.-.-.-b') do end",
        "return ('x'):rep(1e5):gsub('.-.-.-b', '')",
        "return ('('):rep(1e6):gsub('%b()', '')",
        "return ('x'):gsub('x', function() while true do end end)",
        "table.sort({1, 2, 3}, function() while true do end end)",
        "table.insert({}, -2147483648, 1)",
        "local t = {} for i = 1, 30 do t = {t, t} end return t",
        "local t = {} for i = 1, 30 do t = {t, t} end cjson.encode(t)",
        "local t = {} for i = 1, 15 do t = {t, t, t, t, t, t} end cmsgpack.pack(t)",
        "setmetatable({}, {__index = function() while true do end end}).x = ({}).y .. nil",
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
        "local t = setmetatable({}, {__lt = function() while true do end end}) return t < t",
        "return loadstring('while true do end')()",
    ];
    for source in sources {
        let mut host = Mock { polls_max: Some(5), ..Mock::default() };
        let started = std::time::Instant::now();
        let reply = run_with(&mut host, &Limits::default(), Protocol::Resp2, source);
        let is_ended = reply.contains("Script killed by user") || reply.contains("concatenate");
        assert!(is_ended, "{source}: {}", &reply[..reply.len().min(200)]);
        assert!(started.elapsed().as_secs() < 10, "{source}");
    }
    assert_eq!(run("return ('key=value'):match('(%w+)=(%w+)')"), "$3\r\nkey\r\n");
}

#[test]
fn depth_has_an_end() {
    let starts = [
        (
            "local function f(n) return f(n + 1) + 1 end return f(1)",
            "-ERR user_script:1: stack overflow",
        ),
        ("local function f() return pcall(f) end return f()", ":1"),
        ("local function f() coroutine.wrap(f)() end f()", "-ERR "),
        (
            "local s = 'x' for i = 1, 300 do s = '(' .. s .. ')' end return loadstring('return ' .. s)",
            "$-1",
        ),
        (
            "local t = {} for i = 1, 5000 do t = {t} end return #cjson.encode(t)",
            "-ERR user_script:1: Cannot serialise, excessive nesting (1001)",
        ),
        (
            "return cjson.decode(('['):rep(5000))",
            "-ERR user_script:1: Found too many nested data structures (1001)",
        ),
        ("return (('x'):gsub('x', function(c) return (c:gsub('x', string.upper)) end))", "$1\r\nX"),
        ("local function f(c) return (c:gsub('x', f)) end return f('x')", "-ERR "),
        ("return xpcall(function() error('a') end, function(e) error(e) end)", "$-1"),
        (
            "return xpcall(function() local f f = function() f() end f() end, function(e) return e end)",
            "$-1",
        ),
        (
            "local t = {} for i = 1, 200 do t = setmetatable({}, {__index = t}) end return t.x",
            "-ERR ",
        ),
        ("return ('a'):rep(100):find(('(a'):rep(100000))", "-ERR user_script:1: too many captures"),
        ("return ('a'):rep(30):find(('a?'):rep(100000))", "*0"),
    ];
    for (source, start) in starts {
        let reply = run(source);
        assert!(reply.starts_with(start) || start == "*0", "{source}: {reply}");
    }
}

/// What one client's script leaves behind must not reach the next one's.
#[test]
fn nothing_is_left_behind() {
    let attempts = [
        "string.upper = nil",
        "rawset(string, 'upper', 1)",
        "table.insert(string, 1)",
        "getmetatable('').__index.upper = nil",
        "getmetatable('').x = 1",
        "setmetatable(string, {})",
        "setmetatable(_G, nil)",
        "rawset(_G, 'leak', 1)",
        "_G.leak = 1",
        "leak = 1",
        "redis.leak = 1",
        "rawset(redis, 'call', 1)",
        "getmetatable(_G).__index = 1",
        "rawset(getmetatable(_G), '__index', 1)",
        "getmetatable(getmetatable(_G).__index or {}).x = 1",
        "KEYS.leak = 1",
        "cjson.leak = 1",
        "table.sort(string)",
        "table.remove(redis)",
        "table.foreach = nil",
        "local _, t = pairs(string) t.upper = nil",
        "local f, t = pairs(redis) rawset(t, 'call', 1)",
        "for k, v in pairs(_G) do if type(v) == 'table' then v.leak = 1 end end",
        "math.randomseed(1)",
        "cjson.encode_number_precision(3)",
        "redis.setresp(3)",
        "collectgarbage('stop')",
        "collectgarbage('setpause', 1)",
        "coroutine.wrap = nil",
        "loadstring('leak = 1')()",
        "load(function() return nil end).x = 1",
        "string.gsub('x', 'x', function() leak = 1 end)",
        "_VERSION = 'leak'",
        "__redis__err__handler = nil",
        "unpack = nil",
        "next(_G)",
    ];
    let check = "local r = {} for k in pairs(_G) do r[#r + 1] = k end table.sort(r) \
                 r[#r + 1] = ('x'):upper() r[#r + 1] = type(redis.call) \
                 r[#r + 1] = cjson.encode(1 / 3) r[#r + 1] = tostring(rawget(KEYS, 'leak')) \
                 r[#r + 1] = tostring(rawget(string, 1)) r[#r + 1] = tostring(#string) \
                 r[#r + 1] = tostring(redis.leak) r[#r + 1] = tostring(_VERSION) return r";
    let expected = run(check);
    for attempt in attempts {
        run(attempt);
        assert_eq!(run(check), expected, "{attempt}");
    }
}

#[test]
fn compiled_code_is_refused() {
    let dumped = "local c = string.dump(function() return 1 end)";
    for load in ["loadstring(c)", "load(function() local p = c c = nil return p end)"] {
        let reply = run(&format!("{dumped} local f, e = {load} return {{tostring(f), e}}"));
        assert!(reply.starts_with("*2\r\n$3\r\nnil\r\n"), "{load}: {reply}");
    }
    let dump = mlua::Lua::new().load("return 1").into_function().unwrap().dump(true);
    let script = Arc::new(Script::new(&dump, 0));
    assert!(check_script(&script).is_err());
}

/// Integers of 32 bits overflow in Lua's own unpack, which then fills its stack without end.
#[test]
fn unpack_counts_its_results() {
    for range in ["1, 1e8", "-2147483648, 2147483647", "0, 2147483647", "1, 7998"] {
        let reply = run(&format!("return {{pcall(unpack, {{}}, {range})}}"));
        assert_eq!(reply, "*2\r\n$-1\r\n$26\r\ntoo many results to unpack\r\n", "{range}");
    }
    assert_eq!(run("return select('#', unpack({}, 1, 7997))"), ":7997\r\n");
    let all = "local t = {} for i = 1, 7999 do t[i] = i end return redis.call('count', unpack(t))";
    assert_eq!(run(all), ":8000\r\n");
}

#[test]
fn a_host_that_panics_ends_the_script_and_no_more() {
    let source = "while true do pcall(redis.call, 'echo', 'x') end";
    let panicked = std::panic::catch_unwind(|| {
        let mut host = Mock { panics: true, ..Mock::default() };
        run_with(&mut host, &Limits::default(), Protocol::Resp2, source)
    });
    assert!(panicked.is_err());
    assert_eq!(run("return redis.call('echo', 'x')"), "$1\r\nx\r\n");
}

#[test]
fn what_a_host_answers_is_no_danger() {
    for raw in
        ["", "x", "$5\\r\\nab", "*3\\r\\n:1\\r\\n", "$-2\\r\\n", ":x\\r\\n", "*1000000000\\r\\n"]
    {
        let reply = run(&format!("return redis.call('raw', '{raw}')"));
        assert!(reply.contains("what is no reply"), "{raw}: {reply}");
    }
    let deep = "return redis.call('raw', ('*1\\r\\n'):rep(100) .. ':1\\r\\n')";
    assert!(run(deep).contains("reached lua stack limit"));
}

#[test]
fn the_host_is_asked_and_told() {
    let mut host = Mock::default();
    let limits = Limits::default();
    let source = "redis.log(redis.LOG_WARNING, 'a', 1, nil, 'b') \
                  return {redis.acl_check_cmd('echo'), redis.acl_check_cmd('x')}";
    assert_eq!(run_with(&mut host, &limits, Protocol::Resp2, source), "*2\r\n:1\r\n$-1\r\n");
    assert_eq!(host.log, [(LogLevel::Warning, b"a 1 b".to_vec())]);
    let reply = run_with(&mut host, &limits, Protocol::Resp2, "return redis.acl_check_cmd('none')");
    assert!(reply.starts_with("-ERR Invalid command passed to redis.acl_check_cmd()"));
}

fn library(code: &str) -> Arc<Library> {
    Arc::new(Library::new(code.as_bytes(), 0))
}

fn call(library: &Arc<Library>, function: &str) -> String {
    let mut output = OutputBuffer::new();
    let (mut keys, mut argv) = (ArgsBuffer::default(), ArgsBuffer::default());
    keys.push(b"key1");
    argv.push(b"arg1");
    let mut reply = ReplyWriter::new(&mut output, Protocol::Resp2);
    let (mut host, limits) = (Mock::default(), Limits::default());
    let name = function.as_bytes();
    let (keys, argv) = (keys.args(), argv.args());
    match run_function(library, name, keys, argv, &mut host, &limits, &mut reply) {
        Ok(()) => String::from_utf8_lossy(output.in_one_piece()).into_owned(),
        Err(error) => format!("-{error}"),
    }
}

fn load(code: &str) -> Result<Vec<LibraryFunction>, ScriptError> {
    load_library(&library(code), &mut Mock::default(), &Limits::default())
}

#[test]
fn a_library_registers_functions() {
    let code = "local function f(keys, args) return {keys[1], args[1]} end \
                redis.register_function('first', f) \
                redis.register_function{function_name = 'second', callback = f, \
                description = 'text', flags = {'no-writes', 'allow-oom'}}";
    let library = library(code);
    let functions = load_library(&library, &mut Mock::default(), &Limits::default()).unwrap();
    assert_eq!(functions[0].name, b"first");
    assert_eq!(functions[1].description.as_deref(), Some(&b"text"[..]));
    assert_eq!(functions[1].flags, ScriptFlags::NO_WRITES | ScriptFlags::ALLOW_OOM);
    assert_eq!(call(&library, "first"), "*2\r\n$4\r\nkey1\r\n$4\r\narg1\r\n");
    let elsewhere = Arc::clone(&library);
    let other = std::thread::spawn(move || call(&elsewhere, "second")).join().unwrap();
    assert_eq!(other, "*2\r\n$4\r\nkey1\r\n$4\r\narg1\r\n");
    assert_eq!(call(&library, "third"), "-ERR Function not found");
}

#[test]
fn a_library_that_is_wrong_is_refused() {
    let start = "ERR Error registering functions: ";
    let cases = [
        ("x = 1", "ERR user_function:1: Attempt to modify a readonly table"),
        (
            "return math",
            "ERR user_function:1: Script attempted to access nonexistent global variable 'math'",
        ),
        (
            "redis.call('x')",
            "ERR user_function:1: Script attempted to access nonexistent global variable 'call'",
        ),
        (
            "redis.register_function('a')",
            "ERR calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ),
        ("redis.register_function()", "ERR wrong number of arguments to redis.register_function"),
        (
            "redis.register_function('a', 1)",
            "ERR second argument to redis.register_function must be a function",
        ),
        (
            "redis.register_function('a b', function() end)",
            "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ),
        (
            "local f = function() end redis.register_function('a', f) redis.register_function('a', f)",
            "ERR Function already exists in the library",
        ),
        (
            "redis.register_function{function_name = 'a', callback = function() end, flags = {'no'}}",
            "ERR unknown flag given",
        ),
    ];
    for (code, error) in cases {
        assert_eq!(load(code).unwrap_err().to_string(), format!("{start}{error}"), "{code}");
    }
    let error = load("return return").unwrap_err().to_string();
    assert!(error.starts_with("ERR Error compiling function: user_function:1: "), "{error}");
    let mut host = Mock { polls_max: Some(1), ..Mock::default() };
    let endless = library("local function f() end while true do f() end");
    let error = load_library(&endless, &mut host, &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("{start}ERR Script killed by user"));
}

#[test]
fn functions_see_no_globals_of_scripts() {
    let library = library(
        "redis.register_function('f', function() return redis.call('echo', 'x') end) \
         redis.register_function('keys', function() return KEYS end) \
         redis.register_function('set', function() x = 1 end) \
         redis.register_function('register', function() redis.register_function('z', 1) end)",
    );
    run("return KEYS");
    assert_eq!(call(&library, "f"), "$1\r\nx\r\n");
    let missing = "-ERR user_function:1: Script attempted to access nonexistent global variable \
                   'KEYS' script: keys, on @user_function:1.";
    assert_eq!(call(&library, "keys"), missing);
    let readonly = "-ERR user_function:1: Attempt to modify a readonly table script: set, on @user_function:1.";
    assert_eq!(call(&library, "set"), readonly);
    assert!(call(&library, "register").contains("attempt to call field 'register_function'"));
}

#[test]
fn compiled_sources_are_forgotten_with_their_text() {
    let limits = Limits::default();
    for number in 0..2_000 {
        let script = Arc::new(Script::new(format!("return {number}").as_bytes(), 0));
        assert_eq!(check_script(&script), Ok(()));
    }
    let before = memory_bytes();
    let kept: Vec<_> = (0..9_000)
        .map(|number| Arc::new(Script::new(format!("return {number}").as_bytes(), 0)))
        .collect();
    for script in &kept {
        assert_eq!(check_script(script), Ok(()));
    }
    let none = ArgsBuffer::default();
    let mut output = OutputBuffer::new();
    let mut reply = ReplyWriter::new(&mut output, Protocol::Resp2);
    let (mut host, args) = (Mock::default(), none.args());
    run_script(&kept[8_999], args, args, &mut host, &limits, &mut reply).unwrap();
    assert_eq!(output.in_one_piece(), b":8999\r\n");
    assert!(before > 0);
}
