//! How many connections come from each address, so that one client leaves room for others.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections by where they come from. Those of this machine are not counted.
#[derive(Debug)]
pub(crate) struct Crowd {
    most: usize,
    present: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Crowd {
    /// Half of all there can be is for one address.
    pub(crate) fn new(room: usize) -> Self {
        Self { most: room.div_ceil(2), present: Mutex::default() }
    }

    /// Counts a connection until it is dropped. `None`: there are enough from there.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<One> {
        let address = address.to_canonical();
        if !address.is_loopback() {
            let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
            let number = present.entry(address).or_default();
            if *number >= self.most {
                return None;
            }
            *number += 1;
        }
        Some(One { crowd: Arc::clone(self), address })
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct One {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Drop for One {
    fn drop(&mut self) {
        let mut present = self.crowd.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = present.get_mut(&self.address) {
            *number -= 1;
            if *number == 0 {
                present.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others() {
        let crowd = Arc::new(Crowd::new(5));
        let enter = |address: &str| crowd.enter(address.parse().unwrap());
        let mut held: Vec<_> = (0..3).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert!(enter("192.0.2.1").is_none() && enter("::ffff:192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        held.pop();
        assert!(enter("192.0.2.1").is_some());
        held.clear();
        assert!(crowd.present.lock().unwrap().is_empty());
        let here: Vec<_> = (0..9).map(|_| enter("127.0.0.1")).collect();
        assert!(here.iter().all(Option::is_some));
    }
}
