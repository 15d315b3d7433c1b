//! Whom rules admit (ACL-1). A packet must pass the security group that its frontend names, and, as on Azure, those of the member: of its
//! interface and of its subnet. Since it is judged before a member is chosen, a rule's packets must pass the groups of all its members.
//! The group of a cluster's Services is asked like one of the members' (ACL-2).

mod group;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ptr::from_ref;
use std::rc::Rc;

use self::group::{Group, Seat};
use super::Scope;
use super::balancer::Balancer;
use super::pool::{Member, Origin, Pool};
use super::rule::Rule;
use crate::desired::{Protocol, SecurityList};
use crate::document::{
    FrontendIpConfiguration, LoadBalancer, NetworkSecurityGroup, Reference, Subnet, VirtualNetwork,
};
use crate::inventory::{Child, Place};
use crate::kind::Kind;

/// The lists of all rules; none where nobody has a security group.
pub(super) struct Lists<'a, 's> {
    scope: &'s Scope<'a>,
    is_needed: bool,
    lists: Vec<SecurityList>,
    known: BTreeMap<SecurityList, usize>,
    /// A group is read once for each network whose addresses its rules may mean.
    read: BTreeMap<(*const NetworkSecurityGroup, *const VirtualNetwork, Seat), Rc<Group>>,
    /// Rules share pools, which are large.
    of_members: BTreeMap<Led, Rc<[Rc<Group>]>>,
}

/// Whom rules lead to: members of a pool, all of a family or one.
type Led = (*const LoadBalancer, usize, bool, Option<IpAddr>);

impl<'a, 's> Lists<'a, 's> {
    pub(super) fn new(scope: &'s Scope<'a>) -> Self {
        Self {
            scope,
            is_needed: scope.inventory.entries_of(Kind::NetworkSecurityGroup).next().is_some(),
            lists: Vec::new(),
            known: BTreeMap::new(),
            read: BTreeMap::new(),
            of_members: BTreeMap::new(),
        }
    }

    pub(super) fn into_lists(self) -> Vec<SecurityList> {
        self.lists
    }

    /// The list of a rule, by its position; none where it admits everybody.
    pub(super) fn of(&mut self, balancer: &Balancer<'a>, rule: &Rule<'a>) -> Option<usize> {
        if !self.is_needed {
            return None;
        }
        let target = Target::of(balancer, rule)?;
        let frontend = self.of_frontend(balancer, &target);
        let service = self.of_service(balancer, rule, &target);
        let members = self.of_members(balancer, rule.pool, &target);
        let groups = frontend.iter().chain(&service).chain(members.iter());
        let groups: Vec<_> = groups.map(|group| group.asked_about(&target)).collect();
        if groups.is_empty() {
            return None;
        }
        let list = SecurityList { groups };
        if let Some(known) = self.known.get(&list) {
            return Some(*known);
        }
        self.known.insert(list.clone(), self.lists.len());
        self.lists.push(list);
        Some(self.lists.len() - 1)
    }

    fn of_frontend(&mut self, balancer: &Balancer<'a>, target: &Target<'_, 'a>) -> Option<Rc<Group>> {
        let named = |it: &&FrontendIpConfiguration| it.name == target.name;
        let document = balancer.document.frontend_ip_configurations.iter().find(named)?;
        self.group(document.forebay.as_ref()?.network_security_group.as_ref(), None, Seat::Frontend)
    }

    fn of_service(
        &mut self,
        balancer: &Balancer<'a>,
        rule: &Rule<'a>,
        target: &Target<'_, 'a>,
    ) -> Option<Rc<Group>> {
        let network = self.network_of(balancer, rule.pool);
        self.group(rule.guard, network, Seat::Service { internal: target.internal })
    }

