//! What the demo prints: steps, what was seen, what held, and a table that lives while traffic runs.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use super::stage::{MemberStats, Stats};

/// Where the demo prints.
///
/// A reader that has gone away (`forebay demo | head`) is no reason to stop, least of all before cleaning up.
#[derive(Debug)]
pub struct Screen<W> {
    out: W,
    terminal: bool,
    /// Lines of the living table that stand above the cursor.
    drawn: usize,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    title: String,
    held: usize,
    broken: usize,
}

/// The living table: rates need what was seen before.
#[derive(Debug, Default)]
pub struct Table {
    before: Option<(Duration, Vec<MemberStats>)>,
}

impl Screen<io::Stdout> {
    pub fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Self::new(io::stdout(), terminal)
    }
}

impl<W: Write> Screen<W> {
    pub fn new(out: W, terminal: bool) -> Self {
        Self { out, terminal, drawn: 0, steps: Vec::new() }
    }

    pub fn say(&mut self, text: &str) {
        self.drawn = 0;
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// Begins a step.
    pub fn step(&mut self, title: &str) {
        self.steps.push(Step { title: title.to_owned(), held: 0, broken: 0 });
        let heading = format!("{}. {title}", self.steps.len());
        let heading = self.paint("1", &heading);
        self.say(&format!("\n{heading}"));
    }

    /// Says what is done or was seen.
    pub fn note(&mut self, text: &str) {
        self.say(&format!("   {text}"));
    }

    /// Says whether something held.
    pub fn check(&mut self, held: bool, text: &str) {
        if let Some(step) = self.steps.last_mut() {
            if held { step.held += 1 } else { step.broken += 1 }
        }
        let mark = if held { self.paint("32", "PASS") } else { self.paint("31;1", "FAIL") };
        self.say(&format!("   {mark}  {text}"));
    }

    /// Did everything hold so far?
    pub fn all_held(&self) -> bool {
        self.steps.iter().all(|step| step.broken == 0)
    }

    /// Draws the table; over the last one if this is a terminal and nothing else was said since.
    pub fn draw(&mut self, lines: &[String]) {
        if self.terminal && self.drawn > 0 {
            let _ = write!(self.out, "\x1b[{}A", self.drawn);
        }
        for line in lines {
            let clear = if self.terminal { "\x1b[2K" } else { "" };
            let _ = writeln!(self.out, "{clear}   {line}");
        }
        let _ = self.out.flush();
        self.drawn = lines.len();
    }

    /// Is a table worth drawing in this round? Where it cannot be redrawn in place only a few are.
    pub fn is_due(&self, round: usize, rounds: usize) -> bool {
        self.terminal || round + 1 == rounds || round == rounds / 2
    }

    pub fn summary(&mut self, took: Duration) {
        let steps = std::mem::take(&mut self.steps);
        self.say("\nSummary");
        for (number, step) in steps.iter().enumerate() {
            let mark = if step.broken == 0 { self.paint("32", "PASS") } else { self.paint("31;1", "FAIL") };
            let broken = if step.broken == 0 {
                String::new()
            } else {
                format!(" ({} of {} did not hold)", step.broken, step.held + step.broken)
            };
            self.say(&format!("   {mark}  {}. {}{broken}", number + 1, step.title));
        }
        let held = steps.iter().filter(|step| step.broken == 0).count();
        self.say(&format!("   {held} of {} steps held, {:.0} s.", steps.len(), took.as_secs_f64()));
        self.steps = steps;
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.terminal { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Table {
    /// The table at a time: members with their flows, their share of them and the packets of each second.
    pub fn lines(&mut self, now: Duration, stats: &Stats) -> Vec<String> {
        let members = &stats.members;
        let flows: u64 = members.iter().map(|member| member.flows).sum();
        let mut lines = vec![format!(
            "{:<8}{:<14}{:<10}{:>8}{:>9}{:>12}",
            "member", "address", "state", "flows", "share", "packets/s"
        )];
        for member in members {
            let share = if flows == 0 { 0.0 } else { ratio(member.flows, flows) * 100.0 };
            let rate = self.rate(now, member).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
            let MemberStats { member, address, state, flows, .. } = member;
            lines.push(format!("{member:<8}{address:<14}{state:<10}{flows:>8}{share:>7.1} %{rate:>12}"));
        }
        self.before = Some((now, members.clone()));
        lines
    }

    fn rate(&self, now: Duration, member: &MemberStats) -> Option<f64> {
        let (then, members) = self.before.as_ref()?;
        let before = members.iter().find(|before| before.address == member.address)?;
        let seconds = now.checked_sub(*then)?.as_secs_f64();
        let packets = member.packets.saturating_sub(before.packets) as f64;
        (seconds > 0.0).then(|| packets / seconds)
    }
}

/// `part` of `whole`, which is not zero.
pub fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
