//! Who may ask what: every route without, with wrong and with right credentials; spellings of paths; what is
//! switched off; other sites' pages; secrets in no answer.

use std::collections::BTreeSet;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::raw::{self, RawAnswer, exchange, request};

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("http_security::every_route_is_guarded", every_route),
        Trial::test("http_security::spellings_change_nothing", spellings),
        Trial::test("http_security::credentials_in_all_shapes", credentials),
        Trial::test("http_security::what_is_off_is_off", switched_off),
        Trial::test("http_security::other_sites_operate_nothing", other_sites),
        Trial::test("http_security::origins_are_matched_whole", origins),
        Trial::test("http_security::secrets_are_shown_nowhere", secrets),
        Trial::test(
            "http_security::a_refused_body_costs_no_connection",
            refused_bodies,
        ),
        Trial::test("http_security::raw_targets_on_one_connection", raw_targets),
    ]
}

/// `bob:opensesame`
const RIGHT: &str = "Basic Ym9iOm9wZW5zZXNhbWU=";
/// `bob:x`
const WRONG: &str = "Basic Ym9iOng=";

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"];

/// Every route, as the router's sources have it: one that is added is walked. Each text that begins with a
/// slash counts.
fn routes() -> BTreeSet<String> {
    let outside = include_str!("../../../src/server/router.rs");
    let page = include_str!("../../../src/server/page.rs");
    let api = include_str!("../../../src/server/endpoints.rs");
    let mut all = BTreeSet::new();
    for (source, before) in [(outside, ""), (page, ""), (api, "/api/v1")] {
        for text in source.split('"').filter(|text| text.starts_with('/')) {
            if !text.contains([' ', '\n']) {
                all.insert(format!("{before}{}", text.replace("{name}", "job")));
            }
        }
    }
    all
}

fn address(server: &Tenbin) -> &str {
    server.url.trim_start_matches("http://")
}

fn guarded(directory: &Path, flags: &[&str]) -> Result<Tenbin, Failed> {
    let hash = bcrypt::hash("opensesame", 4)?;
    let file = directory.join("web.yml");
    std::fs::write(&file, format!("basic_auth_users:\n  bob: {hash}\n"))?;
    let flag = format!("--web.config.file={}", file.display());
    let mut flags = flags.to_vec();
    flags.push(&flag);
    start(directory, &flags)
}

/// Starts without waiting for 200, which a guarded server does not say.
fn start(directory: &Path, flags: &[&str]) -> Result<Tenbin, Failed> {
    Tenbin::start_until(&tenbin(), directory, flags, |address| {
        let headers = [("Authorization", RIGHT)];
        request(address, "GET", "/-/ready", &headers, b"").is_ok_and(|a| a.status == 200)
    })
    .map_err(failed)
}

fn ask(
    server: &Tenbin,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<RawAnswer, Failed> {
    request(address(server), method, target, headers, b"").map_err(failed)
}

fn every_route() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = guarded(directory.path(), &["--web.enable-admin-api"])?;
    let mut paths = routes();
    if paths.len() < 50 {
        return Err(failed(format!("the routes were not found: {paths:?}")));
    }
    paths.extend(["/nope", "/api/v1/nope", "/debug/pprof", "*"].map(str::to_owned));
    // It does not end.
    paths.remove("/api/v1/notifications/live");
    for path in &paths {
        for method in METHODS {
            for headers in [&[][..], &[("Authorization", WRONG)]] {
                let answer = ask(&server, method, path, headers)?;
                let asks = answer.header("www-authenticate") == "Basic";
                let is_refused = answer.status == 401
                    && asks
                    && (method == "HEAD" || answer.text() == "Unauthorized\n");
                if !is_refused {
                    return Err(failed(format!("{method} {path} {headers:?}: {answer:?}")));
                }
            }
            let answer = ask(&server, method, path, &[("Authorization", RIGHT)])?;
            if answer.status == 401 {
                return Err(failed(format!("{method} {path} with the password: 401")));
            }
        }
    }
    // Nobody without the password did anything: no snapshot but those of POST and PUT.
    let snapshots = std::fs::read_dir(directory.path().join("data/snapshots"))?.count();
    if snapshots != 2 {
        return Err(failed(format!("{snapshots} snapshots")));
    }
    Ok(())
}

