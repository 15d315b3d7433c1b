//! The doorway: a pair of virtual interfaces of the balancer's own, by which its calls come in to the data path.
//!
//! The inner end is a link like the others. What leaves by the outer end comes in there, and what the data path sends to the inner end
//! is heard at the outer one. The pair outlives the process, as the data path does, and the next one takes it over.

use std::io;

use futures::TryFutureExt;
use kernel::Place;
use kernel::link::{index, set_gro};
use rtnetlink::{Handle, LinkUnspec, LinkVeth};
use tracing::debug;

/// The names of both ends.
#[derive(Clone, Debug)]
pub(crate) struct Doorway {
    inner: String,
    outer: String,
}

impl Doorway {
    /// The one of the balancer whose pins are there.
    pub(crate) fn of(place: &Place) -> Self {
        let id = short(&place.folder().to_string_lossy());
        Self { inner: format!("fb-in-{id:08x}"), outer: format!("fb-out-{id:08x}") }
    }

    pub(crate) fn inner(&self) -> &str {
        &self.inner
    }

    /// Makes what is missing of it, and gives the interface index of the outer end.
    pub(super) async fn open(&self) -> io::Result<u32> {
        with_netlink(async |links| {
            if self.ends().is_none() {
                self.remove(&links).await?;
                let pair = LinkVeth::new(&self.inner, &self.outer).build();
                links.link().add(pair).execute().map_err(io::Error::other).await?;
                self.silence();
            }
            let (inner, outer) = self.ends().ok_or(io::ErrorKind::NotFound)?;
            for end in [inner, outer] {
                let up = LinkUnspec::new_with_index(end).up().arp(false).build();
                links.link().change(up).execute().map_err(io::Error::other).await?;
            }
            // What the data path sends to the inner end is taken up at the outer one only where that has NAPI.
            set_gro(&self.outer, true).map_err(io::Error::other)?;
            Ok(outer)
        })
        .await
    }

    /// Takes it away, if it is there.
    pub(crate) async fn close(&self) -> io::Result<()> {
        if index(&self.inner).is_err() && index(&self.outer).is_err() {
            return Ok(());
        }
        with_netlink(async |links| self.remove(&links).await).await
    }

    fn ends(&self) -> Option<(u32, u32)> {
        Some((index(&self.inner).ok()?, index(&self.outer).ok()?))
    }

    /// One end takes the other along, unless somebody moved it to another namespace.
    async fn remove(&self, links: &Handle) -> io::Result<()> {
        for end in [&self.inner, &self.outer] {
            if let Ok(index) = index(end) {
                links.link().del(index).execute().map_err(io::Error::other).await?;
            }
        }
        Ok(())
    }

    /// The ends need no addresses, so IPv6 need not give them some and tell of it.
    fn silence(&self) {
        for end in [&self.inner, &self.outer] {
            if let Err(cause) = std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1") {
                // Where the host has no IPv6 there is nothing to switch off, and where it may not be, nothing is lost.
                debug!("{end} has IPv6 addresses: {cause}");
            }
        }
    }
}

/// Takes a doorway away, if it is there.
pub(crate) fn close(doorway: Doorway) -> io::Result<()> {
    // On a thread of its own, because the calling one may have a runtime already.
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(doorway.close())
    };
    std::thread::spawn(work).join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

async fn with_netlink<T>(work: impl AsyncFnOnce(Handle) -> io::Result<T>) -> io::Result<T> {
    let (connection, links, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let done = work(links).await;
    connection.abort();
    done
}

/// A number for a text, the same for all versions: an interface's name has room for a short one only (FNV-1a).
fn short(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn both_ends_have_names_that_interfaces_can_have_and_other_balancers_do_not() {
        let doorway = |name| Doorway::of(&Place::new(Path::new("/run/forebay"), name).unwrap());
        let (one, other) = (doorway("default"), doorway("other"));
        assert_eq!((one.inner.len(), one.outer.len()), (14, 15));
        assert!(one.inner != other.inner && one.outer != other.outer);
        assert_eq!(one.inner, doorway("default").inner);
    }
}
