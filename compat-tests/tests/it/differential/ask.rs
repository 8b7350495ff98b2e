//! Asks both servers the same, once or again: 3.5 reuses the memory of histograms that are still in a
//! window, so what it answers depends on what it was asked before.

use serde_json::Value;
use tenbin_compat_tests::answers::same;
use tenbin_compat_tests::http::{Answer, Client};
use tenbin_compat_tests::rewrite::{of_instance, with_kept_names};

use super::explained::{explained_values, extrapolates_less};
use super::fresh::{FRESH_TIMES, Fresh};
use super::{STEPS, comparable};

/// Times a question is repeated.
const TIMES: usize = 12;

/// Path below `/api/v1` and parameters, the query first.
type Parameters<'a> = &'a [(&'a str, &'a str)];

/// Asks both servers.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    client: &'a Client,
    our_url: &'a str,
    their_url: &'a str,
    /// We are asked what keeps the names that 3.5 keeps. Its places differ, so there are none.
    keeps_names: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn new(client: &'a Client, our_url: &'a str, their_url: &'a str) -> Self {
        Self {
            client,
            our_url,
            their_url,
            keeps_names: false,
        }
    }

    /// Asks for what 3.5 answers where it forgets that a name is to be dropped.
    pub(super) fn keeping_names(&self) -> Self {
        Self {
            keeps_names: true,
            ..self.clone()
        }
    }

    /// Both answers: ours and theirs.
    pub(super) fn both(
        &self,
        path: &str,
        parameters: Parameters<'_>,
    ) -> Result<(Answer, Answer), String> {
        self.both_of(self.their_url, path, parameters)
    }

    /// As [`Ask::both`], of another peer.
    fn both_of(
        &self,
        their_url: &str,
        path: &str,
        parameters: Parameters<'_>,
    ) -> Result<(Answer, Answer), String> {
        let post = |base: &str, parameters: Parameters<'_>| {
            let url = format!("{base}/api/v1/{path}");
            self.client.post_form(&url, parameters)
        };
        let theirs = post(their_url, parameters)?;
        if !self.keeps_names {
            return Ok((post(self.our_url, parameters)?, theirs));
        }
        let kept = with_kept_names(parameters[0].1);
        let mut ours = parameters.to_vec();
        ours[0].1 = kept.as_deref().unwrap_or(ours[0].1);
        let ours = post(self.our_url, &ours)?;
        Ok((without_places(&ours), without_places(&theirs)))
    }

    /// Whether 3.5 comes to our answer when it is asked again, or both agree when every instance is
    /// asked for alone, or so at every step.
    pub(super) fn agree_again(&self, path: &str, ours: &str, parameters: Parameters<'_>) -> bool {
        // Other questions change what memory is at hand.
        let churn = |at: usize| {
            let range = ["nh_int[10m]", "nh_custom[3m]", "nh_float[1m]"][at % 3];
            let query = format!("count(sum_over_time({range}))");
            let _ = self.both("query", &[("query", &query), ("time", "1700000855")]);
        };
        let agree = |path: &str, parameters: Parameters<'_>| {
            (0..TIMES).any(|at| {
                churn(at);
                self.agree_about(self.their_url, path, parameters)
            })
        };
        let again = (0..TIMES).any(|at| {
            churn(at);
            let answers = self.both(path, parameters);
            answers.is_ok_and(|(_, theirs)| same(ours, &comparable(&theirs)))
        });
        let alone_at = |query: &str, time: i64| {
            let time = time.to_string();
            agree("query", &[("query", query), ("time", &time)])
        };
        again
            || (0..6).all(|number| {
                let alone = of_instance(parameters[0].1, &format!("i{number}"));
                let mut parameters = parameters.to_vec();
                parameters[0].1 = &alone;
                let mut steps = STEPS.step_by(37);
                agree(path, &parameters)
                    || (path == "query_range" && steps.all(|time| alone_at(&alone, time)))
            })
    }

    /// Whether a peer that was just started agrees about every instance alone, at every step: what
    /// 3.5 mixes up comes from earlier queries.
    pub(super) fn agree_afresh(
        &self,
        fresh: &mut Option<Fresh>,
        path: &str,
        parameters: Parameters<'_>,
    ) -> bool {
        let Some(fresh) = fresh else {
            return false;
        };
        let value = |name| parameters.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let times: Vec<i64> = match value("time").and_then(|time| time.parse().ok()) {
            Some(time) if path == "query" => vec![time],
            _ => STEPS.step_by(37).collect(),
        };
        (0..FRESH_TIMES).any(|_| {
            let Ok(fresh) = fresh.start() else {
                return false;
            };
            (0..6).all(|number| {
                let alone = of_instance(parameters[0].1, &format!("i{number}"));
                times.iter().all(|time| {
                    let time = time.to_string();
                    let asked = [("query", alone.as_str()), ("time", &time)];
                    self.agree_about(&fresh.url, "query", &asked)
                })
            })
        })
    }

    /// Whether a peer says what we say, or what is known to differ in one answer.
    fn agree_about(&self, their_url: &str, path: &str, parameters: Parameters<'_>) -> bool {
        let Ok((ours, theirs)) = self.both_of(their_url, path, parameters) else {
            return false;
        };
        same(&comparable(&ours), &comparable(&theirs))
            || explained_values(parameters[0].1, &ours, &theirs).is_some()
            || extrapolates_less(self, path, parameters)
    }
}

/// The answer without the ` (line:column)` of its annotations.
fn without_places(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    let mut body = answer.json();
    for list in ["warnings", "infos"] {
        let texts = body.get_mut(list).and_then(Value::as_array_mut);
        for text in texts.into_iter().flatten() {
            if let Some((before, _)) = text.as_str().and_then(|text| text.rsplit_once(" (")) {
                *text = before.into();
            }
        }
    }
    if !body.is_null() {
        answer.body = body.to_string().into_bytes();
    }
    answer
}
