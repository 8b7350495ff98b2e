//! Remote write 2.0 on the real server: the cases of Prometheus' receiver compliance suite that
//! concern float samples, labels, exemplars and the written-count headers.

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::{Answer, Client, form};
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::sender_v2::Request;

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test(
            "remote_write_v2::values_and_labels_are_stored",
            values_and_labels,
        ),
        Trial::test(
            "remote_write_v2::bad_series_spoil_only_themselves",
            partial_writes,
        ),
    ]
}

const T: i64 = 1_700_000_000_000;

fn expect(answer: &Answer, status: u16, written: (u64, u64, u64)) -> Result<(), Failed> {
    if answer.status == status && answer.written == Some(written) {
        return Ok(());
    }
    Err(failed(format!(
        "expected {status} {written:?}, got {} {:?} {}",
        answer.status,
        answer.written,
        answer.text()
    )))
}

fn values_and_labels() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let shapes: [&[(&str, &str)]; 4] = [
        &[("__name__", "simple")],
        // Senders may not sort.
        &[("job", "x"), ("__name__", "unsorted"), ("a", "1")],
        &[
            ("__name__", "odd.name with space"),
            ("l.b", "line\nbreak \u{e9}"),
        ],
        &[("__name__", "empty_value"), ("gone", "")],
    ];
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let values = [1.0, stale, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for (step, value) in values.iter().enumerate() {
        for shape in shapes {
            let mut request = Request::new();
            request.push(shape, &[(T + step as i64, *value)], 1);
            let answer = request.send(&client, &server.url).map_err(failed)?;
            expect(&answer, 204, (1, 0, 1))?;
        }
    }
    let parameters = [("query", "{__name__=~\".+\"}[1m]"), ("time", "1700000001")];
    let url = format!("{}/api/v1/query?{}", server.url, form(&parameters));
    let text = client.get(&url).map_err(failed)?.text();
    for expected in [
        r#"{"metric":{"__name__":"unsorted","a":"1","job":"x"},"values":[[1700000000,"1"],[1700000000.002,"NaN"],[1700000000.003,"+Inf"],[1700000000.004,"-Inf"]]}"#,
        r#"{"metric":{"__name__":"odd.name with space","l.b":"line\nbreak é"}"#,
        r#"{"metric":{"__name__":"empty_value"},"#,
    ] {
        if !text.contains(expected) {
            return Err(failed(format!("{expected}\nis missing in\n{text}")));
        }
    }
    Ok(())
}

fn partial_writes() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let send = |request: &Request| request.send(&client, &server.url).map_err(failed);
    let mut nameless = Request::new();
    nameless.push(&[("job", "x")], &[(T, 1.0)], 0);
    expect(&send(&nameless)?, 400, (0, 0, 0))?;
    let mut mixed = Request::new();
    for name in ["a", "b", "c"] {
        mixed.push(&[("__name__", name)], &[(T, 1.0)], 0);
    }
    mixed.push(&[("job", "x")], &[(T, 1.0)], 1);
    let answer = send(&mixed)?;
    expect(&answer, 400, (3, 0, 0))?;
    assert_eq!(
        answer.text(),
        "invalid metric name or labels, got {job=\"x\"}\n"
    );
    let mut bad = Request::new();
    bad.push(&[("__name__", "a")], &[(T, 2.0)], 0);
    bad.push(
        &[("__name__", "twice"), ("l", "1"), ("l", "2")],
        &[(T, 1.0)],
        0,
    );
    bad.push(&[("__name__", "empty")], &[], 1);
    bad.push(&[("__name__", "good")], &[(T, 1.0)], 0);
    bad.timeseries[3].labels_refs.push(99);
    let answer = send(&bad)?;
    expect(&answer, 400, (0, 0, 1))?;
    let text = answer.text();
    for expected in [
        "duplicate sample for timestamp 1700000000000; overrides not allowed: existing 1, \
         new value 2 for series {__name__=\"a\"}",
        "duplicated label l",
        "TimeSeries must contain at least one sample or histogram for series {__name__=\"empty\"}",
        "parsing labels for series [",
    ] {
        if !text.contains(expected) {
            return Err(failed(format!("{expected}\nis missing in\n{text}")));
        }
    }
    let garbage = [
        ("Content-Encoding", "snappy"),
        ("Content-Type", tenbin_compat_tests::sender_v2::CONTENT_TYPE),
    ];
    let answer = client
        .post(
            &format!("{}/api/v1/write", server.url),
            &garbage,
            b"not snappy at all",
        )
        .map_err(failed)?;
    expect(&answer, 400, (0, 0, 0))
}
