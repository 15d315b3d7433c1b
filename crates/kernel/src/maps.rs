//! Maps: tables as words in memory, counters as sums over processors.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{MapData, PerCpuArray};
use engine::Counts;

use crate::error::KernelError;

/// The words of a map that is mapped into memory. The data path reads and writes them at the same time.
#[derive(Debug)]
pub(crate) struct Words {
    start: *mut libc::c_void,
    words: usize,
    /// Words of a row that are read and written, and of a row of the map.
    width: usize,
    stride: usize,
}

// SAFETY: the memory is shared with other processors anyway, and only touched through atomic operations.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps all rows of `map`, which must be an array that allows it. Of rows that are longer than `width` the rest is left alone.
    pub(crate) fn map(name: &'static str, map: &MapData, width: usize) -> Result<Self, KernelError> {
        let info = map.info().map_err(|cause| KernelError::Map { map: name, cause: Box::new(cause) })?;
        let stride = (info.value_size() as usize / 8).max(1);
        let words = info.max_entries() as usize * stride;
        let width = width.min(stride);
        let fd = map.fd().as_fd().as_raw_fd();
        // SAFETY: no address is asked for; the descriptor is open; the kernel refuses lengths past the map's end.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                words * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(KernelError::Mmap { map: name, cause: io::Error::last_os_error() });
        }
        Ok(Self { start, words, width, stride })
    }

    pub(crate) fn len(&self) -> usize {
        if self.width == self.stride { self.words } else { self.words / self.stride * self.width }
    }

    /// Where the word of a map with these rows stands in a map with longer ones.
    pub(crate) fn place_in(&self, at: usize, other: &Self) -> usize {
        at / self.width * other.width + at % self.width
    }

    /// A word; zero past the end.
    pub(crate) fn get(&self, at: usize) -> u64 {
        self.word(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Writes a word; nothing past the end. Words are seen in the order in which they are written.
    pub(crate) fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.word(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// Writes a word if it is still `old`: whoever was faster knows better. Whether it was.
    pub(crate) fn claim(&self, at: usize, old: u64, value: u64) -> bool {
        self.word(at).is_some_and(|word| {
            word.compare_exchange(old, value, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins at a page, has so many words, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.cast::<AtomicU64>(), self.words) }
    }

    fn word(&self, at: usize) -> Option<&AtomicU64> {
        let at = if self.width == self.stride { at } else { at / self.width * self.stride + at % self.width };
        if at >= self.words {
            return None;
        }
        // SAFETY: `at` lies within the mapping, which begins at a page and lives as long as `self`.
        Some(unsafe { &*self.start.cast::<AtomicU64>().add(at) })
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and nobody borrows from it any more.
        unsafe { libc::munmap(self.start, self.words * 8) };
    }
}

/// Counters that every processor has a copy of.
pub(crate) enum Counters {
    One(&'static str, PerCpuArray<MapData, u64>),
    Two(&'static str, PerCpuArray<MapData, [u64; 2]>),
    Four(&'static str, PerCpuArray<MapData, [u64; 4]>),
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(name, _) | Self::Two(name, _) | Self::Four(name, _) => f.write_str(name),
        }
    }
}

impl Counters {
    /// The sums over all processors.
    pub(crate) fn sums(&self, at: u32) -> Result<Vec<u64>, KernelError> {
        match self {
            Self::One(name, map) => {
                sum(name, map.get(&at, 0).map(|values| values.iter().map(|value| vec![*value]).collect()))
            }
            Self::Two(name, map) => {
                sum(name, map.get(&at, 0).map(|values| values.iter().map(|value| value.to_vec()).collect()))
            }
            Self::Four(name, map) => {
                sum(name, map.get(&at, 0).map(|values| values.iter().map(|value| value.to_vec()).collect()))
            }
        }
    }

    pub(crate) fn counts(
        &self,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<BTreeMap<u32, Counts>, KernelError> {
        let mut counts = BTreeMap::new();
        for number in numbers {
            if let [packets, bytes, flows, ..] = self.sums(number)?[..]
                && packets > 0
            {
                counts.insert(number, Counts { packets, bytes, flows });
            }
        }
        Ok(counts)
    }
}

fn sum(
    name: &'static str,
    values: Result<Vec<Vec<u64>>, aya::maps::MapError>,
) -> Result<Vec<u64>, KernelError> {
    let values = values.map_err(|cause| KernelError::Map { map: name, cause: Box::new(cause) })?;
    let width = values.first().map_or(0, Vec::len);
    Ok((0..width).map(|word| values.iter().filter_map(|value| value.get(word)).sum()).collect())
}
