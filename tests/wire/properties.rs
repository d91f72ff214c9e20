//! What holds for every payload: nothing panics a decoder, what we encode we decode, and the way of encoding does not matter.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use squall::model::{Artifact, AttemptId, BuildId, Manifest, Secret, Slug, Url, Version};
use squall::wire::config::{self, DesiredConfiguration, ReportedConfiguration, Severity};
use squall::wire::ota::{self, CloudMessage, DecodeError, Report, UpdateResults};
use squall::wire::session::{self, LabelValue, SessionMetadata};
use squall::wire::telemetry::{self, Aggregation, Labels, LogRecord, Metric, Spread};
use squall::wire::{ByteRange, ContentRange, ImageUrl, Number, message_type};

use super::cbor::{Item, Style, array, encode_as, map, text, uint};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_a_decoder(payload in vec(any::<u8>(), 0..200), max_artifacts in 0u8..=33) {
        decode_every_way(&payload, max_artifacts);
    }

    #[test]
    fn no_damaged_message_panics_a_decoder(
        message in any_payload(cloud_message()),
        cut in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut payload = message;
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        decode_every_way(&payload, 4);
        payload.truncate(cut.index(payload.len() + 1));
        decode_every_way(&payload, 4);
    }

    #[test]
    fn a_damaged_cloud_message_never_changes_its_id(message in cloud_message(), behind in 8usize..400, byte in any::<u8>()) {
        // Head of the map, type and id take eight bytes at least when the id is wide, so damage behind 12 leaves them whole.
        let mut payload = ota::encode_cloud(&message).to_vec();
        let at = 12 + behind;
        prop_assume!(at < payload.len());
        payload[at] = byte;
        match ota::decode_cloud(&payload, 4) {
            Ok(decoded) => prop_assert_eq!(decoded.attempt(), message.attempt()),
            Err(error) => prop_assert_eq!(error.attempt(), Some(message.attempt())),
        }
    }

    #[test]
    fn cloud_messages_survive_the_wire(message in cloud_message()) {
        prop_assert_eq!(ota::decode_cloud(&ota::encode_cloud(&message), 4), Ok(message));
    }

    #[test]
    fn any_encoding_of_a_cloud_message_decodes_alike(message in cloud_message(), style in style()) {
        let payload = encode_as(&cloud_item(&message), &mut style.clone());
        prop_assert_eq!(ota::decode_cloud(&payload, 4), Ok(message));
    }

    #[test]
    fn a_cut_cloud_message_is_never_accepted(message in cloud_message(), style in style(), cut in any::<prop::sample::Index>()) {
        let payload = encode_as(&cloud_item(&message), &mut style.clone());
        let cut = cut.index(payload.len());
        match ota::decode_cloud(&payload[..cut], 4) {
            Err(DecodeError::Ignore(_)) => {}
            Err(DecodeError::Reject { attempt, .. }) => prop_assert_eq!(attempt, message.attempt()),
            other => prop_assert!(false, "{other:?} for {cut} of {} bytes", payload.len()),
        }
    }

    #[test]
    fn results_survive_the_wire(results in update_results()) {
        prop_assert_eq!(ota::decode_results(&ota::encode_results(&results)), Ok(results));
    }

    #[test]
    fn any_encoding_of_results_decodes_alike(results in update_results(), style in style()) {
        let payload = encode_as(&results_item(&results), &mut style.clone());
        prop_assert_eq!(ota::decode_results(&payload), Ok(results));
    }

    #[test]
    fn session_metadata_survives_the_wire(metadata in session_metadata()) {
        prop_assert_eq!(session::decode(&session::encode(&metadata)), Ok(metadata));
    }

    #[test]
    fn any_encoding_of_session_metadata_decodes_alike(metadata in session_metadata(), extra in 50u64.., style in style()) {
        let mut pairs = vec![
            (0, uint(1)),
            (30, uint(metadata.run_id)),
            (41, uint(metadata.last_attempt.map_or(0, AttemptId::number))),
            (extra, array([Item::Null])),
        ];
        pairs.extend(metadata.build_id.map(|id| (14, Item::Bytes(id.0.to_vec()))));
        let labels = metadata.labels.iter().map(|(name, value)| (text(name), label_item(value)));
        pairs.push((5, Item::Map(labels.collect())));
        let payload = encode_as(&map(pairs), &mut style.clone());
        let mut decoded = session::decode(&payload).unwrap();
        let mut sent = metadata;
        decoded.labels.sort_by(|a, b| a.0.cmp(&b.0));
        sent.labels.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(decoded, sent);
    }

    #[test]
    fn configurations_survive_the_wire(severity in option::of(0u64..100), compiled in any::<u64>(), version in any::<u64>(), widths in widths()) {
        let desired = DesiredConfiguration { severity: severity.map(Severity), version };
        prop_assert_eq!(config::decode_desired(&config::encode_desired(&desired)), Ok(desired));
        let mut pairs = vec![(0, uint(3))];
        pairs.extend(severity.map(|severity| (16, uint(severity))));
        pairs.push((18, uint(version)));
        prop_assert_eq!(config::decode_desired(&encode_as(&map(pairs), &mut widths.clone())), Ok(desired));
        let severity = severity.map(|severity| (Severity(severity), Severity(compiled)));
        for acknowledged in [None, Some(version)] {
            let reported = ReportedConfiguration { severity, acknowledged };
            prop_assert_eq!(config::decode_reported(&config::encode_reported(&reported)), Ok(reported));
        }
    }

    #[test]
    fn telemetry_survives_the_wire(record in log_record(), metric in metric()) {
        prop_assert_eq!(telemetry::decode_log(&telemetry::encode_log(&record)), Ok(record));
        prop_assert_eq!(telemetry::decode_metric(&telemetry::encode_metric(&metric)), Ok(metric));
    }

    /// minicbor, which wants texts to be UTF-8, is the second opinion on what a well-formed message is.
    #[test]
    fn what_we_encode_is_well_formed(payload in any_payload(cloud_message().prop_map(in_ascii))) {
        let mut decoder = minicbor::Decoder::new(&payload);
        prop_assert!(decoder.skip().is_ok());
        prop_assert_eq!(decoder.position(), payload.len());
    }

    #[test]
    fn urls_of_any_bytes_are_taken_apart_or_refused(tail in vec(any::<u8>(), 0..120), tls in any::<bool>()) {
        for scheme in [&b""[..], b"https://", b"http://h:"] {
            let Ok(url) = Url::new([scheme, &tail].concat()) else { continue };
            if let Ok(parsed) = ImageUrl::parse(&url, tls) {
                prop_assert!(parsed.path.starts_with('/') && !parsed.host.is_empty() && parsed.port > 0);
                prop_assert!(parsed.tls || !tls);
            }
        }
    }

    #[test]
    fn ranges_of_any_text_lie_within_the_image(range in "(bytes=)?[0-9]{0,21}-[0-9]{0,21}|\\PC*", total in any::<u64>()) {
        if let Some(part) = ByteRange::parse(&range).and_then(|range| range.within(total)) {
            prop_assert!(part.first <= part.last && part.last < total && part.total == total);
            prop_assert_eq!(ContentRange::parse(&part.to_string()), Some(part));
        }
        if let Some(given) = ContentRange::parse(&range) {
            prop_assert_eq!(ContentRange::parse(&given.to_string()), Some(given));
        }
    }
}