fn spellings() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = guarded(directory.path(), &[])?;
    for target in [
        "//api/v1/labels",
        "/./api/v1/labels",
        "/api/v1/../v1/labels",
        "/%2e%2e/api/v1/labels",
        "/api%2Fv1%2Flabels",
        "/%61pi/v1/labels",
        "/api/v1/labels/",
        "/API/V1/LABELS",
        "/api/v1/labels;x",
        "/api/v1/labels%00",
        "/api/v1/labels?x=%00",
        "/api/v1/%c0%afx",
        "/-/healthy/",
        "http://other.example/api/v1/labels",
        "http://localhost/-/healthy",
        "/api/v1/label/{\"x\"}/values",
        "/-/healthy",
        "/",
    ] {
        for headers in [
            vec![],
            vec![("X-Original-URL", "/-/healthy")],
            vec![
                ("X-Forwarded-For", "127.0.0.1"),
                ("X-Forwarded-User", "bob"),
            ],
            vec![("Host", "localhost")],
        ] {
            let answer = ask(&server, "GET", target, &headers)?;
            if answer.status != 401 {
                return Err(failed(format!("{target} {headers:?}: {answer:?}")));
            }
        }
    }
    // What is no request at all gets no data either.
    for bytes in [
        "GET /api/v1/labels\r\n\r\n",
        "GET /api/v1/la\0bels HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /api/v1/labels HTTP/1.1\r\nHost: a\r\n Authorization: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answered = exchange(address(&server), bytes.as_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&answered).into_owned();
        if !text.is_empty() && !text.starts_with("HTTP/1.1 4") {
            return Err(failed(format!("{bytes:?}: {text}")));
        }
    }
    Ok(())
}

fn credentials() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = guarded(directory.path(), &[])?;
    let long = format!("Basic {}", "A".repeat(8192));
    let shapes: [(&str, u16); 13] = [
        (RIGHT, 200),
        ("basic Ym9iOm9wZW5zZXNhbWU=", 200),
        ("BASIC Ym9iOm9wZW5zZXNhbWU=", 200),
        ("Basic  Ym9iOm9wZW5zZXNhbWU=", 401),
        ("Basic Ym9iOm9wZW5zZXNhbWU", 401),
        ("Basic Ym9i", 401),
        ("Basic", 401),
        ("", 401),
        ("Bearer Ym9iOm9wZW5zZXNhbWU=", 401),
        ("Basic \u{e9}", 401),
        // `alice:opensesame`, `bobopen:sesame`
        ("Basic YWxpY2U6b3BlbnNlc2FtZQ==", 401),
        ("Basic Ym9ib3BlbjpzZXNhbWU=", 401),
        (&long, 401),
    ];
    // Twice: the second time good pairs are remembered.
    for (header, status) in shapes.iter().chain(&shapes) {
        let answer = ask(&server, "GET", "/-/healthy", &[("Authorization", *header)])?;
        if answer.status != *status {
            return Err(failed(format!("{header}: {answer:?}")));
        }
    }
    let two = [("Authorization", WRONG), ("Authorization", RIGHT)];
    let answer = ask(&server, "GET", "/-/healthy", &two)?;
    if answer.status != 401 {
        return Err(failed(format!(
            "the first of two headers counts: {answer:?}"
        )));
    }
    Ok(())
}

