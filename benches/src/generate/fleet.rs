//! The targets of one stream of requests, and what each scrape of them gives.
//!
//! Nodes carry a host exporter and pods; a pod has container series (scraped with its node), state
//! series and, in two of five, an application. Pods are replaced at the churn rate: the old series
//! end with a staleness marker, new ones begin under another name. Each endpoint has a phase within
//! the interval; 9 % of scrapes are off by up to 5 ms. Targets restart now and then, which resets
//! their counters.

use super::catalogue::{Catalogue, Part, Template};
use super::pool::{LabelId, Pool};
use super::random::Random;
use super::values::{Scrape, State};

/// Prometheus' staleness marker.
pub(crate) const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
/// Share of scrapes whose time is off.
const JITTER_SHARE: f64 = 0.09;
const JITTER_MS: u64 = 5;
const PODS_PER_NODE: usize = 12;

/// What is scraped. Sizes are of one stream.
#[derive(Debug, Clone)]
pub(crate) struct FleetSettings {
    /// Series at any time, about: targets are added while there are fewer.
    pub(crate) series: usize,
    pub(crate) interval_ms: i64,
    /// Share of pods that are replaced in an hour (1.0 = as many as there are).
    pub(crate) churn_per_hour: f64,
    /// Chance of a restart of a target at one scrape.
    pub(crate) restart_chance: f64,
    /// Milliseconds since the Unix epoch.
    pub(crate) start_ms: i64,
    pub(crate) seed: u64,
    /// The stream's number; no two streams share a series.
    pub(crate) stream: usize,
    /// Every scrape's series come in another order.
    pub(crate) shuffle: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Host,
    Containers,
    PodState,
    Application,
}

struct Target {
    job: Job,
    clock: usize,
    slots: Vec<LabelId>,
    states: Vec<State>,
    activity: f64,
    /// Values of the present scrape; used when the order is shuffled.
    values: Vec<f64>,
}

/// When one endpoint is scraped.
struct Clock {
    phase_ms: i64,
    now_ms: i64,
}

/// What a whole stream had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// All samples, markers included.
    pub(crate) samples: u64,
    pub(crate) stale_markers: u64,
    /// Series that ever were.
    pub(crate) series: u64,
    /// Series at the end.
    pub(crate) active: u64,
    /// Samples of the metric `up` that are no markers.
    pub(crate) up_samples: u64,
}

/// All targets of a stream.
pub(crate) struct Fleet {
    settings: FleetSettings,
    pool: Pool,
    catalogue: Catalogue,
    random: Random,
    clocks: Vec<Clock>,
    targets: Vec<Target>,
    /// Pods as ranges of targets.
    pods: Vec<(usize, usize)>,
    round: i64,
    totals: Totals,
    labels: Vec<LabelId>,
    order: Vec<(u32, u32)>,
}

impl Fleet {
    pub(crate) fn new(settings: FleetSettings) -> Self {
        let mut pool = Pool::default();
        let catalogue = Catalogue::new(&mut pool);
        let seed = settings.seed ^ (settings.stream as u64 + 1).wrapping_mul(0x517c_c1b7_2722_0a95);
        let mut fleet = Self {
            random: Random::new(seed),
            settings,
            pool,
            catalogue,
            clocks: Vec::new(),
            targets: Vec::new(),
            pods: Vec::new(),
            round: 0,
            totals: Totals::default(),
            labels: Vec::new(),
            order: Vec::new(),
        };
        let state_clock = fleet.clock();
        let mut node = 0;
        while (fleet.totals.series as usize) < fleet.settings.series {
            fleet.add_node(node, state_clock);
            node += 1;
        }
        fleet
    }

    pub(crate) fn totals(&self) -> Totals {
        let active = self.targets.iter().map(|t| t.states.len() as u64).sum();
        Totals {
            active,
            ..self.totals
        }
    }

