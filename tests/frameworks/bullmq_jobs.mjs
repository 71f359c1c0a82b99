// BullMQ: queues, flows, schedulers, rate limits, events and metrics, with worker processes.
//
// needs-npm: --before=2026-11-20 bullmq@6.7.0 ioredis@6.0.0
// keeps: yes
// restarts: kill
import { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } from "bullmq";
import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, finish, refuses, test } from "./check.mjs";
import { record, recorded, restart, someHeld, until, withWorkers } from "./restart.mjs";

// Hundreds of jobs are waited for at once.
EventEmitter.defaultMaxListeners = 0;
const [, , port, part] = process.argv;
const connection = { host: "127.0.0.1", port: Number(port), db: 2, maxRetriesPerRequest: null };
const quiet = (source) => source.on("error", () => {});

const jobs = {
  add: async ({ data }) => data.a + data.b,
  again: async ({ attemptsMade }) => {
    if (attemptsMade < 2) throw new Error("not yet");
    return attemptsMade;
  },
  broken: async () => {
    throw new Error("on purpose");
  },
  hopeless: async () => {
    throw new UnrecoverableError("never");
  },
  total: async (job) => Object.values(await job.getChildrenValues()).reduce((sum, value) => sum + value, 0),
  slow: async (job) => {
    await job.updateProgress(50);
    await job.log("half of it");
    await sleep(job.data.wait);
    await record(job.data.name);
    return "done";
  },
};

if (part === "worker") {
  // Short times, so that what a dead server forgot is found soon.
  const options = { connection, concurrency: 3, lockDuration: 2000, stalledInterval: 1000, maxStalledCount: 5 };
  const run = (job) => jobs[job.name](job);
  const workers = [
    new Worker("work", run, { ...options, metrics: { maxDataPoints: 10 } }),
    new Worker("limited", run, { ...options, limiter: { max: 3, duration: 500 } }),
  ];
  workers.forEach(quiet);
  process.on("SIGTERM", async () => {
    await Promise.all(workers.map((worker) => worker.close()));
    process.exit(0);
  });
} else {
  const queue = quiet(new Queue("work", { connection }));
  const limited = quiet(new Queue("limited", { connection }));
  const flow = quiet(new FlowProducer({ connection }));
  const events = quiet(new QueueEvents("work", { connection }));
  await events.waitUntilReady();

  const name = (text) => `BullMQ ${part}: ${text}`;
  const result = (job) => job.waitUntilFinished(events, 20_000);

  if (part === "work") {
    await test(name("jobs and their results"), () =>
      withWorkers(1, async () => {
        const added = await queue.addBulk([...Array(100).keys()].map((n) => ({ name: "add", data: { a: n, b: 1 } })));
        equal(await Promise.all(added.map(result)), [...Array(100).keys()].map((n) => n + 1));
        equal(await added[0].getState(), "completed");
        equal(await queue.getJobCounts("waiting", "completed", "failed"), { waiting: 0, completed: 100, failed: 0 });
        equal(await result(await queue.add("again", {}, { attempts: 3, backoff: { type: "fixed", delay: 20 } })), 2);
        await refuses(result(await queue.add("broken", {}, { attempts: 2 })), "on purpose");
        await refuses(result(await queue.add("hopeless", {}, { attempts: 5 })), "never");
        equal((await queue.getFailed()).map((job) => job.attemptsMade).sort(), [1, 2]);
        equal((await queue.getMetrics("completed")).meta.count, 101);
      }),
    );
    await test(name("order, priority, pause, one name once"), async () => {
      await queue.pause();
      for (const [key, priority] of [["c", 30], ["a", 1], ["b", 2]]) {
        await queue.add("slow", { name: key, wait: 0 }, { priority, jobId: key });
      }
      await queue.add("slow", { name: "a", wait: 0 }, { priority: 1, jobId: "a" });
      equal((await queue.getPrioritized()).map((job) => job.id), ["a", "b", "c"]);
      await (await queue.getJob("c")).changePriority({ priority: 1, lifo: true });
      await (await queue.getJob("b")).remove();
      await queue.resume();
      await withWorkers(1, () => until(async () => recorded().length === 2));
      equal(recorded().sort(), ["a", "c"]);
    });
    await test(name("delays, schedulers, progress"), () =>
      withWorkers(1, async () => {
        const started = Date.now();
        equal(await result(await queue.add("add", { a: 2, b: 3 }, { delay: 1000 })), 5);
        equal(Date.now() - started >= 1000, true);
        await queue.upsertJobScheduler("every", { every: 200 }, { name: "slow", data: { name: "tick", wait: 0 } });
        await until(() => recorded().filter((job) => job === "tick").length >= 3);
        equal(await queue.removeJobScheduler("every"), true);
        const job = await queue.add("slow", { name: "seen", wait: 50 });
        const progress = new Promise((resolve) => events.once("progress", resolve));
        equal(await result(job), "done");
        equal((await progress).data, 50);
        equal((await queue.getJobLogs(job.id)).logs, ["half of it"]);
      }),
    );
    await test(name("a parent waits for its children"), () =>
      withWorkers(1, async () => {
        const children = [...Array(10).keys()].map((n) => ({ name: "add", queueName: "work", data: { a: n, b: 0 } }));
        const tree = await flow.add({ name: "total", queueName: "work", children });
        equal(await result(tree.job), 45);
        equal((await tree.job.getDependencies()).processed !== undefined, true);
      }),
    );
    await test(name("a limited rate"), () =>
      withWorkers(2, async () => {
        const started = Date.now();
        await limited.addBulk([...Array(9).keys()].map((n) => ({ name: "add", data: { a: n, b: 0 } })));
        await until(async () => (await limited.getCompletedCount()) === 9);
        equal(Date.now() - started >= 1000, true);
      }),
    );
    await test(name("the server is killed"), () =>
      withWorkers(2, async () => {
        const names = someHeld(150);
        await queue.addBulk(names.map((name) => ({ name: "slow", data: { name, wait: 50 } })));
        const late = await queue.add("add", { a: 3, b: 4 }, { delay: 2000 });
        await until(() => recorded().includes("job-9"));
        await restart();
        await until(() => names.every((name) => recorded().includes(name)));
        await until(async () => (await queue.getJobCountByTypes("active", "waiting", "delayed")) === 0);
        equal((await queue.getJob(late.id)).returnvalue, 7);
        equal(await result(await queue.add("add", { a: 1, b: 1 })), 2);
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
      equal(await queue.getJobCounts("waiting", "delayed"), { waiting: 1, delayed: 2 });
      await withWorkers(1, async () => {
        equal(await result(await queue.getJob("kept")), 42);
        equal(await result(await queue.getJob("late")), 3);
      });
      equal(await (await queue.getJob("far")).getState(), "delayed");
      equal((await queue.clean(0, 10, "completed")).length, 2);
    });
  }
  finish();
}
