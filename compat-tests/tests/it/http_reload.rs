//! Reading the configuration files again: by request, by signal, by itself, and all or nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::Client;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::raw::request;

use super::http_settings::{check, get};
use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("http_reload::the_file_is_read_and_read_again", config_file),
        Trial::test("http_reload::all_files_take_effect_or_none", all_or_none),
        Trial::test("http_reload::a_changed_file_is_noticed", noticed),
    ]
}

fn config_file() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("tenbin.yml");
    let with = |zone: &str, days: u32| {
        format!(
            "global:\n  external_labels:\n    zone: {zone}\n\
             storage:\n  tsdb:\n    retention:\n      time: {days}d\n    out_of_order_time_window: 1h\n"
        )
    };
    std::fs::write(&file, with("a", 40))?;
    let flag = format!("--config.file={}", file.display());
    let flags = [flag.as_str(), "--web.enable-lifecycle"];
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let api = |path: &str| get(&format!("{}/api/v1/{path}", server.url));
    let config =
        || api("status/config").map(|a| a.json()["data"]["yaml"].as_str().map(str::to_owned));
    let yaml = config()?.unwrap_or_default();
    for part in [
        "zone: a",
        "time: 40d",
        "out_of_order_time_window: 1h",
        "max_exemplars: 100000",
    ] {
        check(yaml.contains(part), || {
            format!("{part} is missing in\n{yaml}")
        })?;
    }
    let info = api("status/runtimeinfo")?.json();
    check(info["data"]["storageRetention"] == "40d", || {
        info.to_string()
    })?;
    // By request, and by signal.
    std::fs::write(&file, with("b", 40))?;
    let post = || Client::default().post(&format!("{}/-/reload", server.url), &[], &[]);
    let answer = post().map_err(failed)?;
    check(answer.status == 200, || answer.text())?;
    check(config()?.unwrap_or_default().contains("zone: b"), || {
        "zone".into()
    })?;
    std::fs::write(&file, with("c", 40))?;
    Command::new("kill")
        .args(["-HUP", &server.process.id().to_string()])
        .status()?;
    let started = Instant::now();
    while !config()?.unwrap_or_default().contains("zone: c") {
        check(started.elapsed().as_secs() < 10, || "SIGHUP".into())?;
        std::thread::sleep(Duration::from_millis(20));
    }
    // What is wrong or needs a restart changes nothing and is told.
    for (text, says) in [
        (with("d", 41), "storage: a change needs a restart"),
        (
            "global:\n  scrape_interval: 1m\n".to_owned(),
            "couldn't load configuration (--config.file=\"",
        ),
        (
            "global:\n  scrape_interval: 1m\n".to_owned(),
            "line 2, column 3",
        ),
    ] {
        std::fs::write(&file, text)?;
        let answer = post().map_err(failed)?;
        let is_told =
            answer.text().starts_with("failed to reload config: ") && answer.text().contains(says);
        check(answer.status == 500 && is_told, || answer.text())?;
        check(config()?.unwrap_or_default().contains("zone: c"), || {
            "changed".into()
        })?;
        let metrics = get(&format!("{}/metrics", server.url))?.text();
        let metric = "prometheus_config_last_reload_successful 0\n";
        check(metrics.contains(metric), || metrics.clone())?;
    }
    let info = api("status/runtimeinfo")?.json();
    check(info["data"]["reloadConfigSuccess"] == false, || {
        info.to_string()
    })
}

/// The value of an external label, as the server has it now.
fn zone(server: &Tenbin) -> Result<String, Failed> {
    let answer = get(&format!("{}/api/v1/status/config", server.url))?.json();
    let yaml = answer["data"]["yaml"].as_str().unwrap_or_default();
    let line = yaml
        .lines()
        .find_map(|line| line.trim().strip_prefix("zone: "));
    Ok(line.unwrap_or_default().to_owned())
}

