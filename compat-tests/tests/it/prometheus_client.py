"""Asks the server at argv[1] by prometheus-api-client about the time argv[2] (seconds), and prints what it
understood."""

import json
import sys
from datetime import datetime, timezone

from prometheus_api_client import PrometheusConnect

at = float(sys.argv[2])
end = datetime.fromtimestamp(at, timezone.utc)
start = datetime.fromtimestamp(at - 60, timezone.utc)
client = PrometheusConnect(url=sys.argv[1], disable_ssl=True)
out = {
    "names": sorted(client.all_metrics()),
    "labels": sorted(client.get_label_names()),
    "jobs": sorted(client.get_label_values("job")),
    "series": client.get_series(start=start, end=end, params={"match[]": "up"}),
    "query": client.custom_query("sum by (job) (up)", params={"time": at}),
    "range": client.custom_query_range("rate(requests_total[1m])", start, end, "15"),
    "window": client.get_metric_range_data("up", {"job": "node"}, start, end),
}
for key in ("series", "query", "range", "window"):
    out[key] = sorted(out[key], key=json.dumps)
print("connected:", client.check_prometheus_connection())
print(json.dumps(out, sort_keys=True, indent=1, default=str))
