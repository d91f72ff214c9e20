//! `devices.csv`, `timeline.csv`, and a table of metrics.

use std::io::{self, Write};

use crate::measure::{AnswerClass, Timeline};
use crate::model::{AttemptResult, Phase, Session, UpdateState};
use crate::play::Outcome;

use super::summary::Summary;
use super::untrusted::cell;

/// One row a device, as it stood at the end.
pub(super) fn devices_csv(outcome: &Outcome, file: &mut dyn Write) -> io::Result<()> {
    writeln!(
        file,
        "device,fleet,cohorts,tags,runs,session,phase,phase_since_s,state,attempts,attempt,deployment,result,reason"
    )?;
    for device in outcome.recorder.devices() {
        let last = device.attempts.last();
        let joined = |parts: Vec<String>| cell(&parts.join(" "));
        writeln!(
            file,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            cell(device.id.as_str()),
            cell(device.fleet),
            joined(device.cohorts.iter().map(ToString::to_string).collect()),
            joined(device.tags.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            joined(device.runs.iter().map(ToString::to_string).collect()),
            device.session,
            device.phase,
            device.phase_since,
            device.state,
            device.attempts.len(),
            last.map_or(String::new(), |attempt| attempt.id.to_string()),
            last.and_then(|attempt| attempt.deployment)
                .map_or(String::new(), |name| cell(name.as_str())),
            last.and_then(|attempt| attempt.result).map_or("", |result| result.word()),
            last.and_then(|attempt| attempt.reason).map_or("", |reason| reason.word()),
        )?;
    }
    Ok(())
}

/// One row a second (of a long run, one every few seconds): gauges at its end, counts since the row before.
pub(super) fn timeline_csv(timeline: &Timeline, file: &mut dyn Write) -> io::Result<()> {
    let gauges = Session::ALL.iter().map(|word| word.word().to_owned());
    let gauges = gauges.chain(UpdateState::ALL.iter().map(|word| format!("state_{word}").replace('-', "_")));
    let gauges = gauges.chain(Phase::ALL.iter().map(|word| format!("phase_{word}")));
    let counts = [
        "connects_ok",
        "connects_failed",
        "manifests",
        "requests",
        "starts",
        "retries",
        "rollbacks",
    ];
    let ended = AttemptResult::ALL.iter().map(|word| format!("ended_{word}"));
    let answers = AnswerClass::ALL.iter().map(|word| format!("answers_{word}"));
    let heads: Vec<_> = gauges.chain(counts.map(str::to_owned)).chain(ended).chain(answers).collect();
    writeln!(file, "t_s,{}", heads.join(","))?;
    for row in timeline.rows() {
        let happened = &row.happened;
        let counts = [
            happened.connects_ok,
            happened.connects_failed,
            happened.manifests,
            happened.requests,
            happened.starts,
            happened.retries,
            happened.rollbacks,
        ];
        let gauges = row.sessions.iter().chain(&row.states).chain(&row.phases);
        let cells: Vec<_> = gauges
            .chain(&counts)
            .chain(&happened.ended)
            .chain(&happened.answers)
            .map(u64::to_string)
            .collect();
        writeln!(file, "{},{}", row.at, cells.join(","))?;
    }
    Ok(())
}

/// One row a metric; with several runs their numbers stand first.
pub(super) fn metrics_csv(runs: &[&Summary]) -> String {
    let mut text = "run,scenario,mode,seed,metric,labels,type,unit,count,sum,min,avg,med,p90,p95,p99,p999,max\n".to_owned();
    for (number, summary) in runs.iter().enumerate() {
        let scenario = &summary.scenario;
        for row in &summary.metrics {
            let labels: Vec<_> = row.labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            let values = [
                row.sum, row.min, row.avg, row.med, row.p90, row.p95, row.p99, row.p999, row.max,
            ];
            let values = values.map(|value| value.map_or(String::new(), |value| value.to_string()));
            let heads = [
                (number + 1).to_string(),
                cell(&scenario.name),
                cell(&summary.mode),
                scenario.seed.to_string(),
                cell(&row.name),
                cell(&labels.join(",")),
                cell(&row.kind),
                cell(&row.unit),
                row.count.to_string(),
            ];
            text.push_str(&heads.join(","));
            text.push(',');
            text.push_str(&values.join(","));
            text.push('\n');
        }
    }
    text
}
