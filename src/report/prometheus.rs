//! A run's live figures in the text format of Prometheus 0.0.4: base units, `_total` for counters, `_seconds` and `_bytes` for units.

use std::fmt::Write as _;

use crate::model::{Phase, Session, UpdateState};
use crate::play::{LatencyLine, Picture, Stands};

use super::untrusted::clean;

/// Writes a picture as one scrape.
pub fn prometheus_text(picture: &Picture) -> String {
    let mut page = Page::default();
    page.run(picture);
    page.fleet(picture);
    page.counters(picture);
    page.times(picture);
    page.expectations(picture);
    page.text
}

/// Quantiles of a summary, in the order of [`LatencyLine::spread`].
const QUANTILES: [&str; 3] = ["0.5", "0.95", "0.99"];

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP squall_{name} {help}\n# TYPE squall_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.text, "squall_{name}{labels} {}", number(value));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn run(&mut self, picture: &Picture) {
        self.family("run_info", "gauge", "What is played; always 1.");
        let seed = picture.seed.to_string();
        let labels = [
            ("scenario", picture.name.as_str()),
            ("seed", &seed),
            ("mode", picture.mode.word()),
        ];
        self.sample("run_info", &labels, 1.0);
        self.single(
            "run_seconds",
            "gauge",
            "Time since the start of the run.",
            picture.at.as_secs_f64(),
        );
        self.single(
            "duration_seconds",
            "gauge",
            "Time within which steps and faults happen.",
            picture.duration.as_secs_f64(),
        );
        if let Some(late) = picture.late_p99 {
            let help = "Lateness of the harness's own timers, 99th percentile since the start.";
            self.single("harness_lateness_seconds", "gauge", help, late.as_secs_f64());
        }
    }

    fn fleet(&mut self, picture: &Picture) {
        self.family("devices", "gauge", "Devices by cohort and by their state at the server.");
        for line in &picture.cohorts {
            for state in UpdateState::ALL {
                let labels = [("cohort", line.name.as_str()), ("state", state.word())];
                self.sample("devices", &labels, line.of(*state) as f64);
            }
        }
        self.family("sessions", "gauge", "Devices by how they stand to the server.");
        for session in Session::ALL {
            self.sample(
                "sessions",
                &[("session", session.word())],
                picture.in_session(*session) as f64,
            );
        }
        self.family("phases", "gauge", "Devices by phase of their update.");
        for phase in Phase::ALL {
            self.sample("phases", &[("phase", phase.word())], picture.phases[*phase as usize] as f64);
        }
        self.single(
            "open_devices",
            "gauge",
            "Devices with an update that has not ended.",
            picture.open as f64,
        );
    }

    fn counters(&mut self, picture: &Picture) {
        for row in &picture.throughput.rows {
            let (name, help) = match row.name {
                "download" => ("image_bytes_total", "Bytes of images that devices received."),
                "offers" => ("offers_total", "Manifests received for the first time."),
                "results" => ("results_total", "Update attempts that ended."),
                "connects" => ("connects_total", "Connections made."),
                "requests" => ("image_requests_total", "Image requests sent."),
                "refusals" => (
                    "refusals_total",
                    "Connections that failed, and image answers of status 400 or above.",
                ),
                _ => continue,
            };
            self.single(name, "counter", help, row.total as f64);
        }
        self.family("transitions_total", "counter", "Changes of phase.");
        for (from, row) in Phase::ALL.iter().zip(picture.flow.iter()) {
            for (to, count) in Phase::ALL.iter().zip(row).filter(|(_, count)| **count > 0) {
                self.sample(
                    "transitions_total",
                    &[("from", from.word()), ("to", to.word())],
                    *count as f64,
                );
            }
        }
        let help = "Changes of phase that are not legal.";
        self.single("illegal_transitions_total", "counter", help, picture.illegal as f64);
        if !picture.faults.is_empty() {
            self.family("faults_total", "counter", "Times that a fault struck.");
            for fault in &picture.faults {
                self.sample(
                    "faults_total",
                    &[("fault", &fault.name), ("kind", &fault.kind)],
                    fault.done as f64,
                );
            }
        }
    }

    fn times(&mut self, picture: &Picture) {
        let (phases, metrics): (Vec<_>, Vec<_>) = picture.latency.iter().partition(|line| Phase::from_word(line.name).is_some());
        for line in metrics {
            let name = format!("{}_seconds", line.name);
            self.family(&name, "summary", "Since the start of the run; open ones are left out.");
            self.summary(&name, &[], line);
        }
        if !phases.is_empty() {
            self.family(
                "phase_time_seconds",
                "summary",
                "Visits to a phase, time without power left out.",
            );
            for line in phases {
                self.summary("phase_time_seconds", &[("phase", line.name)], line);
            }
        }
    }

    fn summary(&mut self, name: &str, labels: &[(&str, &str)], line: &LatencyLine) {
        for (quantile, value) in QUANTILES.iter().zip(line.spread) {
            let labels: Vec<_> = labels.iter().copied().chain([("quantile", *quantile)]).collect();
            self.sample(name, &labels, value.unwrap_or(f64::NAN));
        }
        self.sample(&format!("{name}_sum"), labels, line.sum);
        self.sample(&format!("{name}_count"), labels, line.count as f64);
    }

    fn expectations(&mut self, picture: &Picture) {
        if picture.expectations.is_empty() {
            return;
        }
        self.family(
            "expectation_holds",
            "gauge",
            "Whether an expectation holds at present; NaN where it is undefined.",
        );
        for expected in &picture.expectations {
            let holds = expected
                .value
                .map_or(f64::NAN, |_| f64::from(u8::from(expected.stands == Stands::Holds)));
            self.sample("expectation_holds", &[("expectation", &expected.text)], holds);
        }
    }
}

/// A label's value: without control characters, the two that end it escaped.
fn escaped(value: &str) -> String {
    clean(value).replace('\\', "\\\\").replace('"', "\\\"")
}

fn number(value: f64) -> String {
    if value.is_nan() { "NaN".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_ends_where_it_should() {
        let mut page = Page::default();
        page.sample("x", &[("a", "q\"u\\o\n\u{1b}te"), ("b", "c")], 0.5);
        assert_eq!(page.text, "squall_x{a=\"q\\\"u\\\\ote\",b=\"c\"} 0.5\n");
        page.sample("y", &[], f64::NAN);
        assert!(page.text.ends_with("squall_y NaN\n"));
    }
}
