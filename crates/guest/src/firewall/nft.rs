//! The rules of nftables, as `nft -j list ruleset` prints them.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{COMMENT, Chain, Fits, Opinion, Packet, comment};
use crate::wanted::Destination;

/// How deep chains lead into each other; the kernel allows sixteen.
const MAX_DEPTH: usize = 16;

/// Everything nftables holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset(Vec<Value>);

/// What a chain may do with a packet; several things, where it is not known which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    accepts: bool,
    drops: bool,
    goes_on: bool,
}

impl Ends {
    const ACCEPTS: Self = Self { accepts: true, drops: false, goes_on: false };
    const DROPS: Self = Self { accepts: false, drops: true, goes_on: false };
    const GOES_ON: Self = Self { accepts: false, drops: false, goes_on: true };

    fn or(self, other: Self) -> Self {
        Self {
            accepts: self.accepts || other.accepts,
            drops: self.drops || other.drops,
            goes_on: self.goes_on || other.goes_on,
        }
    }
}

/// What a rule does: what it ends in, and whether the rules behind it are looked at.
enum Does {
    Nothing,
    End(Ends),
    /// What the chain gives it leads to, and then back.
    Jump(Ends),
}

impl Ruleset {
    /// Reads what `nft -j list ruleset` printed; `None` where that is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut value: Value = serde_json::from_str(text).ok()?;
        match value.get_mut("nftables")?.take() {
            Value::Array(objects) => Some(Self(objects)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
        }
    }

    /// What each chain at which packets to this host arrive does with one.
    pub(super) fn opinions(&self, packet: &Packet<'_>) -> Vec<(Chain, Opinion)> {
        let family = if packet.destination.address.is_ipv4() { "ip" } else { "ip6" };
        let at_the_door = |chain: &&Value| {
            let hook = text(chain, "hook");
            let is_family = text(chain, "family") == "inet" || text(chain, "family") == family;
            is_family && (hook == "input" || (hook == "prerouting" && text(chain, "type") == "filter"))
        };
        self.objects("chain")
            .filter(at_the_door)
            .map(|chain| {
                let id = named(chain, "name");
                let ends = self.follow(&id, packet, 0);
                let drops_by_policy = text(chain, "policy") == "drop";
                let ends = match (ends.goes_on, drops_by_policy) {
                    (false, _) => ends,
                    (true, true) => ends.or(Ends::DROPS),
                    (true, false) => ends.or(Ends::ACCEPTS),
                };
                let opinion = match (ends.accepts, ends.drops) {
                    (_, false) => Opinion::Accepts,
                    (false, true) => Opinion::Drops,
                    (true, true) => Opinion::MayDrop,
                };
                (id, opinion)
            })
            .collect()
    }

    /// Our own rules.
    pub(crate) fn ours(&self) -> Vec<(Chain, Destination)> {
        let parse = |rule: &Value| {
            let destination = Destination::shown(text(rule, "comment").strip_prefix(COMMENT)?)?;
            Some((named(rule, "chain"), destination))
        };
        let mut ours: Vec<_> = self.objects("rule").filter_map(parse).collect();
        ours.sort();
        ours.dedup();
        ours
    }

    /// What `nft insert rule` does.
    pub(crate) fn accept(&mut self, chain: &Chain, destination: Destination) {
        let ip = if destination.address.is_ipv4() { "ip" } else { "ip6" };
        let payload = |protocol: &str, field: &str, right: Value| {
            json!({ "match": { "op": "==",
                "left": { "payload": { "protocol": protocol, "field": field } }, "right": right } })
        };
        let rule = json!({ "rule": {
            "family": chain.family, "table": chain.table, "chain": chain.name, "comment": comment(destination),
            "expr": [
                payload(ip, "daddr", destination.address.to_string().into()),
                payload(destination.protocol.name(), "dport", destination.port.into()),
                { "accept": null },
            ],
        } });
        let first = self.0.iter().position(|it| it.get("rule").is_some()).unwrap_or(self.0.len());
        self.0.insert(first, rule);
    }

    /// What takes that rule away.
    pub(crate) fn forget(&mut self, chain: &Chain, destination: Destination) {
        let wanted = comment(destination);
        self.0.retain(|it| {
            it.get("rule")
                .is_none_or(|rule| named(rule, "chain") != *chain || text(rule, "comment") != wanted)
        });
    }

    fn objects(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter_map(move |it| it.get(kind))
    }

