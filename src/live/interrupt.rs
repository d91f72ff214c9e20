//! Ctrl-C and SIGTERM: the first ends the run in good order, the second ends the process at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Exit code of a run that the user ended (contract, section 4).
const INTERRUPTED: i32 = 130;

/// Listens for signals on a thread of its own, so that the second one counts whatever the others are doing; `before_exit` is called
/// before it ends the process. A signal before the
/// thread is up has the system's default effect.
///
/// # Errors
///
/// When the system gives no thread or takes no handler.
pub(crate) fn watch(before_exit: fn()) -> std::io::Result<UnboundedReceiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (interrupt, terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let (first, interrupts) = unbounded_channel();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(pass_on(interrupt, terminate, first, before_exit)))?;
    Ok(interrupts)
}

async fn pass_on(mut interrupt: Signal, mut terminate: Signal, first: UnboundedSender<()>, before_exit: fn()) {
    let mut seen = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if seen || first.send(()).is_err() {
            // The server ends by itself: its input does, and the kernel tells it that its parent has died.
            before_exit();
            std::process::exit(INTERRUPTED);
        }
        seen = true;
    }
}
