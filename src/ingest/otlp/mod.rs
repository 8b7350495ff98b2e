//! OTLP metrics: from the messages of OpenTelemetry to series.

pub mod settings;
