"""What the outbound scenarios run against: the receiving side, dead peers, this operator and Postfix as senders.

Queues of a hundred thousand are filled through the store, before the operator starts: by the front door that takes
longer than their delivery. All else is from outside."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from mssante.config import load
from mssante.domain.address import parse_address
from mssante.domain.clock import SystemClock
from mssante.mime.scanner import Scanner
from mssante.store import Store
from mssante.store.keys import read_master_key
from mssante.store.mail import NewMessage, add_message
from mssante.store.queue import QueueRecipient, enqueue

HERE = Path(__file__).resolve().parent
B = Path(os.environ.get("MAILBENCH", "/tmp/mailbench"))
OUT, RES = B / "delivery", B / "results" / "delivery.jsonl"
MSSANTE = os.environ.get("MSSANTE", str(Path(sys.executable).parent / "mssante"))
PORT = int(os.environ.get("MAILBENCH_PORT", "15500")) + 100
SINK, INSIDE = PORT + 90, PORT + 92
DESTINATIONS, DEAD = 1000, 100
SENDER, PASSWORD = "dr.bench@mss.test", "secret-of-the-bench"
TICK = os.sysconf("SC_CLK_TCK")


def domain(number):
    return f"d{number:04d}.test"


def address(number):
    """An IP address of its own, so that the peer too sees as many destinations."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def body(number, size=2048):
    head = f"From: {SENDER}\r\nTo: u@dest.test\r\nSubject: Bench {number}\r\nMessage-ID: <b-{time.time_ns()}-{number}@mss.test>\r\n"
    head += "Date: Mon, 02 Mar 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
    return (head + "Compte-rendu de consultation, suivi et bilan.\r\n" * ((size - len(head)) // 47)).encode()


# --- what takes the mail ---------------------------------------------------------------------------------------------


class Sink:
    """mailload sink, and what it told: `seen` is a list of its lines."""

    def __init__(self):
        pki = OUT / "sink" / "pki"
        self.seen = []
        command = [
            HERE / "mailload",
            "sink",
            "-p",
            SINK,
            "-C",
            pki / "operator.pem",
            "-K",
            pki / "operator.key",
            "-A",
            pki / "ca.pem",
            "--max-seconds",
            3600,
        ]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.seen.append(json.loads(line))

    @property
    def recipients(self):
        return self.seen[-1]["recipients"] if self.seen else 0

    def wait(self, recipients, seconds):
        end, last = time.time() + seconds, (0, time.time())
        while self.recipients < recipients and time.time() < end and time.time() - last[1] < 60:
            if self.recipients > last[0]:
                last = (self.recipients, time.time())
            time.sleep(0.05)

    def close(self):
        self.process.terminate()
        self.process.wait()


class DeadPeers:
    """One address each that refuses, that drops SYN (its accept queue is full), that greets and says no more."""

    def __init__(self):
        self.open = []
        self.hole = self._listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(self.hole)
            self.open.append(filler)
        self.mute = self._listen(1000)
        threading.Thread(target=self._greet, args=(self.open[-1],), daemon=True).start()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.closed = free.getsockname()

    def _listen(self, backlog):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        self.open.append(listener)
        return listener.getsockname()

    def _greet(self, listener):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                peer.sendall(b"220 hangs\r\n")
                self.open.append(peer)

    def of(self, number):
        return (self.closed, self.hole, self.mute)[number % 3]

    def close(self):
        for each in self.open:
            each.close()


# --- who sends -------------------------------------------------------------------------------------------------------


class Ours:
    name = "mssante"

    def __init__(self):
        self.config = OUT / "a" / "mssante.toml"
        if not (OUT / "ok").exists():
            shutil.rmtree(OUT, ignore_errors=True)
            OUT.mkdir(parents=True)
            init = [MSSANTE, "init"]
            run(
                *init,
                OUT / "a",
                "--operator",
                "Bench",
                "--domain",
                "mss.test",
                "--port-base",
                PORT,
                "--dns",
                "127.0.0.1:9",
            )
            domains = [word for number in range(DESTINATIONS) for word in ("--domain", domain(number))]
            run(
                *init,
                OUT / "sink",
                "--operator",
                "Sink",
                "--hostname",
                "sink.test",
                "--port-base",
                PORT + 20,
                "--join",
                OUT / "a",
                *domains,
            )
            run(
                MSSANTE,
                "-c",
                self.config,
                "bal",
                "create",
                SENDER,
                "--type",
                "ORG",
                "--finess",
                "750000002",
                "--nom",
                "BENCH",
                "--password-stdin",
                given=PASSWORD,
            )
            shutil.copytree(OUT / "a", OUT / "fresh", symlinks=True)
            (OUT / "ok").touch()
        shutil.rmtree(OUT / "a")
        shutil.copytree(OUT / "fresh", OUT / "a", symlinks=True)

    def route(self, dead=None):
        lines = ["[routes]", f'"mss.test" = "127.0.0.1:{PORT}"']
        for number in range(DESTINATIONS):
            there = (address(number), SINK) if dead is None or number < DESTINATIONS - DEAD else dead.of(number)
            lines.append(f'"{domain(number)}" = "{there[0]}:{there[1]}"')
        (OUT / "a" / "espace" / "routes.toml").write_text("\n".join(lines) + "\n")

    def fill(self, messages):
        """Queues messages, each a list of destination numbers."""
        asyncio.run(self._fill(messages))

    async def _fill(self, messages):
        settings = load(self.config)
        store = await asyncio.to_thread(
            lambda: Store.open(
                settings.store.database,
                settings.store.contents,
                read_master_key(settings.store.master_key),
                clock=SystemClock(),
                base=settings.directory,
            )
        )
        expires_us = SystemClock().now_us() + 5 * 86400 * 1_000_000

        async def post(number, destinations):
            content, scanner, writer = body(number), Scanner(), store.contents.begin()
            scanner.feed(content)
            writer.write(content)
            pending = writer.finish()
            new = NewMessage(pending, SystemClock().now_us(), b"Received: by bench\r\n", scanner.finish().encode())
            rcpts = [QueueRecipient(parse_address(f"u@{domain(each)}")) for each in destinations]
            await store.write(
                lambda tx: enqueue(tx, add_message(tx, new), SENDER, rcpts, expires_us=expires_us), contents=(pending,)
            )

        for start in range(0, len(messages), 500):
            await asyncio.gather(
                *(post(start + place, each) for place, each in enumerate(messages[start : start + 500]))
            )
        await asyncio.to_thread(store.close)

    def start(self):
        self.log = (OUT / "serve.log").open("ab")
        self.process = subprocess.Popen(
            [MSSANTE, "-c", str(self.config), "serve"], stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        assert self.process.stdout.readline().startswith("ready"), "see serve.log"

    @property
    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_kib(self, field="VmRSS"):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        return 0

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


class Postfix:
    """An instance of its own, on loopback; its processes' CPU by their cgroup."""

    name = "postfix"
    group = Path("/sys/fs/cgroup/cpuacct/mailbench/delivery")

    def __init__(self, reuse=True):
        self.base = base = B / "postfix-out"
        shutil.rmtree(base, ignore_errors=True)
        for part in ("etc", "spool", "data"):
            (base / part).mkdir(parents=True)
        shutil.chown(base / "data", "postfix")
        pki = OUT / "a" / "pki"
        for name in ("operator.pem", "operator.key", "ca.pem"):
            shutil.copy(pki / name, base / "etc" / name)
        (base / "etc" / "transport").write_text(
            "".join(f"{domain(n)} smtp:[{address(n)}]:{SINK}\n" for n in range(DESTINATIONS))
        )
        (base / "etc" / "main.cf").write_text(f"""compatibility_level = 3.6
config_directory = {base}/etc
queue_directory = {base}/spool
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/maillog
maillog_file_prefixes = /tmp
myhostname = mx.mss.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtp_host_lookup = native
transport_maps = texthash:{base}/etc/transport
defer_transports = smtp
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = hostname
smtp_tls_policy_maps = static:{{verify match=sink.test}}
smtp_tls_cert_file = {base}/etc/operator.pem
smtp_tls_key_file = {base}/etc/operator.key
smtp_tls_CAfile = {base}/etc/ca.pem
smtp_tls_session_cache_database =
smtp_tls_connection_reuse = {"yes" if reuse else "no"}
default_process_limit = 100
""")
        master = Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()
        lines = [
            f"127.0.0.1:{INSIDE} inet n - n - - smtpd" if line.startswith("smtp      inet") else line for line in master
        ]
        for place, line in enumerate(lines):
            words = line.split()
            if len(words) >= 8 and not line[0].isspace() and line[0] != "#":
                words[4] = "n"
                lines[place] = " ".join(words)
        lines.append("tlsproxy unix - - n - 0 tlsproxy")
        (base / "etc" / "master.cf").write_text("\n".join(lines) + "\n")
        for name in ("dynamicmaps.cf",):
            if Path("/etc/postfix", name).exists():
                shutil.copy(f"/etc/postfix/{name}", base / "etc" / name)
        self.group.mkdir(parents=True, exist_ok=True)
        in_group = f"echo $$ > {self.group}/cgroup.procs; exec postfix -c {base}/etc start"
        subprocess.run(["sh", "-c", in_group], check=True, capture_output=True)

    def route(self, dead=None):
        pass

    def fill(self, messages):
        """By its own SMTP door, one session; transports are deferred meanwhile."""
        import smtplib

        def post(part):
            with smtplib.SMTP("127.0.0.1", INSIDE) as smtp:
                for number, destinations in part:
                    smtp.sendmail(SENDER, [f"u@{domain(each)}" for each in destinations], body(number))

        numbered = list(enumerate(messages))
        threads = [threading.Thread(target=post, args=(numbered[start::4],)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while any(
            (self.base / "spool" / part).exists() and any(f for _, _, f in os.walk(self.base / "spool" / part))
            for part in ("incoming", "active")
        ):
            time.sleep(0.2)

    def start(self):
        run("postconf", "-c", self.base / "etc", "-e", "defer_transports=")
        run("postfix", "-c", self.base / "etc", "reload")
        run("postqueue", "-c", self.base / "etc", "-f")

    @property
    def cpu_s(self):
        return int((self.group / "cpuacct.usage").read_text()) / 1e9

    def memory_kib(self, field=""):
        total = 0
        for pid in (self.group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total

    def stop(self):
        run("postfix", "-c", self.base / "etc", "stop")


def run(*words, given=""):
    done = subprocess.run([str(word) for word in words], input=given, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))[:200]}: {done.stderr}")


# --- scenarios -------------------------------------------------------------------------------------------------------
