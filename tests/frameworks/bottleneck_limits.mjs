// Bottleneck: one limit over several processes' limiters, with reservoirs, priorities and heartbeats.
//
// needs-npm: --before=2026-11-20 bottleneck@2.19.5 ioredis@5.11.1
// keeps: no
// restarts: kill
import Bottleneck from "bottleneck";
import Redis from "ioredis";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, finish, test } from "./check.mjs";
import { restart, until } from "./restart.mjs";

const clientOptions = { host: "127.0.0.1", port: Number(process.argv[2]) };
const limiters = [];
async function limiter(id, options) {
  const made = new Bottleneck({ id, datastore: "ioredis", Redis, clientOptions, clearDatastore: false, ...options });
  made.on("error", () => {});
  limiters.push(made);
  await made.ready();
  return made;
}

await test("Bottleneck work: so many at a time, over two limiters", async () => {
  const both = [await limiter("running", { maxConcurrent: 3 }), await limiter("running", { maxConcurrent: 3 })];
  let inside = 0;
  let most = 0;
  const jobs = [...Array(30).keys()].map((n) =>
    both[n % 2].schedule(async () => {
      most = Math.max(most, ++inside);
      await sleep(10);
      inside -= 1;
      return n;
    }),
  );
  equal(await Promise.all(jobs), [...Array(30).keys()]);
  equal(most, 3);
  equal(await both[0].running(), 0);
  equal(await both[1].done(), 30);
});

await test("Bottleneck work: so long between two", async () => {
  const both = [await limiter("spaced", { minTime: 50 }), await limiter("spaced", { minTime: 50 })];
  const times = [];
  await Promise.all([...Array(10).keys()].map((n) => both[n % 2].schedule(async () => times.push(Date.now()))));
  equal(times.at(-1) - times[0] >= 9 * 50 - 20, true);
});

await test("Bottleneck work: a reservoir, and what is too much", async () => {
  const one = await limiter("reservoir", {
    reservoir: 4,
    reservoirRefreshAmount: 4,
    reservoirRefreshInterval: 500,
    heartbeatInterval: 100,
  });
  const started = Date.now();
  await Promise.all([...Array(8)].map(() => one.schedule(async () => {})));
  equal(Date.now() - started >= 400, true);
  equal(await one.incrementReservoir(10) >= 10, true);
  const full = await limiter("full", { maxConcurrent: 1, highWater: 2, strategy: Bottleneck.strategy.OVERFLOW });
  const outcomes = await Promise.allSettled([...Array(6)].map(() => full.schedule(() => sleep(20))));
  equal(outcomes.some(({ status }) => status === "rejected"), true);
  equal(outcomes.some(({ status }) => status === "fulfilled"), true);
});

await test("Bottleneck work: weights, priorities, changed settings", async () => {
  const one = await limiter("weights", { maxConcurrent: 4 });
  const order = [];
  const hold = one.schedule({ weight: 4 }, () => sleep(50));
  const later = [[9, "last"], [1, "first"], [5, "middle"]].map(([priority, name]) =>
    one.schedule({ priority, weight: 4 }, async () => order.push(name)),
  );
  await Promise.all([hold, ...later]);
  equal(order, ["first", "middle", "last"]);
  await one.updateSettings({ maxConcurrent: 1 });
  equal(await one.check(2), false);
  equal(await one.check(1), true);
});

await test("Bottleneck work: groups by key", async () => {
  const group = new Bottleneck.Group({ id: "group", datastore: "ioredis", Redis, clientOptions, maxConcurrent: 1 });
  group.on("error", () => {});
  await Promise.all(["a", "b"].map((key) => group.key(key).schedule(() => sleep(5))));
  equal((await group.clusterKeys()).sort(), ["a", "b"]);
  equal(await group.deleteKey("a"), true);
  equal(await group.clusterKeys(), ["b"]);
  await group.disconnect(false);
});

await test("Bottleneck work: the server is killed", async () => {
  const one = await limiter("killed", { maxConcurrent: 2, minTime: 10 });
  equal(await Promise.all([1, 2, 3].map((n) => one.schedule(async () => n))), [1, 2, 3]);
  await restart();
  let done = 0;
  // What it sends while the connection is away fails, and is for the program to send again.
  await until(async () => {
    await one.schedule(async () => (done += 1)).catch(() => {});
    return done >= 5;
  });
  equal(await one.done(), 3 + done);
});
await Promise.all(limiters.map((made) => made.disconnect(false)));
finish();