    /// All targets are scraped once; `give` gets labels, time in milliseconds and value.
    pub(crate) fn scrape(
        &mut self,
        mut give: impl FnMut(&Pool, &[LabelId], i64, f64) -> Result<(), String>,
    ) -> Result<(), String> {
        self.advance_clocks();
        if self.round > 0 {
            self.churn(&mut give)?;
        }
        for number in 0..self.targets.len() {
            self.step(number);
            if !self.settings.shuffle {
                for line in 0..self.targets[number].values.len() {
                    self.give(number, line, &mut give)?;
                }
            }
        }
        if self.settings.shuffle {
            let mut order = std::mem::take(&mut self.order);
            order.clear();
            for (number, target) in self.targets.iter().enumerate() {
                order.extend((0..target.values.len()).map(|line| (number as u32, line as u32)));
            }
            self.random.shuffle(&mut order);
            for (number, line) in &order {
                self.give(*number as usize, *line as usize, &mut give)?;
            }
            self.order = order;
        }
        self.round += 1;
        Ok(())
    }

    fn clock(&mut self) -> usize {
        let phase_ms = self.random.below(self.settings.interval_ms as u64 - 20) as i64 + 10;
        self.clocks.push(Clock {
            phase_ms,
            now_ms: 0,
        });
        self.clocks.len() - 1
    }

    fn advance_clocks(&mut self) {
        let base = self.settings.start_ms + self.round * self.settings.interval_ms;
        for clock in &mut self.clocks {
            let mut now = base + clock.phase_ms;
            if self.random.chance(JITTER_SHARE) {
                let off = 1 + self.random.below(JITTER_MS) as i64;
                now += if self.random.chance(0.5) { off } else { -off };
            }
            clock.now_ms = now;
        }
    }

    fn add_node(&mut self, node: usize, state_clock: usize) {
        let address = format!(
            "10.{}.{}.{}",
            self.settings.stream % 200,
            node / 250,
            node % 250 + 1
        );
        let kubelet_clock = self.clock();
        let kubelet = format!("{address}:10250");
        // a small fleet has both: pods for one half, then a host
        let limit = self.settings.series / if node == 0 { 2 } else { 1 };
        for _ in 0..PODS_PER_NODE {
            if self.totals.series as usize >= limit {
                break;
            }
            let first = self.targets.len();
            let has_application = self.random.chance(0.4);
            let application_clock = if has_application {
                Some(self.clock())
            } else {
                None
            };
            for target in self.pod(
                &kubelet,
                kubelet_clock,
                state_clock,
                application_clock,
                false,
            ) {
                self.targets.push(target);
            }
            self.pods.push((first, self.targets.len()));
        }
        if (self.totals.series as usize) < self.settings.series {
            let exporter = format!("node-exporter-{}", self.random.hex(5));
            let clock = self.clock();
            let slots = [format!("{address}:9100"), exporter];
            let host = self.target(Job::Host, clock, &slots, false);
            self.targets.push(host);
        }
    }

    fn target(&mut self, job: Job, clock: usize, slots: &[String], begins: bool) -> Target {
        let template = template(&self.catalogue, job);
        let slots = template
            .slots
            .iter()
            .zip(slots)
            .map(|(name, value)| self.pool.label(name, value))
            .collect();
        let random = &mut self.random;
        let states: Vec<State> = template
            .lines
            .iter()
            .map(|line| State::new(line.kind, begins, random))
            .collect();
        self.totals.series += states.len() as u64;
        Target {
            job,
            clock,
            slots,
            states,
            activity: 0.1 + 1.8 * self.random.unit(),
            values: Vec::new(),
        }
    }

