//! The walk over a message: resource by resource, scope by scope, metric by metric.
//!
//! ExportMetricsServiceRequest{resource_metrics=1}, ResourceMetrics{resource=1, scope_metrics=2},
//! Resource{attributes=1}, ScopeMetrics{scope=1, metrics=2, schema_url=3}, InstrumentationScope{name=1,
//! version=2, attributes=3}. A metric is read in `metric`, its points in `point`.

use std::collections::HashSet;
use std::time::Instant;

use tenbin_model::text::float::format_f;
use tenbin_model::write::{HistogramSample, HistogramValue, MetricType};
use tenbin_model::{Histogram, METRIC_NAME, Sample, stale_nan};

use super::any_value::{Attribute, attribute};
use super::buckets::{self, Totals};
use super::exemplar::{Exemplar, exemplars};
use super::labels::{Failure, IDENTITY, LabelSet, Labeler, ResourceLabels};
use super::metric::{CUMULATIVE, EXPONENTIAL, GAUGE, HISTOGRAM, Metric, SUM, SUMMARY, Span};
use super::names::{MetricNamer, unit_name};
use super::point::{Common, Explicit, Exponential, Number, Summary};
use super::settings::{Deltas, OtlpSettings};
use super::sums::{Identity, Summable, Summed, Sums};
use super::{MAX_ATTRIBUTES, MAX_PARTS, OtlpError, check_room, utf8};
use crate::ingest::batch::Batch;
use crate::ingest::protobuf::{Walker, wire};
use crate::limits::WriteLimits;

/// Most samples of `target_info` for one resource of one request: times that lie far apart must not
/// make millions.
const MAX_TARGET_INFO: i64 = 1000;

/// Most failures that are spelled out.
const MAX_FAILURES: usize = 16;

/// What became of a message.
pub struct Translated<'a> {
    /// The series.
    pub batch: Batch<'a>,
    /// What could not be translated; the rest is in the batch.
    pub failures: Vec<String>,
    /// Failures that are not spelled out.
    pub more_failures: u64,
}

/// Translates a message in binary form.
///
/// # Errors
/// When it is none, or exceeds a limit.
pub fn translate<'l>(
    message: &[u8],
    settings: &OtlpSettings,
    limits: &'l WriteLimits,
) -> Result<Translated<'l>, OtlpError> {
    let strategy = settings.file.translation_strategy;
    let mut translator = Translator {
        settings,
        namer: MetricNamer {
            escape: strategy.escapes(),
            suffixes: strategy.adds_suffixes(),
        },
        labeler: Labeler::new(settings),
        batch: Batch::new(limits),
        failures: Vec::new(),
        more_failures: 0,
        target_infos: HashSet::new(),
    };
    for resource_metrics in messages(message, 1)? {
        translator.resource_metrics(resource_metrics)?;
    }
    Ok(Translated {
        batch: translator.batch,
        failures: translator.failures,
        more_failures: translator.more_failures,
    })
}

struct Translator<'s, 'l> {
    settings: &'s OtlpSettings,
    namer: MetricNamer,
    labeler: Labeler<'s>,
    batch: Batch<'l>,
    failures: Vec<String>,
    more_failures: u64,
    /// Samples of `target_info` that are in the batch.
    target_infos: HashSet<(u64, i64)>,
}

/// The messages of a repeated field.
fn messages(message: &[u8], field: u32) -> Result<Vec<&[u8]>, OtlpError> {
    let mut found = Vec::new();
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        if tag.field != field {
            walker.skip(tag)?;
        } else if tag.wire_type == wire::BYTES {
            check_room(found.len(), MAX_PARTS, "messages")?;
            found.push(walker.bytes()?);
        } else {
            return Err(walker.wrong_type(tag).into());
        }
    }
    Ok(found)
}

/// Around the points of a metric.
struct Around<'a> {
    resource: &'a ResourceLabels,
    scope: &'a LabelSet,
    /// Name of the family.
    name: String,
    kind: MetricType,
    unit: String,
    /// Points count since the last one, and stay so.
    delta: bool,
    /// Points count since the last one, and are added up: where, and to which streams.
    sums: Option<(&'a Sums, Identity)>,
}

/// Makes a total of a point that counts since the last one, where that is to be; false when it is left out.
fn summed<'a>(around: &Around<'_>, point: &mut impl Summable<'a>) -> Result<bool, Failure> {
    let Some((sums, metric)) = around.sums else {
        return Ok(true);
    };
    let identity = metric.and_attributes(&point.common().attributes);
    let delta = point.take();
    match sums.add(identity, point.common(), delta, Instant::now()) {
        Summed::Total(total) => {
            point.put(total);
            Ok(true)
        }
        Summed::LeftOut => Ok(false),
        Summed::Full(max) => Err(Failure::Part(format!(
            "a delta of {} is of a new stream, and the others take the most that they may: {max} bytes \
             (feature otlp-deltatocumulative)",
            around.name
        ))),
    }
}

