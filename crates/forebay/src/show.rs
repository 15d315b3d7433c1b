//! Text for people.

use std::fmt::Write;

use model::Problem;
use node::health::{HealthView, TurnView};
use node::inspect::{Flows, Stats, Trace};

use crate::command::count;

/// Turns that are shown of each group; `--json` has all of them.
const MAX_TURNS: usize = 20;

const NO_PROBE: &str = "no rule has a probe: every member counts as up\n";

/// Every problem: where, what, and the mend.
pub(crate) fn problems(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let _ = writeln!(text, "{problem}");
    }
    let _ = writeln!(text, "{}; nothing was applied", count(problems.len(), "problem"));
    text
}

pub(crate) fn trace(trace: &Trace) -> String {
    let mut text = String::new();
    for decision in &trace.decisions {
        let _ = writeln!(text, "  {decision}");
    }
    let _ = writeln!(text, "{}", trace.verdict);
    if let Some(sent) = &trace.sent {
        let _ = writeln!(
            text,
            "  as {} -> {}, to station {} on link {}",
            sent.source, sent.destination, sent.station, sent.link
        );
    }
    text
}

pub(crate) fn stats(stats: &Stats) -> String {
    let mut text = format!("balancer {}", stats.name);
    for interface in &stats.interfaces {
        let _ = write!(text, "  {} ({} XDP)", interface.name, interface.mode);
    }
    text.push_str("\n\n");

    let mut table = Table::new(["FRONTEND", "ADDRESS", "PACKETS", "BYTES", "FLOWS", "UNMATCHED"]);
    for row in &stats.frontends {
        table.row([
            row.frontend.clone(),
            row.address.to_string(),
            row.packets.to_string(),
            bytes(row.bytes),
            row.flows.to_string(),
            row.unmatched.to_string(),
        ]);
    }
    table.write(&mut text);

    let mut table = Table::new(["RULE", "FRONTEND", "PORT", "PACKETS", "BYTES", "FLOWS"]);
    for row in &stats.rules {
        table.row([
            row.rule.clone(),
            row.frontend.to_string(),
            format!("{}/{}", row.port, row.protocol),
            row.packets.to_string(),
            bytes(row.bytes),
            row.flows.to_string(),
        ]);
    }
    table.write(&mut text);

    let mut table = Table::new(["POOL", "MEMBER", "ADDRESS", "PACKETS", "BYTES", "FLOWS", "STATE"]);
    for row in &stats.members {
        table.row([
            row.pool.clone(),
            row.member.clone(),
            row.address.to_string(),
            row.packets.to_string(),
            bytes(row.bytes),
            row.flows.to_string(),
            row.state.clone(),
        ]);
    }
    table.write(&mut text);

    if !stats.security.is_empty() {
        let mut table = Table::new(["SECURITY RULE", "PACKETS", "BYTES"]);
        for row in &stats.security {
            table.row([row.rule.clone(), row.packets.to_string(), bytes(row.bytes)]);
        }
        table.write(&mut text);
    }

    let mut table = Table::new(["VERDICT", "REASON", "PACKETS", "BYTES"]);
    for row in stats.verdicts.iter().filter(|row| row.packets > 0) {
        table.row([row.verdict.clone(), row.reason.clone(), row.packets.to_string(), bytes(row.bytes)]);
    }
    table.write(&mut text);

    let kept = &stats.remembered;
    let _ = writeln!(
        text,
        "remembered: {} of {} flows, {} of {} masqueraded; {} changing",
        kept.flows,
        kept.flows_limit,
        kept.masquerades,
        kept.masquerades_limit,
        count(kept.changing_slots as usize, "slot")
    );
    text
}

