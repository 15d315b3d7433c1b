//! The program that tells those who watch of a packet that was dropped. It is a program of its own, so that it costs the others one
//! question, and that only where they drop something.

use aya_ebpf::{
    bindings::{BPF_RB_NO_WAKEUP, xdp_action},
    helpers::bpf_ktime_get_ns,
    macros::xdp,
    maps::RingBuf,
    programs::XdpContext,
};
use plane::row::Report;
use plane::stage::Stage;
use plane::{Drop, Word, watch};

use crate::frame::XdpFrame;
use crate::maps::{Maps, REPORTS_0, REPORTS_1, REPORTS_2, REPORTS_3, STAGES, watch_row, watch_word};

/// Its place among the programs of the stages: behind them.
pub const PLACE: u32 = Stage::ALL.len() as u32;

/// Reports a frame that a stage drops, if somebody watches.
#[inline(always)]
pub fn dropped(context: &XdpContext, maps: &Maps, stage: Stage, why: Drop) {
    if maps.is_watched() {
        maps.keep_dropped(stage, why);
        // SAFETY: the programs of this array are XDP programs, as the one that runs is.
        let _ = unsafe { STAGES.tail_call(context, PLACE) };
    }
}

/// Tells everybody who watches of the frame that was dropped.
#[xdp]
pub fn forebay_watch(context: XdpContext) -> u32 {
    // SAFETY: the kernel hands the program a valid context.
    let ingress = unsafe { (*context.ctx).ingress_ifindex };
    let maps = Maps { ingress };
    let frame = XdpFrame::new(context.ctx);
    let (stage, reason) = maps.kept_dropped();
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let report = watch::report(&frame, &maps, stage, reason, now);
    tell(&maps, &REPORTS_0, 0, &report);
    tell(&maps, &REPORTS_1, 1, &report);
    tell(&maps, &REPORTS_2, 2, &report);
    tell(&maps, &REPORTS_3, 3, &report);
    xdp_action::XDP_DROP
}

#[inline(always)]
fn tell(maps: &Maps, reports: &RingBuf, place: usize, report: &Report) {
    let Some(row) = watch_row(place) else { return };
    let second = (report.nanoseconds() / 1_000_000_000) as u32;
    if row.0[0] == 0 {
        return;
    }
    if !row.is_there(second) {
        // It was killed. From now on its row costs nothing any more, unless somebody has it again.
        if let Some(word) = watch_word(place, 0) {
            let _ = word.claim(row.0[0], 0);
        }
        return;
    }
    if !row.wants(report) {
        return;
    }
    let Some(count) = watch_word(place, 7) else { return };
    // Who watches looks often enough; waking it for each packet would cost more than all the rest.
    let is_told = watch::take(count, row.most(), second)
        && reports.output::<Report>(report, BPF_RB_NO_WAKEUP as u64).is_ok();
    maps.count_watch(place, is_told);
}
