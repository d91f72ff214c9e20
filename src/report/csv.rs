//! `devices.csv` and `timeline.csv`.

use std::io::{self, Write};

use crate::measure::Timeline;
use crate::model::{AttemptResult, Phase, Session, UpdateState};
use crate::play::Outcome;

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
        "retries",
        "rollbacks",
    ];
    let ended = AttemptResult::ALL.iter().map(|word| format!("ended_{word}"));
    let heads: Vec<_> = gauges.chain(counts.map(str::to_owned)).chain(ended).collect();
    writeln!(file, "t_s,{}", heads.join(","))?;
    for row in timeline.rows() {
        let happened = &row.happened;
        let counts = [
            happened.connects_ok,
            happened.connects_failed,
            happened.manifests,
            happened.requests,
            happened.retries,
            happened.rollbacks,
        ];
        let gauges = row.sessions.iter().chain(&row.states).chain(&row.phases);
        let cells: Vec<_> = gauges.chain(&counts).chain(&happened.ended).map(u64::to_string).collect();
        writeln!(file, "{},{}", row.at, cells.join(","))?;
    }
    Ok(())
}
