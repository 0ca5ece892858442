#!/usr/bin/env python3
"""Runs the matrix against one server that is already up and appends JSON lines to
/tmp/mailbench/results/NAME.jsonl; `bench.py report NAME...` prints medians.

  bench.py run NAME [--smtp PORT] [--imap PORT] [--imap-tls implicit|starttls] [--smtp-tls starttls|implicit]
           [--cgroup DIR | --pids P,P] [--drain DIR] [--runs 3] [--scale 1.0] SECTION...
  SECTIONS: e2e conn latency mix big10k big100k idle1000 idle5000 push
Any other server is measured the same way: give ports, and --cgroup or --pids.
"""

import argparse
import json
import os
import statistics as st
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
B = os.environ.get("MAILBENCH", "/tmp/mailbench")
PKI = os.environ.get("MAILBENCH_PKI", B + "/pki")
RES = B + "/results"

E2E = [  # name, size, recipients, messages, connections
    ("2KB x1", 2048, 1, 1500, 8),
    ("2KB x20", 2048, 20, 150, 8),
    ("50KB x1", 51200, 1, 800, 8),
    ("50KB x20", 51200, 20, 100, 8),
    ("1MB x1", 1 << 20, 1, 80, 4),
    ("1MB x20", 1 << 20, 20, 12, 4),
    ("10MB x1", 10 << 20, 1, 10, 2),
    ("10MB x20", 10 << 20, 20, 3, 2),
]


def drain(d):
    if not d:
        return
    end = time.time() + 180
    while time.time() < end:
        qs = ("incoming", "active", "maildrop") if os.path.isdir(d + "/active") else ("",)
        n = sum(len(f) for q in qs for _, _, f in os.walk(f"{d}/{q}"))
        if n == 0:
            return
        time.sleep(0.2)


