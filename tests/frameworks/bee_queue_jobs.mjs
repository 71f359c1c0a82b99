// Bee-Queue: jobs, results by publish/subscribe, retries, delays and stalled jobs, with worker processes.
//
// needs-npm: --before=2026-11-20 bee-queue@2.0.0
// keeps: yes
// restarts: kill
import Queue from "bee-queue";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, finish, test } from "./check.mjs";
import { record, recorded, restart, someHeld, until, withWorkers } from "./restart.mjs";

const [, , port, part] = process.argv;
const redis = {
  host: "127.0.0.1",
  port: Number(port),
  db: 13,
  // Its client gives up by default when the server is gone.
  retry_strategy: () => 100,
};
const options = { redis, stallInterval: 1000, activateDelayedJobs: true, redisScanCount: 50 };

if (part === "worker") {
  const queue = new Queue("work", options);
  queue.on("error", () => {});
  let tries = 0;
  queue.process(3, async ({ data }) => {
    if (data.wait !== undefined) {
      await sleep(data.wait);
      await record(data.name);
      return "done";
    }
    if (data.again && ++tries < 3) throw new Error("not yet");
    if (data.broken) throw new Error("on purpose");
    return data.again ? tries : data.a + data.b;
  });
  // Takes up, for good, what a worker that is gone had in hand.
  queue.checkStalledJobs(500);
  process.on("SIGTERM", async () => {
    await queue.close(500).catch(() => {});
    process.exit(0);
  });
} else {
  const open = async () => {
    const queue = new Queue("work", { ...options, isWorker: false });
    queue.on("error", () => {});
    return queue.ready();
  };
  let queue = await open();
  const name = (text) => `Bee-Queue ${part}: ${text}`;
  const ends = (job) =>
    new Promise((resolve) => {
      job.on("succeeded", (result) => resolve({ result }));
      job.on("failed", (error) => resolve({ error: error.message }));
    });

  if (part === "work") {
    await test(name("jobs and their results"), () =>
      withWorkers(1, async () => {
        const jobs = [...Array(100).keys()].map((n) => queue.createJob({ a: n, b: 1 }));
        const results = jobs.map(ends);
        equal((await queue.saveAll(jobs)).size, 0);
        equal(await Promise.all(results), [...Array(100).keys()].map((n) => ({ result: n + 1 })));
        const again = queue.createJob({ again: true }).retries(5).backoff("fixed", 20);
        const broken = queue.createJob({ broken: true });
        const both = [ends(again), ends(broken)];
        await Promise.all([again.save(), broken.save()]);
        equal(await Promise.all(both), [{ result: 3 }, { error: "on purpose" }]);
        const { succeeded, failed, waiting, active } = await queue.checkHealth();
        equal({ succeeded, failed, waiting, active }, { succeeded: 101, failed: 1, waiting: 0, active: 0 });
        equal((await queue.getJobs("failed", { size: 10 })).length, 1);
      }),
    );
    await test(name("one name once, jobs taken out"), async () => {
      const twice = [queue.createJob({ a: 1, b: 1 }).setId("once"), queue.createJob({ a: 2, b: 2 }).setId("once")];
      await twice[0].save();
      equal((await twice[1].save()).id, null);
      equal((await queue.getJobs("waiting", { start: 0, end: 10 })).map((job) => job.id), ["once"]);
      await queue.removeJob("once");
      equal((await queue.checkHealth()).waiting, 0);
    });
    await test(name("delays"), () =>
      withWorkers(1, async () => {
        const job = queue.createJob({ a: 2, b: 3 }).delayUntil(Date.now() + 1000);
        const end = ends(job);
        const started = Date.now();
        await job.save();
        equal((await queue.checkHealth()).delayed, 1);
        equal(await end, { result: 5 });
        equal(Date.now() - started >= 990, true);
      }),
    );
    await test(name("the server is killed"), async () => {
      const names = someHeld(150);
      await withWorkers(2, async () => {
        await queue.saveAll(names.map((name) => queue.createJob({ name, wait: 50 })));
        await until(() => recorded().includes("job-9"));
        await restart();
      });
      // Its processes do not load their scripts again: they are to be started anew.
      queue = await open();
      await withWorkers(2, async () => {
        await until(() => names.every((name) => recorded().includes(name)), 25);
        await queue.createJob({ name: "after", wait: 0 }).save();
        await until(() => recorded().includes("after"));
      });
    });
    await test(name("jobs are left for later"), async () => {
      await queue.destroy();
      await queue.createJob({ name: "kept", wait: 0 }).setId("kept").save();
      await queue.createJob({ name: "late", wait: 0 }).setId("late").delayUntil(Date.now() + 1000).save();
      await queue.createJob({ a: 1, b: 2 }).setId("far").delayUntil(Date.now() + 3_600_000).save();
    });
  } else {
    await test(name("queued and delayed jobs are kept"), async () => {
      const { waiting, delayed } = await queue.checkHealth();
      equal({ waiting, delayed }, { waiting: 1, delayed: 2 });
      await withWorkers(1, () => until(() => ["kept", "late"].every((name) => recorded().includes(name))));
      equal((await queue.checkHealth()).delayed, 1);
    });
  }
  finish();
}
