//! A port for whoever comes and goes.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of this machine that stays with its owner: while nobody listens, callers are refused, and nobody else is given it.
///
/// Its socket is bound and never listens. Servers may listen beside it, because they let an address be used again, as it does.
#[derive(Debug)]
pub struct HeldPort(Socket);

impl HeldPort {
    pub fn take() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}
