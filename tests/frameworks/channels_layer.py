"""channels_redis: the core layer (groups, capacities, deadlines, two processes) and the one of publish/subscribe.

needs-pip: channels_redis==4.3.0 channels==4.3.2 Django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1
needs-pip: msgpack==1.2.4 redis==8.1.0
keeps: yes
restarts: kill
"""
import asyncio
import time

from asgiref.sync import sync_to_async
from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import ConnectionError

from check import PART, PORT, between, equal, kept, restart, run, work, worker

URL = f"redis://127.0.0.1:{PORT}/14"


def asynchronous(function):
    def body():
        async def inside():
            layers = []

            def layer(kind=RedisChannelLayer, **options):
                layers.append(kind(hosts=[URL], **options))
                return layers[-1]
            try:
                await asyncio.wait_for(function(layer), 60)
            finally:
                for made in layers:
                    await (made.close_pools() if isinstance(made, RedisChannelLayer) else made.flush())
        asyncio.run(inside())
    body.__name__ = function.__name__
    return body


def message(n):
    return {"type": "news", "n": n, "bytes": b"\0\xff\r\n", "text": "grüße", "list": [1, None, 2.5]}


async def nothing(layer, channel, seconds=0.2):
    try:
        got = await asyncio.wait_for(layer.receive(channel), seconds)
    except asyncio.TimeoutError:
        return
    raise AssertionError(f"got {got}")


@work
@asynchronous
async def messages_in_order(layer):
    one, two = layer(), layer()
    for n in range(50):
        await one.send("plain", message(n))
    equal([await two.receive("plain") for _ in range(50)], [message(n) for n in range(50)])
    waiting = asyncio.create_task(two.receive("later"))
    await asyncio.sleep(0.05)
    await one.send("later", message(1))
    equal(await waiting, message(1))
    # Channels of one process share a key.
    mine, other = await one.new_channel(), await one.new_channel()
    await two.send(other, message(2))
    await two.send(mine, message(1))
    equal([await one.receive(mine), await one.receive(other)], [message(1), message(2)])
    await nothing(one, mine)


@work
@asynchronous
async def capacities_and_deadlines(layer):
    small = layer(capacity=3, expiry=1, prefix="small")
    for n in range(3):
        await small.send("full", message(n))
    try:
        await small.send("full", message(3))
    except ChannelFull:
        pass
    else:
        raise AssertionError("a channel over its capacity")
    await asyncio.sleep(1.2)
    await small.send("full", message(4))
    equal(await small.receive("full"), message(4))


@work
@asynchronous
async def groups(layer):
    one, two = layer(capacity=10), layer(capacity=10)
    channels = [await one.new_channel() for _ in range(5)] + [await two.new_channel() for _ in range(5)]
    owners = [one] * 5 + [two] * 5
    for channel, owner in zip(channels, owners):
        await owner.group_add("everyone", channel)
    await one.group_discard("everyone", channels[0])
    # A script counts, deletes and adds under keys that it makes up.
    await one.group_send("everyone", message(7))
    equal([await owner.receive(channel) for channel, owner in list(zip(channels, owners))[1:]], [message(7)] * 9)
    await nothing(one, channels[0])
    # A member that does not read gets no more than its capacity, and the others everything.
    for channel in "slow", "quick":
        await one.group_add("plain", channel)
    for n in range(15):
        await one.group_send("plain", message(n))
        equal(await two.receive("quick"), message(n))
    equal([await two.receive("slow") for _ in range(10)], [message(n) for n in range(10)])
    await nothing(two, "slow")
    await two.flush()
    await one.group_send("everyone", message(1))
    await nothing(one, channels[1])


@work
@asynchronous
async def another_process_answers(layer):
    mine = layer()
    with worker():
        for n in range(20):
            await mine.send("squares", {"type": "ask", "n": n, "to": "answers"})
        equal([(await mine.receive("answers"))["n"] for _ in range(20)], [n * n for n in range(20)])


@work
@asynchronous
async def publish_subscribe(layer):
    one, two = layer(RedisPubSubChannelLayer), layer(RedisPubSubChannelLayer)
    channels = [await one.new_channel(), await two.new_channel()]
    await one.group_add("all", channels[0])
    await two.group_add("all", channels[1])
    for n in range(50):
        await one.group_send("all", message(n))
    for owner, channel in ((one, channels[0]), (two, channels[1])):
        equal([(await asyncio.wait_for(owner.receive(channel), 10))["n"] for _ in range(50)], list(range(50)))
    await two.group_discard("all", channels[1])
    await two.send(channels[0], message(1))
    equal(await asyncio.wait_for(one.receive(channels[0]), 10), message(1))


@work
@asynchronous
async def the_server_is_killed(layer):
    mine = layer()
    await mine.send("saved", message(1))
    await mine.group_add("members", "saved")
    await sync_to_async(restart)()
    end = time.monotonic() + 20
    while True:
        # What is sent on a connection that has gone fails, once for each.
        try:
            await mine.group_send("members", message(2))
            break
        except (OSError, ConnectionError):
            assert time.monotonic() < end
    equal([await mine.receive("saved") for _ in range(2)], [message(1), message(2)])


@work
@asynchronous
async def messages_are_left(layer):
    mine = layer()
    await mine.send("left", message(1))
    await mine.group_add("kept", "left")


@kept
@asynchronous
async def messages_and_groups_are_kept(layer):
    mine = layer()
    client = mine.connection(0)
    between(await client.ttl("asgi:group:kept"), 86_000, 86_400)
    between(await client.ttl("asgileft"), 1, 60)
    await mine.group_send("kept", message(2))
    equal([await mine.receive("left") for _ in range(2)], [message(1), message(2)])


async def answer_until_told_to_end():
    layer = RedisChannelLayer(hosts=[URL])
    while True:
        question = await layer.receive("squares")
        await layer.send(question["to"], {"type": "answer", "n": question["n"] ** 2})


if PART == "worker":
    asyncio.run(answer_until_told_to_end())
else:
    run("channels_redis")
