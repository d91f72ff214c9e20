//! `-v`: what happens in a run, line by line on standard error.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::dashboard::note_line;
use crate::play::{Ask, NoteLine, Outcome, Picture, Viewer};

/// How often a real run is asked what happened.
const PERIOD: Duration = Duration::from_millis(200);

/// What a picture must hold to be told.
pub(super) fn ask() -> Ask {
    Ask {
        notes: usize::MAX,
        seconds_a_bar: 1,
        ..Ask::default()
    }
}

/// Who tells what happens in a real run.
pub(super) struct Listener {
    thread: JoinHandle<Teller>,
}

/// Tells what happens in a real run, on a thread that ends with it.
pub(super) fn listen() -> std::io::Result<(Viewer, Listener)> {
    let (sender, pictures) = sync_channel::<Picture>(4);
    let thread = std::thread::Builder::new().name("verbose".to_owned()).spawn(move || {
        let mut teller = Teller::default();
        pictures.iter().for_each(|picture| teller.tell(&picture));
        teller
    })?;
    let viewer = Viewer {
        period: PERIOD,
        ask: Arc::new(Mutex::new(ask())),
        pictures: sender,
    };
    Ok((viewer, Listener { thread }))
}

impl Listener {
    /// Tells what came after the last picture.
    pub(super) fn close(self, outcome: &Outcome) {
        if let Ok(mut teller) = self.thread.join() {
            teller.tell_rest(outcome);
        }
    }
}

/// Tells every note once.
#[derive(Debug, Default)]
pub(super) struct Teller {
    told: u64,
}

impl Teller {
    /// Tells what has come since the last picture.
    pub(super) fn tell(&mut self, picture: &Picture) {
        self.fresh(picture.noted, &picture.notes);
    }

    /// Tells what came after the last picture.
    pub(super) fn tell_rest(&mut self, outcome: &Outcome) {
        let (noted, notes) = outcome.notes();
        self.fresh(noted, &notes);
    }

    /// Of `noted` notes those that were not told; `notes` has the last of them, the very last first.
    fn fresh(&mut self, noted: u64, notes: &[NoteLine]) {
        let fresh = noted.saturating_sub(std::mem::replace(&mut self.told, noted));
        let kept = notes.len().min(usize::try_from(fresh).unwrap_or(usize::MAX));
        let forgotten = fresh - kept as u64;
        if forgotten > 0 {
            eprintln!("… {forgotten} more, too many at once to be told");
        }
        notes[..kept].iter().rev().for_each(|note| eprintln!("{}", note_line(note)));
    }
}
