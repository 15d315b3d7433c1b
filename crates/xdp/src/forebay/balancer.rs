//! The programs.

use aya_ebpf::{
    bindings::xdp_action,
    helpers::{bpf_jiffies64, bpf_redirect},
    macros::xdp,
    programs::XdpContext,
};
use plane::stage::{self, Stage, Step};
use plane::{Drop, Frame, Tick, Verdict, World};

use crate::frame::XdpFrame;
use crate::maps::{Maps, STAGES};
use crate::route::route;
use crate::watch;

/// The data path: [`Stage::Enter`].
#[xdp]
pub fn forebay(context: XdpContext) -> u32 {
    run(&context, Stage::Enter, |frame, maps, now| stage::enter(frame, maps, now), send_by_itself)
}

/// [`Stage::Masquerade`].
#[xdp]
pub fn forebay_masquerade(context: XdpContext) -> u32 {
    run(&context, Stage::Masquerade, |frame, maps, now| stage::masquerade(frame, maps, now), send_by_itself)
}

/// [`Stage::Return`].
#[xdp]
pub fn forebay_return(context: XdpContext) -> u32 {
    run(
        &context,
        Stage::Return,
        |frame, maps, now| stage::back(frame, maps, now),
        |context, maps| route(context, maps, || jump(context, Stage::TooBig)),
    )
}

/// [`Stage::Answer`].
#[xdp]
pub fn forebay_answer(context: XdpContext) -> u32 {
    run(&context, Stage::Answer, |frame, maps, _| stage::answer(frame, maps), send_by_itself)
}

/// [`Stage::Untangle`].
#[xdp]
pub fn forebay_untangle(context: XdpContext) -> u32 {
    run(&context, Stage::Untangle, |frame, maps, now| stage::untangle(frame, maps, now), send_by_itself)
}

/// [`Stage::Forward`].
#[xdp]
pub fn forebay_forward(context: XdpContext) -> u32 {
    run(&context, Stage::Forward, |frame, maps, now| stage::forward(frame, maps, now), send_by_itself)
}

/// [`Stage::Report`].
#[xdp]
pub fn forebay_report(context: XdpContext) -> u32 {
    run(
        &context,
        Stage::Report,
        |frame, maps, now| stage::report(frame, maps, now),
        // An error is small: it quotes no more of a packet than any link carries.
        |context, maps| route(context, maps, || ()),
    )
}

/// [`Stage::Track`].
#[xdp]
pub fn forebay_track(context: XdpContext) -> u32 {
    run(&context, Stage::Track, |frame, maps, now| stage::track(frame, maps, now), send_by_itself)
}

/// [`Stage::TooBig`].
#[xdp]
pub fn forebay_too_big(context: XdpContext) -> u32 {
    run(&context, Stage::TooBig, |frame, maps, _| stage::too_big(frame, maps), send_by_itself)
}

/// Stages that know the way of each frame need no routes. What a program does not hold the verifier need not follow.
#[inline(always)]
fn send_by_itself(_context: &XdpContext, _maps: &Maps) -> u32 {
    xdp_action::XDP_PASS
}

/// Runs a stage, and does what it says.
#[inline(always)]
fn run(
    context: &XdpContext,
    this: Stage,
    stage: impl FnOnce(&mut XdpFrame, &Maps, Tick) -> Step,
    route: impl FnOnce(&XdpContext, &Maps) -> u32,
) -> u32 {
    // SAFETY: the kernel hands the program a valid context.
    let ingress = unsafe { (*context.ctx).ingress_ifindex };
    let maps = Maps { ingress };
    let mut frame = XdpFrame::new(context.ctx);
    let bytes = frame.len();
    let verdict = match stage(&mut frame, &maps, now(&maps)) {
        Step::Done(verdict) => verdict,
        Step::Then(next) => follow(context, next),
    };
    if let Verdict::Route(_) = verdict {
        // What is too big for its route has another stage ahead, and another verdict.
        let action = route(context, &maps);
        maps.count_reason(verdict.reason(), bytes);
        return action;
    }
    maps.count_reason(verdict.reason(), bytes);
    match verdict {
        Verdict::Pass(_) => xdp_action::XDP_PASS,
        Verdict::Drop(why) => {
            watch::dropped(context, &maps, this, why);
            xdp_action::XDP_DROP
        }
        Verdict::Send(link, _) if link == ingress => xdp_action::XDP_TX,
        // SAFETY: a helper without pointers.
        Verdict::Send(link, _) => unsafe { bpf_redirect(link, 0) as u32 },
        Verdict::Route(_) => xdp_action::XDP_PASS,
    }
}

/// Another stage's program takes over. It comes back only where there is none, which a data path that is attached never sees.
#[inline(always)]
fn follow(context: &XdpContext, next: Stage) -> Verdict {
    // A jump to a program that is known when this one is loaded costs less than one that is looked up.
    match next {
        Stage::Enter => {}
        Stage::Masquerade => jump(context, Stage::Masquerade),
        Stage::Return => jump(context, Stage::Return),
        Stage::Answer => jump(context, Stage::Answer),
        Stage::Untangle => jump(context, Stage::Untangle),
        Stage::Forward => jump(context, Stage::Forward),
        Stage::Report => jump(context, Stage::Report),
        Stage::Track => jump(context, Stage::Track),
        Stage::TooBig => jump(context, Stage::TooBig),
    }
    Verdict::Drop(Drop::Changing)
}

#[inline(always)]
fn jump(context: &XdpContext, stage: Stage) {
    // SAFETY: the programs of this array are XDP programs, as this one is.
    let _ = unsafe { STAGES.tail_call(context, stage as u32) };
}

/// The tick that the data path would see now, as the program's return value. Run by the control plane, never attached.
#[xdp]
pub fn forebay_now(_context: XdpContext) -> u32 {
    now(&Maps { ingress: 0 }).0
}

/// The same of the moment.
#[xdp]
pub fn forebay_moment(_context: XdpContext) -> u32 {
    Maps { ingress: 0 }.moment()
}

#[inline(always)]
fn now(maps: &Maps) -> Tick {
    // SAFETY: a helper without arguments.
    let jiffies = unsafe { bpf_jiffies64() };
    Tick((jiffies >> (maps.config().tick_shift() & 31)) as u32)
}
