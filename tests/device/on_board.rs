//! A device whose firmware runs on a board: what it asks of the board, and that the board's word is what counts.

use std::time::Duration;

use squall::device::{BoardFlash, BoardNews, BoardOrder, DeviceInput, DeviceOutput, Slots};
use squall::mcuboot::{ImageInfo, slice_reader};
use squall::model::{BootReason, Cause, Digest, FailureReason, Observation, Phase};

use super::rig::Rig;
use super::setup::{IMAGE_SIZE, Setup, id, image, main_only, version};

const SECOND: Duration = Duration::from_secs(1);

/// A rig whose board the test plays.
struct Bench {
    rig: Rig,
    /// Outputs that have been looked at.
    looked: usize,
}

impl Bench {
    /// A board with `app@1.0.0`, online.
    fn online() -> Bench {
        let setup = Setup {
            on_board: true,
            ..Setup::default()
        };
        let mut bench = Bench {
            rig: setup.build(),
            looked: 0,
        };
        bench.rig.input(DeviceInput::PowerOn);
        assert_eq!(bench.orders(), [BoardOrder::PowerOn]);
        bench.tell(up("1.0.0", true));
        bench.rig.run_for(2 * SECOND);
        bench
    }

    /// The orders since this was last asked.
    fn orders(&mut self) -> Vec<BoardOrder> {
        let seen = &self.rig.seen[self.looked..];
        self.looked = self.rig.seen.len();
        let order = |output: &DeviceOutput| match output {
            DeviceOutput::Board(order) => Some(order.clone()),
            _ => None,
        };
        seen.iter().filter_map(|(_, output)| order(output)).collect()
    }

    fn tell(&mut self, news: BoardNews) {
        self.rig.input(DeviceInput::Board(news));
        self.rig.run_for(2 * SECOND);
    }

    /// Offers `app@1.1.0` and takes it in page by page; the device then asks for a trial.
    fn upload(&mut self) {
        self.rig.offer(1, main_only());
        self.rig.run_for(2 * SECOND);
        let mut taken = 0;
        loop {
            let orders = self.orders();
            let [BoardOrder::Upload { offset, total, bytes }] = &orders[..] else {
                assert_eq!(orders, [BoardOrder::Test]);
                break;
            };
            let whole = image("app@1.1.0", IMAGE_SIZE);
            assert_eq!((*offset as usize, *total as usize), (taken, whole.len()));
            assert_eq!(bytes[..], whole[taken..taken + bytes.len()]);
            taken += bytes.len();
            self.rig.run_for(10 * SECOND);
            assert_eq!(self.orders(), [], "the next part waits until the board has this one");
            self.tell(BoardNews::Done);
        }
        assert_eq!(taken, image("app@1.1.0", IMAGE_SIZE).len());
    }

    /// Uploads, and starts the board anew.
    fn try_new(&mut self) {
        self.upload();
        assert_eq!(self.rig.device.phase(), Phase::Committing);
        self.tell(BoardNews::Done);
        assert_eq!(self.orders(), [BoardOrder::Reset]);
        assert_eq!(self.rig.device.phase(), Phase::Swapping);
    }

    fn ended(&self) -> (Phase, Option<FailureReason>) {
        let reason = self.rig.ends().last().and_then(|(_, _, reason)| *reason);
        (self.rig.device.phase(), reason)
    }
}

fn digest(number: &str) -> Digest {
    let image = image(&format!("app@{number}"), IMAGE_SIZE);
    Digest(ImageInfo::read(slice_reader(&image)).unwrap().digest)
}

fn up(number: &str, confirmed: bool) -> BoardNews {
    BoardNews::Up(Slots {
        digest: digest(number),
        version: number.to_owned(),
        confirmed,
        pending: false,
    })
}

