//! How a packet ends. Every end has a reason, and every reason has a counter.

use crate::stage::Stage;

/// What becomes of a frame.
#[must_use = "a verdict that is dropped is a packet that goes astray"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The host's own network stack gets the frame, unchanged.
    Pass(Pass),
    /// Nobody gets the frame.
    Drop(Drop),
    /// The frame leaves by the link with this interface index; its Ethernet header is complete.
    Send(u32, Sent),
    /// The kernel's routing table finds the way; the Ethernet header is still the old one.
    Route(Sent),
}

impl Verdict {
    /// The reason, as it is counted.
    #[inline(always)]
    pub fn reason(self) -> Reason {
        match self {
            Self::Pass(why) => Reason(why as u8),
            Self::Drop(why) => Reason(why as u8),
            Self::Send(_, why) | Self::Route(why) => Reason(why as u8),
        }
    }
}

/// Why the host gets a frame.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Neither IPv4, IPv6 nor ARP.
    NotIp = 0,
    /// No frontend has the destination address.
    NotOurs = 1,
    /// The frame is addressed to another station of the segment.
    OtherHost = 2,
    /// The balancer's own address, and no masqueraded flow.
    OwnAddress = 3,
    /// Another station claims a frontend address.
    AddressTaken = 4,
}

/// Why nobody gets a frame.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drop {
    /// Addressed to a frontend, with headers that are cut off or contradict each other.
    Malformed = 16,
    /// A fragment whose first piece, which alone carries ports, was not seen before; or one of a packet that cannot be changed in pieces.
    Fragment = 17,
    /// A transport protocol that no rule can balance.
    Protocol = 18,
    /// ICMP to a frontend address: about no flow of its, or an echo request that is not answered (ICMP-2).
    Icmp = 19,
    /// RULE-2: no rule has this frontend address, protocol and port.
    NoRule = 20,
    /// RULE-3: the rule has no member that takes new flows.
    NoMember = 21,
    /// The member's link-layer address is not known.
    Unresolved = 22,
    /// Floating IP needs the member on the same segment, and it is behind a route.
    NotAdjacent = 23,
    /// No place for a masqueraded flow, or no port towards the member.
    TableFull = 24,
    /// The hop limit ran out.
    HopLimit = 25,
    /// The row is being rewritten at this moment.
    Changing = 26,
    /// Masquerading needs the balancer's own address of this family.
    NoOwnAddress = 27,
    /// The frame came in by a link that is not configured.
    UnknownLink = 28,
    /// HAIR-1: a member called a frontend and was chosen itself.
    Hairpin = 29,
    /// More extension headers than are followed.
    Extensions = 30,
    /// ACL-1: a security rule denies packets from there.
    Denied = 31,
    /// FLOW-5: a connection that is not kept in mind, under a rule that does not choose for it afresh.
    Forgotten = 48,
    /// MTU-1: larger than the link carries that it would leave by, and not to be told to its sender: a later piece of a packet, or one
    /// of too many at a time.
    TooBig = 49,
}

/// What a frame was sent as.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A client's packet, to a member.
    Forwarded = 32,
    /// A member's answer, to the client.
    Returned = 33,
    /// An ARP request or neighbour solicitation for a frontend, answered.
    Answered = 34,
    /// ICMP-1: an ICMP error, to whom it is about.
    Reported = 35,
    /// ICMP-2: an echo request to a frontend, answered.
    Echoed = 36,
    /// MTU-1: a packet larger than the link carries that it would leave by: its sender is told how large it may be.
    SizeTold = 37,
}

/// A reason's number: its row in the table of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason(pub u8);

/// Why the two ends of a connection are reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reset {
    /// FLOW-5: it was silent for the idle time.
    Idle = 0,
    /// FLOW-3: its member left the pool, and the drain period is over.
    Drained = 1,
}

impl Reset {
    /// Every cause with its name, in the order of their numbers.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Idle, "Idle"), (Self::Drained, "Drained")];
}

/// Rows in the table of resets.
pub const RESET_CAUSES: u32 = Reset::ALL.len() as u32;

/// Rows in the table of reasons.
pub const REASONS: u32 = 64;

impl Reason {
    /// Every reason with its verdict and name, in the order of their numbers.
    pub const ALL: [(Reason, &'static str, &'static str); 29] = [
        (Reason(0), "pass", "NotIp"),
        (Reason(1), "pass", "NotOurs"),
        (Reason(2), "pass", "OtherHost"),
        (Reason(3), "pass", "OwnAddress"),
        (Reason(4), "pass", "AddressTaken"),
        (Reason(16), "drop", "Malformed"),
        (Reason(17), "drop", "Fragment"),
        (Reason(18), "drop", "Protocol"),
        (Reason(19), "drop", "Icmp"),
        (Reason(20), "drop", "NoRule"),
        (Reason(21), "drop", "NoMember"),
        (Reason(22), "drop", "Unresolved"),
        (Reason(23), "drop", "NotAdjacent"),
        (Reason(24), "drop", "TableFull"),
        (Reason(25), "drop", "HopLimit"),
        (Reason(26), "drop", "Changing"),
        (Reason(27), "drop", "NoOwnAddress"),
        (Reason(28), "drop", "UnknownLink"),
        (Reason(29), "drop", "Hairpin"),
        (Reason(30), "drop", "Extensions"),
        (Reason(31), "drop", "Denied"),
        (Reason(32), "send", "Forwarded"),
        (Reason(33), "send", "Returned"),
        (Reason(34), "send", "Answered"),
        (Reason(35), "send", "Reported"),
        (Reason(36), "send", "Echoed"),
        (Reason(37), "send", "SizeTold"),
        (Reason(48), "drop", "Forgotten"),
        (Reason(49), "drop", "TooBig"),
    ];
}

/// A stage ends without sending the packet.
pub(crate) enum Stop {
    Pass(Pass),
    Drop(Drop),
    Then(Stage),
}

impl From<Pass> for Stop {
    #[inline(always)]
    fn from(why: Pass) -> Self {
        Self::Pass(why)
    }
}

impl From<Drop> for Stop {
    #[inline(always)]
    fn from(why: Drop) -> Self {
        Self::Drop(why)
    }
}