    /// A pod's targets under a new name.
    fn pod(
        &mut self,
        kubelet: &str,
        kubelet_clock: usize,
        state_clock: usize,
        application_clock: Option<usize>,
        begins: bool,
    ) -> Vec<Target> {
        const WORKLOADS: [&str; 12] = [
            "checkout",
            "cart",
            "catalogue",
            "payments",
            "search",
            "gateway",
            "frontend",
            "orders",
            "shipping",
            "reviews",
            "sessions",
            "recommendations",
        ];
        let workload = WORKLOADS[self.random.below(12) as usize].to_owned();
        let namespace = format!("team-{}", self.random.below(9));
        let pod = format!("{workload}-{}-{}", self.random.hex(9), self.random.hex(5));
        let image = format!(
            "registry.example.com/{workload}:v1.{}.{}",
            self.random.below(20),
            self.random.below(40)
        );
        let container_slots = [
            workload.clone(),
            image,
            kubelet.to_owned(),
            namespace.clone(),
            pod.clone(),
        ];
        let uid = format!("{}-{}", self.random.hex(8), self.random.hex(12));
        let state_slots = [namespace.clone(), pod.clone(), uid];
        let mut targets = vec![
            self.target(Job::Containers, kubelet_clock, &container_slots, begins),
            self.target(Job::PodState, state_clock, &state_slots, begins),
        ];
        if let Some(clock) = application_clock {
            let address = format!(
                "10.128.{}.{}:8080",
                self.random.below(250),
                self.random.below(250)
            );
            let slots = [workload.clone(), address, workload, namespace, pod];
            targets.push(self.target(Job::Application, clock, &slots, begins));
        }
        targets
    }

    /// Replaces pods; the markers of what ended carry the present scrape's time.
    fn churn(
        &mut self,
        give: &mut impl FnMut(&Pool, &[LabelId], i64, f64) -> Result<(), String>,
    ) -> Result<(), String> {
        let chance = self.settings.churn_per_hour * self.settings.interval_ms as f64 / 3_600_000.0;
        for pod in 0..self.pods.len() {
            if !self.random.chance(chance) {
                continue;
            }
            let (first, after) = self.pods[pod];
            for number in first..after {
                let lines = self.targets[number].states.len();
                self.targets[number].values = vec![STALE; lines];
                for line in 0..lines {
                    self.give(number, line, give)?;
                }
            }
            let kubelet_clock = self.targets[first].clock;
            let state_clock = self.targets[first + 1].clock;
            let application_clock = (after - first == 3).then(|| self.targets[first + 2].clock);
            let (_, kubelet) = self.pool.symbols(self.targets[first].slots[2]);
            let kubelet = self.pool.symbol_text(kubelet).to_owned();
            let new = self.pod(
                &kubelet,
                kubelet_clock,
                state_clock,
                application_clock,
                true,
            );
            for (number, target) in (first..after).zip(new) {
                self.targets[number] = target;
            }
        }
        Ok(())
    }

    fn step(&mut self, number: usize) {
        let target = &mut self.targets[number];
        let lines = &template(&self.catalogue, target.job).lines;
        if self.random.chance(self.settings.restart_chance) {
            for (state, line) in target.states.iter_mut().zip(lines) {
                state.reset(line.kind);
            }
        }
        let elapsed_s = self.settings.interval_ms as f64 / 1000.0;
        let mut scrape = Scrape::new(elapsed_s, target.activity);
        target.values.clear();
        for (state, line) in target.states.iter_mut().zip(lines) {
            let value = state.step(line.kind, &mut scrape, &mut self.random);
            target.values.push(value);
        }
    }

    fn give(
        &mut self,
        number: usize,
        line: usize,
        give: &mut impl FnMut(&Pool, &[LabelId], i64, f64) -> Result<(), String>,
    ) -> Result<(), String> {
        let target = &self.targets[number];
        let lines = &template(&self.catalogue, target.job).lines;
        self.labels.clear();
        for part in &lines[line].parts {
            self.labels.push(match part {
                Part::Fixed(label) => *label,
                Part::Slot(slot) => target.slots[*slot],
            });
        }
        let value = target.values[line];
        let is_marker = value.to_bits() == STALE.to_bits();
        self.totals.samples += 1;
        self.totals.stale_markers += u64::from(is_marker);
        // `up` is the last line of every template
        self.totals.up_samples += u64::from(line + 1 == lines.len() && !is_marker);
        let time_ms = self.clocks[target.clock].now_ms;
        give(&self.pool, &self.labels, time_ms, value)
    }
}

fn template(catalogue: &Catalogue, job: Job) -> &Template {
    match job {
        Job::Host => &catalogue.host,
        Job::Containers => &catalogue.containers,
        Job::PodState => &catalogue.pod_state,
        Job::Application => &catalogue.application,
    }
}
