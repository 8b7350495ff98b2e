//! Text, OpenMetrics and Influx lines on the real server: what comes in is queried, also when it is days
//! old; bad lines are named and leave the others alone; what was acknowledged survives SIGKILL.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::{Answer, Client, form};
use tenbin_compat_tests::process::Tenbin;

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("imports::exposition_text_and_open_metrics", text),
        Trial::test("imports::influx_lines", influx),
    ]
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}

fn gzip(text: &str) -> Result<Vec<u8>, Failed> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes())?;
    Ok(packed.finish()?)
}

fn expect(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (status, text));
}

fn query(client: &Client, url: &str, query: &str, time: u64) -> Result<String, Failed> {
    let parameters = [("query", query), ("time", &time.to_string())];
    let url = format!("{url}/api/v1/query?{}", form(&parameters));
    Ok(client.get(&url).map_err(failed)?.json()["data"]["result"].to_string())
}

fn text() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let now = now_s();
    let send = |parameters: &str, headers: &[(&str, &str)], body: &[u8]| {
        let url = format!("{}/api/v1/import/prometheus{parameters}", server.url);
        client.post(&url, headers, body).map_err(failed)
    };
    // As curl sends it: everything is a form to it.
    let curl = [("Content-Type", "application/x-www-form-urlencoded")];
    let plain = format!(
        "# HELP temperature How warm.\n# TYPE temperature gauge\n\
         temperature{{room=\"a\"}} 20.5\ntemperature{{room=\"b\"}} 21 {}\n\
         {{\"odd.name\",l=\"x&y=z\"}} 1e3\n",
        now * 1000 - 60_000
    );
    expect(&send("", &curl, plain.as_bytes())?, 204, "");
    // Days ago, newest first, and in between what is newer.
    let day = 86_400;
    let mut old = String::new();
    for at in (1..=10).rev() {
        old += &format!(
            "old_total{{src=\"import\"}} {} {}\n",
            at * 10,
            (now - at * day) * 1000
        );
    }
    let packed = gzip(&old)?;
    expect(
        &send("", &[("Content-Encoding", "gzip")], &packed)?,
        204,
        "",
    );
    let open = format!(
        "# TYPE req counter\n# UNIT req seconds\n\
         req_seconds_total{{code=\"200\"}} 5 {now}.5 # {{trace_id=\"abc\"}} 0.7 {now}.25\n# EOF\n"
    );
    let media = [(
        "Content-Type",
        "application/openmetrics-text; version=1.0.0",
    )];
    expect(
        &send("?extra_label=job%3Dimport", &media, open.as_bytes())?,
        204,
        "",
    );
    let cut = open.replace("# EOF\n", "");
    let answer = send("", &media, cut.as_bytes())?;
    assert!(
        answer.status == 400 && answer.text().contains("# EOF"),
        "{}",
        answer.text()
    );
    let bad = format!(
        "fine 1\nbroken{{ 1\nfine2 2\nancient 1 5\nfine3 x\nold_total{{src=\"import\"}} 11 {}\n",
        (now - day) * 1000
    );
    let answer = send("", &curl, bad.as_bytes())?;
    assert_eq!(answer.status, 400);
    let expected = format!(
        "line 2: expected a label name at \"1\"\nline 4: too old sample\nline 5: \"x\" is no number\n\
         line 6: duplicate sample for timestamp {}; overrides not allowed: existing 10, new value 11\n",
        (now - day) * 1000
    );
    // The label is `1`, as far as the line can be read.
    let ours = answer.text();
    let lines: Vec<&str> = ours.lines().collect();
    assert!(
        lines.len() == 4 && lines[0].starts_with("line 2: "),
        "{ours}\n{expected}"
    );
    assert_eq!(
        lines[1..],
        expected.lines().skip(1).collect::<Vec<_>>()[..],
        "{ours}"
    );
    expect(
        &send("?extra_label=x", &curl, b"a 1")?,
        400,
        "extra_label \"x\" is not name=value\n",
    );
    assert_eq!(
        send("", &[("Content-Encoding", "zstd")], b"a 1")?.status,
        415
    );
    let url = format!("{}/api/v1/import/prometheus", server.url);
    assert_eq!(client.get(&url).map_err(failed)?.status, 405);
    for round in 0..2 {
        let ask = |text: &str, time| query(&client, &server.url, text, time);
        let result = ask("temperature", now + 2)?;
        assert!(
            result.contains("20.5") && result.contains("\"21\""),
            "{result}"
        );
        assert!(ask("{\"odd.name\"}", now + 2)?.contains("x&y=z"));
        let week = ask("old_total", now - 7 * day + 1)?;
        assert!(week.contains("\"70\""), "round {round}: {week}");
        let all = ask("count_over_time(old_total[20d])", now)?;
        assert!(all.contains("\"10\""), "round {round}: {all}");
        let req = ask("req_seconds_total", now + 2)?;
        assert!(
            req.contains("\"job\":\"import\"") && req.contains("\"5\""),
            "{req}"
        );
        assert!(ask("{__name__=~\"fine|fine2\"}", now + 2)?.contains("fine2"));
        let url = format!(
            "{}/api/v1/query_exemplars?query=req_seconds_total",
            server.url
        );
        let exemplars = client.get(&url).map_err(failed)?.text();
        assert!(
            exemplars.contains("abc") && exemplars.contains("0.7"),
            "{exemplars}"
        );
        let url = format!("{}/api/v1/metadata?metric=temperature", server.url);
        let metadata = client.get(&url).map_err(failed)?.text();
        assert!(metadata.contains("How warm."), "{metadata}");
        if round == 0 {
            server.restart().map_err(failed)?;
        }
    }
    Ok(())
}

