//! Who is a member because its network interface says so, and which inbound NAT rule leads to whom.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use super::{Case, Scope, address};
use crate::Weight;
use crate::document::{Document, IpConfiguration, NetworkInterface, Reference};
use crate::inventory::{Child, Entry, mirror_name};
use crate::problem::{Code, Path, Problem, Report};

/// What ip configurations say of pools and NAT rules.
#[derive(Debug, Default)]
pub(super) struct Membership<'a> {
    bindings: HashMap<(&'a str, Child), Vec<Binding<'a>>>,
    problems: RefCell<Vec<Problem>>,
}

/// An ip configuration that is in a pool, or that an inbound NAT rule leads to.
#[derive(Clone, Debug)]
pub(super) struct Binding<'a> {
    label: &'a str,
    interface: &'a NetworkInterface,
    configuration: &'a IpConfiguration,
    /// Positions of the configuration, and of the reference in its field.
    position: (usize, usize),
    field: &'static str,
    /// Its virtual network, when it is in one that is known.
    pub(super) network: Option<&'a Entry>,
}

impl<'a> Membership<'a> {
    pub(super) fn of(cases: &[Case<'a>], scope: &Scope<'a>) -> Self {
        let mut members = Self::default();
        for case in cases {
            if let Document::NetworkInterface(interface) = case.document {
                members.enter(case.label, interface, scope);
            }
        }
        members
    }

    fn enter(&mut self, label: &'a str, interface: &'a NetworkInterface, scope: &Scope<'a>) {
        for (number, configuration) in interface.ip_configurations.iter().enumerate() {
            let segment = scope.segment(configuration.subnet.as_ref());
            let network = segment.filter(|it| it.is_virtual()).map(|segment| segment.network);
            let mut bind = |references: &[Reference], field| {
                for (index, reference) in references.iter().enumerate() {
                    if let Some(place) = scope.inventory.find(&reference.id) {
                        let position = (number, index);
                        let binding = Binding { label, interface, configuration, position, field, network };
                        self.bindings.entry((&place.entry.key, place.child)).or_default().push(binding);
                    }
                }
            };
            bind(&configuration.load_balancer_backend_address_pools, "loadBalancerBackendAddressPools");
            bind(&configuration.load_balancer_inbound_nat_rules, "loadBalancerInboundNatRules");
        }
    }

    /// Who says that it is in the pool at this position.
    pub(super) fn of_pool(&self, balancer: &'a Entry, pool: usize) -> &[Binding<'a>] {
        self.bindings.get(&(&*balancer.key, Child::Pool(pool))).map_or(&[], Vec::as_slice)
    }

    /// Who says that the NAT rule at this position leads to it.
    pub(super) fn of_nat_rule(&self, balancer: &'a Entry, rule: usize) -> &[Binding<'a>] {
        self.bindings.get(&(&*balancer.key, Child::NatRule(rule))).map_or(&[], Vec::as_slice)
    }

    /// Reports what is wrong with an interface, where it refers to what it is bound to.
    pub(super) fn refuse(&self, binding: &Binding<'_>, code: Code, message: String) {
        let mut report = Report::new(binding.label);
        report.add(&binding.at(), code, message);
        self.problems.borrow_mut().append(&mut report.into_problems());
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        self.problems.take()
    }
}

impl<'a> Binding<'a> {
    pub(super) const fn interface(&self) -> &'a NetworkInterface {
        self.interface
    }

    pub(super) const fn subnet(&self) -> Option<&'a Reference> {
        self.configuration.subnet.as_ref()
    }
}

impl Binding<'_> {
    /// Its address, when it has one that can be used; what else is wrong with it is said of the interface.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.configuration.private_ip_address.filter(|address| address::is_usable(*address))
    }

    /// What it weighs in its pools; what is no weight is said of the interface.
    pub(super) fn weight(&self) -> Weight {
        let said = self.configuration.forebay.as_ref().and_then(|extension| extension.weight);
        said.and_then(|number| Weight::new(number).ok()).unwrap_or_default()
    }

    /// `interface/configuration`
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.interface.name, self.configuration.name)
    }

    /// What it is called in its pool.
    pub(super) fn mirror_name(&self) -> String {
        let interface = self.interface.id.as_deref().unwrap_or(&self.interface.name);
        mirror_name(&format!("{interface}/ipConfigurations/{}", self.configuration.name))
    }

    /// What its problems go by.
    pub(super) const fn label(&self) -> &str {
        self.label
    }

    /// Whether this is the ip configuration of an id.
    pub(super) fn is(&self, id: &str) -> bool {
        let is_configuration = |(parent, name): (&str, &str)| {
            name.eq_ignore_ascii_case(&self.configuration.name)
                && parent
                    .rsplit('/')
                    .nth(1)
                    .is_some_and(|name| name.eq_ignore_ascii_case(&self.interface.name))
        };
        id.rsplit_once('/').is_some_and(is_configuration)
    }

    /// Where the interface says it.
    pub(super) fn at(&self) -> Path {
        let (configuration, reference) = self.position;
        let at = Path::default().field("ipConfigurations").element(&self.configuration.name, configuration);
        at.field(self.field).field(&reference.to_string())
    }
}
