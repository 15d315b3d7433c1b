//! Watching what a data path drops, in words.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use engine::protocol_name;
use kernel::{KernelError, Place, Watch, monotonic};
use nix::net::if_::if_indextoname;
use plane::row::{Address, MAX_REPORTS, Report, WatchRow};
use plane::{Drop, Verdict};
use serde::Serialize;

use crate::inspect::in_words;
use crate::legend::Legend;
use crate::stamp::rfc3339;

pub use plane::Drop as Reason;

/// Why the data path drops frames.
pub const DROPS: [Drop; 18] = [
    Drop::Malformed,
    Drop::Fragment,
    Drop::Protocol,
    Drop::Icmp,
    Drop::NoRule,
    Drop::NoMember,
    Drop::Unresolved,
    Drop::NotAdjacent,
    Drop::TableFull,
    Drop::HopLimit,
    Drop::Changing,
    Drop::NoOwnAddress,
    Drop::UnknownLink,
    Drop::Hairpin,
    Drop::Extensions,
    Drop::Denied,
    Drop::Forgotten,
    Drop::TooBig,
];

/// How often the data path is told that somebody watches, and asked what it has left out.
const STAY: Duration = Duration::from_secs(1);

/// What somebody wants to be told.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only packets from this frontend or to it, or to this port of it.
    pub frontend: Option<(IpAddr, Option<u16>)>,
    /// Only packets from these addresses or to them: a prefix and its length.
    pub client: Option<(IpAddr, u8)>,
    /// Only these reasons; none is all of them.
    pub reasons: Vec<Drop>,
    /// At most so many reports a second.
    pub most: u32,
}

impl Wanted {
    fn row(&self) -> WatchRow {
        let mut row = WatchRow::everything(self.most.min(MAX_REPORTS));
        if !self.reasons.is_empty() {
            row = row.because(self.reasons.iter().copied());
        }
        if let Some((frontend, port)) = self.frontend {
            row = row.of_frontend(frontend.into(), port.unwrap_or(0));
        }
        if let Some((client, length)) = self.client {
            // The tables have IPv4 addresses in their mapped form.
            row = row.of_client(client.into(), if client.is_ipv4() { 96 + length } else { length });
        }
        row
    }
}

/// A packet that was dropped.
#[derive(Clone, Debug, Serialize)]
pub struct Dropped {
    /// When.
    pub at: String,
    /// The interface it came in by.
    pub interface: String,
    /// Why, as counters name it.
    pub reason: String,
    /// Why, in words.
    pub why: String,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `arp`, or `ip` with a number.
    pub protocol: String,
    /// From whom: an address and, where it has one, a port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// To whom.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// Bytes of its frame.
    pub bytes: u32,
    /// `balancer/frontend`, where it went to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontend: Option<String>,
    /// `balancer/rule`, where one takes such packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `security group/rule`, where one denied it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_rule: Option<String>,
}

/// Something to be told.
#[derive(Clone, Debug)]
pub enum Told {
    /// A packet was dropped.
    Dropped(Box<Dropped>),
    /// So many more were, and are not told: there were more than wanted, or nobody looked for too long.
    LeftOut(u64),
}

/// One who watches what a data path drops. As long as it is there, and up to three seconds longer if it is killed, drops cost more.
#[derive(Debug)]
pub struct Drops {
    watch: Watch,
    names: PathBuf,
    legend: Legend,
    /// When the names were written that are known.
    named: Option<SystemTime>,
    links: BTreeMap<u32, String>,
    stayed: Instant,
    left_out: u64,
}

impl Drops {
    /// Begins to watch.
    ///
    /// # Errors
    /// There is no such data path, it may not be looked at, or too many watch already.
    pub fn begin(place: &Place, wanted: &Wanted) -> Result<Self, KernelError> {
        Ok(Self {
            watch: Watch::begin(place, wanted.row())?,
            legend: Legend::default(),
            named: None,
            names: place.file("json"),
            links: BTreeMap::new(),
            stayed: Instant::now(),
            left_out: 0,
        })
    }

    /// What was dropped since the last look. It has to be looked several times a second.
    ///
    /// # Errors
    /// The data path was taken out of the kernel.
    pub fn look(&mut self) -> Result<Vec<Told>, KernelError> {
        let is_due = self.stayed.elapsed() >= STAY;
        if is_due {
            self.stayed = Instant::now();
            self.watch.stay()?;
        }
        self.learn_names();
        let mut told = Vec::new();
        while let Some(report) = self.watch.next_report() {
            told.push(Told::Dropped(Box::new(self.in_words(&report))));
        }
        if is_due {
            told.extend(self.left_out()?);
        }
        Ok(told)
    }

    /// What was left out since this was told last.
    ///
    /// # Errors
    /// The counters could not be read.
    pub fn left_out(&mut self) -> Result<Option<Told>, KernelError> {
        let left_out = self.watch.left_out()?;
        let more = left_out.saturating_sub(self.left_out);
        self.left_out = left_out;
        Ok((more > 0).then_some(Told::LeftOut(more)))
    }

