//! One load balancer: what can be said of it without its neighbours.

use super::frontend::{self, Frontend};
use super::pool::{self, Pool};
use super::public::PublicAddresses;
use super::rule::{self, Route, Rule};
use super::{field, nat, outbound, probe};
use crate::document::LoadBalancer;
use crate::document::words::{SkuName, SkuTier};
use crate::id;
use crate::kind::Kind;
use crate::limits::Limits;
use crate::problem::{Code, Path, Report};

/// A load balancer while it is checked.
#[derive(Debug)]
pub(super) struct Balancer<'a> {
    pub(super) label: &'a str,
    pub(super) document: &'a LoadBalancer,
    pub(super) report: Report,
    pub(super) frontends: Vec<Frontend<'a>>,
    pub(super) pools: Vec<Pool<'a>>,
    /// Everything that arrives at a frontend, whether or not the data path does it yet.
    pub(super) routes: Vec<Route<'a>>,
    /// The rules the data path does.
    pub(super) rules: Vec<Rule<'a>>,
}

impl<'a> Balancer<'a> {
    /// Checks everything that rules refer to.
    pub(super) fn open(label: &'a str, document: &'a LoadBalancer, addresses: &PublicAddresses<'_>) -> Self {
        let mut report = Report::new(label);
        envelope(&mut report, document);
        arrays(&mut report, document);
        let frontends = frontend::open(&mut report, document, addresses);
        let pools = pool::open(&mut report, document);
        probe::examine(&mut report, document);
        Self { label, document, report, frontends, pools, routes: Vec::new(), rules: Vec::new() }
    }

    /// Checks what refers to frontends, pools and probes.
    pub(super) fn follow_rules(&mut self) {
        let Self { document, report, frontends, pools, routes, rules, .. } = self;
        rule::follow(report, document, frontends, pools, routes, rules);
        nat::follow(report, document, pools, routes);
        outbound::examine(report, document, pools);
    }
}

pub(super) const fn limits_of(sku: SkuName) -> Limits {
    match sku {
        SkuName::Basic => Limits::BASIC,
        SkuName::Standard | SkuName::Gateway | SkuName::Service => Limits::STANDARD,
    }
}

fn envelope(report: &mut Report, document: &LoadBalancer) {
    let root = Path::default();
    field::name(report, &root, &document.name);
    field::id(report, &root, Kind::LoadBalancer, document.id.as_deref(), &document.name);
    let at = root.field("sku");
    match document.sku_name() {
        SkuName::Basic | SkuName::Standard => {}
        other @ (SkuName::Gateway | SkuName::Service) => {
            let what = format!("load balancers of SKU {other} come");
            field::not_there_yet(report, &at.field("name"), &what, "use Standard");
        }
    }
    if document.sku.as_ref().and_then(|sku| sku.tier) == Some(SkuTier::Global) {
        field::not_there_yet(report, &at.field("tier"), "the Global tier comes", "use Regional");
    }
}

/// The seven arrays as such: names, sizes, and which may stand beside which.
fn arrays(report: &mut Report, document: &LoadBalancer) {
    let root = Path::default();
    let LoadBalancer {
        frontend_ip_configurations: frontends,
        backend_address_pools: pools,
        load_balancing_rules: rules,
        probes,
        inbound_nat_rules: nat_rules,
        inbound_nat_pools: nat_pools,
        outbound_rules,
        ..
    } = document;
    field::names(
        report,
        &root.field("frontendIPConfigurations"),
        frontends.iter().map(|it| it.name.as_str()),
    );
    field::names(report, &root.field("backendAddressPools"), pools.iter().map(|it| it.name.as_str()));
    field::names(report, &root.field("loadBalancingRules"), rules.iter().map(|it| it.name.as_str()));
    field::names(report, &root.field("probes"), probes.iter().map(|it| it.name.as_str()));
    field::names(report, &root.field("inboundNatRules"), nat_rules.iter().map(|it| it.name.as_str()));
    field::names(report, &root.field("inboundNatPools"), nat_pools.iter().map(|it| it.name.as_str()));
    field::names(report, &root.field("outboundRules"), outbound_rules.iter().map(|it| it.name.as_str()));

    let limits = limits_of(document.sku_name());
    field::limit(report, &root.field("frontendIPConfigurations"), frontends.len(), limits.frontends);
    let all_rules = rules.len() + nat_rules.len() + nat_pools.len();
    field::limit(report, &root.field("loadBalancingRules"), all_rules, limits.rules);
    let outbound = root.field("outboundRules");
    match document.sku_name() {
        SkuName::Basic if !outbound_rules.is_empty() => {
            let message = "Basic load balancers have no outbound rules: use Standard";
            report.add(&outbound, Code::NotInThisSku, message);
        }
        SkuName::Basic | SkuName::Standard | SkuName::Gateway | SkuName::Service => {
            field::limit(report, &outbound, outbound_rules.len(), limits.outbound_rules);
        }
    }

    let children = pools.len() + probes.len() + all_rules + outbound_rules.len();
    if frontends.is_empty() && children > 0 {
        let message = "without a frontend there can be no pools, rules or probes: add a frontend";
        let at = root.field("frontendIPConfigurations");
        report.add(&at, Code::LoadBalancerWithoutFrontendIPCantHaveChildResources, message);
    }
    if !nat_rules.is_empty() && !nat_pools.is_empty() {
        let message = "inbound NAT rules and inbound NAT pools exclude each other: keep one kind";
        let code = Code::AddingOrUpdatingNatRulesWhenNatPoolIsPresentOnLoadbalancerIsNotSupported;
        report.add(&root.field("inboundNatRules"), code, message);
    }
}

/// The name behind an id, for messages.
pub(super) fn short(id: &str) -> &str {
    id::name_of(id).unwrap_or(id)
}