    fn follow(&self, chain: &Chain, packet: &Packet<'_>, depth: usize) -> Ends {
        let mut so_far = Ends::default();
        if depth > MAX_DEPTH {
            return Ends { accepts: true, drops: true, goes_on: true };
        }
        for rule in self.objects("rule").filter(|rule| named(rule, "chain") == *chain) {
            let (fits, does) = self.judge(chain, rule, packet, depth);
            match (fits, does) {
                (Fits::No, _) | (_, Does::Nothing) => {}
                (Fits::Yes, Does::End(ends)) => return so_far.or(ends),
                (Fits::Yes, Does::Jump(ends)) if !ends.goes_on => return so_far.or(ends),
                (Fits::Perhaps, Does::End(ends)) => so_far = so_far.or(ends),
                (Fits::Perhaps | Fits::Yes, Does::Jump(ends)) => {
                    so_far = so_far.or(Ends { goes_on: false, ..ends })
                }
            }
        }
        so_far.or(Ends::GOES_ON)
    }

    /// Whether a rule is about the packet, and what it does with it then.
    fn judge(&self, chain: &Chain, rule: &Value, packet: &Packet<'_>, depth: usize) -> (Fits, Does) {
        let mut fits = Fits::Yes;
        for statement in rule["expr"].as_array().into_iter().flatten() {
            let Some((kind, body)) = statement.as_object().and_then(|it| it.iter().next()) else {
                fits = fits.min(Fits::Perhaps);
                continue;
            };
            let lead = |name: &str| {
                let to = Chain { name: name.to_owned(), ..chain.clone() };
                self.follow(&to, packet, depth + 1)
            };
            match kind.as_str() {
                "match" => fits = fits.min(matches(body, packet)),
                "accept" => return (fits, Does::End(Ends::ACCEPTS)),
                "drop" | "reject" => return (fits, Does::End(Ends::DROPS)),
                "return" => return (fits, Does::End(Ends::GOES_ON)),
                "goto" => return (fits, Does::End(lead(text(body, "target")))),
                "jump" => return (fits, Does::Jump(lead(text(body, "target")))),
                "vmap" => {
                    let (found, ends) = self.look_up(chain, body, packet, depth);
                    return (fits.min(found), Does::Jump(ends));
                }
                // These neither choose packets nor end their way.
                "counter" | "log" | "comment" | "notrack" | "mangle" | "set" | "ct helper" => {}
                _ => fits = fits.min(Fits::Perhaps),
            }
            if fits == Fits::No {
                return (Fits::No, Does::Nothing);
            }
        }
        (fits, Does::Nothing)
    }

    /// A map from what a packet has to what is done with it.
    fn look_up(&self, chain: &Chain, map: &Value, packet: &Packet<'_>, depth: usize) -> (Fits, Ends) {
        let Some(entries) = map["data"]["set"].as_array() else {
            return (Fits::Perhaps, Ends { accepts: true, drops: true, goes_on: true });
        };
        let (mut found, mut ends) = (Fits::No, Ends::default());
        for entry in entries {
            let fits = compare(&map["key"], &entry[0], packet);
            if fits == Fits::No {
                continue;
            }
            let rule = json!({ "expr": [entry[1]] });
            let (_, does) = self.judge(chain, &rule, packet, depth);
            found = found.max(fits);
            ends = match does {
                Does::Nothing => ends.or(Ends::GOES_ON),
                Does::End(it) | Does::Jump(it) => ends.or(it),
            };
        }
        (found, ends)
    }
}

fn matches(body: &Value, packet: &Packet<'_>) -> Fits {
    let fits = compare(&body["left"], &body["right"], packet);
    match text(body, "op") {
        "==" | "in" => fits,
        // Of a packet of another protocol there is nothing to compare.
        "!=" if is_absent(&body["left"], packet) => Fits::No,
        "!=" => fits.not(),
        _ => Fits::Perhaps,
    }
}

/// What a packet has, where that is known.
enum Has {
    Address(IpAddr),
    Number(u64),
    /// By any of these words.
    Words(Vec<String>),
    /// Any of these interfaces, and it is not known which.
    Interfaces(Vec<String>),
    /// Not this at all: it is of another family or protocol.
    Nothing,
    Unknown,
}

fn compare(left: &Value, right: &Value, packet: &Packet<'_>) -> Fits {
    match has(left, packet) {
        Has::Nothing => Fits::No,
        Has::Unknown => Fits::Perhaps,
        known @ (Has::Address(_) | Has::Number(_) | Has::Words(_) | Has::Interfaces(_)) => {
            is_among(&known, right)
        }
    }
}

fn is_absent(left: &Value, packet: &Packet<'_>) -> bool {
    matches!(has(left, packet), Has::Nothing)
}

