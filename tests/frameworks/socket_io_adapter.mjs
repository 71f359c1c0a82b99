// The socket.io adapter: two servers, a browser at each, everything between them by Redis.
//
// needs-npm: --before=2026-11-20 socket.io@4.8.4 socket.io-client@4.8.4 @socket.io/redis-adapter@8.3.0 redis@6.3.1
// keeps: no
import { createServer } from "node:http";
import { Server } from "socket.io";
import { io } from "socket.io-client";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { equal, finish, test } from "./check.mjs";

const url = `redis://127.0.0.1:${process.argv[2]}`;

async function server(adapter) {
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const http = createServer();
  const server = new Server(http, { adapter: adapter(publisher, subscriber) });
  server.on("connection", (socket) => {
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on("ask", (text, done) => done(`${text}!`));
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { server, port: http.address().port };
}

async function browser({ port }) {
  const socket = io(`http://127.0.0.1:${port}`, { transports: ["websocket"] });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  return socket;
}

const next = (socket, event) => new Promise((resolve) => socket.once(event, (...values) => resolve(values)));

/** Everything that arrives, in order, until the last event. */
function collect(socket, last) {
  const seen = [];
  return new Promise((resolve) => {
    socket.onAny((event, ...values) => {
      seen.push([event, ...values]);
      if (event === last) resolve(seen);
    });
  });
}

/** The sharded adapter tells its caller of a join before Redis has its subscription. */
async function hasSubscribed(channel) {
  const client = await createClient({ url }).connect();
  const end = Date.now() + 10_000;
  while (!(await client.pubSubShardChannels(channel)).includes(channel)) equal(Date.now() < end, true);
  client.destroy();
}

async function scenario(name, adapter, roomChannel) {
  const [a, b] = [await server(adapter), await server(adapter)];
  const [left, right] = [await browser(a), await browser(b)];
  await test(`${name}: both servers see each other`, async () => {
    const end = Date.now() + 10_000;
    while ((await a.server.of("/").adapter.serverCount()) !== 2) equal(Date.now() < end, true);
    equal((await a.server.fetchSockets()).map((s) => s.id).sort(), [left.id, right.id].sort());
  });
  await test(`${name}: a broadcast reaches both`, async () => {
    const all = Promise.all([next(left, "news"), next(right, "news")]);
    a.server.emit("news", { n: 1 }, Buffer.from([0, 255, 13, 10]));
    const message = [{ n: 1 }, Buffer.from([0, 255, 13, 10])];
    equal(await all, [message, message]);
  });
  await test(`${name}: a room on the other server`, async () => {
    await right.emitWithAck("join", "room");
    if (roomChannel) await hasSubscribed(roomChannel);
    const seen = Promise.all([collect(left, "last"), collect(right, "last")]);
    a.server.to("room").emit("only", "in the room");
    a.server.emit("last");
    equal(await seen, [[["last"]], [["only", "in the room"], ["last"]]]);
    left.offAny();
    right.offAny();
  });
  await test(`${name}: a thousand messages in order`, async () => {
    const seen = collect(right, "end");
    for (let n = 0; n < 1000; n += 1) a.server.emit("n", n);
    a.server.emit("end");
    equal(await seen, [...[...Array(1000).keys()].map((n) => ["n", n]), ["end"]]);
    right.offAny();
  });
  await test(`${name}: answers of sockets and of servers`, async () => {
    left.on("question", (done) => done("left"));
    right.on("question", (done) => done("right"));
    equal((await a.server.timeout(5000).emitWithAck("question")).sort(), ["left", "right"]);
    b.server.on("between", (text, done) => done(`b heard ${text}`));
    equal(await a.server.serverSideEmitWithAck("between", "a"), ["b heard a"]);
    equal(await right.emitWithAck("ask", "x"), "x!");
  });
  await test(`${name}: a socket elsewhere is moved and closed`, async () => {
    a.server.in(right.id).socketsJoin("moved");
    const message = next(right, "moved");
    const end = Date.now() + 10_000;
    while ((await b.server.in("moved").fetchSockets()).length === 0) equal(Date.now() < end, true);
    a.server.to("moved").emit("moved");
    await message;
    const closed = next(right, "disconnect");
    a.server.in(right.id).disconnectSockets(true);
    equal((await closed)[0], "io server disconnect");
  });
  left.disconnect();
}

await scenario("socket.io adapter", (publisher, subscriber) => createAdapter(publisher, subscriber));
await scenario(
  "socket.io sharded adapter",
  (publisher, subscriber) => createShardedAdapter(publisher, subscriber),
  "socket.io#/#room#",
);
finish();
