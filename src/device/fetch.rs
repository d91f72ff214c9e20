//! Handlers: how a main and a non-main artifact are installed, from the call to what the handler returns (protocol 6.3 to 6.5).
//!
//! Both download the same way. A main image goes page by page into the secondary slot, is searched for its build id and committed; a
//! non-main one stays in the application's memory, and what its handler returns is data ([`super::InstallOutcome`]).

use std::time::Duration;

use bytes::Bytes;

use super::Device;
use super::behavior::InstallOutcome;
use super::defect::Defect;
use super::download::{Download, News};
use super::io::{DeviceOutput, Outputs};
use super::pages::page_at;
use super::step::{Step, Stopped};
use crate::luck::Purpose;
use crate::model::{Artifact, ArtifactResult, BootReason, Cause, FailureReason, FirmwareVersion, Observation, Phase, RetryReason};
use crate::time::SimTime;
use crate::wire::{DownloadEvent, ImagePrint, ImageUrl, topic};

/// A handler that downloads.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Position in the manifest.
    pub(super) index: u8,
    /// What becomes of the bytes.
    pub(super) sink: Sink,
    /// The download.
    pub(super) download: Download,
}

/// What becomes of downloaded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// They are written to the secondary slot.
    Slot {
        /// A page of them is being written.
        writing: bool,
    },
    /// They go to the application, whose handler then does this.
    Application(InstallOutcome),
}

impl Fetch {
    pub(super) fn is_main(&self) -> bool {
        matches!(self.sink, Sink::Slot { .. })
    }

    fn is_writing(&self) -> bool {
        self.sink == Sink::Slot { writing: true }
    }

    /// The page under way is in flash.
    pub(super) fn page_written(&mut self) {
        if let Sink::Slot { writing } = &mut self.sink {
            *writing = false;
        }
    }
}

impl InstallOutcome {
    const fn is_deaf(self) -> bool {
        match self {
            InstallOutcome::SucceedAfter { deaf, .. }
            | InstallOutcome::FailAfter { deaf, .. }
            | InstallOutcome::CancelAfter { deaf, .. }
            | InstallOutcome::Never { deaf } => deaf,
            InstallOutcome::Unhandled => false,
        }
    }

    /// What the handler returns, and how long after the last byte.
    const fn returns(self) -> (Option<Duration>, ArtifactResult) {
        match self {
            InstallOutcome::SucceedAfter { after, .. } => (Some(after), ArtifactResult::Succeeded),
            InstallOutcome::FailAfter { after, .. } => (Some(after), ArtifactResult::Failed),
            InstallOutcome::CancelAfter { after, .. } => (Some(after), ArtifactResult::Canceled),
            InstallOutcome::Never { .. } => (None, ArtifactResult::Failed),
            InstallOutcome::Unhandled => (Some(Duration::ZERO), ArtifactResult::Failed),
        }
    }
}

impl Device {
    /// Calls the handler of an artifact.
    pub(super) fn call_handler(&mut self, index: u8, artifact: &Artifact, now: SimTime, out: &mut Outputs) {
        let Some(attempt) = self.memory.attempt.as_ref().map(|attempt| attempt.id) else {
            return;
        };
        let phase = if artifact.main {
            Phase::Downloading
        } else {
            Phase::Installing
        };
        self.enter(phase, Cause::Normal, None, out);
        let firmware = artifact.firmware();
        let outcome = self.install_outcome(&firmware);
        out.push(DeviceOutput::Observed(Observation::HandlerCalled {
            attempt,
            index: usize::from(index),
            firmware,
        }));
        let failed = |device: &mut Device, reason, out: &mut Outputs| {
            device.on_returned(index, ArtifactResult::Failed, Some(reason), now, out);
        };
        // The slot may not be opened while the image that could be reverted to stands in it (protocol 6.5).
        if artifact.main && !self.flash.primary.is_confirmed() && self.config.sdk.guards_slot() {
            return failed(self, FailureReason::SlotRefused, out);
        }
        if !artifact.main && outcome == InstallOutcome::Unhandled {
            return failed(self, FailureReason::Unhandled, out);
        }
        let Ok(mut target) = ImageUrl::parse(&artifact.url, self.config.tls) else {
            return failed(self, FailureReason::Download, out);
        };
        if target.path.starts_with("/?") && !self.config.sdk.keeps_bare_query() {
            target.path.truncate(1);
        }
        let mut fetch = Fetch {
            index,
            sink: if artifact.main {
                Sink::Slot { writing: false }
            } else {
                Sink::Application(outcome)
            },
            download: Download::new(target, artifact.secret.clone()),
        };
        let blind = self.has(Defect::SkipContentRangeCheck) || self.has(Defect::ResumeAtPage);
        if blind || !self.config.sdk.checks_ranges() {
            fetch.download.trust_ranges();
        }
        if self.has(Defect::LeakSecret) {
            let secret = Bytes::copy_from_slice(artifact.secret.as_bytes());
            self.publish(topic::INGEST, secret, now, out);
        }
        self.take_step(Step::Fetch(fetch));
        self.request(now, out);
    }

