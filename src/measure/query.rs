//! Measures: what a scenario asks of the figures (contract, sections 1, 3 and 8).

use crate::model::Key;

/// `metric{labels} aggregate [op limit]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What is counted or timed.
    pub metric: Metric,
    /// Conditions, all of which must hold.
    pub labels: Vec<Label>,
    /// How many values become one.
    pub aggregate: Aggregate,
    /// What the value is compared with; `None` only where a measure is asked for as such.
    pub comparison: Option<Comparison>,
}

crate::model::word_enum! {
    /// A metric (contract, section 3).
    Metric {
        /// Gauge: devices.
        Devices = "devices",
        /// Counter: ended attempts.
        Attempts = "attempts",
        /// Counter: returns to the old image.
        Rollbacks = "rollbacks",
        /// Trend: manifest first received until the final result is published.
        UpdateTime = "update_time",
        /// Trend: the same from when the device took the attempt up.
        UpdateTimeRaw = "update_time_raw",
        /// Trend: attempt due until the server has the final result.
        DeployTime = "deploy_time",
        /// Trend: manifest first sent until the server has the final result.
        DeployTimeRaw = "deploy_time_raw",
        /// Trend: one visit to a phase.
        PhaseTime = "phase_time",
        /// Trend: the same by the clock, time without power too.
        PhaseTimeRaw = "phase_time_raw",
        /// Counter: tries to connect.
        Connects = "connects",
        /// Trend: first wanted to OTA SUBACK.
        ConnectTime = "connect_time",
        /// Trend: the try that succeeded until OTA SUBACK.
        ConnectTimeRaw = "connect_time_raw",
        /// Counter: phase changes.
        Transitions = "transitions",
        /// Counter: planned happenings of faults, and what those could strike.
        Faults = "faults",
        /// Counter: manifests that the server sent.
        Manifests = "manifests",
        /// Counter: MQTT messages.
        Messages = "messages",
        /// Counter: image requests.
        Requests = "requests",
        /// Trend: image request due until its answer was over.
        RequestTime = "request_time",
        /// Trend: the same from when it was sent.
        RequestTimeRaw = "request_time_raw",
        /// Trend: image request due until the head of its answer.
        FirstByte = "first_byte",
        /// Trend: the same from when it was sent.
        FirstByteRaw = "first_byte_raw",
        /// Counter: downloads that begin to wait for another try.
        Retries = "retries",
        /// Counter: requests that go on by Range.
        Resumes = "resumes",
        /// Counter: requests from byte 0 after a byte of that artifact had come.
        Restarts = "restarts",
        /// Gauge: image bytes of the fleet in each second in which some came.
        Throughput = "throughput",
        /// Trend: bytes a second of one artifact, from its first request to its last byte.
        DownloadRate = "download_rate",
        /// Trend: bytes a second of the request that brought the end of one, without waits and losses before it.
        DownloadRateRaw = "download_rate_raw",
        /// Counter: bytes on the wire, overhead of TCP and TLS included.
        Bytes = "bytes",
        /// Trend: bytes of one device in the whole run.
        DataUsed = "data_used",
        /// Counter: flash operations.
        FlashOps = "flash_ops",
        /// Gauge: erases of a device's most-erased page.
        Wear = "wear",
        /// Counter: boots.
        Boots = "boots",
        /// Gauge: legal pairs of phases that were seen.
        Coverage = "coverage",
        /// Counter: attempts of which server and device hold different ends.
        Disagreements = "disagreements",
        /// Gauge: devices that stay in a phase far longer than the fleet does.
        Stuck = "stuck",
        /// Counter: broken invariants.
        Findings = "findings",
        /// Trend: how late timers of the harness woke.
        Lateness = "lateness",
        /// Gauge: processor time of the harness, as a part of one core, over the run.
        Cpu = "cpu",
        /// Gauge: most memory that the harness had.
        Memory = "memory",
        /// Counter: what the harness did not do.
        Dropped = "dropped",
        /// Gauge: processor time of the embedded server, as a part of one core, over the run.
        ServerCpu = "server_cpu",
        /// Trend: what came to the embedded server until its answer was on its way, the change behind it stored.
        ServerTime = "server_time",
    }
}

/// One condition of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Turned round by `!`.
    pub negated: bool,
    /// Which property.
    pub key: LabelKey,
    /// Values joined by `|`.
    pub values: Vec<String>,
}

/// A property of a device, or one of the event counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelKey {
    /// A property of the device.
    Who(Key),
    /// A property of the event: `result`, `reason`, `from`, `to`, `cause`, ...
    Own(OwnKey),
}

crate::model::word_enum! {
    /// A property of a counted event.
    OwnKey {
        /// How it ended.
        Result = "result",
        /// Why.
        Reason = "reason",
        /// Phase left.
        From = "from",
        /// Phase entered.
        To = "to",
        /// Why the phase changed.
        Cause = "cause",
        /// Name of the fault.
        Fault = "fault",
        /// First word of a fault's kind; of bytes: image, protocol, wasted.
        Kind = "kind",
        /// Whether it came about.
        Done = "done",
        /// HTTP status of an answer; none where there was none.
        Code = "code",
        /// Whether a request had a Range.
        Ranged = "ranged",
        /// Whether a manifest was sent before.
        Repeat = "repeat",
        /// Direction: up or down.
        Dir = "dir",
        /// What made a device boot; how server and device disagree.
        Why = "why",
        /// What a message is.
        Type = "type",
        /// What a flash operation is; what the server is to do.
        Op = "op",
        /// Name of the invariant.
        Rule = "rule",
    }
}

/// How many values become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregate {
    /// Number of events or devices.
    Count,
    /// Number in a second.
    Rate,
    /// Part of the same selection without state, phase, session, runs, result, code, done; 0 to 1.
    Share,
    /// Sum.
    Sum,
    /// Smallest.
    Min,
    /// Mean.
    Avg,
    /// Median.
    Med,
    /// Largest.
    Max,
    /// Percentile, 0 to 100.
    Percentile(f64),
}

/// What a measured value is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// How.
    pub op: Op,
    /// With what, in the unit of the measure: seconds, bytes, bytes a second, a share from 0 to 1, a count.
    pub limit: f64,
}

/// How a measured value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Comparison {
    /// Whether a value, in the unit of the measure, compares as asked.
    pub fn holds(self, value: f64) -> bool {
        match self.op {
            Op::Less => value < self.limit,
            Op::AtMost => value <= self.limit,
            Op::More => value > self.limit,
            Op::AtLeast => value >= self.limit,
            Op::Equal => value == self.limit,
            Op::Unequal => value != self.limit,
        }
    }
}
