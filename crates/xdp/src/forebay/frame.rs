//! The kernel's frame as the pipeline's.

use core::arch::asm;
use core::ptr;

use aya_ebpf::bindings::xdp_md;
use plane::Frame;

/// The frame of an XDP context. Its bounds are read anew each time, as the verifier wants to see them.
pub struct XdpFrame(*mut xdp_md);

impl XdpFrame {
    /// `context` is the program's argument, and outlives the frame.
    pub fn new(context: *mut xdp_md) -> Self {
        Self(context)
    }

    #[inline(always)]
    fn start(&self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        whole(unsafe { (*self.0).data as usize })
    }

    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        whole(unsafe { (*self.0).data_end as usize })
    }
}

/// The context's fields have 32 bits, and the verifier makes pointers of 64 of them. This keeps the compiler from moving only half
/// of one, which the verifier refuses.
#[inline(always)]
fn whole(pointer: usize) -> usize {
    let mut pointer = pointer;
    // SAFETY: a register is moved to itself.
    unsafe { asm!("{0} = {0}", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn len(&self) -> u32 {
        (self.end() - self.start()) as u32
    }

    #[inline(always)]
    fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let from = self.start() + at;
        if from + N > self.end() {
            return None;
        }
        // SAFETY: `from + N` was compared with the end just above, and the context outlives `self`.
        Some(unsafe { ptr::read_unaligned(from as *const [u8; N]) })
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        let to = self.start() + at;
        if to + N > self.end() {
            return None;
        }
        // SAFETY: `to + N` was compared with the end just above, and the context outlives `self`.
        unsafe { ptr::write_unaligned(to as *mut [u8; N], bytes) };
        Some(())
    }
}