    fn install_outcome(&self, firmware: &FirmwareVersion) -> InstallOutcome {
        let dealt = self.behaviors.installs.get(firmware);
        dealt.map_or_else(InstallOutcome::default, |dealt| *dealt.of(self.identity.number))
    }

    /// RAM is about to be lost: tells how far the running download is.
    pub(super) fn show_download_lost(&mut self, out: &mut Outputs) {
        if let Some((received, total)) = self.fetch().map(|fetch| fetch.download.progress()) {
            out.push(DeviceOutput::Observed(Observation::DownloadLost { received, total }));
        }
    }

    fn fetch(&mut self) -> Option<&mut Fetch> {
        match &mut self.memory.work.as_mut()?.step {
            Step::Fetch(fetch) => Some(fetch),
            Step::First
            | Step::Final
            | Step::Report(_)
            | Step::DropProbation
            | Step::Scan { .. }
            | Step::Probation
            | Step::Upgrade
            | Step::Install { .. }
            | Step::Settle(_) => None,
        }
    }

    fn request(&mut self, now: SimTime, out: &mut Outputs) {
        let closes = self.config.sdk.pauses_by_closing();
        let paused = closes && self.memory.work.as_ref().is_some_and(|work| work.paused);
        let stale = self.has(Defect::ResumeAtPage);
        let Some(fetch) = self.fetch() else {
            return;
        };
        if paused {
            fetch.download.suspend();
            return;
        }
        let (offset, due) = (fetch.download.offset(), fetch.download.due(now));
        let mut request = fetch.download.ask(now);
        if stale {
            request.offset -= fetch.download.buffered();
        }
        out.push(DeviceOutput::StartDownload(request));
        out.push(DeviceOutput::Observed(Observation::Requested { offset, due }));
    }

    /// The wait before a request is over.
    pub(super) fn on_retry(&mut self, now: SimTime, out: &mut Outputs) {
        if self.fetch().is_some_and(|fetch| fetch.is_main()) {
            self.enter(Phase::Downloading, Cause::Normal, None, out);
        }
        self.request(now, out);
    }

    /// The budget of a request is used up.
    pub(super) fn on_budget_spent(&mut self, now: SimTime, out: &mut Outputs) {
        let news = News::Transient(RetryReason::Timeout, FailureReason::Download);
        self.on_news(news, true, now, out);
    }

