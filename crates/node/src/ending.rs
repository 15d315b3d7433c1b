//! Connections that are over: both ends hear of it (FLOW-3, FLOW-5).
//!
//! Twice a second the memory of flows is swept for connections whose idle time is over, and a member that has left its pool loses its
//! connections when its time is over. What is to be sent waits in a queue where a link takes no more at this moment; as long as it is
//! not empty no sweep adds to it.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;

use engine::reset::{Endings, Outgoing};
use engine::{Clock, Tables, identity};
use kernel::packet::Sender;
use kernel::{Kernel, KernelError, Sweep};
use model::Desired;
use plane::{Reset, Tick};
use tracing::{debug, warn};

/// How often the memory is swept: both ends hear within a second of the end of the idle time.
pub(crate) const PERIOD: Duration = Duration::from_millis(500);
/// Connections that end in one sweep at most, so that whatever else there is to do is not kept waiting.
const MOST: usize = 8_192;
/// When the next sweep comes after one that found as many.
pub(crate) const SOON: Duration = Duration::from_millis(20);

pub(crate) struct Ender {
    sender: Option<Sender>,
    queue: VecDeque<(Reset, Outgoing)>,
    /// The next sweep looks at all connections: how long nobody swept before this process is not known.
    thorough: bool,
}

impl Ender {
    pub(crate) fn start() -> Self {
        let sender = Sender::new().inspect_err(|cause| warn!("connections cannot be reset: {cause}")).ok();
        Self { sender, queue: VecDeque::new(), thorough: true }
    }

    /// Resets the connections that were silent for the idle time. Gives whether there may be more.
    pub(crate) fn sweep(
        &mut self,
        kernel: &Kernel,
        tables: &Tables,
        clock: Clock,
    ) -> Result<bool, KernelError> {
        if !self.flush(kernel) {
            return Ok(true);
        }
        let endings = Endings::new(tables, clock);
        if !endings.are_possible() {
            return Ok(false);
        }
        // In this order: what is told by the moment is then never ahead of the data path.
        let (moment, now) = (kernel.moment()?, kernel.now()?);
        let sweep = Sweep { now, thorough: self.thorough, most: MOST };
        let ended = kernel.end(sweep, |word, known| endings.fate(word, known, now, moment))?;
        let more = ended.len() >= MOST;
        self.thorough &= more;
        for one in ended {
            let holder = if endings.may_be_masqueraded(&one.known.flow) {
                kernel.holder(&one.known.flow)?
            } else {
                None
            };
            let plain = || (one.member != 0).then_some(engine::reset::Holder { member: one.member, port: 0 });
            let resets = endings.resets(&one.known, holder.or_else(plain));
            self.queue.extend(resets.into_iter().map(|reset| (Reset::Idle, reset)));
        }
        Ok(!self.flush(kernel) || more)
    }

    /// Resets what members have that are gone when `after` is in force: their time is over.
    pub(crate) fn drain(
        &mut self,
        kernel: &Kernel,
        (before, after): (&Tables, &Tables),
        clock: Clock,
    ) -> Result<(), KernelError> {
        let is_gone = |number: &u32| after.members.get(number).is_none_or(|row| !row.is_live());
        let gone: BTreeSet<u32> = before
            .members
            .iter()
            .filter(|(number, row)| row.is_leaving() && is_gone(number))
            .map(|(number, _)| *number)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let endings = Endings::new(before, clock);
        for (known, holder) in kernel.end_of(&gone)? {
            let resets = endings.resets(&known, Some(holder));
            self.queue.extend(resets.into_iter().map(|reset| (Reset::Drained, reset)));
        }
        Ok(())
    }

    /// Sends what waits, as far as the links take it. Whether all is sent.
    pub(crate) fn flush(&mut self, kernel: &Kernel) -> bool {
        let Some(sender) = &self.sender else {
            self.queue.clear();
            return true;
        };
        while let Some((cause, (link, frame))) = self.queue.front() {
            match sender.send(*link, frame) {
                Ok(()) => kernel.count_reset(*cause),
                Err(busy) if is_busy(&busy) => return false,
                Err(cause) => debug!("a connection was not reset: link {link}: {cause}"),
            }
            self.queue.pop_front();
        }
        true
    }
}

/// Whether a link takes no more at this moment.
fn is_busy(cause: &io::Error) -> bool {
    cause.kind() == ErrorKind::WouldBlock || cause.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32)
}

/// Whether a member that has left its pool has to go now.
pub(crate) fn is_due(tables: &Tables, now: Tick) -> bool {
    tables.members.values().filter_map(|row| row.leaves_at()).any(|until| Tick(until).has_come(now))
}

/// Who has to be within reach: the members, and those that may keep connections for a while though they have left.
pub(crate) fn reached(desired: &Desired, tables: &Tables) -> BTreeSet<IpAddr> {
    let drains: BTreeSet<u64> = desired
        .pools()
        .iter()
        .filter(|pool| !pool.drain().is_zero())
        .map(|pool| identity(pool.name()))
        .collect();
    let there = tables.members.values().filter(|row| drains.contains(&row.pool()));
    let members = desired.pools().iter().flat_map(|pool| pool.members());
    members.map(|member| member.address()).chain(there.map(|row| row.address().into())).collect()
}
