//! The near end: each run makes the frame of the next packet, with right checksums, and sends it.
//!
//! The kernel uses the memory of frames that are gone for new ones as it is, so all of a frame is written each time.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, xdp_action, xdp_md},
    macros::{map, xdp},
    maps::{Array, PerCpuArray},
    programs::XdpContext,
};

use crate::frame::Bytes;

/// Spreads neighbouring numbers far apart, and no two to the same place.
const ODD: u32 = 0x9e37_79b1;
/// Bytes of an IPv4 frame, and of an IPv6 frame.
const V4: usize = 64;
const V6: usize = 80;

/// What the frames are like: their length, the mask that leaves a connection's number of a packet's, and the frame of connection 0.
#[map]
static CROWD: Array<[u64; 12]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Packets so far.
#[map]
static SENT: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Makes the next frame and sends it by the link that it is said to have come from.
#[xdp]
pub fn wire_send(context: XdpContext) -> u32 {
    if send(context.ctx).is_some() { xdp_action::XDP_TX } else { xdp_action::XDP_ABORTED }
}

#[inline(always)]
fn send(context: *mut xdp_md) -> Option<()> {
    let crowd: *const u64 = CROWD.get_ptr(0)?.cast();
    let sent = SENT.get_ptr_mut(0)?;
    // SAFETY: the map gave the pointer, and no other processor has this copy.
    let packet = unsafe {
        let packet = *sent;
        *sent = packet.wrapping_add(1);
        packet
    };
    // SAFETY: the map gave the pointer, and its values have twelve words.
    let (length, mask) = unsafe { (*crowd, *crowd.add(1)) };
    let flow = (packet as u32 & mask as u32).wrapping_mul(ODD);
    let (address, port) = ((flow >> 16) as u16, flow as u16);
    // SAFETY: ten words follow.
    let template = Bytes::of_words(unsafe { crowd.add(2) });
    if length == V4 as u64 {
        let frame = Bytes::of_frame::<V4>(context)?;
        // SAFETY: the frame has 64 bytes, and the template more.
        unsafe {
            head(frame, template);
            let (old, new) = frame.turn::<28>(address);
            frame.renew::<24>(old, new);
            frame.renew::<50>(old, new);
            let (old, new) = frame.turn::<34>(port);
            frame.renew::<50>(old, new);
        }
    } else {
        let frame = Bytes::of_frame::<V6>(context)?;
        // SAFETY: the frame has 80 bytes, and so has the template.
        unsafe {
            head(frame, template);
            frame.copy::<64>(template);
            frame.copy::<72>(template);
            let (old, new) = frame.turn::<36>(address);
            frame.renew::<70>(old, new);
            let (old, new) = frame.turn::<54>(port);
            frame.renew::<70>(old, new);
        }
    }
    Some(())
}

/// The first 64 bytes.
///
/// # Safety
/// They lie within both.
#[inline(always)]
unsafe fn head(frame: Bytes, template: Bytes) {
    // SAFETY: the caller knows.
    unsafe {
        frame.copy::<0>(template);
        frame.copy::<8>(template);
        frame.copy::<16>(template);
        frame.copy::<24>(template);
        frame.copy::<32>(template);
        frame.copy::<40>(template);
        frame.copy::<48>(template);
        frame.copy::<56>(template);
    }
}

impl Bytes {
    /// Turns bits of two bytes over: what they were, and what they are.
    ///
    /// # Safety
    /// They lie within the frame.
    #[inline(always)]
    unsafe fn turn<const AT: usize>(self, change: u16) -> (u16, u16) {
        // SAFETY: the caller knows that the bytes are there.
        unsafe {
            let old = self.load::<AT>();
            let new = old ^ change;
            self.store::<AT>(new);
            (old, new)
        }
    }

    /// Brings a checksum up to date (RFC 1624); the order of the bytes makes no difference to it.
    ///
    /// # Safety
    /// It lies within the frame.
    #[inline(always)]
    unsafe fn renew<const AT: usize>(self, old: u16, new: u16) {
        // SAFETY: the caller knows that the bytes are there.
        unsafe {
            let sum = u32::from(!self.load::<AT>()) + u32::from(!old) + u32::from(new);
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = (sum & 0xffff) + (sum >> 16);
            self.store::<AT>(!(sum as u16));
        }
    }
}
