//! The names behind the numbers of the tables, written beside the pins for those who look later.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use engine::{Tables, identity, protocol_name};
use model::{Desired, NatPorts};
use plane::row::RuleRow;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::reach::Reach;

/// What the tables do not say. Another version's process may have written less, or more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Legend {
    pub(crate) rules: Vec<NamedRule>,
    pub(crate) members: Vec<NamedMember>,
    pub(crate) frontends: Vec<NamedFrontend>,
    /// Security rules by their identity.
    pub(crate) security: BTreeMap<u64, String>,
    /// Why members are not reached, in words.
    pub(crate) unreached: BTreeMap<IpAddr, String>,
    /// Which ports members have in the ranges of inbound NAT rules: the next process gives them the same.
    nat_ports: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NamedRule {
    pub(crate) name: String,
    pub(crate) frontend: IpAddr,
    pub(crate) protocol: String,
    pub(crate) port: u16,
    pub(crate) pool: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NamedMember {
    pub(crate) pool: String,
    pub(crate) identity: u64,
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NamedFrontend {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

impl Legend {
    pub(crate) fn of(desired: &Desired, reaches: &BTreeMap<IpAddr, Reach>) -> Self {
        let rules = desired.rules().iter().map(|rule| NamedRule {
            name: rule.name().into(),
            frontend: rule.frontend(),
            protocol: rule.protocol().to_string(),
            port: rule.frontend_port(),
            pool: desired.pool(rule.pool()).name().into(),
        });
        let members = desired.pools().iter().flat_map(|pool| {
            pool.members().iter().map(|member| NamedMember {
                pool: pool.name().into(),
                identity: identity(pool.name()),
                name: member.name().into(),
                address: member.address(),
            })
        });
        let frontends = desired
            .frontends()
            .iter()
            .map(|frontend| NamedFrontend { name: frontend.name().into(), address: frontend.address() });
        let security = desired.lists().iter().flat_map(|list| list.rules());
        let security = security.map(|rule| (identity(rule.name()), rule.name().to_owned()));
        let unreached = reaches
            .iter()
            .filter(|(_, reach)| !matches!(reach, Reach::Resolved(_)))
            .map(|(address, reach)| (*address, reach.to_string()));
        Self {
            rules: rules.collect(),
            members: members.collect(),
            frontends: frontends.collect(),
            security: security.collect(),
            unreached: unreached.collect(),
            nat_ports: desired.nat_ports().to_json(),
        }
    }

    /// With the names of members that have left and are still in the tables, and of the rules of ports that only they have.
    pub(crate) fn keeping(mut self, former: &Self, tables: &Tables) -> Self {
        let left = tables.members.values().filter(|row| row.is_leaving());
        let left: BTreeSet<(u64, IpAddr)> =
            left.map(|row| (row.pool(), IpAddr::from(row.address()))).collect();
        if left.is_empty() {
            return self;
        }
        let leads_to_one = |row: &RuleRow| {
            let member = tables.members.get(&u32::from(row.plan().ring));
            row.plan().direct && member.is_some_and(|member| member.is_leaving())
        };
        let kept: BTreeSet<(IpAddr, String, u16)> = tables
            .rule_rows()
            .into_iter()
            .filter(|(_, row)| leads_to_one(row))
            .map(|((frontend, protocol, port), _)| (frontend, protocol_name(protocol), port))
            .collect();
        let place = |rule: &NamedRule| (rule.frontend, rule.protocol.clone(), rule.port);
        self.rules.extend(former.rules.iter().filter(|rule| kept.contains(&place(rule))).cloned());
        let named = former.members.iter().filter(|it| left.contains(&(it.identity, it.address)));
        self.members.extend(named.cloned());
        self
    }

    /// The ports that members had; none where nobody has written them down.
    pub(crate) fn nat_ports(&self) -> NatPorts {
        NatPorts::from_json(&self.nat_ports).unwrap_or_default()
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("json.new");
        fs::write(&unfinished, serde_json::to_vec_pretty(self)?)?;
        fs::rename(unfinished, path)
    }

    /// An empty one where there is none: then numbers are shown without names.
    pub(crate) fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }
}
