//! Why a packet goes where it goes: the pipeline itself runs, and every question it asks is written down with the answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write;

use plane::row::{
    AccessRow, AddressRow, ConfigRow, LinkRow, ListRow, MemberRow, ReturnRow, Role, RuleRow, Slot, Strict,
};
use plane::stage::{PARCEL_WORDS, TOLD_WORDS};
use plane::{Bucket, Entry, Remembered, Tick, Track, Verdict, World, outline};

use crate::replica::{Replica, Shared, pass};
use crate::tables::protocol_name;

/// What becomes of `frame`, which comes in by `link`, and each decision on the way, a line each.
///
/// The memory of `replica` is written as by a real packet, so it should be a copy of what is in force. `security` is what security rules
/// are called, by the identities that the tables have of them.
pub fn trace(
    replica: &Replica,
    frame: &mut Vec<u8>,
    link: u32,
    now: Tick,
    security: &BTreeMap<u64, String>,
) -> (Verdict, Vec<String>) {
    let recorder =
        Recorder { replica, link, now, security, ring: Cell::default(), lines: RefCell::default() };
    let verdict = pass(frame, &recorder, now);
    (verdict, recorder.lines.into_inner())
}

struct Recorder<'a> {
    replica: &'a Replica,
    link: u32,
    now: Tick,
    security: &'a BTreeMap<u64, String>,
    /// The ring that was asked last.
    ring: Cell<u32>,
    lines: RefCell<Vec<String>>,
}

impl Recorder<'_> {
    fn say(&self, line: String) {
        let mut lines = self.lines.borrow_mut();
        // Two stages may ask for the same row.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }

    /// The plane's rows are pairs; the replica keeps them by the same places.
    fn hop(row: &MemberRow) -> String {
        match row.hop() {
            Some(hop) if hop.mtu == 0 => format!("via {} on link {}", hop.destination, hop.link),
            Some(hop) => {
                format!("via {} on link {}, which carries {} bytes", hop.destination, hop.link, hop.mtu)
            }
            None => "its link-layer address is not known".into(),
        }
    }
}

