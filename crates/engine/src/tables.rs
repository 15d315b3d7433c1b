//! The tables that the data path forwards by, word for word, and their text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use plane::row::{
    AccessRow, Address, AddressRow, ConfigRow, DOWN_WORDS, Key, LinkRow, ListRow, MemberRow, Plan,
    RING_SLOTS, RING_WORDS, ReturnRow, Role, RuleRow, Slot, Strict,
};

/// A ring's slots, two a word.
pub type Ring = Arc<[u64]>;

/// All tables; rows are found by their place. Empty rows are absent, and so are rings that no rule names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// What holds for the whole balancer.
    pub config: ConfigRow,
    /// The links.
    pub links: BTreeMap<u32, LinkRow>,
    /// Addresses that matter.
    pub addresses: BTreeMap<u32, AddressRow>,
    /// Rules.
    pub rules: BTreeMap<u32, RuleRow>,
    /// Rules of the way back.
    pub returns: BTreeMap<u32, ReturnRow>,
    /// Rings by their number, [`RING_WORDS`] words each. Ring 0 is the one of pools without members: it is never written.
    pub rings: BTreeMap<u32, Ring>,
    /// Which members are down, by `ring * DOWN_WORDS + word`: bit `n` of word `w` is member `64 w + n`. Words that are 0 are absent.
    pub down: BTreeMap<u32, u64>,
    /// Members by their number.
    pub members: BTreeMap<u32, MemberRow>,
    /// Lists of whom rules admit, by their number. One that rules name never changes.
    pub lists: BTreeMap<u32, ListRow>,
    /// Entries of lists.
    pub access: BTreeMap<u32, AccessRow>,
    /// Identities of security rules, by the number that entries have for them.
    pub security: BTreeMap<u32, u64>,
}

impl Tables {
    /// The rings that rules name.
    pub fn rings_in_use(&self) -> BTreeSet<u32> {
        self.rules.values().map(|rule| rule.ring()).filter(|ring| *ring != 0).collect()
    }

    /// The lists that rules name.
    pub fn lists_in_use(&self) -> BTreeSet<u32> {
        self.rules.values().map(|rule| rule.list()).filter(|list| *list != 0).collect()
    }

    /// The entries of a list, in their order.
    pub fn entries(&self, list: u32) -> impl Iterator<Item = AccessRow> + '_ {
        let row = self.lists.get(&list).copied().unwrap_or_default();
        self.access.range(row.first()..row.first().saturating_add(row.count())).map(|(_, entry)| *entry)
    }

    /// Whether a member is down for the rules that use a ring.
    pub fn is_down(&self, ring: u32, member: u32) -> bool {
        let word = self.down.get(&(ring * DOWN_WORDS + member / 64)).copied().unwrap_or_default();
        word >> (member % 64) & 1 != 0
    }

    /// The words of those that are down for the rules that use a ring, by their position beside it.
    pub(crate) fn down_beside(&self, ring: u32) -> BTreeMap<u32, u64> {
        let first = ring * DOWN_WORDS;
        self.down.range(first..first + DOWN_WORDS).map(|(place, word)| (place - first, *word)).collect()
    }

    /// The members that are down for the rules that use a ring.
    fn all_down(&self, ring: u32) -> impl Iterator<Item = u32> + '_ {
        self.members.keys().copied().filter(move |member| self.is_down(ring, *member))
    }

    /// A slot; nobody's where the ring is not there.
    pub fn slot(&self, ring: u32, slot: u32) -> Slot {
        let slot = slot & (RING_SLOTS - 1);
        match self.rings.get(&ring).and_then(|words| words.get(slot as usize / 2)) {
            Some(pair) => Slot::of_pair(*pair, slot),
            None => Slot::steady(0),
        }
    }

    /// Every slot of a ring, in order.
    pub fn slots(&self, ring: u32) -> impl Iterator<Item = Slot> + '_ {
        (0..RING_SLOTS).map(move |slot| self.slot(ring, slot))
    }

    /// Whether no slot and no rule is changing.
    pub fn is_steady(&self) -> bool {
        self.rings.values().all(|words| is_steady(words)) && self.has_steady_rules()
    }

    /// Whether no rule is changing.
    pub(crate) fn has_steady_rules(&self) -> bool {
        self.rules.values().map(|row| row.plan()).all(|plan| plan.former == plan.distribution)
    }

    /// Address rows by their address.
    pub fn address_rows(&self) -> BTreeMap<Address, AddressRow> {
        self.addresses.values().map(|row| (row.address(), *row)).collect()
    }

    /// Rule rows by frontend address, protocol and port.
    pub fn rule_rows(&self) -> BTreeMap<(IpAddr, u8, u16), RuleRow> {
        let numbers = self.numbers();
        self.rules
            .values()
            .filter_map(|row| {
                let key = row.key()?;
                let address = numbers.get(&key.number())?;
                Some(((IpAddr::from(*address), key.protocol(), key.port()), *row))
            })
            .collect()
    }

    /// Addresses by their number.
    pub fn numbers(&self) -> BTreeMap<u32, Address> {
        self.addresses.values().map(|row| (row.number(), row.address())).collect()
    }
}

