//! Messages with known bytes and known content, both ways.

use serde::Deserialize;
use serde_json::{Value, json};

use squall::model::{Artifact, AttemptId, Manifest};
use squall::wire::config::{self, DesiredConfiguration, ReportedConfiguration};
use squall::wire::ota::{self, CloudMessage, Report};
use squall::wire::session::{self, LabelValue};
use squall::wire::telemetry::{self, Labels, LogRecord, Metric};
use squall::wire::{Number, message_type};

#[derive(Deserialize)]
struct Vector {
    name: String,
    direction: String,
    byte_exact: bool,
    hex: String,
    decoded: Value,
}

#[test]
fn every_vector_decodes_to_its_content_and_encodes_to_its_bytes() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/ota.json")).unwrap();
    let mut visited = 0;
    let mut exact = 0;
    for vector in &vectors {
        let payload = bytes_of(&vector.hex);
        let (content, encoded) = decode_and_encode(vector, &payload);
        let mut expected = vector.decoded.clone();
        expected.as_object_mut().unwrap().remove("messageType");
        assert_eq!(content, expected, "{}", vector.name);
        if vector.byte_exact {
            assert_eq!(hex_of(&encoded), vector.hex, "{}", vector.name);
            exact += 1;
        }
        let (again, _) = decode_and_encode(vector, &encoded);
        assert_eq!(again, expected, "{} after a round trip", vector.name);
        visited += 1;
    }
    assert_eq!((visited, exact), (23, 13));
}

/// Content of a payload in the words of the vectors, and the bytes that we send for it.
fn decode_and_encode(vector: &Vector, payload: &[u8]) -> (Value, Vec<u8>) {
    let kind = vector.decoded["messageType"].as_str().unwrap();
    let number = message_type(payload);
    match (vector.direction.as_str(), kind) {
        ("C2D", "UPDATE_ARTIFACTS" | "CANCEL_UPDATE" | "REPORT_UPDATE_RESULTS") => {
            let message = ota::decode_cloud(payload, 4).unwrap();
            (cloud_content(&message, kind), ota::encode_cloud(&message).to_vec())
        }
        ("D2C", "UPDATE_RESULTS") => {
            assert_eq!(number, Some(9));
            let results = ota::decode_results(payload).unwrap();
            (
                results_content(results.attempt, &results.report),
                ota::encode_results(&results).to_vec(),
            )
        }
        ("D2C", "SESSION_METADATA") => {
            assert_eq!(number, Some(1));
            let metadata = session::decode(payload).unwrap();
            let mut content = json!({
                "deviceRunId": metadata.run_id.to_string(),
                "buildId": metadata.build_id.unwrap().to_string(),
                "lastUpdateAttemptId": metadata.last_attempt.map_or(0, AttemptId::number).to_string(),
            });
            if !metadata.labels.is_empty() {
                content["labels"] = metadata
                    .labels
                    .iter()
                    .map(|(name, value)| (name.clone(), label(value)))
                    .collect();
            }
            (content, session::encode(&metadata).to_vec())
        }
        ("C2D", "UPDATE_DESIRED_CONFIGURATION") => {
            assert_eq!(number, Some(3));
            let DesiredConfiguration { severity, version } = config::decode_desired(payload).unwrap();
            let content = json!({
                "minimalLogSeverity": severity.unwrap().0,
                "desiredConfigurationVersion": version.to_string(),
            });
            (
                content,
                config::encode_desired(&DesiredConfiguration { severity, version }).to_vec(),
            )
        }
        ("D2C", "UPDATE_REPORTED_CONFIGURATION") => {
            assert_eq!(number, Some(4));
            let reported = config::decode_reported(payload).unwrap();
            (reported_content(&reported), config::encode_reported(&reported).to_vec())
        }
        ("D2C", "LOG") => {
            assert_eq!(number, Some(0));
            let record = telemetry::decode_log(payload).unwrap();
            (log_content(&record), telemetry::encode_log(&record).to_vec())
        }
        ("D2C", "METRIC") => {
            assert_eq!(number, Some(5));
            let metric = telemetry::decode_metric(payload).unwrap();
            (metric_content(&metric), telemetry::encode_metric(&metric).to_vec())
        }
        other => panic!("{}: no decoder for {other:?}", vector.name),
    }
}

fn cloud_content(message: &CloudMessage, kind: &str) -> Value {
    let id = message.attempt().to_string();
    match message {
        CloudMessage::UpdateArtifacts { manifest, .. } => {
            assert_eq!(kind, "UPDATE_ARTIFACTS");
            let Manifest { canceled, artifacts } = manifest;
            let artifacts: Vec<Value> = artifacts.iter().map(artifact_content).collect();
            json!({ "updateAttemptId": id, "isCanceled": canceled, "manifest": artifacts })
        }
        CloudMessage::CancelUpdate { .. } => {
            assert_eq!(kind, "CANCEL_UPDATE");
            json!({ "updateAttemptId": id })
        }
        CloudMessage::ReportResults { .. } => {
            assert_eq!(kind, "REPORT_UPDATE_RESULTS");
            json!({ "updateAttemptId": id })
        }
    }
}

fn artifact_content(artifact: &Artifact) -> Value {
    json!({
        "artifactType": "FIRMWARE",
        "slug": artifact.slug.to_string(),
        "isMain": artifact.main,
        "url": artifact.url.to_string(),
        "secret": std::str::from_utf8(artifact.secret.as_bytes()).unwrap(),
        "version": artifact.version.to_string(),
    })
}

fn results_content(attempt: AttemptId, report: &Report) -> Value {
    let (lists, error) = match report {
        Report::Results {
            succeeded,
            failed,
            canceled,
        } => ([&succeeded[..], failed, canceled], None),
        Report::Error(error) => ([&[][..]; 3], Some(error)),
    };
    json!({
        "updateAttemptId": attempt.to_string(),
        "succeeded": lists[0],
        "failed": lists[1],
        "canceled": lists[2],
        "updateAttemptError": error,
    })
}

fn reported_content(reported: &ReportedConfiguration) -> Value {
    let (severity, compiled) = reported.severity.unwrap();
    let mut content = json!({ "minimalLogSeverity": severity.0, "compiledMinimalLogSeverity": compiled.0 });
    if let Some(version) = reported.acknowledged {
        content["acknowledgedDesiredConfigurationVersion"] = json!(version.to_string());
    }
    content
}

fn log_content(record: &LogRecord) -> Value {
    json!({
        "sequenceNumber": record.sequence,
        "severity": record.severity.0,
        "deviceUptimeMs": record.uptime_ms,
        "labels": text_labels(&record.labels),
        "body": record.body,
        "bodyTemplate": record.template,
    })
}

fn metric_content(metric: &Metric) -> Value {
    let mut content = json!({ "metricName": metric.name, "deviceUptimeMs": metric.uptime_ms, "sum": number(metric.sum) });
    if let Some(aggregation) = metric.aggregation {
        content["aggregationInterval"] = json!(aggregation.0);
    }
    if let Some(sequence) = metric.sequence {
        content["sequenceNumber"] = json!(sequence);
    }
    if !metric.labels.is_empty() {
        content["labels"] = text_labels(&metric.labels);
    }
    content
}

fn text_labels(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_string(), json!(value))).collect()
}

fn label(value: &LabelValue) -> Value {
    match value {
        LabelValue::Text(text) => json!(text),
        LabelValue::Number(value) => number(*value),
        LabelValue::Flag(flag) => json!(flag),
    }
}

fn number(number: Number) -> Value {
    match number {
        Number::Int(int) => json!(int),
        Number::Float(float) => json!(float),
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