impl World for Recorder<'_> {
    type Word = Shared;

    fn ingress(&self) -> u32 {
        self.link
    }

    fn moment(&self) -> u32 {
        self.replica.moment()
    }

    fn keep(&self, parcel: [u64; PARCEL_WORDS]) {
        self.replica.keep(parcel);
    }

    fn kept(&self) -> [u64; PARCEL_WORDS] {
        self.replica.kept()
    }

    fn told(&self) -> Option<&[Shared; TOLD_WORDS]> {
        self.say(
            "size: the way on does not carry a packet of this size, and its sender is to be told".into(),
        );
        self.replica.told()
    }

    fn config(&self) -> ConfigRow {
        self.replica.config()
    }

    fn link(&self, place: u32) -> Option<LinkRow> {
        self.replica.link(place)
    }

    fn address(&self, place: u32) -> Option<AddressRow> {
        let row = self.replica.address(place)?;
        let what = match row.role() {
            Some(Role::Frontend) => "a frontend",
            Some(Role::Own) => "the balancer's own address",
            Some(Role::Member) => "a member",
            Some(Role::Station) => "a member's station",
            None => {
                self.say(format!("addresses: place {place} is empty"));
                return Some(row);
            }
        };
        self.say(format!("addresses: place {place} holds {}, {what} (@{})", row.address(), row.number()));
        Some(row)
    }

    fn rule(&self, place: u32) -> Option<RuleRow> {
        let row = self.replica.rule(place)?;
        match row.key() {
            Some(key) => {
                let plan = row.plan();
                let mut line = format!("rules: place {place} holds @{} ", key.number());
                let _ = write!(line, "{}/{}", protocol_name(key.protocol()), key.port());
                let leads = if plan.direct { "member #" } else { "ring " };
                let _ = write!(line, " -> {leads}{} port {}", plan.ring, plan.backend_port);
                let _ = write!(line, ", {:?}, by {:?}", plan.path, plan.distribution);
                if plan.strict != Strict::No {
                    line.push_str(", strict");
                }
                if plan.former != plan.distribution {
                    let _ = write!(line, " (changing from {:?})", plan.former);
                }
                self.say(line);
            }
            None => self.say(format!("rules: place {place} is empty")),
        }
        Some(row)
    }

    fn way_back(&self, place: u32) -> Option<ReturnRow> {
        let row = self.replica.way_back(place)?;
        if row.key().is_some() {
            self.say(format!("returns: place {place} puts back {} port {}", row.frontend(), row.port()));
        }
        Some(row)
    }

    fn slot(&self, ring: u32, slot: u32) -> Option<Slot> {
        let row = self.replica.slot(ring, slot)?;
        self.ring.set(ring);
        let state = if row.is_steady() {
            String::new()
        } else if row.is_settled() {
            format!(", flows of #{} may live on", row.former())
        } else {
            format!(", flows under way belong to #{}", row.former())
        };
        self.say(format!("slots: ring {ring} slot {slot}: new flows go to #{}{state}", row.current()));
        Some(row)
    }

    fn down(&self, ring: u32, word: u32) -> Option<u64> {
        self.replica.down(ring, word)
    }

    fn member(&self, number: u32) -> Option<MemberRow> {
        let row = self.replica.member(number)?;
        if row.is_live() {
            let is_down = self.replica.tables().is_down(self.ring.get(), number);
            let down = if is_down { "found down, " } else { "" };
            let left =
                if row.is_leaving() { "left its pool and keeps its connections for a while, " } else { "" };
            self.say(format!("members: #{number} is {}, {left}{down}{}", row.address(), Self::hop(&row)));
        } else {
            self.say(format!("members: #{number} is nobody"));
        }
        Some(row)
    }

    fn list(&self, number: u32) -> Option<ListRow> {
        self.replica.list(number)
    }

    fn access(&self, place: u32) -> Option<AccessRow> {
        self.replica.access(place)
    }

    fn bucket(&self, place: u32) -> Option<&Bucket<Self>> {
        self.replica.bucket(place)
    }

    fn track(&self, place: u32) -> Option<&Track<Self>> {
        self.say("memory: the connection is kept in mind".into());
        self.replica.track(place)
    }

    fn pieces(&self, place: u32) -> Option<&Bucket<Self>> {
        self.replica.pieces(place)
    }

    fn outward(&self, place: u32) -> Option<&Entry<Self>> {
        self.replica.outward(place)
    }

    fn inward(&self, place: u32) -> Option<&Entry<Self>> {
        self.replica.inward(place)
    }

    fn count_rule(&self, number: u32, _: u32, start: bool) {
        let flow = if start { ", which begins a flow" } else { "" };
        self.say(format!("counters: a packet{flow} under rule {number}"));
    }

    fn count_member(&self, _: u32, _: u32, _: bool) {}

    fn count_security(&self, rule: u32, bytes: u32) {
        let identity = self.replica.tables().security.get(&rule).copied().unwrap_or_default();
        match self.security.get(&identity) {
            Some(name) => self.say(format!("security: rule `{name}` decides")),
            None => self.say(format!("security: rule {identity:016x} decides")),
        }
        self.replica.count_security(rule, bytes);
    }

    fn count_unmatched(&self, number: u32) {
        self.say(format!("counters: a packet to @{number} that no rule takes"));
    }

    fn way(&self, identity: u64, now: u32) -> u32 {
        let way = outline::way(self, identity, now);
        if way < outline::VACANT {
            let place = identity as u32 & ((1u64 << self.config().flow_bits()) - 1) as u32;
            let word = self.bucket(place).map_or(0, |bucket| plane::Word::get(&bucket[way as usize & 7]));
            if let Some(flow) = Remembered::of(word, self.now) {
                self.say(format!(
                    "memory: the flow is remembered with #{} for another {} ticks",
                    flow.member(),
                    flow.remaining(self.now)
                ));
            }
        } else {
            self.say("memory: the flow is not remembered".into());
        }
        way
    }

    fn outward_way(&self, tag: u64, now: u32) -> u32 {
        let way = outline::outward_way(self, tag, now);
        let known = if way < outline::VACANT { "is kept" } else { "is new" };
        self.say(format!("masquerades: the flow {known}"));
        way
    }

    fn take_port(&self, key: u64, seed: u32, now: u32) -> u64 {
        let taken = outline::take_port(self, key, seed, now);
        self.say(match taken as u16 {
            0 => "masquerades: no port towards the member is free".into(),
            port => format!("masquerades: towards the member it gets port {port} of the own address"),
        });
        taken
    }
}

#[cfg(test)]
mod tests;
