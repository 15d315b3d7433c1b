//! What is told of a dropped packet to those who watch. This is no part of the pipeline: nothing here decides about a packet, and nothing
//! of it is run unless somebody watches.

use crate::access;
use crate::flow::Flow;
use crate::frame::Frame;
use crate::parse::{self, ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::pipeline::{find_address, rule_of};
use crate::row::{Address, Report};
use crate::stage::{Parcel, Stage};
use crate::verdict::{Drop, Reason};
use crate::world::{Word, World};

/// The report about a frame that `stage` dropped. Stages drop frames before they change them; what the first one found out stands in the
/// parcel afterwards.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn report<F: Frame, W: World>(
    frame: &F,
    world: &W,
    stage: u32,
    reason: Reason,
    nanoseconds: u64,
) -> Report {
    let report = Report::new(nanoseconds, world.ingress(), reason, frame.len());
    let Some(ethertype) = frame.load::<2>(12) else { return report };
    let packet = match u16::from_be_bytes(ethertype) {
        ETHERTYPE_ARP => return arp(frame, report),
        _ if stage != Stage::Enter as u32 => {
            let parcel = Parcel::take(world);
            let packet = &parcel.packet;
            let by = if reason.0 == Drop::Denied as u8 { denied_by(world, &parcel.flow()) } else { 0 };
            let report = report.denied_by(by);
            return report.of_packet(
                packet.protocol,
                packet.source,
                packet.destination,
                parcel.segment.ports,
            );
        }
        ETHERTYPE_IPV4 => parse::ipv4(frame),
        ETHERTYPE_IPV6 => parse::ipv6(frame),
        _ => None,
    };
    let Some(packet) = packet else { return report };
    let ports = match frame.load::<4>(packet.transport) {
        Some(ports) if parse::has_ports(packet.protocol) && !packet.is_tangled() => u32::from_be_bytes(ports),
        _ => 0,
    };
    report.of_packet(packet.protocol, packet.source, packet.destination, ports)
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn arp<F: Frame>(frame: &F, report: Report) -> Report {
    match (frame.load::<4>(ETHERNET + 14), frame.load::<4>(ETHERNET + 24)) {
        (Some(sender), Some(target)) => {
            report.of_arp(Address::v4(u32::from_be_bytes(sender)), Address::v4(u32::from_be_bytes(target)))
        }
        _ => report,
    }
}

/// ACL-1: the security rule that denies a flow; 0 where none does, for example not any more.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn denied_by<W: World>(world: &W, flow: &Flow) -> u32 {
    let Some(frontend) = find_address(world, flow.destination) else { return 0 };
    match rule_of(world, frontend.number(), flow) {
        Ok(rule) => access::denier(world, rule.list(), flow.source),
        Err(_) => 0,
    }
}

