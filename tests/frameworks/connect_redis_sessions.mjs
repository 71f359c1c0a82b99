// connect-redis: sessions of an Express application, seen through HTTP.
//
// needs-npm: --before=2026-11-20 express@5.3.0 express-session@1.19.0 connect-redis@9.0.0 redis@6.3.1
// keeps: yes
import express from "express";
import session from "express-session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";
import { equal, finish, test } from "./check.mjs";

const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}/6` });
await client.connect();
const store = new RedisStore({ client, prefix: "sess:", ttl: 7200 });
const app = express();
app.use(session({ store, secret: "a test", resave: false, saveUninitialized: false }));
app.get("/count", (request, response) => {
  request.session.count = (request.session.count ?? 0) + 1;
  response.send(String(request.session.count));
});
app.get("/logout", (request, response) => {
  request.session.destroy(() => response.send("bye"));
});
const listener = app.listen(0, "127.0.0.1");
await new Promise((resolve) => listener.once("listening", resolve));
const base = `http://127.0.0.1:${listener.address().port}`;

/** A browser that keeps one cookie. */
function browser(cookie = "") {
  return {
    cookie: () => cookie,
    async get(path) {
      const reply = await fetch(base + path, { headers: { cookie, connection: "close" } });
      cookie = reply.headers.get("set-cookie")?.split(";")[0] ?? cookie;
      return reply.text();
    },
  };
}

if (process.argv[3] === "work") {
  await test("connect-redis work: a session counts", async () => {
    const one = browser();
    equal([await one.get("/count"), await one.get("/count"), await one.get("/count")], ["1", "2", "3"]);
    await client.set("cookie", one.cookie());
    const ttl = await client.ttl((await client.keys("sess:*"))[0]);
    equal(ttl > 7100 && ttl <= 7200, true);
  });
  await test("connect-redis work: fifty sessions", async () => {
    const browsers = [...Array(50)].map(() => browser());
    equal(new Set(await Promise.all(browsers.map((b) => b.get("/count")))), new Set(["1"]));
    equal(await store.length(), 51);
    equal((await store.ids()).length, 51);
    equal((await store.all()).map((s) => s.count).sort(), [...Array(50).fill(1), 3]);
    equal(await browsers[0].get("/logout"), "bye");
    equal(await store.length(), 50);
  });
} else {
  await test("connect-redis kept: the session goes on", async () => {
    const one = browser(await client.get("cookie"));
    equal(await one.get("/count"), "4");
    equal(await store.length(), 50);
  });
  await test("connect-redis kept: clear", async () => {
    await store.clear();
    equal(await store.length(), 0);
    equal(await client.exists("cookie"), 1);
  });
}
finish();
