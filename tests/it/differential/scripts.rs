//! The templates of scripts: what programs send, and any other command out of a script.

use super::generate::Generator;

/// How often a form is taken, and its template.
#[rustfmt::skip]
pub const FORMS: &[(usize, &str)] = &[
    (150, "EVAL {script}"),
    (25, "EVAL_RO {script}"),
    (80, "EVAL {wrapped}"),
    (5, "EVAL {word:return|1|x|local} {word:0|1|x|-1} {keys}"),
    (3, "EVAL {word:return} {int}"),
    (5, "EVALSHA {garbage} {word:0|1|x} {keys}"),
    (5, "SCRIPT EXISTS {word:e0e1f9fabfc9d4800c877a703b823ac0578ff8db|x|} {garbage}"),
    (3, "SCRIPT {word:FLUSH|FLUSH SYNC|FLUSH x|KILL|nonsense|LOAD|EXISTS}"),
    (5, "FCALL {word:nosuch|x} {word:0|1|x|-1} {keys}"),
];

/// Scripts with the number of their keys and of their arguments, which are values.
const SCRIPTS: &[(&str, usize, usize)] = &[
    // a lock
    (
        "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 \
      end",
        1,
        1,
    ),
    (
        "if redis.call('exists',KEYS[1]) == 0 then return redis.call('set',KEYS[1],ARGV[1]) end \
      return {redis.call('type',KEYS[1]).ok, KEYS[1]}",
        1,
        1,
    ),
    // a rate limiter
    (
        "local n = redis.call('incrby',KEYS[1],1) if n > 3 then redis.call('del',KEYS[1]) return -n \
      end return n",
        1,
        0,
    ),
    (
        "redis.call('lpush',KEYS[1],ARGV[1]) redis.call('ltrim',KEYS[1],0,3) return \
      redis.call('lrange',KEYS[1],0,-1)",
        1,
        1,
    ),
    // queues
    (
        "local job = redis.call('rpoplpush',KEYS[1],KEYS[2]) if job then \
      redis.call('hset',KEYS[3],job,'taken') end return job",
        3,
        0,
    ),
    (
        "local jobs = redis.call('zrange',KEYS[1],0,1,'withscores') for i = 1, #jobs, 2 do \
      redis.call('zrem',KEYS[1],jobs[i]) redis.call('rpush',KEYS[2],jobs[i]) end return jobs",
        2,
        0,
    ),
    (
        "for _, key in ipairs(KEYS) do if redis.call('type',key).ok == 'list' then \
      return {key, redis.call('lpop',key)} end end return false",
        3,
        0,
    ),
    // compare and set, with keys that are made up
    (
        "local key = ARGV[1] local old = redis.call('getset',key,ARGV[2]) \
      redis.call('append',key,old or '') return redis.call('strlen',key)",
        0,
        2,
    ),
    (
        "local moved = redis.pcall('rename',KEYS[1],KEYS[2]) if moved.err then return \
      redis.error_reply(moved.err) end return redis.call('type',KEYS[2])",
        2,
        0,
    ),
    ("return {redis.call('dbsize') >= 0, redis.call('exists',unpack(KEYS))}", 3, 0),
    // what libraries make of values
    ("return cjson.encode({ARGV[1], tonumber(ARGV[2]) or 'none', true, {1.5, 2}})", 0, 2),
    (
        "local ok, value = pcall(cjson.decode, ARGV[1]) return {tostring(ok), cjson.encode(value)}",
        0,
        1,
    ),
    ("return {cmsgpack.unpack(cmsgpack.pack(ARGV[1], tonumber(ARGV[2]), {1, {2}}))}", 0, 2),
    ("return cmsgpack.pack(ARGV[1], tonumber(ARGV[2]))", 0, 2),
    ("return struct.pack('>I4s', #ARGV[1], ARGV[1])", 0, 1),
    ("return bit.tohex(bit.bxor(tonumber(ARGV[1]) or 1, tonumber(ARGV[2]) or 2))", 0, 2),
    ("return {tonumber(ARGV[1]), tostring(tonumber(ARGV[1])), redis.sha1hex(ARGV[1])}", 0, 1),
    // errors and conversions
    ("return redis.call('incr',KEYS[1])", 1, 0),
    ("local r = redis.pcall('incrby',KEYS[1],ARGV[1]) return r", 1, 1),
    ("error(ARGV[1])", 0, 1),
    ("return redis.error_reply(ARGV[1])", 0, 1),
    ("return redis.status_reply(ARGV[1])", 0, 1),
    ("return redis.call(ARGV[1],KEYS[1])", 1, 1),
    ("return {1, {2, {3, ARGV[1]}}, false, 'x', nil, 4}", 0, 1),
    ("redis.setresp(3) return redis.call('hmget',KEYS[1],'f1','f2')", 1, 0),
    ("redis.setresp(3) return redis.pcall('zscore',KEYS[1],ARGV[1])", 1, 1),
    ("#!lua flags=no-writes\nreturn redis.call('get',KEYS[1])", 1, 0),
    ("#!lua flags=no-writes\nreturn redis.pcall('set',KEYS[1],ARGV[1])", 1, 1),
    ("return 1", 0, 0),
];

