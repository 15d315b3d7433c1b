//! Watching what a data path drops.
//!
//! The programs look whether somebody watches only where they drop a frame. One who watches has a row, in which he says what he wants and
//! until when he is there, and a ring buffer of his own. A lock says whose row it is; the kernel gives it back when its process ends,
//! however that ends.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use aya::maps::{Map, MapData, RingBuf};
use nix::fcntl::Flock;
use nix::time::{ClockId, clock_gettime};
use plane::row::{MAX_WATCHES, REPORT_WORDS, Report, WATCH_WORDS, WatchRow};

use crate::error::KernelError;
use crate::load::{RINGS, SECURITY, WATCH_COUNTS, WATCHES, per_cpu, pinned};
use crate::maps::{Counters, Words};
use crate::pin::Place;

/// How long the data path tells somebody who says nothing any more, in seconds.
const LEASE: u32 = 3;

/// One who watches.
pub struct Watch {
    place: Place,
    wanted: WatchRow,
    /// Which pin his row is behind: the data path may be taken out of the kernel, and another one put there by the same name.
    pin: u64,
    /// Which row is his.
    row: usize,
    rows: Words,
    security: Words,
    reports: RingBuf<MapData>,
    counts: Counters,
    /// Reports that were left out before he came.
    before: u64,
    _lock: Flock<File>,
}

impl Watch {
    /// Begins to watch. [`Self::stay`] has to be called once a second from then on.
    ///
    /// # Errors
    /// There is no such data path, or one of an earlier version; or too many watch already.
    pub fn begin(place: &Place, wanted: WatchRow) -> Result<Self, KernelError> {
        if !place.pin("CONFIG").exists() {
            return Err(place.missing());
        }
        if !place.pin(WATCHES).exists() {
            return Err(KernelError::Unwatchable { name: place.name().into() });
        }
        let (row, lock) =
            place.lock_one("watch", MAX_WATCHES)?.ok_or(KernelError::Watched { most: MAX_WATCHES })?;
        let ring = RINGS.get(row).copied().ok_or(KernelError::Part { name: WATCHES })?;
        let failed = |cause| KernelError::Map { map: ring, cause: Box::new(cause) };
        let mut watch = Self {
            place: place.clone(),
            wanted,
            pin: pin_of(place).unwrap_or_default(),
            row,
            rows: Words::map(WATCHES, &pinned(place, WATCHES)?, WATCH_WORDS * MAX_WATCHES)?,
            security: Words::map(SECURITY, &pinned(place, SECURITY)?, 1)?,
            reports: Map::RingBuf(pinned(place, ring)?).try_into().map_err(failed)?,
            counts: Counters::Two(WATCH_COUNTS, per_cpu(WATCH_COUNTS, pinned(place, WATCH_COUNTS)?)?),
            before: 0,
            _lock: lock,
        };
        // What somebody left who was killed.
        watch.leave();
        while watch.reports.next().is_some() {}
        watch.before = watch.left_out()?;
        for (word, value) in watch.wanted.0.iter().enumerate().skip(1) {
            watch.rows.set(watch.row * WATCH_WORDS + word, *value);
        }
        watch.stay()?;
        Ok(watch)
    }

    /// Says that he is still there.
    ///
    /// # Errors
    /// The data path was taken out of the kernel.
    pub fn stay(&self) -> Result<(), KernelError> {
        if pin_of(&self.place) != Some(self.pin) {
            return Err(KernelError::Gone { name: self.place.name().into() });
        }
        self.rows.set(self.row * WATCH_WORDS, self.wanted.until(now_in_seconds().wrapping_add(LEASE)));
        Ok(())
    }

    /// The next report, if there is one already. What a ring still held of somebody else's wishes is passed over.
    pub fn next_report(&mut self) -> Option<Report> {
        while let Some(bytes) = self.reports.next() {
            let (words, _) = bytes.as_chunks::<8>();
            let mut report = Report([0; REPORT_WORDS]);
            for (word, bytes) in report.0.iter_mut().zip(words) {
                *word = u64::from_ne_bytes(*bytes);
            }
            if self.wanted.wants(&report) {
                return Some(report);
            }
        }
        None
    }

    /// Packets that he wanted to be told of, and was not, since he came.
    ///
    /// # Errors
    /// The counters could not be read.
    pub fn left_out(&self) -> Result<u64, KernelError> {
        let sums = self.counts.sums(self.row as u32)?;
        Ok(sums.get(1).copied().unwrap_or_default().wrapping_sub(self.before))
    }

    /// The identity of the security rule with this number; 0 where there is none.
    pub fn security_identity(&self, number: u32) -> u64 {
        self.security.get(number as usize)
    }

    fn leave(&self) {
        self.rows.set(self.row * WATCH_WORDS, 0);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("place", &self.place)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What tells a pin from a later one of the same name.
fn pin_of(place: &Place) -> Option<u64> {
    fs::metadata(place.pin(WATCHES)).ok().map(|pin| pin.ino())
}

/// The clock of reports: nanoseconds since the machine started.
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok();
    now.map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

fn now_in_seconds() -> u32 {
    (monotonic() / 1_000_000_000) as u32
}
