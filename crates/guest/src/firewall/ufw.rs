//! ufw's rules, as `ufw status verbose` prints them.

use std::net::IpAddr;

use super::{Fits, Opinion, Packet};
use crate::wanted::Destination;

/// What ufw does with packets to this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ufw {
    /// Whether packets that no rule is about are let in.
    pub allows: bool,
    /// In their order; the first that is about a packet decides.
    pub rules: Vec<UfwRule>,
}

/// One of its rules about packets to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UfwRule {
    /// What packets are sent to, as it is printed: `203.0.113.10 8443/tcp`.
    pub to: String,
    /// `ALLOW`, `DENY`, `REJECT` or `LIMIT`.
    pub action: String,
    /// Where they come from, as it is printed: `Anywhere`.
    pub from: String,
    /// Whether it is about IPv6.
    pub v6: bool,
}

impl Ufw {
    /// Reads what `ufw status verbose` printed; `None` where ufw is not active.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        lines.by_ref().find(|line| *line == "Status: active")?;
        let allows = text.lines().any(|line| line.starts_with("Default: allow (incoming)"));
        let rules = lines.skip_while(|line| !line.starts_with("--")).skip(1).filter_map(rule).collect();
        Some(Self { allows, rules })
    }

    pub(super) fn opinion(&self, packet: &Packet<'_>) -> Opinion {
        let (mut accepts, mut drops) = (false, false);
        for rule in &self.rules {
            let fits = rule.fits(packet);
            let lets_in = matches!(rule.action.as_str(), "ALLOW" | "LIMIT");
            if fits != Fits::No {
                accepts |= lets_in;
                drops |= !lets_in;
            }
            if fits == Fits::Yes {
                return said(accepts, drops);
            }
        }
        said(accepts || self.allows, drops || !self.allows)
    }

    /// What `ufw prepend allow` does.
    pub(crate) fn allow(&mut self, destination: Destination) {
        let rule = own(destination);
        if !self.rules.contains(&rule) {
            self.rules.insert(0, rule);
        }
    }

    /// What `ufw delete allow` does.
    pub(crate) fn forget(&mut self, destination: Destination) {
        self.rules.retain(|rule| *rule != own(destination));
    }
}

fn said(accepts: bool, drops: bool) -> Opinion {
    match (accepts, drops) {
        (_, false) => Opinion::Accepts,
        (false, true) => Opinion::Drops,
        (true, true) => Opinion::MayDrop,
    }
}

fn own(destination: Destination) -> UfwRule {
    let Destination { address, port, protocol } = destination;
    UfwRule {
        to: format!("{address} {port}/{}", protocol.name()),
        action: "ALLOW".to_owned(),
        from: "Anywhere".to_owned(),
        v6: address.is_ipv6(),
    }
}

/// `203.0.113.10 8443/tcp      ALLOW IN    Anywhere          # forebay-guest`
fn rule(line: &str) -> Option<UfwRule> {
    let line = line.split(" # ").next().unwrap_or_default();
    let mut columns = line.split("  ").map(str::trim).filter(|it| !it.is_empty());
    let (to, action, from) = (columns.next()?, columns.next()?, columns.next()?);
    let (action, direction) = action.split_once(' ').unwrap_or((action, "IN"));
    let plain = |text: &str| text.replace(" (v6)", "");
    let is_v6 = |text: &str| text.contains("(v6)") || text.split(' ').any(|word| word.contains("::"));
    (direction == "IN").then(|| UfwRule {
        v6: is_v6(to) || is_v6(from),
        to: plain(to),
        action: action.to_owned(),
        from: plain(from),
    })
}

impl UfwRule {
    fn fits(&self, packet: &Packet<'_>) -> Fits {
        if self.v6 == packet.destination.address.is_ipv4() {
            return Fits::No;
        }
        let (to, interface) = match self.to.split_once(" on ") {
            Some((to, interface)) => (to, Some(interface)),
            None => (self.to.as_str(), None),
        };
        let from = Fits::of(self.from == "Anywhere").max(Fits::Perhaps);
        let interface = match interface {
            None => Fits::Yes,
            Some(_) if packet.interfaces.is_empty() => Fits::Perhaps,
            Some(interface) => Fits::of(packet.interfaces.contains(&interface)),
        };
        // `80,443/tcp (Nginx Full)` names a profile beside what it stands for.
        let words = to.split(" (").next().unwrap_or_default().split(' ');
        // An action LIMIT lets six connections of a client in half a minute through.
        let limit = if self.action == "LIMIT" { Fits::Perhaps } else { Fits::Yes };
        Fits::all(words.map(|word| of_word(word, packet.destination)).chain([from, interface, limit]))
    }
}

