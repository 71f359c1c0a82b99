// rate-limiter-flexible on ioredis and node-redis: points in a window, blocks, bursts, queues.
//
// needs-npm: --before=2026-11-20 rate-limiter-flexible@11.4.0 ioredis@6.0.0 redis@6.3.1
// keeps: yes
import Redis from "ioredis";
import { BurstyRateLimiter, RateLimiterQueue, RateLimiterRedis, RateLimiterUnion } from "rate-limiter-flexible";
import { createClient } from "redis";
import { equal, finish, test } from "./check.mjs";

const [, , port, part] = process.argv;
const ioredis = new Redis({ port: Number(port) });
const node = createClient({ url: `redis://127.0.0.1:${port}/1` });
await node.connect();

/** How many of so many at once are let through. */
async function admitted(limiter, key, count) {
  const outcomes = await Promise.allSettled([...Array(count)].map(() => limiter.consume(key)));
  for (const { reason } of outcomes) if (reason instanceof Error) throw reason;
  return outcomes.filter(({ status }) => status === "fulfilled").length;
}

for (const [client, storeClient, options] of [
  ["ioredis", ioredis, {}],
  ["node-redis", node, { useRedisPackage: true }],
]) {
  const limiter = (name, more) => new RateLimiterRedis({ storeClient, keyPrefix: name, ...options, ...more });
  const name = (text) => `rate-limiter-flexible ${part} on ${client}: ${text}`;
  if (part === "kept") {
    await test(name("what was consumed and blocked is kept"), async () => {
      equal((await limiter("kept", { points: 5, duration: 3600 }).get("ada")).remainingPoints, 2);
      const left = (await limiter("blocked", { points: 1, duration: 1 }).get("eve")).msBeforeNext;
      equal(left > 3_500_000 && left <= 3_600_000, true);
    });
    continue;
  }
  await test(name("points of a window"), async () => {
    const five = limiter("five", { points: 5, duration: 1 });
    equal(await admitted(five, "ada", 20), 5);
    equal(await admitted(five, "bob", 3), 3);
    const refused = await five.consume("ada").catch((reason) => reason);
    equal([refused.remainingPoints, refused.consumedPoints], [0, 21]);
    equal(refused.msBeforeNext > 0 && refused.msBeforeNext <= 1000, true);
    await new Promise((resolve) => setTimeout(resolve, 1050));
    equal((await five.consume("ada", 2)).remainingPoints, 3);
  });
  await test(name("given back, charged, set, deleted"), async () => {
    const ten = limiter("ten", { points: 10, duration: 60 });
    equal((await ten.penalty("ada", 4)).consumedPoints, 4);
    equal((await ten.reward("ada", 1)).consumedPoints, 3);
    equal((await ten.get("ada")).remainingPoints, 7);
    await ten.set("ada", 9, 60);
    equal((await ten.get("ada")).consumedPoints, 9);
    equal([await ten.delete("ada"), await ten.get("ada")], [true, null]);
  });
  await test(name("blocked after too much"), async () => {
    const strict = limiter("strict", { points: 2, duration: 1, blockDuration: 600 });
    equal(await admitted(strict, "ada", 3), 2);
    equal((await strict.get("ada")).msBeforeNext > 590_000, true);
    await limiter("never", { points: 1, duration: 0 }).consume("ada");
    equal(await storeClient.ttl("never:ada"), -1);
  });
  await test(name("bursts, unions, queues"), async () => {
    const bursty = new BurstyRateLimiter(
      limiter("base", { points: 2, duration: 60 }),
      limiter("burst", { points: 3, duration: 60 }),
    );
    equal(await admitted(bursty, "ada", 9), 5);
    const [one, two] = [1, 2].map((points) => limiter(`u${points}`, { points, duration: 60 }));
    const union = new RateLimiterUnion(one, two);
    await union.consume("ada");
    equal(Object.keys(await union.consume("ada").catch((reason) => reason)), ["u1"]);
    const queue = new RateLimiterQueue(limiter("queue", { points: 2, duration: 1 }));
    const started = Date.now();
    await Promise.all([...Array(5)].map(() => queue.removeTokens(1, "ada")));
    equal(Date.now() - started > 1000, true);
  });
  await test(name("left for the next server"), async () => {
    await limiter("kept", { points: 5, duration: 3600 }).consume("ada", 3);
    await limiter("blocked", { points: 1, duration: 1 }).block("eve", 3600);
  });
}
finish();