/// Takes one of the `most` reports of this second. `count` holds the second and how many it had.
#[inline(always)]
pub fn take<W: Word>(count: &W, most: u32, second: u32) -> bool {
    const TRIES: u32 = 4;
    let mut tries = 0;
    while tries < TRIES {
        let word = count.get();
        let taken = if (word >> 32) as u32 == second { word as u32 } else { 0 };
        // In a flood no processor writes the word that all of them read.
        if taken >= most {
            return false;
        }
        if count.claim(word, (second as u64) << 32 | (taken as u64 + 1)) {
            return true;
        }
        tries += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::row::WatchRow;

    const FRONTEND: Address = Address::v4(0xcb00_710a);
    const CLIENT: Address = Address::v4(0xc633_6407);
    const OTHER: Address = Address::v6(0x2001_0db8_0000_0000, 7);

    #[test]
    fn who_watches_is_told_what_was_wanted() {
        let all = WatchRow::everything(9);
        check(all, true, true);
        check(all.because([Drop::NoRule].into_iter()), true, true);
        check(all.because([Drop::NoMember, Drop::Denied].into_iter()), false, false);
        check(all.of_frontend(FRONTEND, 0), true, true);
        check(all.of_frontend(FRONTEND, 443), true, true);
        check(all.of_frontend(FRONTEND, 80), false, false);
        check(all.of_frontend(CLIENT, 0), true, true);
        check(all.of_frontend(OTHER, 0), false, false);
        check(all.of_client(CLIENT, 128), true, true);
        check(all.of_client(Address::v4(0xc633_6400), 96 + 24), true, true);
        check(all.of_client(Address::v4(0xc633_6408), 96 + 29), false, false);
        check(all.of_client(OTHER, 32), false, false);
        check(all.of_client(OTHER, 0), true, true);
        check(all.of_client(CLIENT, 128).of_frontend(OTHER, 0), false, false);

        fn check(row: WatchRow, there: bool, back: bool) {
            let report = Report::new(1, 2, Reason(Drop::NoRule as u8), 60);
            let ports = 5_000 << 16 | 443;
            assert_eq!(row.wants(&report.of_packet(6, CLIENT, FRONTEND, ports)), there, "{row:x?}");
            let ports = 443 << 16 | 5_000;
            assert_eq!(row.wants(&report.of_packet(6, FRONTEND, CLIENT, ports)), back, "{row:x?}");
        }
    }

    #[test]
    fn prefixes_of_ipv6_may_end_anywhere() {
        let report = Report::new(1, 2, Reason(20), 60).of_packet(6, OTHER, OTHER, 0);
        for bits in 0..=128 {
            let beyond = 1u128 << (127 - bits.min(127));
            let address = |difference: u128| {
                let value = ((u128::from(OTHER.high) << 64) | u128::from(OTHER.low)) ^ difference;
                Address::v6((value >> 64) as u64, value as u64)
            };
            let row = |difference| WatchRow::everything(9).of_client(address(difference), bits);
            // A bit behind the prefix does not matter, its last one does.
            assert!(row(0).wants(&report));
            assert_eq!(row(beyond).wants(&report), bits < 128, "{bits}");
            assert!(bits == 0 || !row(1u128 << (128 - bits)).wants(&report), "{bits}");
        }
    }

    #[test]
    fn a_watcher_is_there_until_its_time_is_over() {
        let row = |second| WatchRow([WatchRow::everything(7).until(second), 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(row(9).most(), 7);
        assert!(row(10).is_there(9) && row(10).is_there(10) && !row(10).is_there(11));
        assert!(row(1).is_there(u32::MAX) && !row(u32::MAX).is_there(2), "times wrap");
    }

    #[test]
    fn no_second_has_more_reports_than_were_wanted() {
        let count = Count::default();
        let taken = |second| (0..9).filter(|_| take(&count, 3, second)).count();
        assert_eq!([taken(5), taken(5), taken(6), taken(8), taken(8)], [3, 0, 3, 3, 0]);
        let nobody = (0..9).filter(|_| take(&count, 0, 9)).count();
        assert_eq!(nobody, 0);
    }

    #[test]
    fn a_report_says_what_went_into_it() {
        let report = Report::new(u64::MAX, u32::MAX, Reason(31), 65_535)
            .of_packet(132, CLIENT, OTHER, 1 << 16 | 2)
            .denied_by(16_383);
        assert_eq!((report.nanoseconds(), report.link(), report.reason()), (u64::MAX, u32::MAX, Reason(31)));
        assert_eq!((report.protocol(), report.is_arp(), report.bytes()), (132, false, 65_535));
        assert_eq!((report.source(), report.destination()), (CLIENT, OTHER));
        assert_eq!((report.source_port(), report.destination_port(), report.security_rule()), (1, 2, 16_383));
        assert!(Report::new(1, 2, Reason(28), 60).of_arp(CLIENT, FRONTEND).is_arp());
    }

    #[derive(Default)]
    struct Count(Cell<u64>);

    impl Word for Count {
        fn get(&self) -> u64 {
            self.0.get()
        }

        fn set(&self, word: u64) {
            self.0.set(word);
        }

        fn claim(&self, old: u64, new: u64) -> bool {
            self.0.get() == old && self.0.replace(new) == old
        }
    }
}
