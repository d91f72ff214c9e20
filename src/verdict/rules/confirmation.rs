//! No success before confirmation.

use crate::model::{AttemptId, AttemptResult, DeviceIndex, FirmwareVersion, Manifest};
use crate::time::SimTime;
use crate::wire::ota::{Report, UpdateResults};

use super::{Rule, Tally, row};

const NO_SUCCESS_BEFORE_CONFIRMATION: Rule = Rule {
    name: "no-success-before-confirmation",
    statement: "main succeeds, and is reported to, only while the image asked for runs and is confirmed",
    protocol: &[25, 27],
};

/// Manifests remembered of one device: the current and the pending attempt's, and one to spare.
const MANIFESTS_MAX: usize = 3;

/// What is known of one device.
#[derive(Debug)]
struct Row {
    /// What runs, once it has booted under watch, and whether it is confirmed. Images installed at the start are.
    running: Option<FirmwareVersion>,
    confirmed: bool,
    /// Position of main in manifests received.
    mains: Vec<(AttemptId, usize)>,
    /// The newest attempt in which main was installed; in one that is missing here, it was there already (protocol 6.8).
    installing: Option<Installing>,
}

#[derive(Debug)]
struct Installing {
    attempt: AttemptId,
    index: usize,
    firmware: FirmwareVersion,
}

impl Default for Row {
    fn default() -> Self {
        Row {
            running: None,
            confirmed: true,
            mains: Vec::new(),
            installing: None,
        }
    }
}

/// Watches what runs when success is claimed.
#[derive(Debug)]
pub(in crate::verdict) struct Confirmation {
    tally: Tally,
    rows: Vec<Row>,
}

impl Default for Confirmation {
    fn default() -> Self {
        Confirmation {
            tally: Tally::new(&NO_SUCCESS_BEFORE_CONFIRMATION),
            rows: Vec::new(),
        }
    }
}

impl Confirmation {
    pub(in crate::verdict) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(in crate::verdict) fn manifest(&mut self, device: DeviceIndex, attempt: AttemptId, manifest: &Manifest) {
        let mains = &mut row(&mut self.rows, device).mains;
        mains.retain(|(known, _)| *known != attempt);
        if let Some(main) = manifest.artifacts.iter().position(|artifact| artifact.main) {
            if mains.len() >= MANIFESTS_MAX {
                mains.remove(0);
            }
            mains.push((attempt, main));
        }
    }

    pub(in crate::verdict) fn handler(
        &mut self,
        device: DeviceIndex,
        attempt: AttemptId,
        index: usize,
        firmware: &FirmwareVersion,
    ) {
        let row = row(&mut self.rows, device);
        if row.mains.contains(&(attempt, index)) {
            row.installing = Some(Installing {
                attempt,
                index,
                firmware: firmware.clone(),
            });
        }
    }

    pub(in crate::verdict) fn booted(&mut self, device: DeviceIndex, firmware: &FirmwareVersion, confirmed: bool) {
        let row = row(&mut self.rows, device);
        row.running = Some(firmware.clone());
        row.confirmed = confirmed;
    }

    pub(in crate::verdict) fn confirmed(&mut self, device: DeviceIndex) {
        row(&mut self.rows, device).confirmed = true;
    }

    /// An attempt ended at the device.
    pub(in crate::verdict) fn ended(&mut self, at: SimTime, device: DeviceIndex, attempt: AttemptId, result: AttemptResult) {
        if result == AttemptResult::Succeeded {
            self.claimed(at, device, attempt, None, "ended succeeded");
        }
    }

    /// The device sent a report.
    pub(in crate::verdict) fn reported(&mut self, at: SimTime, device: DeviceIndex, results: &UpdateResults) {
        if let Report::Results { succeeded, .. } = &results.report {
            for index in succeeded {
                self.claimed(at, device, results.attempt, Some(*index), "was reported succeeded");
            }
        }
    }

