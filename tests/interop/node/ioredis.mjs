// ioredis against a running server: node ioredis.mjs PORT
//
// The client reads INFO before it calls itself ready, and closes the connection if that has no
// `loading:` line; it opens with HELLO 3 and would fall back to RESP2.
import Redis from "ioredis";
import { binary, equal, finish, refuses, test } from "./check.mjs";

const port = Number(process.argv[2]);

async function connected(options = {}) {
  const client = new Redis({ host: "127.0.0.1", port, retryStrategy: null, lazyConnect: true, ...options });
  client.on("error", () => {});
  await client.connect();
  equal(client.status, "ready");
  return client;
}

const modes = [
  ["plain", {}],
  ["auto pipelining", { enableAutoPipelining: true }],
  ["RESP2", { protocol: 2 }],
];
for (const [mode, options] of modes) {
  const run = (name, body) =>
    test(`ioredis ${mode} ${name}`, async () => {
      const client = await connected(options);
      try {
        await client.flushall();
        await body(client);
      } finally {
        client.disconnect();
      }
    });

  await run("ready check and name", async (c) => {
    const named = await connected({ ...options, connectionName: "worker" });
    equal(await named.client("GETNAME"), "worker");
    const row = await named.client("INFO");
    equal(row.includes(mode === "RESP2" ? "resp=2" : "resp=3"), true, row);
    named.disconnect();
    equal((await c.info()).includes("loading:0"), true);
  });

  await run("strings", async (c) => {
    equal(await c.set("k", "v"), "OK");
    equal(await c.get("k"), "v");
    equal(await c.get("missing"), null);
    equal(await c.set("k", "w", "EX", 100, "NX"), null);
    equal(await c.set("k", "w", "PX", 100_000, "XX"), "OK");
    equal((await c.ttl("k")) > 97, true);
    equal(await c.mset("a", 1, "b", 2), "OK");
    equal(await c.mget("a", "missing", "b"), ["1", null, "2"]);
    equal(await c.incrby("a", 41), 42);
    equal(await c.decr("a"), 41);
    equal(await c.append("k", "x"), 2);
    equal(await c.strlen("k"), 2);
    equal(await c.set("bin", binary), "OK");
    equal(await c.getBuffer("bin"), binary);
  });

  await run("keys", async (c) => {
    await c.mset("k1", 1, "k2", 2);
    equal((await c.keys("k?")).sort(), ["k1", "k2"]);
    equal(await c.exists("k1", "k2", "k3"), 2);
    equal(await c.rename("k1", "k3"), "OK");
    equal(await c.type("k3"), "string");
    equal(await c.expire("k3", 0), 1);
    equal(await c.unlink("k2", "k3"), 1);
    equal(await c.dbsize(), 0);
  });

  await run("lists and hashes", async (c) => {
    equal(await c.rpush("l", "a", "b", "c"), 3);
    equal(await c.lrange("l", 0, -1), ["a", "b", "c"]);
    equal(await c.lpop("l", 2), ["a", "b"]);
    equal(await c.lpop("missing", 2), null);
    equal(await c.hset("h", { f: "v", g: 1 }), 2);
    equal({ ...(await c.hgetall("h")) }, { f: "v", g: "1" });
    equal(await c.hmget("h", "f", "x"), ["v", null]);
    equal(await c.hincrby("h", "g", 41), 42);
    equal((await c.hkeys("h")).sort(), ["f", "g"]);
    equal(await c.hdel("h", "f", "g"), 2);
  });

  await run("pipelines", async (c) => {
    const replies = await c.pipeline().set("a", 1).incr("a").lpush("a", 1).get("a").exec();
    equal(replies.map(([error, value]) => (error ? error.message.split(" ")[0] : value)), [
      "OK", 2, "WRONGTYPE", "2",
    ]);
    const many = await Promise.all([...Array(10_000).keys()].map(() => c.incr("n")));
    equal(many[9_999], 10_000);
  });

  await run("scans", async (c) => {
    const names = [...Array(1000).keys()].map((n) => `key:${n}`);
    await c.mset(names.flatMap((name) => [name, 1]));
    const found = [];
    for await (const part of c.scanStream({ count: 100, match: "key:*" })) found.push(...part);
    equal(found.sort(), names.sort());
  });

  await run("errors", async (c) => {
    await c.set("s", "text");
    await refuses(c.hget("s", "f"), "WRONGTYPE Operation against a key holding the wrong kind");
    await refuses(c.incr("s"), "ERR value is not an integer or out of range");
    await refuses(c.call("NOSUCH", "a"), "ERR unknown command 'NOSUCH', with args beginning with: 'a'");
    await refuses(c.call("GET"), "ERR wrong number of arguments for 'get' command");
    equal(await c.ping(), "PONG");
  });

  await run("quit", async () => {
    const own = await connected(options);
    equal(await own.quit(), "OK");
  });
}
finish();
