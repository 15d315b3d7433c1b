//! How much there may be (LIM-1). The limits are settings: a table by name, and single limits on top of it.

use std::fmt;

use thiserror::Error;

/// One limit: what is counted, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is counted, in words.
    pub name: &'static str,
    /// How many there may be.
    pub value: usize,
}

impl Limit {
    const fn new(name: &'static str, value: usize) -> Self {
        Self { name, value }
    }
}

/// A table of limits as Azure published it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// Of June 2026.
    #[default]
    Y2026,
    /// Of 2023.
    Y2023,
}

impl Table {
    /// Every table there is.
    pub const ALL: [Self; 2] = [Self::Y2026, Self::Y2023];

    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Y2026 => "2026",
            Self::Y2023 => "2023",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

macro_rules! limits {
    ($($(#[$meta:meta])* $limit:ident: $name:literal = $y2026:expr, $y2023:expr;)*) => {
        /// All limits that are settings.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            based_on: Table,
            $($(#[$meta])* pub $limit: Limit,)*
        }

        impl Limits {
            /// The names of the limits in settings.
            pub const NAMES: &[&str] = &[$(stringify!($limit),)*];

            /// The limits of a table.
            #[must_use]
            pub const fn of(table: Table) -> Self {
                match table {
                    Table::Y2026 => Self { based_on: table, $($limit: Limit::new($name, $y2026),)* },
                    Table::Y2023 => Self { based_on: table, $($limit: Limit::new($name, $y2023),)* },
                }
            }

            /// Changes one limit.
            ///
            /// # Errors
            /// When there is none of this name.
            pub fn set(&mut self, name: &str, value: usize) -> Result<(), UnknownLimit> {
                match name {
                    $(stringify!($limit) => self.$limit.value = value,)*
                    other => return Err(UnknownLimit::Limit { name: other.to_owned() }),
                }
                Ok(())
            }

            /// Every limit, with its name in settings.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, Limit)> {
                [$((stringify!($limit), self.$limit),)*].into_iter()
            }
        }
    };
}

const UNLIMITED: usize = usize::MAX;

limits! {
    /// Load balancers in all.
    load_balancers: "load balancers" = 1_000, 1_000;
    /// Frontends of one Standard load balancer.
    frontends: "frontends of a Standard load balancer" = 600, 600;
    /// Load balancing rules, inbound NAT rules and inbound NAT pools of one Standard load balancer.
    rules: "rules of a Standard load balancer" = 1_500, 1_500;
    /// Outbound rules of one Standard load balancer.
    outbound_rules: "outbound rules of a Standard load balancer" = 600, 600;
    /// Members of one pool of a Standard load balancer.
    members: "members of a pool of a Standard load balancer" = 5_000, 1_000;
    /// Members of all pools of one load balancer together.
    members_of_balancer: "members of a load balancer" = 20_000, UNLIMITED;
    /// Rules that lead to one member, over all frontends, pools and load balancers.
    rules_of_member: "rules that lead to one member" = 300, 300;
    /// Frontends of one Basic load balancer.
    basic_frontends: "frontends of a Basic load balancer" = 200, 200;
    /// Rules of one Basic load balancer.
    basic_rules: "rules of a Basic load balancer" = 250, 250;
    /// Members of one pool of a Basic load balancer.
    basic_members: "members of a pool of a Basic load balancer" = 300, 300;
    /// Virtual networks in all.
    virtual_networks: "virtual networks" = 1_000, 1_000;
    /// Subnets of one virtual network.
    subnets: "subnets of a virtual network" = 3_000, 3_000;
    /// Rules of one network security group.
    security_rules: "rules of a network security group" = 1_000, 1_000;
    /// Balancer hosts.
    muxes: "load balancer muxes" = 8, 8;
}

impl Limits {
    /// The limits of the table of this name: `2026` or `2023`.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn table(name: &str) -> Result<Self, UnknownLimit> {
        let found = Table::ALL.into_iter().find(|table| table.name() == name);
        found.map(Self::of).ok_or_else(|| UnknownLimit::Table { name: name.to_owned() })
    }

    /// The table it started from.
    #[must_use]
    pub const fn based_on(&self) -> Table {
        self.based_on
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(Table::default())
    }
}

/// A name that is no limit's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnknownLimit {
    /// No table has this name.
    #[error("there is no table of limits `{name}`: write `2026` or `2023`")]
    Table {
        /// The name.
        name: String,
    },
    /// No limit has this name.
    #[error("there is no limit `{name}`: write one of {}", Limits::NAMES.join(", "))]
    Limit {
        /// The name.
        name: String,
    },
}

/// Tunnel interfaces of one pool.
pub const TUNNEL_INTERFACES: Limit = Limit::new("tunnel interfaces of a pool", 2);

/// SNAT ports one frontend address supplies for each protocol (SNAT-1).
pub const PORTS_OF_FRONTEND: Limit = Limit::new("outbound ports of a frontend address", 64_000);

/// Addresses of one pool that frontends come from.
pub const VIP_POOL: Limit = Limit::new("addresses of a pool of frontend addresses", 65_536);

/// Servers for names that one virtual network tells its machines.
pub const DNS_SERVERS: Limit = Limit::new("DNS servers of a virtual network", 9);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_settings_with_azures_tables() {
        // LIM-1
        let mut limits = Limits::default();
        assert_eq!((limits.based_on(), limits.members.value), (Table::Y2026, 5_000));
        assert_eq!(Limits::table("2023").map(|limits| limits.members.value), Ok(1_000));
        assert_eq!(Limits::table("2026"), Ok(Limits::default()));
        assert!(Limits::table("2019").unwrap_err().to_string().ends_with("write `2026` or `2023`"));
        for (name, limit) in Limits::default().iter() {
            limits.set(name, limit.value - 1).unwrap();
        }
        let lowered =
            limits.iter().zip(Limits::default().iter()).all(|((_, a), (_, b))| a.value + 1 == b.value);
        assert!(lowered && limits.iter().map(|(name, _)| name).eq(Limits::NAMES.iter().copied()));
        assert!(limits.set("pools", 1).unwrap_err().to_string().contains("write one of load_balancers, "));
    }
}
