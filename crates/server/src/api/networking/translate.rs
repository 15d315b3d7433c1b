//! The Network Controller's JSON and the canonical documents, one made of the other. What each member is called, since
//! which version it is known and what it holds stands in the dictionary, one line for both directions.

pub mod check;
pub mod dictionary;
pub mod finding;
pub mod read;
pub mod reference;
#[cfg(test)]
pub mod sample;
#[cfg(test)]
mod tests;
pub mod value;
pub mod write;
