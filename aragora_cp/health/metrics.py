"""The fleet's figures as Prometheus reads them: made at the scrape, from what the store has of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aragora_cp.health.monitor import DEGRADED, HEALTHY, UNHEALTHY, Readiness
from aragora_cp.health.rules import RULES
from aragora_cp.telemetry.meters import BOUNDS_MS, METERS, PREFIX, Meter

if TYPE_CHECKING:
    from aragora_cp.store.health import Figures

_STATUSES = (HEALTHY, DEGRADED, UNHEALTHY)
_SEVERITIES = sorted({rule.severity for rule in RULES.values()})


def exposition(figures: Figures | None, readiness: Readiness, accept: str) -> tuple[bytes, str]:
    """The text of a scrape and its content type, OpenMetrics where it is asked for. Without `figures` (the store is
    away) it tells what this process knows: a scrape must not fail for what it is to show."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(_gauges(figures, readiness), figures.counters if figures else None))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Scrape(Collector):
    """One scrape's families. Those without a value yet have 0, so that a rate has something to begin from."""

    def __init__(self, gauges: Mapping[str, Any], counters: Mapping[str, int] | None) -> None:
        self._gauges = gauges
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        rows = _by_name(self._counters or {})
        for name, meter in METERS.items():
            if meter.kind == "gauge":
                yield from self._gauge(name, meter)
            elif self._counters is not None:
                yield (_histogram if meter.kind == "histogram" else _counter)(name, meter, rows[name])

    def _gauge(self, name: str, meter: Meter) -> Iterator[Metric]:
        family = GaugeMetricFamily(PREFIX + name, meter.help, labels=meter.labels)
        for field, value in self._gauges.items():
            found, *labels = field.split("|")
            if found == name:
                family.add_metric(labels, value)
        if family.samples:
            yield family


def _by_name(counters: Mapping[str, int]) -> dict[str, list[tuple[list[str], int]]]:
    rows: dict[str, list[tuple[list[str], int]]] = defaultdict(list)
    for field, value in counters.items():
        name, *labels = field.split("|")
        rows[name].append((labels, value))
    return rows


def _counter(name: str, meter: Meter, rows: Iterable[tuple[list[str], int]]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, meter.help, labels=meter.labels)
    for labels, value in rows or ([] if meter.labels else [([], 0)]):
        family.add_metric(labels, value)
    return family


def _histogram(name: str, meter: Meter, rows: Iterable[tuple[list[str], int]]) -> Metric:
    """Rows are `labels…|bucket` and `labels…|sum`, in ms; each bucket by itself."""
    family = HistogramMetricFamily(PREFIX + name, meter.help, labels=meter.labels)
    series: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for labels, value in rows:
        series[tuple(labels[:-1])][labels[-1]] = value
    if not meter.labels:
        series.setdefault((), {})
    for names, found in series.items():
        total, buckets = 0, []
        for n, bound in enumerate((*BOUNDS_MS, None)):
            total += found.get(str(n), 0)
            buckets.append(("+Inf" if bound is None else repr(bound / 1000), total))
        family.add_metric(names, buckets, found.get("sum", 0) / 1000)
    return family


def _gauges(figures: Figures | None, readiness: Readiness) -> dict[str, Any]:
    """Every gauge, by its field."""
    found: dict[str, Any] = {f"ready|{check.name}": int(check.passes) for check in readiness.checks}
    if figures is None or figures.report is None:
        return found
    report = figures.report
    found |= report["figures"]
    found["health_age_seconds"] = max(0, figures.age_ms) / 1000
    found |= {f"health|{status}": int(status == report["status"]) for status in _STATUSES}
    found |= {f"alerts_firing|{severity}": report["alerts"].get(severity, 0) for severity in _SEVERITIES}
    for kind, counts in report["instances"].items():
        found |= {f"instances|{kind}": counts["live"], f"instances_ready|{kind}": counts["ready"]}
    return found
