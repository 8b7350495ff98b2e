//! Statuses and texts of the HTTP surface, on the real server without peers.

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::{Answer, Client, form};
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::sender::{HEADERS, body, send, series};

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("http_contract::what_is_written_is_read", write_then_read),
        Trial::test("http_contract::bad_writes_get_the_right_status", bad_writes),
        Trial::test(
            "http_contract::bad_requests_get_the_right_status",
            bad_requests,
        ),
        Trial::test("http_contract::metrics_are_well_formed", metrics),
    ]
}

/// Name, headers, body, expected status.
type WriteCase<'a> = (&'a str, [(&'a str, &'a str); 2], &'a [u8], u16);

/// Path, parameters, expected status and body.
type ReadCase<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16, String);

const T: i64 = 1_700_000_000_000;

/// Old timestamps are fine for the first samples of an empty database.
fn start(directory: &std::path::Path) -> Result<Tenbin, Failed> {
    Tenbin::start(&tenbin(), directory, &["--storage.tsdb.retention.time=0"]).map_err(failed)
}

fn get(server: &Tenbin, path: &str, parameters: &[(&str, &str)]) -> Result<Answer, Failed> {
    let url = format!("{}{path}?{}", server.url, form(parameters));
    Client::default().get(&url).map_err(failed)
}

fn expect(answer: &Answer, status: u16, text: &str) -> Result<(), Failed> {
    if answer.status == status && answer.text() == text {
        return Ok(());
    }
    Err(failed(format!(
        "expected {status} {text}\n     got {} {}",
        answer.status,
        answer.text()
    )))
}

fn write_then_read() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = start(directory.path())?;
    let client = Client::default();
    let up = [("__name__", "up"), ("instance", "a:1"), ("job", "<x>")];
    let batch = vec![
        series(&up, &[(T, 1.0), (T + 15_000, 1e-7)]),
        series(&[("__name__", "down"), ("job", "y")], &[(T, f64::NAN)]),
    ];
    expect(&send(&client, &server.url, batch).map_err(failed)?, 204, "")?;
    let answer = get(
        &server,
        "/api/v1/query",
        &[("query", "up"), ("time", "1700000015")],
    )?;
    expect(
        &answer,
        200,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"a:1","job":"<x>"},"value":[1700000015,"1e-07"]}]}}"#,
    )?;
    let range = [
        ("query", "up"),
        ("start", "1700000000"),
        ("end", "1700000030.5"),
        ("step", "15"),
    ];
    let expected = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","instance":"a:1","job":"<x>"},"values":[[1700000000,"1"],[1700000015,"1e-07"],[1700000030,"1e-07"]]}]}}"#;
    expect(&get(&server, "/api/v1/query_range", &range)?, 200, expected)?;
    let posted = client.post_form(&format!("{}/api/v1/query_range", server.url), &range);
    expect(&posted.map_err(failed)?, 200, expected)?;
    expect(
        &get(&server, "/api/v1/labels", &[])?,
        200,
        r#"{"status":"success","data":["__name__","instance","job"]}"#,
    )?;
    expect(
        &get(&server, "/api/v1/label/job/values", &[("limit", "1")])?,
        200,
        r#"{"status":"success","data":["\u003cx\u003e"],"warnings":["results truncated due to limit"]}"#,
    )?;
    expect(
        &get(&server, "/api/v1/series", &[("match[]", "{job=~\"y|z\"}")])?,
        200,
        r#"{"status":"success","data":[{"__name__":"down","job":"y"}]}"#,
    )?;
    expect(
        &get(&server, "/api/v1/metadata", &[])?,
        200,
        r#"{"status":"success","data":{}}"#,
    )?;
    expect(
        &get(&server, "/-/healthy", &[])?,
        200,
        "Prometheus Server is Healthy.\n",
    )?;
    expect(
        &get(&server, "/-/ready", &[])?,
        200,
        "Prometheus Server is Ready.\n",
    )
}

