"""Health and metrics over plain HTTP on their own port: ``/healthz`` and ``/metrics``.

Always true here: nothing about a person or a message is told, only counts; values are asked from the living rooms when
somebody looks, so counting costs them nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


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


def health(figures: Sequence[Figure], check: Callable[[], str | None]) -> Starlette:
    """``GET /healthz`` is 200 with ``ok``, or 503 with the fault that ``check`` names; ``GET /metrics`` is
    Prometheus text."""
    registry = CollectorRegistry()
    registry.register(_Figures(figures))

    async def healthz(_: Request) -> Response:
        fault = check()
        return PlainTextResponse("ok\n") if fault is None else PlainTextResponse(f"{fault}\n", 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(routes=[Route("/healthz", healthz), Route("/metrics", metrics)])
