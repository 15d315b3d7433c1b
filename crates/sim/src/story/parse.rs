//! Reading stories.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::{Act, Action, Story, Unreadable};
use crate::frame::{Transport, flag};
use crate::town::Rule;

pub(super) fn story(file: &str, text: &str) -> Result<Story, Unreadable> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let wrong = |line: usize, what: String| Unreadable { file: file.to_owned(), line, what };
    let promises = promises(lines.first().map_or("", String::as_str)).map_err(|what| wrong(1, what))?;
    let mut acts: Vec<Act> = Vec::new();
    for (number, line) in (1..).zip(&lines) {
        match line.chars().next() {
            None | Some('#') => {}
            Some('>') => {
                let action = action(line[1..].trim()).map_err(|what| wrong(number, what))?;
                acts.push(Act { line: number, action, expected: Vec::new() });
            }
            Some('→') => {
                let act =
                    acts.last_mut().ok_or_else(|| wrong(number, "nothing has happened yet".to_owned()))?;
                act.expected.push(line.trim_start_matches('→').trim().to_owned());
            }
            Some(_) => {
                return Err(wrong(number, "a line begins with `#`, `>` or `→`, or is empty".to_owned()));
            }
        }
    }
    Ok(Story { file: file.to_owned(), lines, promises, acts })
}

/// The numbers at the end of the first line.
fn promises(line: &str) -> Result<Vec<String>, String> {
    let is_number = |word: &str| {
        let (subject, digits) = word.split_once('-').unwrap_or_default();
        let is_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_digits
            && subject.len() >= 2
            && subject.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'8')
    };
    let words =
        line.strip_prefix("# ").unwrap_or("").split_whitespace().map(|word| word.trim_end_matches(','));
    let mut numbers: Vec<String> =
        words.rev().take_while(|word| is_number(word)).map(str::to_owned).collect();
    numbers.reverse();
    if numbers.is_empty() {
        return Err(
            "the first line is `# what is promised   NUMBER, NUMBER`, with the numbers of promises".into()
        );
    }
    Ok(numbers)
}

fn action(text: &str) -> Result<Action, String> {
    let mut parts = text.split(',').map(str::trim);
    let main = parts.next().unwrap_or_default();
    let more: Vec<&str> = parts.collect();
    let words: Vec<&str> = main.split_whitespace().collect();
    match (words.as_slice(), more.as_slice()) {
        (["pool", name, members @ ..], more @ ([] | ["gateway"])) => Ok(Action::Pool {
            name: (*name).to_owned(),
            members: members.iter().map(|word| read("an address", word)).collect::<Result<_, _>>()?,
            gateway: !more.is_empty(),
        }),
        (["frontend", address], []) => Ok(Action::Frontend(read("an address", address)?)),
        (["frontend", at, "->", target], more) => rule(at, target, more),
        (["frontend", at, "by", by], []) => {
            let (at, transport) = end(at)?;
            Ok(Action::Distribute { at, transport, by: distribution(by)? })
        }
        (["no", "frontend", at], []) => end(at).map(|(at, transport)| Action::NoRule { at, transport }),
        (["member", member, word @ ("joins" | "leaves"), pool], more @ ([] | ["killed halfway"])) => {
            Ok(Action::Member {
                pool: (*pool).to_owned(),
                member: read("an address", member)?,
                joins: *word == "joins",
                killed: !more.is_empty(),
            })
        }
        (["member", member, "of", pool, "is", "found", word @ ("up" | "down")], []) => Ok(Action::Found {
            pool: (*pool).to_owned(),
            member: read("an address", member)?,
            up: *word == "up",
        }),
        (["host", host, "goes", "silent"], []) => {
            Ok(Action::Silence { host: read("an address", host)?, silent: true })
        }
        (["host", host, "is", "back"], []) => {
            Ok(Action::Silence { host: read("an address", host)?, silent: false })
        }
        (["open", from, "->", to], []) => {
            let (to, transport) = end(to)?;
            Ok(Action::Open { from: read("an address and port", from)?, to, transport })
        }
        (["open", count, "from", from, "->", to], []) => {
            let (to, transport) = end(to)?;
            let (count, from) = (read("a number", count)?, read("an address", from)?);
            Ok(Action::OpenMany { count, from, to, transport })
        }
        (["ask", "everyone"], []) => Ok(Action::AskEveryone),
        (["ask", from], []) => Ok(Action::Ask(read("an address and port", from)?)),
        (["send", from, "->", to, flags @ ..], []) => send(from, to, flags),
        (["wait", number, unit], []) => wait(number, unit),
        (["lose", number, "in", "1000"], []) => Ok(Action::Lose(read("a number", number)?)),
        (["kill", "the", "control", "plane"], []) => Ok(Action::Kill),
        (["start", "the", "control", "plane"], []) => Ok(Action::Start),
        (["count", what], []) => count(what),
        (["flows", "remembered"], []) => Ok(Action::Remembered),
        _ => Err(format!("`{text}` is no action; crates/sim/src/story.rs has all of them")),
    }
}

