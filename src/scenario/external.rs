//! What a scenario must hold to where its server is there already: who carries out steps, and what nobody tells of.

use crate::measure::{LabelKey, Metric};
use crate::model::Key;

use super::error::Problems;
use super::file::{AdminFile, Asked, ScenarioFile, WhoFile};

/// Checks a file with an external target.
pub(super) fn check(file: &ScenarioFile, problems: &Problems, warnings: &Problems) {
    let Some(target) = &file.server.target else { return };
    for key in &target.unheeded {
        let message = format!("`{}` of the server is left aside", key.value);
        let hint = "only the embedded server heeds it; leave it out with an external target";
        warnings.add(key.at, message, hint);
    }
    for fault in file.faults.iter().filter(|fault| fault.about_server) {
        let hint = "faults of a server need one that Squall starts: leave `target` out";
        problems.add(fault.at, format!("{} is of an external server", fault.subject), hint);
    }
    if let (AdminFile::Nobody, Some(step)) = (&target.admin, file.steps.first()) {
        let hint = "give `admin` of the server: \"exec PROGRAM\", or the management address of a `squall serve`";
        problems.add(
            step.at,
            format!("nobody carries out {} on an external server", step.subject),
            hint,
        );
    }
    if !matches!(target.admin, AdminFile::Api(_)) {
        let asked = file.steps.iter().filter_map(|step| step.when.as_ref());
        let asked = asked.chain(file.expects.iter().filter_map(|expect| expect.that.as_ref()));
        asked.for_each(|asked| check_asked(asked, problems));
        let whom = file
            .faults
            .iter()
            .filter(|fault| fault.moment_at.is_some())
            .filter_map(|fault| fault.who.as_ref());
        whom.for_each(|who| check_whom(who, problems));
    }
}

const NOBODY_TELLS: &str = "only a server whose events Squall can read tells that: give `admin` the address of a `squall serve`";

fn check_asked(asked: &Asked, problems: &Problems) {
    let measure = &asked.measure;
    let told = [
        Metric::DeployTime,
        Metric::Manifests,
        Metric::Disagreements,
        Metric::ServerTime,
        Metric::ServerCpu,
    ];
    if told.contains(&measure.metric) {
        problems.add(
            asked.words.inner,
            format!("`{}` is not known of this server", measure.metric),
            NOBODY_TELLS,
        );
    }
    let label = measure.labels.iter().find_map(|label| match &label.key {
        LabelKey::Who(key) => word_of(key),
        LabelKey::Own(_) => None,
    });
    if let Some(word) = label {
        problems.add(
            asked.words.inner,
            format!("`{word}` is not known of this server"),
            NOBODY_TELLS,
        );
    }
}

fn check_whom(who: &WhoFile, problems: &Problems) {
    if let Some(word) = who.selector.keys().find_map(word_of) {
        problems.add(
            who.words.inner,
            format!("`{word}` is not known of this server during a run"),
            NOBODY_TELLS,
        );
    }
}

/// What only a server knows of a device.
fn word_of(key: &Key) -> Option<&'static str> {
    match key {
        Key::State => Some("state"),
        Key::Step => Some("step"),
        Key::Cohort => Some("cohort"),
        Key::Fleet | Key::Device | Key::Tag(_) | Key::Runs | Key::Session | Key::Phase => None,
    }
}