    pub(super) fn on_download(&mut self, event: DownloadEvent, now: SimTime, out: &mut Outputs) {
        let defect = self.behaviors.defect;
        let close_is_success = self.config.quirks.close_is_success;
        let Some(fetch) = self.fetch() else {
            return;
        };
        match event {
            DownloadEvent::Answered(head) => {
                if let Some((mut news, ranged)) = fetch.download.on_answer(&head) {
                    let redirected = (300..400).contains(&head.status) && defect == Some(Defect::FollowRedirect);
                    if redirected {
                        fetch.download.follow_to("elsewhere.invalid");
                    }
                    let retried = redirected || defect == Some(Defect::RetryPermanentStatus);
                    if let (News::Permanent(failure @ FailureReason::Status(_)), true) = (news, retried) {
                        news = News::Transient(RetryReason::Status, failure);
                    }
                    out.push(DeviceOutput::Observed(Observation::Answered {
                        status: head.status,
                        ranged,
                        length: head.content_length,
                    }));
                    self.on_news(news, true, now, out);
                }
            }
            DownloadEvent::Body(bytes) => {
                let keep = fetch.is_main();
                if fetch.download.offset() == 0 && defect == Some(Defect::RepeatBlock) {
                    fetch.download.on_body(bytes.clone(), keep);
                }
                fetch.download.on_body(bytes, keep);
                self.go_on(now, out);
            }
            DownloadEvent::Finished => {
                let news = fetch.download.on_finished();
                self.on_news(news, false, now, out);
            }
            DownloadEvent::Closed => {
                let news = fetch.download.on_closed(close_is_success);
                self.on_news(news, false, now, out);
            }
            DownloadEvent::Broken(error) => {
                let news = fetch.download.on_broken(error);
                self.on_news(news, false, now, out);
            }
        }
    }

    /// `running`: the transport has to be told where the request is over.
    fn on_news(&mut self, news: News, running: bool, now: SimTime, out: &mut Outputs) {
        if running && news != News::Fine {
            out.push(DeviceOutput::StopDownload);
        }
        match news {
            News::Fine => self.go_on(now, out),
            News::Transient(reason, failure) => self.wait_for_retry(reason, failure, now, out),
            News::Permanent(failure) => self.give_up(failure, now, out),
        }
    }

    fn wait_for_retry(&mut self, reason: RetryReason, failure: FailureReason, now: SimTime, out: &mut Outputs) {
        let ordinal = self.ordinals.retries;
        self.ordinals.retries = ordinal.wrapping_add(1);
        let (backoff, luck, key) = (self.config.retry, self.luck, self.identity.key);
        let (hasty, wraps) = (self.has(Defect::RetryTooSoon), self.has(Defect::WrapBackoff));
        let Some(fetch) = self.fetch() else {
            return;
        };
        let failures = fetch.download.fail(reason);
        let failures = if wraps { (failures - 1) % 4 + 1 } else { failures };
        let mut wait = backoff.delay(failures, luck, Purpose::RetryDelay, key, ordinal);
        if hasty {
            wait /= 4;
        }
        let until = now + wait;
        let received = fetch.download.offset();
        fetch.download.wait(until);
        if fetch.is_main() {
            self.enter(Phase::Retrying, Cause::Error, Some(failure), out);
        }
        out.push(DeviceOutput::Observed(Observation::RetryScheduled {
            reason,
            until,
            received,
        }));
    }

    fn give_up(&mut self, failure: FailureReason, now: SimTime, out: &mut Outputs) {
        if let Some(index) = self.fetch().map(|fetch| fetch.index) {
            self.on_returned(index, ArtifactResult::Failed, Some(failure), now, out);
        }
    }

    /// Does what the bytes received so far allow: write a page, read on, or end.
    fn go_on(&mut self, now: SimTime, out: &mut Outputs) {
        let page_size = self.config.chip.page_size;
        let paused = self.memory.work.as_ref().is_some_and(|work| work.paused);
        let Some(fetch) = self.fetch() else {
            return;
        };
        let granted = match fetch.sink {
            Sink::Slot { writing: true } => return,
            Sink::Slot { writing: false } => {
                if let Some((offset, bytes)) = fetch.download.take_page(page_size) {
                    return self.write_page(offset, bytes, now, out);
                }
                match paused {
                    true => 0,
                    false => fetch.download.grant(page_size),
                }
            }
            Sink::Application(_) => fetch.download.grant(u32::MAX),
        };
        if granted > 0 {
            out.push(DeviceOutput::Read { bytes: granted });
        } else if fetch.download.is_complete() {
            let (index, sink) = (fetch.index, fetch.sink);
            let ImagePrint { bytes, sum: print } = fetch.download.handed();
            out.push(DeviceOutput::Observed(Observation::Downloaded { bytes, print }));
            match sink {
                Sink::Slot { .. } => self.scan(index, now, out),
                Sink::Application(outcome) => self.install(index, outcome, now),
            }
        }
    }

