//! What the server counts, in the text format of Prometheus.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Api;
use super::problem::ApiError;
use crate::server::{Door, Refusal, Refusals, ServerCounts};

/// `GET /metrics`.
pub(super) async fn show(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let counts = api.look(|server| server.counts()).await?;
    let gate = api.gate.look(|admission| Gate {
        mqtt: admission.inside(Door::Mqtt),
        images: admission.inside(Door::Images),
        accepted: admission.accepted(),
        downloads: admission.downloads(),
        refusals: admission.refusals().with(&counts.refusals),
    });
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text(&counts, &gate)))
}

/// What the gate counts.
struct Gate {
    mqtt: u64,
    images: u64,
    accepted: u64,
    downloads: u64,
    refusals: Refusals,
}

fn text(counts: &ServerCounts, gate: &Gate) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP squall_{name} {help}\n# TYPE squall_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(out, "squall_{name}{labels} {value}");
        }
    };
    let doors = [("{listener=\"mqtt\"}", gate.mqtt), ("{listener=\"images\"}", gate.images)];
    family("connections", "gauge", "Open connections.", &doors);
    family("connections_total", "counter", "Connections let in.", &[("", gate.accepted)]);
    family("downloads", "gauge", "Downloads under way.", &[("", gate.downloads)]);
    let labels = Refusal::ALL.map(|why| format!("{{reason=\"{}\"}}", why.word()));
    let refused: Vec<_> = labels
        .iter()
        .map(String::as_str)
        .zip(Refusal::ALL.map(|why| gate.refusals.of(why)))
        .collect();
    let help = "Connections and downloads turned away or put out.";
    family("refused_total", "counter", help, &refused);
    family("devices", "gauge", "Registered devices.", &[("", counts.devices)]);
    family(
        "devices_online",
        "gauge",
        "Devices subscribed to OTA.",
        &[("", counts.online)],
    );
    family("attempts_total", "counter", "Update attempts made.", &[("", counts.attempts)]);
    family("ignored_total", "counter", "Messages of no use.", &[("", counts.ignored)]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_a_series_of_its_own() {
        let mut refusals = Refusals::default();
        refusals.count(Refusal::Silent);
        let gate = Gate {
            mqtt: 3,
            images: 1,
            accepted: 9,
            downloads: 0,
            refusals,
        };
        let text = text(&ServerCounts::default(), &gate);
        assert!(text.contains("squall_connections{listener=\"mqtt\"} 3\n"), "{text}");
        assert!(text.contains("squall_refused_total{reason=\"silent\"} 1\n"), "{text}");
        assert_eq!(text.matches("squall_refused_total{").count(), Refusal::ALL.len());
    }
}
