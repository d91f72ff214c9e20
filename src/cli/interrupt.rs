//! Ctrl-C and SIGTERM: the first one asks the run to end, a second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// Exit code of an interrupted run.
const INTERRUPTED: i32 = 130;

/// Whether the user has asked for the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from here on, on a thread of its own. Where the system gives no signals, nothing is ever asked.
    pub(super) fn listen() -> Interrupt {
        let interrupt = Interrupt::default();
        let asked = Arc::clone(&interrupt.asked);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            // Where the system takes no handler, its own effect stays.
            let _ = runtime.and_then(|runtime| runtime.block_on(heed(&asked)));
        });
        interrupt
    }

    /// True once the user has asked.
    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn heed(asked: &AtomicBool) -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if asked.swap(true, Ordering::Relaxed) {
            crate::dashboard::restore();
            std::process::exit(INTERRUPTED);
        }
    }
}
