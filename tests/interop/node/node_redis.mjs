// node-redis against a running server: node node_redis.mjs PORT
//
// The client speaks RESP3 by default and connects for ever if HELLO 3 is not answered as Redis
// answers it; RESP2 is asked for by an option.
import { createClient, RESP_TYPES } from "redis";
import { binary, equal, finish, refuses, test } from "./check.mjs";

const port = Number(process.argv[2]);

async function connected(options = {}) {
  const client = createClient({ socket: { host: "127.0.0.1", port, reconnectStrategy: false }, ...options });
  client.on("error", () => {});
  await client.connect();
  return client;
}

for (const RESP of [3, 2]) {
  const run = (name, body) =>
    test(`node-redis RESP${RESP} ${name}`, async () => {
      const client = await connected({ RESP });
      try {
        await client.flushAll();
        await body(client);
      } finally {
        client.destroy();
      }
    });

  await run("strings", async (c) => {
    equal(await c.ping(), "PONG");
    equal(await c.echo("hello"), "hello");
    equal(await c.set("k", "v"), "OK");
    equal(await c.get("k"), "v");
    equal(await c.get("missing"), null);
    equal(await c.set("k", "w", { condition: "NX" }), null);
    equal(await c.set("k", "w", { GET: true }), "v");
    equal(await c.append("k", "xyz"), 4);
    equal(await c.strLen("k"), 4);
    equal(await c.mSet({ a: "1", b: "2" }), "OK");
    equal(await c.mGet(["a", "missing", "b"]), ["1", null, "2"]);
    equal(await c.incr("a"), 2);
    equal(await c.incrBy("a", 40), 42);
    equal(await c.decr("a"), 41);
    equal(await c.decrBy("a", 50), -9);
  });

  await run("keys and deadlines", async (c) => {
    await c.mSet({ k1: "1", k2: "2" });
    equal((await c.keys("k*")).sort(), ["k1", "k2"]);
    equal(await c.exists(["k1", "k2", "missing"]), 2);
    equal(await c.type("k1"), "string");
    equal(await c.rename("k1", "k3"), "OK");
    equal(await c.expire("k3", 100), 1);
    equal((await c.ttl("k3")) > 97, true);
    equal((await c.pTTL("k3")) > 97_000, true);
    equal(await c.pExpireAt("k3", 4102444800499), 1);
    equal(await c.pExpireTime("k3"), 4102444800499);
    equal(await c.expireTime("k3"), 4102444800);
    equal(await c.persist("k3"), 1);
    equal(await c.ttl("k3"), -1);
    equal(await c.del(["k2", "k3", "missing"]), 2);
    equal(await c.unlink("missing"), 0);
    equal(await c.dbSize(), 0);
  });

  await run("lists", async (c) => {
    equal(await c.rPush("l", ["a", "b", "c"]), 3);
    equal(await c.lPush("l", "z"), 4);
    equal(await c.lRange("l", 0, -1), ["z", "a", "b", "c"]);
    equal(await c.lLen("l"), 4);
    equal(await c.lIndex("l", -1), "c");
    equal(await c.lSet("l", 0, "Z"), "OK");
    equal(await c.lRem("l", 0, "a"), 1);
    equal(await c.lPop("l"), "Z");
    equal(await c.rPopCount("l", 5), ["c", "b"]);
    equal(await c.lPop("l"), null);
  });

  await run("hashes", async (c) => {
    equal(await c.hSet("h", { f: "v", g: "1" }), 2);
    equal(await c.hGet("h", "f"), "v");
    equal({ ...(await c.hGetAll("h")) }, { f: "v", g: "1" });
    equal({ ...(await c.hGetAll("missing")) }, {});
    equal((await c.hKeys("h")).sort(), ["f", "g"]);
    equal((await c.hVals("h")).sort(), ["1", "v"]);
    equal(await c.hLen("h"), 2);
    equal(await c.hExists("h", "f"), 1);
    equal(await c.hmGet("h", ["f", "missing"]), ["v", null]);
    equal(await c.hIncrBy("h", "g", 41), 42);
    equal(await c.hDel("h", ["f", "g"]), 2);
  });

  await run("binary values", async (c) => {
    const raw = c.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    equal(await c.set("bin", binary), "OK");
    equal(await raw.get("bin"), binary);
    const large = Buffer.alloc(8 << 20, "0123456789");
    await c.set("large", large);
    equal((await raw.get("large")).equals(large), true);
  });

  await run("scans", async (c) => {
    const names = [...Array(1200).keys()].map((n) => `key:${n}`);
    await Promise.all(names.map((name) => c.set(name, "1")));
    const found = [];
    for await (const part of c.scanIterator({ COUNT: 100 })) found.push(...part);
    equal(found.sort(), names.sort());
    await c.hSet("h", Object.fromEntries(names.map((name) => [name, "x".repeat(70)])));
    const fields = [];
    for await (const part of c.hScanIterator("h", { COUNT: 100 })) fields.push(...part.map((e) => e.field));
    equal(fields.sort(), names);
  });

  await run("pipelined requests", async (c) => {
    const replies = await Promise.all([...Array(10_000).keys()].map(() => c.incr("n")));
    equal(replies, [...Array(10_000).keys()].map((n) => n + 1));
  });

  await run("errors", async (c) => {
    await c.set("s", "text");
    await refuses(c.lPush("s", "x"), "WRONGTYPE Operation against a key holding the wrong kind");
    await refuses(c.incr("s"), "ERR value is not an integer or out of range");
    await refuses(c.sendCommand(["NOSUCH", "a"]), "ERR unknown command 'NOSUCH', with args beginning with: 'a'");
    await refuses(c.sendCommand(["GET"]), "ERR wrong number of arguments for 'get' command");
    equal(await c.ping(), "PONG");
  });

  await run("connection and server", async (c) => {
    const named = await connected({ RESP, name: "worker" });
    equal(await named.clientGetName(), "worker");
    const info = await named.clientInfo();
    equal([info.id, info.name, info.resp], [await named.clientId(), "worker", RESP]);
    equal((await c.clientList()).some((row) => row.name === "worker"), true);
    named.destroy();
    equal({ ...(await c.configGet("maxmemory")) }, { maxmemory: "0" });
    equal((await c.info("server")).includes("redis_version:7.0.15\r\n"), true);
    equal((await c.commandCount()) > 60, true);
    equal((await c.time()) instanceof Object, true);
    equal(typeof (await c.lastSave()), "number");
    equal(await c.sendCommand(["SAVE"]), "OK");
  });

  await run("a close after the last reply", async (c) => {
    const own = await connected({ RESP });
    const last = own.set("closing", "1");
    await own.close();
    equal(await last, "OK");
    equal(await c.get("closing"), "1");
  });
}
finish();
