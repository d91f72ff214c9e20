//! What is shown on standard error while a run is on: a line in ten seconds, or a bar.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::play::Snapshot;
use crate::time::SimTime;

use super::Progress;

/// Shows how far a run is.
#[derive(Debug)]
pub(crate) struct Show {
    kind: Kind,
    bytes_before: u64,
    shown_at: SimTime,
}

#[derive(Debug)]
enum Kind {
    Off,
    Lines,
    Bar(ProgressBar),
}

impl Show {
    /// Begins to show a run that is planned to take `duration`.
    pub fn new(progress: Progress, duration: Duration) -> Show {
        let kind = match progress {
            Progress::Off => Kind::Off,
            Progress::Lines => Kind::Lines,
            Progress::Bar => Kind::Bar(bar(duration)),
        };
        Show {
            kind,
            bytes_before: 0,
            shown_at: SimTime::ZERO,
        }
    }

    /// How often [`Show::update`] wants to be called; `None` means never.
    pub fn period(&self) -> Option<Duration> {
        match self.kind {
            Kind::Off => None,
            Kind::Lines => Some(Duration::from_secs(10)),
            Kind::Bar(_) => Some(Duration::from_millis(500)),
        }
    }

    /// Shows the present.
    pub fn update(&mut self, snapshot: &Snapshot, image_bytes: u64, late_p99: Duration) {
        let seconds = snapshot.at.since(self.shown_at).as_secs_f64();
        let bytes = image_bytes.saturating_sub(self.bytes_before) as f64;
        let rate = if seconds > 0.0 { bytes / seconds } else { 0.0 };
        self.bytes_before = image_bytes;
        self.shown_at = snapshot.at;
        let figures = figures(snapshot, rate, late_p99);
        match &self.kind {
            Kind::Off => {}
            Kind::Lines => eprintln!("t={} {figures}", minutes(snapshot.at)),
            Kind::Bar(bar) => {
                bar.set_position(snapshot.at.as_nanos() / 1_000_000_000);
                bar.set_prefix(minutes(snapshot.at));
                bar.set_message(figures);
            }
        }
    }

    /// Takes the bar away.
    pub fn end(self) {
        if let Kind::Bar(bar) = self.kind {
            bar.finish_and_clear();
        }
    }
}

fn bar(duration: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} [{bar:24}] {wide_msg}").expect("the template is well formed");
    ProgressBar::with_draw_target(Some(duration.as_secs().max(1)), ProgressDrawTarget::stderr()).with_style(style)
}

fn figures(snapshot: &Snapshot, rate: f64, late_p99: Duration) -> String {
    format!(
        "online={} open={} ok={} failed={} {:.2} MiB/s late={:.1}ms",
        snapshot.online,
        snapshot.open,
        snapshot.ok,
        snapshot.failed,
        rate / 1_048_576.0,
        late_p99.as_secs_f64() * 1e3
    )
}

/// Minutes and seconds since the start: `01:10`.
fn minutes(at: SimTime) -> String {
    let seconds = at.as_nanos() / 1_000_000_000;
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_figures_of_the_contract() {
        let snapshot = Snapshot {
            at: SimTime::from_secs(70),
            online: 1994,
            open: 61,
            ok: 151,
            failed: 6,
        };
        assert_eq!(minutes(snapshot.at), "01:10");
        let line = figures(&snapshot, 1_384_120.0, Duration::from_micros(812));
        assert_eq!(line, "online=1994 open=61 ok=151 failed=6 1.32 MiB/s late=0.8ms");
    }
}
