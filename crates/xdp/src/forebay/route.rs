//! Finding the way by the kernel's routing table.

use core::{mem, ptr};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup, xdp_action,
    },
    helpers::{bpf_fib_lookup, bpf_redirect},
    programs::XdpContext,
};
use plane::Frame;
use plane::stage::limit;

use crate::frame::XdpFrame;
use crate::maps::Maps;

const ETHERNET: u16 = 14;

/// The compiler writes two words of an address at once, and the verifier wants to see that aligned.
#[repr(C, align(8))]
struct Way(FibLookup);

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Sends the frame where the kernel's routes and neighbours say. What they do not know yet, the network stack finds out: it gets
/// the frame, already rewritten. What is too big for its route goes to `too_big`, which does not come back.
#[inline(always)]
pub fn route(context: &XdpContext, maps: &Maps, too_big: impl FnOnce()) -> u32 {
    let context = context.ctx;
    // SAFETY: the kernel hands the program a valid context.
    let ingress = unsafe { (*context).ingress_ifindex };
    let mut frame = XdpFrame::new(context);
    let bytes = frame.len() as u16;
    // SAFETY: all zero is a valid value of this plain struct.
    let mut way: Way = unsafe { mem::zeroed() };
    let way = &mut way.0;
    way.ifindex = ingress;
    way.__bindgen_anon_1.tot_len = bytes.wrapping_sub(ETHERNET);
    if fill(&frame, way).is_none() {
        return xdp_action::XDP_DROP;
    }
    // SAFETY: `way` is of the size that is passed, and the context is the program's own.
    let found = unsafe { bpf_fib_lookup(context.cast(), way, mem::size_of::<FibLookup>() as i32, 0) };
    if found == BPF_FIB_LKUP_RET_FRAG_NEEDED as i64 {
        // SAFETY: with this answer the helper has written it.
        limit(maps, unsafe { way.__bindgen_anon_1.mtu_result });
        too_big();
    }
    if found != BPF_FIB_LKUP_RET_SUCCESS as i64 {
        return xdp_action::XDP_PASS;
    }
    for (at, mac) in [(0, &way.dmac), (6, &way.smac)] {
        for part in 0..3 {
            // SAFETY: a helper's structure on the stack, read in pieces that are aligned there: the verifier takes no others.
            let piece = unsafe { ptr::read_volatile(ptr::from_ref(mac).cast::<[u8; 2]>().add(part)) };
            if frame.store::<2>(at + 2 * part, piece).is_none() {
                return xdp_action::XDP_DROP;
            }
        }
    }
    if way.ifindex == ingress {
        return xdp_action::XDP_TX;
    }
    // SAFETY: a helper without pointers.
    unsafe { bpf_redirect(way.ifindex, 0) as u32 }
}

#[inline(always)]
fn fill(frame: &XdpFrame, way: &mut FibLookup) -> Option<()> {
    let [first] = frame.load::<1>(14)?;
    if first >> 4 == 4 {
        way.family = AF_INET;
        way.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(frame.load::<4>(26)?);
        way.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(frame.load::<4>(30)?);
    } else {
        way.family = AF_INET6;
        way.__bindgen_anon_3.ipv6_src = words(frame, 22)?;
        way.__bindgen_anon_4.ipv6_dst = words(frame, 38)?;
    }
    Some(())
}

#[inline(always)]
fn words(frame: &XdpFrame, at: usize) -> Option<[u32; 4]> {
    Some([
        u32::from_ne_bytes(frame.load::<4>(at)?),
        u32::from_ne_bytes(frame.load::<4>(at + 4)?),
        u32::from_ne_bytes(frame.load::<4>(at + 8)?),
        u32::from_ne_bytes(frame.load::<4>(at + 12)?),
    ])
}
