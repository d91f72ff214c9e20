//! The listeners that devices come in by, which a parent may want shut: in an outage the kernel refuses whoever connects.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, TcpListener};

use socket2::SockRef;
use tokio::sync::watch;

use super::listen::{BACKLOG, say};
use crate::wire::api::ChildCondition;

/// Shuts and opens listeners; whoever accepts from one follows.
pub(crate) struct Doors {
    listeners: Vec<TcpListener>,
    opened: watch::Sender<u64>,
}

/// Follows a door: changes each time that it has been opened again.
pub(crate) type Opened = watch::Receiver<u64>;

impl Doors {
    /// Doors that are open. They must be bound to ports by number: the kernel takes back one that it chose when the door is shut.
    pub(crate) fn new(listeners: Vec<TcpListener>) -> Doors {
        Doors {
            listeners,
            opened: watch::Sender::new(0),
        }
    }

    /// What whoever accepts from one of them follows.
    pub(crate) fn opened(&self) -> Opened {
        self.opened.subscribe()
    }

    /// Keeps them shut while a parent wants nobody let in, for ever.
    pub(crate) async fn keep(self, mut condition: watch::Receiver<ChildCondition>) -> Infallible {
        let mut open = true;
        loop {
            let wanted = !condition.borrow_and_update().outage;
            if std::mem::replace(&mut open, wanted) != wanted
                && let Err(error) = self.set_open(wanted)
            {
                say(&format!("a listener cannot be shut or opened: {error}"));
            }
            if condition.changed().await.is_err() {
                // Nobody wants anything any more.
                std::future::pending::<()>().await;
            }
        }
    }

    fn set_open(&self, open: bool) -> io::Result<()> {
        for listener in &self.listeners {
            let socket = SockRef::from(listener);
            match open {
                true => socket.listen(BACKLOG)?,
                false => socket.shutdown(Shutdown::Read)?,
            }
        }
        if open {
            self.opened.send_modify(|times| *times += 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::listen::{accept, open};
    use super::*;

    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::net::TcpStream;

    #[tokio::test(flavor = "current_thread")]
    async fn a_shut_door_refuses_and_whoever_accepts_rests_meanwhile_and_afterwards() {
        let free = open("--listen", "127.0.0.1:0".parse().unwrap())
            .unwrap()
            .local_addr()
            .unwrap();
        let listener = open("--listen", free).unwrap();
        let doors = Doors::new(vec![listener.try_clone().unwrap()]);
        let (told, mut accepted) = tokio::sync::mpsc::unbounded_channel();
        let mut accepting = Box::pin(accept(
            listener,
            doors.opened(),
            "test",
            || Some(()),
            move |_, ()| {
                told.send(()).unwrap();
            },
        ));
        let polls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&polls);
        tokio::spawn(poll_fn(move |context| {
            counted.fetch_add(1, Ordering::Relaxed);
            accepting.as_mut().poll(context)
        }));
        for round in 0..4 {
            TcpStream::connect(free).await.unwrap();
            accepted.recv().await.unwrap();
            doors.set_open(false).unwrap();
            // In every other round whoever accepts hears of the shutting and of the opening at once.
            if round % 2 == 0 {
                let refused = TcpStream::connect(free).await.unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
                rests(&polls).await;
            }
            doors.set_open(true).unwrap();
        }
        TcpStream::connect(free).await.unwrap();
        accepted.recv().await.unwrap();
        rests(&polls).await;
    }

    /// Accepting without a pause would take thousands of polls.
    async fn rests(polls: &AtomicU32) {
        let before = polls.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let while_idle = polls.load(Ordering::Relaxed) - before;
        assert!(while_idle < 10, "{while_idle} polls");
    }
}
