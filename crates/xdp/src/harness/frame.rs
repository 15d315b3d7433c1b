//! The frame's bytes, stored in pieces of the widths in which a parser loads them.
//!
//! A load that is wider than the store before it waits until that store has left the processor's store buffer. Frames that come
//! from a network card cost no such wait, so neither may ours.

use core::arch::asm;
use core::ptr;

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_adjust_head};

/// Bytes that lie behind each other, in a map or in the frame.
#[derive(Clone, Copy)]
pub struct Bytes(*mut u8);

impl Bytes {
    /// The frame's, if it has at least `N`. One that grew or shrank gets its `N` back first.
    #[inline(always)]
    pub fn of_frame<const N: usize>(context: *mut xdp_md) -> Option<Self> {
        let moved = len(context) as i32 - N as i32;
        // SAFETY: the context is the program's own.
        if moved != 0 && unsafe { bpf_xdp_adjust_head(context, moved) } != 0 {
            return None;
        }
        let start = start(context);
        if start + N > end(context) { None } else { Some(Self(start as *mut u8)) }
    }

    /// Those of a map's value.
    #[inline(always)]
    pub fn of_words(words: *const u64) -> Self {
        Self(words.cast_mut().cast())
    }

    /// Eight bytes at offset `AT` become those of `from`, with the bits of `change` turned over. They are stored at once.
    ///
    /// # Safety
    /// They lie within both.
    #[inline(always)]
    pub unsafe fn copy_8<const AT: usize>(self, from: Self, change: u64) {
        // SAFETY: the caller knows that the bytes are there; the instruction stores eight of them.
        unsafe {
            let piece = ptr::read_unaligned(from.0.add(AT).cast::<u64>()) ^ change;
            asm!(
                "*(u64 *)({to} + {at}) = {piece}",
                to = in(reg) self.0,
                at = const AT,
                piece = in(reg) piece,
                options(nostack),
            );
        }
    }

    /// The same with four bytes.
    ///
    /// # Safety
    /// They lie within both.
    #[inline(always)]
    pub unsafe fn copy_4<const AT: usize>(self, from: Self, change: u32) {
        // SAFETY: the caller knows that the bytes are there; the instruction stores four of them.
        unsafe {
            let piece = u64::from(ptr::read_unaligned(from.0.add(AT).cast::<u32>()) ^ change);
            asm!(
                "*(u32 *)({to} + {at}) = {piece}",
                to = in(reg) self.0,
                at = const AT,
                piece = in(reg) piece,
                options(nostack),
            );
        }
    }

    /// The same with two bytes, which never change.
    ///
    /// # Safety
    /// They lie within both.
    #[inline(always)]
    pub unsafe fn copy_2<const AT: usize>(self, from: Self) {
        // SAFETY: the caller knows that the bytes are there; the instruction stores two of them.
        unsafe {
            let piece = u64::from(ptr::read_unaligned(from.0.add(AT).cast::<u16>()));
            asm!(
                "*(u16 *)({to} + {at}) = {piece}",
                to = in(reg) self.0,
                at = const AT,
                piece = in(reg) piece,
                options(nostack),
            );
        }
    }
}

#[inline(always)]
fn len(context: *mut xdp_md) -> usize {
    end(context) - start(context)
}

#[inline(always)]
fn start(context: *mut xdp_md) -> usize {
    // SAFETY: the kernel hands the program a valid context.
    whole(unsafe { (*context).data as usize })
}

#[inline(always)]
fn end(context: *mut xdp_md) -> usize {
    // SAFETY: the kernel hands the program a valid context.
    whole(unsafe { (*context).data_end as usize })
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
