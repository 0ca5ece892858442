#!/usr/bin/env python3
"""The table that docs/performance.md shows: medians of two result files of bench.py, and their ratio.

ratios.py PEER.jsonl OWN.jsonl
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FIGURES: dict[str, Callable[[Row], float | None]] = {
    "end to end, msg/s": lambda row: row.get("e2e_msgs_per_s") if row["cmd"] == "e2e" else None,
    "accepted, msg/s": lambda row: row.get("msgs_per_s") if row["cmd"] == "smtp" else None,
    "CPU, ms/msg": lambda row: row.get("server_cpu_s_per_1000") if row["cmd"] in ("e2e", "smtp") else None,
    "250 to EXISTS, ms": lambda row: row.get("250-to-EXISTS", {}).get("p50_ms"),
}


def medians(path: str) -> dict[tuple[str, str], float]:
    """(case, figure) → median over the runs of one file."""
    values: dict[tuple[str, str], list[float]] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for figure, of in FIGURES.items():
            value = None if "broken" in row else of(row)
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
