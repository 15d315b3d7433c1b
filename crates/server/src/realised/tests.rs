//! Accepted and realised are two things, down to each member.
