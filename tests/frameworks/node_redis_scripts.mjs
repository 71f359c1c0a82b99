// node-redis: scripts and functions as methods, transactions, pools, and streams with consumer groups.
//
// needs-npm: --before=2026-11-20 redis@6.3.1
// keeps: yes
// restarts: kill
import { createClient, createClientPool, defineScript } from "redis";
import { equal, finish, refuses, test } from "./check.mjs";
import { restart, until } from "./restart.mjs";

const [, , port, part] = process.argv;
const LIBRARY = `#!lua name=stock
redis.register_function('reserve', function(keys, args)
  local left = redis.call('HINCRBY', keys[1], args[1], -args[2])
  if left < 0 then
    redis.call('HINCRBY', keys[1], args[1], args[2])
    return redis.error_reply('EMPTY ' .. args[1])
  end
  return left
end)
redis.register_function{
  function_name = 'left',
  callback = function(keys, args) return tonumber(redis.call('HGET', keys[1], args[1])) end,
  flags = {'no-writes'},
}`;
const call = (keys) => ({
  NUMBER_OF_KEYS: keys,
  parseCommand(parser, ...values) {
    values.forEach((value, at) => (at < keys ? parser.pushKey(value) : parser.push(String(value))));
  },
  transformReply: undefined,
});
const scripts = {
  bounded: defineScript({
    SCRIPT: `local n = redis.call('INCR', KEYS[1])
             if n > tonumber(ARGV[1]) then
               redis.call('DECR', KEYS[1])
               return redis.error_reply('FULL')
             end
             return n`,
    ...call(1),
  }),
  total: defineScript({
    SCRIPT: `local sum = 0
             for _, key in ipairs(KEYS) do sum = sum + (redis.call('GET', key) or 0) end
             return tostring(sum / 2)`,
    ...call(2),
  }),
};
const functions = { stock: { reserve: call(1), left: { ...call(1), IS_READ_ONLY: true } } };

const entries = (messages) => messages.map(({ id, message }) => [id, { ...message }]);
const pairs = (reply) => reply.map(({ name, messages }) => [name, entries(messages)]);