    fn write_page(&mut self, offset: u64, bytes: Bytes, now: SimTime, out: &mut Outputs) {
        let chip = &self.config.chip;
        if offset + bytes.len() as u64 > u64::from(chip.image_limit()) {
            if self.fetch().is_some_and(|fetch| fetch.download.is_asking()) {
                out.push(DeviceOutput::StopDownload);
            }
            self.give_up(FailureReason::TooBig, now, out);
            return;
        }
        let first = offset == 0;
        if first && self.config.checks_fit && !self.is_made_for_it(&bytes) {
            if self.fetch().is_some_and(|fetch| fetch.download.is_asking()) {
                out.push(DeviceOutput::StopDownload);
            }
            self.give_up(FailureReason::WrongHardware, now, out);
            return;
        }
        let at = self.config.image_at() + offset as u32;
        let page = page_at(at, offset, bytes, &self.flash.secondary, &self.behaviors);
        self.flash.begin(page, now, &self.config.chip);
        if let Some(fetch) = self.fetch() {
            fetch.sink = Sink::Slot { writing: true };
        }
    }

    /// Whether an image that begins like this is made for this device: its head says so, and one of unknown make is not refused.
    fn is_made_for_it(&self, head: &[u8]) -> bool {
        let image = self.behaviors.beginning_with(head);
        image.is_none_or(|image| *image.fits.of(self.identity.number))
    }

    /// A page is in flash.
    pub(super) fn on_page_written(&mut self, now: SimTime, out: &mut Outputs) {
        if self.memory.work.as_ref().is_some_and(|work| work.stopping.is_some()) {
            self.stop_now(now, out);
        } else {
            self.go_on(now, out);
        }
    }

    /// The image is complete: it is searched for its build id, every byte once, as fast as it can be hashed.
    fn scan(&mut self, index: u8, now: SimTime, out: &mut Outputs) {
        let bytes = self.fetch().map_or(0, |fetch| fetch.download.offset());
        let until = now + self.config.chip.hash(bytes);
        self.enter(Phase::Staged, Cause::Normal, None, out);
        // Nothing was written: what stands in the slot is of an update before.
        if bytes == 0 {
            return self.on_returned(index, ArtifactResult::Failed, Some(FailureReason::NoBuildId), now, out);
        }
        self.take_step(Step::Scan { index, until });
    }

    /// The search is over.
    pub(super) fn on_scanned(&mut self, now: SimTime, out: &mut Outputs) {
        let Some(index) = self.running_handler() else {
            return;
        };
        let limit = self.config.chip.image_limit();
        let build_id = self.flash.secondary.build_id(self.config.image_at(), limit, &self.behaviors);
        match build_id {
            Some(_) if self.has(Defect::SucceedWithoutBoot) => {
                self.on_returned(index, ArtifactResult::Succeeded, None, now, out);
            }
            Some(build_id) => self.begin_commit(index, build_id, now, out),
            None => self.on_returned(index, ArtifactResult::Failed, Some(FailureReason::NoBuildId), now, out),
        }
    }

    fn install(&mut self, index: u8, outcome: InstallOutcome, now: SimTime) {
        let (after, result) = outcome.returns();
        self.take_step(Step::Install {
            index,
            until: after.map(|after| now + after),
            result,
            deaf: outcome.is_deaf(),
        });
    }

    /// The install handler returns.
    pub(super) fn on_installed(&mut self, now: SimTime, out: &mut Outputs) {
        let Some(Step::Install { index, result, .. }) = self.memory.work.as_ref().map(|work| &work.step) else {
            return;
        };
        let (index, result) = (*index, *result);
        let reason = match result {
            ArtifactResult::Succeeded => None,
            ArtifactResult::Failed => Some(FailureReason::InstallFailed),
            ArtifactResult::Canceled => Some(FailureReason::InstallCanceled),
        };
        self.on_returned(index, result, reason, now, out);
    }

