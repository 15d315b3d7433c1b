//! Taking over from a version whose rows were shorter (FLOW-7).
//!
//! Rows grow at their end, and what is new in them means "as before" while it is zero. So a start that finds shorter rows makes maps of
//! its own beside those, under the names `next-<MAP>`, and carries over what is in them; the programs that are attached go on with theirs.
//! Then the programs are exchanged, one interface after the other and each in one step, and at last the new maps take the names of the
//! old ones, which end with the last program that uses them.
//!
//! * **Tables** are the control plane's, and one start has the lock: what is copied stays true. If one of them has grown all are made
//!   anew, so that neither version ever sees some rows of the other one's.
//! * **Memories** are written by packets all the time. One whose entries have not grown is shared by both versions, and nothing is
//!   missed. One that has grown is copied before the exchange, and looked through once more after it for what was written meanwhile.
//! * **Counters** that have grown begin anew, and so does what those who watch have asked for.

use std::collections::BTreeSet;
use std::fs;

use crate::error::KernelError;
use crate::load::{TABLES, maps};
use crate::maps::Words;
use crate::pin::{self, Place, file};

const NEXT: &str = "next-";

/// The pin of a map: that of its successor, where it has one.
pub(crate) fn pin_of(map: &str, moving: &BTreeSet<&'static str>) -> String {
    if moving.contains(map) { format!("{NEXT}{map}") } else { map.to_owned() }
}

/// Maps that are made anew, of those that are pinned. `rows`: bytes of a row that is found, and of one that is wanted.
///
/// # Errors
/// Rows are longer than ours: they are a later version's, and what they say is not known.
pub(crate) fn moving(
    place: &Place,
    mut rows: impl FnMut(&'static str) -> Result<Option<(u32, u32)>, KernelError>,
) -> Result<BTreeSet<&'static str>, KernelError> {
    let tables = TABLES.iter().map(|(_, map)| *map);
    let mut grown = BTreeSet::new();
    for (map, _) in maps() {
        match rows(map)? {
            Some((found, wanted)) if found > wanted => {
                return Err(KernelError::OtherLayout { name: place.name().into(), map, found, wanted });
            }
            Some((found, wanted)) if found < wanted => {
                grown.insert(map);
            }
            Some(_) | None => {}
        }
    }
    if tables.clone().any(|map| grown.contains(map)) {
        grown.extend(tables);
    }
    Ok(grown)
}

/// Removes what a start left that was ended before it had exchanged the programs.
pub(crate) fn forget(place: &Place) -> Result<(), KernelError> {
    for pin in pin::list(&place.folder())?.iter().filter(|pin| pin.starts_with(NEXT)) {
        pin::remove(&place.pin(pin))?;
    }
    Ok(())
}

/// The new maps take the names of the old ones.
pub(crate) fn rename(place: &Place, moving: &BTreeSet<&'static str>) -> Result<(), KernelError> {
    for map in moving {
        let (from, to) = (place.pin(&format!("{NEXT}{map}")), place.pin(map));
        fs::rename(&from, &to).map_err(|cause| file("rename", &from, cause))?;
    }
    Ok(())
}

/// Copies a table that nobody writes meanwhile.
pub(crate) fn copy(old: &Words, new: &Words) {
    for at in 0..old.len() {
        new.set(old.place_in(at, new), old.get(at));
    }
}

/// A memory that packets go on writing.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) map: &'static str,
    old: Words,
    /// What was carried over.
    seen: Vec<u64>,
}

impl Leaving {
    /// Carries over what is remembered now, into a memory that nobody uses yet.
    pub(crate) fn carry(map: &'static str, old: Words, new: &Words) -> Self {
        let seen: Vec<u64> = (0..old.len()).map(|at| old.get(at)).collect();
        for (at, word) in seen.iter().enumerate() {
            new.set(old.place_in(at, new), *word);
        }
        Self { map, old, seen }
    }

    /// Carries over what was written since, where the new memory does not know better.
    pub(crate) fn catch_up(&mut self, new: &Words) {
        // Entries of flows are a word each, those of pieces two, those of masqueraded flows eight.
        let words = match self.map {
            "FLOWS" => 1,
            "PIECES" => 2,
            _ => 8,
        };
        for (entry, seen) in self.seen.chunks_mut(words).enumerate() {
            let first = entry * words;
            if (0..seen.len()).all(|word| self.old.get(first + word) == seen[word]) {
                continue;
            }
            let there = new.get(self.old.place_in(first, new));
            let is_known = there != 0 && there != seen[0];
            // The first word publishes the others.
            for word in (0..seen.len()).rev() {
                seen[word] = self.old.get(first + word);
                if !is_known {
                    new.set(self.old.place_in(first + word, new), seen[word]);
                }
            }
        }
    }
}