fn decode_every_way(payload: &[u8], max_artifacts: u8) {
    let _ = ota::decode_cloud(payload, max_artifacts);
    let _ = ota::decode_results(payload);
    let _ = session::decode(payload);
    let _ = config::decode_desired(payload);
    let _ = config::decode_reported(payload);
    let _ = telemetry::decode_log(payload);
    let _ = telemetry::decode_metric(payload);
    let _ = message_type(payload);
}

fn attempt_id() -> impl Strategy<Value = AttemptId> {
    prop_oneof![1..=300u64, any::<u64>()].prop_filter_map("ids are above zero", AttemptId::new)
}

fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 1..=len), vec(97u8..123, 1..=len)]
}

fn artifact() -> impl Strategy<Value = Artifact> {
    let slug = vec(any::<u8>().prop_filter("a slug has no slash", |byte| *byte != b'/'), 1..=32);
    (slug, bytes(128), bytes(24), bytes(64)).prop_map(|(slug, url, secret, version)| Artifact {
        slug: Slug::new(slug).unwrap(),
        main: false,
        url: Url::new(url).unwrap(),
        secret: Secret::new(secret).unwrap(),
        version: Version::new(version).unwrap(),
    })
}

fn cloud_message() -> impl Strategy<Value = CloudMessage> {
    let manifest = (
        any::<bool>(),
        vec(artifact(), 1..=4),
        option::of(any::<prop::sample::Index>()),
    );
    let update = (attempt_id(), manifest).prop_map(|(attempt, (canceled, mut artifacts, main))| {
        if let Some(main) = main {
            let main = main.index(artifacts.len());
            artifacts[main].main = true;
        }
        let manifest = Manifest { canceled, artifacts };
        CloudMessage::UpdateArtifacts { attempt, manifest }
    });
    prop_oneof![
        3 => update,
        1 => attempt_id().prop_map(|attempt| CloudMessage::CancelUpdate { attempt }),
        1 => attempt_id().prop_map(|attempt| CloudMessage::ReportResults { attempt }),
    ]
}

