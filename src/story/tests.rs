//! Lives made up, told.

use super::*;
use crate::measure::{FaultCame, StoredRecord};
use crate::model::{
    AttemptId, AttemptResult, BootReason, Cause, ConnectResult, FailureReason, Phase, RetryReason, StateReason, Transition,
    UpdateState,
};

/// A life as it grows.
#[derive(Default)]
struct Life {
    moments: Vec<Moment>,
    names: TraceNames,
    phase: Option<Phase>,
}

impl Life {
    fn see(&mut self, millis: u64, happening: Happening) {
        let at = SimTime::from_millis(millis);
        self.moments.push(Moment { at, happening });
    }

    fn enter(&mut self, millis: u64, to: Phase, cause: Cause) {
        let from = self.phase.replace(to).unwrap_or(Phase::Idle);
        let happening = Happening::Transition {
            transition: Transition { from, to, cause },
            attempt: Some(seven()),
            reason: None,
        };
        self.see(millis, happening);
    }

    fn boot(&mut self, millis: u64, image: &str, confirmed: bool, why: BootReason) {
        let image = self.names.intern(image);
        self.see(millis, Happening::Booted { image, confirmed, why });
    }

    fn connect(&mut self, millis: u64, result: ConnectResult, wanted: u64) {
        let wanted_at = SimTime::from_millis(wanted);
        self.see(millis, Happening::ConnectTried { result, wanted_at });
    }

    fn state(&mut self, millis: u64, from: UpdateState, to: UpdateState, reason: StateReason) {
        let deployment = self.names.intern("everyone");
        let attempt = seven();
        self.see(
            millis,
            Happening::State {
                attempt,
                deployment,
                from,
                to,
                reason,
            },
        );
    }

    /// Switched on, online, offered app@1.1.0, downloading it.
    fn downloading() -> Life {
        let mut life = Life::default();
        life.see(0, Happening::Offline);
        life.boot(285, "app@1.0.0", true, BootReason::PowerOn);
        life.connect(565, ConnectResult::Ok, 285);
        life.state(2_000, UpdateState::None, UpdateState::Pending, StateReason::Deployed);
        life.state(2_000, UpdateState::Pending, UpdateState::InProgress, StateReason::Offered);
        life.see(2_012, Happening::Manifest { attempt: seven() });
        let record = StoredRecord::Attempt;
        life.see(2_013, Happening::Stored { record, bytes: 14 });
        life.enter(2_013, Phase::Accepted, Cause::Normal);
        life.enter(2_013, Phase::Downloading, Cause::Normal);
        let image = life.names.intern("app@1.1.0");
        life.see(
            2_013,
            Happening::Handler {
                attempt: seven(),
                index: 0,
                image,
            },
        );
        life.request(2_013, 0);
        life.answer(2_087, 200, 262_144);
        life
    }

    fn request(&mut self, millis: u64, offset: u32) {
        self.see(millis, Happening::Request { offset });
    }

    fn answer(&mut self, millis: u64, status: u16, length: u32) {
        self.see(
            millis,
            Happening::Answer {
                status,
                ranged: status == 206,
                length: Some(length),
            },
        );
    }

    fn retry(&mut self, millis: u64, reason: RetryReason, until: u64, received: u32) {
        self.enter(millis, Phase::Retrying, Cause::Error);
        let until = SimTime::from_millis(until);
        self.see(millis, Happening::Retry { reason, until, received });
    }

    fn end(&mut self, millis: u64, result: AttemptResult, reason: Option<FailureReason>) {
        let attempt = seven();
        self.see(millis, Happening::Ended { attempt, result, reason });
    }

    #[track_caller]
    fn tells(self, end: u64, expected: &[&str]) {
        let story = Story::tell(&self.moments, &self.names, SimTime::from_millis(end));
        let told = story.to_string();
        let told: Vec<_> = told.lines().map(str::trim_start).collect();
        assert_eq!(told, expected, "{told:#?}");
    }
}

fn seven() -> AttemptId {
    AttemptId::new(7).unwrap()
}

