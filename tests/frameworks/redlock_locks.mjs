// redlock on ioredis: locks that one process holds at a time, extended, lost in time, over restarts.
//
// needs-npm: --before=2026-11-20 redlock@4.2.0 ioredis@5.11.1
// keeps: no
// restarts: kill
import Redis from "ioredis";
import Redlock from "redlock";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, finish, refuses, test } from "./check.mjs";
import { restart, until } from "./restart.mjs";

const clients = [0, 1].map((db) => new Redis({ port: Number(process.argv[2]), db }));
for (const client of clients) client.on("error", () => {});
const patient = new Redlock([clients[0]], { retryCount: 400, retryDelay: 20, retryJitter: 10 });
const hasty = new Redlock([clients[0]], { retryCount: 0 });
// Not servers of their own, but what it sends to many.
const several = new Redlock(clients, { retryCount: 0, driftFactor: 0.01 });
for (const lock of [patient, hasty, several]) lock.on("clientError", () => {});

await test("redlock work: one holder, many who wait", async () => {
  let inside = 0;
  let most = 0;
  let total = 0;
  await Promise.all(
    [...Array(20)].map(async () => {
      const lock = await patient.lock("counter", 10_000);
      most = Math.max(most, ++inside);
      const before = total;
      await sleep(5);
      total = before + 1;
      inside -= 1;
      await lock.unlock();
    }),
  );
  equal([most, total], [1, 20]);
  equal(await clients[0].exists("counter"), 0);
});

await test("redlock work: refused, extended, given back", async () => {
  const lock = await hasty.lock("resource", 500);
  await refuses(hasty.lock("resource", 500), "attempts to lock");
  const longer = await lock.extend(20_000);
  const left = await clients[0].pttl("resource");
  equal(left > 18_000 && left <= 20_000, true);
  await longer.unlock();
  await refuses(longer.unlock(), "Unable to fully release");
  const lost = await hasty.lock("resource", 50);
  await sleep(80);
  await refuses(lost.extend(1000), "already expired");
  await (await hasty.lock("resource", 500)).unlock();
});

await test("redlock work: several resources, several servers", async () => {
  const lock = await several.lock(["a", "b", "c"], 5000);
  for (const client of clients) equal(await client.exists("a", "b", "c"), 3);
  await refuses(several.lock(["c", "d"], 5000), "attempts to lock");
  for (const client of clients) equal(await client.exists("d"), 0);
  await lock.unlock();
  for (const client of clients) equal(await client.dbsize(), 0);
});

await test("redlock work: the server is killed", async () => {
  const lock = await hasty.lock("held", 60_000);
  await restart();
  await until(() => clients.every((client) => client.status === "ready"));
  await refuses(hasty.lock("held", 1000), "attempts to lock");
  // Its scripts were in the memory of the server before.
  await (await lock.extend(5000)).unlock();
  await (await hasty.lock("held", 1000)).unlock();
});
finish();
