// What the node programs with workers share: worker processes, a server that is killed, waiting.
import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const RECORD = `${process.env.RESTART}.record`;

/** Waits until the condition is true, or no longer than this. */
export async function until(condition, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${condition}`);
    await sleep(20);
  }
}

/** Has the server save, killed, and another one started on its dump; returns when that answers. */
export async function restart() {
  const file = process.env.RESTART;
  writeFileSync(file, "");
  await until(() => !existsSync(file), 60);
}

/**
 * Runs the body beside worker processes, which are this program called as `NAME PORT worker`.
 * What they print is shown only if the body fails.
 */
export async function withWorkers(count, body) {
  let output = "";
  const workers = [...Array(count)].map(() => {
    const child = spawn(process.execPath, [process.argv[1], process.argv[2], "worker"]);
    child.stdout.on("data", (text) => (output += text));
    child.stderr.on("data", (text) => (output += text));
    return child;
  });
  try {
    await body();
  } catch (error) {
    console.log(output.slice(-8000));
    throw error;
  } finally {
    const ended = workers.map((child) => child.exitCode ?? new Promise((resolve) => child.on("exit", resolve)));
    for (const child of workers) child.kill("SIGTERM");
    const late = setTimeout(() => workers.forEach((child) => child.kill("SIGKILL")), 5000);
    await Promise.all(ended);
    clearTimeout(late);
  }
}

/** Names of so many jobs, the last of which are held. */
export function someHeld(count, held = 10) {
  return [...Array(count).keys()].map((n) => (n < count - held ? `job-${n}` : `held-${n}`));
}

/**
 * Notes that a job has run, in a file beside the server's. Jobs whose name begins with `held` do
 * not end while the server is being killed, so that however slow the machine is, there is work on
 * both sides of the kill.
 */
export async function record(job) {
  if (job.startsWith("held")) await until(() => !existsSync(process.env.RESTART), 60);
  appendFileSync(RECORD, `${job}\n`);
}

/** The jobs that have run, once for each time. */
export function recorded() {
  return existsSync(RECORD) ? readFileSync(RECORD, "utf8").split("\n").slice(0, -1) : [];
}