fn has(left: &Value, packet: &Packet<'_>) -> Has {
    let Destination { address, port, protocol } = packet.destination;
    let (own_ip, own_number) = if address.is_ipv4() { ("ip", 4) } else { ("ip6", 6) };
    let number = if protocol.name() == "tcp" { "6" } else { "17" };
    let words = |words: &[&str]| Has::Words(words.iter().map(|&it| it.to_owned()).collect());
    if let Some(payload) = left.get("payload") {
        return match (text(payload, "protocol"), text(payload, "field")) {
            (ip, "daddr") if ip == own_ip => Has::Address(address),
            (ip, "protocol" | "nexthdr") if ip == own_ip => words(&[protocol.name(), number]),
            (ip, "version") if ip == own_ip => Has::Number(own_number),
            (transport, "dport") if transport == protocol.name() || transport == "th" => {
                Has::Number(port.into())
            }
            (known, _)
                if known == own_ip || known == protocol.name() || known == "th" || known == "ether" =>
            {
                Has::Unknown
            }
            ("", _) => Has::Unknown,
            (_, _) => Has::Nothing,
        };
    }
    if let Some(meta) = left.get("meta") {
        return match text(meta, "key") {
            "iif" | "iifname" if packet.interfaces.is_empty() => Has::Unknown,
            "iif" | "iifname" => Has::Interfaces(packet.interfaces.iter().map(|&it| it.to_owned()).collect()),
            "l4proto" => words(&[protocol.name(), number]),
            "nfproto" => words(if address.is_ipv4() { &["ipv4", "2"] } else { &["ipv6", "10"] }),
            "protocol" => words(&[own_ip]),
            "pkttype" => words(&["host", "unicast"]),
            _ => Has::Unknown,
        };
    }
    match left.get("ct").map(|ct| text(ct, "key")) {
        Some("state") => words(&["new"]),
        Some(_) | None => Has::Unknown,
    }
}

fn is_among(known: &Has, right: &Value) -> Fits {
    match right {
        Value::Array(several) => Fits::any(several.iter().map(|it| is_among(known, it))),
        Value::Object(object) => {
            if let Some(set) = object.get("set") {
                return is_among(known, set);
            }
            if let Some(element) = object.get("elem") {
                return is_among(known, &element["val"]);
            }
            if let Some(range) = object.get("range") {
                return is_within(known, &range[0], &range[1]);
            }
            match (known, object.get("prefix")) {
                (Has::Address(address), Some(prefix)) => has_prefix(*address, prefix),
                (_, _) => Fits::Perhaps,
            }
        }
        Value::String(name) if name.starts_with('@') => Fits::Perhaps,
        Value::String(word) if word == "*" => Fits::Yes,
        Value::String(word) => match known {
            Has::Address(address) => {
                word.parse::<IpAddr>().map_or(Fits::Perhaps, |it| Fits::of(it == *address))
            }
            Has::Number(number) => word.parse::<u64>().map_or(Fits::Perhaps, |it| Fits::of(it == *number)),
            Has::Words(words) => Fits::of(words.contains(word)),
            Has::Interfaces(names) => Fits::any_of_all(names.iter().map(|name| is_named(name, word))),
            Has::Nothing | Has::Unknown => Fits::Perhaps,
        },
        Value::Number(number) => match known {
            Has::Number(own) => Fits::of(number.as_u64() == Some(*own)),
            Has::Words(words) => Fits::of(words.contains(&number.to_string())),
            Has::Address(_) | Has::Interfaces(_) | Has::Nothing | Has::Unknown => Fits::Perhaps,
        },
        Value::Null | Value::Bool(_) => Fits::Perhaps,
    }
}

/// `eth*` stands for all whose names begin so.
fn is_named(name: &str, wanted: &str) -> bool {
    wanted.strip_suffix('*').map_or(name == wanted, |start| name.starts_with(start))
}

fn is_within(known: &Has, from: &Value, to: &Value) -> Fits {
    match known {
        Has::Number(number) => match (from.as_u64(), to.as_u64()) {
            (Some(from), Some(to)) => Fits::of((from..=to).contains(number)),
            (_, _) => Fits::Perhaps,
        },
        Has::Address(address) => {
            let end = |value: &Value| value.as_str().and_then(|it| it.parse::<IpAddr>().ok());
            match (end(from), end(to)) {
                (Some(from), Some(to)) => Fits::of((from..=to).contains(address)),
                (_, _) => Fits::Perhaps,
            }
        }
        Has::Words(_) | Has::Interfaces(_) | Has::Nothing | Has::Unknown => Fits::Perhaps,
    }
}

fn has_prefix(address: IpAddr, prefix: &Value) -> Fits {
    let start = prefix["addr"].as_str().and_then(|it| it.parse::<IpAddr>().ok());
    let length = prefix["len"].as_u64().and_then(|it| u32::try_from(it).ok());
    let (Some(start), Some(length)) = (start, length) else { return Fits::Perhaps };
    Fits::of(super::ufw::is_in(address, start, length))
}

fn named(object: &Value, name: &str) -> Chain {
    Chain {
        family: text(object, "family").to_owned(),
        table: text(object, "table").to_owned(),
        name: text(object, name).to_owned(),
    }
}

fn text<'v>(object: &'v Value, key: &str) -> &'v str {
    object[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
