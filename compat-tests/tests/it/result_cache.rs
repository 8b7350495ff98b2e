//! Range queries with the result cache beside the same with `nocache=1`, on the real server: equal bytes
//! while samples arrive, arrive late, are deleted, and move into blocks.

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::dataset::{self, SCRAPES, START_MS};
use tenbin_compat_tests::generator::Generator;
use tenbin_compat_tests::http::Client;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::sender::{TimeSeries, send, series};

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("result_cache::answers_are_equal", || {
            compared(dataset::floats(5), Generator::new(5), 100)
        }),
        Trial::test("result_cache::answers_about_histograms_are_equal", || {
            compared(dataset::histograms(6), Generator::of_histograms(6), 100)
        }),
    ]
}

/// What dashboards ask, beside random queries.
const USUAL: &[&str] = &[
    "cache_probe",
    "sum(rate(cache_probe[1m]))",
    "count_over_time(cache_probe[2m])",
];

struct Server {
    tenbin: Tenbin,
    client: Client,
}

impl Server {
    fn send(&self, batch: Vec<TimeSeries>) -> Result<(), Failed> {
        let answer = send(&self.client, &self.tenbin.url, batch).map_err(failed)?;
        match answer.status {
            204 => Ok(()),
            _ => Err(failed(answer.text())),
        }
    }

    fn admin(&self, what: &str) -> Result<(), Failed> {
        let url = format!("{}/api/v1/admin/tsdb/{what}", self.tenbin.url);
        let answer = self.client.post(&url, &[], b"").map_err(failed)?;
        match answer.status {
            200 | 204 => Ok(()),
            _ => Err(failed(answer.text())),
        }
    }

    /// A range query with and without the cache.
    fn both(&self, query: &str, start: i64, end: i64) -> Result<[String; 2], Failed> {
        let url = format!("{}/api/v1/query_range", self.tenbin.url);
        let (start, end) = (start.to_string(), end.to_string());
        let ask = |nocache| {
            let parameters = [
                ("query", query),
                ("start", &start),
                ("end", &end),
                ("step", "15"),
                ("nocache", nocache),
            ];
            let answer = self.client.post_form(&url, &parameters).map_err(failed)?;
            Ok::<_, Failed>(answer.text())
        };
        Ok([ask("0")?, ask("1")?])
    }

    fn count(&self, name: &str) -> Result<u64, Failed> {
        let text = self
            .client
            .get(&format!("{}/metrics", self.tenbin.url))
            .map_err(failed)?
            .text();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.trim().parse().ok())
            .ok_or_else(|| failed(format!("no {name}")))
    }
}

fn probe(at_s: i64) -> Vec<TimeSeries> {
    let value = (at_s % 977) as f64 / 3.0;
    let labels = [("__name__", "cache_probe"), ("instance", "i0")];
    vec![series(&labels, &[(at_s * 1000, value)])]
}

fn compared(
    data: Vec<Vec<TimeSeries>>,
    mut generator: Generator,
    count: usize,
) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = [
        "--storage.tsdb.retention.time=0",
        "--storage.tsdb.out-of-order-time-window=1h",
        "--web.enable-admin-api",
        "--enable-feature=promql-experimental-functions",
    ];
    let tenbin = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let client = Client::default();
    let server = Server { tenbin, client };
    for batch in data {
        server.send(batch)?;
    }
    let first = START_MS / 1000;
    let last = first + (SCRAPES - 3) * 15;
    let queries: Vec<String> = (0..count).map(|_| generator.query()).collect();
    let usual = USUAL.iter().map(|text| (*text).to_owned());
    let queries: Vec<String> = usual.chain(queries).collect();
    let mut different = Vec::new();
    for round in 0..8 {
        // A sample behind all others, and one in the middle.
        server.send(probe(last + 15 * round))?;
        if round % 2 == 1 {
            server.send(probe(last - 97 * round))?;
        }
        match round {
            3 => server.admin("flush")?,
            5 => {
                let range = format!("start={}&end={}", first + 300, first + 400);
                server.admin(&format!(
                    "delete_series?match[]=%7B__name__%3D~%22.%2B%22%7D&{range}"
                ))?;
            }
            6 => server.admin("compact")?,
            _ => {}
        }
        for query in &queries {
            let start = first - 30 + 15 * (round / 2);
            let [cached, plain] = server.both(query, start, last - 60 + 15 * round)?;
            if cached != plain {
                different.push(format!("{round}: {query}\n{cached}\n{plain}"));
            }
        }
    }
    let hits = server.count("tenbin_query_result_cache_hits_total ")?;
    eprintln!("{hits} hits of {}", 8 * queries.len());
    if hits < 100 {
        return Err(failed(format!("only {hits} hits")));
    }
    if let Some(one) = different.first() {
        return Err(failed(format!("{} differ: {one}", different.len())));
    }
    Ok(())
}
