//! One load balancer: what can be said of it without its neighbours.

use super::frontend::{self, Frontend};
use super::membership::Membership;
use super::pool::{self, Pool};
use super::rule::{self, Route, Rule};
use super::{Case, Scope, field, nat, outbound, probe};
use crate::NatPorts;
use crate::document::words::{SkuName, SkuTier};
use crate::document::{Document, LoadBalancer};
use crate::id;
use crate::inventory::Entry;
use crate::kind::Kind;
use crate::limits::{Limit, Limits};
use crate::problem::{Code, Path, Report};

/// A load balancer while it is checked.
#[derive(Debug)]
pub(super) struct Balancer<'a> {
    pub(super) label: &'a str,
    pub(super) document: &'a LoadBalancer,
    pub(super) entry: &'a Entry,
    pub(super) report: Report,
    pub(super) frontends: Vec<Frontend<'a>>,
    /// The pools of the document, at their positions, and behind them one for each NAT rule that leads to somebody.
    pub(super) pools: Vec<Pool<'a>>,
    /// Everything that arrives at a frontend, whether or not the data path does it yet.
    pub(super) routes: Vec<Route<'a>>,
    /// The rules the data path does.
    pub(super) rules: Vec<Rule<'a>>,
    /// The ranges of ports of NAT rules that the data path does: the rule of the first port, for nobody in particular, and the last port.
    pub(super) nat_ranges: Vec<(Rule<'a>, u16)>,
    /// Whom the ports of NAT rules' ranges lead to.
    pub(super) nat_ports: NatPorts,
}

impl<'a> Balancer<'a> {
    /// Checks everything that rules refer to.
    pub(super) fn open(case: &Case<'a>, scope: &Scope<'a>, members: &Membership<'a>) -> Option<Self> {
        let Document::LoadBalancer(document) = case.document else { return None };
        let mut report = Report::new(case.label);
        envelope(&mut report, document);
        arrays(&mut report, document, &LimitsOfSku::of(document.sku_name(), scope.limits));
        let frontends = frontend::open(&mut report, document, scope);
        let pools = pool::open(&mut report, document, case.entry, scope, members);
        probe::examine(&mut report, document);
        let mut balancer = Self {
            label: case.label,
            document,
            entry: case.entry,
            report,
            frontends,
            pools,
            routes: Vec::new(),
            rules: Vec::new(),
            nat_ranges: Vec::new(),
            nat_ports: NatPorts::default(),
        };
        balancer.one_network(members);
        Some(balancer)
    }

    /// Checks what refers to frontends, pools and probes.
    pub(super) fn follow_rules(&mut self, scope: &Scope<'_>, members: &Membership<'a>) {
        rule::follow(self);
        nat::follow(self, scope, members);
        let Self { document, report, pools, .. } = self;
        outbound::examine(report, document, pools);
    }

    /// Whether the data path does rules of it at all.
    pub(super) fn is_done(&self) -> bool {
        let tier = self.document.sku.as_ref().and_then(|sku| sku.tier);
        let is_plain = matches!(self.document.sku_name(), SkuName::Basic | SkuName::Standard);
        is_plain && tier != Some(SkuTier::Global)
    }

    /// Members by interface are in one virtual network, and so are the frontends.
    fn one_network(&mut self, members: &Membership<'a>) {
        let pools =
            (0..self.document.backend_address_pools.len()).flat_map(|pool| members.of_pool(self.entry, pool));
        let rules =
            (0..self.document.inbound_nat_rules.len()).flat_map(|rule| members.of_nat_rule(self.entry, rule));
        let mut first = None;
        for binding in pools.chain(rules) {
            let Some(network) = binding.network else { continue };
            match first {
                None => first = Some(network),
                Some(other) if std::ptr::eq(other, network) => {}
                Some(other) => {
                    let message = format!(
                        "this interface is in network `{}` and other members are in `{}`: use one network",
                        network.document.name(),
                        other.document.name()
                    );
                    members.refuse(binding, Code::BackendIPConfigurationsDontUseSameVnet, message);
                }
            }
        }
        let Some(first) = first else { return };
        for frontend in &self.frontends {
            let Some(segment) = frontend.segment.as_ref().filter(|segment| segment.is_virtual()) else {
                continue;
            };
            if !std::ptr::eq(segment.network, first) {
                let message = format!(
                    "the frontend is in network `{}` and the members are in `{}`: use one network",
                    segment.network.document.name(),
                    first.document.name()
                );
                let code = Code::FrontendIPConfigAndBackendIPConfigsAreInDifferentVnets;
                self.report.add(&frontend.at.field("subnet"), code, message);
            }
        }
    }
}

/// The limits of one SKU (LIM-1).
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitsOfSku {
    frontends: Limit,
    rules: Limit,
    outbound_rules: Limit,
    pub(super) members: Limit,
}

impl LimitsOfSku {
    pub(super) const fn of(sku: SkuName, limits: &Limits) -> Self {
        let outbound_rules = limits.outbound_rules;
        match sku {
            SkuName::Basic => Self {
                frontends: limits.basic_frontends,
                rules: limits.basic_rules,
                outbound_rules,
                members: limits.basic_members,
            },
            SkuName::Standard | SkuName::Gateway | SkuName::Service => Self {
                frontends: limits.frontends,
                rules: limits.rules,
                outbound_rules,
                members: limits.members,
            },
        }
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
            let mend = "its rules do nothing: use Standard";
            field::not_there_yet(report, &at.field("name"), &what, mend);
        }
    }
    if document.sku.as_ref().and_then(|sku| sku.tier) == Some(SkuTier::Global) {
        let mend = "its rules do nothing: use Regional";
        field::not_there_yet(report, &at.field("tier"), "the Global tier comes", mend);
    }
}

/// The seven arrays as such: names, sizes, and which may stand beside which.
fn arrays(report: &mut Report, document: &LoadBalancer, limits: &LimitsOfSku) {
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
