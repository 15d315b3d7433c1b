//! The programs.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, xdp_action, xdp_md},
    macros::{map, xdp},
    maps::{Array, PerCpuArray, ProgramArray},
    programs::XdpContext,
};

use crate::frame::Bytes;

/// Spreads neighbouring numbers far apart, and no two to the same place.
const ODD: u32 = 0x9e37_79b1;
/// Bytes of an IPv4 frame, and of an IPv6 frame.
const V4: usize = 64;
const V6: usize = 80;

/// What the frames are like: their length, the mask that leaves a flow's number of a packet's, whether it is the destination that
/// varies and not the source, and the frame of flow 0.
#[map]
static STREAM: Array<[u64; 13]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Packets so far.
#[map]
static COUNTER: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// The program under test.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Restores the frame and goes on with the program under test.
#[xdp]
pub fn harness(context: XdpContext) -> u32 {
    if restore(context.ctx).is_some() {
        // SAFETY: nothing here waits to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// The cheapest program there is: what the harness itself costs.
#[xdp]
pub fn harness_tx(_context: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

#[inline(always)]
fn restore(context: *mut xdp_md) -> Option<()> {
    let stream: *const u64 = STREAM.get_ptr(0)?.cast();
    let counter = COUNTER.get_ptr_mut(0)?;
    // SAFETY: the map gave the pointer, and no other processor has this copy.
    let packet = unsafe {
        let packet = *counter;
        *counter = packet.wrapping_add(1);
        packet
    };
    // SAFETY: the map gave the pointer, and its values have thirteen words.
    let (length, mask, destination) = unsafe { (*stream, *stream.add(1), *stream.add(2)) };
    let flow = (packet as u32 & mask as u32).wrapping_mul(ODD);
    let (address, port) = ((flow >> 16) as u64, flow & 0xffff);
    // SAFETY: ten words follow.
    let template = Bytes::of_words(unsafe { stream.add(3) });
    if length == V4 as u64 {
        let frame = Bytes::of_frame::<V4>(context)?;
        let (address, port) =
            if destination == 0 { (address << 16, port) } else { (address << 48, port << 16) };
        v4(frame, template, address, port);
    } else {
        let frame = Bytes::of_frame::<V6>(context)?;
        let (source, port) = if destination == 0 { (address << 48, port) } else { (0, port << 16) };
        v6(frame, template, source, (address << 48) ^ source, port);
    }
    Some(())
}

/// `address` differs from flow 0's in the eight bytes of both addresses, `ports` in the four of both ports.
#[inline(always)]
fn v4(frame: Bytes, template: Bytes, address: u64, ports: u32) {
    // SAFETY: `Bytes::of_frame` found at least as many bytes as the last piece needs, and the template has more.
    unsafe {
        frame.copy_8::<0>(template, 0);
        frame.copy_4::<8>(template, 0);
        frame.copy_2::<12>(template);
        frame.copy_4::<14>(template, 0);
        frame.copy_2::<18>(template);
        frame.copy_4::<20>(template, 0);
        frame.copy_2::<24>(template);
        frame.copy_8::<26>(template, address);
        frame.copy_4::<34>(template, ports);
        frame.copy_4::<38>(template, 0);
        frame.copy_4::<42>(template, 0);
        frame.copy_4::<46>(template, 0);
        frame.copy_2::<50>(template);
        frame.copy_4::<52>(template, 0);
        frame.copy_8::<56>(template, 0);
    }
}

/// `source` and `destination` differ from flow 0's in the last eight bytes of the addresses, `ports` in the four of both ports.
#[inline(always)]
fn v6(frame: Bytes, template: Bytes, source: u64, destination: u64, ports: u32) {
    // SAFETY: `Bytes::of_frame` found at least as many bytes as the last piece needs, and so has the template.
    unsafe {
        frame.copy_8::<0>(template, 0);
        frame.copy_4::<8>(template, 0);
        frame.copy_2::<12>(template);
        frame.copy_4::<14>(template, 0);
        frame.copy_4::<18>(template, 0);
        frame.copy_8::<22>(template, 0);
        frame.copy_8::<30>(template, source);
        frame.copy_8::<38>(template, 0);
        frame.copy_8::<46>(template, destination);
        frame.copy_4::<54>(template, ports);
        frame.copy_4::<58>(template, 0);
        frame.copy_4::<62>(template, 0);
        frame.copy_4::<66>(template, 0);
        frame.copy_2::<70>(template);
        frame.copy_8::<72>(template, 0);
    }
}