#[test]
fn an_update_succeeds_when_the_board_says_that_it_is_confirmed() {
    let mut bench = Bench::online();
    bench.try_new();
    bench.tell(up("1.1.0", false));
    assert_eq!(bench.rig.device.phase(), Phase::Probation);
    assert_eq!(bench.rig.cloud.reports.len(), 0, "nothing is reported before");
    bench.tell(BoardNews::Confirmed);
    assert_eq!(bench.ended(), (Phase::Succeeded, None));
    assert_eq!(bench.rig.results(id(1).number()), (vec![0], vec![], vec![]));
    assert_eq!(bench.rig.device.running(), &version("app@1.1.0"));
}

#[test]
fn a_board_that_does_not_swap_has_failed_whatever_was_asked_of_it() {
    let mut bench = Bench::online();
    bench.try_new();
    bench.tell(up("1.0.0", true));
    assert_eq!(bench.ended(), (Phase::Failed, Some(FailureReason::NotSwapped)));
}

#[test]
fn a_board_that_refuses_a_trial_is_not_reset() {
    let mut bench = Bench::online();
    bench.upload();
    bench.tell(BoardNews::Refused);
    assert_eq!(bench.ended(), (Phase::Failed, Some(FailureReason::Storage)));
    assert_eq!(bench.orders(), []);
}

#[test]
fn an_image_that_resets_the_board_is_rolled_back() {
    for (why, answers) in [(BootReason::Crash, true), (BootReason::Watchdog, false)] {
        let mut bench = Bench::online();
        bench.try_new();
        if answers {
            bench.tell(up("1.1.0", false));
        }
        let flash = match answers {
            true => BoardFlash::Moving,
            false => BoardFlash::OnTrial(digest("1.1.0")),
        };
        bench.tell(BoardNews::Restarted { why, flash });
        assert_eq!(bench.rig.device.phase(), Phase::Reverting);
        bench.tell(up("1.0.0", true));
        assert_eq!(
            bench.ended(),
            (Phase::Failed, Some(FailureReason::ResetBeforeConfirm)),
            "{why}"
        );
        assert_eq!(bench.rig.count(|seen| *seen == Observation::RolledBack), 1);
        assert_eq!(bench.orders(), [], "it has done so by itself");
    }
}

#[test]
fn a_swap_that_is_cut_goes_on_when_power_returns() {
    let mut bench = Bench::online();
    bench.try_new();
    bench.tell(BoardNews::PowerFailed(BoardFlash::Moving));
    bench.rig.input(DeviceInput::PowerOn);
    assert_eq!(bench.orders(), [BoardOrder::PowerOn]);
    bench.tell(up("1.1.0", false));
    bench.tell(BoardNews::Confirmed);
    assert_eq!(bench.ended(), (Phase::Succeeded, None));
    let again = (Phase::Swapping, Phase::Swapping, Cause::Power);
    assert!(bench.rig.transitions().contains(&again));
}

#[test]
fn an_image_that_confirmed_before_the_cut_is_kept() {
    let mut bench = Bench::online();
    bench.try_new();
    bench.tell(up("1.1.0", false));
    bench.rig.input(DeviceInput::PowerCut { after_flash_ops: 0 });
    assert_eq!(bench.orders(), [BoardOrder::Halt]);
    bench.tell(BoardNews::Kept(BoardFlash::Settled(digest("1.1.0"))));
    bench.rig.input(DeviceInput::PowerOn);
    bench.tell(up("1.1.0", true));
    assert_eq!(bench.ended(), (Phase::Succeeded, None));
    assert_eq!(bench.rig.count(|seen| *seen == Observation::RolledBack), 0);
}

#[test]
fn an_old_image_that_is_settled_confirms_no_new_one() {
    let mut bench = Bench::online();
    bench.try_new();
    bench.tell(up("1.1.0", false));
    bench.tell(BoardNews::Restarted {
        why: BootReason::Watchdog,
        flash: BoardFlash::Settled(digest("1.0.0")),
    });
    bench.tell(up("1.0.0", true));
    assert_eq!(bench.ended(), (Phase::Failed, Some(FailureReason::ResetBeforeConfirm)));
    assert_eq!(bench.rig.count(|seen| *seen == Observation::Confirmed), 0);
}
