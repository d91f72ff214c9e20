//! What a metric is made of: kind, unit, the labels and aggregates that make sense of it, and where it is measured at all.

use super::query::{Aggregate, Metric, OwnKey};

/// What a message is: a type of the protocol, or an acknowledgement.
pub(super) const MESSAGE_TYPES: &[&str] = &[
    "results", "manifest", "cancel", "report", "metadata", "log", "metric", "config", "suback", "puback", "other",
];

/// What a flash operation is: a page erased; at most 512 bytes or a record written, a record deleted.
pub(super) const FLASH_OPS: &[&str] = &["erase", "write"];

/// What a metric is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is so at a moment.
    Gauge,
    /// What has happened so far.
    Counter,
    /// How long things took, or how much each was.
    Trend,
}

impl Metric {
    /// Gauge, counter or trend.
    pub const fn kind(self) -> Kind {
        match self {
            Metric::Devices
            | Metric::Coverage
            | Metric::Stuck
            | Metric::Throughput
            | Metric::Wear
            | Metric::Cpu
            | Metric::Memory
            | Metric::ServerCpu => Kind::Gauge,
            Metric::Attempts
            | Metric::Rollbacks
            | Metric::Connects
            | Metric::Transitions
            | Metric::Faults
            | Metric::Manifests
            | Metric::Messages
            | Metric::Requests
            | Metric::Retries
            | Metric::Resumes
            | Metric::Restarts
            | Metric::Bytes
            | Metric::FlashOps
            | Metric::Boots
            | Metric::Disagreements
            | Metric::Findings
            | Metric::Dropped => Kind::Counter,
            Metric::UpdateTime
            | Metric::UpdateTimeRaw
            | Metric::DeployTime
            | Metric::DeployTimeRaw
            | Metric::PhaseTime
            | Metric::PhaseTimeRaw
            | Metric::ConnectTime
            | Metric::ConnectTimeRaw
            | Metric::RequestTime
            | Metric::RequestTimeRaw
            | Metric::FirstByte
            | Metric::FirstByteRaw
            | Metric::DownloadRate
            | Metric::DownloadRateRaw
            | Metric::DataUsed
            | Metric::Lateness
            | Metric::ServerTime => Kind::Trend,
        }
    }

    /// The unit of its values in `summary.json`: `1` for what is counted.
    pub const fn unit(self) -> &'static str {
        match (self, self.kind()) {
            (Metric::Bytes | Metric::DataUsed | Metric::Memory, _) => "B",
            (Metric::Throughput | Metric::DownloadRate | Metric::DownloadRateRaw, _) => "B/s",
            (Metric::Cpu | Metric::ServerCpu, _) => "%",
            (_, Kind::Gauge | Kind::Counter) => "1",
            (_, Kind::Trend) => "s",
        }
    }

    /// True where it tells of the harness or its server, which only a run in real time has, and only at its end.
    pub const fn is_of_harness(self) -> bool {
        matches!(
            self,
            Metric::Lateness | Metric::Cpu | Metric::Memory | Metric::Dropped | Metric::ServerCpu | Metric::ServerTime
        )
    }

    /// True where it is made of what a device has done to its flash.
    pub const fn is_of_flash(self) -> bool {
        matches!(self, Metric::FlashOps | Metric::Wear)
    }

    /// True where each device has one value, and aggregates are over devices.
    pub(super) const fn is_spread(self) -> bool {
        matches!(self, Metric::DataUsed | Metric::Wear)
    }

    /// True where it is about the run and not about devices, so that nothing narrows it.
    pub(super) const fn is_whole(self) -> bool {
        matches!(self, Metric::Coverage | Metric::Findings | Metric::Throughput) || self.is_of_harness()
    }

    /// Properties of the counted event itself that the metric can be narrowed by.
    pub(super) const fn own_keys(self) -> &'static [OwnKey] {
        match self {
            Metric::Devices
            | Metric::Rollbacks
            | Metric::PhaseTime
            | Metric::PhaseTimeRaw
            | Metric::Coverage
            | Metric::Throughput
            | Metric::DownloadRate
            | Metric::DownloadRateRaw
            | Metric::Wear
            | Metric::Stuck
            | Metric::Lateness
            | Metric::Cpu
            | Metric::Memory
            | Metric::Dropped
            | Metric::ServerCpu => &[],
            Metric::Attempts => &[OwnKey::Result, OwnKey::Reason],
            Metric::UpdateTime
            | Metric::UpdateTimeRaw
            | Metric::DeployTime
            | Metric::DeployTimeRaw
            | Metric::Connects
            | Metric::ConnectTime
            | Metric::ConnectTimeRaw => &[OwnKey::Result],
            Metric::Transitions => &[OwnKey::From, OwnKey::To, OwnKey::Cause],
            Metric::Faults => &[OwnKey::Fault, OwnKey::Kind, OwnKey::Done],
            Metric::Manifests => &[OwnKey::Repeat],
            Metric::Messages => &[OwnKey::Type, OwnKey::Dir],
            Metric::Requests | Metric::RequestTime | Metric::RequestTimeRaw | Metric::FirstByte | Metric::FirstByteRaw => {
                &[OwnKey::Code, OwnKey::Ranged]
            }
            Metric::Retries | Metric::Resumes | Metric::Restarts => &[OwnKey::Reason],
            Metric::Bytes | Metric::DataUsed => &[OwnKey::Dir, OwnKey::Kind],
            Metric::FlashOps | Metric::ServerTime => &[OwnKey::Op],
            Metric::Boots | Metric::Disagreements => &[OwnKey::Why],
            Metric::Findings => &[OwnKey::Rule],
        }
    }

    /// Aggregates that make sense of it.
    pub(super) const fn aggregates(self) -> &'static str {
        match (self, self.kind()) {
            (Metric::Cpu | Metric::ServerCpu, _) => "avg",
            (Metric::Memory, _) => "max",
            (Metric::Throughput | Metric::Wear | Metric::DownloadRate | Metric::DownloadRateRaw, _) => {
                "count, min, avg, med, max, p(N)"
            }
            (_, Kind::Gauge) => "count, share",
            (_, Kind::Counter) => "count, rate, share, sum",
            (_, Kind::Trend) => "count, rate, sum, min, avg, med, max, p(N)",
        }
    }

    /// Whether an aggregate makes sense of it.
    pub fn allows(self, aggregate: Aggregate) -> bool {
        match self {
            Metric::Cpu | Metric::ServerCpu => aggregate == Aggregate::Avg,
            Metric::Memory => aggregate == Aggregate::Max,
            // Neither a sum of rates nor one of pages means anything.
            Metric::Throughput | Metric::Wear | Metric::DownloadRate | Metric::DownloadRateRaw => match aggregate {
                Aggregate::Rate | Aggregate::Sum | Aggregate::Share => false,
                Aggregate::Count | Aggregate::Min | Aggregate::Avg | Aggregate::Med | Aggregate::Max | Aggregate::Percentile(_) => {
                    true
                }
            },
            _ => self.kind().allows(aggregate),
        }
    }
}

