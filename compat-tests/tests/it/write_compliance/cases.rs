//! What the suite sends: every case as data.

use tenbin_compat_tests::histograms::Span;
use tenbin_compat_tests::sender_v2::Histogram;

use super::{Case, HOUR, MINUTE, Point, Refused, Series, Stored, StoredOrOld};

type Pairs = &'static [(&'static str, &'static str)];

/// Which parts a test histogram has.
pub(super) struct Parts {
    pub(super) positive: bool,
    pub(super) negative: bool,
    pub(super) zero: bool,
    pub(super) custom: bool,
    pub(super) wrong_count: bool,
}

pub(super) const ALL: Parts = Parts {
    positive: true,
    negative: true,
    zero: true,
    custom: false,
    wrong_count: false,
};
pub(super) const POSITIVE: Parts = Parts {
    negative: false,
    ..ALL
};
pub(super) const NEGATIVE: Parts = Parts {
    positive: false,
    zero: false,
    ..ALL
};
pub(super) const NONE: Parts = Parts {
    positive: false,
    negative: false,
    zero: false,
    ..ALL
};
pub(super) const ZERO: Parts = Parts { zero: true, ..NONE };
pub(super) const CUSTOM: Parts = Parts {
    custom: true,
    ..NONE
};

pub(super) fn histogram(sum: f64, parts: &Parts) -> Histogram {
    let span = |offset, length| Span { offset, length };
    let mut made = Histogram {
        sum,
        ..Histogram::default()
    };
    let mut count = 0;
    if parts.positive {
        made.positive_spans = vec![span(0, 3), span(2, 2)];
        // 1, 3, 4, 7, 8
        made.positive_deltas = vec![1, 2, 1, 3, 1];
        count += 23;
    }
    if parts.negative {
        made.negative_spans = vec![span(0, 2), span(1, 1)];
        // 2, 3, 1
        made.negative_deltas = vec![2, 1, -2];
        count += 6;
    }
    if parts.zero {
        made.zero_count_int = Some(1);
        made.zero_threshold = 1e-10;
        count += 1;
    }
    if parts.custom {
        made.schema = -53;
        made.custom_values = vec![0.1, 0.5, 1.0, 5.0];
        made.positive_spans = vec![span(0, 3), span(1, 1)];
        // 2, 5, 4, 1
        made.positive_deltas = vec![2, 3, -1, -3];
        count += 12;
    }
    made.count_int = Some(if parts.wrong_count { 99 } else { count });
    made
}

pub(super) fn sample_cases() -> Vec<Case<'static>> {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let nan = f64::from_bits(0x7ff8_0000_0000_0001);
    let shapes: [(&str, Pairs, bool); 7] = [
        ("a name", &[("__name__", "up")], true),
        (
            "several labels",
            &[
                ("__name__", "up"),
                ("job", "testjob"),
                ("instance", "localhost:9090"),
            ],
            true,
        ),
        (
            "newlines",
            &[
                ("__name__", "up"),
                ("job", "test\njob\n"),
                ("instance", "localhost:9090"),
            ],
            true,
        ),
        (
            "dots",
            &[
                ("__name__", "resource.cpu.usage"),
                ("job.name", "testjob"),
                ("instance.name", "localhost:9090"),
            ],
            true,
        ),
        (
            "spaces",
            &[
                ("__name__", "resource cpu usage"),
                ("job name", "testjob"),
                ("instance name", "localhost:9090"),
            ],
            true,
        ),
        (
            "no name",
            &[("job", "testjob"), ("instance", "localhost:9090")],
            false,
        ),
        ("no labels", &[], false),
    ];
    let ports = ["9090", "9091", "9092", "9093"];
    let mut cases = Vec::new();
    for value in [1.0, stale, nan, f64::INFINITY, f64::NEG_INFINITY] {
        let bits = value.to_bits();
        for (name, labels, good) in shapes {
            cases.push(Case {
                name: format!("one metric, {name}, {bits:x}"),
                series: vec![Series::float(labels, value)],
                expected: if good {
                    Stored(1, 0, 0)
                } else {
                    Refused(0, 0, 0)
                },
            });
        }
        let named = |i: usize| {
            Series::float(
                &[("__name__", "up"), ("job", "many"), ("port", ports[i])],
                value,
            )
        };
        let nameless = |i: usize| Series::float(&[("job", "many"), ("port", ports[i])], value);
        cases.push(Case {
            name: format!("four metrics, {bits:x}"),
            series: (0..4).map(named).collect(),
            expected: Stored(4, 0, 0),
        });
        cases.push(Case {
            name: format!("four metrics without a name, {bits:x}"),
            series: (0..4).map(nameless).collect(),
            expected: Refused(0, 0, 0),
        });
        cases.push(Case {
            name: format!("three metrics and one without a name, {bits:x}"),
            series: (0..3).map(named).chain([nameless(3)]).collect(),
            expected: Refused(3, 0, 0),
        });
    }
    cases.push(Case {
        name: "a counter with its start".into(),
        series: vec![
            Series::float(&[("__name__", "started_total"), ("job", "api")], 100.0).created(-HOUR),
        ],
        expected: Stored(1, 0, 0),
    });
    cases
}

