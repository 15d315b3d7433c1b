//! When each task is due.

use std::collections::BTreeSet;

use model::Ask;

use super::*;

const INTERVAL: Duration = Duration::from_secs(5);
const MILLI: Duration = Duration::from_millis(1);

// PROBE-2
#[test]
fn a_thousand_members_are_spread_over_the_interval() {
    let mut lab = Lab::new(&tasks(1_000, INTERVAL));
    lab.run(INTERVAL * 2);
    for tenth in 0..10 {
        let from = INTERVAL + INTERVAL / 10 * tenth;
        let number = lab.begun.iter().filter(|(at, _)| (from..from + INTERVAL / 10).contains(at)).count();
        assert!((70..=130).contains(&number), "{number} of 1000 begin in tenth {tenth}");
    }
}

// PROBE-2
#[test]
fn attempts_of_a_task_are_an_interval_apart() {
    for interval in [100, 700, 1_000, 5_000, 61_000].map(Duration::from_millis) {
        let mut lab = Lab::new(&tasks(20, interval));
        lab.run(interval * 6);
        for last in 0..20 {
            let times = lab.times(last);
            let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps[0] <= interval + MILLI, "the second comes no later: {gaps:?}");
            assert!(gaps[1..].iter().all(|gap| gap.abs_diff(interval) <= MILLI), "{gaps:?}");
        }
    }
}

// PROBE-2
#[test]
fn a_new_task_is_asked_soon() {
    for (interval, soon) in [(300, 300), (5_000, 1_000), (3_600_000, 1_000)] {
        let mut lab = Lab::new(&tasks(500, Duration::from_millis(interval)));
        lab.run(Duration::from_millis(soon) + MILLI);
        let asked = (0..500).filter(|last| !lab.times(*last).is_empty()).count();
        assert_eq!(asked, 500);
        let early = lab.begun.iter().filter(|(at, _)| *at < Duration::from_millis(soon / 2)).count();
        assert!((190..=310).contains(&early), "{early} of 500 in the first half of {soon} ms");
    }
}

// PROBE-2
#[test]
fn a_task_that_is_wanted_as_before_keeps_its_rhythm() {
    let mut tasks = tasks(50, INTERVAL);
    let mut lab = Lab::new(&tasks);
    lab.run(INTERVAL * 3);
    tasks.reverse();
    tasks.truncate(30);
    lab.schedule.want(&tasks, lab.at());
    lab.run(INTERVAL * 3);
    for last in 0..50 {
        let times = lab.times(last);
        let regular = times.windows(2).skip(1).all(|pair| (pair[1] - pair[0]).abs_diff(INTERVAL) <= MILLI);
        assert!(regular, "{last}: {times:?}");
    }
    assert_eq!(lab.schedule.len(), 30);
}

#[test]
fn a_task_that_changed_starts_anew() {
    let mut tasks = tasks(1, INTERVAL * 100);
    let mut lab = Lab::new(&tasks);
    lab.run(INTERVAL);
    assert!(lab.schedule.knows(1));
    tasks[0].port = 81;
    lab.schedule.want(&tasks, lab.at());
    assert!(!lab.schedule.knows(1));
    lab.run(SOON);
    assert!(lab.schedule.knows(2));
    assert_eq!(lab.times(0).len(), 2);
}

// PROBE-5
#[test]
fn a_member_is_asked_once_by_a_probe_that_is_wanted_twice() {
    let mut twice = tasks(1, INTERVAL);
    twice.extend(tasks(1, INTERVAL));
    let lab = Lab::new(&twice);
    assert_eq!((lab.schedule.len(), lab.schedule.queue.len()), (1, 1));
}

// PROBE-2
#[test]
fn a_pause_of_the_machine_is_followed_by_no_burst() {
    let mut lab = Lab::new(&tasks(1_000, INTERVAL));
    lab.run(INTERVAL * 2);
    for pause in [INTERVAL / 2, INTERVAL, INTERVAL * 1_000] {
        lab.now += pause;
        let before = lab.begun.len();
        lab.step(usize::MAX);
        let burst = lab.begun.len() - before;
        assert!(burst <= 260, "{burst} of 1000 begin at once after {pause:?}");
        lab.run(INTERVAL);
        let all = lab.begun.len() - before;
        assert!((950..=1_260).contains(&all), "{all} within an interval");
    }
    assert!(lab.left_out > 0, "what was left out is counted");
}

