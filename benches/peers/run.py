#!/usr/bin/env python3
"""Squall beside clients from the package registries, each against the same `squall serve`: what a device, a message, a download costs.

    python3 benches/peers/run.py [--devices 1000] [--messages 100] [--downloads 2000]

Needs a release build (or SQUALL=PATH), and the peers, which are installed below target/peers:

    python3 -m venv target/peers/venv && target/peers/venv/bin/pip install aiomqtt locust
    npm install --prefix target/peers/node mqtt

Costs are processor time, user and system, of the client's process, which another load on the machine stretches far less than it does
wall-clock time. Memory is the growth of the resident set from before the first connection until all stand.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SQUALL = os.environ.get("SQUALL", str(ROOT / "target/release/squall"))
PYTHON = str(ROOT / "target/peers/venv/bin/python")
LOCUST = str(ROOT / "target/peers/venv/bin/locust")
NODE_MODULES = str(ROOT / "target/peers/node/node_modules")
IMAGE_KIB = 64


class Server:
    """A `squall serve` without TLS, which not every peer can be given an authority for."""

    def __enter__(self):
        command = [SQUALL, "serve", "--tls", "off"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.PIPE)
        self.ready = json.loads(self.process.stdout.readline())
        self.key = json.loads(pathlib.Path(self.ready["credentials"]).read_text())["ingest_key"]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def address(self):
        host, port = re.fullmatch(r"mqtt://(.+):(\d+)", self.ready["mqtt"]).groups()
        return host, port


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))


def measure_client(command, server, devices, messages, environment=None):
    """Processor seconds to connect and to publish, and KiB that the connected devices take."""
    host, port = server.address()
    arguments = [*command, host, port, server.key, str(devices), str(messages)]
    environment = {**os.environ, **(environment or {})}
    client = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    at = {}
    for expected in ("ready", "connected", "published"):
        told = client.stdout.readline().strip()
        if told != expected:
            raise SystemExit(f"{command}: {told or 'ended'} where {expected} was expected")
        time.sleep(0.5)
        at[expected] = (cpu_seconds(client.pid), resident_kib(client.pid))
        client.stdin.write("\n")
        client.stdin.flush()
    client.kill()
    client.wait()
    return {
        "connect_s": at["connected"][0] - at["ready"][0],
        "publish_s": at["published"][0] - at["connected"][0],
        "memory_kib": at["connected"][1] - at["ready"][1],
        "messages": devices * messages,
    }


def squall_run(server, folder, devices, extra, step):
    """Plays a scenario against the server; gives the harness's processor seconds, peak KiB, and the summary."""
    host, port = server.address()
    text = f"""
scenario = {{ duration = "20s", trace = "off", ends = "duration" }}
server = {{ target = "mqtt://{host}:{port}", admin = "{server.ready['admin']}", key = "{server.ready['credentials']}" }}
firmware.app = {{ "1.0.0" = {{}}, "1.1.0" = {{ size = "{IMAGE_KIB} KiB" }} }}
fleet.demo = {{ count = {devices}, runs = "app@1.0.0", arrive = "over 5s", flash = {{ like = "nrf52840", time_scale = 0.01 }}{extra} }}
step = [{step}]
"""
    path = folder / "peer.toml"
    path.write_text(text)
    before = os.times()
    played = subprocess.run([SQUALL, "run", str(path), "-q", "--json", "--out", str(folder / "runs")], capture_output=True, text=True)
    after = os.times()
    if not played.stdout:
        raise SystemExit(played.stderr)
    summary = json.loads(played.stdout)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"cpu_s": spent, "memory_kib": summary["harness"]["memory_bytes"] / 1024, "summary": summary}


def total(summary, metric, **labels):
    return next(row["count"] for row in summary["metrics"] if row["name"] == metric and row["labels"] == labels)


