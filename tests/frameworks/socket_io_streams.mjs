// The socket.io streams adapter: two servers, a browser at each, sessions that outlive a connection.
//
// needs-npm: --before=2026-11-20 @socket.io/redis-streams-adapter@0.3.1 socket.io@4.8.4 socket.io-client@4.8.4
// needs-npm: redis@6.3.1 ioredis@6.0.0
// keeps: no
// restarts: kill
import { createAdapter } from "@socket.io/redis-streams-adapter";
import Redis from "ioredis";
import { createServer } from "node:http";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io } from "socket.io-client";
import { equal, finish, test } from "./check.mjs";
import { restart, until } from "./restart.mjs";

const port = Number(process.argv[2]);

async function nodeRedis(database) {
  const client = createClient({ url: `redis://127.0.0.1:${port}/${database}`, socket: { reconnectStrategy: 100 } });
  client.on("error", () => {});
  return client.connect();
}

async function ioredis(db) {
  const client = new Redis({ port, db });
  client.on("error", () => {});
  return client;
}

async function server(client, channelPrefix) {
  const http = createServer();
  const server = new Server(http, {
    adapter: createAdapter(client, { heartbeatInterval: 500, blockTimeInMs: 500, channelPrefix }),
    connectionStateRecovery: { maxDisconnectionDuration: 10_000 },
  });
  server.on("connection", (socket) => {
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { server, port: http.address().port };
}

async function browser({ port }) {
  const options = { transports: ["websocket"], reconnectionDelay: 300, reconnectionDelayMax: 300 };
  const socket = io(`http://127.0.0.1:${port}`, options);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  return socket;
}

/** The next event's values, without the offset in the stream, which comes last. */
function next(socket, event) {
  return new Promise((resolve) => socket.once(event, (...values) => resolve(values.slice(0, -1))));
}

/** The first value of everything that arrives, in order, until the last event. */
function collect(socket, last) {
  const seen = [];
  return new Promise((resolve) => {
    socket.onAny((event, value) => {
      seen.push(event === last ? last : value);
      if (event === last) {
        socket.offAny();
        resolve(seen);
      }
    });
  });
}

let database = 0;
for (const [kind, connect] of Object.entries({ "node-redis": nodeRedis, ioredis })) {
  const name = (text) => `socket.io streams adapter on ${kind}: ${text}`;
  const clients = [await connect(database), await connect(database)];
  database += 1;
  const [a, b] = [await server(clients[0], kind), await server(clients[1], kind)];
  const [left, right] = [await browser(a), await browser(b)];

  await test(name("both servers see each other"), async () => {
    await until(async () => (await a.server.of("/").adapter.serverCount()) === 2);
    await until(async () => (await b.server.of("/").adapter.serverCount()) === 2);
    equal((await a.server.fetchSockets()).map((s) => s.id).sort(), [left.id, right.id].sort());
  });
  await test(name("broadcasts and rooms"), async () => {
    const all = Promise.all([next(left, "news"), next(right, "news")]);
    a.server.emit("news", { n: 1 }, Buffer.from([0, 255, 13, 10]));
    const message = [{ n: 1 }, Buffer.from([0, 255, 13, 10])];
    equal(await all, [message, message]);
    await right.emitWithAck("join", "room");
    const seen = Promise.all([collect(left, "last"), collect(right, "last")]);
    a.server.to("room").emit("only", "in the room");
    a.server.emit("last");
    equal(await seen, [["last"], ["in the room", "last"]]);
  });
  await test(name("a thousand messages in order"), async () => {
    const seen = collect(right, "end");
    for (let n = 0; n < 1000; n += 1) a.server.emit("n", n);
    a.server.emit("end");
    equal(await seen, [...Array(1000).keys(), "end"]);
  });
  await test(name("answers of sockets and of servers"), async () => {
    left.on("question", (done) => done("left"));
    right.on("question", (done) => done("right"));
    equal((await a.server.timeout(5000).emitWithAck("question")).sort(), ["left", "right"]);
    b.server.on("between", (text, done) => done(`b heard ${text}`));
    equal(await a.server.serverSideEmitWithAck("between", "a"), ["b heard a"]);
  });
  await test(name("a browser gets what it has missed, at the other server"), async () => {
    // The offset of its last message is where its session goes on in the stream.
    const first = next(right, "known");
    a.server.emit("known");
    await first;
    const seen = collect(right, "caught up");
    right.io.engine.close();
    await until(() => !right.connected);
    await until(async () => (await clients[0].keys("sio:session:*")).length === 1);
    for (let n = 0; n < 20; n += 1) a.server.to("room").emit("missed", n);
    right.io.uri = `http://127.0.0.1:${a.port}`;
    await until(() => right.connected);
    equal(right.recovered, true);
    a.server.emit("caught up");
    equal(await seen, [...Array(20).keys(), "caught up"]);
    equal((await clients[0].keys("sio:session:*")).length, 0);
  });
  await test(name("the server is killed"), async () => {
    await restart();
    // An adapter that cannot reach the stream says so to who emits.
    const seen = collect(left, "after");
    for (const other of [a, b]) other.server.of("/").adapter.on("error", () => {});
    await until(async () => {
      b.server.emit("after");
      return Promise.race([seen.then(() => true), new Promise((resolve) => setTimeout(resolve, 200))]);
    });
  });
  left.disconnect();
  right.disconnect();
}
finish();
