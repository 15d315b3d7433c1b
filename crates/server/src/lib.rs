//! The control plane.
#[allow(missing_docs, dead_code, reason = "skeleton")]
pub mod api {
    pub mod networking;
}
