//! The figures as Markdown.

use std::fmt::Write as _;

use crate::Measured;
use crate::subject::Subject;

/// All rounds of one with so many flows.
#[derive(Debug)]
pub struct Figure {
    pub subject: Subject,
    pub flows: &'static str,
    rounds: Vec<Measured>,
}

impl Figure {
    pub fn new(subject: Subject, flows: &'static str) -> Self {
        Self { subject, flows, rounds: Vec::new() }
    }

    pub fn add(&mut self, measured: Measured) {
        self.rounds.push(measured);
    }

    fn spread(&self, of: fn(&Measured) -> f64) -> [f64; 3] {
        let mut figures: Vec<f64> = self.rounds.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
        [at(0), at(figures.len() / 2), at(figures.len().saturating_sub(1))]
    }
}

/// Packets in millions a second.
pub fn report(figures: &[Figure]) -> String {
    let mut out = String::new();
    let _ = write(&mut out, figures);
    out
}

fn write(out: &mut String, figures: &[Figure]) -> std::fmt::Result {
    writeln!(
        out,
        "| | flows | million packets a second: least / middle / most | of the reflector's | of its processor | ns of it for each | \
         of a processor with 100,000 packets a second |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for figure in figures {
        let reflector = figures
            .iter()
            .find(|other| other.subject == Subject::Reflector && other.flows == figure.flows)
            .map_or(f64::NAN, |other| other.spread(|it| it.rate)[1]);
        let [least, middle, most] = figure.spread(|it| it.rate / 1e6);
        writeln!(
            out,
            "| {} | {} | {least:.2} / {middle:.2} / {most:.2} | {:.2} × | {:.0} % | {:.0} | {:.1} % |",
            figure.subject.name(),
            figure.flows,
            middle * 1e6 / reflector,
            figure.spread(|it| it.busy)[1] * 100.0,
            figure.spread(|it| it.busy / it.rate * 1e9)[1],
            figure.spread(|it| it.easy)[1] * 100.0,
        )?;
    }
    Ok(())
}
