//! The programs.

use aya_ebpf::{
    bindings::xdp_action,
    helpers::{bpf_jiffies64, bpf_redirect},
    macros::xdp,
    programs::XdpContext,
};
use plane::{Frame, Tick, Verdict, World, process};

use crate::frame::XdpFrame;
use crate::maps::Maps;
use crate::route::route;

/// The data path.
#[xdp]
pub fn forebay(context: XdpContext) -> u32 {
    // SAFETY: the kernel hands the program a valid context.
    let ingress = unsafe { (*context.ctx).ingress_ifindex };
    let maps = Maps { ingress };
    let mut frame = XdpFrame::new(context.ctx);
    let bytes = frame.len();
    let verdict = process(&mut frame, &maps, now(&maps));
    maps.count_reason(verdict.reason(), bytes);
    match verdict {
        Verdict::Pass(_) => xdp_action::XDP_PASS,
        Verdict::Drop(_) => xdp_action::XDP_DROP,
        Verdict::Send(link, _) if link == ingress => xdp_action::XDP_TX,
        // SAFETY: a helper without pointers.
        Verdict::Send(link, _) => unsafe { bpf_redirect(link, 0) as u32 },
        Verdict::Route(_) => route(context.ctx, ingress),
    }
}

/// The tick that the data path would see now, as the program's return value. Run by the control plane, never attached.
#[xdp]
pub fn forebay_now(_context: XdpContext) -> u32 {
    now(&Maps { ingress: 0 }).0
}

#[inline(always)]
fn now(maps: &Maps) -> Tick {
    // SAFETY: a helper without arguments.
    let jiffies = unsafe { bpf_jiffies64() };
    Tick((jiffies >> (maps.config().tick_shift() & 31)) as u32)
}
