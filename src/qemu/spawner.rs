//! The thread that starts every guest.
//!
//! The kernel ends a guest when the *thread* that started it ends, however that comes about. A thread that lives as long as Squall
//! makes this the end of Squall, SIGKILL included.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

/// Starts `program` with `arguments`, so that it ends when Squall does; standard error is kept for the caller.
pub(super) fn spawn(program: &str, arguments: &[String]) -> io::Result<Child> {
    static SPAWNER: OnceLock<Option<Sender<Order>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts guests has ended");
    let spawner = SPAWNER.get_or_init(start).as_ref().ok_or_else(gone)?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]).args(arguments);
    // Ctrl-C is Squall's to hear: a guest that heard it too would end before its flash was read.
    command.process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (answer, answered) = channel();
    spawner.send(Order { command, answer }).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

fn start() -> Option<Sender<Order>> {
    let (orders, ordered) = channel::<Order>();
    let work = move || {
        for mut order in ordered {
            // Nobody listens any more: the child's handle is dropped, and the machine that asked for it kills what it knows.
            if let Err(unheard) = order.answer.send(order.command.spawn())
                && let Ok(mut child) = unheard.0
            {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    };
    let started = thread::Builder::new().name("guest spawner".to_owned()).spawn(work);
    started.is_ok().then_some(orders)
}
