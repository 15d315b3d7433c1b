//! Both ends of a wire under load, for tests and benchmarks: what makes the frames that the kernel sends by millions
//! (`BPF_F_TEST_XDP_LIVE_FRAMES`), what sends them back, and what takes them off and counts them.
//!
//! For the host this is an empty program, so that the workspace builds with stable Rust; `cargo xtask bpf` builds the real one.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[path = "wire/frame.rs"]
mod frame;
#[cfg(target_arch = "bpf")]
#[path = "wire/send.rs"]
mod send;
#[cfg(target_arch = "bpf")]
#[path = "wire/take.rs"]
mod take;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// What can panic does not load: the verifier refuses the endless loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
