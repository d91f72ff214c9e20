//! Listening sockets and the limit of open files.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

use super::HostError;
use super::doors::Opened;

/// Connections that may wait to be accepted; the kernel's `somaxconn` caps it.
pub(super) const BACKLOG: i32 = 4096;
/// Least number of descriptors with which serving makes sense: sockets of a handful of devices beside the server's own files.
const DESCRIPTORS_MIN: u64 = 64;
/// Pause after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections taken in one go, before others of the thread have their turn.
const AT_ONCE: usize = 32;

/// Raises the limit of open files as far as it goes; gives where it stands.
///
/// # Errors
/// [`HostError::Descriptors`] if that is too little to serve anybody.
pub(crate) fn raise_descriptor_limit() -> Result<u64, HostError> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Some(limit) = maximum.filter(|limit| *limit < DESCRIPTORS_MIN) {
        return Err(HostError::Descriptors {
            limit,
            needed: DESCRIPTORS_MIN,
        });
    }
    // Where even this is refused the soft limit stands, which accepting reports when it is reached.
    let _best_effort = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// Opens a listener, whose address the flag `flag` named.
///
/// # Errors
/// [`HostError::Listen`] if the port is taken or the address is not ours.
pub(crate) fn open(flag: &'static str, address: SocketAddr) -> Result<TcpListener, HostError> {
    bind(address, false).map_err(|error| HostError::Listen {
        flag,
        address,
        cause: in_words(&error),
    })
}

/// Opens so many listeners in place of this one; the kernel deals connections evenly among them. A connection then wakes one thread,
/// where a listener that many threads share wakes them all, and no descriptor table fills before the others.
///
/// # Errors
/// As [`open`].
pub(crate) fn divide(listener: TcpListener, flag: &'static str, parts: u32) -> Result<Vec<TcpListener>, HostError> {
    let address = listener.local_addr().map_err(|cause| HostError::System {
        what: "reading a listener's address",
        cause,
    })?;
    drop(listener);
    let open = |_| {
        bind(address, true).map_err(|error| HostError::Listen {
            flag,
            address,
            cause: in_words(&error),
        })
    };
    (0..parts).map(open).collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another process".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need privileges".to_owned(),
        _ => error.to_string(),
    }
}

/// Hands every connection that `admit` gives a pass to `serve`, for ever. Trouble with one of them, or a full descriptor table, ends
/// nothing. One that gets no pass is reset: it has cost an accept and a close, the runtime has not heard of it, and it leaves nothing
/// behind in the kernel. While the door is shut it waits for what `opened` tells.
///
/// # Errors
/// If the listener cannot be used by this thread's runtime.
pub(crate) async fn accept<P>(
    listener: TcpListener,
    mut opened: Opened,
    what: &str,
    mut admit: impl FnMut() -> Option<P>,
    mut serve: impl FnMut(TcpStream, P),
) -> io::Result<Infallible> {
    let mut listener = registered(listener)?;
    let mut full = false;
    loop {
        let mut ready = tokio::select! {
            biased;
            () = opened_again(&mut opened) => {
                listener = registered(listener.into_inner())?;
                continue;
            }
            ready = listener.readable() => ready?,
        };
        for _ in 0..AT_ONCE {
            match ready.get_inner().accept() {
                Ok((stream, _from)) => {
                    full = false;
                    match admit() {
                        Some(pass) => {
                            // The client may be gone, and its socket with it.
                            if let Ok(stream) = awaited(stream) {
                                serve(stream, pass);
                            }
                        }
                        None => drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    break;
                }
                Err(error) if out_of_descriptors(&error) => {
                    if !std::mem::replace(&mut full, true) {
                        say(&format!(
                            "{what}: the limit of open files is reached, new connections wait: {error}"
                        ));
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    drop(ready);
                    opened_again(&mut opened).await;
                    listener = registered(listener.into_inner())?;
                    break;
                }
                // The client was gone before it was accepted.
                Err(_) => {}
            }
        }
    }
}

/// A listener as this thread's runtime watches it. The runtime keeps for good that a socket was once shut, so that accepting would find no
/// rest: one that was shut is registered anew.
fn registered(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: a listener owns its descriptor, which is open until it is dropped.
    #[expect(unsafe_code, reason = "the runtime takes a foreign socket on trust that it stays open")]
    Ok(unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?)
}

/// A connection that was let in, as this thread's runtime waits for it.
fn awaited(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    // A packet is written whole; waiting for more would only delay it.
    let _best_effort = stream.set_nodelay(true);
    Ok(stream)
}

/// Waits until a door that was shut is open.
async fn opened_again(opened: &mut Opened) {
    if opened.changed().await.is_err() {
        // Nobody shuts this one.
        std::future::pending::<()>().await;
    }
}

fn out_of_descriptors(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE)) || error.kind() == io::ErrorKind::OutOfMemory
}

/// Tells the person at the terminal.
pub(crate) fn say(message: &str) {
    use std::io::Write;
    let _nobody_reads = writeln!(io::stderr(), "serve: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divided_listener_keeps_its_port_and_takes_every_connection() {
        let whole = open("--listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = whole.local_addr().unwrap();
        let parts = divide(whole, "--listen", 4).unwrap();
        let clients: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let accepted: Vec<_> = parts
            .iter()
            .map(|part| std::iter::from_fn(|| part.accept().ok()).count())
            .collect();
        assert_eq!(accepted.iter().sum::<usize>(), clients.len(), "{accepted:?}");
        assert!(accepted.iter().filter(|accepted| **accepted > 0).count() > 1, "{accepted:?}");
        assert!(open("--listen", address).is_err(), "nobody else gets the port");
    }

    #[test]
    fn a_taken_port_is_named_with_its_flag() {
        let taken = open("--listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = open("--listen", address).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("cannot listen on {address} (--listen): the port is in use by another process")
        );
    }
}