    /// Asks the handler that runs to stop; one that writes a page does so at its end, a deaf one not at all.
    pub(super) fn stop_handler(&mut self, now: SimTime, out: &mut Outputs) {
        let Some(work) = &mut self.memory.work else {
            return;
        };
        let stops = match &work.step {
            Step::Fetch(fetch) => match fetch.sink {
                Sink::Slot { .. } => {
                    work.stopping = Some(Stopped::Canceled);
                    !fetch.is_writing()
                }
                Sink::Application(outcome) => !outcome.is_deaf(),
            },
            Step::Scan { .. } => true,
            Step::Install { deaf, .. } => !deaf,
            // A generation that lets itself be stopped here stops once the record is written.
            Step::Probation => {
                work.stopping = Some(Stopped::Canceled);
                false
            }
            Step::First | Step::Final | Step::Report(_) | Step::DropProbation | Step::Upgrade | Step::Settle(_) => false,
        };
        if stops {
            self.stop_now(now, out);
        }
    }

    /// The application aborts the main download (protocol 6.5); where none runs, nothing happens.
    pub(super) fn abort_download(&mut self, now: SimTime, out: &mut Outputs) {
        let Some(work) = self.memory.work.as_mut().filter(|work| work.stopping.is_none()) else {
            return;
        };
        let main = match &work.step {
            Step::Fetch(fetch) => fetch.is_main().then(|| fetch.is_writing()),
            Step::Scan { .. } => Some(false),
            Step::First
            | Step::Final
            | Step::Report(_)
            | Step::DropProbation
            | Step::Probation
            | Step::Upgrade
            | Step::Install { .. }
            | Step::Settle(_) => None,
        };
        if let Some(writing) = main {
            work.stopping = Some(Stopped::Aborted);
            if !writing {
                self.stop_now(now, out);
            }
        }
    }

    /// The application pauses the update of main, where it is far enough and not too far (protocol 6.5).
    pub(super) fn pause_update(&mut self, out: &mut Outputs) {
        let closes = self.config.sdk.pauses_by_closing();
        let Some(work) = &mut self.memory.work else {
            return;
        };
        match &mut work.step {
            Step::Fetch(fetch) if fetch.is_main() => {
                work.paused = true;
                if closes && fetch.download.is_asking() {
                    fetch.download.suspend();
                    out.push(DeviceOutput::StopDownload);
                }
            }
            Step::Scan { .. } | Step::Probation | Step::Upgrade => work.paused = true,
            Step::Fetch(_)
            | Step::First
            | Step::Final
            | Step::Report(_)
            | Step::DropProbation
            | Step::Install { .. }
            | Step::Settle(_) => {}
        }
    }

    /// The application lets it go on.
    pub(super) fn resume_update(&mut self, now: SimTime, out: &mut Outputs) {
        let flashing = self.flash.ends().is_some();
        let Some(work) = self.memory.work.as_mut().filter(|work| work.paused) else {
            return;
        };
        work.paused = false;
        match &mut work.step {
            Step::Fetch(fetch) if fetch.download.is_suspended() => self.request(now, out),
            Step::Fetch(_) => self.go_on(now, out),
            Step::Scan { until, .. } => *until = (*until).max(now),
            Step::Upgrade if !flashing => self.reset(BootReason::Software, now, out),
            Step::First
            | Step::Final
            | Step::Report(_)
            | Step::DropProbation
            | Step::Probation
            | Step::Upgrade
            | Step::Install { .. }
            | Step::Settle(_) => {}
        }
    }

    fn stop_now(&mut self, now: SimTime, out: &mut Outputs) {
        if self.fetch().is_some_and(|fetch| fetch.download.is_asking()) {
            out.push(DeviceOutput::StopDownload);
        }
        let stopped = self.memory.work.as_ref().and_then(|work| work.stopping);
        let (result, reason) = match stopped {
            Some(Stopped::Aborted) => (ArtifactResult::Failed, Some(FailureReason::AppAbort)),
            Some(Stopped::Canceled) | None => (ArtifactResult::Canceled, None),
        };
        if let Some(index) = self.running_handler() {
            self.on_returned(index, result, reason, now, out);
        }
    }
}
