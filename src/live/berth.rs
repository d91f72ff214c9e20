//! Where a server that is killed finds its way back to: ports that nobody takes meanwhile, and a folder for its store.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpSocket;

/// The place of one server for the length of one run; the folder goes with it.
pub(super) struct Berth {
    ports: Vec<Port>,
    store: Option<Folder>,
}

/// A port that is bound and not listened on. The server may listen on it, and the kernel gives it to no connection that asks for any:
/// a device that tries a port whose server is dead could otherwise be given that very port, and meet itself.
struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Berth {
    /// A berth whose ports are of `addresses`, where port 0 takes a free one; with a folder `on_disk`.
    ///
    /// # Errors
    ///
    /// A sentence that names the folder or the address.
    pub(super) fn make(addresses: &[SocketAddr], on_disk: bool) -> Result<Berth, String> {
        let hold = |address: &SocketAddr| {
            Port::hold(*address).map_err(|error| format!("the server did not start: it cannot listen on {address}: {error}"))
        };
        let ports = addresses.iter().map(hold).collect::<Result<_, _>>()?;
        let place = std::env::temp_dir();
        let store = on_disk.then(|| Folder::make(&place)).transpose();
        let store = store.map_err(|error| format!("a folder for the store in {}: {error}", place.display()))?;
        Ok(Berth { ports, store })
    }

    /// The folder, if there is one.
    pub(super) fn store(&self) -> Option<&Path> {
        self.store.as_ref().map(|folder| folder.path.as_path())
    }

    /// The addresses in the order in which they were asked for.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.ports.iter().map(|port| port.address)
    }
}

/// The folder of a store, removed when this is dropped. A harness that is killed leaves it behind: the next one removes it, for nobody
/// holds its lock.
struct Folder {
    path: PathBuf,
    _held: File,
}

/// What names such folders; behind it stand the process and a number.
const NAME: &str = "squall-store-";
/// The file in it that the harness holds; its server has a lock of its own.
const HELD: &str = "harness";

impl Folder {
    /// Makes one in `place`, and removes there what killed harnesses have left.
    fn make(place: &Path) -> io::Result<Folder> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        remove_left_over(place);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("{NAME}{}-{number}", std::process::id()));
        // Under another name until it is held: nobody takes it for left over in between.
        let unfinished = place.join(format!("new-{NAME}{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&unfinished)?;
        let held = File::create(unfinished.join(HELD))?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        std::fs::rename(&unfinished, &path)?;
        Ok(Folder { path, _held: held })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is the system's to clean up, or the next harness's.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders whose harness has ended without doing so.
fn remove_left_over(place: &Path) {
    let Ok(entries) = place.read_dir() else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME));
        let held = ours.then(|| File::open(entry.path().join(HELD)));
        if let Some(Ok(held)) = held
            && flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            // One of another user stays, and is theirs.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Port {
    fn hold(address: SocketAddr) -> io::Result<Port> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Port {
            address: socket.local_addr()?,
            _held: socket,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_held_port_can_be_listened_on_again_and_refuses_meanwhile() {
        let berth = Berth::make(&["127.0.0.1:0".parse().unwrap()], true).unwrap();
        let address = berth.addresses().next().unwrap();
        let store = berth.store().unwrap().to_owned();
        for _ in 0..2 {
            // The standard library's listener sets the same option as the server's.
            let listener = std::net::TcpListener::bind(address).unwrap();
            assert!(std::net::TcpStream::connect(address).is_ok());
            drop(listener);
            let refused = std::net::TcpStream::connect(address).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
        assert!(store.is_dir());
        drop(berth);
        assert!(!store.exists());
    }

    #[test]
    fn what_a_killed_harness_left_is_removed_and_what_is_held_or_anothers_stays() {
        let place = tempfile::tempdir().unwrap();
        let names = || {
            let entries = place.path().read_dir().unwrap().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let live = Folder::make(place.path()).unwrap();
        let left = Folder::make(place.path()).unwrap();
        let path = left.path.clone();
        drop(left);
        // As a kill leaves it: the files are there, the lock is not.
        for folder in [&path, &place.path().join("foreign-store-1-0")] {
            std::fs::create_dir_all(folder.join("images")).unwrap();
            std::fs::write(folder.join(HELD), "").unwrap();
        }
        assert_eq!(names().len(), 3);
        let next = Folder::make(place.path()).unwrap();
        assert!(live.path.is_dir() && next.path.is_dir() && !path.exists(), "{:?}", names());
        drop((live, next));
        assert_eq!(names(), ["foreign-store-1-0"]);
    }
}
