//! Where a server that is killed finds its way back to: ports that nobody takes meanwhile, and a folder for its store.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::net::TcpSocket;

use crate::scratch::Scratch;

/// What begins the names of folders for stores.
const STORES: &str = "squall-store-";

/// The place of one server for the length of one run; the folder goes with it.
pub(super) struct Berth {
    ports: Vec<Port>,
    store: Option<Scratch>,
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
        let store = on_disk.then(|| Scratch::make(STORES)).transpose();
        let store = store.map_err(|(place, error)| format!("a folder for the store in {}: {error}", place.display()))?;
        Ok(Berth { ports, store })
    }

    /// The folder, if there is one.
    pub(super) fn store(&self) -> Option<&Path> {
        self.store.as_ref().map(Scratch::path)
    }

    /// The addresses in the order in which they were asked for.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.ports.iter().map(|port| port.address)
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
}