fn switched_off() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = start(directory.path(), &[])?;
    let admin = [
        "delete_series?match[]=up",
        "clean_tombstones",
        "snapshot",
        "flush",
        "compact",
    ];
    for method in METHODS {
        for name in admin {
            let answer = ask(&server, method, &format!("/api/v1/admin/tsdb/{name}"), &[])?;
            let expected = match method {
                "POST" | "PUT" => 500,
                "OPTIONS" => 204,
                _ => 405,
            };
            let is_right = answer.status == expected
                && (expected != 500 || answer.text().contains("admin APIs disabled"));
            if !is_right {
                return Err(failed(format!("{method} {name}: {answer:?}")));
            }
        }
        for path in ["/-/reload", "/-/quit"] {
            let answer = ask(&server, method, path, &[])?;
            let expected = match method {
                "POST" | "PUT" => 403,
                "OPTIONS" => 200,
                _ => 405,
            };
            if answer.status != expected {
                return Err(failed(format!("{method} {path}: {answer:?}")));
            }
        }
    }
    let alive = ask(&server, "GET", "/-/healthy", &[])?;
    let snapshots = directory.path().join("data/snapshots").exists();
    if alive.status != 200 || snapshots {
        return Err(failed("something was done"));
    }
    Ok(())
}

fn other_sites() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = ["--web.enable-admin-api", "--web.enable-lifecycle"];
    let server = start(directory.path(), &flags)?;
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    for path in ["/-/quit", "/-/reload", "/api/v1/admin/tsdb/snapshot"] {
        for origin in [
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
        ] {
            for spelling in [
                path.to_owned(),
                path.replace("/-", "/%2d"),
                path.replace("api", "%61pi"),
            ] {
                let answer = ask(&server, "POST", &spelling, &[form, origin])?;
                if answer.status != 403 {
                    return Err(failed(format!("{spelling} {origin:?}: {answer:?}")));
                }
            }
        }
    }
    let own = format!("http://{}", address(&server));
    let answer = ask(&server, "POST", "/-/reload", &[("Origin", &own)])?;
    if answer.status != 200 {
        return Err(failed(format!("our own page: {answer:?}")));
    }
    let answer = ask(&server, "POST", "/api/v1/admin/tsdb/snapshot", &[])?;
    let name = answer.text();
    let name = name.split('"').nth(9).unwrap_or_default().to_owned();
    let shape = |text: &str| {
        text.chars()
            .map(|c| {
                if c.is_ascii_digit() || matches!(c, 'a'..='f') {
                    'x'
                } else {
                    c
                }
            })
            .collect::<String>()
    };
    if shape(&name) != shape("20260101T000000Z-0123456789abcdef") {
        return Err(failed(format!("snapshot name {name:?} in {answer:?}")));
    }
    Ok(())
}

fn origins() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = start(
        directory.path(),
        &["--web.cors.origin=https://good\\.example"],
    )?;
    for (origin, allowed) in [
        ("https://good.example", true),
        ("http://good.example", false),
        ("https://good.example:8443", false),
        ("https://evil-good.example", false),
        ("https://good.example.evil", false),
        ("https://goodxexample", false),
        ("https://GOOD.example", false),
        ("null", false),
    ] {
        for (method, path) in [
            ("GET", "/api/v1/labels"),
            ("OPTIONS", "/api/v1/admin/tsdb/snapshot"),
        ] {
            let answer = ask(&server, method, path, &[("Origin", origin)])?;
            let said = answer.header("access-control-allow-origin");
            let expected = if allowed { origin } else { "" };
            let credentials = answer.header("access-control-allow-credentials");
            if said != expected || !credentials.is_empty() {
                return Err(failed(format!("{method} {origin}: {answer:?}")));
            }
        }
    }
    Ok(())
}

