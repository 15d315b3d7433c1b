//! Public IP addresses, which public frontends refer to.

use std::collections::BTreeMap;

use super::{address, field};
use crate::document::PublicIpAddress;
use crate::id::Id;
use crate::problem::{Path, Problem, Report};

/// What is wrong with them, each by itself.
pub(super) fn problems(addresses: &[(&str, &PublicIpAddress)]) -> Vec<Problem> {
    let examine = |(label, document): &(&str, &PublicIpAddress)| {
        let mut report = Report::new(label);
        let root = Path::default();
        field::name(&mut report, &root, &document.name);
        if let Some(ip) = document.ip_address {
            let at = root.field("ipAddress");
            address::usable(&mut report, &at, ip);
            address::of_version(&mut report, &at, ip, document.public_ip_address_version);
        }
        report.into_problems()
    };
    addresses.iter().flat_map(examine).collect()
}

/// The public IP addresses given beside the load balancers, to be found by id.
#[derive(Debug)]
pub(super) struct PublicAddresses<'a> {
    by_id: BTreeMap<String, &'a PublicIpAddress>,
    by_name: BTreeMap<String, &'a PublicIpAddress>,
}

impl<'a> PublicAddresses<'a> {
    pub(super) fn of(documents: &[(&str, &'a PublicIpAddress)]) -> Self {
        let documents = || documents.iter().map(|(_, document)| *document);
        let by_id = documents().filter_map(|document| Some((canonical(document.id.as_deref()?), document)));
        let by_name = documents().map(|document| (document.name.to_ascii_lowercase(), document));
        Self { by_id: by_id.collect(), by_name: by_name.collect() }
    }

    pub(super) fn find(&self, id: &str) -> Option<&'a PublicIpAddress> {
        self.by_id.get(&canonical(id)).copied().or_else(|| {
            let id = Id::parse(id).filter(|id| id.is_in("publicIPAddresses"))?;
            let named = self.by_name.get(&id.name.to_ascii_lowercase()).copied()?;
            (id.parent.is_none() || named.id.is_none()).then_some(named)
        })
    }
}

fn canonical(id: &str) -> String {
    id.trim_matches('/').to_ascii_lowercase()
}