fn wait_for(what: &str, mut holds: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let started = Instant::now();
    while !holds()? {
        check(started.elapsed().as_secs() < 20, || what.to_owned())?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn all_or_none() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let (file, web) = (
        directory.path().join("tenbin.yml"),
        directory.path().join("web.yml"),
    );
    let labels = |zone: &str| format!("global: {{external_labels: {{zone: {zone}}}}}\n");
    let headers = |value: &str| {
        format!("http_server_config: {{headers: {{X-XSS-Protection: \"{value}\"}}}}\n")
    };
    std::fs::write(&file, labels("a"))?;
    std::fs::write(&web, headers("1"))?;
    let flags = [
        format!("--config.file={}", file.display()),
        format!("--web.config.file={}", web.display()),
        "--web.enable-lifecycle".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let address = server.url.trim_start_matches("http://").to_owned();
    let protection = || -> Result<String, Failed> {
        let answer = request(&address, "GET", "/-/healthy", &[], b"").map_err(failed)?;
        Ok(answer.header("x-xss-protection"))
    };
    let reload = || Client::default().post(&format!("{}/-/reload", server.url), &[], &[]);
    // The file for the web is wrong: the other one does not take effect either.
    std::fs::write(&file, labels("b"))?;
    std::fs::write(&web, "nope: 1\n")?;
    let answer = reload().map_err(failed)?;
    let text = answer.text();
    let is_told = text.starts_with("failed to reload config: ") && text.contains("web.yml");
    check(answer.status == 500 && is_told, || text)?;
    check(zone(&server)? == "a", || "half of it took effect".into())?;
    let metrics = get(&format!("{}/metrics", server.url))?.text();
    for metric in ["prometheus_config", "tenbin_web_config"] {
        let line = format!("{metric}_last_reload_successful 0\n");
        check(metrics.contains(&line), || metrics.clone())?;
    }
    // The same by signal.
    Command::new("kill")
        .args(["-HUP", &server.process.id().to_string()])
        .status()?;
    std::thread::sleep(Duration::from_millis(200));
    check(zone(&server)? == "a", || "half of it took effect".into())?;
    // The other way round.
    std::fs::write(&file, "nope: 1\n")?;
    std::fs::write(&web, headers("1"))?;
    let answer = reload().map_err(failed)?;
    let expected = format!(
        "failed to reload config: couldn't load configuration (--config.file=\"{}\"): ",
        file.display()
    );
    check(
        answer.status == 500 && answer.text().starts_with(&expected),
        || answer.text(),
    )?;
    check(zone(&server)? == "a" && protection()? == "1", || {
        "half of it took effect".into()
    })?;
    // Both are right.
    std::fs::write(&file, labels("c"))?;
    std::fs::write(&web, headers("0"))?;
    let answer = reload().map_err(failed)?;
    check(answer.status == 200 && answer.text().is_empty(), || {
        answer.text()
    })?;
    check(zone(&server)? == "c" && protection()? == "0", || {
        "neither took effect".into()
    })
}

fn noticed() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("tenbin.yml");
    let labels = |zone: &str| format!("global: {{external_labels: {{zone: {zone}}}}}\n");
    std::fs::write(&file, labels("a"))?;
    let flag = format!("--config.file={}", file.display());
    let flags = [
        flag.as_str(),
        "--config.auto-reload",
        "--config.auto-reload-interval=1s",
    ];
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let successful = |value: u8| -> Result<bool, Failed> {
        let metrics = get(&format!("{}/metrics", server.url))?.text();
        Ok(metrics.contains(&format!(
            "prometheus_config_last_reload_successful {value}\n"
        )))
    };
    std::fs::write(&file, "nope: 1\n")?;
    wait_for("a wrong file was not noticed", || successful(0))?;
    check(zone(&server)? == "a", || "a wrong file took effect".into())?;
    std::fs::write(&file, labels("b"))?;
    wait_for("a change was not noticed", || Ok(zone(&server)? == "b"))?;
    check(successful(1)?, || "not successful".into())?;
    let features = get(&format!("{}/api/v1/features", server.url))?.json();
    let is_on = features["data"]["prometheus"]["auto_reload_config"] == true;
    check(is_on, || features.to_string())
}