def measure_squall(devices):
    """What a device, a message and a download cost in `squall run`: differences of whole runs, each against a server of its own."""
    deploy = '{ at = "6s", deploy = "app@1.1.0", to = "all" }'
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        runs = {}
        plans = {"one": (1, "", ""), "connected": (devices, "", ""), "flood": (devices // 10, ', cheats = { flood = "100 %" }', ""), "tenth": (devices // 10, "", ""), "update": (devices, "", deploy)}
        for kind, (count, extra, step) in plans.items():
            with Server() as server:
                runs[kind] = squall_run(server, folder, count, extra, step)
    flood = next(row["done"] for row in runs["flood"]["summary"]["faults"] if row["kind"] == "flood")
    downloads = total(runs["update"]["summary"], "requests")
    return {
        "connect_s": runs["connected"]["cpu_s"] - runs["one"]["cpu_s"],
        "memory_kib": runs["connected"]["memory_kib"] - runs["one"]["memory_kib"],
        "publish_s": runs["flood"]["cpu_s"] - runs["tenth"]["cpu_s"],
        "messages": flood,
        "download_s": runs["update"]["cpu_s"] - runs["connected"]["cpu_s"],
        "downloads": downloads,
    }


def artifact(server):
    """Path and secret of an artifact that the server offers to a device of ours."""
    token = json.loads(pathlib.Path(server.ready["credentials"]).read_text())["token"]

    def ask(method, path, body):
        command = ["curl", "-sSf", "-X", method, "-H", f"Authorization: Bearer {token}", server.ready["admin"] + path]
        command += ["--data-binary", "@-"] + (["-H", "Content-Type: application/json"] if method == "POST" else [])
        subprocess.run(command, input=body, check=True, stdout=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory() as name:
        image = pathlib.Path(name) / "image.bin"
        made = [SQUALL, "image", "make", "--version", "1.1.0", "--size", f"{IMAGE_KIB} KiB", "-o", str(image)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        ask("POST", "/v1/firmware", b'{"slug":"app"}')
        ask("PUT", "/v1/firmware/app/versions/1.1.0", image.read_bytes())
    ask("POST", "/v1/devices", b'{"devices":[{"id":"fetcher"}]}')
    ask("POST", "/v1/deployments", b'{"name":"one","cohort":"all","packages":["app@1.1.0"],"main":"app"}')
    host, port = server.address()
    script = f"""
import asyncio, aiomqtt
async def main():
    async with aiomqtt.Client({host!r}, {port}, identifier="fetcher", username="fetcher", password={server.key!r}) as client:
        await client.subscribe("ota-cbor-c2d", qos=1)
        async for message in client.messages:
            print(message.payload.hex())
            return
asyncio.run(asyncio.wait_for(main(), 20))
"""
    told = subprocess.run([PYTHON, "-c", script], check=True, capture_output=True, text=True)
    manifest = bytes.fromhex(told.stdout.strip())
    url = re.search(rb"http://[^/]+(/a/\d+/\d+)", manifest)
    secret = re.search(rb"[A-Za-z0-9_-]{24}", manifest[url.end():])
    return url.group(0).decode(), url.group(1).decode(), secret.group(0).decode()


def measure_locust(server, downloads):
    url, path, secret = artifact(server)
    base = url[: -len(path)]
    environment = {**os.environ, "IMAGE_PATH": path, "SECRET": secret}
    with tempfile.TemporaryDirectory() as name:
        def played(seconds):
            prefix = pathlib.Path(name) / f"s{seconds}"
            command = [LOCUST, "-f", str(HERE / "client_locust.py"), "--headless", "-u", "20", "-r", "20", "-t", f"{seconds}s"]
            command += ["-H", base, "--csv", str(prefix), "--only-summary"]
            before = os.times()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            after = os.times()
            rows = pathlib.Path(f"{prefix}_stats.csv").read_text().splitlines()
            count, failed = (int(field) for field in rows[-1].split(",")[2:4])
            if failed:
                raise SystemExit(f"locust: {failed} downloads failed")
            return after.children_user + after.children_system - before.children_user - before.children_system, count
        short, long = played(3), played(13)
    return {"download_s": long[0] - short[0], "downloads": long[1] - short[1]}


def row(name, figures, devices):
    cell = lambda value, form: "-" if value is None else form.format(value)
    of = lambda part, whole: figures[whole] / max(figures[part], 0.01) if part in figures and whole in figures else None
    connected = devices / max(figures["connect_s"], 0.01) if "connect_s" in figures else None
    memory = figures["memory_kib"] / devices if "memory_kib" in figures else None
    cells = [
        cell(connected, "{:,.0f}"),
        cell(memory, "{:.1f} KiB"),
        cell(of("publish_s", "messages"), "{:,.0f}"),
        cell(of("download_s", "downloads"), "{:,.0f}"),
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--downloads", type=int, default=2000)
    asked = parser.parse_args()
    rows = [row("`squall run`", measure_squall(asked.devices), asked.devices)]
    with Server() as server:
        rows.append(row("aiomqtt", measure_client([PYTHON, str(HERE / "client_aiomqtt.py")], server, asked.devices, asked.messages), asked.devices))
    with Server() as server:
        node = ["node", str(HERE / "client_mqttjs.js")]
        rows.append(row("mqtt.js", measure_client(node, server, asked.devices, asked.messages, {"NODE_PATH": NODE_MODULES}), asked.devices))
    with Server() as server:
        rows.append(row("locust", measure_locust(server, asked.downloads), asked.devices))
    print("| client | connected devices a core-second | memory a device | messages a core-second | downloads a core-second |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    sys.exit(main())
