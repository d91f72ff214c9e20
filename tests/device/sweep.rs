//! Power lost at every flash operation of an update, torn in each way, and what becomes of it: the rows of protocol table 7.4, for each
//! way to swap, with an image that confirms and one that does not, with packages before and after main.
//!
//! `SQUALL_FULL=1` (`.ci/full`) visits every pair of cuts; an ordinary run visits every fifth.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use squall::device::{BootOutcome, Chip, DeviceInput, InstallOutcome, SwapMethod, Timer};
use squall::luck::{Luck, Purpose, device_key};
use squall::model::{Cause, FailureReason, Manifest, Observation, Phase, RecordKey, Session};

use super::rig::Rig;
use super::setup::{Setup, chip, main_only, manifest, modem_then_main, version};

const SECOND: Duration = Duration::from_secs(1);

/// Bytes of the old and the new image: two pages each.
const EVEN: (u64, u64) = (1_400, 1_900);
/// The old or the new image is longer.
const UNEVEN: [(u64, u64); 2] = [(2_900, 1_400), (1_400, 2_900)];

/// Pages of 1 KiB, as of an nRF51822: few writes a page, a trailer of two pages, so that every operation is soon visited.
fn small_pages() -> Chip {
    Chip {
        page_size: 1024,
        slot_size: 24 * 1024,
        ..chip()
    }
}

/// What is cut.
#[derive(Clone)]
struct Case {
    swap: SwapMethod,
    /// The new image confirms itself; otherwise it crashes before it could.
    confirms: bool,
    chip: Chip,
    sizes: (u64, u64),
    order: Manifest,
}

impl Case {
    /// Position of main in the manifest.
    fn main(&self) -> u64 {
        self.order.artifacts.iter().position(|artifact| artifact.main).unwrap() as u64
    }

    fn rig(&self, seed: u64) -> Rig {
        let mut rig = Rig::online(Setup {
            seed,
            swap: self.swap,
            chip: self.chip.clone(),
            sizes: self.sizes,
            boot: match self.confirms {
                true => BootOutcome::ConfirmAfter(SECOND),
                false => BootOutcome::CrashAfter(SECOND),
            },
            installs: vec![
                ("modem@2.0.0", InstallOutcome::default()),
                ("radio@3.0.0", InstallOutcome::default()),
            ],
            ..Setup::default()
        });
        rig.offer(5, self.order.clone());
        rig
    }

    /// Flash operations of the attempt when nothing happens.
    fn operations(&self) -> u32 {
        let mut rig = self.rig(0);
        rig.run_to_answer();
        u32::try_from(rig.device.flash_ops()).unwrap()
    }

    fn name(&self) -> String {
        let order: Vec<_> = self
            .order
            .artifacts
            .iter()
            .map(|artifact| artifact.slug.to_string())
            .collect();
        let end = if self.confirms { "confirms" } else { "crashes" };
        format!(
            "swap by {}, {}, {:?}, {end}",
            self.swap.word(),
            order.join(" then "),
            self.sizes
        )
    }
}

/// A row of table 7.4: what was durable when power was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    /// The manifest was received, nothing stored.
    P0,
    /// The attempt record is stored, a package before main is pending and its version not stored.
    P1,
    /// The version of a package is stored, its result is not.
    P3,
    /// Packages before main are stored as succeeded, main is being downloaded; with M1, the image complete, which no operation follows.
    M0,
    /// The probation record is stored, the upgrade not requested.
    M2,
    /// The upgrade is requested, nothing swapped.
    M3,
    /// In the middle of the swap.
    M4,
    /// The new image has booted and is not confirmed.
    M5,
    /// In the middle of the revert, or the old image is back and nothing stored.
    M6,
    /// The image is confirmed, nothing stored.
    M7,
    /// Main's version is stored, its result is not.
    M8,
    /// Main's success is stored, the probation record still there.
    M9,
    /// Main's failure is stored, the probation record still there.
    M12,
    /// Main succeeded, packages behind it are pending.
    M13,
    /// Everything has its result.
    Ended,
}