    /// The network that a pool's members are of.
    fn network_of(&self, balancer: &Balancer<'a>, pool: usize) -> Option<&'a VirtualNetwork> {
        let reference = balancer.document.backend_address_pools.get(pool)?.virtual_network.as_ref()?;
        VirtualNetwork::of(self.scope.inventory.find(&reference.id)?.document())
    }

    fn of_members(
        &mut self,
        balancer: &Balancer<'a>,
        pool: usize,
        target: &Target<'_, 'a>,
    ) -> Rc<[Rc<Group>]> {
        let led = (from_ref(balancer.document), pool, target.frontend.is_ipv4(), target.only);
        if let Some(groups) = self.of_members.get(&led) {
            return Rc::clone(groups);
        }
        let network = self.network_of(balancer, pool);
        let mut groups: Vec<Rc<Group>> = Vec::new();
        for member in target.members() {
            for group in self.of_member(member, network).into_iter().flatten() {
                if !groups.iter().any(|known| Rc::ptr_eq(known, &group)) {
                    groups.push(group);
                }
            }
        }
        Rc::clone(self.of_members.entry(led).or_insert(groups.into()))
    }

    fn of_member(
        &mut self,
        member: &Member<'a>,
        network: Option<&'a VirtualNetwork>,
    ) -> [Option<Rc<Group>>; 2] {
        match &member.origin {
            Origin::Interface(binding) => {
                let place = binding.subnet().and_then(|subnet| self.scope.inventory.find(&subnet.id));
                let (subnet, network) = place.map(subnet_at).unwrap_or_default();
                let own = binding.interface().network_security_group.as_ref();
                [self.group(own, network, Seat::Member), self.of_subnet(subnet, network)]
            }
            Origin::Entry(_) => {
                let has = |subnet: &&Subnet| subnet.prefixes().any(|prefix| prefix.contains(member.address));
                let subnet = network.and_then(|network| network.subnets.iter().find(has));
                [self.of_subnet(subnet, network), None]
            }
        }
    }

    fn of_subnet(
        &mut self,
        subnet: Option<&Subnet>,
        network: Option<&'a VirtualNetwork>,
    ) -> Option<Rc<Group>> {
        self.group(subnet?.network_security_group.as_ref(), network, Seat::Member)
    }

    fn group(
        &mut self,
        reference: Option<&Reference>,
        network: Option<&'a VirtualNetwork>,
        seat: Seat,
    ) -> Option<Rc<Group>> {
        let document = NetworkSecurityGroup::of(self.scope.inventory.find(&reference?.id)?.document())?;
        let key = (from_ref(document), network.map_or(std::ptr::null(), from_ref), seat);
        let read = || Rc::new(Group::read(document, network, self.scope.tags, seat));
        Some(Rc::clone(self.read.entry(key).or_insert_with(read)))
    }
}

fn subnet_at(place: Place<'_>) -> (Option<&Subnet>, Option<&VirtualNetwork>) {
    let network = VirtualNetwork::of(place.document());
    let Child::Subnet(index) = place.child else { return (None, network) };
    (network.and_then(|network| network.subnets.get(index)), network)
}

/// What security rules are asked about: the packets of one rule of a balancer.
struct Target<'r, 'a> {
    /// The frontend's.
    name: &'a str,
    protocol: Protocol,
    frontend: IpAddr,
    /// Whether the frontend does not face the public.
    internal: bool,
    frontend_port: u16,
    backend_port: u16,
    floating: bool,
    pool: &'r Pool<'a>,
    only: Option<IpAddr>,
}

impl<'r, 'a> Target<'r, 'a> {
    fn of(balancer: &'r Balancer<'a>, rule: &Rule<'a>) -> Option<Self> {
        let at = balancer.frontends.iter().find(|it| it.address == rule.frontend)?;
        Some(Self {
            name: at.name,
            protocol: rule.protocol,
            frontend: rule.frontend?,
            internal: at.internal,
            frontend_port: rule.frontend_port,
            backend_port: rule.backend_port,
            floating: rule.floating,
            pool: balancer.pools.get(rule.pool)?,
            only: rule.only,
        })
    }

    /// Whom the rule leads to.
    fn members(&self) -> impl Iterator<Item = &'r Member<'a>> {
        let is_led_to = |address: IpAddr| match self.only {
            Some(only) => address == only,
            None => address.is_ipv4() == self.frontend.is_ipv4(),
        };
        self.pool.members.iter().filter(move |member| is_led_to(member.address))
    }
}