class Runner:
    def __init__(self, a):
        self.a = a
        self.out = f"{RES}/{a.name}.jsonl"
        os.makedirs(RES, exist_ok=True)
        self.tls = ["-C", PKI + "/client.crt", "-K", PKI + "/client.key", "-A", PKI + "/ca.crt", "-S", "mx.mss.test"]
        self.dkim = ["--dkim-key", PKI + "/dkim.key"]
        self.srv = ["-p", str(a.smtp), "-P", str(a.imap), "-t", a.smtp_tls, "-T", a.imap_tls]
        self.use = ["--cgroup", a.cgroup] if a.cgroup else (["--pids", a.pids] if a.pids else [])

    def ml(self, section, case, cmd, args, extra_use=()):
        drain(self.a.drain)
        p = subprocess.run(
            [
                HERE + "/mailload",
                cmd,
                *self.srv,
                *self.tls,
                *self.use,
                *extra_use,
                *map(str, args),
                "-L",
                f"{section}:{case}",
            ],
            capture_output=True,
            text=True,
        )
        try:
            r = json.loads(p.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            r = {"broken": p.stderr[-500:], "rc": p.returncode}
        r.update(section=section, case=case, at=time.strftime("%F %T"), load1=os.getloadavg()[0])
        with open(self.out, "a") as f:
            f.write(json.dumps(r) + "\n")
        brief = {
            k: r[k]
            for k in (
                "msgs_per_s",
                "e2e_msgs_per_s",
                "ops_per_s",
                "server_cpu_s_per_1000",
                "lost",
                "duplicates",
                "failed",
                "pss_kb_per_conn",
                "memavail_kb_per_conn",
                "ramp_s",
                "other_load_pct",
                "steal_pct",
                "errors",
                "broken",
            )
            if k in r
        }
        print(time.strftime("%T"), section, case, json.dumps(brief), flush=True)
        return r

    def e2e(self, only=None):
        for name, size, rc, n, c in E2E:
            if only and name not in only:
                continue
            self.ml(
                "e2e",
                name,
                "e2e",
                [
                    *self.dkim,
                    "-c",
                    c,
                    "-n",
                    max(2, int(n * self.a.scale)),
                    "-s",
                    size,
                    "-r",
                    rc,
                    "--ucount",
                    20,
                    "--timeout",
                    60,
                    "--poll",
                    self.a.poll,
                ],
            )

    def conn(self):
        n = int(800 * self.a.scale)
        for k, nm in ((0, "reuse"), (1, "new TLS session per message")):
            self.ml("conn", nm, "smtp", [*self.dkim, "-c", 8, "-n", n, "-s", 2048, "-k", k, "--ucount", 20])

    def latency(self):
        for rate, size, c, nm in ((20, 51200, 4, "50KB 20/s reuse"), (5, 1 << 20, 4, "1MB 5/s reuse")):
            self.ml(
                "latency", nm, "smtp", [*self.dkim, "-c", c, "-n", rate * 10, "-s", size, "-R", rate, "--ucount", 20]
            )
        self.ml(
            "latency",
            "50KB 20/s new session each",
            "smtp",
            [*self.dkim, "-c", 4, "-n", 200, "-s", 51200, "-R", 20, "-k", 1, "--ucount", 20],
        )

    def mix(self):
        self.ml(
            "mix",
            "8 clients short sessions",
            "imap",
            [
                "-c",
                8,
                "--ucount",
                8,
                "-l",
                int(25 * self.a.scale) or 1,
                "-s",
                51200,
                "-o",
                "status,select,fetchlist,fetchbody*10,store*5,append*2,noop*3,searchunseen",
                "--timeout",
                120,
            ],
        )

    def big(self, which):
        ops = "select,fetchenv,fetchall,fetchflags,fetchlist,searchsubj,searchbody,store*200,storeall,fetchbody*200,append*50,expunge"
        self.ml(
            which,
            "1 client",
            "imap",
            [
                "-c",
                1,
                "--user",
                which + "@mss.test",
                "-l",
                1,
                "-s",
                3000,
                "-o",
                self.a.ops or ops,
                "--timeout",
                500,
                "--max-seconds",
                560,
            ],
        )

    def idle(self, n):
        u = ["--pids", self.a.pids] if self.a.pids else []
        self.ml(
            f"idle{n}",
            f"{n} IDLE TLS connections",
            "idle",
            ["-c", n, "--ucount", 1000, "--hold", 10, "--ramp", self.a.ramp, "--timeout", 180],
            u,
        )

    def push(self):
        u = ["--pids", self.a.pids] if self.a.pids else []
        self.ml(
            "push",
            "20 idle, 1 message at a time",
            "idle",
            [*self.dkim, "-c", 20, "--ucount", 20, "--hold", 1, "--push", 40, "-n", 40, "-s", 2048],
            u,
        )


def med(v):
    return st.median(v) if v else float("nan")


def rng(v, f="{:.1f}"):
    return f"{f.format(med(v))} ({f.format(min(v))}-{f.format(max(v))})" if v else "-"


def report(names):
    for name in names:
        if not os.path.exists(f"{RES}/{name}.jsonl"):
            continue
        rows = [json.loads(l) for l in open(f"{RES}/{name}.jsonl")]
        keys = []
        for r in rows:
            if (r["section"], r["case"]) not in keys:
                keys.append((r["section"], r["case"]))
        print(f"\n### {name}\n")
        print(
            "| section | case | runs | accepted msg/s | e2e msg/s | MB/s | CPU s/1000 msg | tx p50 / p95 / p99 ms | connect p50 ms | lost/dup | errors | other load % |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
        )
        for k in keys:
            rs = [r for r in rows if (r["section"], r["case"]) == k and "broken" not in r]
            if not rs or rs[0]["cmd"] not in ("smtp", "e2e"):
                continue
            g = lambda f: [r[f] for r in rs if f in r]
            t = lambda f, q: med([r[f][q] for r in rs])
            err = {}
            for r in rs:
                for e, n in r["errors"].items():
                    err[e] = err.get(e, 0) + n
            print(
                f"| {k[0]} | {k[1]} | {len(rs)} | {rng(g('msgs_per_s'))} | {rng(g('e2e_msgs_per_s'))} | {med(g('mb_per_s')):.2f} | {rng(g('server_cpu_s_per_1000'), '{:.2f}')} | {t('transaction', 'p50_ms'):.1f} / {t('transaction', 'p95_ms'):.1f} / {t('transaction', 'p99_ms'):.1f} | {t('connect+tls+ehlo', 'p50_ms'):.1f} | {sum(g('lost'))}/{sum(g('duplicates'))} | {err or '-'} | {med(g('other_load_pct')):.0f} |"
            )
        print("\n| section | case | runs | op | n | p50 ms (min-max of runs) | p99 ms |\n|---|---|---|---|---|---|---|")
        for k in keys:
            rs = [r for r in rows if (r["section"], r["case"]) == k and "broken" not in r and r["cmd"] == "imap"]
            if not rs:
                continue
            for op in dict.fromkeys(o for r in rs for o in r["lat"]):
                v = [r["lat"][op]["p50_ms"] for r in rs if op in r["lat"]]
                w = [r["lat"][op]["p99_ms"] for r in rs if op in r["lat"]]
                print(
                    f"| {k[0]} | {k[1]} | {len(v)} | {op} | {rs[-1]['lat'].get(op, {}).get('n', '')} | {rng(v, '{:.2f}')} | {med(w):.2f} |"
                )
            err = [r["errors"] for r in rs if r["errors"]]
            print(
                f"| {k[0]} | {k[1]} | {len(rs)} | **ops/s** | | {rng([r['ops_per_s'] for r in rs])} | CPU s/1000 ops {rng([r.get('server_cpu_s_per_1000', 0) for r in rs], '{:.2f}')} {err or ''} |"
            )
        idl = [r for r in rows if r.get("cmd") == "idle"]
        if idl:
            print(
                "\n| case | idle | failed | opened per s | PSS KB/conn | RSS KB/conn | private KB/conn | MemAvailable KB/conn | CPU s while idle (hold) | push 250-to-EXISTS p50/p99 ms | dot-to-EXISTS p50 ms | errors |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
            )
            for k in keys:
                for r in [r for r in idl if (r["section"], r["case"]) == k]:
                    p = r.get("250-to-EXISTS", {})
                    d = r.get("dot-to-EXISTS", {})
                    print(
                        f"| {k[1]} | {r['idle']} | {r['failed']} | {r['logins_per_s']:.0f} | {r['pss_kb_per_conn']:.0f} | {r['rss_kb_per_conn']:.0f} | {r['private_kb_per_conn']:.0f} | {r['memavail_kb_per_conn']:.0f} | {r.get('server_cpu_s', 0):.2f} / {r.get('window_s', 0):.0f} s | {p.get('p50_ms', '-')} / {p.get('p99_ms', '-')} | {d.get('p50_ms', '-')} | {r['errors'] or '-'} |"
                    )
        bad = [r for r in rows if "broken" in r]
        if bad:
            print("\nbroken runs:", [(r["section"], r["case"], r["broken"]) for r in bad])


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "report":
        report(sys.argv[2:])
        sys.exit()
    p = argparse.ArgumentParser()
    p.add_argument("run")
    p.add_argument("name")
    p.add_argument("sections", nargs="+")
    p.add_argument("--smtp", type=int, default=12525)
    p.add_argument("--imap", type=int, default=12993)
    p.add_argument("--imap-tls", default="implicit")
    p.add_argument("--smtp-tls", default="starttls")
    p.add_argument("--cgroup")
    p.add_argument("--pids")
    p.add_argument("--drain")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--scale", type=float, default=1.0)
    p.add_argument("--poll", type=float, default=0.25)
    p.add_argument("--ops")
    p.add_argument("--only", action="append")
    p.add_argument("--ramp", type=int, default=32)
    a = p.parse_args()
    r = Runner(a)
    for i in range(a.runs):
        for s in a.sections:
            if s == "e2e":
                r.e2e(a.only)
            elif s.startswith("big"):
                r.big(s)
            elif s.startswith("idle"):
                r.idle(int(s[4:]))
            else:
                getattr(r, s)()
