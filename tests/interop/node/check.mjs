// What both node programs share: named tests, each printed as it ends, and strict comparison.
import assert from "node:assert/strict";

let failed = 0;

export const equal = assert.deepStrictEqual;
export const binary = Buffer.concat([Buffer.from([...Array(256).keys()]), Buffer.from("\r\n$5\r\n")]);

/** Runs one test; a test that takes longer than half a minute has failed. */
export async function test(name, body) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no end after 30 s")), 30_000);
  });
  try {
    await Promise.race([body(), late]);
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${name}\n${error.stack}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Expects the promise to be refused with an error that contains the text. */
export async function refuses(promise, text) {
  await assert.rejects(promise, (error) => {
    assert.ok(error.message.includes(text), `error ${error.message}, expected ${text}`);
    return true;
  });
}

/** Ends the program, with 1 if anything failed. */
export function finish() {
  process.exit(failed === 0 ? 0 : 1);
}
