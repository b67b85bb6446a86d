"""Read what the instruments have measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    DataPointT,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)

Attributes = dict[str, Any]


class Meters:
    """A meter provider of the SDK whose measurements a test reads."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def metrics(self) -> dict[str, Metric]:
        """Collect every instrument that has measured something, by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> Iterator[tuple[Attributes, DataPointT]]:
        """Yield the attributes and the measurement of each time series of an instrument."""
        metric = self.metrics().get(f"okta_tokens.{name}")
        for point in () if metric is None else metric.data.data_points:
            yield dict(point.attributes or {}), point

    def histograms(self, name: str) -> list[tuple[Attributes, HistogramDataPoint]]:
        """Return the attributes and the measurements of each time series of a histogram."""
        return [
            (attributes, point)
            for attributes, point in self.points(name)
            if isinstance(point, HistogramDataPoint)
        ]

    def values(self, name: str, attribute: str) -> dict[Any, float]:
        """Return the values of an instrument's time series by one of their attributes."""
        return {
            attributes.get(attribute): point.value
            for attributes, point in self.points(name)
            if isinstance(point, NumberDataPoint)
        }
