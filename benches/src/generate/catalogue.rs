//! What the scraped targets expose: a host, a pod's containers, a pod's state, an application.
//!
//! Names, labels and proportions follow node_exporter, cAdvisor, kube-state-metrics and the Go
//! client library with the labels that a Kubernetes setup adds. A template lists the series of one
//! kind of target; labels whose value differs from target to target are slots.

use super::pool::{LabelId, Pool};
use super::values::Kind;

/// A label of a template's series.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// The same for every target.
    Fixed(LabelId),
    /// The target's label of this number.
    Slot(usize),
}

/// One series of a template; its labels stand in the order of their names.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) parts: Vec<Part>,
    pub(crate) kind: Kind,
}

/// One kind of target.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) lines: Vec<Line>,
    /// The names of the labels that each target brings.
    pub(crate) slots: &'static [&'static str],
}

/// The kinds of targets.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) host: Template,
    pub(crate) containers: Template,
    pub(crate) pod_state: Template,
    pub(crate) application: Template,
}

impl Catalogue {
    pub(crate) fn new(pool: &mut Pool) -> Self {
        Self {
            host: host(pool),
            containers: containers(pool),
            pod_state: pod_state(pool),
            application: application(pool),
        }
    }
}

struct Builder<'p> {
    pool: &'p mut Pool,
    slots: &'static [&'static str],
    fixed: Vec<(&'static str, &'static str)>,
    lines: Vec<Line>,
}

impl<'p> Builder<'p> {
    fn new(
        pool: &'p mut Pool,
        slots: &'static [&'static str],
        fixed: &[(&'static str, &'static str)],
    ) -> Self {
        let mut fixed = fixed.to_vec();
        fixed.push(("cluster", "prod-eu-west-1"));
        Self {
            pool,
            slots,
            fixed,
            lines: Vec::new(),
        }
    }

    fn add(&mut self, metric: &str, own: &[(&str, &str)], kind: Kind) {
        let mut parts = vec![("__name__", Part::Fixed(self.pool.label("__name__", metric)))];
        for (name, value) in own.iter().chain(&self.fixed) {
            parts.push((name, Part::Fixed(self.pool.label(name, value))));
        }
        for (number, name) in self.slots.iter().enumerate() {
            parts.push((name, Part::Slot(number)));
        }
        parts.sort_by_key(|(name, _)| *name);
        let parts = parts.into_iter().map(|(_, part)| part).collect();
        self.lines.push(Line { parts, kind });
    }

    /// One series for each value of one label.
    fn each(&mut self, metric: &str, label: &str, values: &[&str], kind: Kind) {
        for value in values {
            self.add(metric, &[(label, value)], kind);
        }
    }

    fn all(&mut self, metrics: &[(&str, Kind)]) {
        for (metric, kind) in metrics {
            self.add(metric, &[], *kind);
        }
    }

    /// A classic histogram with these labels.
    fn histogram(&mut self, metric: &str, own: &[(&str, &str)], per_second: f64, bounds: &[&str]) {
        for (number, bound) in bounds.iter().chain(&["+Inf"]).enumerate() {
            let last = number == bounds.len();
            let kind = Kind::Bucket {
                share: if last { 1.0 } else { 0.35 },
                first: number == 0,
                per_second,
            };
            let mut labels = own.to_vec();
            labels.push(("le", bound));
            self.add(&format!("{metric}_bucket"), &labels, kind);
        }
        self.add(&format!("{metric}_sum"), own, Kind::HistogramSum(0.043));
        self.add(&format!("{metric}_count"), own, Kind::HistogramCount);
    }

    /// What every scrape adds.
    fn done(mut self) -> Template {
        let series = (self.lines.len() + 5) as f64;
        self.all(&[
            ("scrape_duration_seconds", Kind::Duration(0.031)),
            (
                "scrape_samples_post_metric_relabeling",
                Kind::Constant(series),
            ),
            ("scrape_samples_scraped", Kind::Constant(series)),
            ("scrape_series_added", Kind::Constant(0.0)),
            ("up", Kind::Constant(1.0)),
        ]);
        Template {
            lines: self.lines,
            slots: self.slots,
        }
    }
}

