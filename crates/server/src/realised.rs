//! What the data path has made of what was accepted (API-4).

use std::time::SystemTime;

/// What the data path says of itself.
#[derive(Clone, Debug)]
pub struct Realised {
    /// The newest revision that was taken up.
    pub revision: u64,
    /// Since when.
    pub since: SystemTime,
}

impl Default for Realised {
    fn default() -> Self {
        Self { revision: 0, since: SystemTime::UNIX_EPOCH }
    }
}