// PROBE-2
#[test]
fn whose_attempt_said_nothing_is_asked_again_within_a_second_and_keeps_to_its_grid() {
    let hour = INTERVAL * 720;
    let mut lab = Lab::new(&tasks(200, hour));
    lab.run(SOON + MILLI);
    let (asked, before) = (lab.begun.len(), lab.now);
    for number in 1..=200 {
        // Whoever asks for it twice gets it once.
        lab.schedule.ask_again(number, lab.at());
        lab.schedule.ask_again(number, lab.at());
    }
    lab.step(usize::MAX);
    assert!(lab.begun.len() - asked <= 10, "no burst");
    lab.run(SOON + MILLI);
    assert_eq!(lab.begun.len() - asked, 200);
    // Those on whose grid it is anyway are a few.
    lab.run(SOON * 60);
    assert!(lab.begun.len() - asked <= 215, "{}", lab.begun.len() - asked);
    // Who is due within the second is not asked before that.
    let mut lab = Lab::new(&tasks(20, SOON / 5));
    lab.run(before);
    (1..=20).for_each(|number| lab.schedule.ask_again(number, lab.at()));
    lab.run(SOON);
    assert!(lab.times(3).windows(2).skip(1).all(|pair| (pair[1] - pair[0]).abs_diff(SOON / 5) <= MILLI));
}

#[test]
fn who_waits_longest_comes_first_when_there_is_little_room() {
    let mut lab = Lab::new(&tasks(100, SOON));
    lab.now += SOON;
    let due: BTreeSet<_> = lab.schedule.plans.values().map(|plan| plan.due).collect();
    let longest: BTreeSet<_> = due.iter().take(10).copied().collect();
    let first = lab.schedule.plans.values().filter(|plan| longest.contains(&plan.due));
    let first: BTreeSet<IpAddr> = first.map(|plan| plan.task.member).collect();
    lab.step(10);
    assert_eq!(lab.begun.iter().map(|(_, member)| *member).collect::<BTreeSet<_>>(), first);
    assert!(lab.late > 0, "what is late is counted");
    lab.step(0);
    assert_eq!(lab.begun.len(), 10);
}

#[test]
fn phases_do_not_depend_on_who_else_is_wanted() {
    let tasks = tasks(100, INTERVAL);
    let phases = |tasks: &[Task]| tasks.iter().map(share).collect::<Vec<_>>();
    assert_eq!(phases(&tasks[50..]), phases(&tasks)[50..]);
    let other = Task { probe: "lb/other".into(), ..tasks[0].clone() };
    assert_ne!(share(&other), share(&tasks[0]));
}

/// A schedule with a clock of its own that ticks every millisecond.
struct Lab {
    schedule: Schedule,
    origin: Instant,
    now: Duration,
    /// When which member's turn was.
    begun: Vec<(Duration, IpAddr)>,
    late: u64,
    left_out: u64,
}

impl Lab {
    fn new(tasks: &[Task]) -> Self {
        let origin = Instant::now();
        let mut schedule = Schedule::new(origin);
        schedule.want(tasks, origin);
        Self { schedule, origin, now: Duration::ZERO, begun: Vec::new(), late: 0, left_out: 0 }
    }

    fn at(&self) -> Instant {
        self.origin + self.now
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step(usize::MAX);
            self.now += MILLI;
        }
    }

    fn step(&mut self, room: usize) {
        let due = self.schedule.take_due(self.at(), room);
        self.begun.extend(due.tasks.iter().map(|(_, task)| (self.now, task.member)));
        self.late += due.late;
        self.left_out += due.left_out;
    }

    fn times(&self, last: u16) -> Vec<Duration> {
        self.begun.iter().filter(|(_, one)| *one == member(last)).map(|(at, _)| *at).collect()
    }
}

/// So many members of one probe.
fn tasks(number: u16, interval: Duration) -> Vec<Task> {
    let task = |last: u16| Task {
        probe: "lb/web".into(),
        ask: Ask::Tcp,
        port: 80,
        member: member(last),
        source: None,
        interval,
        timeout: interval,
    };
    (0..number).map(task).collect()
}

fn member(last: u16) -> IpAddr {
    let [high, low] = last.to_be_bytes();
    [10, 0, high, low].into()
}