fn update_results() -> impl Strategy<Value = UpdateResults> {
    let list = || vec(prop_oneof![0..32u64, any::<u64>()], 0..6);
    let report = prop_oneof![
        (list(), list(), list()).prop_map(|(succeeded, failed, canceled)| Report::Results {
            succeeded: succeeded.into(),
            failed: failed.into(),
            canceled: canceled.into(),
        }),
        any::<u64>().prop_map(Report::Error),
    ];
    (attempt_id(), report).prop_map(|(attempt, report)| UpdateResults { attempt, report })
}

fn number() -> impl Strategy<Value = Number> {
    let float = any::<f64>().prop_filter("a NaN equals nothing", |float| !float.is_nan());
    prop_oneof![any::<i64>().prop_map(Number::Int), float.prop_map(Number::Float)]
}

fn session_metadata() -> impl Strategy<Value = SessionMetadata> {
    let value = prop_oneof![
        "\\PC{0,20}".prop_map(LabelValue::Text),
        number().prop_map(LabelValue::Number),
        any::<bool>().prop_map(LabelValue::Flag),
    ];
    let labels = prop::collection::btree_map("[a-z]{1,8}", value, 0..4);
    let build_id = option::of(any::<[u8; 20]>().prop_map(BuildId));
    (any::<u64>(), labels, build_id, option::of(attempt_id())).prop_map(|(run_id, labels, build_id, last_attempt)| {
        SessionMetadata {
            run_id,
            labels: labels.into_iter().collect(),
            build_id,
            last_attempt,
        }
    })
}

fn labels() -> impl Strategy<Value = Labels> {
    vec(("\\PC{0,15}".prop_map(Into::into), "\\PC{0,31}"), 0..3)
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let record = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        labels(),
        "\\PC{0,80}",
        option::of("\\PC{0,80}"),
    );
    record.prop_map(|(sequence, severity, uptime_ms, labels, body, template)| LogRecord {
        sequence,
        severity: Severity(severity),
        uptime_ms,
        labels,
        body,
        template,
    })
}

fn metric() -> impl Strategy<Value = Metric> {
    let spread = (any::<u64>(), number(), number()).prop_map(|(count, min, max)| Spread { count, min, max });
    let head = (
        "[a-z_]{1,20}",
        option::of(0..5u64),
        any::<i64>(),
        option::of(any::<u64>()),
        labels(),
    );
    (head, number(), any::<bool>(), option::of(spread)).prop_map(
        |((name, aggregation, uptime_ms, sequence, labels), sum, sum_truncated, spread)| Metric {
            name: name.into(),
            aggregation: aggregation.map(Aggregation),
            uptime_ms,
            sequence,
            labels,
            sum,
            sum_truncated,
            spread,
        },
    )
}