fn row(rig: &Rig, case: &Case) -> Row {
    let happened = |wanted: &dyn Fn(&Observation) -> bool| rig.count(wanted) > 0;
    let stored = |key: &RecordKey| happened(&|o| matches!(o, Observation::RecordWritten { record, .. } if record == key));
    let version_of = |slug: &str| RecordKey::Version(slug.parse().unwrap());
    let deleted = happened(&|o| matches!(o, Observation::RecordDeleted { .. }));
    let main = case.main() as usize;
    let Some(results) = rig.stored_results() else {
        return Row::P0;
    };
    if results[main] == 1 && !deleted {
        Row::M9
    } else if results[main] == 2 && !deleted {
        Row::M12
    } else if !results.contains(&0) {
        Row::Ended
    } else if results[main] == 1 {
        let slug = case.order.artifacts[results.iter().position(|result| *result == 0).unwrap()]
            .slug
            .to_string();
        if stored(&version_of(&slug)) { Row::P3 } else { Row::M13 }
    } else if results[..main].contains(&0) {
        let pending = results.iter().position(|result| *result == 0).unwrap();
        let slug = case.order.artifacts[pending].slug.to_string();
        if stored(&version_of(&slug)) { Row::P3 } else { Row::P1 }
    } else if stored(&version_of("app")) {
        Row::M8
    } else if happened(&|o| *o == Observation::Confirmed) {
        Row::M7
    } else if happened(&|o| *o == Observation::UpgradeRequested) {
        match rig.device.phase() {
            Phase::Committing => Row::M3,
            Phase::Swapping => Row::M4,
            Phase::Probation => Row::M5,
            Phase::Reverting => Row::M6,
            other => panic!("{other} after the upgrade request"),
        }
    } else if stored(&RecordKey::Probation) {
        Row::M2
    } else {
        Row::M0
    }
}

/// Runs until power is gone, and a second longer; false where the attempt ends before.
fn run_into_cut(rig: &mut Rig) -> bool {
    let end = rig.now + 100 * SECOND;
    while rig.device.session() != Session::Off {
        if rig.cloud.is_answered() && rig.device.phase().ended() || !rig.step(end) {
            return false;
        }
    }
    rig.run_for(SECOND);
    true
}

/// Lets the attempt end, and holds its outcome against the row of the table.
fn judge(rig: &mut Rig, case: &Case, row: Row, context: &str) {
    let at_cut = rig.stored_results().map(<[u8]>::to_vec);
    let called = rig.handlers().len();
    rig.run_to_answer();
    rig.run_for(5 * SECOND);
    let main = case.main();
    let (succeeded, failed, canceled) = rig.results(5);
    let rolled_back = rig.count(|o| *o == Observation::RolledBack) > 0;
    let success = succeeded.contains(&main);
    let expected = match row {
        Row::P0 | Row::P1 | Row::P3 | Row::M0 | Row::M3 | Row::Ended => case.confirms,
        Row::M2 | Row::M5 | Row::M6 | Row::M12 => false,
        // Power may fail when the last operation of the swap is done, and that is M5.
        Row::M4 => case.confirms && !rolled_back,
        Row::M7 | Row::M8 | Row::M9 | Row::M13 => true,
    };
    assert_eq!(success, expected, "{context}");
    assert_eq!(rolled_back, !success && row != Row::M2, "{context}");
    let running = if success { "app@1.1.0" } else { "app@1.0.0" };
    assert_eq!(rig.device.running(), &version(running), "{context}");
    let all = 0..case.order.artifacts.len() as u64;
    for index in all.clone().filter(|&index| index != main) {
        let list = if success || index < main { &succeeded } else { &canceled };
        assert!(list.contains(&index), "{context}: {succeeded:?} {failed:?} {canceled:?}");
    }
    let reason = match (success, rolled_back) {
        (true, _) => None,
        (false, true) => Some(FailureReason::ResetBeforeConfirm),
        (false, false) => Some(FailureReason::NotSwapped),
    };
    let ends: Vec<_> = rig.ends().into_iter().map(|(attempt, _, reason)| (attempt, reason)).collect();
    assert_eq!(ends, [(5, reason)], "{context}");
    // Handlers that the table has run (again) after the boot.
    let mut due: Vec<u64> = all
        .filter(|&index| at_cut.as_ref().is_none_or(|results| results[index as usize] == 0))
        .filter(|&index| index < main || (index == main && row <= Row::M0) || (index > main && success))
        .collect();
    if row == Row::P3 {
        due.remove(0);
    }
    let again: Vec<_> = rig.handlers()[called..].iter().map(|(_, index)| *index as u64).collect();
    assert_eq!(again, due, "{context}: handlers called after the boot");
    if row == Row::M0 {
        assert_eq!(
            rig.cloud.requests[rig.cloud.requests.len() - again.len()],
            0,
            "{context}: from its first byte"
        );
    }
}