/// What is called out of a script with whatever arguments.
#[rustfmt::skip]
const WRAPPED: &[&str] = &[
    "GET {key}", "SET {key} {value}", "SET {key} {value} {word:XX|NX|GET|KEEPTTL|x}",
    "APPEND {key} {value}", "STRLEN {key}", "INCRBY {key} {value}", "INCRBYFLOAT {key} {value}",
    "GETRANGE {key} {int} {int}", "MGET {keys}", "MSET {key_values}", "DEL {keys}",
    "EXISTS {keys}", "TYPE {key}", "RENAME {key} {key}", "COPY {key} {key}",
    "PERSIST {key}", "RPUSH {key} {values}", "LPUSH {key} {values}", "LPOP {key}",
    "LRANGE {key} {int} {int}", "LINDEX {key} {int}", "LREM {key} {int} {value}",
    "HSET {key} {field_values}", "HGET {key} {field}", "HMGET {key} {fields}", "HLEN {key}",
    "HDEL {key} {fields}", "HINCRBY {key} {field} {value}", "ZADD {key} {score_members}",
    "ZSCORE {key} {member}", "ZRANK {key} {member}", "ZCARD {key}", "ZINCRBY {key} {score} {member}",
    "LMOVE {key} {key} LEFT RIGHT", "SMISMEMBER {key} {members}", "BITCOUNT {key}",
    "SETBIT {key} {word:0|7|100} {word:0|1|2}", "BLPOP {key} 0", "BZPOPMIN {key} 0", "PING",
    "ECHO {value}", "MULTI", "WATCH {key}", "SUBSCRIBE {name}",
    "SELECT {word:0|1|x}", "{unknown} {values}", "EVAL return 0", "PUBLISH {name} {value}",
];

/// Calls what its arguments say.
const WRAPPERS: &[&str] = &[
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "local got = redis.pcall(unpack(ARGV)) if type(got) == 'table' and got.err then return \
     {got.err} end return got",
];

impl Generator {
    pub(super) fn of_scripts(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        match name {
            "script" => {
                let (script, keys, values) = *self.random.pick(SCRIPTS);
                args.push(script.into());
                args.push(keys.to_string().into_bytes());
                (0..keys).for_each(|_| args.push(self.key()));
                (0..values).for_each(|_| args.push(self.value()));
            }
            "wrapped" => {
                args.push(self.random.pick(WRAPPERS).as_bytes().to_vec());
                args.push(b"0".to_vec());
                let form = *self.random.pick(WRAPPED);
                let inner = self.fill_one(form, None);
                args.extend(inner);
            }
            _ => panic!("no such placeholder: {name}"),
        }
    }
}
