//! Generated histories, run through a device and through the reference beside it: messages in any order, doubled, lost and late, power
//! lost, the connection lost, a server that forgets. After each happening both must stand at the same place.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use squall::device::{BootOutcome, Chip, DeviceInput, InstallOutcome, LinkLoss, SwapMethod};
use squall::model::{Manifest, Phase};
use squall::wire::ota::Report;

use super::reference::{Body, Fate, Item, Pause, Reference};
use super::rig::Rig;
use super::setup::{Setup, artifact, chip, id, version};

/// Longer than anything that is no pause takes, and so short that a pause outlasts every happening of a history.
const MOMENT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(100);
const MOST_HAPPENINGS: usize = 10;

/// What happens to the device.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A new attempt with one of the manifests, which may arrive twice or not at all, and may be cancelled already.
    Offer {
        manifest: usize,
        doubled: bool,
        lost: bool,
        canceled: bool,
    },
    /// The manifest of the current attempt comes again.
    Repeat {
        canceled: bool,
    },
    /// A manifest of an attempt so many back comes late.
    Late {
        back: u64,
    },
    Cancel {
        back: u64,
    },
    AskReport {
        back: u64,
    },
    /// A message that makes no sense but for its id: the current one, or a new one.
    Malformed {
        new: bool,
    },
    PowerCut,
    LineLost,
    /// The server does not repeat the manifest any more.
    Forget,
    /// The pause ends.
    Advance,
}

fn happening() -> impl Strategy<Value = Happening> {
    let offer = (0..MANIFESTS.len(), any::<bool>(), 0..4u8, 0..6u8);
    prop_oneof![
        4 => offer.prop_map(|(manifest, doubled, lost, canceled)| Happening::Offer {
            manifest,
            doubled,
            lost: lost == 0,
            canceled: canceled == 0,
        }),
        1 => any::<bool>().prop_map(|canceled| Happening::Repeat { canceled }),
        1 => (1..3u64).prop_map(|back| Happening::Late { back }),
        2 => (0..2u64).prop_map(|back| Happening::Cancel { back }),
        1 => (0..2u64).prop_map(|back| Happening::AskReport { back }),
        1 => any::<bool>().prop_map(|new| Happening::Malformed { new }),
        2 => Just(Happening::PowerCut),
        1 => Just(Happening::LineLost),
        1 => Just(Happening::Forget),
        6 => Just(Happening::Advance),
    ]
}

/// Manifests that are offered, as positions in [`firmware`].
const MANIFESTS: &[&[usize]] = &[&[0], &[1, 0], &[0, 1], &[1], &[1, 2], &[2, 0, 1], &[3, 1]];

/// How the installation of a package ends, and what the new main image does.
#[derive(Clone, Copy, Debug)]
struct Outcomes {
    modem: InstallOutcome,
    confirms: bool,
}

fn outcomes() -> impl Strategy<Value = Outcomes> {
    let modem = (any::<bool>(), 0..3).prop_map(|(deaf, kind)| match kind {
        0 => InstallOutcome::SucceedAfter { after: LONG, deaf },
        1 => InstallOutcome::FailAfter { after: LONG, deaf },
        _ => InstallOutcome::CancelAfter { after: LONG, deaf },
    });
    (modem, any::<bool>()).prop_map(|(modem, confirms)| Outcomes { modem, confirms })
}

fn firmware(outcomes: Outcomes) -> [Item; 4] {
    let item = |firmware, main, ends| Item {
        firmware,
        main,
        ends,
        deaf: false,
        missing: false,
    };
    let (ends, deaf) = match outcomes.modem {
        InstallOutcome::SucceedAfter { deaf, .. } => (Fate::Succeeded, deaf),
        InstallOutcome::FailAfter { deaf, .. } => (Fate::Failed, deaf),
        InstallOutcome::CancelAfter { deaf, .. } => (Fate::Canceled, deaf),
        other => unreachable!("{other:?} is not drawn"),
    };
    let tried = if outcomes.confirms { Fate::Succeeded } else { Fate::Failed };
    [
        item("app@1.1.0", true, tried),
        Item {
            deaf,
            ..item("modem@2.0.0", false, ends)
        },
        item("radio@3.0.0", false, Fate::Succeeded),
        Item {
            missing: true,
            ..item("app@9.9.9", true, Fate::Failed)
        },
    ]
}

/// A device and the reference, with all that was offered so far.
struct Pair {
    rig: Rig,
    reference: Reference,
    /// By id, from one; `None` where the message was malformed.
    offered: Vec<Option<Vec<Item>>>,
}