fn rule(at: &str, target: &str, more: &[&str]) -> Result<Action, String> {
    let (at, transport) = end(at)?;
    let (pool, port) = target.split_once(':').ok_or_else(|| format!("`{target}` is no pool and port"))?;
    let mut rule = Rule {
        pool: pool.to_owned(),
        port: read("a port", port)?,
        floating: false,
        distribution: "Default".to_owned(),
        idle: 4,
    };
    for word in more {
        match word.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["floating"] => rule.floating = true,
            ["by", by] => rule.distribution = distribution(by)?,
            ["idle", minutes, "min"] => rule.idle = read("a number of minutes", minutes)?,
            _ => return Err(format!("`{word}` is not `floating`, `by DISTRIBUTION` or `idle N min`")),
        }
    }
    Ok(Action::Rule { at, transport, rule })
}

fn distribution(word: &str) -> Result<String, String> {
    match word {
        "Default" | "SourceIP" | "SourceIPProtocol" => Ok(word.to_owned()),
        _ => Err(format!("`{word}` is not Default, SourceIP or SourceIPProtocol")),
    }
}

fn send(from: &str, to: &str, flags: &[&str]) -> Result<Action, String> {
    let (to, transport) = end(to)?;
    let flags = match (transport, flags) {
        (Transport::Udp, []) => 0,
        (Transport::Tcp, ["syn"]) => flag::SYN,
        (Transport::Tcp, ["ack"]) => flag::ACK,
        (Transport::Tcp, ["fin"]) => flag::FIN | flag::ACK,
        _ => return Err("a TCP packet is `syn`, `ack` or `fin`; a datagram is nothing of that".to_owned()),
    };
    Ok(Action::Send { from: read("an address and port", from)?, to, transport, flags })
}

fn wait(number: &str, unit: &str) -> Result<Action, String> {
    let number: u64 = read("a number", number)?;
    let seconds = match unit {
        "s" => number,
        "min" => number * 60,
        "h" => number * 3_600,
        _ => return Err(format!("`{unit}` is not `s`, `min` or `h`")),
    };
    Ok(Action::Wait(Duration::from_secs(seconds)))
}

fn count(what: &str) -> Result<Action, String> {
    if let Ok(frontend) = what.parse() {
        return Ok(Action::CountUnmatched(frontend));
    }
    match plane::Reason::ALL.iter().any(|(_, _, name)| *name == what) {
        true => Ok(Action::CountReason(what.to_owned())),
        false => Err(format!("`{what}` is neither the name of a reason nor a frontend's address")),
    }
}

/// An address and port, and `/udp` behind it.
fn end(text: &str) -> Result<(SocketAddr, Transport), String> {
    let (at, transport) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Transport::Tcp),
        Some((at, "udp")) => (at, Transport::Udp),
        Some((_, other)) => return Err(format!("`{other}` is neither `tcp` nor `udp`")),
    };
    Ok((read("an address and port", at)?, transport))
}

fn read<T: FromStr>(what: &str, word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is not {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_language_is_named_with_its_line() {
        let check = |text: &str, wrong: &str| {
            let found = story("s.lb", text).map(|_| ()).unwrap_err().to_string();
            assert_eq!(found, wrong);
        };
        check(
            "",
            "s.lb:1: the first line is `# what is promised   NUMBER, NUMBER`, with the numbers of promises",
        );
        check("# Promised.  DIST-2\n\nopen", "s.lb:3: a line begins with `#`, `>` or `→`, or is empty");
        check("# Promised.  DIST-2\n→ too early", "s.lb:2: nothing has happened yet");
        check("# Promised.  DIST-2\n> ask nobody", "s.lb:2: `nobody` is not an address and port");
        check("# Promised.  DIST-2\n> wait 3 days", "s.lb:2: `days` is not `s`, `min` or `h`");
        check(
            "# Promised.  DIST-2\n> dance",
            "s.lb:2: `dance` is no action; crates/sim/src/story.rs has all of them",
        );
        check(
            "# Promised.  DIST-2\n> count Nothing",
            "s.lb:2: `Nothing` is neither the name of a reason nor a frontend's address",
        );
    }

    #[test]
    fn an_action_may_have_conditions() {
        let Ok(Action::Rule { at, transport, rule }) =
            action("frontend [2001:db8:f::1]:443/udp -> web:8443, floating, by SourceIP, idle 5 min")
        else {
            panic!("not a rule");
        };
        assert_eq!((at.to_string().as_str(), transport), ("[2001:db8:f::1]:443", Transport::Udp));
        assert_eq!((rule.port, rule.floating, rule.idle), (8443, true, 5));
        assert_eq!(rule.distribution, "SourceIP");
    }

    #[test]
    fn the_first_line_ends_in_numbers() {
        assert_eq!(promises("# Two, here.   DIST-2, FLOW-7").unwrap(), ["DIST-2", "FLOW-7"]);
        assert!(promises("# None, though IPv6-ready.").is_err());
    }
}