/// Whether two rings are the same, which most often are one.
pub(crate) fn are_equal(one: &Ring, other: &Ring) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// Whether no slot of these words is changing.
pub(crate) fn is_steady(words: &[u64]) -> bool {
    words.iter().all(|word| Slot::of_pair(*word, 0).is_steady() && Slot::of_pair(*word, 1).is_steady())
}

/// A slot array as words.
pub(crate) fn ring_words(slots: impl IntoIterator<Item = Slot>) -> Ring {
    let slots: Vec<Slot> = slots.into_iter().collect();
    let mut words = Vec::with_capacity(RING_WORDS as usize);
    for pair in slots.chunks(2) {
        if let [even, odd] = pair {
            words.push(Slot::pair(*even, *odd));
        }
    }
    words.into()
}

/// The tables as sorted text: stories, failures, support bundles and the command line all show this.
impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = |v4| self.config.own(v4).map_or("none".into(), |address| address.to_string());
        writeln!(
            f,
            "config own {} {} flows 2^{}x8 masquerades 2^{} tick 2^{} jiffies gateway {}",
            own(true),
            own(false),
            self.config.flow_bits(),
            self.config.masquerade_bits(),
            self.config.tick_shift(),
            if self.config.gateway() { "on" } else { "off" },
        )?;
        for link in self.links.values() {
            writeln!(f, "link {} {}", link.index(), link.mac())?;
        }
        for (address, row) in self.address_rows() {
            let role = match row.role() {
                Some(Role::Frontend) => "frontend",
                Some(Role::Own) => "own",
                Some(Role::Member) => "member",
                Some(Role::Station) => "station",
                None => "nothing",
            };
            let echoes = if row.echoes() { " echoes" } else { "" };
            writeln!(f, "address {address} {role} @{}{echoes}", row.number())?;
        }
        for ((address, protocol, port), row) in self.rule_rows() {
            let plan = row.plan();
            let leads = if plan.direct { "member #" } else { "ring " };
            write!(f, "rule {address} {}/{port} -> {leads}{}", protocol_name(protocol), plan.ring)?;
            let view = row.view();
            write!(f, " of pool {:016x}", view.pool)?;
            if view.probe != 0 {
                write!(f, " probe {:08x}", view.probe)?;
            }
            if row.list() != 0 {
                write!(f, " list {}", row.list())?;
            }
            writeln!(f, " port {}{} counted {}", plan.backend_port, PlanWords(plan), row.number())?;
        }
        let numbers = self.numbers();
        let mut returns: Vec<(Option<Key>, &ReturnRow)> =
            self.returns.values().map(|row| (row.key(), row)).collect();
        returns.sort_by_key(|(key, _)| *key);
        for (key, row) in returns {
            let Some(key) = key else { continue };
            let name = |number| numbers.get(&number).map_or("?".into(), Address::to_string);
            let from = name(key.number());
            let by = key.station().map_or_else(String::new, |station| format!(" by {}", name(station)));
            writeln!(
                f,
                "return {from} {}/{}{by} as {} port {} counted {}",
                protocol_name(key.protocol()),
                key.port(),
                row.frontend(),
                row.port(),
                row.rule()
            )?;
        }
        for (number, row) in &self.members {
            write!(f, "member #{number} {} @{} pool {:016x}", row.address(), row.number(), row.pool())?;
            if let Some(until) = row.leaves_at() {
                write!(f, " leaving at {until}")?;
            }
            match row.hop() {
                Some(hop) => writeln!(
                    f,
                    " via {} link {}{}",
                    hop.destination,
                    hop.link,
                    if hop.adjacent { "" } else { " routed" }
                )?,
                None => writeln!(f, " unresolved")?,
            }
        }
        for ring in self.rings.keys() {
            self.write_ring(f, *ring)?;
        }
        for list in self.lists.keys() {
            writeln!(f, "list {list}")?;
            for entry in self.entries(*list) {
                let what = if entry.allows() { "allow" } else { "deny" };
                let identity = self.security.get(&entry.rule()).copied().unwrap_or_default();
                writeln!(f, "  from {} {what} by {identity:016x} counted {}", entry.from(), entry.rule())?;
            }
        }
        Ok(())
    }
}