pub(super) fn exemplar_cases() -> Vec<Case<'static>> {
    let shapes: [(&str, Pairs, Pairs, f64); 7] = [
        (
            "basic",
            &[("__name__", "http_requests_total"), ("job", "ex")],
            &[("trace_id", "abc123def456")],
            1.0,
        ),
        (
            "span_id",
            &[("__name__", "request_seconds"), ("method", "GET")],
            &[("trace_id", "xyz789"), ("span_id", "span123")],
            0.125,
        ),
        (
            "no trace_id",
            &[("__name__", "cpu_usage"), ("instance", "host1")],
            &[("user_id", "user123")],
            0.85,
        ),
        (
            "many labels",
            &[("__name__", "request_latency"), ("service", "auth")],
            &[
                ("trace_id", "trace456"),
                ("user", "admin"),
                ("endpoint", "/login"),
            ],
            0.05,
        ),
        ("no labels", &[("__name__", "simple_counter")], &[], 1.0),
        (
            "special characters",
            &[("__name__", "test_metric")],
            &[("trace_id", "trace-with-dashes_and_underscores.123")],
            42.0,
        ),
        (
            "unicode",
            &[("__name__", "unicode_test"), ("region", "\u{1f30d}")],
            &[("trace_id", "unicode_trace_\u{6d4b}\u{8bd5}")],
            100.0,
        ),
    ];
    let mut cases: Vec<Case<'_>> = Vec::new();
    for (name, labels, exemplar, value) in shapes {
        cases.push(Case {
            name: format!("exemplar, {name}"),
            series: vec![Series::float(labels, value).exemplar(exemplar, value)],
            expected: Stored(1, 0, 1),
        });
    }
    let nan = f64::from_bits(0x7ff8_0000_0000_0001);
    for value in [
        0.0,
        -123.456,
        1e10,
        1e-10,
        nan,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ] {
        let series = Series::float(&[("__name__", "special_value")], value);
        cases.push(Case {
            name: format!("exemplar of {value}"),
            series: vec![series.exemplar(&[("trace_id", "special")], value)],
            expected: Stored(1, 0, 1),
        });
    }
    let trace = [("trace_id", "abc123"), ("span_id", "span456")];
    let started = Series::float(&[("__name__", "ex_started_total"), ("job", "api")], 250.0);
    cases.push(Case {
        name: "exemplar of a counter with its start".into(),
        series: vec![started.created(-2 * HOUR).exemplar(&trace, 250.0)],
        expected: Stored(1, 0, 1),
    });
    let get = Series::float(&[("__name__", "request_duration"), ("method", "GET")], 0.1);
    let post = Series::float(
        &[("__name__", "request_duration"), ("method", "POST")],
        0.25,
    );
    let errors = Series::float(&[("__name__", "error_count"), ("service", "payment")], 1.0);
    cases.push(Case {
        name: "three exemplars".into(),
        series: vec![
            get.exemplar(&[("trace_id", "1"), ("span_id", "s1")], 0.1),
            post.exemplar(&[("trace_id", "2"), ("span_id", "s2")], 0.25),
            errors.exemplar(&[("trace_id", "3"), ("user", "test_user")], 1.0),
        ],
        expected: Stored(3, 0, 3),
    });
    let latency = |offset, value: f64, trace| {
        let series = Series::float(&[("__name__", "latency_hist")], value).at(offset);
        series.exemplar(&[("trace_id", trace)], value)
    };
    cases.push(Case {
        name: "exemplars an hour, a minute and no time ago".into(),
        series: vec![
            latency(-HOUR, 0.05, "old"),
            latency(-MINUTE, 0.15, "recent"),
            latency(0, 0.08, "current"),
        ],
        expected: StoredOrOld(3, 0, 3),
    });
    for (labels, good) in [
        (&[("job", "test")], false),
        (&[("__name__", "")], false),
        (&[("__name__", "valid_metric")], true),
    ] {
        cases.push(Case {
            name: format!("exemplar on {labels:?}"),
            series: vec![Series::float(labels, 1.0).exemplar(&[("trace_id", "t")], 1.0)],
            expected: if good {
                Stored(1, 0, 1)
            } else {
                Refused(0, 0, 0)
            },
        });
    }
    cases
}

