//! The frame's bytes, two or eight at a time.

use core::arch::asm;
use core::ptr;

use aya_ebpf::bindings::xdp_md;

/// Bytes that lie behind each other, in a map or in the frame.
#[derive(Clone, Copy)]
pub struct Bytes(*mut u8);

impl Bytes {
    /// The frame's, if it has at least `N`.
    #[inline(always)]
    pub fn of_frame<const N: usize>(context: *mut xdp_md) -> Option<Self> {
        // SAFETY: the kernel hands the program a valid context.
        let (start, end) = unsafe { (whole((*context).data as usize), whole((*context).data_end as usize)) };
        if start + N > end { None } else { Some(Self(start as *mut u8)) }
    }

    /// Those of a map's value.
    #[inline(always)]
    pub fn of_words(words: *const u64) -> Self {
        Self(words.cast_mut().cast())
    }

    /// Two bytes at offset `AT`, in the processor's order.
    ///
    /// # Safety
    /// They are there.
    #[inline(always)]
    pub unsafe fn load<const AT: usize>(self) -> u16 {
        // SAFETY: the caller knows that the bytes are there.
        unsafe { ptr::read_unaligned(self.0.add(AT).cast::<u16>()) }
    }

    /// The same, written.
    ///
    /// # Safety
    /// They are there.
    #[inline(always)]
    pub unsafe fn store<const AT: usize>(self, bytes: u16) {
        // SAFETY: the caller knows that the bytes are there.
        unsafe { ptr::write_unaligned(self.0.add(AT).cast::<u16>(), bytes) };
    }

    /// Eight bytes at offset `AT` become those of `from`.
    ///
    /// # Safety
    /// They lie within both.
    #[inline(always)]
    pub unsafe fn copy<const AT: usize>(self, from: Self) {
        // SAFETY: the caller knows that the bytes are there.
        unsafe {
            let bytes = ptr::read_unaligned(from.0.add(AT).cast::<u64>());
            ptr::write_unaligned(self.0.add(AT).cast::<u64>(), bytes);
        }
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
