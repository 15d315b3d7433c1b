//! The kernel's frame as the pipeline's.

use core::arch::asm;
use core::ptr;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use plane::Frame;

/// The frame of an XDP context. Its bounds are read anew each time, as the verifier wants to see them; its length is not.
pub struct XdpFrame {
    context: *mut xdp_md,
    len: u32,
}

impl XdpFrame {
    /// `context` is the program's argument, and outlives the frame.
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> Self {
        let mut frame = Self { context, len: 0 };
        frame.len = (frame.end() - frame.start()) as u32;
        frame
    }

    #[inline(always)]
    fn start(&self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        whole(unsafe { (*self.context).data as usize })
    }

    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        whole(unsafe { (*self.context).data_end as usize })
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
        self.len
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

    #[inline(always)]
    fn cut(&mut self, len: u32) -> Option<()> {
        if len >= self.len {
            return None;
        }
        // SAFETY: the context is the program's own; no pointer into the frame is kept.
        let failed = unsafe { bpf_xdp_adjust_tail(self.context, len as i32 - self.len as i32) };
        if failed != 0 {
            return None;
        }
        self.len = len;
        Some(())
    }
}