const BEGINNING: &[&str] = &[
    "0.000 s  power on",
    "0.285 s  app@1.0.0 starts",
    "0.565 s  online after 0.28 s",
    "2.000 s  deployment `everyone` reaches it: attempt 7",
    "2.012 s  receives the manifest of attempt 7; stores its record (14 B); begins to download app@1.1.0",
];

fn with_beginning<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    BEGINNING.iter().chain(rest).copied().collect()
}

#[test]
fn a_download_that_breaks_is_told_to_the_byte() {
    let mut life = Life::downloading();
    life.retry(2_500, RetryReason::Reset, 6_400, 187_392);
    life.enter(6_400, Phase::Downloading, Cause::Normal);
    life.request(6_400, 187_392);
    life.answer(6_450, 503, 0);
    life.retry(6_450, RetryReason::Status, 15_350, 187_392);
    life.enter(15_350, Phase::Downloading, Cause::Normal);
    life.request(15_350, 187_392);
    life.answer(15_400, 206, 74_752);
    life.enter(16_000, Phase::Staged, Cause::Normal);
    let rest = [
        "2.500 s  download of app@1.1.0 broke at byte 187,392 (connection reset); asks again in 3.90 s from there",
        "6.400 s  asks for the rest from byte 187,392",
        "6.450 s  the image server answers 503; asks again in 8.90 s from there",
        "15.350 s  asks for the rest from byte 187,392",
        "16.000 s  all 262,144 B of app@1.1.0 are there after 14.0 s and 3 requests",
        "20.000 s  the run ends: runs app@1.0.0, online; attempt 7 is open, reading the new image for 4.00 s",
    ];
    life.tells(20_000, &with_beginning(&rest));
}

#[test]
fn power_lost_in_a_download_names_what_was_lost_and_what_was_not() {
    let mut life = Life::downloading();
    let (received, total) = (187_392, Some(262_144));
    let (name, kind) = (life.names.intern("cut"), life.names.intern("power-cut"));
    let came = FaultCame::Done;
    let why = None;
    life.see(3_000, Happening::Fault { name, kind, came, why });
    life.see(3_000, Happening::DownloadLost { received, total });
    life.see(3_000, Happening::PowerLost);
    life.see(5_000, Happening::Offline);
    life.boot(5_285, "app@1.0.0", true, BootReason::PowerOn);
    life.enter(5_285, Phase::Waiting, Cause::Power);
    life.connect(5_385, ConnectResult::Refused, 5_285);
    life.connect(5_885, ConnectResult::Refused, 5_285);
    life.connect(6_385, ConnectResult::Timeout, 5_285);
    life.connect(6_985, ConnectResult::Ok, 5_285);
    let rest = [
        "3.000 s  fault `cut` (power-cut) strikes; power is lost at byte 187,392 of 262,144 of app@1.1.0",
        "5.000 s  power is back after 2.00 s",
        "5.285 s  app@1.0.0 starts; its record of attempt 7 is intact; needs the manifest again",
        "5.385 s  cannot connect: refused",
        "6.385 s  cannot connect: no answer in time",
        "6.985 s  online after 1.70 s and 3 failed tries; awaits its manifest",
        "8.000 s  the run ends: runs app@1.0.0, online; attempt 7 is open, waiting for its manifest for 2.71 s",
    ];
    life.tells(8_000, &with_beginning(&rest));
}