const CPUS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
const DISKS: [&str; 3] = ["nvme0n1", "nvme1n1", "sda"];
const MOUNTS: [(&str, &str, &str); 5] = [
    ("/dev/nvme0n1p1", "ext4", "/"),
    ("/dev/nvme0n1p15", "vfat", "/boot/efi"),
    ("/dev/nvme1n1", "xfs", "/var/lib/containerd"),
    ("tmpfs", "tmpfs", "/run"),
    ("tmpfs", "tmpfs", "/run/lock"),
];
const DEVICES: [&str; 4] = ["eth0", "eth1", "lo", "cni0"];

fn host(pool: &mut Pool) -> Template {
    let mut b = Builder::new(
        pool,
        &["instance", "pod"],
        &[
            ("container", "node-exporter"),
            ("job", "node-exporter"),
            ("namespace", "monitoring"),
        ],
    );
    for cpu in CPUS {
        let modes = [
            ("idle", 0.85),
            ("iowait", 0.004),
            ("irq", 0.0),
            ("nice", 0.001),
            ("softirq", 0.01),
            ("steal", 0.002),
            ("system", 0.05),
            ("user", 0.1),
        ];
        for (mode, rate) in modes {
            let labels = [("cpu", cpu), ("mode", mode)];
            b.add("node_cpu_seconds_total", &labels, Kind::Seconds(rate));
        }
    }
    let disk = [
        ("reads_completed_total", Kind::Events(3.0)),
        ("reads_merged_total", Kind::Events(0.2)),
        ("read_bytes_total", Kind::Bytes(4e4)),
        ("read_time_seconds_total", Kind::Seconds(0.01)),
        ("writes_completed_total", Kind::Events(25.0)),
        ("writes_merged_total", Kind::Events(9.0)),
        ("written_bytes_total", Kind::Bytes(3e5)),
        ("write_time_seconds_total", Kind::Seconds(0.05)),
        ("io_now", Kind::Level(0.6)),
        ("io_time_seconds_total", Kind::Seconds(0.03)),
        ("io_time_weighted_seconds_total", Kind::Seconds(0.06)),
        ("discards_completed_total", Kind::Constant(0.0)),
        ("flush_requests_total", Kind::Events(0.5)),
    ];
    for (metric, kind) in disk {
        b.each(&format!("node_disk_{metric}"), "device", &DISKS, kind);
    }
    host_filesystems(&mut b);
    host_network(&mut b);
    host_memory(&mut b);
    host_kernel(&mut b);
    go_runtime(&mut b);
    b.done()
}

fn host_filesystems(b: &mut Builder<'_>) {
    let kinds = [
        ("size_bytes", Kind::Drawn(5e11)),
        ("free_bytes", Kind::Pages(2e11)),
        ("avail_bytes", Kind::Pages(2e11)),
        ("files", Kind::Drawn(3e7)),
        ("files_free", Kind::Level(2e6)),
        ("readonly", Kind::Constant(0.0)),
        ("device_error", Kind::Constant(0.0)),
    ];
    for (metric, kind) in kinds {
        for (device, fstype, mountpoint) in MOUNTS {
            let labels = [
                ("device", device),
                ("fstype", fstype),
                ("mountpoint", mountpoint),
            ];
            let kind = match kind {
                Kind::Pages(_) if fstype == "vfat" => Kind::Drawn(1e8),
                kind => kind,
            };
            b.add(&format!("node_filesystem_{metric}"), &labels, kind);
        }
    }
}