fn secrets() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = guarded(
        directory.path(),
        &["--log.level=debug", "--web.enable-lifecycle"],
    )?;
    let file = directory.path().join("web.yml");
    let hash = std::fs::read_to_string(&file)?;
    let hash = hash
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let canaries = [hash.as_str(), "opensesame", "Ym9iOm9wZW5zZXNhbWU", "canary"];
    let right = [("Authorization", RIGHT)];
    let mut seen = String::new();
    for path in routes() {
        if !path.ends_with("/live") {
            seen.push_str(&ask(&server, "GET", &path, &right)?.text());
        }
    }
    // Mistakes in the file are told without its content.
    for mistake in [
        "basic_auth_users: {bob: [canary]}",
        "canary",
        "basic_auth_users: {bob: canary}",
    ] {
        std::fs::write(&file, mistake)?;
        let answer = ask(&server, "POST", "/-/reload", &right)?;
        if answer.status != 500 || !answer.text().starts_with("failed to reload config: ") {
            return Err(failed(format!("{mistake}: {answer:?}")));
        }
        seen.push_str(&answer.text());
    }
    let answer = ask(&server, "GET", "/api/v1/notifications", &right)?;
    if !answer.text().contains("Configuration reload has failed.") {
        return Err(failed(format!("{answer:?}")));
    }
    server.process.terminate();
    seen.push_str(&server.process.output());
    for canary in canaries {
        if let Some(at) = seen.find(canary) {
            let around: String = seen[at.saturating_sub(100)..].chars().take(200).collect();
            return Err(failed(format!("{canary} is shown: {around}")));
        }
    }
    Ok(())
}

/// Several requests in one write, with bodies that look like requests.
fn raw_targets() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = start(directory.path(), &[])?;
    let body = "query=\"GET /{} HTTP/1.1\"";
    let form = "Content-Type: application/x-www-form-urlencoded";
    let bytes = format!(
        "GET /api/v1/query?query=\"{{a}}\"&time=1 HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /api/v1/query?time=1&x={{}} HTTP/1.1\r\nHost: a\r\n{form}\r\nContent-Length: {}\r\n\r\n{body}\
         POST /api/v1/query?time=2&x=é HTTP/1.1\r\nHost: a\r\n{form}\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n\
         GET /api/v1/query?query=\"|<>\"&time=3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        body.len(),
        body.len()
    );
    let answered = exchange(address(&server), bytes.as_bytes()).map_err(failed)?;
    let mut rest = answered.as_slice();
    for (time, text) in [
        (1, "{a}"),
        (1, "GET /{} HTTP/1.1"),
        (2, "GET /{} HTTP/1.1"),
        (3, "|<>"),
    ] {
        let (answer, taken) = raw::parse(rest, false).map_err(failed)?;
        rest = &rest[taken..];
        let expected = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"string\",\"result\":[{time},\"{text}\"]}}}}"
        );
        let got = answer
            .text()
            .replace("\\u003c", "<")
            .replace("\\u003e", ">");
        if got != expected {
            return Err(failed(format!("expected {expected}\n     got {got}")));
        }
    }
    Ok(())
}

/// The connection stays when a request is refused before its body has come.
fn refused_bodies() -> Result<(), Failed> {
    use std::io::{Read, Write};
    let directory = tempfile::tempdir()?;
    let server = guarded(directory.path(), &[])?;
    let mut stream = std::net::TcpStream::connect(address(&server))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    let right = format!("Authorization: {RIGHT}");
    for (header, status) in [
        ("X: y", 401),
        (right.as_str(), 415),
        ("X: y", 401),
        (&right, 415),
    ] {
        let head = format!(
            "POST /api/v1/write HTTP/1.1\r\nHost: a\r\n{header}\r\nContent-Type: image/png\r\n\
             Content-Length: 100000\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        std::thread::sleep(std::time::Duration::from_millis(50));
        stream.write_all(&vec![b'x'; 100_000])?;
        let mut answered = Vec::new();
        while raw::parse(&answered, false).is_err() {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer)? {
                0 => return Err(failed("the connection was closed")),
                read => answered.extend_from_slice(&buffer[..read]),
            }
        }
        let (answer, _) = raw::parse(&answered, false).map_err(failed)?;
        if answer.status != status {
            return Err(failed(format!("expected {status}: {answer:?}")));
        }
    }
    Ok(())
}
