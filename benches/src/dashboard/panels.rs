//! The twenty panels: what dashboards of hosts, pods and services ask of the generated fleet.

use tenbin_compat_tests::http::form;

/// Queries, one for each panel.
pub(super) const PANELS: [&str; 20] = [
    "sum by (mode) (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m]))",
    "1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m]))",
    "sum(rate(node_disk_reads_completed_total[5m])) + sum(rate(node_disk_writes_completed_total[5m]))",
    "sum by (device) (rate(node_disk_written_bytes_total[5m]))",
    "topk(5, rate(node_disk_io_time_seconds_total[5m]))",
    "min by (mountpoint) (node_filesystem_avail_bytes / node_filesystem_size_bytes)",
    "sum by (instance) (rate(node_network_receive_bytes_total{device!=\"lo\"}[5m]))",
    "sum by (device) (rate(node_network_transmit_packets_total[5m]))",
    "sum by (namespace) (container_memory_working_set_bytes)",
    "topk(10, container_memory_rss)",
    "sum by (namespace) (rate(container_network_receive_bytes_total[5m]))",
    "quantile by (namespace) (0.9, container_threads)",
    "sum by (phase) (kube_pod_status_phase)",
    "sum by (namespace) (kube_pod_container_status_restarts_total)",
    "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.5, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))",
    "sum by (code) (rate(http_requests_total[5m]))",
    "sum(rate(http_requests_total{code=\"500\"}[5m])) / sum(rate(http_requests_total[5m]))",
    "max_over_time(queue_depth[10m])",
    "count by (job) (up == 1)",
];

/// One panel's request: `length_s` seconds in 240 steps up to `end_ms`.
pub(super) fn target(query: &str, end_ms: i64, length_s: i64, no_cache: bool) -> String {
    let step_s = (length_s / 240).max(1);
    let end_s = end_ms / 1000;
    let (start, end, step) = (
        (end_s - length_s).to_string(),
        end_s.to_string(),
        step_s.to_string(),
    );
    let mut parameters = vec![
        ("query", query),
        ("start", start.as_str()),
        ("end", &end),
        ("step", &step),
    ];
    if no_cache {
        parameters.push(("nocache", "1"));
    }
    format!("/api/v1/query_range?{}", form(&parameters))
}