for (const RESP of [3, 2]) {
  const url = `redis://127.0.0.1:${port}/${RESP}`;
  const options = { url, RESP, scripts, functions, socket: { reconnectStrategy: 50 } };
  const client = createClient(options);
  client.on("error", () => {});
  await client.connect();
  const name = (text) => `node-redis ${part} in RESP${RESP}: ${text}`;

  if (part === "kept") {
    await test(name("streams, groups and functions are kept"), async () => {
      equal([await client.stock.left("shop", "pen"), await client.bounded("n", 100)], [3, 5]);
      equal(await client.xLen("jobs"), 102);
      const [group] = await client.xInfoGroups("jobs");
      equal([group.name, group.consumers, group.pending], ["group", 4, 2]);
      const again = pairs(await client.xReadGroup("group", "one", { key: "jobs", id: "0" }));
      equal(again, [["jobs", [["9000000000000-0", { n: "last" }]]]]);
    });
    client.destroy();
    continue;
  }
  await test(name("scripts as methods"), async () => {
    await client.scriptFlush();
    const outcomes = await Promise.allSettled([...Array(9)].map(() => client.bounded("n", 3)));
    equal(outcomes.filter(({ status }) => status === "fulfilled").map(({ value }) => value), [1, 2, 3]);
    equal(outcomes.at(-1).reason.message, "ERR FULL");
    await client.set("m", 4);
    equal(await client.total("n", "m"), "3.5");
    await client.scriptFlush();
    equal(await client.total("n", "m"), "3.5");
    const [keys, values] = [["k"], ["a"]];
    equal(await client.eval("return {KEYS[1], ARGV[1], 1, false}", { keys, arguments: values }), ["k", "a", 1, null]);
    await refuses(client.evalSha("0".repeat(40)), "NOSCRIPT");
    const refused = client.evalRo("return redis.call('DEL', KEYS[1])", { keys });
    await refuses(refused, "Write commands are not allowed from read-only scripts");
    const map = await client.eval("redis.setresp(3) return redis.call('HGETALL', KEYS[1])", { keys: ["none"] });
    equal(RESP === 3 ? Object.keys(map) : map, []);
  });
  await test(name("functions as methods"), async () => {
    await client.functionLoad(LIBRARY, { REPLACE: true });
    await client.hSet("shop", { pen: 5, ink: 1 });
    equal([await client.stock.reserve("shop", "pen", 2), await client.stock.left("shop", "pen")], [3, 3]);
    await refuses(client.stock.reserve("shop", "ink", 2), "EMPTY ink");
    equal((await client.functionList()).map(({ library_name, engine }) => [library_name, engine]), [["stock", "LUA"]]);
    await refuses(client.functionLoad(LIBRARY), "Library 'stock' already exists");
  });
  await test(name("transactions and pools"), async () => {
    const [size, left, sum] = await client.multi().hLen("shop").stock.left("shop", "ink").total("n", "m").exec();
    equal([size, left, sum], [2, 1, "3.5"]);
    const pool = createClientPool(options, { minimum: 1, maximum: 5 });
    await pool.connect();
    const counted = await Promise.allSettled([...Array(20)].map(() => pool.bounded("pooled", 12)));
    equal(counted.filter(({ status }) => status === "fulfilled").length, 12);
    await pool.execute(async (one) => {
      await one.watch("n");
      await client.incr("n");
      await refuses(one.multi().get("n").exec(), "One (or more) of the watched keys has been changed");
    });
    pool.destroy();
  });
  await test(name("streams"), async () => {
    for (let n = 1; n <= 10; n += 1) await client.xAdd("s", `${n}-0`, { n: `${n}` });
    equal(entries(await client.xRange("s", "(8-0", "+")), [["9-0", { n: "9" }], ["10-0", { n: "10" }]]);
    equal((await client.xRevRange("s", "+", "-", { COUNT: 1 }))[0].id, "10-0");
    equal([await client.xTrim("s", "MINID", 5), await client.xDel("s", ["7-0"]), await client.xLen("s")], [4, 1, 5]);
    equal(pairs(await client.xRead([{ key: "s", id: "8-0" }], { COUNT: 1 })), [["s", [["9-0", { n: "9" }]]]]);
    equal(await client.xRead({ key: "s", id: "$" }, { BLOCK: 20 }), null);
    const info = await client.xInfoStream("s");
    equal([info.length, info["last-generated-id"], info["first-entry"].id], [5, "10-0", "5-0"]);
  });
  await test(name("consumer groups"), async () => {
    equal(await client.xGroupCreate("jobs", "group", "0", { MKSTREAM: true }), "OK");
    await refuses(client.xGroupCreate("jobs", "group", "0"), "BUSYGROUP");
    const done = [];
    const consumer = async (id) => [id, await client.duplicate().connect()];
    const consumers = await Promise.all(["one", "two", "three"].map(consumer));
    const work = Promise.all(
      consumers.map(async ([id, consumer]) => {
        while (done.length < 100) {
          const reply = await consumer.xReadGroup("group", id, { key: "jobs", id: ">" }, { COUNT: 5, BLOCK: 100 });
          const ids = reply ? pairs(reply)[0][1].map(([id]) => id) : [];
          if (ids.length) equal(await consumer.xAck("jobs", "group", ids), ids.length);
          done.push(...ids);
        }
      }),
    );
    const ids = await Promise.all([...Array(100).keys()].map((n) => client.xAdd("jobs", "*", { n: `${n}` })));
    await work;
    equal(done.sort(), ids.sort());
    for (const [, consumer] of consumers) consumer.destroy();
    await client.xAdd("jobs", "9000000000000-0", { n: "last" });
    await client.xReadGroup("group", "two", { key: "jobs", id: ">" });
    equal((await client.xPending("jobs", "group")).pending, 1);
    equal((await client.xPendingRange("jobs", "group", "-", "+", 5))[0].deliveriesCounter, 1);
    equal((await client.xClaim("jobs", "group", "one", 0, "9000000000000-0"))[0].id, "9000000000000-0");
    equal((await client.xAutoClaim("jobs", "group", "one", 0, "0")).messages.length, 1);
    equal(await client.xGroupCreateConsumer("jobs", "group", "four"), 1);
  });
  await test(name("the server is killed"), async () => {
    const waits = client.duplicate();
    waits.on("error", () => {});
    await waits.connect();
    const read = () => waits.xReadGroup("group", "two", { key: "jobs", id: ">" }, { BLOCK: 500 });
    const seen = [];
    const reading = until(async () => seen.push(...pairs((await read().catch(() => null)) ?? [])) > 0);
    await restart();
    await until(() => client.xAdd("jobs", "9000000000000-1", { n: "more" }).then(() => true, () => false));
    await reading;
    equal(seen, [["jobs", [["9000000000000-1", { n: "more" }]]]]);
    waits.destroy();
    // Scripts are forgotten, functions are not.
    equal([await client.bounded("n", 100) > 0, await client.stock.left("shop", "pen")], [true, 3]);
    await client.set("n", 4);
  });
  client.destroy();
}
finish();