/// Seeds whose first torn operation ends in each way.
fn seeds() -> [u64; 3] {
    let way = |seed: &u64| Luck::new(*seed).below(Purpose::TornOperation, device_key("rig", 0), 0, 3);
    [0, 1, 2].map(|wanted| (0..).find(|seed| way(seed) == wanted).unwrap())
}

/// Cuts at every operation of a case, torn in each way; how often each row was visited.
fn sweep(case: &Case) -> BTreeMap<Row, u32> {
    let mut rows = BTreeMap::new();
    let total = case.operations();
    for after in 0..total {
        for seed in seeds() {
            let mut rig = case.rig(seed);
            rig.input(DeviceInput::PowerCut { after_flash_ops: after });
            assert!(run_into_cut(&mut rig), "cut after {after} of {total} operations did not come");
            let row = row(&rig, case);
            rig.input(DeviceInput::PowerOn);
            let context = format!("{}: seed {seed}, cut after {after} in row {row:?}", case.name());
            judge(&mut rig, case, row, &context);
            *rows.entry(row).or_default() += 1;
        }
    }
    println!("{}: {total} operations, {rows:?}", case.name());
    assert_eq!(rows.values().sum::<u32>(), total * 3);
    rows
}

/// Sweeps manifests of a method; the number of points visited.
#[track_caller]
fn sweep_all(swap: SwapMethod, confirms: bool, expected: &[Row]) -> u32 {
    let of = |order, sizes| Case {
        swap,
        confirms,
        chip: small_pages(),
        sizes,
        order,
    };
    let around = manifest(&[("modem@2.0.0", false), ("app@1.1.0", true), ("radio@3.0.0", false)]);
    let cases = [
        of(main_only(), UNEVEN[0]),
        of(main_only(), UNEVEN[1]),
        of(modem_then_main(), EVEN),
        of(manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]), EVEN),
        of(around, EVEN),
        Case {
            chip: chip(),
            ..of(main_only(), (4_500, 5_000))
        },
    ];
    let mut rows: BTreeMap<Row, u32> = BTreeMap::new();
    for case in &cases {
        for (row, visits) in sweep(case) {
            *rows.entry(row).or_default() += visits;
        }
    }
    let visited = rows.values().sum();
    println!("swap by {}: {visited} points visited, {rows:?}", swap.word());
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), expected);
    visited
}

const CONFIRMING: &[Row] = &[
    Row::P0,
    Row::P1,
    Row::P3,
    Row::M0,
    Row::M2,
    Row::M3,
    Row::M4,
    Row::M5,
    Row::M7,
    Row::M8,
    Row::M9,
    Row::M13,
    Row::Ended,
];
const CRASHING: &[Row] = &[
    Row::P0,
    Row::P1,
    Row::P3,
    Row::M0,
    Row::M2,
    Row::M3,
    Row::M4,
    Row::M5,
    Row::M6,
    Row::M12,
    Row::Ended,
];

#[test]
fn a_cut_anywhere_ends_as_the_table_says_swapping_by_offset() {
    assert!(sweep_all(SwapMethod::Offset, true, CONFIRMING) > 600);
}

#[test]
fn a_cut_anywhere_ends_as_the_table_says_swapping_by_move() {
    assert!(sweep_all(SwapMethod::Move, true, CONFIRMING) > 600);
}

#[test]
fn a_cut_anywhere_ends_as_the_table_says_swapping_there_and_back_by_offset() {
    assert!(sweep_all(SwapMethod::Offset, false, CRASHING) > 600);
}

#[test]
fn a_cut_anywhere_ends_as_the_table_says_swapping_there_and_back_by_move() {
    assert!(sweep_all(SwapMethod::Move, false, CRASHING) > 600);
}

/// Runs until work in flash begins for the `number`-th time, from zero; false where the attempt ends before.
fn run_into_work(rig: &mut Rig, number: u32) -> bool {
    let end = rig.now + 100 * SECOND;
    let (mut begun, mut ends) = (0, None);
    loop {
        let due = rig.device.next_timeout().filter(|(_, timer)| *timer == Timer::Flash);
        if due.is_some() && due != ends {
            ends = due;
            if begun == number {
                return true;
            }
            begun += 1;
        }
        if rig.cloud.is_answered() && rig.device.phase().ended() || !rig.step(end) {
            return false;
        }
    }
}

