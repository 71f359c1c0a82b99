// ioredis: scripts as commands, functions, pipelines, transactions, and streams with consumer groups.
//
// needs-npm: --before=2026-11-20 ioredis@6.0.0
// keeps: yes
// restarts: kill
import Redis from "ioredis";
import { equal, finish, refuses, test } from "./check.mjs";
import { restart, until } from "./restart.mjs";

const [, , port, part] = process.argv;
const LIBRARY = `#!lua name=words
redis.register_function('append', function(keys, args)
  redis.call('APPEND', keys[1], args[1])
  return redis.call('STRLEN', keys[1])
end)
redis.register_function{
  function_name = 'length',
  callback = function(keys) return redis.call('STRLEN', keys[1]) end,
  flags = {'no-writes'},
}`;
const redis = new Redis({
  port: Number(port),
  maxRetriesPerRequest: null,
  retryStrategy: () => 50,
  scripts: {
    take: {
      numberOfKeys: 1,
      lua: `local v = redis.call('LPOP', KEYS[1])
            if v then redis.call('HINCRBY', ARGV[1], v, 1) end
            return v`,
    },
    look: { numberOfKeys: 1, readOnly: true, lua: "return redis.call('LLEN', KEYS[1])" },
    echoes: { lua: "return {#KEYS, #ARGV, KEYS[1], ARGV[1]}" },
  },
});
redis.on("error", () => {});
const another = () => redis.duplicate().on("error", () => {});
const name = (text) => `ioredis ${part}: ${text}`;