/// An address, a prefix, or ports with or without a protocol.
fn of_word(word: &str, destination: Destination) -> Fits {
    if word == "Anywhere" {
        return Fits::Yes;
    }
    if let Ok(address) = word.parse::<IpAddr>() {
        return Fits::of(address == destination.address);
    }
    let (ports, behind) = word.split_once('/').unwrap_or((word, ""));
    if let (Ok(start), Ok(length)) = (ports.parse::<IpAddr>(), behind.parse::<u32>()) {
        return Fits::of(is_in(destination.address, start, length));
    }
    let protocol = match behind {
        "" => Fits::Yes,
        "tcp" | "udp" => Fits::of(behind == destination.protocol.name()),
        _ => return Fits::Perhaps,
    };
    Fits::all([protocol, Fits::any(ports.split(',').map(|it| of_port(it, destination.port)))])
}

fn of_port(ports: &str, port: u16) -> Fits {
    let (from, to) = ports.split_once(':').unwrap_or((ports, ports));
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) => Fits::of((from..=to).contains(&port)),
        (_, _) => Fits::Perhaps,
    }
}

/// Whether an address is in a prefix.
pub(super) fn is_in(address: IpAddr, start: IpAddr, length: u32) -> bool {
    match (address, start) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            u32::from(a) & mask == u32::from(b) & mask
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            u128::from(a) & mask == u128::from(b) & mask
        }
        (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ufw 0.36.2 printed.
    const STATUS: &str = "\
Status: active
Logging: on (low)
Default: deny (incoming), allow (outgoing), disabled (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
203.0.113.10 8443/tcp      ALLOW IN    Anywhere                   # forebay-guest
22/tcp                     ALLOW IN    Anywhere
80,443/tcp                 ALLOW IN    10.0.0.0/8
8000:8010/udp              DENY IN     Anywhere                   # a b
203.0.113.9 99/tcp on lo   LIMIT IN    Anywhere
1234                       ALLOW IN    Anywhere
9/tcp on eth0              ALLOW IN    Anywhere
7/tcp                      ALLOW OUT   Anywhere
80,443/tcp (Nginx Full)    DENY IN     Anywhere
fd00:65::1 8443/tcp        ALLOW IN    Anywhere (v6)              # forebay-guest
22/tcp (v6)                ALLOW IN    Anywhere (v6)
8000:8010/udp (v6)         DENY IN     Anywhere (v6)              # a b
1234 (v6)                  ALLOW IN    Anywhere (v6)

";

    #[test]
    fn the_first_rule_that_is_about_a_packet_decides() {
        use Opinion::{Accepts, Drops, MayDrop};
        for (to, wanted) in [
            ("203.0.113.10:8443/tcp", Accepts),
            ("203.0.113.10:8443/udp", Drops),
            ("203.0.113.11:8443/tcp", Drops),
            ("203.0.113.11:22/tcp", Accepts),
            ("203.0.113.11:443/tcp", MayDrop),
            ("203.0.113.11:8005/udp", Drops),
            ("203.0.113.9:99/tcp", Drops),
            ("203.0.113.9:9/tcp", Accepts),
            ("203.0.113.9:7/tcp", Drops),
            ("203.0.113.9:1234/udp", Accepts),
            ("[fd00:65::1]:8443/tcp", Accepts),
            ("[fd00:65::2]:8443/tcp", Drops),
            ("[fd00:65::2]:22/tcp", Accepts),
            ("[fd00:65::2]:443/tcp", Drops),
        ] {
            let ufw = Ufw::parse(STATUS).unwrap();
            let packet = Packet { destination: to.parse().unwrap(), interfaces: &["eth0"] };
            assert_eq!(ufw.opinion(&packet), wanted, "{to}");
        }
    }

    #[test]
    fn our_own_rule_is_known_as_it_is_printed() {
        let mut ufw = Ufw::parse(STATUS).unwrap();
        let before = ufw.clone();
        for to in ["203.0.113.10:8443/tcp", "[fd00:65::1]:8443/tcp"] {
            ufw.allow(to.parse().unwrap());
            assert_eq!(ufw, before);
            ufw.forget(to.parse().unwrap());
            assert_eq!(ufw.rules.len() + 1, before.rules.len());
            ufw = before.clone();
        }
    }

    #[test]
    fn an_inactive_one_is_none() {
        assert_eq!(Ufw::parse("Status: inactive\n"), None);
        assert_eq!(Ufw::parse("Status: active\n"), Some(Ufw::default()));
        assert_eq!(Ufw::parse("ERROR: You need to be root to run this script\n"), None);
    }
}
