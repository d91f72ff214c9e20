"""Devices of aiomqtt: connect, subscribe, publish; one line on standard output at the end of each phase, one on input begins the next."""

import asyncio
import sys

import aiomqtt

HOST, PORT, KEY, DEVICES, MESSAGES = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])


def phase(name):
    print(name, flush=True)
    sys.stdin.readline()


async def device(number, connected, go, done):
    name = f"aiomqtt-{number:05}"
    async with aiomqtt.Client(HOST, PORT, identifier=name, username=name, password=KEY, max_inflight_messages=1000) as client:
        await client.subscribe("ota-cbor-c2d", qos=1)
        connected.release()
        await go.wait()
        for _ in range(MESSAGES):
            await client.publish("ingest-cbor", b"\xa1\x00\x00", qos=0)
        done.release()
        await asyncio.Event().wait()


async def main():
    connected, done, go = asyncio.Semaphore(0), asyncio.Semaphore(0), asyncio.Event()
    phase("ready")
    tasks = []
    for number in range(DEVICES):
        tasks.append(asyncio.create_task(device(number, connected, go, done)))
        if number % 50 == 49:
            for _ in range(50):
                await connected.acquire()
    for _ in range(DEVICES % 50):
        await connected.acquire()
    phase("connected")
    go.set()
    for _ in range(DEVICES):
        await done.acquire()
    phase("published")


asyncio.run(main())