fn influx() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let now = now_s();
    let send = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        client
            .post(&format!("{}{path}", server.url), headers, body)
            .map_err(failed)
    };
    let lines = format!(
        "cpu,host=a usage_user=12.5,usage_system=3i {now}\ndisk,path=/var\\ log free=100i {}\n",
        now - 3 * 86_400
    );
    let curl = [("Content-Type", "application/x-www-form-urlencoded")];
    expect(
        &send("/write?db=telegraf&precision=s", &curl, lines.as_bytes())?,
        204,
        "",
    );
    let packed = gzip("mem,host=a used=7u\n")?;
    let headers = [("Content-Encoding", "gzip"), ("Authorization", "Token x")];
    expect(
        &send(
            "/api/v2/write?org=o&bucket=b&precision=ns",
            &headers,
            &packed,
        )?,
        204,
        "",
    );
    expect(
        &send("/write", &curl, b"good v=1\nbad\nm v=x\n")?,
        400,
        "{\"error\":\"line 2: fields are missing\\nline 3: \\\"x\\\" is no field value\"}\n",
    );
    let answer = send("/api/v2/write?precision=d", &[], b"m v=1")?;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["code"], "invalid");
    let ping = client
        .get(&format!("{}/ping", server.url))
        .map_err(failed)?;
    assert_eq!(ping.status, 204);
    server.restart().map_err(failed)?;
    let ask = |text: &str, time| query(&client, &server.url, text, time);
    let cpu = ask("{__name__=~\"cpu_.*\"}", now + 1)?;
    for expected in [
        "cpu_usage_user",
        "cpu_usage_system",
        "\"db\":\"telegraf\"",
        "12.5",
    ] {
        assert!(cpu.contains(expected), "{expected}: {cpu}");
    }
    let disk = ask("disk_free", now - 3 * 86_400 + 1)?;
    assert!(
        disk.contains("/var log") && disk.contains("\"100\""),
        "{disk}"
    );
    let mem = ask("mem_used", now + 5)?;
    assert!(mem.contains("\"db\":\"b\""), "{mem}");
    assert!(ask("good_v", now + 5)?.contains("\"1\""));
    Ok(())
}