impl Pair {
    fn new(swap: SwapMethod, outcomes: Outcomes) -> Pair {
        let boot = match outcomes.confirms {
            true => BootOutcome::ConfirmAfter(LONG),
            false => BootOutcome::CrashAfter(LONG),
        };
        let mut rig = Rig::online(Setup {
            swap,
            boot,
            // Erasing takes so long that a download is a pause.
            chip: Chip {
                page_erase: Duration::from_secs(4),
                ..chip()
            },
            sizes: (9_000, 60_000),
            installs: vec![
                ("modem@2.0.0", outcomes.modem),
                (
                    "radio@3.0.0",
                    InstallOutcome::SucceedAfter {
                        after: LONG,
                        deaf: false,
                    },
                ),
            ],
            ..Setup::default()
        });
        // The cloud of these histories sends older attempts after newer ones (against O24). After a boot the device then follows the
        // record, and the last id that it tells can fall (4.1).
        rig.lift(&[42]);
        Pair {
            rig,
            reference: Reference::default(),
            offered: Vec::new(),
        }
    }

    /// The id so many back from the newest, and what it was offered as.
    fn back(&self, back: u64) -> Option<(u64, Option<Vec<Item>>)> {
        let number = (self.offered.len() as u64).checked_sub(back).filter(|number| *number > 0)?;
        Some((number, self.offered[number as usize - 1].clone()))
    }

    fn deliver(&mut self, number: u64, items: &[Item], canceled: bool) {
        let offer = self.rig.cloud.offer.take();
        self.rig.offer_now(number, wire(items, canceled));
        self.rig.cloud.offer = offer;
        self.reference.manifest(number, items, canceled);
    }

    fn happen(&mut self, happening: Happening, firmware: &[Item; 4]) {
        match happening {
            Happening::Offer {
                manifest,
                doubled,
                lost,
                canceled,
            } => {
                let items: Vec<_> = MANIFESTS[manifest].iter().map(|&item| firmware[item].clone()).collect();
                self.offered.push(Some(items.clone()));
                let number = self.offered.len() as u64;
                self.rig.cloud.offer = Some((id(number), wire(&items, false)));
                self.reference.offer = Some((number, items.clone()));
                for _ in 0..if lost { 0 } else { 1 + u8::from(doubled) } {
                    self.deliver(number, &items, canceled);
                }
            }
            Happening::Repeat { canceled } => {
                let current = self
                    .reference
                    .current_id()
                    .and_then(|number| self.offered[number as usize - 1].clone());
                if let (Some(number), Some(items)) = (self.reference.current_id(), current) {
                    self.deliver(number, &items, canceled);
                }
            }
            Happening::Late { back } => {
                if let Some((number, Some(items))) = self.back(back) {
                    self.deliver(number, &items, false);
                }
            }
            Happening::Cancel { back } => {
                if let Some((number, _)) = self.back(back) {
                    self.rig.cancel(number);
                    self.reference.cancel(number);
                }
            }
            Happening::AskReport { back } => {
                if let Some((number, _)) = self.back(back) {
                    self.rig.ask_for_report(number);
                    self.reference.report_request(number);
                }
            }
            Happening::Malformed { new } => self.malformed(new),
            Happening::PowerCut => {
                self.rig.cut_power();
                self.rig.input(DeviceInput::PowerOn);
                self.reference.power_cut();
            }
            Happening::LineLost => {
                self.rig.input(DeviceInput::Disconnected(LinkLoss::Closed));
                self.reference.connect();
            }
            Happening::Forget => {
                self.rig.cloud.offer = None;
                self.reference.offer = None;
            }
            Happening::Advance => self.reference.advance(),
        }
    }

    fn malformed(&mut self, new: bool) {
        // What an image on trial does after its attempt was refused depends on when it confirms.
        if !new && (self.reference.current_id().is_none() || self.reference.pause() == Pause::Probation) {
            return;
        }
        if new {
            self.offered.push(None);
        }
        let number = if new {
            self.offered.len() as u64
        } else {
            self.reference.current_id().unwrap()
        };
        // UPDATE_ARTIFACTS with a key that no message has.
        let message = [0xa3, 0x00, 0x06, 0x18, 0x20, 0x18, number as u8, 0x18, 0x63, 0x00];
        self.rig.deliver(message.to_vec().into());
        self.reference.malformed(number);
    }

