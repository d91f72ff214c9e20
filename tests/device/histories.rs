//! Random histories: messages, cuts, losses and failing requests in any order. Whatever happens, rules hold (the rig's), and once it
//! is over the device carries out what it is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use squall::device::{BootOutcome, DeviceInput, InstallOutcome, LinkLoss};
use squall::luck::{Luck, Purpose};
use squall::model::{LEGAL, Manifest, Observation, Phase, Session};
use squall::wire::DownloadError;

use super::rig::{Reply, Rig};
use super::setup::{IMAGE_SIZE, Setup, id, main_only, manifest, modem_then_main, version};

/// Draws of one history.
struct Dice {
    luck: Luck,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.thrown += 1;
        self.luck.below(Purpose::FaultMoment, 0, self.thrown, bound)
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }
}

fn orders() -> [Manifest; 5] {
    [
        main_only(),
        modem_then_main(),
        manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]),
        manifest(&[("app@1.0.0", true)]),
        manifest(&[("modem@2.0.0", false)]),
    ]
}

fn setup(dice: &mut Dice, seed: u64) -> Setup {
    let second = Duration::from_secs(1);
    let deaf = dice.below(2) == 1;
    let after = second * dice.below(8) as u32;
    let install = dice.pick(&[
        InstallOutcome::SucceedAfter { after, deaf },
        InstallOutcome::SucceedAfter { after, deaf },
        InstallOutcome::FailAfter { after, deaf },
        InstallOutcome::CancelAfter { after, deaf },
        InstallOutcome::Unhandled,
    ]);
    let boot = dice.pick(&[
        BootOutcome::ConfirmAfter(second),
        BootOutcome::ConfirmAfter(6 * second),
        BootOutcome::ConfirmOnConnect {
            within: Some(20 * second),
        },
        BootOutcome::CrashAfter(5 * second),
        BootOutcome::HangWatchdog(5 * second),
        BootOutcome::ConfirmThenCrash {
            confirm: 2 * second,
            crash: 9 * second,
        },
    ]);
    Setup {
        seed,
        sizes: dice.pick(&[(IMAGE_SIZE, IMAGE_SIZE), (4_000, 12_000), (12_000, 4_000)]),
        boot,
        installs: vec![("modem@2.0.0", install)],
        ..Setup::default()
    }
}

fn disturb(rig: &mut Rig, dice: &mut Dice, next: &mut u64) {
    match dice.below(12) {
        0 | 1 => {
            *next += 1;
            let order = dice.pick(&orders());
            rig.cloud.offer = Some((id(*next), order.clone()));
            rig.offer_now(*next, order);
        }
        2 => {
            let attempt = next.saturating_sub(dice.below(2)).max(1);
            rig.cancel(attempt);
        }
        3 => rig.ask_for_report((*next).max(1)),
        4 => {
            // Unknown keys, with the current id or a new one.
            if dice.below(2) == 1 {
                *next += 1;
                // An older attempt is not sent again (protocol O24).
                rig.cloud.offer = None;
            }
            let broken = [0xa3, 0x00, 0x06, 0x18, 0x20, 0x18, *next as u8, 0x18, 0x63, 0x00];
            rig.deliver(broken.to_vec().into());
        }
        5 => {
            if let Some((attempt, order)) = rig.cloud.offer.clone() {
                let canceled = dice.below(3) == 0;
                rig.offer_now(attempt.number(), Manifest { canceled, ..order });
            }
        }
        6 => rig.cut_power(),
        7 => {
            let after_flash_ops = 1 + dice.below(60) as u32;
            rig.input(DeviceInput::PowerCut { after_flash_ops });
        }
        8 => rig.input(DeviceInput::Disconnected(LinkLoss::Closed)),
        9 => rig.cloud.replies.push_back(Reply::Status(503)),
        10 => rig
            .cloud
            .replies
            .push_back(Reply::BreakAfter(dice.below(9_000) as usize + 1, DownloadError::Reset)),
        _ => rig.cloud.replies.push_back(Reply::Status(404)),
    }
}

#[test]
fn any_history_keeps_the_rules_and_ends_at_rest() {
    let mut seen = BTreeSet::new();
    for seed in 0..400 {
        let mut dice = Dice {
            luck: Luck::new(seed),
            thrown: 0,
        };
        let mut rig = Rig::online(setup(&mut dice, seed));
        let mut next = 0;
        for _ in 0..25 {
            disturb(&mut rig, &mut dice, &mut next);
            let pause = dice.pick(&[1, 30, 200, 900, 4_000]);
            rig.run_for(Duration::from_millis(pause));
            if rig.device.session() == Session::Off {
                rig.input(DeviceInput::PowerOn);
            }
        }
        // Trouble is over: one more order, which must be carried out.
        rig.cloud.replies.clear();
        rig.run_for(Duration::from_secs(200));
        // A cut that is armed still comes, or is disarmed by this one.
        rig.cut_power();
        rig.input(DeviceInput::PowerOn);
        rig.run_for(Duration::from_secs(900));
        next += 1;
        rig.cloud.offer = None;
        rig.offer(next, manifest(&[("modem@2.0.0", false)]));
        rig.run_to_answer();
        rig.run_for(Duration::from_secs(60));
        let phase = rig.device.phase();
        assert!(phase.ended(), "seed {seed}: {phase}, {}", rig.device.explain(rig.now));
        assert_eq!(rig.device.attempt(), Some(id(next)));
        let installed = rig.count(|o| matches!(o, Observation::Booted { .. }));
        assert!(installed > 0);
        let running = rig.device.running();
        assert!([version("app@1.0.0"), version("app@1.1.0")].contains(running));
        let ends = rig.ends();
        let each: BTreeSet<_> = ends.iter().map(|end| format!("{:?}", (end.0, end.1))).collect();
        assert_eq!(each.len(), ends.len(), "seed {seed}: an end was told twice: {ends:?}");
        seen.extend(rig.transitions());
    }
    let origin = |phase: Phase| if phase.at_rest() { Phase::Idle } else { phase };
    let pairs: BTreeSet<_> = seen.iter().map(|&(from, to, _)| (origin(from), to)).collect();
    let unseen: Vec<_> = LEGAL
        .iter()
        .filter(|(from, to, _)| !pairs.contains(&(*from, *to)))
        .map(|(from, to, _)| format!("{from}>{to}"))
        .collect();
    println!("{} of {} legal pairs seen, not {unseen:?}", pairs.len(), LEGAL.len());
    assert!(pairs.len() >= 40, "{} pairs", pairs.len());
}
