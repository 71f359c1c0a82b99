"""python-socketio: two servers and a process that only emits, joined by Redis.

needs-pip: python-socketio==5.18.1 python-engineio==4.15.1 bidict==0.24.1 simple-websocket==1.1.0
needs-pip: wsproto==1.3.2 h11==0.16.0 aiohttp==3.14.5 aiohappyeyeballs==2.7.1 aiosignal==1.4.0
needs-pip: attrs==26.1.0 frozenlist==1.8.0 idna==3.20 multidict==7.2.1 propcache==0.5.4
needs-pip: typing_extensions==4.16.0 yarl==1.25.1 redis==8.1.0
keeps: no
"""
import asyncio

import socketio
from aiohttp import web

from check import PORT, equal, run, work

URL = f"redis://127.0.0.1:{PORT}/0"


async def server():
    server = socketio.AsyncServer(client_manager=socketio.AsyncRedisManager(URL), async_mode="aiohttp")

    @server.event
    async def join(sid, room):
        await server.enter_room(sid, room)
        return "joined"

    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return server, runner, site._server.sockets[0].getsockname()[1]


async def browser(port):
    client = socketio.AsyncClient()
    client.seen = asyncio.Queue()
    client.on("*", lambda event, *values: client.seen.put_nowait((event, *values)))
    await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
    return client


async def seen(client, count):
    return [await asyncio.wait_for(client.seen.get(), 20) for _ in range(count)]


async def scenario():
    (one, runner_one, port_one), (two, runner_two, port_two) = await server(), await server()
    left, right = await browser(port_one), await browser(port_two)
    equal(await right.call("join", "room"), "joined")
    # The servers listen from their first client on, and say so to nobody.
    await asyncio.sleep(0.5)
    await one.emit("news", {"n": 1, "bytes": b"\0\xff\r\n"})
    message = ("news", {"n": 1, "bytes": b"\0\xff\r\n"})
    equal([await seen(left, 1), await seen(right, 1)], [[message], [message]])
    await one.emit("only", "in the room", room="room")
    for n in range(300):
        await one.emit("n", n)
    equal(await seen(right, 301), [("only", "in the room"), *(("n", n) for n in range(300))])
    equal(await seen(left, 300), [("n", n) for n in range(300)])
    emitter = socketio.RedisManager(URL, write_only=True)
    await asyncio.to_thread(emitter.emit, "outside", "hello")
    equal([await seen(left, 1), await seen(right, 1)], [[("outside", "hello")]] * 2)
    await left.disconnect()
    await right.disconnect()
    await runner_one.cleanup()
    await runner_two.cleanup()


@work
def messages_reach_both_servers():
    asyncio.run(asyncio.wait_for(scenario(), 60))


run("python-socketio")
