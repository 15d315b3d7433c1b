//! Services of type LoadBalancer become load balancers, with Azure's annotations and Azure's names.
//!
//! ```text
//! Services, nodes, config ─┐
//!                          ├─ translate ─▶ writes, events, status      (pure)
//! documents that exist ────┘        ▲
//!                                   ├─ plan: scenarios against documents in memory
//!                                   └─ controller: a cluster, and a server
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod annotation;
pub mod config;
pub mod controller;
pub mod documents;
pub mod event;
pub mod failure;
pub mod name;
pub mod node;
pub mod plan;
pub mod round;
pub mod service;
pub mod sync;
pub mod tag;
pub mod translate;
