// Bull: queues, priorities, delays, repeats, rate limits and stalled jobs, with worker processes.
//
// needs-npm: --before=2026-11-20 bull@4.16.5
// keeps: yes
// restarts: kill
import Queue from "bull";
import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, finish, refuses, test } from "./check.mjs";
import { record, recorded, restart, someHeld, until, withWorkers } from "./restart.mjs";

// Hundreds of jobs are waited for at once.
EventEmitter.defaultMaxListeners = 0;
const [, , port, part] = process.argv;
const redis = { host: "127.0.0.1", port: Number(port), db: 12, maxRetriesPerRequest: null };
// Short times, so that what a dead server forgot is found soon.
const settings = { lockDuration: 2000, stalledInterval: 1000, maxStalledCount: 5, guardInterval: 500 };
const queue = new Queue("work", { redis, settings });
const limited = new Queue("limited", { redis, settings, limiter: { max: 3, duration: 500 } });
for (const source of [queue, limited]) source.on("error", () => {});

if (part === "worker") {
  queue.process("add", 2, async ({ data }) => data.a + data.b);
  queue.process("again", async (job) => {
    if (job.attemptsMade < 2) throw new Error("not yet");
    return job.attemptsMade;
  });
  queue.process("broken", async () => {
    throw new Error("on purpose");
  });
  queue.process("slow", 2, async (job) => {
    await job.progress(50);
    await job.log("half of it");
    await sleep(job.data.wait);
    await record(job.data.name);
    return "done";
  });
  limited.process(2, async ({ data }) => data);
  process.on("SIGTERM", async () => {
    await Promise.all([queue.close(), limited.close()]);
    process.exit(0);
  });
} else {
  const name = (text) => `Bull ${part}: ${text}`;

  if (part === "work") {
    await test(name("jobs and their results"), () =>
      withWorkers(1, async () => {
        const added = await queue.addBulk([...Array(100).keys()].map((n) => ({ name: "add", data: { a: n, b: 1 } })));
        equal(await Promise.all(added.map((job) => job.finished())), [...Array(100).keys()].map((n) => n + 1));
        equal(await added[0].getState(), "completed");
        const again = await queue.add("again", {}, { attempts: 3, backoff: { type: "fixed", delay: 20 } });
        equal(await again.finished(), 2);
        const broken = await queue.add("broken", {}, { attempts: 2 });
        await refuses(broken.finished(), "on purpose");
        equal((await queue.getFailed()).map((job) => job.attemptsMade), [2]);
        const { waiting, active, completed, failed } = await queue.getJobCounts();
        equal({ waiting, active, completed, failed }, { waiting: 0, active: 0, completed: 101, failed: 1 });
      }),
    );
    await test(name("order, priority, pause, one name once"), async () => {
      await queue.pause();
      for (const [jobId, priority] of [["c", 30], ["a", 1], ["b", 2], ["a", 1]]) {
        await queue.add("slow", { name: jobId, wait: 0 }, { priority, jobId });
      }
      equal((await queue.getWaiting()).map((job) => job.id), ["a", "b", "c"]);
      await (await queue.getJob("b")).remove();
      await queue.resume();
      await withWorkers(1, () => until(() => recorded().length === 2));
      equal(recorded().sort(), ["a", "c"]);
    });
    await test(name("delays, repeats, progress"), () =>
      withWorkers(1, async () => {
        const started = Date.now();
        equal(await (await queue.add("add", { a: 2, b: 3 }, { delay: 1000 })).finished(), 5);
        equal(Date.now() - started >= 1000, true);
        const repeat = { every: 200 };
        await queue.add("slow", { name: "tick", wait: 0 }, { repeat });
        await until(() => recorded().filter((job) => job === "tick").length >= 3);
        equal((await queue.getRepeatableJobs()).length, 1);
        await queue.removeRepeatable("slow", repeat);
        equal(await queue.getRepeatableJobs(), []);
        const progress = new Promise((resolve) => queue.once("global:progress", (_, percent) => resolve(percent)));
        await queue.isReady();
        const job = await queue.add("slow", { name: "seen", wait: 50 });
        equal(await job.finished(), "done");
        equal(await progress, 50);
        equal((await queue.getJobLogs(job.id)).logs, ["half of it"]);
      }),
    );
    await test(name("a limited rate"), () =>
      withWorkers(2, async () => {
        const started = Date.now();
        await limited.addBulk([...Array(9).keys()].map((n) => ({ data: n })));
        await until(async () => (await limited.getCompletedCount()) === 9);
        equal(Date.now() - started >= 1000, true);
      }),
    );
    await test(name("the server is killed"), () =>
      withWorkers(2, async () => {
        const names = someHeld(120);
        await queue.addBulk(names.map((name) => ({ name: "slow", data: { name, wait: 50 } })));
        const late = await queue.add("add", { a: 3, b: 4 }, { delay: 2000 });
        await until(() => recorded().includes("job-9"));
        await restart();
        await until(() => names.every((name) => recorded().includes(name)));
        await until(async () => (await queue.getJob(late.id)).isCompleted());
        equal((await queue.getJob(late.id)).returnvalue, 7);
        equal(await (await queue.add("add", { a: 1, b: 1 })).finished(), 2);
      }),
    );
    await test(name("jobs are left for later"), async () => {
      await queue.obliterate({ force: true });
      await queue.add("add", { a: 20, b: 22 }, { jobId: "kept" });
      await queue.add("add", { a: 1, b: 2 }, { jobId: "late", delay: 1000 });
      await queue.add("add", { a: 1, b: 2 }, { jobId: "far", delay: 3_600_000 });
    });
  } else {
    await test(name("queued and delayed jobs are kept"), async () => {
      const { waiting, delayed } = await queue.getJobCounts();
      equal({ waiting, delayed }, { waiting: 1, delayed: 2 });
      await withWorkers(1, async () => {
        equal(await (await queue.getJob("kept")).finished(), 42);
        equal(await (await queue.getJob("late")).finished(), 3);
      });
      equal(await (await queue.getJob("far")).getState(), "delayed");
      equal((await queue.clean(0, "completed")).length, 2);
    });
  }
  finish();
}
