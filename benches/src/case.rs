//! What is measured.

use kernel::bench::Side;
use plane::{Drop, Pass, Reason, Sent};

use crate::packet::{Kind, Packet};
use crate::scene::{Family, Pool, Scene};

/// How many flows the packets belong to, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flows {
    One,
    Thousands,
    Million,
    /// Every packet another one.
    New,
}

impl Flows {
    pub fn mask(self) -> u32 {
        match self {
            Self::One => 0,
            Self::Thousands => 0xffff,
            Self::Million => 0xf_ffff,
            Self::New => u32::MAX,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Thousands => "64k",
            Self::Million => "1M",
            Self::New => "new",
        }
    }
}

/// Whose packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client's, to this port of the frontend.
    Client(Kind, u16),
    /// A client's, to an address that is no frontend's.
    Passer,
    /// The answer of a member of the gateway pool.
    Gateway,
    /// The answer of a member of the masquerade pool, to what a client sent before.
    Masquerade,
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// So many nanoseconds; and the wish beyond it.
    Net(f64, Option<f64>),
    /// So many times the cost of one flow.
    OfOneFlow(f64),
}

/// A way through the data path, with so many flows.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub path: &'static str,
    pub flows: Flows,
    pub scene: Scene,
    pub sender: Sender,
    /// How nearly all packets must end.
    pub ends: Reason,
    pub gates: &'static [Gate],
    /// The memories are emptied before each round: they would fill up otherwise.
    pub fills: bool,
}

const FORWARDED: Reason = Reason(Sent::Forwarded as u8);
const RETURNED: Reason = Reason(Sent::Returned as u8);

const NONE: &[Gate] = &[];
const PASS: &[Gate] = &[Gate::Net(40.0, None)];
const SEGMENT: &[Gate] = &[Gate::Net(45.0, Some(25.0))];
const NAT: &[Gate] = &[Gate::Net(60.0, Some(35.0))];
const UNTRACKED: &[Gate] = &[Gate::Net(60.0, None), Gate::OfOneFlow(1.3)];
const TRACKED: &[Gate] = &[Gate::Net(250.0, Some(200.0))];
const TRACKED_NEW: &[Gate] = &[Gate::Net(300.0, None)];

/// The path of connections that are reset in the end.
pub const KEPT: &str = "same segment, kept in mind";

/// Everything, in the order of the report.
pub fn all() -> Vec<Case> {
    use Flows::{Million, New, One, Thousands};
    use Scene::{Changing, Crowded, Direct, Large, Steady};
    let ack = |port| Sender::Client(Kind::Ack, port);
    let syn = |port| Sender::Client(Kind::Syn, port);
    let case = |path, flows, scene, sender, gates| Case {
        path,
        flows,
        scene,
        sender,
        ends: FORWARDED,
        gates,
        fills: false,
    };
    let (floating, remembered, gateway, masquerade) =
        ("same segment", "same segment, remembered (UDP)", "destination NAT", "masquerade");
    let (kept, kept_gateway) = (KEPT, "destination NAT, kept in mind");
    vec![
        Case { ends: NOT_OURS, ..case("not ours", One, Direct, Sender::Passer, PASS) },
        Case {
            ends: NOT_OURS,
            ..case("not ours, beside a `gateway` pool", One, Steady, Sender::Passer, PASS)
        },
        Case { ends: NO_RULE, ..case("no rule", One, Steady, ack(81), NONE) },
        case(floating, One, Steady, ack(80), SEGMENT),
        case(floating, Thousands, Steady, ack(80), NONE),
        case(floating, Million, Steady, ack(80), UNTRACKED),
        case(floating, New, Steady, syn(80), NONE),
        case("same segment, among 10,000 frontends", One, Crowded, ack(80), SEGMENT),
        case("same segment, among 10,000 frontends", Million, Crowded, ack(80), UNTRACKED),
        case(remembered, One, Steady, Sender::Client(Kind::Datagram, 53), SEGMENT),
        case(remembered, Thousands, Steady, Sender::Client(Kind::Datagram, 53), NONE),
        case(remembered, Million, Large, Sender::Client(Kind::Datagram, 53), TRACKED),
        case(remembered, New, Steady, Sender::Client(Kind::Datagram, 53), TRACKED_NEW),
        case("same segment, slots changing", One, Changing, ack(80), NONE),
        case("same segment, slots changing", Million, Changing, ack(80), TRACKED),
        case("same segment, slots changing", New, Changing, syn(80), TRACKED_NEW),
        case(kept, One, Steady, ack(8080), SEGMENT),
        case(kept, Thousands, Steady, ack(8080), NONE),
        case(kept, Million, Large, ack(8080), TRACKED),
        case(kept, New, Steady, syn(8080), TRACKED_NEW),
        case(gateway, One, Steady, ack(443), NAT),
        case(gateway, Thousands, Steady, ack(443), NONE),
        case(gateway, Million, Steady, ack(443), UNTRACKED),
        case(gateway, New, Steady, syn(443), NONE),
        case(kept_gateway, One, Steady, ack(8081), NAT),
        case(kept_gateway, Thousands, Steady, ack(8081), NONE),
        case(kept_gateway, Million, Large, ack(8081), TRACKED),
        case(kept_gateway, New, Steady, syn(8081), TRACKED_NEW),
        Case { ends: RETURNED, ..case("destination NAT, answer", One, Steady, Sender::Gateway, NONE) },
        case(masquerade, One, Steady, ack(25), NAT),
        case(masquerade, Thousands, Steady, ack(25), NONE),
        case(masquerade, Million, Large, ack(25), TRACKED),
        Case { fills: true, ..case(masquerade, New, Large, syn(25), TRACKED_NEW) },
        Case { ends: RETURNED, ..case("masquerade, answer", One, Steady, Sender::Masquerade, NONE) },
    ]
}

const NOT_OURS: Reason = Reason(Pass::NotOurs as u8);
const NO_RULE: Reason = Reason(Drop::NoRule as u8);

impl Case {
    /// The packet of flow 0, and the side on which those of other flows differ. Answers to masqueraded flows begin with what is
    /// answered.
    pub fn packet(&self, family: Family) -> (Packet, Side) {
        let client = (family.client(), 40_000);
        let to = |destination| (destination, Side::Source);
        let ((kind, source, destination), side) = match self.sender {
            Sender::Client(kind, port) => to((kind, client, (family.frontend(), port))),
            Sender::Passer => to((Kind::Ack, client, (family.stranger(), 80))),
            Sender::Masquerade => to((Kind::Ack, client, (family.frontend(), 25))),
            Sender::Gateway => {
                ((Kind::Ack, (family.member(Pool::Gateway, 1), 8443), client), Side::Destination)
            }
        };
        (Packet { kind, source, destination }, side)
    }
}