/// A message of any kind as we encode it.
fn any_payload(cloud: impl Strategy<Value = CloudMessage>) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        cloud.prop_map(|message| ota::encode_cloud(&message).to_vec()),
        update_results().prop_map(|results| ota::encode_results(&results).to_vec()),
        session_metadata().prop_map(|metadata| session::encode(&metadata).to_vec()),
        log_record().prop_map(|record| telemetry::encode_log(&record).to_vec()),
        metric().prop_map(|metric| telemetry::encode_metric(&metric).to_vec()),
    ]
}

/// The message with the eighth bit of every text taken off.
fn in_ascii(mut message: CloudMessage) -> CloudMessage {
    let ascii = |text: &[u8]| text.iter().map(|byte| (byte & 0x7f).max(b'0')).collect::<Vec<u8>>();
    if let CloudMessage::UpdateArtifacts { manifest, .. } = &mut message {
        for artifact in &mut manifest.artifacts {
            artifact.slug = Slug::new(ascii(artifact.slug.as_bytes())).unwrap();
            artifact.url = Url::new(ascii(artifact.url.as_bytes())).unwrap();
            artifact.secret = Secret::new(ascii(artifact.secret.as_bytes())).unwrap();
            artifact.version = Version::new(ascii(artifact.version.as_bytes())).unwrap();
        }
    }
    message
}

pub(crate) fn style() -> impl Strategy<Value = Style> {
    vec(any::<u8>(), 1..40).prop_map(|choices| Style::new(choices, true))
}

fn widths() -> impl Strategy<Value = Style> {
    vec(any::<u8>(), 1..20).prop_map(|choices| Style::new(choices, false))
}

pub(crate) fn cloud_item(message: &CloudMessage) -> Item {
    let id = uint(message.attempt().number());
    match message {
        CloudMessage::UpdateArtifacts { manifest, .. } => {
            let artifacts = manifest.artifacts.iter().map(artifact_item);
            let canceled = (33, Item::Bool(manifest.canceled));
            map([(0, Item::Narrow(6)), (32, id), canceled, (34, array(artifacts))])
        }
        CloudMessage::CancelUpdate { .. } => map([(0, Item::Narrow(7)), (32, id)]),
        CloudMessage::ReportResults { .. } => map([(0, Item::Narrow(8)), (32, id)]),
    }
}

fn artifact_item(artifact: &Artifact) -> Item {
    map([
        (35, uint(0)),
        (36, text(artifact.slug.as_bytes())),
        (37, Item::Bool(artifact.main)),
        (38, text(artifact.url.as_bytes())),
        (39, text(artifact.secret.as_bytes())),
        (40, text(artifact.version.as_bytes())),
    ])
}

fn results_item(results: &UpdateResults) -> Item {
    let mut pairs = vec![(0, uint(9)), (32, uint(results.attempt.number()))];
    match &results.report {
        Report::Results {
            succeeded,
            failed,
            canceled,
        } => {
            let list = |positions: &[u64]| array(positions.iter().map(|&position| uint(position)));
            pairs.extend([(42, list(succeeded)), (43, list(failed)), (44, list(canceled))]);
        }
        Report::Error(error) => pairs.push((45, uint(*error))),
    }
    map(pairs)
}

fn label_item(value: &LabelValue) -> Item {
    match value {
        LabelValue::Text(value) => text(value),
        LabelValue::Number(Number::Int(int)) => u64::try_from(*int).map_or_else(|_| Item::Negative(!*int as u64), uint),
        LabelValue::Number(Number::Float(float)) => Item::Float(*float),
        LabelValue::Flag(flag) => Item::Bool(*flag),
    }
}
