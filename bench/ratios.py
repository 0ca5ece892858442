#!/usr/bin/env python3
"""The table that docs/performance.md shows: medians of two result files of bench.py, and their ratio.

ratios.py PEER.jsonl OWN.jsonl
"""

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
OPERATIONS = {
    "select": "SELECT",
    "fetchenv": "FETCH 1:* (ENVELOPE)",
    "fetchall": "FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)",
    "fetchflags": "FETCH 1:* (UID FLAGS)",
    "fetchlist": "FETCH of the newest 50",
    "searchsubj": "SEARCH SUBJECT",
    "searchbody": "SEARCH BODY",
    "store": "STORE of one message",
    "storeall": "STORE 1:*",
    "fetchbody": "FETCH of one body",
    "append": "APPEND",
    "expunge": "EXPUNGE of 100",
}


def figures(row: Row) -> dict[str, float | None]:
    """What the table shows of one run, by name."""
    cmd, cpu = row["cmd"], row.get("server_cpu_s_per_1000")
    if cmd == "imap":
        times = {f"{label}, p50 ms": row["lat"].get(op, {}).get("p50_ms") for op, label in OPERATIONS.items()}
        short = row["section"] == "mix"
        return {"operations/s": row["ops_per_s"], "CPU, ms/operation": cpu} if short else times
    if cmd == "idle":
        pushed = row.get("250-to-EXISTS", {}).get("p50_ms")
        return {"250 to EXISTS, ms": pushed} if pushed else {"memory, KB/connection": row.get("pss_kb_per_conn")}
    return {
        "end to end, msg/s": row.get("e2e_msgs_per_s"),
        "accepted, msg/s": row.get("msgs_per_s") if cmd == "smtp" else None,
        "CPU, ms/msg": cpu,
    }


def medians(path: str) -> dict[tuple[str, str], float]:
    """(case, figure) → median over the runs of one file."""
    values: dict[tuple[str, str], list[float]] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for figure, value in ({} if "broken" in row else figures(row)).items():
            if value is not None:
                values.setdefault((f"{row['section']} {row['case']}", figure), []).append(value)
    return {key: statistics.median(found) for key, found in values.items()}


def table(peer: dict[tuple[str, str], float], own: dict[tuple[str, str], float]) -> Iterator[str]:
    yield "| work | figure | peer | here | ratio |"
    yield "|---|---|---|---|---|"
    for key in peer:
        if key in own and peer[key]:
            yield f"| {key[0]} | {key[1]} | {peer[key]:.4g} | {own[key]:.4g} | {own[key] / peer[key]:.2f} |"


if __name__ == "__main__":
    print("\n".join(table(medians(sys.argv[1]), medians(sys.argv[2]))))
