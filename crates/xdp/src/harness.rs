//! The harness of the benchmarks: what the kernel repeats there instead of the program under test.
//!
//! A program that rewrites its frame would see another one when it is run again. So this one puts the frame back into its first
//! state, of another flow if that is wanted, and goes on with whatever program is in the one place of `NEXT`.
//!
//! For the host this is an empty program, so that the workspace builds with stable Rust; `cargo xtask bpf` builds the real one.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[path = "harness/frame.rs"]
mod frame;
#[cfg(target_arch = "bpf")]
#[path = "harness/restore.rs"]
mod restore;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// What can panic does not load: the verifier refuses the endless loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