pub(super) fn histogram_cases() -> Vec<Case<'static>> {
    let plain = [("__name__", "test_histogram")];
    let job = [("__name__", "test_histogram"), ("job", "test")];
    let instance = [("__name__", "test_histogram"), ("instance", "localhost")];
    let minimal = [("__name__", "minimal_hist")];
    let wrong = Parts {
        wrong_count: true,
        zero: false,
        ..POSITIVE
    };
    let one = |name: &str, labels: &[(&'static str, &'static str)], parts: &Parts| Case {
        name: format!("histogram, {name}"),
        series: vec![Series::histogram(labels, histogram(1.0, parts))],
        expected: if parts.wrong_count {
            Refused(0, 0, 0)
        } else {
            Stored(0, 1, 0)
        },
    };
    let mut cases = vec![
        one("all parts", &plain, &ALL),
        one("custom buckets", &plain, &CUSTOM),
        one("positive buckets only", &job, &POSITIVE),
        one("negative buckets only", &instance, &NEGATIVE),
        one("zero bucket only", &minimal, &ZERO),
        one("wrong count", &minimal, &wrong),
        one("nothing in it", &[("__name__", "empty_hist")], &NONE),
    ];
    let mut push = |name: &str, series: Vec<Series<'static>>, exemplars| {
        let expected = Stored(0, series.len() as u64, exemplars);
        let name = format!("histogram, {name}");
        cases.push(Case {
            name,
            series,
            expected,
        });
    };
    let series = |labels: &[(&'static str, &'static str)], sum, parts: &Parts| {
        Series::histogram(labels, histogram(sum, parts))
    };
    let api = [("__name__", "request_duration_seconds"), ("job", "api")];
    let started = series(&api, 1.5, &ALL).created(-30 * MINUTE);
    push("with its start", vec![started], 0);
    let first = [("__name__", "hist1"), ("job", "test")];
    let second = [("__name__", "hist2"), ("job", "test")];
    push(
        "two of them",
        vec![
            series(&first, 10.5, &POSITIVE),
            series(&second, 5.2, &NEGATIVE),
        ],
        0,
    );
    let about = |s: Series<'static>| s.about(3, "HTTP request duration in seconds", "seconds");
    push("with metadata", vec![about(series(&api, 2.5, &ALL))], 0);
    let get = [("__name__", "http_request_seconds"), ("method", "GET")];
    let trace = [("trace_id", "abc123def456"), ("span_id", "span789")];
    push(
        "with an exemplar",
        vec![series(&get, 1.23, &POSITIVE).exemplar(&trace, 1.23)],
        1,
    );
    let size = [("__name__", "response_size_bytes"), ("service", "upload")];
    let both = series(&size, 10_485_760.0, &ALL).exemplar(&trace, 10_485_760.0);
    let both = both.about(3, "HTTP response size in bytes", "bytes");
    push("with metadata and an exemplar", vec![both], 1);
    let cpu = [("__name__", "cpu_usage_histogram"), ("instance", "server1")];
    let memory = [
        ("__name__", "memory_usage_histogram"),
        ("instance", "server1"),
    ];
    push(
        "two with metadata",
        vec![
            series(&cpu, 0.75, &POSITIVE).about(3, "CPU usage distribution", "ratio"),
            series(&memory, 8_589_934_592.0, &ALL).about(3, "Memory usage distribution", "bytes"),
        ],
        0,
    );
    cases
}