impl Tables {
    /// A ring's owners and how many slots each has; then how many slots are not steady; then a digest of all slots.
    fn write_ring(&self, f: &mut fmt::Formatter<'_>, ring: u32) -> fmt::Result {
        let mut owners: BTreeMap<u32, u32> = BTreeMap::new();
        let (mut changing, mut settled, mut digest) = (0, 0, 0xcbf2_9ce4_8422_2325u64);
        for slot in self.slots(ring) {
            *owners.entry(slot.current()).or_default() += 1;
            if !slot.is_steady() {
                if slot.is_settled() { settled += 1 } else { changing += 1 }
            }
            let word = Slot::pair(slot, Slot::default());
            digest = (digest ^ word).wrapping_mul(0x0100_0000_01b3);
        }
        write!(f, "ring {ring}")?;
        for (member, slots) in owners {
            write!(f, " #{member}:{slots}")?;
        }
        for member in self.all_down(ring) {
            write!(f, " down #{member}")?;
        }
        writeln!(f, " changing {changing} settled {settled} digest {digest:016x}")
    }
}

struct PlanWords(Plan);

impl fmt::Display for PlanWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        write!(f, " {:?} by {:?}", plan.path, plan.distribution)?;
        if plan.former != plan.distribution {
            write!(f, " {} {:?}", if plan.settled { "after" } else { "from" }, plan.former)?;
        }
        for (flag, word) in [
            (plan.remembers, "remembers"),
            (plan.resets, "resets"),
            (plan.hairpin, "hairpin"),
            (plan.tracks, "tracks"),
            (plan.announces, "announces"),
            (plan.strict == Strict::Soon, "strict soon"),
            (plan.strict == Strict::Yes, "strict"),
        ] {
            if flag {
                write!(f, " {word}")?;
            }
        }
        write!(f, " idle {}", plan.idle)
    }
}

/// A protocol as it is shown: `tcp`, `all` for 0, and `ip47` where it has no name here.
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        plane::row::protocol::TCP => "tcp".into(),
        plane::row::protocol::UDP => "udp".into(),
        plane::row::protocol::SCTP => "sctp".into(),
        0 => "all".into(),
        other => format!("ip{other}"),
    }
}

#[cfg(test)]
mod tests;
