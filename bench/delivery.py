#!/usr/bin/env python3
"""Outbound mail and connections that bring nothing, on this machine's loopback; appends JSON lines to
/tmp/mailbench/results/delivery.jsonl (MAILBENCH names another folder) and prints them. Run by the project's interpreter: .venv/bin/python bench/delivery.py

  delivery.py [--runs 3] [--scale 1.0] [--peer] SCENARIO...
  kept     messages to one destination: sessions are kept
  new      as many destinations as messages: a new mutual-TLS session for each
  dead     900 destinations, then the same 900 and 100 dead ones (refuse, drop SYN, hang after the banner)
  long     100,000 recipients in the queue: rate by tenth, memory
  held     connections of each kind, and what one costs: idle after TLS or AUTH, half a handshake, dripping, noise
--peer does kept, new and long with Postfix too. The queue is filled first, the time runs from the first delivery on.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import ssl
import statistics
import subprocess
import threading
import time

from delivery_rig import DEAD, DESTINATIONS, HERE, OUT, PASSWORD, PORT, RES, SENDER, DeadPeers, Ours, Postfix, Sink


def tell(**figures):
    figures["at"] = time.strftime("%F %T")
    figures["load1"] = os.getloadavg()[0]
    RES.parent.mkdir(parents=True, exist_ok=True)
    with RES.open("a") as out:
        out.write(json.dumps(figures) + "\n")
    print(json.dumps(figures), flush=True)


def drain(scenario, case, sender, messages, *, dead=None, seconds=600, expected=None):
    """Fills, starts, waits until the sink has all that can arrive, tells."""
    sink = Sink()
    try:
        sender.route(dead)
        sender.fill(messages)
        cpu0 = sender.cpu_s if isinstance(sender, Postfix) else 0.0
        sender.start()
        if not cpu0:
            cpu0 = sender.cpu_s
        memory = [(0, sender.memory_kib())]
        begun = time.monotonic()
        expected = expected or sum(map(len, messages))
        watching = threading.Event()

        def watch():
            while not watching.wait(0.5):
                memory.append((sink.recipients, sender.memory_kib()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        sink.wait(expected, seconds)
        cpu = sender.cpu_s - cpu0
        watching.set()
        watcher.join()
        seen = [(each["t"] - begun, each["recipients"]) for each in sink.seen]
        took = seen[-1][0]
        marks = [next((t for t, n in seen if n >= expected * part / 10), float("nan")) for part in range(1, 11)]
        first = next((t for t, n in seen if n), float("nan"))
        last = sink.seen[-1]
        tell(
            scenario=scenario, case=case, server=sender.name, recipients=last["recipients"], expected=expected, duplicates=last["duplicates"],
            sessions=last["sessions"], first_s=round(first, 2), seconds=round(took, 2), per_s=round(last["recipients"] / (took - first or 1), 1),
            cpu_ms_each=round(cpu * 1000 / max(1, last["recipients"]), 3), at_90_s=round(marks[8], 2),
            by_tenth=[round(expected / 10 / max(0.001, b - a), 1) for a, b in zip([first, *marks], marks)],
            memory_mb=[round(max(kib for n, kib in memory if n <= expected * part / 10) / 1024) for part in range(0, 11, 2)],
        )  # fmt: skip
    finally:
        sender.stop()
        sink.close()


def each_sender(a, scenario, case, messages, **more):
    Ours()  # whose keys and names the peer borrows
    if a.peer:
        drain(scenario, case, Postfix(reuse=scenario != "new"), messages, **more)
    drain(scenario, case, Ours(), messages, **more)


def kept(a):
    each_sender(a, "kept", "one destination", [[0]] * int(2000 * a.scale))


def new(a):
    each_sender(a, "new", "a destination each", [[number] for number in range(int(DESTINATIONS * min(1, a.scale)))])


def long(a):
    recipients = int(100_000 * a.scale)
    messages = [[(start + place) % DESTINATIONS for place in range(10)] for start in range(0, recipients, 10)]
    each_sender(a, "long", f"{recipients} recipients", messages, seconds=1800)


def dead(a):
    alive, each = DESTINATIONS - DEAD, max(1, int(5 * a.scale))
    for case, among in (("900 destinations", alive), ("900 and 100 dead", DESTINATIONS)):
        messages = [[number] for _ in range(each) for number in range(among - 1, -1, -1)]  # the dead ones first
        peers = DeadPeers()
        try:
            drain("dead", case, Ours(), messages, dead=peers, expected=alive * each, seconds=300)
        finally:
            peers.close()


# --- connections that bring nothing ----------------------------------------------------------------------------------


class Caller:
    """One client connection; what it does then is a method's name."""

    def __init__(self, port, number, tls):
        self.port, self.source, self.tls = port, f"127.0.0.{2 + number % 20}", tls

    async def _open(self, **tls):
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(self.source, 0), **tls
        )

    async def _say(self, line):
        self.writer.write(line + b"\r\n")
        while True:
            answer = await self.reader.readline()
            if len(answer) < 4 or answer[3:4] == b" ":
                return answer

    async def _greeted(self):
        await self._open()
        await self.reader.readline()
        await self._say(b"EHLO bench.test")

    async def silent(self):
        """Connected, and nothing said."""
        await self._open()
        await self.reader.readline()

    async def ehlo(self):
        """EHLO in clear, then silence."""
        await self._greeted()

    async def idle(self):
        """TLS (on the MX with a certificate), EHLO, then silence."""
        await self._greeted()
        await self._say(b"STARTTLS")
        await self.writer.start_tls(self.tls, server_hostname="mx.mss.test")
        await self._say(b"EHLO bench.test")

    async def signed_in(self):
        await self.idle()
        answer = await self._say(b"AUTH PLAIN " + base64.b64encode(f"\0{SENDER}\0{PASSWORD}".encode()))
        assert answer.startswith(b"235"), answer

    async def half(self, part=2):
        """STARTTLS, and the first half of a ClientHello."""
        await self._greeted()
        await self._say(b"STARTTLS")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.wrap_bio(incoming, outgoing, server_hostname="mx.mss.test").do_handshake()
        hello = outgoing.read()
        self.writer.write(hello[: len(hello) // part])

    async def hello(self):
        """STARTTLS, a ClientHello, and no more."""
        await self.half(1)

    async def drip(self):
        """One octet of a command at a time."""
        await self.silent()
        self.dripping = asyncio.create_task(self._drip())

    async def _drip(self):
        with contextlib.suppress(ConnectionError):
            while True:
                self.writer.write(b"N")
                await asyncio.sleep(2)

    async def long_line(self):
        """As much of a command line as is taken, without its end."""
        await self.idle()
        self.writer.write(b"N" * 65536)

    async def noise(self):
        """AUTH with noise in it, twice."""
        await self.idle()
        for word in (os.urandom(48), b"\0nobody@mss.test\0" + os.urandom(9).hex().encode()):
            await self._say(b"AUTH PLAIN " + base64.b64encode(word))

    def close(self):
        if hasattr(self, "dripping"):
            self.dripping.cancel()
        self.writer.transport.abort()


async def hold(server, port, kind, count, tls):
    callers = [Caller(port, number, tls) for number in range(count)]
    for start in range(0, count, 50):
        await asyncio.gather(*(getattr(each, kind)() for each in callers[start : start + 50]))
    await asyncio.sleep(1)
    memory = server.memory_kib()
    for each in callers:
        each.close()
    await asyncio.sleep(1.5)
    return memory


async def _held(a):
    server = Ours()
    server.route()
    pki = OUT / "sink" / "pki"
    tls = ssl.create_default_context(cafile=pki / "ca.pem")
    tls.check_hostname = False
    tls.load_cert_chain(pki / "operator.pem", pki / "operator.key")
    count = int(1000 * a.scale)
    mx, submission = (
        ("silent", "ehlo", "half", "hello", "drip", "idle", "long_line"),
        ("ehlo", "half", "hello", "drip", "idle", "long_line", "noise", "signed_in"),
    )
    for port, kinds in ((PORT, mx), (PORT + 1, submission)):
        for kind in kinds:
            server.start()
            try:
                await hold(server, port, kind, 100, tls)  # what the first ones cost is not per connection
                before = server.memory_kib()
                cpu = server.cpu_s
                during = await hold(server, port, kind, count, tls)
                tell(scenario="held", case=f"{'MX' if port == PORT else 'submission'} {kind}", server="mssante", connections=count, kb_each=round((during - before) / count, 1), cpu_ms_each=round((server.cpu_s - cpu) * 1000 / count, 2), before_mb=round(before / 1024, 1), after_mb=round(server.memory_kib() / 1024, 1))  # fmt: skip
            finally:
                server.stop()


def held(a):
    asyncio.run(_held(a))


def report():
    rows = [json.loads(line) for line in RES.open()]
    print(
        "| scenario | case | server | runs | a second | CPU ms each | sessions | lost/dup | a second by tenth | memory MB, at most by 0, 20 .. 100 % |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for key in dict.fromkeys((r["scenario"], r["case"], r["server"]) for r in rows if r["scenario"] != "held"):
        rs = [r for r in rows if (r["scenario"], r["case"], r["server"]) == key]
        mid = lambda name: statistics.median(r[name] for r in rs)
        print(
            f"| {' | '.join(key)} | {len(rs)} | {mid('per_s'):.0f} | {mid('cpu_ms_each'):.2f} | {mid('sessions'):.0f} | {sum(r['expected'] - r['recipients'] for r in rs)}/{sum(r['duplicates'] for r in rs)} | {' '.join(f'{t:.0f}' for t in rs[-1]['by_tenth'])} | {' '.join(map(str, rs[-1]['memory_mb']))} |"
        )
    print("\n| held | KB each | CPU ms each |\n|---|---|---|")
    for case in dict.fromkeys(r["case"] for r in rows if r["scenario"] == "held"):
        rs = [r for r in rows if r["case"] == case]
        print(
            f"| {case} | {statistics.median(r['kb_each'] for r in rs)} | {statistics.median(r['cpu_ms_each'] for r in rs)} |"
        )


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("scenarios", nargs="+", choices=("kept", "new", "dead", "long", "held", "report"))
    p.add_argument("--runs", type=int, default=1)
    p.add_argument("--scale", type=float, default=1.0)
    p.add_argument("--peer", action="store_true")
    a = p.parse_args()
    subprocess.run(["make", "-s", "-C", HERE, "mailload"], check=True)
    for _ in range(a.runs):
        for each in a.scenarios:
            report() if each == "report" else globals()[each](a)
