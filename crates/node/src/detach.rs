//! The end of a data path.

use std::io;

use kernel::{KernelError, Place};

use crate::availability::{Doorway, close};
use crate::legend::Legend;
use crate::presence::{ipv6, leave};

/// Takes a data path off its interfaces and out of the kernel: its flows end.
///
/// # Errors
/// There is none under this name, somebody serves it, or a pin or an interface of its own could not be removed.
pub fn detach(place: &Place) -> Result<(), DetachError> {
    let legend = Legend::read(&place.file("json"));
    // Another version's tables are none of its business, and may be what is to be got rid of.
    let attached = kernel::attached(place).unwrap_or_default();
    kernel::detach(place)?;
    for on in attached {
        for frontend in legend.frontends.iter().filter_map(|frontend| ipv6(frontend.address)) {
            leave(&on.interface, frontend);
        }
    }
    let doorway = Doorway::of(place);
    let interface = doorway.inner().to_owned();
    close(doorway).map_err(|cause| DetachError::Doorway { interface, cause })
}

/// Why a data path is not gone, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// The kernel did not do what was asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Interfaces of the balancer's own are still there.
    #[error(
        "the data path is gone, and the interface `{interface}` is still there: `ip link del {interface}` removes it"
    )]
    Doorway {
        /// Its name.
        interface: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}
