"""Sends metrics of every kind by the OpenTelemetry SDK to argv[1] (an OTLP/HTTP metrics URL), for
argv[2] seconds, and fails when an export failed for good; that one was tried again is only a warning.
Prints how much the counter was raised."""

import logging
import sys
import time

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

problems = []


class Gather(logging.Handler):
    def emit(self, record):
        problems.append(self.format(record))


logging.getLogger("opentelemetry").addHandler(Gather(logging.ERROR))

exporter = OTLPMetricExporter(endpoint=sys.argv[1], compression=Compression.Gzip)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=500)
resource = Resource.create(
    {"service.name": "sdk", "service.instance.id": "one", "deployment.environment": "test"}
)
view = View(instrument_name="exp.*", aggregation=ExponentialBucketHistogramAggregation())
provider = MeterProvider(metric_readers=[reader], resource=resource, views=[view])
meter = provider.get_meter("tenbin.test", "1.0")

counter = meter.create_counter("sdk.requests", unit="1", description="Requests of the test.")
updown = meter.create_up_down_counter("sdk.queue", unit="{item}")
histogram = meter.create_histogram("sdk.latency", unit="s")
exponential = meter.create_histogram("exp.latency", unit="ms")
meter.create_observable_gauge("sdk.temperature", [lambda _: [Observation(21.5, {"room": "a"})]], unit="Cel")

raised = 0
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    counter.add(3, {"route": "/a"})
    raised += 3
    updown.add(1 if raised % 2 else -1)
    histogram.record((raised % 100) / 100, {"route": "/a"})
    exponential.record(raised % 1000 + 0.5)
    time.sleep(0.02)

flushed = provider.force_flush()
provider.shutdown()
# Once after the shutdown the reader may be told that there is nothing to do.
if problems or not flushed:
    print("\n".join(problems), file=sys.stderr)
    sys.exit(1)
print(raised)
