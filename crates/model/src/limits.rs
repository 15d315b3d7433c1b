//! How much one load balancer may hold (LIM-1): Azure's table of June 2026.

/// One limit: what is counted, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is counted, in words.
    pub name: &'static str,
    /// How many there may be.
    pub value: usize,
}

/// The limits of one SKU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frontends of one load balancer.
    pub frontends: Limit,
    /// Load balancing rules, inbound NAT rules and inbound NAT pools of one load balancer.
    pub rules: Limit,
    /// Outbound rules of one load balancer.
    pub outbound_rules: Limit,
    /// Members of one pool.
    pub members: Limit,
}

impl Limits {
    /// Of Standard load balancers.
    pub const STANDARD: Self = Self {
        frontends: Limit { name: "frontends of a Standard load balancer", value: 600 },
        rules: Limit { name: "rules of a Standard load balancer", value: 1_500 },
        outbound_rules: Limit { name: "outbound rules of a Standard load balancer", value: 600 },
        members: Limit { name: "members of a pool of a Standard load balancer", value: 5_000 },
    };

    /// Of Basic load balancers.
    pub const BASIC: Self = Self {
        frontends: Limit { name: "frontends of a Basic load balancer", value: 200 },
        rules: Limit { name: "rules of a Basic load balancer", value: 250 },
        outbound_rules: Limit { name: "outbound rules of a Basic load balancer", value: 0 },
        members: Limit { name: "members of a pool of a Basic load balancer", value: 300 },
    };
}

/// Load balancers checked together.
pub const LOAD_BALANCERS: Limit = Limit { name: "load balancers", value: 1_000 };

/// Rules that lead to one member, over all frontends, pools and load balancers.
pub const RULES_OF_MEMBER: Limit = Limit { name: "rules that lead to one member", value: 300 };

/// Tunnel interfaces of one pool.
pub const TUNNEL_INTERFACES: Limit = Limit { name: "tunnel interfaces of a pool", value: 2 };

/// SNAT ports one frontend address supplies for each protocol (SNAT-1).
pub const PORTS_OF_FRONTEND: Limit = Limit { name: "outbound ports of a frontend address", value: 64_000 };
