//! Scripts that programs really send, and scripts that want to look harmless.

use super::*;

/// Scripts of well-known programs that keep to their keys.
const PROVED: &[(&str, &str)] = &[
    (
        "redlock, release",
        r#"if redis.call("get",KEYS[1]) == ARGV[1] then
            return redis.call("del",KEYS[1]) else return 0 end"#,
    ),
    (
        "redlock, extend several",
        r#"
        -- Return 0 if an entry already exists.
        for i, key in ipairs(KEYS) do
          if redis.call("get", key) ~= ARGV[1] then return 0 end
        end
        -- Update the entry for each provided key.
        for i, key in ipairs(KEYS) do redis.call("set", key, ARGV[1], "PX", ARGV[2]) end
        return #KEYS"#,
    ),
    (
        "redis-py, lock reacquire and extend",
        r#"
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then return 0 end
        local expiration = redis.call('pttl', KEYS[1])
        if not expiration then expiration = 0 end
        if expiration < 0 then return 0 end
        local newttl = ARGV[2]
        if ARGV[3] == "0" then newttl = ARGV[2] + expiration end
        redis.call('pexpire', KEYS[1], newttl)
        return 1"#,
    ),
    (
        "sidekiq, due jobs",
        r#"
        local key, now = KEYS[1], ARGV[1]
        local jobs = redis.call("zrange", key, "-inf", now, "byscore", "limit", 0, 1)
        if jobs[1] then redis.call("zrem", key, jobs[1]) return jobs[1] end"#,
    ),
    (
        "huey, due tasks",
        r#"
        local key = KEYS[1]
        local unix_ts = ARGV[1]
        local res = redis.call('zrangebyscore', key, '-inf', unix_ts)
        if #res and redis.call('zremrangebyscore', key, '-inf', unix_ts) == #res then
            return res
        end"#,
    ),
    (
        "limits, moving window",
        r#"
        local limit = tonumber(ARGV[2])
        local timestamp = tonumber(ARGV[1])
        local entry = redis.call('lindex', KEYS[1], limit - 1)
        if entry and tonumber(entry) >= timestamp - ARGV[3] then return false end
        redis.call('lpush', KEYS[1], timestamp)
        redis.call('ltrim', KEYS[1], 0, limit - 1)
        redis.call('expire', KEYS[1], ARGV[3])
        return true"#,
    ),
    (
        "limits, increment and expire",
        r#"
        local current
        local amount = tonumber(ARGV[2])
        current = redis.call("incrby", KEYS[1], amount)
        if tonumber(current) == amount then redis.call("expire", KEYS[1], ARGV[1]) end
        return current"#,
    ),
    (
        "rate-limit-redis",
        r#"
        local windowMs = tonumber(ARGV[2])
        local resetOnChange = ARGV[1] == "1"
        local timeToExpire = redis.call("PTTL", KEYS[1])
        if timeToExpire <= 0 then
          redis.call("SET", KEYS[1], 1, "PX", windowMs)
          return { 1, windowMs }
        end
        local totalHits = redis.call("INCR", KEYS[1])
        if resetOnChange then redis.call("PEXPIRE", KEYS[1], windowMs) end
        return { totalHits, timeToExpire }"#,
    ),
    (
        "rate-limiter-flexible",
        r"redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')
        local consumed = redis.call('incrby', KEYS[1], ARGV[1])
        local ttl = redis.call('pttl', KEYS[1])
        if ttl == -1 then
          redis.call('expire', KEYS[1], ARGV[2])
          ttl = 1000 * ARGV[2]
        end
        return {consumed, ttl}",
    ),
    (
        "token bucket with a wrapper name",
        r#"
        local call = redis.call
        local tokens_key, stamp_key = KEYS[1], KEYS[2]
        local rate, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
        local now = call("TIME")
        local last = tonumber(call("get", tokens_key))
        if last == nil then last = capacity end
        call("setex", tokens_key, 10, last - 1)
        call("setex", stamp_key, 10, now[1])
        return last"#,
    ),
    (
        "a cache with compare and delete, with both answers",
        r"local keys = KEYS
        local old = redis.pcall('HGET', keys[1], 'version')
        if type(old) == 'table' and old.err then return redis.error_reply(old.err) end
        if old ~= ARGV[1] then return redis.status_reply('STALE') end
        return redis.call('UNLINK', unpack(keys))",
    ),
    (
        "a queue move of BullMQ's kind",
        r"local rcall = redis.call
        local jobId = rcall('RPOPLPUSH', KEYS[1], KEYS[2])
        if jobId then
          rcall('ZADD', KEYS[3], tonumber(ARGV[1]), jobId)
          rcall('HSET', KEYS[4], 'processedOn', ARGV[1], unpack(ARGV, 2))
          rcall('PUBLISH', 'events', cjson.encode({job = jobId, state = [==[active]==]}))
        end
        return {jobId, cmsgpack.pack({1, 2})}",
    ),
    (
        "as many keys as there are",
        r"redis.call('zunionstore', KEYS[1], 2, KEYS[2], KEYS[3])
        redis.call('sinterstore', KEYS[1], unpack(KEYS, 2))
        redis.call('zinterstore', KEYS[1], '1', KEYS[#KEYS], 'weights', 2)
        redis.call('zunion', #KEYS, unpack(KEYS))
        redis.call('mset', KEYS[1], ARGV[1], KEYS[2], 'x')
        for i = 1, #KEYS do redis.call('incr', KEYS[i]) end
        return redis.call('object', 'encoding', KEYS[1])",
    ),
    ("no commands at all", "while true do end"),
];

/// Scripts that reach for other keys, or might.
const NOT_PROVED: &[(&str, &str)] = &[
    ("a key that is made up", "return redis.call('get', KEYS[1] .. ':x')"),
    ("a key among the arguments", "return redis.call('get', ARGV[1])"),
    ("a literal key", "return redis.call('get', 'x')"),
    ("a command that is made up", "return redis.call(ARGV[1], KEYS[1])"),
    ("an unknown command", "return redis.call('nosuch', KEYS[1])"),
    ("the whole keyspace", "return redis.call('keys', '*')"),
    ("the whole keyspace", "return redis.call('scan', 0)"),
    ("keys found on the way", "return redis.call('sort', KEYS[1], 'by', 'w_*')"),
    ("a second key", "return redis.call('rename', KEYS[1], ARGV[1])"),
    ("a list of arguments", "return redis.call('del', unpack(ARGV))"),
    ("a list behind a key", "return redis.call('del', KEYS[1], unpack(ARGV))"),
    ("pairs of arguments", "return redis.call('mset', unpack(ARGV))"),
    ("pairs behind a pair", "return redis.call('mset', KEYS[1], 'x', unpack(ARGV))"),
    ("a count that is made up", "return redis.call('zunion', ARGV[1], KEYS[1], KEYS[2])"),
    ("a count that is too large", "return redis.call('zunion', 2, KEYS[1], ARGV[1])"),
    ("a count that is too large", "return redis.call('zunion', 2, KEYS[1], unpack(ARGV))"),
    ("keys that were changed", "KEYS[1] = 'x' return redis.call('get', KEYS[1])"),
    ("keys that were changed", "local a a, KEYS[1] = 1, 'x' return redis.call('get', KEYS[1])"),
    ("keys that were changed", "table.insert(KEYS, 'x') return redis.call('get', KEYS[2])"),
    ("other keys", "KEYS = {'x'} return redis.call('get', KEYS[1])"),
    ("other keys", "local KEYS = {'x'} return redis.call('get', KEYS[1])"),
    ("other keys", "for _, KEYS in ipairs({{'x'}}) do redis.call('get', KEYS[1]) end"),
    ("other keys", "local function f(KEYS) redis.call('get', KEYS[1]) end f({'x'})"),
    ("other keys", "local k = KEYS k = {'x'} return redis.call('get', k[1])"),
    ("keys that were handed on", "local k = KEYS k[1] = 'x' return redis.call('get', KEYS[1])"),
    ("keys that were handed on", "local t = {KEYS} t[1][1] = 'x' redis.call('get', KEYS[1])"),
    (
        "keys that were handed on",
        "local f = function(t) t[1] = 'x' end f(KEYS) redis.call('get', KEYS[1])",
    ),
    ("a name with two meanings", "local k = KEYS[1] k = ARGV[1] return redis.call('get', k)"),
    ("a name with two meanings", "local k = KEYS[1] local a a, k = 1, 'x' redis.call('get', k)"),
    ("a name with two meanings", "local k = KEYS[1] local a k, a = 'x', 1 redis.call('get', k)"),
    ("a name with two meanings", "local k = KEYS[1] do local k = 'x' redis.call('get', k) end"),
    (
        "a name with two meanings",
        "local k = KEYS[1] for k in pairs({x=1}) do redis.call('get', k) end",
    ),
    (
        "a name with two meanings",
        "local k = KEYS[1] for _, k in ipairs(ARGV) do redis.call('del', k) end",
    ),
    (
        "a name with two meanings",
        "local k = KEYS[1] local f = function(k) redis.call('get', k) end f('x')",
    ),
    ("a name that is bound to more", "local k = KEYS[1] .. 'x' return redis.call('get', k)"),
    ("a name that is bound to more", "local k = KEYS[1] or 'x' return redis.call('get', k)"),
    ("names in another order", "local a, k = f(), KEYS[1] return redis.call('get', k)"),
    (
        "another call",
        "local call = function(...) return redis.call('get', 'x') end call('get', KEYS[1])",
    ),
    ("another call", "local c = redis.call c('get', 'x')"),
    ("another call", "local c = redis.call local t = {c} t[1]('get', 'x')"),
    ("a call that was handed on", "return pcall(redis.call, 'get', 'x')"),
    ("a call that was handed on", "local r = redis return r.call('get', 'x')"),
    ("a call that was handed on", "return redis['call']('get', 'x')"),
    ("a call without brackets", "return redis.call{'get', 'x'}"),
    ("another redis", "local redis = {call = redis.call} redis.call('get', KEYS[1])"),
    ("the environment", "local e = getfenv() e.redis.call('get', 'x')"),
    ("the environment", "setfenv(1, {KEYS = {'x'}, redis = redis}) redis.call('get', KEYS[1])"),
    ("the environment", "_G.redis.call('get', 'x')"),
    ("code that is made up", "loadstring('return 1')() return redis.call('get', KEYS[1])"),
    ("another unpack", "local unpack = function() return 'x' end redis.call('del', unpack(KEYS))"),
    ("a function among the arguments", "redis.call('set', KEYS[1], function() return 1, 2 end)"),
    ("what is no Lua", "return redis.call('get', KEYS[1]) $"),
    ("what is no Lua", "return 'a"),
];

#[test]
fn scripts_of_real_programs_are_proved() {
    for (name, source) in PROVED {
        assert!(keeps_to_its_keys(source.as_bytes(), Kind::Script), "{name}: {source}");
    }
}

#[test]
fn scripts_that_may_reach_for_other_keys_are_not_proved() {
    for (name, source) in NOT_PROVED {
        assert!(!keeps_to_its_keys(source.as_bytes(), Kind::Script), "{name}: {source}");
    }
}

#[test]
fn libraries_are_proved_by_the_first_parameter_of_what_they_register() {
    let proved = [
        "redis.register_function('f', function(keys, args) return redis.call('get', keys[1]) end)",
        "local function f(keys, args) return redis.call('del', unpack(keys)) end
         local g = function(keys) for _, key in ipairs(keys) do redis.call('get', key) end end
         redis.register_function('f', f)
         redis.register_function{function_name='g', callback=g, flags={'no-writes'}}",
        "redis.register_function({function_name='g', callback=function(keys)
            return redis.call('get', keys[1]) end})",
    ];
    let not_proved = [
        "redis.register_function('f', function(keys, args) return redis.call('get', args[1]) end)",
        "redis.register_function('f', function(keys, args) return redis.call('get', KEYS[1]) end)",
        "local function f(keys) return redis.call('get', keys[1]) end
         redis.register_function('g', function(keys, args) return f(args) end)",
        "local function f(keys) return redis.call('get', keys[1]) end
         redis.register_function('f', f)
         redis.register_function('g', function(keys, args) return f(args) end)",
        "local t = {register_function = function(n, f) f({'x'}) end}
         t.register_function('f', function(keys) redis.call('get', keys[1]) end)",
        "local t = {callback = function(keys) redis.call('get', keys[1]) end}
         redis.register_function('g', function() t.callback({'x'}) end)",
        "redis.register_function('f', function(keys) keys[1] = 'x' redis.call('get', keys[1]) end)",
    ];
    for source in proved {
        assert!(keeps_to_its_keys(source.as_bytes(), Kind::Library), "{source}");
    }
    for source in not_proved {
        assert!(!keeps_to_its_keys(source.as_bytes(), Kind::Library), "{source}");
    }
}

#[test]
fn a_script_that_is_too_long_to_look_through_is_not_proved() {
    let call = "redis.call('get',KEYS[1]) ";
    assert!(keeps_to_its_keys(call.repeat(300).as_bytes(), Kind::Script));
    assert!(!keeps_to_its_keys(call.repeat(1_000).as_bytes(), Kind::Script));
    let bombs = ["redis.call(", "a,", "f(", "[", "function f(keys) ", "local function f(k) end f("];
    for bomb in bombs {
        let text = bomb.repeat(1 << 20);
        assert!(!keeps_to_its_keys(text.as_bytes(), Kind::Library), "{bomb}");
    }
}