    /// Runs the device to where the reference stands, and compares.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        let end = self.rig.now + Duration::from_secs(2_000);
        while !self.stands_alike() {
            prop_assert!(
                self.rig.step(end),
                "the device stands in {} and has called {:?}, the reference {:?}: {:?}",
                self.rig.device.phase(),
                self.rig.handlers(),
                self.reference.pause(),
                self.reference.calls
            );
        }
        self.rig.run_for(MOMENT);
        prop_assert!(
            self.stands_alike(),
            "{} after a moment, {:?}",
            self.rig.device.phase(),
            self.reference.pause()
        );
        prop_assert_eq!(self.rig.handlers(), self.reference.calls.clone());
        let running = if self.reference.runs_new { "app@1.1.0" } else { "app@1.0.0" };
        prop_assert_eq!(self.rig.device.running(), &version(running));
        let numbers = |body: &Body| match body {
            Body::Results(results) => Some(results.iter().map(|fate| *fate as u8).collect::<Vec<_>>()),
            Body::Refused => None,
        };
        if let Some((number, body)) = self.reference.stored() {
            prop_assert_eq!(self.rig.device.attempt(), Some(id(number)));
            prop_assert_eq!(self.rig.stored_results().map(<[u8]>::to_vec), numbers(body), "as stored");
        }
        for (number, body) in &self.reference.reports {
            prop_assert_eq!(self.reported(*number), Some(numbers(body)), "as reported of {}", number);
        }
        let told = self.rig.cloud.reports.iter().map(|report| report.attempt.number());
        let untold: Vec<_> = told.filter(|number| !self.reference.reports.contains_key(number)).collect();
        prop_assert!(untold.is_empty(), "reported {untold:?}");
        Ok(())
    }

    fn stands_alike(&self) -> bool {
        let phase = self.rig.device.phase();
        let place = match self.reference.pause() {
            Pause::Rest => phase.at_rest(),
            Pause::Waiting => phase == Phase::Waiting,
            Pause::Installing => phase == Phase::Installing,
            Pause::Downloading => phase == Phase::Downloading,
            Pause::Probation => phase == Phase::Probation,
        };
        place && self.rig.handlers().len() == self.reference.calls.len()
    }

    /// The last report of an attempt, as numbers by position; `None` within for a refusal.
    fn reported(&self, number: u64) -> Option<Option<Vec<u8>>> {
        let last = self.rig.cloud.reports.iter().rfind(|report| report.attempt == id(number))?;
        let count = self.offered[number as usize - 1].as_ref().map_or(0, Vec::len);
        Some(match &last.report {
            Report::Error(_) => None,
            Report::Results {
                succeeded,
                failed,
                canceled,
            } => {
                let mut fates = vec![Fate::Pending as u8; count];
                for (list, fate) in [
                    (succeeded, Fate::Succeeded),
                    (failed, Fate::Failed),
                    (canceled, Fate::Canceled),
                ] {
                    list.iter().for_each(|index| fates[*index as usize] = fate as u8);
                }
                Some(fates)
            }
        })
    }
}

fn wire(items: &[Item], canceled: bool) -> Manifest {
    Manifest {
        canceled,
        artifacts: items.iter().map(|item| artifact(item.firmware, item.main)).collect(),
    }
}

/// Histories of an ordinary run, and of `.ci/full`.
fn cases() -> u32 {
    match std::env::var_os("SQUALL_FULL") {
        Some(_) => 10_000,
        None => 256,
    }
}

/// The seed of an ordinary run, so that it tests the same each time; `.ci/full` draws another each time.
fn seed() -> RngSeed {
    match std::env::var_os("SQUALL_FULL") {
        Some(_) => RngSeed::Random,
        None => RngSeed::Fixed(1),
    }
}

fn play(history: &[Happening], outcomes: Outcomes, swap: SwapMethod) -> Result<(), TestCaseError> {
    let mut pair = Pair::new(swap, outcomes);
    let firmware = firmware(outcomes);
    for happening in history {
        pair.happen(*happening, &firmware);
        pair.compare()?;
    }
    // Whatever still runs or waits comes to its end.
    for _ in 0..2 * firmware.len() {
        pair.happen(Happening::Advance, &firmware);
        pair.compare()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        rng_seed: seed(),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_device_ends_up_where_the_reference_does(
        history in proptest::collection::vec(happening(), 1..MOST_HAPPENINGS),
        outcomes in outcomes(),
        by_move in any::<bool>(),
    ) {
        let swap = if by_move { SwapMethod::Move } else { SwapMethod::Offset };
        play(&history, outcomes, swap)?;
    }
}

#[test]
fn a_repeat_that_cancels_the_rest_on_probation_is_reported_with_what_it_canceled() {
    let offer = |manifest| Happening::Offer {
        manifest,
        doubled: false,
        lost: false,
        canceled: false,
    };
    let outcomes = Outcomes {
        modem: InstallOutcome::SucceedAfter {
            after: LONG,
            deaf: false,
        },
        confirms: false,
    };
    // The main image is on probation and the server repeats nothing: the device waits for its manifest, which comes cancelled.
    let history = [
        offer(2),
        Happening::Forget,
        Happening::Advance,
        Happening::Repeat { canceled: true },
    ];
    play(&history, outcomes, SwapMethod::Offset).unwrap();
}

#[test]
fn a_refusal_that_waits_keeps_its_error_when_the_current_attempt_is_refused_too() {
    let offer = Happening::Offer {
        manifest: 3,
        doubled: false,
        lost: false,
        canceled: false,
    };
    let outcomes = Outcomes {
        modem: InstallOutcome::SucceedAfter { after: LONG, deaf: true },
        confirms: true,
    };
    // The handler does not listen, so that both refusals wait for it.
    let history = [offer, Happening::Malformed { new: true }, Happening::Malformed { new: false }];
    play(&history, outcomes, SwapMethod::Offset).unwrap();
}