    fn claimed(&mut self, at: SimTime, device: DeviceIndex, attempt: AttemptId, index: Option<u64>, what: &str) {
        let row = row(&mut self.rows, device);
        let Some(main) = row.installing.as_ref().filter(|main| main.attempt == attempt) else {
            return;
        };
        if index.is_some_and(|index| index != main.index as u64) {
            return;
        }
        let runs = row.running.as_ref() == Some(&main.firmware);
        self.tally.check(runs && row.confirmed, at, device, || {
            let wanted = &main.firmware;
            match &row.running {
                Some(running) if runs => format!("attempt {attempt} {what} while {running} was not confirmed"),
                Some(running) => format!("attempt {attempt} {what} with {wanted}, while {running} ran"),
                None => format!("attempt {attempt} {what} with {wanted}, which never booted"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Artifact;

    const DEVICE: DeviceIndex = DeviceIndex(2);

    fn version(text: &str) -> FirmwareVersion {
        text.parse().unwrap()
    }

    fn attempt() -> AttemptId {
        AttemptId::new(7).unwrap()
    }

    fn results(succeeded: Vec<u64>) -> UpdateResults {
        UpdateResults {
            attempt: attempt(),
            report: Report::Results {
                succeeded,
                failed: vec![],
                canceled: vec![],
            },
        }
    }

    /// A device that has downloaded main, artifact 1, in attempt 7.
    fn downloaded() -> Confirmation {
        let artifact = |slug: &str, main| Artifact {
            slug: slug.parse().unwrap(),
            main,
            url: "https://127.0.0.1/a/7/0".parse().unwrap(),
            secret: "secret".parse().unwrap(),
            version: "2".parse().unwrap(),
        };
        let mut watch = Confirmation::default();
        let manifest = Manifest {
            canceled: false,
            artifacts: vec![artifact("modem", false), artifact("app", true)],
        };
        watch.manifest(DEVICE, attempt(), &manifest);
        watch.handler(DEVICE, attempt(), 0, &version("modem@2"));
        watch.handler(DEVICE, attempt(), 1, &version("app@2"));
        watch
    }

    fn evidence(watch: &Confirmation) -> &str {
        &watch.tally.first.as_ref().unwrap().text
    }

    #[test]
    fn success_after_confirmation_is_right() {
        let mut watch = downloaded();
        watch.reported(SimTime::ZERO, DEVICE, &results(vec![0]));
        watch.booted(DEVICE, &version("app@2"), false);
        watch.confirmed(DEVICE);
        watch.ended(SimTime::ZERO, DEVICE, attempt(), AttemptResult::Succeeded);
        watch.reported(SimTime::ZERO, DEVICE, &results(vec![0, 1]));
        watch.booted(DEVICE, &version("app@2"), true);
        watch.reported(SimTime::ZERO, DEVICE, &results(vec![0, 1]));
        assert_eq!((watch.tally.checks, watch.tally.broken), (3, 0));
    }

    #[test]
    fn success_on_probation_is_found() {
        let mut watch = downloaded();
        watch.booted(DEVICE, &version("app@2"), false);
        watch.reported(SimTime::ZERO, DEVICE, &results(vec![1]));
        assert_eq!(watch.tally.broken, 1);
        assert_eq!(
            evidence(&watch),
            "attempt 7 was reported succeeded while app@2 was not confirmed"
        );
        watch.ended(SimTime::ZERO, DEVICE, attempt(), AttemptResult::Succeeded);
        assert_eq!(watch.tally.broken, 2);
    }

    #[test]
    fn success_of_an_image_that_does_not_run_is_found() {
        let mut watch = downloaded();
        watch.ended(SimTime::ZERO, DEVICE, attempt(), AttemptResult::Succeeded);
        assert_eq!(evidence(&watch), "attempt 7 ended succeeded with app@2, which never booted");
        let mut watch = downloaded();
        watch.booted(DEVICE, &version("app@1"), true);
        watch.reported(SimTime::ZERO, DEVICE, &results(vec![1]));
        assert_eq!(
            evidence(&watch),
            "attempt 7 was reported succeeded with app@2, while app@1 ran"
        );
    }

    #[test]
    fn a_version_that_was_there_already_needs_no_boot() {
        let mut watch = Confirmation::default();
        watch.ended(SimTime::ZERO, DEVICE, attempt(), AttemptResult::Succeeded);
        watch.reported(SimTime::ZERO, DEVICE, &results(vec![0]));
        assert_eq!(watch.tally.broken, 0);
    }
}