if (part === "work") {
  await test(name("commands that are scripts"), async () => {
    await redis.script("FLUSH");
    await redis.rpush("list", "a", "b", "a");
    equal([await redis.take("list", "seen"), await redis.look("list")], ["a", 2]);
    // Forgotten between two calls; the client sends the text again.
    await redis.script("FLUSH");
    const take = () => redis.take("list", "seen");
    equal([await take(), await take(), await take()], ["b", "a", null]);
    equal(await redis.hgetall("seen"), { a: "2", b: "1" });
    equal(await redis.echoes(1, "key", "argument"), [1, 1, "key", "argument"]);
    equal(await redis.takeBuffer("list", "seen"), null);
    await redis.rpush("list", Buffer.from([255, 0]));
    equal(await redis.takeBuffer("list", "seen"), Buffer.from([255, 0]));
  });
  await test(name("scripts in pipelines and transactions"), async () => {
    await redis.rpush("list", 1, 2, 3, 4);
    const piped = await redis.pipeline().take("list", "seen").look("list").llen("list").exec();
    equal(piped, [[null, "1"], [null, 3], [null, 3]]);
    const multi = await redis.multi().take("list", "seen").incr("list").look("list").exec();
    equal([multi[0], multi[1][0].message.startsWith("WRONGTYPE"), multi[2]], [[null, "2"], true, [null, 2]]);
    await redis.watch("list");
    await another().rpush("list", "other");
    equal(await redis.multi().take("list", "seen").exec(), null);
  });
  await test(name("EVALSHA, errors, functions"), async () => {
    const sha = await redis.script("LOAD", "return ARGV[1]");
    equal(await redis.script("EXISTS", sha, "f".repeat(40)), [1, 0]);
    equal(await redis.evalsha(sha, 0, "x"), "x");
    await refuses(redis.evalsha("f".repeat(40), 0), "NOSCRIPT No matching script");
    await refuses(redis.eval("return redis.call('NOTHING')", 0), "Unknown Redis command called from script");
    await refuses(redis.eval("error('stop')", 0), "stop");
    equal(await redis.function("LOAD", LIBRARY), "words");
    equal([await redis.fcall("append", 1, "w", "abc"), await redis.fcall_ro("length", 1, "w")], [3, 3]);
    const refused = redis.fcall_ro("append", 1, "w", "abc");
    await refuses(refused, "Can not execute a script with write flag using *_ro command");
  });
  await test(name("streams"), async () => {
    for (let n = 1; n <= 10; n += 1) await redis.xadd("s", `${n}-0`, "n", n, "text", "grüße");
    const entry = (n) => [`${n}-0`, ["n", `${n}`, "text", "grüße"]];
    equal(await redis.xrange("s", "2-0", "3-0"), [entry(2), entry(3)]);
    equal((await redis.xrevrange("s", "+", "(9-0")).map(([id]) => id), ["10-0"]);
    equal(await redis.xadd("s", "MAXLEN", "5", "11-0", "n", 11), "11-0");
    equal(await redis.xlen("s"), 5);
    const waits = another();
    const read = waits.xread("BLOCK", 5000, "STREAMS", "s", "$");
    await until(async () => (await redis.client("LIST")).includes("cmd=xread"));
    await redis.xadd("s", "12-0", "n", 12);
    equal(streams(await read), [["s", [["12-0", ["n", "12"]]]]]);
    waits.disconnect();
  });
  await test(name("consumer groups"), async () => {
    await redis.xgroup("CREATE", "jobs", "group", "$", "MKSTREAM");
    await refuses(redis.xgroup("CREATE", "jobs", "group", "$"), "BUSYGROUP");
    const consumers = ["one", "two", "three"].map((id) => ({ id, client: another() }));
    const done = [];
    const work = Promise.all(
      consumers.map(async ({ id, client }) => {
        while (done.length < 300) {
          const options = ["COUNT", 10, "BLOCK", 100, "STREAMS", "jobs", ">"];
          const reply = await client.xreadgroup("GROUP", "group", id, ...options);
          if (!reply) continue;
          const ids = streams(reply)[0][1].map(([id]) => id);
          equal(await client.xack("jobs", "group", ...ids), ids.length);
          done.push(...ids);
        }
      }),
    );
    const ids = await Promise.all([...Array(300).keys()].map((n) => redis.xadd("jobs", "*", "n", n)));
    await work;
    equal(done.sort(), ids.sort());
    equal((await redis.xpending("jobs", "group"))[0], 0);
    for (const { client } of consumers) client.disconnect();
    await redis.xadd("jobs", "99999999999999-0", "n", 1);
    await redis.xreadgroup("GROUP", "group", "one", "STREAMS", "jobs", ">");
    const [next, taken] = await redis.xautoclaim("jobs", "group", "two", 0, "0");
    equal([next, taken], ["0-0", [["99999999999999-0", ["n", "1"]]]]);
  });
  await test(name("the server is killed"), async () => {
    const waits = another();
    // It is sent again once the client is back.
    const read = waits.xreadgroup("GROUP", "group", "one", "BLOCK", 20_000, "STREAMS", "jobs", ">");
    await until(async () => (await redis.client("LIST")).includes("cmd=xreadgroup"));
    await restart();
    equal(await redis.xadd("jobs", "99999999999999-1", "n", 2), "99999999999999-1");
    equal(streams(await read), [["jobs", [["99999999999999-1", ["n", "2"]]]]]);
    waits.disconnect();
    equal([await redis.take("list", "seen"), await redis.fcall_ro("length", 1, "w")], ["3", 3]);
  });
} else {
  await test(name("streams, groups and functions are kept"), async () => {
    equal([await redis.xlen("jobs"), await redis.fcall("append", 1, "w", "d")], [302, 4]);
    const pending = await redis.xpending("jobs", "group", "-", "+", 10);
    equal(pending.map(([id, consumer]) => [id, consumer]), [["99999999999999-0", "two"], ["99999999999999-1", "one"]]);
    const again = await redis.xreadgroup("GROUP", "group", "two", "STREAMS", "jobs", "0");
    equal(streams(again), [["jobs", [["99999999999999-0", ["n", "1"]]]]]);
    equal(await redis.take("list", "seen"), "4");
  });
}

/** Pairs of names and entries, which RESP3 sends as a map. */
function streams(reply) {
  return Array.isArray(reply) ? reply : Object.entries(reply);
}
finish();
