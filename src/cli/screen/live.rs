//! The screen of a real run: a thread of its own, so that drawing never keeps the run waiting.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::dashboard::Wish;
use crate::play::{Ask, Picture, Viewer};

use super::{Show, raise};

/// How long a key may wait.
const KEYS_EVERY: Duration = Duration::from_millis(25);

/// A screen on its thread.
pub(in crate::cli) struct LiveScreen {
    thread: JoinHandle<io::Result<()>>,
}

/// Starts a screen that draws `fps` pictures a second and saves snapshots in `folder`; the terminal is taken over with the first
/// picture, and given back when nobody sends any more.
pub(in crate::cli) fn open(folder: PathBuf, color: bool, fps: u32) -> io::Result<(Viewer, LiveScreen)> {
    let (sender, pictures) = sync_channel(1);
    let ask = Arc::new(Mutex::new(Ask::default()));
    let viewer = Viewer {
        period: Duration::from_secs(1) / fps.max(1),
        ask: Arc::clone(&ask),
        pictures: sender,
    };
    let thread = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
        let shown = catch_unwind(AssertUnwindSafe(|| show(&pictures, &ask, folder, color)));
        shown.unwrap_or_else(|_| {
            // The terminal is given back by now; whoever sits before it must know that the run is still on.
            eprintln!("the screen ended by a defect of squall; the run goes on without it, and Ctrl-C ends it");
            Ok(())
        })
    })?;
    Ok((viewer, LiveScreen { thread }))
}

impl LiveScreen {
    /// Waits for the end of the screen, which comes with the end of the run; says what went wrong with it.
    pub(in crate::cli) fn close(self) {
        if let Ok(Err(error)) = self.thread.join() {
            eprintln!("the screen could not be shown: {error}");
        }
    }
}

fn show(pictures: &Receiver<Picture>, ask: &Mutex<Ask>, folder: PathBuf, color: bool) -> io::Result<()> {
    let Ok(mut picture) = pictures.recv() else {
        return Ok(());
    };
    let mut show = Show::open(folder, color)?;
    show.draw(&picture)?;
    loop {
        *ask.lock().unwrap_or_else(PoisonError::into_inner) = show.screen.ask();
        match pictures.recv_timeout(KEYS_EVERY) {
            Ok(next) => {
                picture = next;
                show.draw(&picture)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        match show.attend(&picture, Duration::ZERO)? {
            // The signal goes the way that Ctrl-C goes without a screen.
            Some(Wish::Stop) => {
                show.screen.say("ending the run; once more ends it at once".to_owned());
                show.draw(&picture)?;
                raise(Signal::INT);
            }
            Some(Wish::Pause | Wish::Back | Wish::Forward | Wish::Slower | Wish::Faster) => {
                show.screen
                    .say("a real run cannot be paused: `squall sim --watch 10x` can".to_owned());
                show.draw(&picture)?;
            }
            Some(Wish::Suspend | Wish::Save) | None => {}
        }
    }
}
