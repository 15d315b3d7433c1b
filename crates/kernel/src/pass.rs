//! Waking the peer of a veth.
//!
//! What an XDP program transmits on one end of a veth is put on a ring of the other end, and that end looks at it only where it has
//! an XDP program too. Elsewhere the frames wait until other traffic comes by. Hosts in namespaces that stand for real ones need this.

use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, include_bytes_aligned};

use crate::error::KernelError;

static OBJECT: &[u8] = include_bytes_aligned!("../bpf/pass.bpf.o");

/// A program on an interface that lets every frame through, for as long as this lives.
pub struct Passing {
    _object: Ebpf,
}

impl std::fmt::Debug for Passing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passing")
    }
}

impl Passing {
    /// Puts the program on an interface of this thread's network namespace.
    ///
    /// # Errors
    /// There is no such interface, it has a program, or the kernel does not allow it.
    pub fn on(interface: &str) -> Result<Self, KernelError> {
        let mut object = Ebpf::load(OBJECT).map_err(|cause| KernelError::Load { cause: Box::new(cause) })?;
        let name = "pass";
        let program: &mut Xdp = object
            .program_mut(name)
            .ok_or(KernelError::Part { name })?
            .try_into()
            .map_err(|_| KernelError::Part { name })?;
        let failed = |cause| KernelError::Attach { interface: interface.into(), cause: Box::new(cause) };
        crate::load_program(program).map_err(failed)?;
        program.attach(interface, XdpMode::Driver).map_err(failed)?;
        Ok(Self { _object: object })
    }
}
