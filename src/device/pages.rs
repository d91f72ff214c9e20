//! Pages in the middle of a download: one is in flash, the next one begins to be written, and nobody else hears of either.

use bytes::Bytes;

use super::Device;
use super::behavior::Behaviors;
use super::io::Outputs;
use super::slot::Slot;
use super::step::Step;
use super::stretch::Stretch;
use super::timers::Timer;
use crate::time::SimTime;

impl Device {
    /// True if a page that is being written, in the middle of a download, is in flash at `due`.
    pub fn has_page_written_at(&self, due: SimTime) -> bool {
        let writes = matches!(self.flash.under_way(), Some(Stretch::Page { .. }));
        writes && self.flash.ends() == Some(due) && self.has_room_for_page()
    }

    /// Turns a page as of `now`: one [is written](Self::has_page_written_at), and the next one, which is at the front of `body`, begins
    /// to be. Gives [`next_timeout`](Self::next_timeout); `None`, and nothing is done, where more is to happen at that moment.
    ///
    /// It is what [`handle_timer`](Self::handle_timer) does, and then the delivery of what it reads.
    pub fn turn_page(&mut self, body: &mut Bytes, now: SimTime, out: &mut Outputs) -> Option<(SimTime, Timer)> {
        debug_assert!(self.has_page_written_at(now), "no page is to be turned");
        let mut other: Option<(SimTime, Timer)> = None;
        self.each_timer(|due, timer| {
            if timer != Timer::Flash && other.is_none_or(|(before, _)| due < before) {
                other = Some((due, timer));
            }
        });
        let Device {
            config,
            behaviors,
            flash,
            ..
        } = self;
        let chip = &config.chip;
        if !flash.turns_page(now) || other.is_some_and(|(due, _)| due <= now) || body.len() <= chip.page_size as usize {
            return None;
        }
        let Step::Fetch(fetch) = &mut self.memory.work.as_mut()?.step else {
            return None;
        };
        let (offset, bytes) = fetch.download.read_page(body, chip.page_size)?;
        let at = config.image_at() + offset as u32;
        flash.turn_page(now, chip, behaviors, out, |slot| page_at(at, offset, bytes, slot, behaviors));
        // Of both at one moment the flash comes first.
        let written = flash.ends().map(|ends| (ends, Timer::Flash));
        written
            .filter(|(ends, _)| other.is_none_or(|(due, _)| *ends <= due))
            .or(other)
    }

    /// True if the running download goes on undisturbed: it is read into the slot, is past its first page, and fits.
    pub fn has_room_for_page(&self) -> bool {
        let Some(work) = self
            .memory
            .work
            .as_ref()
            .filter(|work| !work.paused && work.stopping.is_none())
        else {
            return false;
        };
        let Step::Fetch(fetch) = &work.step else {
            return false;
        };
        let (chip, (received, total)) = (&self.config.chip, fetch.download.progress());
        let fits = total.is_some_and(|total| total <= u64::from(chip.image_limit()));
        let begun = fetch.is_main() && fetch.download.is_reading() && received >= u64::from(chip.page_size);
        begun && fits && self.behaviors.defect.is_none()
    }
}

/// The page of an image that begins at `offset` of it, to be written at `at`: as a slice of the image that the fleet knows, if it is one.
pub(super) fn page_at(at: u32, offset: u64, bytes: Bytes, slot: &Slot, known: &Behaviors) -> Stretch {
    let first = offset == 0;
    let bytes = match slot.goes_on(at, offset, &bytes) {
        true => bytes,
        false => {
            let before = if first { None } else { slot.ending_at(at) };
            known.shared(offset, &bytes, before).unwrap_or(bytes)
        }
    };
    Stretch::Page { at, bytes, first }
}
