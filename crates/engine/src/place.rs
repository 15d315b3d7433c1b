//! Tables with two places for every key: the pipeline looks at both, so a key must be in one of them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Gives every key a place. Keys that have one (`before`) keep it if they can; the rest are put in, if need be by moving others to their
/// second place. `None` where there is no room.
pub fn arrange<K: Copy + Ord>(
    keys: &BTreeSet<K>,
    before: &BTreeMap<K, u32>,
    places: impl Fn(K) -> [u32; 2],
) -> Option<BTreeMap<K, u32>> {
    let mut place_of: BTreeMap<K, u32> =
        before.iter().filter(|(key, _)| keys.contains(key)).map(|(key, place)| (*key, *place)).collect();
    let mut key_at: BTreeMap<u32, K> = place_of.iter().map(|(key, place)| (*place, *key)).collect();
    for key in keys {
        if place_of.contains_key(key) {
            continue;
        }
        let path = way_to_room(*key, &key_at, &places)?;
        for (key, place) in path {
            place_of.insert(key, place);
            key_at.insert(place, key);
        }
    }
    Some(place_of)
}

/// The moves, in their order: the last of a chain moves into an empty place, and so on up to the new key itself.
fn way_to_room<K: Copy + Ord>(
    new: K,
    key_at: &BTreeMap<u32, K>,
    places: &impl Fn(K) -> [u32; 2],
) -> Option<Vec<(K, u32)>> {
    let mut seen: BTreeMap<u32, (K, Option<u32>)> = BTreeMap::new();
    let mut next = VecDeque::new();
    for place in places(new) {
        if seen.insert(place, (new, None)).is_none() {
            next.push_back(place);
        }
    }
    while let Some(place) = next.pop_front() {
        let Some(occupant) = key_at.get(&place) else {
            let mut moves = Vec::new();
            let mut at = Some(place);
            while let Some(place) = at {
                let (key, from) = seen.get(&place)?;
                moves.push((*key, place));
                at = *from;
            }
            return Some(moves);
        };
        for other in places(*occupant) {
            if let Entry::Vacant(unseen) = seen.entry(other) {
                unseen.insert((*occupant, Some(place)));
                next.push_back(other);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_finds_both_places_taken_moves_others() {
        let places = |key: u32| match key {
            1 => [0, 1],
            2 => [1, 2],
            3 => [0, 1],
            _ => [7, 8],
        };
        let before = BTreeMap::from([(1, 0), (2, 1)]);
        let after = arrange(&BTreeSet::from([1, 2, 3]), &before, places).unwrap();
        for (key, place) in &after {
            assert!(places(*key).contains(place), "{after:?}");
        }
        assert_eq!(after.values().collect::<BTreeSet<_>>().len(), 3, "{after:?}");
    }

    #[test]
    fn what_has_a_place_keeps_it() {
        let before = BTreeMap::from([(1, 1), (2, 2)]);
        let places = |key: u32| [key, key + 10];
        assert_eq!(arrange(&BTreeSet::from([1, 2]), &before, places), Some(before));
    }

    #[test]
    fn three_keys_do_not_fit_in_two_places() {
        let places = |_: u32| [0, 1];
        assert_eq!(arrange(&BTreeSet::from([1, 2, 3]), &BTreeMap::new(), places), None);
    }
}