fn bad_writes() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = start(directory.path())?;
    let client = Client::default();
    let url = format!("{}/api/v1/write", server.url);
    let good = body(vec![series(&[("__name__", "up")], &[(T, 1.0)])]);
    let with = |encoding, content_type| {
        [
            ("Content-Encoding", encoding),
            ("Content-Type", content_type),
        ]
    };
    let protobuf = "application/x-protobuf";
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    // A snappy block that declares 1 GiB.
    let bomb = [0x80, 0x80, 0x80, 0x80, 0x04, 0x00, 0x00];
    let random: Vec<u8> = (0..500_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let snapped_random = snap::raw::Encoder::new().compress_vec(&random)?;
    let cases: [WriteCase<'_>; 9] = [
        (
            "truncated snappy",
            with("snappy", protobuf),
            &good[..good.len() / 2],
            400,
        ),
        ("random bytes", with("snappy", protobuf), &random, 400),
        (
            "random bytes in snappy",
            with("snappy", protobuf),
            &snapped_random,
            400,
        ),
        ("1 GiB declared", with("snappy", protobuf), &bomb, 413),
        ("empty body", with("snappy", protobuf), &[], 400),
        ("wrong type", with("snappy", "application/json"), &good, 415),
        (
            "wrong type and corrupt",
            with("snappy", "image/png"),
            &random,
            415,
        ),
        ("wrong encoding", with("gzip", protobuf), &good, 415),
        (
            "a 2.0 header over a 1.0 body of random bytes",
            with("snappy", v2),
            &random,
            400,
        ),
    ];
    for (name, headers, body, status) in cases {
        let answer = client.post(&url, &headers, body).map_err(failed)?;
        if answer.status != status || answer.body.is_empty() {
            return Err(failed(format!(
                "{name}: {} {}",
                answer.status,
                answer.text()
            )));
        }
    }
    let wrong_method = client.get(&url).map_err(failed)?;
    expect(&wrong_method, 405, "Method Not Allowed\n")?;
    // The server is unharmed, a duplicate is fine, another value is not, an old sample is not.
    let send = |samples: &[(i64, f64)]| {
        client.post(
            &url,
            &HEADERS,
            &body(vec![series(&[("__name__", "up")], samples)]),
        )
    };
    expect(&send(&[(T, 1.0)]).map_err(failed)?, 204, "")?;
    expect(&send(&[(T, 1.0)]).map_err(failed)?, 204, "")?;
    expect(
        &send(&[(T, 2.0)]).map_err(failed)?,
        400,
        "duplicate sample for timestamp 1700000000000; overrides not allowed: existing 1, new value 2\n",
    )?;
    expect(
        &send(&[(T - 7_200_000, 1.0)]).map_err(failed)?,
        400,
        "too old sample\n",
    )?;
    expect(
        &send(&[(i64::MAX / 2, 1.0)]).map_err(failed)?,
        400,
        "out of bounds: timestamp is too far in the future\n",
    )?;
    let nameless = body(vec![
        series(&[("job", "x")], &[(T, 1.0)]),
        series(&[("__name__", "named"), ("job", "x")], &[(T, 1.0)]),
    ]);
    expect(
        &client.post(&url, &HEADERS, &nameless).map_err(failed)?,
        204,
        "",
    )?;
    let names = get(&server, "/api/v1/label/__name__/values", &[])?;
    expect(&names, 200, r#"{"status":"success","data":["named","up"]}"#)
}

fn bad_requests() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = start(directory.path())?;
    let error = |kind: &str, text: &str| {
        format!(r#"{{"status":"error","errorType":"{kind}","error":"{text}"}}"#)
    };
    let range = |step: &'static str, end: &'static str| {
        vec![
            ("query", "up"),
            ("start", "1000"),
            ("end", end),
            ("step", step),
        ]
    };
    let cases: Vec<ReadCase<'_>> = vec![
        ("/api/v1/nope", vec![], 404, "404 page not found\n".into()),
        ("/nope", vec![], 404, "404 page not found\n".into()),
        (
            "/api/v1/query",
            vec![("query", "sum(")],
            400,
            error(
                "bad_data",
                r#"invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"#,
            ),
        ),
        (
            "/api/v1/query",
            vec![("query", "")],
            400,
            error(
                "bad_data",
                r#"invalid parameter \"query\": unknown position: parse error: no expression found in input"#,
            ),
        ),
        (
            "/api/v1/query",
            vec![("query", "up"), ("time", "x")],
            400,
            error(
                "bad_data",
                r#"invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp"#,
            ),
        ),
        (
            "/api/v1/query_range",
            range("1s", "x"),
            400,
            error(
                "bad_data",
                r#"invalid parameter \"end\": cannot parse \"x\" to a valid timestamp"#,
            ),
        ),
        (
            "/api/v1/query_range",
            range("0", "2000"),
            400,
            error(
                "bad_data",
                r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
            ),
        ),
        (
            "/api/v1/query_range",
            range("1", "12001"),
            400,
            error(
                "bad_data",
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ),
        ),
        (
            "/api/v1/query_range",
            range("1", "999"),
            400,
            error(
                "bad_data",
                r#"invalid parameter \"end\": end timestamp must not be before start time"#,
            ),
        ),
        (
            "/api/v1/series",
            vec![],
            400,
            error("bad_data", "no match[] parameter provided"),
        ),
        (
            "/api/v1/labels",
            vec![("match[]", "{a=~\".*\"}")],
            400,
            error(
                "bad_data",
                "match[] must contain at least one non-empty matcher",
            ),
        ),
    ];
    for (path, parameters, status, text) in cases {
        let answer = get(&server, path, &parameters)?;
        expect(&answer, status, &text).map_err(|e| {
            failed(format!(
                "{path} {parameters:?}: {}",
                e.message().unwrap_or_default()
            ))
        })?;
    }
    let posted = Client::default()
        .post(&format!("{}/api/v1/metadata", server.url), &[], &[])
        .map_err(failed)?;
    expect(&posted, 405, "Method Not Allowed\n")
}

fn metrics() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = start(directory.path())?;
    let batch = vec![series(&[("__name__", "up")], &[(T, 1.0), (T + 1, 2.0)])];
    send(&Client::default(), &server.url, batch).map_err(failed)?;
    let text = get(&server, "/metrics", &[])?.text();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit_once(' ').map(|(_, value)| value.parse::<f64>());
        if !matches!(value, Some(Ok(_))) {
            return Err(failed(format!("malformed line: {line}")));
        }
    }
    for expected in [
        "prometheus_tsdb_head_series 1\n",
        "prometheus_tsdb_head_samples_appended_total{type=\"float\"} 2\n",
        "prometheus_http_requests_total{handler=\"/api/v1/write\",code=\"204\"} 1\n",
        "prometheus_ready 1\n",
    ] {
        if !text.contains(expected) {
            return Err(failed(format!("{expected} is missing in\n{text}")));
        }
    }
    Ok(())
}