pub(super) fn metadata_cases() -> Vec<Case<'static>> {
    let kinds = [
        (
            "http_requests_total",
            1,
            "Total number of HTTP requests",
            "requests",
        ),
        (
            "cpu_usage_percent",
            2,
            "Current CPU usage percentage",
            "percent",
        ),
        (
            "metadata_duration_seconds",
            3,
            "Request duration in seconds",
            "seconds",
        ),
        ("metadata_simple_counter", 1, "", ""),
        (
            "metadata_special",
            2,
            "Test metric with\nnewlines and \"quotes\"",
            "bytes/sec",
        ),
        ("unknown_metric", 0, "Unknown metric type", ""),
        ("build_info", 6, "Build information", ""),
        ("node_state", 7, "Node state information", ""),
        (
            "request_latency_summary",
            5,
            "Request latency summary",
            "seconds",
        ),
        (
            "temperature_histogram",
            4,
            "Temperature distribution",
            "celsius",
        ),
    ];
    let mut cases = Vec::new();
    for (name, kind, help, unit) in kinds {
        let labels = [("__name__", name)];
        let (series, expected) = if kind == 3 {
            let series = Series::histogram(&labels, histogram(1.0, &ALL));
            (series, Stored(0, 1, 0))
        } else {
            (Series::float(&labels, 1.0), Stored(1, 0, 0))
        };
        cases.push(Case {
            name: format!("metadata of {name}"),
            series: vec![series.about(kind, help, unit)],
            expected,
        });
    }
    let api = [("__name__", "http_requests_total"), ("job", "metadata")];
    let about = |s: Series<'static>| s.about(1, "Total HTTP requests", "requests");
    let single = |name: &str, series, expected| Case {
        name: name.to_owned(),
        series: vec![series],
        expected,
    };
    let started = about(Series::float(&api, 150.0)).created(-HOUR);
    cases.push(single("metadata and a start", started, Stored(1, 0, 0)));
    let with_sample = about(Series::float(&api, 42.0));
    cases.push(single(
        "metadata and a sample",
        with_sample,
        Stored(1, 0, 0),
    ));
    let disk = [("__name__", "disk_usage"), ("device", "sda1")];
    let cpu = Series::float(&[("__name__", "md_cpu_usage")], 85.5);
    let memory = Series::float(&[("__name__", "md_memory_usage")], 4_096_000_000.0);
    cases.push(Case {
        name: "metadata of three metrics".into(),
        series: vec![
            cpu.about(2, "CPU usage percentage", "percent"),
            memory.about(2, "Memory usage in bytes", "bytes"),
            Series::float(&disk, 75.2).about(2, "Disk usage percentage", "percent"),
        ],
        expected: Stored(3, 0, 0),
    });
    let many = [
        ("__name__", "http_request_duration_seconds"),
        ("job", "api-server"),
        ("instance", "localhost:8080"),
        ("method", "GET"),
        ("status", "200"),
        ("endpoint", "/api/v1/users"),
    ];
    let complex = Series::histogram(&many, histogram(0.25, &ALL));
    let complex = complex.about(3, "HTTP request duration in seconds", "seconds");
    cases.push(single("metadata of many labels", complex, Stored(0, 1, 0)));
    for (labels, good) in [
        (&[("job", "test")], false),
        (&[("__name__", "")], false),
        (&[("__name__", "valid_metric_name")], true),
    ] {
        let series = Series::float(labels, 1.0).about(1, "Test help", "unit");
        let expected = if good {
            Stored(1, 0, 0)
        } else {
            Refused(0, 0, 0)
        };
        cases.push(single(&format!("metadata on {labels:?}"), series, expected));
    }
    cases
}