    /// Names are written anew whenever something is put in force.
    fn learn_names(&mut self) {
        let written = fs::metadata(&self.names).and_then(|file| file.modified()).ok();
        if written != self.named {
            self.named = written;
            self.legend = Legend::read(&self.names);
        }
    }

    fn in_words(&mut self, report: &Report) -> Dropped {
        let protocol = protocol(report);
        let [source, destination]: [IpAddr; 2] = [report.source().into(), report.destination().into()];
        // A frame that is cut off says nothing of itself.
        let is_known = [report.source(), report.destination()] != [Address::default(); 2];
        let end = |address, port| match (is_known, port) {
            (false, _) => String::new(),
            (true, 0) => format!("{address}"),
            (true, port) => SocketAddr::new(address, port).to_string(),
        };
        let frontend = self.legend.frontends.iter().find(|frontend| frontend.address == destination);
        let port = report.destination_port();
        let of_frontend =
            || self.legend.rules.iter().filter(|rule| rule.frontend == destination && port != 0);
        let rule = of_frontend()
            .find(|rule| rule.protocol == protocol && rule.port == port)
            // HA-1: the rule for everything stands behind those for something.
            .or_else(|| of_frontend().find(|rule| rule.port == 0));
        let security = match report.security_rule() {
            0 => None,
            number => {
                let identity = self.watch.security_identity(number);
                let named = self.legend.security.get(&identity).cloned();
                Some(named.unwrap_or_else(|| format!("{identity:016x}")))
            }
        };
        let ago = Duration::from_nanos(monotonic().saturating_sub(report.nanoseconds()));
        let link = report.link();
        let interface = self.links.entry(link).or_insert_with(|| {
            let name = if_indextoname(link).ok().and_then(|name| name.into_string().ok());
            name.unwrap_or_else(|| format!("link {link}"))
        });
        let (reason, why) = why(report.reason(), security.as_deref());
        Dropped {
            at: rfc3339(SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)),
            interface: interface.clone(),
            reason,
            why,
            from: end(source, report.source_port()),
            to: end(destination, report.destination_port()),
            bytes: report.bytes(),
            frontend: frontend.map(|frontend| frontend.name.clone()),
            rule: rule.map(|rule| rule.name.clone()),
            security_rule: security,
            protocol,
        }
    }
}

/// A reason's name, and what it means.
fn why(reason: plane::Reason, security: Option<&str>) -> (String, String) {
    let Some(drop) = DROPS.into_iter().find(|drop| Verdict::Drop(*drop).reason() == reason) else {
        return (format!("{}", reason.0), String::new());
    };
    let words = match security {
        Some(rule) => format!("security rule `{rule}` denies packets from there"),
        None => in_words(Verdict::Drop(drop)).trim_start_matches("dropped: ").to_owned(),
    };
    (format!("{drop:?}"), words)
}

fn protocol(report: &Report) -> String {
    match report.protocol() {
        _ if report.is_arp() => "arp".into(),
        1 => "icmp".into(),
        58 => "icmpv6".into(),
        0 => "ip0".into(),
        kind => protocol_name(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_to_drop_have_the_names_of_their_counters() {
        let named: Vec<(plane::Reason, String)> =
            DROPS.into_iter().map(|drop| (Verdict::Drop(drop).reason(), format!("{drop:?}"))).collect();
        let counted: Vec<(plane::Reason, String)> = plane::Reason::ALL
            .into_iter()
            .filter(|(_, verdict, _)| *verdict == "drop")
            .map(|(reason, _, name)| (reason, name.to_owned()))
            .collect();
        assert_eq!(named, counted);
        for drop in DROPS {
            let (name, words) = why(Verdict::Drop(drop).reason(), None);
            assert_eq!(name, format!("{drop:?}"));
            assert!(!words.is_empty() && !words.starts_with("dropped"), "{words}");
        }
    }

    #[test]
    fn prefixes_of_ipv4_stand_where_the_tables_have_them() {
        let everything = Wanted { frontend: None, client: None, reasons: Vec::new(), most: 5 };
        let report = |source: &str| {
            let [source, frontend] = [source, "203.0.113.10"].map(|it| it.parse::<IpAddr>().unwrap().into());
            Report::new(1, 2, plane::Reason(20), 60).of_packet(6, source, frontend, 5_000 << 16 | 443)
        };
        let of = |client: &str, length| Wanted {
            client: Some((client.parse().unwrap(), length)),
            ..everything.clone()
        };
        assert!(of("198.51.100.0", 24).row().wants(&report("198.51.100.7")));
        assert!(!of("198.51.100.0", 24).row().wants(&report("198.51.101.7")));
        assert!(of("0.0.0.0", 0).row().wants(&report("198.51.101.7")));
        assert!(!of("2001:db8::", 32).row().wants(&report("198.51.101.7")));
    }
}
