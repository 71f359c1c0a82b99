// keyv on Redis: values, deadlines, namespaces, the iterator and clear.
//
// needs-npm: --before=2026-11-20 keyv@5.6.0 @keyv/redis@5.1.6
// keeps: yes
import Keyv from "keyv";
import KeyvRedis from "@keyv/redis";
import { equal, finish, test } from "./check.mjs";

const url = `redis://127.0.0.1:${process.argv[2]}/5`;
const users = new Keyv(new KeyvRedis(url), { namespace: "users", useKeyPrefix: false });
const pages = new Keyv(new KeyvRedis(url), { namespace: "pages", useKeyPrefix: false });
const ada = { name: "ada", tags: ["a", 1, null], text: "grüße" };

async function keys(store) {
  const found = [];
  for await (const [key] of store.iterator()) found.push(key);
  return found.sort();
}

if (process.argv[3] === "work") {
  await test("keyv work: get, set, has, delete", async () => {
    equal(await users.get("missing"), undefined);
    equal(await users.set("ada", ada), true);
    equal(await users.get("ada"), ada);
    equal(await users.has("ada"), true);
    equal(await users.set("gone", 1), true);
    equal(await users.delete("gone"), true);
    equal(await users.delete("gone"), false);
    equal(await users.has("gone"), false);
  });
  await test("keyv work: deadlines", async () => {
    await users.set("short", "v", 300);
    await users.set("long", "v", 3_600_000);
    equal(await users.get("short"), "v");
    await new Promise((resolve) => setTimeout(resolve, 400));
    equal(await users.get("short"), undefined);
  });
  await test("keyv work: many at once", async () => {
    const entries = [...Array(200).keys()].map((n) => ({ key: `n${n}`, value: n }));
    await users.setMany(entries);
    equal(await users.getMany(["n1", "missing", "n199"]), [1, undefined, 199]);
    equal(await users.deleteMany(entries.slice(100).map(({ key }) => key)), true);
    equal(await users.getMany(["n99", "n100"]), [99, undefined]);
  });
  await test("keyv work: namespaces and the iterator", async () => {
    await pages.set("home", "<html>");
    await pages.set("about", "<html>");
    equal(await keys(pages), ["about", "home"]);
    equal((await keys(users)).length, 102);
  });
} else {
  await test("keyv kept: values are kept", async () => {
    equal(await users.get("ada"), ada);
    equal(await users.get("long"), "v");
    equal((await keys(users)).length, 102);
  });
  await test("keyv kept: clear is for one namespace", async () => {
    await users.clear();
    equal(await keys(users), []);
    equal(await keys(pages), ["about", "home"]);
  });
}
finish();
