//! Lets every frame through. On the peer of a veth: what the data path transmits on its end is taken up only where the other end
//! has an XDP program too.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Lets every frame through.
#[cfg(target_arch = "bpf")]
#[aya_ebpf::macros::xdp]
pub fn pass(_context: aya_ebpf::programs::XdpContext) -> u32 {
    aya_ebpf::bindings::xdp_action::XDP_PASS
}

/// What can panic does not load: the verifier refuses the endless loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