impl Translator<'_, '_> {
    /// An identity with more parts, where one is needed at all.
    fn identity<const N: usize>(
        &self,
        outer: Identity,
        texts: [&str; N],
        attributes: &[Attribute<'_>],
    ) -> Identity {
        if !matches!(self.settings.deltas, Deltas::Summed(_)) {
            return outer;
        }
        let named = texts
            .iter()
            .fold(outer, |all, text| all.and(text.as_bytes()));
        named.and_attributes(attributes)
    }

    fn fail(&mut self, text: String) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(text);
        } else {
            self.more_failures += 1;
        }
    }

    /// Notes the failure of a part; hands the failure of the whole on.
    fn part<T>(&mut self, result: Result<T, Failure>) -> Result<Option<T>, OtlpError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Part(text)) => {
                self.fail(text);
                Ok(None)
            }
            Err(Failure::Whole(error)) => Err(error),
        }
    }

    fn resource_metrics(&mut self, message: &[u8]) -> Result<(), OtlpError> {
        let mut encoded = Vec::new();
        for resource in messages(message, 1)? {
            encoded.extend(messages(resource, 1)?);
        }
        check_room(encoded.len(), MAX_ATTRIBUTES + 1, "attributes")?;
        let attributes = encoded.into_iter().map(attribute);
        let attributes: Vec<Attribute<'_>> = attributes.collect::<Result<_, _>>()?;
        let labels = self.labeler.resource(&attributes);
        let Some(resource) = self.part(labels)? else {
            return Ok(());
        };
        let identity = self.identity(Identity::default(), [], &attributes);
        let mut span = Span {
            first_ns: u64::MAX,
            last_ns: 0,
        };
        for scope_metrics in messages(message, 2)? {
            self.scope_metrics(scope_metrics, &resource, identity, &mut span)?;
        }
        if span.first_ns < u64::MAX {
            let added = self.target_info(&attributes, &resource, span);
            self.part(added)?;
        }
        Ok(())
    }

    fn scope_metrics(
        &mut self,
        message: &[u8],
        resource: &ResourceLabels,
        identity: Identity,
        span: &mut Span,
    ) -> Result<(), OtlpError> {
        let (mut name, mut version, mut url) = ("", "", "");
        let mut own = Vec::new();
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag()?;
            match (tag.field, tag.wire_type) {
                (1, wire::BYTES) => {
                    let mut scope = Walker::new(walker.bytes()?);
                    while !scope.is_done() {
                        let tag = scope.tag()?;
                        match (tag.field, tag.wire_type) {
                            (1, wire::BYTES) => name = utf8(scope.bytes()?)?,
                            (2, wire::BYTES) => version = utf8(scope.bytes()?)?,
                            (3, wire::BYTES) => {
                                check_room(own.len(), MAX_ATTRIBUTES, "attributes")?;
                                own.push(attribute(scope.bytes()?)?);
                            }
                            _ => scope.skip(tag)?,
                        }
                    }
                }
                (3, wire::BYTES) => url = utf8(walker.bytes()?)?,
                _ => walker.skip(tag)?,
            }
        }
        let fields = [
            ("otel_scope_name", name),
            ("otel_scope_version", version),
            ("otel_scope_schema_url", url),
        ];
        let labels = self.labeler.scope(fields, &own);
        let Some(scope) = self.part(labels)? else {
            return Ok(());
        };
        let identity = self.identity(identity, [name, version], &own);
        for message in messages(message, 2)? {
            let metric = Metric::read(message)?;
            metric.widen(span)?;
            let done = self.metric(metric, resource, &scope, identity);
            self.part(done)?;
        }
        Ok(())
    }

    fn metric(
        &mut self,
        mut metric: Metric<'_>,
        resource: &ResourceLabels,
        scope: &LabelSet,
        identity: Identity,
    ) -> Result<(), Failure> {
        let name = metric.name;
        if metric.kind == 0 {
            return Err(Failure::Part(format!(
                "could not get aggregation temporality for {name} as it has unsupported metric \
                 type Empty"
            )));
        }
        let settings = self.settings;
        let sums = match &settings.deltas {
            Deltas::Summed(sums) if metric.is_delta() => {
                metric.temporality = CUMULATIVE;
                Some((&**sums, metric.identity(identity)))
            }
            _ => None,
        };
        let delta = metric.is_delta();
        let allowed = match metric.kind {
            GAUGE | SUMMARY => true,
            _ if delta => matches!(settings.deltas, Deltas::AsTheyAre),
            _ => metric.temporality == CUMULATIVE,
        };
        if !allowed {
            let name = tenbin_model::text::quote::quoted(name);
            return Err(Failure::Part(format!(
                "invalid temporality and type combination for metric {name}"
            )));
        }
        let family = self.namer.build(name, metric.unit, metric.name_kind());
        let around = Around {
            resource,
            scope,
            name: family.map_err(Failure::Part)?,
            kind: metric.metric_type(),
            unit: unit_name(metric.unit),
            delta,
            sums,
        };
        if !metric.points.is_empty() {
            let (kind, unit) = (around.kind, &around.unit);
            self.batch
                .describe(&around.name, kind, metric.description, unit);
        }
        self.points(&metric, &around)
    }

    fn points(&mut self, metric: &Metric<'_>, around: &Around<'_>) -> Result<(), Failure> {
        for point in &metric.points {
            match metric.kind {
                GAUGE => self.number(around, &Number::read(point)?, false)?,
                SUM => {
                    let mut point = Number::read(point)?;
                    if summed(around, &mut point)? {
                        self.number(around, &point, true)?;
                    }
                }
                HISTOGRAM => {
                    let mut point = Explicit::read(point)?;
                    if !summed(around, &mut point)? {
                        continue;
                    }
                    if self.settings.file.convert_histograms_to_nhcb {
                        self.custom(around, point)?;
                    } else {
                        self.classic(around, &point)?;
                    }
                }
                EXPONENTIAL => {
                    let mut point = Exponential::read(point)?;
                    if summed(around, &mut point)? {
                        self.exponential(around, &point)?;
                    }
                }
                _ => self.summary(around, &Summary::read(point)?)?,
            }
        }
        Ok(())
    }

    /// The labels of a point, without the metric's name.
    fn labels(&mut self, around: &Around<'_>, common: &Common<'_>) -> Result<LabelSet, Failure> {
        let attributes = &common.attributes;
        let mut labels = self
            .labeler
            .point(attributes, &[METRIC_NAME], around.resource, true)?;
        for (name, value) in around.scope.iter() {
            labels.set(name, value);
        }
        if self.settings.type_and_unit_labels {
            if around.kind != MetricType::Unknown {
                labels.set("__type__", around.kind.as_str());
            }
            if !around.unit.is_empty() {
                labels.set("__unit__", &around.unit);
            }
        }
        Ok(labels)
    }

    /// Begins a series `name{labels, more}`.
    fn series(
        &mut self,
        name: &str,
        labels: &LabelSet,
        more: Option<(&str, &str)>,
    ) -> Result<(), Failure> {
        let own = labels
            .iter()
            .filter(|(n, _)| more.is_none_or(|(m, _)| *n != m));
        let named = std::iter::once((METRIC_NAME, name));
        self.batch.series(0, named.chain(own).chain(more))?;
        Ok(())
    }

    fn float(&mut self, common: &Common<'_>, value: f64) -> Result<(), Failure> {
        let value = if common.stale { stale_nan() } else { value };
        let sample = Sample {
            start_timestamp_ms: common.start_ms(),
            ..Sample::new(common.time_ms(), value)
        };
        self.batch.sample(sample)?;
        Ok(())
    }

    fn exemplars(&mut self, common: &Common<'_>, all: Vec<Exemplar>) -> Result<(), Failure> {
        for exemplar in all {
            let time_ms = match exemplar.time_ms {
                0 => common.time_ms(),
                time_ms => time_ms,
            };
            self.batch
                .exemplar(exemplar.labels, exemplar.value, time_ms)?;
        }
        Ok(())
    }

    fn number(
        &mut self,
        around: &Around<'_>,
        point: &Number<'_>,
        with_exemplars: bool,
    ) -> Result<(), Failure> {
        let common = &point.common;
        let labels = self.labels(around, common)?;
        let all = if with_exemplars {
            exemplars(&common.exemplars)?
        } else {
            Vec::new()
        };
        self.series(&around.name, &labels, None)?;
        self.float(common, point.value)?;
        self.exemplars(common, all)
    }

    fn native(
        &mut self,
        around: &Around<'_>,
        common: &Common<'_>,
        histogram: Histogram,
    ) -> Result<(), Failure> {
        let labels = self.labels(around, common)?;
        let all = exemplars(&common.exemplars)?;
        self.series(&around.name, &labels, None)?;
        self.batch.histogram(HistogramSample {
            timestamp_ms: common.time_ms(),
            start_timestamp_ms: common.start_ms(),
            histogram: HistogramValue::Integer(Box::new(histogram)),
        })?;
        self.exemplars(common, all)
    }

    fn exponential(&mut self, around: &Around<'_>, point: &Exponential<'_>) -> Result<(), Failure> {
        let totals = Totals {
            count: point.count,
            sum: point.sum,
            stale: point.common.stale,
            delta: around.delta,
        };
        let (positive, negative) = (&point.positive, &point.negative);
        let made = buckets::exponential(point.scale, point.zero_count, positive, negative, totals);
        self.native(around, &point.common, made.map_err(Failure::Part)?)
    }

    fn custom(&mut self, around: &Around<'_>, point: Explicit<'_>) -> Result<(), Failure> {
        let totals = Totals {
            count: point.count,
            sum: point.sum,
            stale: point.common.stale,
            delta: around.delta,
        };
        let made = buckets::custom(&point.counts, point.bounds, totals);
        self.native(around, &point.common, made)
    }

    fn classic(&mut self, around: &Around<'_>, point: &Explicit<'_>) -> Result<(), Failure> {
        let (common, name) = (&point.common, &around.name);
        let labels = self.labels(around, common)?;
        if let Some(sum) = point.sum {
            self.series(&format!("{name}_sum"), &labels, None)?;
            self.float(common, sum)?;
        }
        self.series(&format!("{name}_count"), &labels, None)?;
        self.float(common, point.count as f64)?;
        let mut left = exemplars(&common.exemplars)?;
        let bucket = format!("{name}_bucket");
        let mut cumulative = 0_u64;
        for (bound, count) in point.bounds.iter().zip(&point.counts) {
            cumulative = cumulative.wrapping_add(*count);
            self.series(&bucket, &labels, Some(("le", &format_f(*bound))))?;
            self.float(common, cumulative as f64)?;
            // They come in ascending order.
            let later = left.iter().position(|e| e.value > *bound);
            let rest = left.split_off(later.unwrap_or(left.len()));
            self.exemplars(common, std::mem::replace(&mut left, rest))?;
        }
        self.series(&bucket, &labels, Some(("le", "+Inf")))?;
        self.float(common, point.count as f64)?;
        self.exemplars(common, left)
    }

    fn summary(&mut self, around: &Around<'_>, point: &Summary<'_>) -> Result<(), Failure> {
        let (common, name) = (&point.common, &around.name);
        let labels = self.labels(around, common)?;
        self.series(&format!("{name}_sum"), &labels, None)?;
        self.float(common, point.sum)?;
        self.series(&format!("{name}_count"), &labels, None)?;
        self.float(common, point.count as f64)?;
        for (quantile, value) in &point.quantiles {
            self.series(name, &labels, Some(("quantile", &format_f(*quantile))))?;
            self.float(common, *value)?;
        }
        Ok(())
    }

    /// `target_info`: the resource's other attributes, from the first point to the last.
    fn target_info(
        &mut self,
        attributes: &[Attribute<'_>],
        resource: &ResourceLabels,
        span: Span,
    ) -> Result<(), Failure> {
        let identifies = |name: &str| IDENTITY.contains(&name);
        if attributes.iter().all(|(name, _)| identifies(name)) {
            return Ok(());
        }
        let ignored: &[&str] = if self.settings.file.keep_identifying_resource_attributes {
            &[]
        } else {
            &IDENTITY
        };
        let labels = self.labeler.point(attributes, ignored, resource, false)?;
        if labels.get("job").is_empty() && labels.get("instance").is_empty() {
            return Ok(());
        }
        let lookback_ms = match self.settings.lookback_ms {
            0 => 300_000,
            lookback_ms => lookback_ms,
        };
        let step_ns = (lookback_ms.max(2) as u64).saturating_mul(500_000);
        let most_ns = step_ns.saturating_mul(MAX_TARGET_INFO as u64);
        let mut time_ns = span.first_ns.max(span.last_ns.saturating_sub(most_ns));
        let mut times = Vec::new();
        while time_ns < span.last_ns {
            times.push(super::point::to_ms(time_ns));
            time_ns = time_ns.saturating_add(step_ns);
        }
        times.push(super::point::to_ms(span.last_ns));
        let info = "target_info";
        self.batch
            .describe(info, MetricType::Gauge, "Target metadata", "");
        let named = std::iter::once((METRIC_NAME, info));
        let own = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
        self.batch.series(0, named.chain(own))?;
        let hash = {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            labels.iter().for_each(|label| label.hash(&mut hasher));
            hasher.finish()
        };
        for time_ms in times {
            if self.target_infos.insert((hash, time_ms)) {
                self.batch.sample(Sample::new(time_ms, 1.0))?;
            }
        }
        Ok(())
    }
}
