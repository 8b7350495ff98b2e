//! Labels of a series: from attributes of the point, of the resource and of the scope.
//!
//! The point's own come first; two that become one name are joined by `;` in the order of their
//! original names. `job` and `instance` come from the resource's identity. An empty value is no label.

use std::collections::{BTreeMap, HashMap};

use super::OtlpError;
use super::any_value::{self, Attribute};
use super::names::LabelNamer;
use super::settings::OtlpSettings;

/// The resource's identity.
pub(super) const IDENTITY: [&str; 3] = ["service.namespace", "service.name", "service.instance.id"];

/// Names of attributes that keep their label name in a cache; as many as a request usually has.
const CACHED_NAMES: usize = 256;

/// A failure of one part of a message.
pub(super) enum Failure {
    /// The part cannot be translated; the rest can.
    Part(String),
    /// The message is none, or too large.
    Whole(OtlpError),
}

impl<E: Into<OtlpError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Whole(error.into())
    }
}

/// Labels by name, without empty values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LabelSet(BTreeMap<String, String>);

impl LabelSet {
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

/// What the resource gives to the labels of its series.
#[derive(Debug, Default)]
pub(super) struct ResourceLabels {
    pub(super) job: String,
    pub(super) instance: String,
    promoted: LabelSet,
}

/// Makes names of labels, each once.
#[derive(Debug)]
pub(super) struct Labeler<'s> {
    settings: &'s OtlpSettings,
    namer: LabelNamer,
    cache: HashMap<String, String>,
}

impl<'s> Labeler<'s> {
    pub(super) fn new(settings: &'s OtlpSettings) -> Self {
        let namer = LabelNamer {
            escape: settings.file.translation_strategy.escapes(),
            prefix_underscore: settings.file.label_name_underscore_sanitization,
            keep_underscores: settings.file.label_name_preserve_multiple_underscores,
        };
        Self {
            settings,
            namer,
            cache: HashMap::new(),
        }
    }

    pub(super) fn name(&mut self, attribute: &str) -> Result<String, Failure> {
        if let Some(name) = self.cache.get(attribute) {
            return Ok(name.clone());
        }
        let name = self.namer.build(attribute).map_err(Failure::Part)?;
        if self.cache.len() < CACHED_NAMES {
            self.cache.insert(attribute.to_owned(), name.clone());
        }
        Ok(name)
    }

    /// What a resource gives to its series.
    pub(super) fn resource(
        &mut self,
        attributes: &[Attribute<'_>],
    ) -> Result<ResourceLabels, Failure> {
        let find = |name: &str| {
            let found = attributes.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| any_value::text(value)).transpose()
        };
        let mut labels = ResourceLabels::default();
        if let Some(name) = find("service.name")? {
            labels.job = match find("service.namespace")? {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name,
            };
        }
        labels.instance = find("service.instance.id")?.unwrap_or_default();
        let settings = &self.settings.file;
        let listed = |list: &[String], name: &str| list.iter().any(|n| n == name);
        for (attribute, value) in attributes {
            let promoted = if settings.promote_all_resource_attributes {
                !listed(&settings.ignore_resource_attributes, attribute)
            } else {
                listed(&settings.promote_resource_attributes, attribute)
            };
            if promoted {
                let name = self.name(attribute)?;
                labels.promoted.set(&name, &any_value::text(value)?);
            }
        }
        Ok(labels)
    }

    /// What a scope gives to its series.
    pub(super) fn scope(
        &mut self,
        fields: [(&str, &str); 3],
        attributes: &[Attribute<'_>],
    ) -> Result<LabelSet, Failure> {
        let mut labels = LabelSet::default();
        if !self.settings.file.promote_scope_metadata || fields[0].1.is_empty() {
            return Ok(labels);
        }
        for (attribute, value) in attributes {
            let name = self.name(&format!("otel_scope_{attribute}"))?;
            labels.set(&name, &any_value::text(value)?);
        }
        for (name, value) in fields {
            labels.set(name, value);
        }
        Ok(labels)
    }

    /// The labels of a point, without the metric's name. `promote` is off for `target_info`.
    pub(super) fn point(
        &mut self,
        attributes: &[Attribute<'_>],
        ignored: &[&str],
        resource: &ResourceLabels,
        promote: bool,
    ) -> Result<LabelSet, Failure> {
        let mut own = Vec::with_capacity(attributes.len());
        for (name, value) in attributes {
            if !ignored.contains(name) {
                own.push((*name, any_value::text(value)?));
            }
        }
        own.sort_by(|a, b| a.0.cmp(b.0));
        let mut labels = LabelSet::default();
        for (attribute, value) in own {
            if !self.namer.escape {
                labels.set(attribute, &value);
                continue;
            }
            let name = self.name(attribute)?;
            match labels.get(&name) {
                "" => labels.set(&name, &value),
                before => {
                    let joined = format!("{before};{value}");
                    labels.set(&name, &joined);
                }
            }
        }
        if promote {
            for (name, value) in resource.promoted.iter() {
                if labels.get(name).is_empty() {
                    labels.set(name, value);
                }
            }
        }
        for (name, value) in [("job", &resource.job), ("instance", &resource.instance)] {
            if !value.is_empty() {
                labels.set(name, value);
            }
        }
        Ok(labels)
    }
}
