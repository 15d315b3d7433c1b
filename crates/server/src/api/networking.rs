//! The Network Controller dialect: `/networking/{version}/…`, a view of the canonical documents in other words.

pub mod translate;
pub mod version;
