//! The figures for people (Markdown) and for programs (JSON).

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::case::{Case, Flows, Gate};
use crate::measure::{Effort, Figures, Rounds};
use crate::scene::Family;

/// How much more IPv6 may cost.
const V6_OF_V4: f64 = 1.2;

/// A figure net of the harness: the smallest, and the one in the middle.
#[derive(Clone, Copy, Debug)]
struct Net {
    min: f64,
    median: f64,
}

/// A figure against what it has to reach.
#[derive(Debug)]
struct Judged {
    of: String,
    figure: f64,
    gate: f64,
    wish: Option<f64>,
    unit: &'static str,
}

impl Judged {
    fn met(&self) -> bool {
        self.figure <= self.gate
    }

    fn word(&self) -> &'static str {
        match self.wish {
            Some(wish) if self.figure <= wish => "ok, and the wish",
            _ if self.met() => "ok",
            _ => "not met",
        }
    }
}

/// The whole report.
#[derive(Debug)]
pub struct Report<'a> {
    pub cases: &'a [Case],
    pub figures: &'a Figures,
    pub effort: Effort,
    pub processor: usize,
}

impl Report<'_> {
    fn net(&self, at: usize, family: Family) -> Option<Net> {
        let of = |rounds: &Rounds| Net { min: rounds.min(), median: rounds.median() };
        let empty = of(self.figures.empty.get(&family)?);
        let case = of(self.figures.cases.get(&(at, family))?);
        Some(Net { min: case.min - empty.min, median: case.median - empty.median })
    }

    /// The same path with one flow.
    fn one_flow(&self, case: &Case, family: Family) -> Option<Net> {
        let at = self.cases.iter().position(|other| other.path == case.path && other.flows == Flows::One)?;
        self.net(at, family)
    }

    fn judged(&self) -> Vec<Judged> {
        let mut judged = Vec::new();
        for (at, case) in self.cases.iter().enumerate() {
            let of = |family: Family| format!("{}, {}, {}", case.path, flows(case.flows), family.name());
            for family in Family::BOTH {
                let Some(net) = self.net(at, family) else { continue };
                for gate in case.gates {
                    match *gate {
                        Gate::Net(gate, wish) => {
                            judged.push(Judged {
                                of: of(family),
                                figure: net.median,
                                gate,
                                wish,
                                unit: "ns",
                            });
                        }
                        Gate::OfOneFlow(gate) => {
                            let Some(one) = self.one_flow(case, family) else { continue };
                            let figure = net.median / one.median;
                            let of = format!("{}, of its cost with 1 flow", of(family));
                            judged.push(Judged { of, figure, gate, wish: None, unit: "×" });
                        }
                    }
                }
            }
            if let (Flows::One, Some(v4), Some(v6)) =
                (case.flows, self.net(at, Family::V4), self.net(at, Family::V6))
            {
                judged.push(Judged {
                    of: format!("{}, {}, IPv6 of IPv4", case.path, flows(case.flows)),
                    figure: v6.median / v4.median,
                    gate: V6_OF_V4,
                    wish: None,
                    unit: "×",
                });
            }
        }
        judged
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Effort { passes, rounds, packets } = self.effort;
        writeln!(out, "{}, Linux {}, processor {}.", machine(), system(), self.processor)?;
        writeln!(
            out,
            "{passes} × {rounds} rounds of {packets} packets. Nanoseconds a packet, net of the harness: min / median.\n"
        )?;
        for (family, empty) in &self.figures.empty {
            writeln!(
                out,
                "Harness alone, {}: {:.0} / {:.0} ns.",
                family.name(),
                empty.min(),
                empty.median()
            )?;
        }
        writeln!(out, "\n| path | flows | IPv4 | IPv6 | IPv6 : IPv4 | : 1 flow, IPv4 | : 1 flow, IPv6 |")?;
        writeln!(out, "|---|---|---|---|---|---|---|")?;
        for (at, case) in self.cases.iter().enumerate() {
            let cell =
                |net: Option<Net>| net.map_or("".into(), |net| format!("{:.0} / {:.0}", net.min, net.median));
            let nets = Family::BOTH.map(|family| self.net(at, family));
            let ones = Family::BOTH.map(|family| self.one_flow(case, family));
            let ratio = |above: Option<Net>, below: Option<Net>| match (above, below) {
                (Some(above), Some(below)) => format!("{:.2}", above.median / below.median),
                _ => String::new(),
            };
            let of_one = |family: usize| match case.flows {
                Flows::One => String::new(),
                Flows::Thousands | Flows::Million | Flows::New => {
                    ratio(nets.get(family).copied().flatten(), ones.get(family).copied().flatten())
                }
            };
            let [v4, v6] = nets;
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                case.path,
                case.flows.name(),
                cell(v4),
                cell(v6),
                ratio(v6, v4),
                of_one(0),
                of_one(1)
            )?;
        }
        writeln!(out, "\n| gate (median) | figure | gate (wish) | |")?;
        writeln!(out, "|---|---|---|---|")?;
        for judged in self.judged() {
            let places = if judged.unit == "ns" { 0 } else { 2 };
            let wish = judged.wish.map_or(String::new(), |wish| format!(" ({wish})"));
            writeln!(
                out,
                "| {} | {:.places$} {} | {}{wish} | {} |",
                judged.of,
                judged.figure,
                judged.unit,
                judged.gate,
                judged.word()
            )?;
        }
        for ((at, family), share) in &self.figures.strays {
            if let Some(case) = self.cases.get(*at) {
                let flows = flows(case.flows);
                writeln!(
                    out,
                    "\n{}, {flows}, {}: {:.2} % of the packets found no place in the memory or ended otherwise.",
                    case.path,
                    family.name(),
                    (1.0 - share) * 100.0
                )?;
            }
        }
        Ok(())
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let rounds = |rounds: &Rounds| json!({ "min": rounds.min(), "median": rounds.median() });
        let families = |of: &dyn Fn(Family) -> Value| {
            Value::Object(
                Family::BOTH.map(|family| (family.name().to_owned(), of(family))).into_iter().collect(),
            )
        };
        let cases = self.cases.iter().enumerate().map(|(at, case)| {
            json!({
                "path": case.path,
                "flows": case.flows.name(),
                "net": families(&|family| {
                    self.net(at, family).map_or(Value::Null, |net| json!({ "min": net.min, "median": net.median }))
                }),
                "strays": families(&|family| {
                    json!(self.figures.strays.get(&(at, family)).map_or(0.0, |share| 1.0 - share))
                }),
            })
        });
        let gates = self.judged().into_iter().map(|judged| {
            json!({
                "of": judged.of,
                "figure": judged.figure,
                "unit": judged.unit,
                "gate": judged.gate,
                "wish": judged.wish,
                "met": judged.met(),
            })
        });
        json!({
            "machine": machine(),
            "kernel": system(),
            "processor": self.processor,
            "passes": self.effort.passes,
            "rounds": self.effort.rounds,
            "packets": self.effort.packets,
            "unit": "nanoseconds a packet",
            "harness": families(&|family| self.figures.empty.get(&family).map_or(Value::Null, rounds)),
            "cases": cases.collect::<Vec<_>>(),
            "gates": gates.collect::<Vec<_>>(),
        })
    }
}

fn flows(flows: Flows) -> String {
    match flows {
        Flows::One => "1 flow".into(),
        Flows::New => "new flows".into(),
        Flows::Thousands | Flows::Million => format!("{} flows", flows.name()),
    }
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processors = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("{} × {}", processors, model.map_or("unknown processor", |(_, model)| model))
}

fn system() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}