fn host_network(b: &mut Builder<'_>) {
    for way in ["receive", "transmit"] {
        let metric = |name: &str| format!("node_network_{way}_{name}_total");
        b.each(&metric("bytes"), "device", &DEVICES, Kind::Bytes(2e5));
        b.each(&metric("packets"), "device", &DEVICES, Kind::Events(310.0));
        for still in ["compressed", "errs", "fifo", "drop"] {
            b.each(&metric(still), "device", &DEVICES, Kind::Constant(0.0));
        }
    }
    for (metric, kind) in [
        ("carrier", Kind::Constant(1.0)),
        ("carrier_changes_total", Kind::Constant(2.0)),
        ("flags", Kind::Constant(4099.0)),
        ("iface_link", Kind::Drawn(9.0)),
        ("mtu_bytes", Kind::Constant(1500.0)),
        ("speed_bytes", Kind::Constant(1.25e9)),
        ("up", Kind::Flag),
    ] {
        b.each(&format!("node_network_{metric}"), "device", &DEVICES, kind);
    }
    for metric in [
        "Icmp_InMsgs",
        "Ip_Forwarding",
        "Tcp_ActiveOpens",
        "Tcp_InErrs",
        "Tcp_InSegs",
        "Tcp_OutSegs",
        "Tcp_PassiveOpens",
        "Tcp_RetransSegs",
        "TcpExt_ListenDrops",
        "TcpExt_TCPTimeouts",
        "Udp_InDatagrams",
        "Udp_OutDatagrams",
    ] {
        let name = format!("node_netstat_{metric}");
        b.add(&name, &[], Kind::Events(17.0));
    }
    for (metric, level) in [
        ("TCP_alloc", 90.0),
        ("TCP_inuse", 40.0),
        ("TCP_mem", 12.0),
        ("TCP_tw", 25.0),
        ("UDP_inuse", 6.0),
        ("sockets_used", 300.0),
    ] {
        b.add(&format!("node_sockstat_{metric}"), &[], Kind::Level(level));
    }
}

fn host_memory(b: &mut Builder<'_>) {
    for metric in [
        "Active",
        "Active_anon",
        "Active_file",
        "AnonPages",
        "Cached",
        "Committed_AS",
        "Inactive",
        "Inactive_file",
        "Mapped",
        "MemAvailable",
        "MemFree",
        "SReclaimable",
        "Slab",
    ] {
        let name = format!("node_memory_{metric}_bytes");
        b.add(&name, &[], Kind::Pages(3e9));
    }
    for metric in ["Dirty", "KernelStack", "PageTables", "Shmem", "SUnreclaim"] {
        let name = format!("node_memory_{metric}_bytes");
        b.add(&name, &[], Kind::Pages(5e6));
    }
    for metric in [
        "AnonHugePages",
        "Bounce",
        "CommitLimit",
        "HardwareCorrupted",
        "Hugepagesize",
        "MemTotal",
        "Mlocked",
        "SwapCached",
        "SwapFree",
        "SwapTotal",
        "VmallocTotal",
        "Writeback",
    ] {
        let name = format!("node_memory_{metric}_bytes");
        b.add(&name, &[], Kind::Drawn(3e10));
    }
}

