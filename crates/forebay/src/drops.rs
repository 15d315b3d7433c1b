//! `forebay watch --drops`: what the data path of this host drops, as it is dropped.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use node::watch::{DROPS, Dropped, Drops, Reason, Told, Wanted};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::Which;
use crate::command::{Done, count};
use crate::remote::args;

/// How often the data path is asked: seldom enough to cost nothing, and often enough that its ring buffer does not fill up.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn run(asked: &args::Watch) -> Done<ExitCode> {
    let of = &asked.drops;
    let place = Which { name: of.name.clone(), state: of.state.clone() }.place()?;
    let wanted =
        Wanted { frontend: of.frontend, client: of.client, reasons: of.reason.clone(), most: of.rate };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut drops = Drops::begin(&place, &wanted)?;
    let end = of.time.map(|time| Instant::now() + time);
    let mut left = of.count.unwrap_or(u64::MAX);
    let teller = Teller { json: asked.output == args::Told::Json, rate: of.rate };
    let mut text = teller.begin(place.name());
    loop {
        let is_over = stop.load(Ordering::Relaxed) || end.is_some_and(|end| end <= Instant::now());
        for told in drops.look()? {
            let is_packet = matches!(told, Told::Dropped(_));
            if left > 0 || !is_packet {
                text += &teller.tell(&told);
            }
            left = left.saturating_sub(u64::from(is_packet));
        }
        let is_over = is_over || left == 0;
        if is_over && let Some(told) = drops.left_out()? {
            text += &teller.tell(&told);
        }
        match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
            // `forebay watch --drops | head` has seen enough.
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written.map_err(|cause| format!("could not write: {cause}"))?,
        }
        if is_over {
            return Ok(ExitCode::SUCCESS);
        }
        text.clear();
        thread::sleep(PAUSE);
    }
}

/// What is said, for people or for programs.
struct Teller {
    json: bool,
    rate: u32,
}

impl Teller {
    fn begin(&self, name: &str) -> String {
        if self.json {
            return line(json!({ "action": "watching", "balancer": name }));
        }
        format!("what `{name}` drops from here on:\n")
    }

    fn tell(&self, told: &Told) -> String {
        match told {
            Told::Dropped(dropped) if self.json => {
                let mut value = json!(dropped);
                value["action"] = "drop".into();
                line(value)
            }
            Told::Dropped(dropped) => in_words(dropped),
            Told::LeftOut(packets) if self.json => line(json!({ "action": "leftOut", "packets": packets })),
            Told::LeftOut(packets) => {
                let packets = count(usize::try_from(*packets).unwrap_or(usize::MAX), "more packet");
                format!("… {packets} left out: {} a second are told (--rate)\n", self.rate)
            }
        }
    }
}

fn line(value: Value) -> String {
    format!("{value}\n")
}

fn in_words(dropped: &Dropped) -> String {
    let Dropped { at, interface, reason, why, protocol, from, to, bytes, .. } = dropped;
    let between = if from.is_empty() { String::new() } else { format!(" {from} -> {to}") };
    let rule = dropped.rule.as_ref().map(|rule| format!(" by rule {rule}")).unwrap_or_default();
    format!("{at} {interface} {reason} {protocol}{between}{rule}, {bytes} bytes: {why}\n")
}

/// `203.0.113.10`, `203.0.113.10:443`, `2001:db8::10`, `[2001:db8::10]:443`.
pub(crate) fn frontend(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address, None));
    }
    let both = text.parse::<SocketAddr>();
    both.map(|both| (both.ip(), Some(both.port()))).map_err(|_| {
        "it is neither an address nor an address and a port, as `203.0.113.10:443` or `[2001:db8::10]:443`".to_owned()
    })
}

/// `198.51.100.7`, `198.51.100.0/24`, `2001:db8::/32`.
pub(crate) fn prefix(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || "it is neither an address nor a prefix, as `198.51.100.0/24`".to_owned();
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    match length.map(str::parse::<u8>) {
        None => Ok((address, longest)),
        Some(Ok(length)) if length <= longest => Ok((address, length)),
        Some(_) => Err(wrong()),
    }
}

pub(crate) fn reason(text: &str) -> Result<Reason, String> {
    DROPS.into_iter().find(|reason| format!("{reason:?}").eq_ignore_ascii_case(text)).ok_or_else(|| {
        let there: Vec<String> = DROPS.iter().map(|reason| format!("{reason:?}")).collect();
        format!("there are {}", there.join(", "))
    })
}

/// `10s`, `5m`, `1h`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    units
        .into_iter()
        .find_map(|(unit, milliseconds)| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(milliseconds).map(Duration::from_millis)
        })
        .ok_or_else(|| "say a number with its unit: `10s`, `5m` or `1h`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_as_people_write_them() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(frontend("203.0.113.10"), Ok((address("203.0.113.10"), None)));
        assert_eq!(frontend("203.0.113.10:443"), Ok((address("203.0.113.10"), Some(443))));
        assert_eq!(frontend("[2001:db8::1]:443"), Ok((address("2001:db8::1"), Some(443))));
        assert_eq!(frontend("2001:db8::1"), Ok((address("2001:db8::1"), None)));
        assert!(frontend("web").is_err());
        assert_eq!(prefix("198.51.100.7"), Ok((address("198.51.100.7"), 32)));
        assert_eq!(prefix("198.51.100.0/24"), Ok((address("198.51.100.0"), 24)));
        assert_eq!(prefix("2001:db8::/32"), Ok((address("2001:db8::"), 32)));
        for wrong in ["198.51.100.0/33", "198.51.100.0/", "198.51.100/24", "::/129", "/8"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
        assert_eq!(reason("norule"), Ok(Reason::NoRule));
        assert!(reason("Forwarded").unwrap_err().contains("NoMember, Unresolved"));
        let times = ["500ms", "10s", "5m", "1h"].map(|text| time(text).unwrap().as_millis());
        assert_eq!(times, [500, 10_000, 300_000, 3_600_000]);
        for wrong in ["10", "s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_packet_is_a_line() {
        let packet = Dropped {
            at: "2026-11-21T06:38:44.125Z".into(),
            interface: "eth0".into(),
            reason: "NoMember".into(),
            why: "the rule's pool has no member that takes new flows".into(),
            protocol: "tcp".into(),
            from: "198.51.100.7:5000".into(),
            to: "203.0.113.10:443".into(),
            bytes: 74,
            frontend: Some("lb/front".into()),
            rule: Some("lb/web".into()),
            security_rule: None,
        };
        let [people, programs] = [false, true].map(|json| Teller { json, rate: 100 });
        let told = Told::Dropped(Box::new(packet));
        assert_eq!(
            people.tell(&told),
            "2026-11-21T06:38:44.125Z eth0 NoMember tcp 198.51.100.7:5000 -> 203.0.113.10:443 by rule lb/web, 74 bytes: \
             the rule's pool has no member that takes new flows\n"
        );
        let line: Value = serde_json::from_str(&programs.tell(&told)).unwrap();
        assert_eq!(
            (&line["action"], &line["to"], &line["bytes"]),
            (&"drop".into(), &"203.0.113.10:443".into(), &74.into())
        );
        assert!(line.get("security_rule").is_none());
        assert_eq!(
            people.tell(&Told::LeftOut(1)),
            "… 1 more packet left out: 100 a second are told (--rate)\n"
        );
        assert_eq!(programs.tell(&Told::LeftOut(7)), "{\"action\":\"leftOut\",\"packets\":7}\n");
    }
}
