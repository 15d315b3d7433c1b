//! The far end: frames of the near end, known by their mark, are counted and taken off; where each connection arrives is noted. All
//! other frames pass.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, xdp_action, xdp_md},
    macros::{map, xdp},
    maps::{Array, PerCpuArray},
    programs::XdpContext,
};

use crate::frame::Bytes;

/// What undoes the near end's multiplication of numbers.
const INVERSE: u32 = 0x0e8b_2f51;
/// The last six bytes of each frame of the near end: `wire!!`.
const MARK: [u16; 3] =
    [u16::from_ne_bytes([b'w', b'i']), u16::from_ne_bytes([b'r', b'e']), u16::from_ne_bytes([b'!', b'!'])];
const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();

/// How a connection's number is found: whether it is wanted, the mask, and what connection 0 has in the bytes that differ.
#[map]
static NOTED: Array<[u64; 3]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The station that each connection's frames are addressed to.
#[map]
static STATIONS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Frames that were taken off, and those of them that were addressed to another station than the first of their connection.
#[map]
static TAKEN: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// Takes off what the near end sent.
#[xdp]
pub fn wire_take(context: XdpContext) -> u32 {
    if take(context.ctx).is_some() { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// Sends back what the near end sent.
#[xdp]
pub fn wire_turn(context: XdpContext) -> u32 {
    if flow(context.ctx).is_some() { xdp_action::XDP_TX } else { xdp_action::XDP_PASS }
}

#[inline(always)]
fn take(context: *mut xdp_md) -> Option<()> {
    let (station, flow) = flow(context)?;
    let taken: *mut u64 = TAKEN.get_ptr_mut(0)?.cast();
    // SAFETY: the map gave the pointer, and no other processor has this copy.
    unsafe { *taken += 1 };
    let noted: *const u64 = NOTED.get_ptr(0)?.cast();
    // SAFETY: the map gave the pointer, and its values have three words.
    let (wanted, mask, first) = unsafe { (*noted, *noted.add(1), *noted.add(2)) };
    if wanted != 0 {
        let number = (flow ^ first as u32).wrapping_mul(INVERSE) & mask as u32;
        if let Some(place) = STATIONS.get_ptr_mut(number) {
            // SAFETY: the map gave the pointer. Frames of one connection come one after another.
            unsafe {
                if *place == 0 {
                    *place = station;
                } else if *place != station {
                    *taken.add(1) += 1;
                }
            }
        }
    }
    Some(())
}

/// The station a frame is addressed to, and the bytes by which its connection differs from others; of frames of the near end.
#[inline(always)]
fn flow(context: *mut xdp_md) -> Option<(u64, u32)> {
    let frame = Bytes::of_frame::<64>(context)?;
    // SAFETY: there are 64 bytes.
    unsafe {
        let station = u64::from(frame.load::<0>())
            | u64::from(frame.load::<2>()) << 16
            | u64::from(frame.load::<4>()) << 32;
        match frame.load::<12>() {
            IPV4 if frame.mark::<58, 60, 62>() => {
                Some((station, u32::from(frame.load::<28>()) << 16 | u32::from(frame.load::<34>())))
            }
            IPV6 => {
                let frame = Bytes::of_frame::<80>(context)?;
                let flow = u32::from(frame.load::<36>()) << 16 | u32::from(frame.load::<54>());
                frame.mark::<74, 76, 78>().then_some((station, flow))
            }
            _ => None,
        }
    }
}

impl Bytes {
    /// Whether these six bytes are the mark.
    ///
    /// # Safety
    /// They lie within the frame.
    #[inline(always)]
    unsafe fn mark<const A: usize, const B: usize, const C: usize>(self) -> bool {
        // SAFETY: the caller knows that the bytes are there.
        unsafe { [self.load::<A>(), self.load::<B>(), self.load::<C>()] == MARK }
    }
}