#[test]
fn a_crash_before_confirmation_leads_back_and_says_why() {
    let mut life = Life::downloading();
    life.enter(4_200, Phase::Staged, Cause::Normal);
    life.enter(4_254, Phase::Committing, Cause::Normal);
    let record = StoredRecord::Probation;
    life.see(4_254, Happening::Stored { record, bytes: 42 });
    life.see(4_255, Happening::UpgradeRequested);
    life.see(4_255, Happening::Offline);
    life.enter(4_255, Phase::Swapping, Cause::Normal);
    life.see(6_000, Happening::PowerLost);
    life.see(7_000, Happening::Offline);
    life.enter(7_000, Phase::Swapping, Cause::Power);
    life.enter(8_700, Phase::Probation, Cause::Normal);
    life.boot(9_000, "app@1.1.0", false, BootReason::PowerOn);
    life.connect(9_100, ConnectResult::Ok, 9_000);
    life.see(14_000, Happening::Offline);
    life.enter(14_000, Phase::Reverting, Cause::Power);
    life.see(18_500, Happening::RolledBack);
    life.boot(18_800, "app@1.0.0", true, BootReason::Crash);
    life.enter(18_801, Phase::Failed, Cause::Normal);
    life.end(18_801, AttemptResult::Failed, Some(FailureReason::ResetBeforeConfirm));
    life.connect(18_900, ConnectResult::Ok, 18_800);
    for _ in 0..2 {
        let (attempt, complete) = (seven(), true);
        life.see(18_900, Happening::Published { attempt, complete });
    }
    life.state(18_912, UpdateState::InProgress, UpdateState::Failed, StateReason::Results);
    let rest = [
        "4.200 s  all 262,144 B of app@1.1.0 are there after 2.19 s",
        "4.254 s  finds its build id; stores the probation record (42 B)",
        "4.255 s  asks the bootloader to test the new image; restarts; the bootloader begins to swap the images",
        "6.000 s  power is lost while the bootloader swaps the images",
        "7.000 s  power is back after 1.00 s; the bootloader goes on where it was",
        "8.700 s  the images are swapped after 4.45 s",
        "9.000 s  app@1.1.0 starts, unconfirmed",
        "9.100 s  online after 0.10 s",
        "14.000 s  app@1.1.0 crashes 5.00 s after its start; the bootloader begins to bring the old image back",
        "18.500 s  the old image is back after 4.50 s",
        "18.800 s  app@1.0.0 starts",
        "18.801 s  attempt 7 failed 16.8 s after its manifest: the new image was reset before it was confirmed",
        "18.900 s  online after 0.10 s; reports how attempt 7 ended; reports once more how attempt 7 ended",
        "18.912 s  the server notes attempt 7 as failed",
        "20.000 s  the run ends: runs app@1.0.0, online; attempt 7 failed, because the new image was reset before it was confirmed",
    ];
    life.tells(20_000, &with_beginning(&rest));
}

#[test]
fn the_ending_says_what_device_and_server_do_not_agree_on() {
    let mut life = Life::downloading();
    life.enter(4_000, Phase::Failed, Cause::Error);
    life.end(4_000, AttemptResult::Failed, Some(FailureReason::Status(404)));
    life.see(5_000, Happening::PowerLost);
    let rest = [
        "4.000 s  attempt 7 failed 1.99 s after its manifest: the image server answered 404",
        "5.000 s  power is lost",
        "9.000 s  the run ends: without power for 4.00 s; attempt 7 failed, because the image server answered 404, \
         while the server has it in progress",
    ];
    life.tells(9_000, &with_beginning(&rest));
}

#[test]
fn a_device_that_was_never_switched_on_has_a_story_too() {
    let mut life = Life::default();
    life.state(2_000, UpdateState::None, UpdateState::Pending, StateReason::Deployed);
    let expected = [
        "2.000 s  deployment `everyone` reaches it: attempt 7",
        "9.000 s  the run ends: the device was never switched on; the server has attempt 7 pending",
    ];
    life.tells(9_000, &expected);
}

#[test]
fn a_part_of_a_story_has_no_ending_that_lies_behind_it() {
    let life = Life::downloading();
    let story = || Story::tell(&life.moments, &life.names, SimTime::from_secs(9));
    let at = |secs| Some(SimTime::from_secs(secs));
    let early = story().between(None, at(1));
    assert_eq!((early.sentences.len(), early.ending), (3, None));
    let late = story().between(at(1), None);
    assert_eq!((late.sentences.len(), late.ending.is_some()), (2, true));
}

#[test]
fn a_story_of_hours_shows_hours() {
    let life = Life::downloading();
    let story = Story::tell(&life.moments, &life.names, SimTime::from_secs(7_265));
    let told = story.to_string();
    assert!(told.starts_with("  0:00:00.000  power on\n"), "{told}");
    assert!(told.contains("\n  2:01:05.000  the run ends"), "{told}");
}