pub(super) fn combined_cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    let mut push = |name: &str, series: Vec<Series<'static>>, expected| {
        let name = name.to_owned();
        cases.push(Case {
            name,
            series,
            expected,
        });
    };
    let trace = [("trace_id", "request_trace_123"), ("user_id", "user789")];
    let post = [
        ("__name__", "http_requests_total"),
        ("job", "api"),
        ("method", "POST"),
    ];
    let sample = Series::float(&post, 1.0).exemplar(&trace, 1.0);
    let sample = sample.about(1, "Total number of HTTP requests", "requests");
    push("sample, metadata, exemplar", vec![sample], Stored(1, 0, 1));
    let auth = [
        ("__name__", "request_duration_seconds"),
        ("service", "auth"),
    ];
    let hist = Series::histogram(&auth, histogram(0.456, &ALL)).exemplar(&trace, 0.456);
    let hist = hist.about(3, "HTTP request duration distribution", "seconds");
    push("histogram, metadata, exemplar", vec![hist], Stored(0, 1, 1));
    let cpu = [("__name__", "cpu_usage"), ("instance", "server1")];
    let memory = [("__name__", "memory_usage"), ("instance", "server1")];
    let cpu = Series::float(&cpu, 0.85).exemplar(&trace, 0.85);
    let memory = Series::float(&memory, 8_589_934_592.0);
    push(
        "two samples, metadata, one exemplar",
        vec![
            cpu.about(2, "CPU usage ratio", "ratio"),
            memory.about(2, "Memory usage in bytes", "bytes"),
        ],
        Stored(2, 0, 1),
    );
    let time = [
        ("__name__", "response_time_hist"),
        ("endpoint", "/api/v1/users"),
    ];
    let size = [("__name__", "request_size_hist"), ("method", "POST")];
    let no_positive = Parts {
        positive: false,
        ..ALL
    };
    let time = Series::histogram(&time, histogram(0.125, &POSITIVE)).exemplar(&trace, 0.125);
    let size = Series::histogram(&size, histogram(1024.0, &no_positive));
    push(
        "two histograms, metadata, one exemplar",
        vec![
            time.about(3, "Response time distribution", "seconds"),
            size.about(3, "Request size distribution", "bytes"),
        ],
        Stored(0, 2, 1),
    );
    let ok = [("__name__", "http_requests_total"), ("status", "200")];
    let room = [
        ("__name__", "temperature_celsius"),
        ("location", "datacenter1"),
    ];
    let ok = Series::float(&ok, 1000.0).exemplar(&[("trace_id", "ok")], 1000.0);
    push(
        "families of samples",
        vec![
            ok.about(1, "Total HTTP requests", "requests"),
            Series::float(&room, 23.5).about(2, "Temperature in Celsius", "celsius"),
        ],
        Stored(2, 0, 1),
    );
    let handler = [
        ("__name__", "request_duration_seconds"),
        ("handler", "/metrics"),
    ];
    let family = Series::histogram(&handler, histogram(0.003, &POSITIVE));
    let family = family.exemplar(&[("trace_id", "scrape"), ("scraper", "x")], 0.003);
    let family = family.about(3, "Request duration in seconds", "seconds");
    push("a family of histograms", vec![family], Stored(0, 1, 1));
    let special = [
        ("__name__", "test_metric"),
        ("job", "test-job_with.special@chars"),
        ("instance", "localhost:9090"),
        ("environment", "test\u{1f680}"),
    ];
    let odd = [
        ("trace_id", "special_trace_\u{e4}\u{f6}\u{fc}-123"),
        ("span_id", "span_with.dots-and_underscores"),
    ];
    let help = "Special characters: \u{e4}\u{f6}\u{fc}, newlines\nand \"quotes\"";
    let special = Series::float(&special, 42.0).exemplar(&odd, 42.0);
    let special = special.about(2, help, "special/units");
    push("special characters", vec![special], Stored(1, 0, 1));
    let v2 = [("__name__", "custom_latency_hist"), ("version", "v2")];
    let custom = Series::histogram(&v2, histogram(0.05, &CUSTOM));
    let custom = custom.exemplar(&[("trace_id", "custom"), ("bucket", "0.1")], 0.05);
    push(
        "custom buckets with an exemplar",
        vec![custom],
        Stored(0, 1, 1),
    );
    let orphan = Series::new(&[("__name__", "orphan_metric")], Point::None);
    let about = orphan.clone().about(1, "Orphaned metric metadata", "count");
    push("metadata without data", vec![about], Refused(0, 0, 0));
    let exemplar = orphan.exemplar(&[("trace_id", "orphan")], 42.0);
    push("an exemplar without data", vec![exemplar], Refused(0, 0, 1));
    let mut old = Series::float(&[("__name__", "old_metric")], 1.0).at(-HOUR);
    old.exemplars
        .push((vec![("trace_id", "old")], 1.0, -30 * MINUTE));
    let new = Series::float(&[("__name__", "new_metric")], 2.0);
    push("mixed times", vec![old, new], StoredOrOld(2, 0, 1));
    cases
}

/// Fifty series at once; the texts are built, so they are kept by the caller.
pub(super) fn many_cases(texts: &[[String; 4]]) -> Vec<Case<'_>> {
    let floats = texts
        .iter()
        .enumerate()
        .map(|(i, [name, label, trace, help])| {
            let value = i as f64 * 100.0;
            let series = Series::float(&[("__name__", &**name), ("series", &**label)], value);
            let series = series.exemplar(&[("trace_id", &**trace)], value);
            series.about(1, help, "count")
        });
    let histograms = texts
        .iter()
        .enumerate()
        .map(|(i, [name, label, trace, help])| {
            let sum = i as f64 / 10.0;
            let parts = if i % 2 == 0 { ALL } else { POSITIVE };
            let labels = [("__name__", &**name), ("bucket", &**label)];
            let series = Series::histogram(&labels, histogram(sum, &parts));
            let series = series.exemplar(&[("trace_id", &**trace)], sum);
            series.about(3, help, "seconds")
        });
    vec![
        Case {
            name: "fifty samples with everything".into(),
            series: floats.collect(),
            expected: Stored(50, 0, 50),
        },
        Case {
            name: "fifty histograms with everything".into(),
            series: histograms.collect(),
            expected: Stored(0, 50, 50),
        },
    ]
}
