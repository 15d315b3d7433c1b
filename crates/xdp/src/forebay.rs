//! The balancer: `plane::process` on the kernel's frames and maps, and its verdict as an XDP action.
//!
//! For the host this is an empty program, so that the workspace builds with stable Rust; `cargo xtask bpf` builds the real one.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[path = "forebay/balancer.rs"]
mod balancer;
#[cfg(target_arch = "bpf")]
#[path = "forebay/frame.rs"]
mod frame;
#[cfg(target_arch = "bpf")]
#[path = "forebay/maps.rs"]
mod maps;
#[cfg(target_arch = "bpf")]
#[path = "forebay/route.rs"]
mod route;
#[cfg(target_arch = "bpf")]
#[path = "forebay/watch.rs"]
mod watch;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// What can panic does not load: the verifier refuses the endless loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
