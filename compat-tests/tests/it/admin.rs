//! Deleting, cleaning and copying a database through the admin endpoints of the real server.

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::sender::{send, series};

use super::{failed, tenbin};

const T: i64 = 1_700_000_000_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test(
            "admin::a_deletion_survives_kill_flush_and_merge",
            deletion_survives,
        ),
        Trial::test("admin::a_snapshot_starts_as_a_server", snapshot_starts),
    ]
}

const FLAGS: [&str; 2] = ["--storage.tsdb.retention.time=0", "--web.enable-admin-api"];

fn start(directory: &std::path::Path) -> Result<Tenbin, Failed> {
    Tenbin::start(&tenbin(), directory, &FLAGS).map_err(failed)
}

fn admin(server: &Tenbin, what: &str, parameters: &[(&str, &str)]) -> Result<String, Failed> {
    let url = format!("{}/api/v1/admin/tsdb/{what}", server.url);
    let answer = Client::default().post_form(&url, parameters);
    let answer = answer.map_err(failed)?;
    match answer.status {
        200 | 204 => Ok(answer.text()),
        status => Err(failed(format!("{what}: {status} {}", answer.text()))),
    }
}

/// Samples of each series of `m`, as the server counts them.
fn counts(server: &Tenbin) -> Result<String, Failed> {
    let query = [("query", "count_over_time(m[1h])"), ("time", "1700003000")];
    let url = format!("{}/api/v1/query?{}", server.url, form(&query));
    let answer = Client::default().get(&url).map_err(failed)?.json();
    let result = answer["data"]["result"].as_array().cloned();
    let one = |s: &serde_json::Value| format!("{}={}", s["metric"]["i"], s["value"][1]);
    let mut all: Vec<String> = result.unwrap_or_default().iter().map(one).collect();
    all.sort();
    Ok(all.join(" ").replace('"', ""))
}

fn fill(server: &Tenbin, from: i64) -> Result<(), Failed> {
    let client = Client::default();
    for i in ["a", "b", "c"] {
        let samples: Vec<(i64, f64)> = (0..50)
            .map(|n| (T + (from + n) * 15_000, n as f64))
            .collect();
        let one = series(&[("__name__", "m"), ("i", i)], &samples);
        let answer = send(&client, &server.url, vec![one]).map_err(failed)?;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    Ok(())
}

fn expect(server: &Tenbin, expected: &str) -> Result<(), Failed> {
    let found = counts(server)?;
    if found == expected {
        return Ok(());
    }
    Err(failed(format!("expected {expected}, found {found}")))
}

fn deletion_survives() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = start(directory.path())?;
    fill(&server, 0)?;
    admin(&server, "flush", &[])?;
    fill(&server, 100)?;
    expect(&server, "a=100 b=100 c=100")?;
    // Ten samples out of the block, all of one series, and ten out of the head.
    let in_block = [
        ("match[]", "m{i=~\"a|b\"}"),
        ("start", "1700000150"),
        ("end", "1700000299"),
    ];
    admin(&server, "delete_series", &in_block)?;
    let in_head = [
        ("match[]", "m{i=\"a\"}"),
        ("match[]", "m{i=\"no such\"}"),
        ("start", "1700001500"),
        ("end", "1700001649"),
    ];
    admin(&server, "delete_series", &in_head)?;
    admin(&server, "delete_series", &[("match[]", "m{i=\"c\"}")])?;
    expect(&server, "a=80 b=90")?;
    server.restart().map_err(failed)?;
    expect(&server, "a=80 b=90")?;
    admin(&server, "flush", &[])?;
    expect(&server, "a=80 b=90")?;
    admin(&server, "clean_tombstones", &[])?;
    expect(&server, "a=80 b=90")?;
    admin(&server, "compact", &[])?;
    server.restart().map_err(failed)?;
    expect(&server, "a=80 b=90")?;
    // What is deleted may come back.
    fill(&server, 100)?;
    expect(&server, "a=90 b=90 c=50")
}

fn snapshot_starts() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = start(directory.path())?;
    fill(&server, 0)?;
    admin(&server, "flush", &[])?;
    fill(&server, 100)?;
    let answer = admin(&server, "snapshot", &[])?;
    let answer: serde_json::Value = serde_json::from_str(&answer).map_err(failed)?;
    let name = answer["data"]["name"].as_str().unwrap_or("none").to_owned();
    admin(&server, "delete_series", &[("match[]", "m")])?;
    expect(&server, "")?;
    let copy = directory.path().join("data/snapshots").join(&name);
    let target = tempfile::tempdir()?;
    std::fs::rename(&copy, target.path().join("data"))?;
    let restored = start(target.path())?;
    expect(&restored, "a=100 b=100 c=100")?;
    let url = format!("{}/api/v1/admin/tsdb/snapshot?skip_head=maybe", server.url);
    let answer = Client::default().post(&url, &[], &[]).map_err(failed)?;
    let expected = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"skip_head\": strconv.ParseBool: parsing \"maybe\": invalid syntax"}"#;
    assert_eq!((answer.status, &*answer.text()), (400, expected));
    Ok(())
}
