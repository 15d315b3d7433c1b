//! How often a client may ask: so many requests a second on average, and as many at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are remembered before those are forgotten who asked nothing lately.
const REMEMBERED: usize = 4_096;

/// Who is counted as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// Somebody who is known, wherever they are.
    Known(String),
    /// Whoever is at an address.
    At(IpAddr),
}

impl Client {
    /// Whoever is at an address. One who has an IPv6 address has all those of its network of 64 bits.
    pub(super) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::At(address.into()),
            IpAddr::V6(address) => Self::At(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
        }
    }
}

/// When each client has used up what it asked for.
#[derive(Debug)]
pub(super) struct Rates {
    each: Duration,
    spent: Mutex<BTreeMap<Client, Instant>>,
}

impl Rates {
    const AT_ONCE: Duration = Duration::from_secs(1);

    pub(super) fn new(per_second: u32) -> Self {
        Self { each: Self::AT_ONCE / per_second.max(1), spent: Mutex::default() }
    }

    /// Counts one request, or says when to come again.
    pub(super) fn take(&self, client: Client, now: Instant) -> Result<(), Duration> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= REMEMBERED && !spent.contains_key(&client) {
            spent.retain(|_, until| *until > now);
        }
        let until = spent.get(&client).copied().unwrap_or(now).max(now) + self.each;
        match until.duration_since(now).checked_sub(Self::AT_ONCE) {
            Some(after) if !after.is_zero() => Err(after),
            Some(_) | None => {
                spent.insert(client, until);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_asks_so_often_on_average_and_no_other_pays_for_it() {
        let (rates, now) = (Rates::new(4), Instant::now());
        let one = || Client::at("192.0.2.1".parse().unwrap());
        let asked = |after: u64| rates.take(one(), now + Duration::from_millis(after)).is_ok();
        assert_eq!([0; 6].map(asked), [true, true, true, true, false, false]);
        assert_eq!([250, 250, 500, 500].map(asked), [true, false, true, false]);
        assert!(rates.take(Client::Known("ops".into()), now).is_ok());
        assert_eq!([5_000; 5].map(asked), [true, true, true, true, false]);
    }

    #[test]
    fn who_comes_too_often_hears_when_to_come_again() {
        let (rates, now) = (Rates::new(1), Instant::now());
        let ask = |after: f64| rates.take(Client::Known("ops".into()), now + Duration::from_secs_f64(after));
        assert_eq!(ask(0.0), Ok(()));
        assert_eq!(ask(0.25), Err(Duration::from_millis(750)));
        assert_eq!(ask(1.0), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }

    #[test]
    fn clients_are_forgotten() {
        let (rates, now) = (Rates::new(1_000), Instant::now());
        for number in 0..3 * REMEMBERED as u32 {
            let at = now + Duration::from_millis(u64::from(number));
            assert!(rates.take(Client::at(IpAddr::from(number.to_be_bytes())), at).is_ok());
        }
        assert!(rates.spent.lock().unwrap().len() <= REMEMBERED);
    }
}
