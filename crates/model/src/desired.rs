//! What is wanted of the data plane: everything resolved, nothing left to check.

use std::fmt;
use std::net::IpAddr;

use crate::{Distribution, IdleTimeout, Port, ReturnPath};

/// What all documents together ask for. It comes from `check` only, so holding one is the proof that it is
/// valid; the default asks for nothing. Sorted, so that the same documents always give the same value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub(crate) frontends: Vec<Frontend>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) rules: Vec<Rule>,
}

impl Desired {
    /// Every frontend, by address; also those no rule uses.
    #[must_use]
    pub fn frontends(&self) -> &[Frontend] {
        &self.frontends
    }

    /// Every pool, by name.
    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Every rule, by frontend address, protocol and port.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules of one frontend.
    #[must_use]
    pub fn rules_at(&self, frontend: IpAddr) -> &[Rule] {
        let from = self.rules.partition_point(|rule| rule.frontend < frontend);
        let to = self.rules.partition_point(|rule| rule.frontend <= frontend);
        &self.rules[from..to]
    }

    /// Where the pool of this name (`load balancer/pool`) is.
    #[must_use]
    pub fn pool_named(&self, name: &str) -> Option<PoolIndex> {
        self.pools.binary_search_by(|pool| pool.name.as_str().cmp(name)).ok().map(PoolIndex)
    }

    /// The pool a rule leads to.
    ///
    /// # Panics
    /// When the index is of another `Desired` with more pools.
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[index.0]
    }
}

/// An address clients call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

impl Frontend {
    /// `load balancer/frontend`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }
}

/// Members that serve alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
    pub(crate) return_path: ReturnPath,
}

impl Pool {
    /// `load balancer/pool`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its members by address, IPv4 before IPv6. A rule uses those of its frontend's family.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How answers get back where the balancer rewrites packets.
    #[must_use]
    pub const fn return_path(&self) -> ReturnPath {
        self.return_path
    }
}

/// One machine of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

impl Member {
    /// Its name within the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }
}

/// What arrives at a frontend and port goes to a pool and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(crate) name: String,
    pub(crate) frontend: IpAddr,
    pub(crate) pool: PoolIndex,
    pub(crate) protocol: Protocol,
    pub(crate) frontend_port: Port,
    pub(crate) backend_port: Port,
    pub(crate) distribution: Distribution,
    pub(crate) floating: bool,
    pub(crate) idle: IdleTimeout,
}

impl Rule {
    /// `load balancer/rule`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address clients call.
    #[must_use]
    pub const fn frontend(&self) -> IpAddr {
        self.frontend
    }

    /// The pool it leads to.
    #[must_use]
    pub const fn pool(&self) -> PoolIndex {
        self.pool
    }

    /// TCP or UDP.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The port clients call.
    #[must_use]
    pub const fn frontend_port(&self) -> Port {
        self.frontend_port
    }

    /// The port of the members.
    #[must_use]
    pub const fn backend_port(&self) -> Port {
        self.backend_port
    }

    /// Which packets of a client reach one member.
    #[must_use]
    pub const fn distribution(&self) -> Distribution {
        self.distribution
    }

    /// Whether members see the frontend's address as destination (FIP-2) and not their own (FIP-1).
    #[must_use]
    pub const fn floating(&self) -> bool {
        self.floating
    }

    /// How long a quiet flow is remembered.
    #[must_use]
    pub const fn idle(&self) -> IdleTimeout {
        self.idle
    }
}

/// Which pool of a `Desired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(pub(crate) usize);

impl PoolIndex {
    /// Its position among the pools.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// What a rule carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