fn host_kernel(b: &mut Builder<'_>) {
    for (metric, rate) in [
        ("schedstat_running_seconds_total", 0.16),
        ("schedstat_waiting_seconds_total", 0.02),
    ] {
        b.each(&format!("node_{metric}"), "cpu", &CPUS, Kind::Seconds(rate));
    }
    b.each(
        "node_schedstat_timeslices_total",
        "cpu",
        &CPUS,
        Kind::Events(700.0),
    );
    for (metric, rate) in [
        ("processed_total", 230.0),
        ("times_squeezed_total", 0.01),
        ("dropped_total", 0.0),
    ] {
        let name = format!("node_softnet_{metric}");
        b.each(&name, "cpu", &CPUS, Kind::Events(rate));
    }
    for unit in ["kubelet", "containerd", "sshd", "cron", "chrony", "dbus"] {
        for state in ["activating", "active", "deactivating", "failed", "inactive"] {
            let labels = [("name", unit), ("state", state), ("type", "notify")];
            let kind = Kind::Constant(f64::from(state == "active"));
            b.add("node_systemd_unit_state", &labels, kind);
        }
    }
    for collector in [
        "cpu",
        "diskstats",
        "filesystem",
        "loadavg",
        "meminfo",
        "netdev",
        "netstat",
        "stat",
        "systemd",
        "uname",
    ] {
        let labels = [("collector", collector)];
        let duration = "node_scrape_collector_duration_seconds";
        b.add(duration, &labels, Kind::Duration(0.0007));
        b.add(
            "node_scrape_collector_success",
            &labels,
            Kind::Constant(1.0),
        );
    }
    b.all(&[
        ("node_boot_time_seconds", Kind::Drawn(1.7e9)),
        ("node_context_switches_total", Kind::Events(5200.0)),
        ("node_entropy_available_bits", Kind::Constant(256.0)),
        ("node_filefd_allocated", Kind::Level(3000.0)),
        ("node_forks_total", Kind::Events(7.0)),
        ("node_intr_total", Kind::Events(2900.0)),
        ("node_load1", Kind::Decimal(1.2)),
        ("node_load5", Kind::Decimal(1.1)),
        ("node_load15", Kind::Decimal(1.0)),
        (
            "node_pressure_cpu_waiting_seconds_total",
            Kind::Seconds(0.02),
        ),
        (
            "node_pressure_io_waiting_seconds_total",
            Kind::Seconds(0.01),
        ),
        ("node_procs_blocked", Kind::Level(0.5)),
        ("node_procs_running", Kind::Level(2.0)),
        ("node_time_seconds", Kind::Seconds(1.0)),
        ("node_timex_offset_seconds", Kind::Duration(0.0000041)),
        ("node_vmstat_pgfault", Kind::Events(4100.0)),
        ("node_vmstat_pgmajfault", Kind::Events(0.1)),
        ("node_vmstat_pgpgin", Kind::Events(40.0)),
        ("node_vmstat_pgpgout", Kind::Events(310.0)),
    ]);
}

fn go_runtime(b: &mut Builder<'_>) {
    b.each(
        "go_gc_duration_seconds",
        "quantile",
        &["0", "0.25", "0.5", "0.75", "1"],
        Kind::Duration(0.000_072),
    );
    b.all(&[
        ("go_gc_duration_seconds_count", Kind::Events(0.02)),
        ("go_goroutines", Kind::Level(40.0)),
        ("go_memstats_alloc_bytes", Kind::Level(2.1e7)),
        ("go_memstats_alloc_bytes_total", Kind::Bytes(9e4)),
        ("go_memstats_heap_inuse_bytes", Kind::Pages(3e7)),
        ("go_memstats_heap_objects", Kind::Level(9e4)),
        ("go_memstats_mallocs_total", Kind::Events(800.0)),
        ("go_memstats_next_gc_bytes", Kind::Drawn(5e7)),
        ("go_memstats_sys_bytes", Kind::Drawn(9e7)),
        ("go_threads", Kind::Drawn(20.0)),
        ("process_cpu_seconds_total", Kind::Seconds(0.02)),
        ("process_max_fds", Kind::Constant(1_048_576.0)),
        ("process_open_fds", Kind::Level(12.0)),
        ("process_resident_memory_bytes", Kind::Pages(6e7)),
        ("process_start_time_seconds", Kind::Drawn(1.7e9)),
    ]);
}