/// A countdown cuts power as soon as work is done, so that the first operation of what follows is never torn by one. Here it is: the
/// write of a confirmation (M7t) and that of the upgrade request are work of one operation or two.
fn sweep_beginnings(case: &Case) -> BTreeMap<Row, u32> {
    let mut rows = BTreeMap::new();
    for number in 0.. {
        for seed in seeds() {
            let mut rig = case.rig(seed);
            if !run_into_work(&mut rig, number) {
                println!("{}: work begun {number} times, {rows:?}", case.name());
                return rows;
            }
            rig.input(DeviceInput::PowerCut { after_flash_ops: 0 });
            rig.run_for(SECOND);
            let row = row(&rig, case);
            rig.input(DeviceInput::PowerOn);
            let context = format!("{}: seed {seed}, cut in work {number} in row {row:?}", case.name());
            judge(&mut rig, case, row, &context);
            *rows.entry(row).or_default() += 1;
        }
    }
    rows
}

#[test]
fn a_cut_in_the_first_operation_of_any_work_ends_as_the_table_says() {
    for swap in [SwapMethod::Offset, SwapMethod::Move] {
        for confirms in [true, false] {
            let rows = sweep_beginnings(&Case {
                swap,
                confirms,
                chip: small_pages(),
                sizes: EVEN,
                order: modem_then_main(),
            });
            let torn = if confirms { Row::M5 } else { Row::M6 };
            assert!(rows[&torn] > 0 && rows[&Row::M2] > 0 && rows[&Row::M4] > 0, "{rows:?}");
        }
    }
}

/// Cuts twice, at every pair or at every fifth; how many pairs came, and in which phases the second one followed on the first.
fn cut_twice(case: &Case) -> (u32, BTreeSet<Phase>) {
    let stride = if std::env::var_os("SQUALL_FULL").is_some() { 1 } else { 5 };
    let total = case.operations();
    let (mut visited, mut again) = (0, BTreeSet::new());
    for first in 0..total {
        for second in (1 + first % stride..2 * total).step_by(stride as usize) {
            let mut rig = case.rig(u64::from(first * 31 + second));
            rig.input(DeviceInput::PowerCut { after_flash_ops: first });
            assert!(run_into_cut(&mut rig));
            rig.input(DeviceInput::PowerOn);
            rig.input(DeviceInput::PowerCut { after_flash_ops: second });
            if !run_into_cut(&mut rig) {
                break;
            }
            rig.input(DeviceInput::PowerOn);
            rig.run_to_answer();
            rig.run_for(5 * SECOND);
            let (succeeded, failed, _) = rig.results(5);
            let context = format!("{}: cuts after {first} and {second}", case.name());
            let running = if succeeded.contains(&1) { "app@1.1.0" } else { "app@1.0.0" };
            assert_eq!(rig.device.running(), &version(running), "{context}");
            assert!(succeeded.contains(&0), "{context}");
            assert!(succeeded.contains(&1) != failed.contains(&1), "{context}");
            assert!(case.confirms || failed.contains(&1), "{context}");
            assert_eq!(rig.ends().len(), 1, "{context}");
            let twice = rig
                .transitions()
                .into_iter()
                .filter(|&(from, to, cause)| from == to && cause == Cause::Power);
            again.extend(twice.map(|(phase, ..)| phase));
            visited += 1;
        }
    }
    println!(
        "{}: {total} operations, {visited} pairs visited, twice in {again:?}",
        case.name()
    );
    (visited, again)
}

fn all_pairs(swap: SwapMethod) {
    let of = |confirms| Case {
        swap,
        confirms,
        chip: small_pages(),
        sizes: EVEN,
        order: modem_then_main(),
    };
    for (confirms, phase) in [(true, Phase::Swapping), (false, Phase::Reverting)] {
        let (visited, again) = cut_twice(&of(confirms));
        assert!(visited > 100, "{visited} pairs");
        assert!(again.contains(&phase), "never cut twice in {phase}");
    }
}

#[test]
fn two_cuts_anywhere_leave_a_bootable_device_and_an_end_swapping_by_offset() {
    all_pairs(SwapMethod::Offset);
}

#[test]
fn two_cuts_anywhere_leave_a_bootable_device_and_an_end_swapping_by_move() {
    all_pairs(SwapMethod::Move);
}
