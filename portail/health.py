"""Health and metrics over plain HTTP on its own port: ``/healthz`` and ``/metrics``.

Always true here: nothing about a person or a message is told, only counts; a request is bounded (8 KB of head, no
body is read,
10 seconds); values are asked from the living rooms when somebody looks, so counting costs them nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import h11
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

REQUEST_SECONDS = 10
HEAD_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Figure:
    """One number for the operator's dashboards. ``value`` and ``labels`` are called on the event loop and must be
    quick."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    value: Callable[[], float]
    labels: Callable[[], Mapping[str, str]] = dict


class _Figures:
    def __init__(self, figures: Sequence[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        for figure in self._figures:
            family = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
            labels = figure.labels()
            metric = family(figure.name, figure.help, labels=list(labels))
            metric.add_metric(list(labels.values()), figure.value())
            yield metric


class HealthServer:
    """``GET /healthz`` is 200 with ``ok``, or 503 with the fault that ``check`` names; ``GET /metrics`` is
    Prometheus text."""

    def __init__(self, figures: Sequence[Figure], check: Callable[[], str | None]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(figures))
        self._check = check

    async def start(self, host: str, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, host, port, limit=HEAD_LIMIT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await self._request(peer, reader)
                if request is not None:
                    status, content_type, body = self._answer(request)
                    head = h11.Response(
                        status_code=status,
                        headers=[
                            ("Content-Type", content_type),
                            ("Content-Length", str(len(body))),
                            ("Connection", "close"),
                        ],
                    )
                    writer.write(
                        (peer.send(head) or b"")
                        + (peer.send(h11.Data(data=body)) or b"")
                        + (peer.send(h11.EndOfMessage()) or b"")
                    )
                    await writer.drain()
        except (h11.RemoteProtocolError, TimeoutError, ConnectionError):
            # A monitor that speaks nonsense or goes away is owed nothing but the end of its connection.
            writer.transport.abort()
            return
        writer.close()

    async def _request(self, peer: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
        while True:
            event = peer.next_event()
            if event is h11.NEED_DATA:
                peer.receive_data(await reader.read(HEAD_LIMIT))
            elif isinstance(event, h11.Request):
                return event
            else:
                return None

    def _answer(self, request: h11.Request) -> tuple[int, str, bytes]:
        plain = "text/plain; charset=utf-8"
        if request.method != b"GET":
            return 405, plain, b"GET only\n"
        if request.target == b"/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(self._registry)
        if request.target == b"/healthz":
            fault = self._check()
            return (200, plain, b"ok\n") if fault is None else (503, plain, fault.encode() + b"\n")
        return 404, plain, b"/healthz or /metrics\n"