impl Kind {
    /// Its name in `summary.json`.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Trend => "trend",
        }
    }

    const fn allows(self, aggregate: Aggregate) -> bool {
        match aggregate {
            Aggregate::Count => true,
            Aggregate::Share => !matches!(self, Kind::Trend),
            Aggregate::Rate | Aggregate::Sum => !matches!(self, Kind::Gauge),
            Aggregate::Min | Aggregate::Avg | Aggregate::Med | Aggregate::Max | Aggregate::Percentile(_) => {
                matches!(self, Kind::Trend)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of metrics of the contract, section 3, with the twins that it asks for.
    const CONTRACT: &[&str] = &[
        "devices",
        "attempts",
        "rollbacks",
        "update_time",
        "deploy_time",
        "phase_time",
        "connects",
        "connect_time",
        "manifests",
        "messages",
        "requests",
        "request_time",
        "first_byte",
        "retries",
        "resumes",
        "restarts",
        "throughput",
        "download_rate",
        "bytes",
        "data_used",
        "boots",
        "flash_ops",
        "wear",
        "transitions",
        "coverage",
        "faults",
        "disagreements",
        "stuck",
        "findings",
        "lateness",
        "cpu",
        "memory",
        "dropped",
        "server_time",
        "server_cpu",
        "update_time_raw",
        "deploy_time_raw",
        "phase_time_raw",
        "connect_time_raw",
        "request_time_raw",
        "first_byte_raw",
        "download_rate_raw",
    ];

    #[test]
    fn every_metric_of_the_contract_is_kept_and_no_other() {
        for word in CONTRACT {
            assert!(Metric::from_word(word).is_some(), "{word}");
        }
        let known = |metric: &Metric| CONTRACT.contains(&metric.word());
        assert!(Metric::ALL.iter().all(known));
    }

    #[test]
    fn the_handbook_has_every_metric_and_no_other() {
        let rows = include_str!("../../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `"));
        let cell = |row: &str| row.split(" |").next().unwrap_or_default().replace('`', "");
        let told: Vec<String> = rows
            .map(cell)
            .take_while(|cell| !cell.starts_with("squall_"))
            .flat_map(|cell| cell.split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let mut kept: Vec<_> = Metric::ALL.iter().map(|metric| metric.word().to_owned()).collect();
        let mut sorted = told.clone();
        sorted.sort();
        kept.sort();
        assert_eq!(sorted, kept);
    }
}
