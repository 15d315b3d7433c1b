//! From attempts to figures.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::Loss;
use crate::balancer::{Check, Product};
use crate::calls::Attempt;
use crate::hosts::victim;

/// Whose figures they are.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub members: usize,
    pub product: Product,
    pub check: Check,
}

/// What one loss did.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// From the loss to the start of the last connection that went to the lost member; nothing where nobody called.
    misrouted: Option<Duration>,
    /// From the loss to the result that decided, as the balancer says.
    decided: Option<Duration>,
    /// Of 10,000 connections between the loss and the last misrouted one, without those that were aimed.
    failed: usize,
    called: usize,
}

pub const HEAD: &str = "least / middle / longest of the rounds, in milliseconds\n\n\
    | members | lost | balancer | check | last misrouted new connection | deciding result | last misrouted after it | \
    ordinary connections that failed |\n\
    |---|---|---|---|---|---|---|---|";

impl Case {
    pub fn name(&self) -> String {
        format!("{:?} {} {}", self.product, self.members, self.check).to_lowercase()
    }
}

impl Round {
    pub fn of(attempts: &[Attempt], number: usize, lost: Instant, decided: Option<Duration>) -> Self {
        let lost_one: Ipv4Addr = victim(number);
        let before: Vec<&Attempt> =
            attempts.iter().filter(|it| it.aimed && it.at + Duration::from_millis(100) < lost).collect();
        let hits = before.iter().filter(|it| it.answered == Some(lost_one)).count();
        assert!(
            attempts.is_empty() || hits * 10 >= before.len() * 9,
            "only {hits} of {} aimed calls hit",
            before.len()
        );
        let after = || attempts.iter().filter(|it| it.at >= lost);
        let went_wrong = |it: &&Attempt| it.answered.is_none();
        let last = after().filter(|it| it.aimed).rfind(went_wrong);
        Self {
            misrouted: last.map(|it| it.at - lost),
            decided,
            failed: after().filter(|it| !it.aimed).filter(went_wrong).count(),
            called: after().filter(|it| !it.aimed).count(),
        }
    }
}

/// A line of the table.
pub fn row(case: &Case, loss: Loss, rounds: &[Round]) -> String {
    let lost = match loss {
        Loss::Killed => "process",
        Loss::Dead => "host",
    };
    // So that nothing is shown as -0.
    let rounded = |figure: f64| figure.round() + 0.0;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    let spread = |figures: Vec<f64>| {
        let mut figures = figures;
        figures.sort_by(f64::total_cmp);
        match (figures.first(), figures.get(figures.len() / 2), figures.last()) {
            (Some(least), Some(middle), Some(longest)) => {
                let [least, middle, longest] = [least, middle, longest].map(|figure| rounded(*figure));
                format!("{least} / {middle} / {longest}")
            }
            _ => "—".to_owned(),
        }
    };
    let misrouted = spread(rounds.iter().filter_map(|it| it.misrouted).map(milliseconds).collect());
    let decided = spread(rounds.iter().filter_map(|it| it.decided).map(milliseconds).collect());
    let after = rounds.iter().filter_map(|it| Some(milliseconds(it.misrouted?) - milliseconds(it.decided?)));
    let (failed, called) =
        rounds.iter().fold((0, 0), |(failed, called), it| (failed + it.failed, called + it.called));
    let share = if called > 0 { format!("{failed} of {called}") } else { "—".to_owned() };
    format!(
        "| {} | {lost} | {:?} | {} | {misrouted} | {decided} | {} | {share} |",
        case.members,
        case.product,
        case.check,
        spread(after.collect())
    )
}