/// Members as probes see them, and the turns they took lately.
pub(crate) fn health(view: &HealthView) -> String {
    if view.groups.is_empty() && view.availability.is_empty() {
        return NO_PROBE.to_owned();
    }
    let mut text = format!("as of {}\n\n", view.at);
    let mut table = Table::new(["RULE", "FRONTEND", "AVAILABLE", "ANSWERED LATELY", "SINCE THE START"]);
    for it in &view.availability {
        let [lately, start] = [[it.last_answers.into(), it.last_calls.into()], [it.answers, it.calls]];
        let of = |[answers, calls]: [u64; 2]| format!("{answers} of {calls}");
        let available = format!("{} %", 100 * lately[0] / lately[1].max(1));
        table.row([it.rule.clone(), it.frontend.to_string(), available, of(lately), of(start)]);
    }
    table.write(&mut text);
    if view.groups.is_empty() {
        text.push_str(NO_PROBE);
    }
    for group in &view.groups {
        let up = group.members.iter().filter(|member| member.takes_new_flows).count();
        let all = count(group.members.len(), "member");
        let _ = writeln!(text, "pool {} by probe {} ({})", group.pool, group.probe, group.asks);
        let _ = writeln!(text, "{up} of {all} {} new flows of {}\n", takes(up), group.rules.join(", "));
        let mut table =
            Table::new(["MEMBER", "ADDRESS", "STATE", "SINCE", "IN A ROW", "NEW FLOWS", "LAST RESULT"]);
        for member in &group.members {
            let takes = match (member.takes_new_flows, member.weight) {
                (true, 1) => "yes".to_owned(),
                (true, weight) => format!("yes, weight {weight}"),
                (false, _) => "no".to_owned(),
            };
            let because =
                if member.because.is_empty() { takes } else { format!("{takes}: {}", member.because) };
            table.row([
                member.member.clone(),
                member.address.to_string(),
                member.state.clone(),
                member.since.clone(),
                member.in_a_row.to_string(),
                because,
                member.last.clone(),
            ]);
        }
        table.write(&mut text);
        let mut turns: Vec<_> = group
            .members
            .iter()
            .flat_map(|member| member.history.iter().map(move |turn| (turn, member)))
            .collect();
        turns.sort_by(|(one, _), (other, _)| other.at.cmp(&one.at));
        let mut table = Table::new(["TURNED", "MEMBER", "FROM", "TO", "BECAUSE"]);
        for (turn, member) in turns.into_iter().take(MAX_TURNS) {
            let TurnView { at, from, to, because } = turn.clone();
            table.row([at, member.member.clone(), from, to, because]);
        }
        table.write(&mut text);
    }
    text
}

fn takes(members: usize) -> &'static str {
    if members == 1 { "takes" } else { "take" }
}

pub(crate) fn flows(flows: &Flows) -> String {
    let mut text = String::new();
    if flows.remembered.is_empty() && flows.masqueraded.is_empty() && flows.tracked.is_empty() {
        text.push_str("nothing is remembered: in steady state a TCP flow's slot tells its member\n");
        return text;
    }
    let mut table = Table::new(["POOL", "MEMBER", "ADDRESS", "REMEMBERED", "CONFIRMED", "PINNED"]);
    for row in &flows.remembered {
        table.row([
            row.pool.clone(),
            row.member.clone(),
            row.address.to_string(),
            row.flows.to_string(),
            row.confirmed.to_string(),
            row.pinned.to_string(),
        ]);
    }
    table.write(&mut text);
    let mut table = Table::new(["PROTO", "CLIENT", "FRONTEND", "MEMBER", "PORT", "KEPT FOR"]);
    for row in &flows.masqueraded {
        table.row([
            row.protocol.clone(),
            row.client.to_string(),
            row.frontend.to_string(),
            row.member.to_string(),
            row.port.to_string(),
            format!("{} s", row.remaining),
        ]);
    }
    table.write(&mut text);
    if !flows.tracked.is_empty() {
        let mut table = Table::new(["CLIENT", "FRONTEND", "MEMBER", "STATE", "KEPT FOR"]);
        for row in &flows.tracked {
            table.row([
                row.client.to_string(),
                row.frontend.to_string(),
                row.member.map_or_else(|| "masqueraded".into(), |member| member.to_string()),
                row.state.clone(),
                format!("{} s", row.remaining),
            ]);
        }
        text.push_str("\nkept in mind, to be reset when they are over:\n");
        table.write(&mut text);
    }
    text
}

fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") }
}

/// Columns as wide as what is in them. An empty table is not written.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(head: [&str; N]) -> Self {
        Self::of(head)
    }

    pub(crate) fn of<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { rows: vec![head.into_iter().map(String::from).collect()] }
    }

    fn row<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.into());
    }

    /// One row in which cells have several lines: they stand under each other. There are as many cells as heads.
    pub(crate) fn tall_row(&mut self, cells: Vec<Vec<String>>) {
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            self.rows.push(cells.iter().map(|cell| cell.get(line).cloned().unwrap_or_default()).collect());
        }
    }

    pub(crate) fn write(&self, text: &mut String) {
        if self.rows.len() < 2 {
            return;
        }
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let _ = write!(line, "{cell:<width$}  ", width = width(column));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["wide cell".into(), "x".into()]);
        let mut text = String::new();
        table.write(&mut text);
        assert_eq!(text, "A          LONG\nwide cell  x\n\n");
    }

    #[test]
    fn bytes_are_said_in_their_size() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