fn containers(pool: &mut Pool) -> Template {
    let mut b = Builder::new(
        pool,
        &["container", "image", "instance", "namespace", "pod"],
        &[("job", "kubelet")],
    );
    b.all(&[
        ("container_cpu_cfs_periods_total", Kind::Events(6.0)),
        (
            "container_cpu_cfs_throttled_periods_total",
            Kind::Events(0.1),
        ),
        ("container_cpu_usage_seconds_total", Kind::FineSeconds(0.11)),
        ("container_file_descriptors", Kind::Level(30.0)),
        ("container_last_seen", Kind::Seconds(1.0)),
        ("container_memory_cache", Kind::Pages(4e7)),
        ("container_memory_rss", Kind::Pages(2e8)),
        ("container_memory_usage_bytes", Kind::Pages(3e8)),
        ("container_memory_working_set_bytes", Kind::Pages(2.5e8)),
        ("container_memory_max_usage_bytes", Kind::Drawn(5e8)),
        ("container_memory_swap", Kind::Constant(0.0)),
        ("container_oom_events_total", Kind::Constant(0.0)),
        ("container_processes", Kind::Level(3.0)),
        ("container_sockets", Kind::Level(14.0)),
        ("container_spec_cpu_period", Kind::Constant(100_000.0)),
        ("container_spec_cpu_quota", Kind::Drawn(400_000.0)),
        ("container_spec_cpu_shares", Kind::Drawn(1024.0)),
        ("container_spec_memory_limit_bytes", Kind::Drawn(1e9)),
        ("container_start_time_seconds", Kind::Drawn(1.7e9)),
        ("container_threads", Kind::Level(22.0)),
    ]);
    for way in ["receive", "transmit"] {
        for (metric, kind) in [
            ("bytes", Kind::Bytes(6e4)),
            ("packets", Kind::Events(80.0)),
            ("errors", Kind::Constant(0.0)),
            ("packets_dropped", Kind::Constant(0.0)),
        ] {
            let name = format!("container_network_{way}_{metric}_total");
            b.add(&name, &[("interface", "eth0")], kind);
        }
    }
    b.done()
}

fn pod_state(pool: &mut Pool) -> Template {
    let mut b = Builder::new(
        pool,
        &["namespace", "pod", "uid"],
        &[
            ("instance", "10.2.0.17:8080"),
            ("job", "kube-state-metrics"),
        ],
    );
    for phase in ["Failed", "Pending", "Running", "Succeeded", "Unknown"] {
        let kind = Kind::Constant(f64::from(phase == "Running"));
        b.add("kube_pod_status_phase", &[("phase", phase)], kind);
    }
    for metric in ["kube_pod_status_ready", "kube_pod_status_scheduled"] {
        for condition in ["false", "true", "unknown"] {
            let kind = Kind::Constant(f64::from(condition == "true"));
            b.add(metric, &[("condition", condition)], kind);
        }
    }
    b.all(&[
        ("kube_pod_container_status_ready", Kind::Constant(1.0)),
        ("kube_pod_container_status_restarts_total", Kind::Drawn(3.0)),
        ("kube_pod_container_status_running", Kind::Constant(1.0)),
        ("kube_pod_container_status_waiting", Kind::Constant(0.0)),
        ("kube_pod_created", Kind::Drawn(1.7e9)),
        ("kube_pod_info", Kind::Constant(1.0)),
        ("kube_pod_start_time", Kind::Drawn(1.7e9)),
    ]);
    b.done()
}

fn application(pool: &mut Pool) -> Template {
    let mut b = Builder::new(
        pool,
        &["container", "instance", "job", "namespace", "pod"],
        &[],
    );
    let bounds = [
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10",
    ];
    for (handler, method, per_second) in [
        ("/api/v1/items", "GET", 21.0),
        ("/api/v1/items", "POST", 1.4),
        ("/api/v1/orders", "GET", 4.5),
        ("/healthz", "GET", 0.2),
    ] {
        let labels = [("handler", handler), ("method", method)];
        let histogram = "http_request_duration_seconds";
        b.histogram(histogram, &labels, per_second, &bounds);
        for code in ["200", "404", "500"] {
            let labels = [("code", code), ("handler", handler), ("method", method)];
            let rate = if code == "200" { per_second } else { 0.01 };
            b.add("http_requests_total", &labels, Kind::Events(rate));
        }
    }
    b.histogram(
        "db_query_duration_seconds",
        &[("operation", "select")],
        33.0,
        &bounds,
    );
    b.all(&[
        ("cache_hits_total", Kind::Events(51.0)),
        ("cache_misses_total", Kind::Events(3.0)),
        ("db_connections_idle", Kind::Level(6.0)),
        ("db_connections_in_use", Kind::Level(3.0)),
        ("queue_depth", Kind::Level(4.0)),
        ("queue_oldest_message_seconds", Kind::Fraction(0.8)),
    ]);
    go_runtime(&mut b);
    b.done()
}
