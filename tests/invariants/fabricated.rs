//! What only a defect of the device model itself could break is fabricated, and found.

use std::collections::BTreeMap;
use std::sync::Arc;

use squall::measure::{Census, CensusDevice};
use squall::model::{BootReason, BuildId, DeviceIndex, Observation};
use squall::time::SimTime;
use squall::verdict::{Finding, Referee, RefereeSetup};

const DEVICE: DeviceIndex = DeviceIndex(0);

/// What a referee finds in observations of one device, a second apart.
fn found(observations: &[Observation]) -> Vec<Finding> {
    let census = Census {
        devices: vec![CensusDevice {
            id: "a".into(),
            fleet: "f".into(),
            tags: Arc::default(),
            runs: vec!["app@1".parse().unwrap()],
            boot_at: SimTime::ZERO,
        }],
        cohorts: Vec::new(),
    };
    let mut referee = Referee::new(RefereeSetup {
        census: &census,
        builds: BTreeMap::new(),
        images: Vec::new(),
    });
    for (second, observation) in observations.iter().enumerate() {
        referee.observed(SimTime::from_secs(second as u64), DEVICE, observation);
    }
    referee.finish(SimTime::from_secs(60), true).0
}

fn booted(build_id: u8, confirmed: bool) -> Observation {
    Observation::Booted {
        build_id: Some(BuildId([build_id; 20])),
        firmware: "app@1".parse().unwrap(),
        confirmed,
        why: BootReason::PowerOn,
    }
}

#[test]
fn flash_that_is_misused_is_found() {
    let misused = Observation::FlashMisused {
        what: "wrote a page twice",
    };
    let findings = found(&[booted(1, true), misused]);
    let [finding] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!((finding.rule, finding.at), ("flash-as-allowed", SimTime::from_secs(1)));
    assert_eq!(finding.evidence, "wrote a page twice");
}

#[test]
fn an_image_that_is_neither_old_nor_new_is_found() {
    assert_eq!(found(&[booted(1, true), booted(1, true)]), []);
    let findings = found(&[booted(1, true), booted(2, true)]);
    assert_eq!((findings.len(), findings[0].rule), (1, "always-bootable"));
    assert!(
        findings[0].evidence.contains("neither the old nor the new one"),
        "{findings:?}"
    );
}

#[test]
fn an_unconfirmed_image_that_stays_is_found() {
    let findings = found(&[booted(1, false), booted(1, false)]);
    assert_eq!(
        (findings.len(), findings[0].rule),
        (1, "unconfirmed-goes-back"),
        "{findings:?}"
    );
}
