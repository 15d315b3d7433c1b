//! What is wrong with a document, where, and what to do about it.

use std::fmt;

use serde::Serialize;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The name of the document; the file's name when the document has none.
    pub document: String,
    /// Where in the document: `loadBalancingRules/https/frontendPort`. Empty: the document as a whole.
    pub path: String,
    /// What kind of mistake.
    pub code: Code,
    /// What is wrong, and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, path, code, message } = self;
        match path.is_empty() {
            true => write!(out, "{document}: {message} ({code})"),
            false => write!(out, "{document}: {path}: {message} ({code})"),
        }
    }
}

impl std::error::Error for Problem {}

macro_rules! codes {
    ($($(#[$meta:meta])* $code:ident,)*) => {
        /// The kind of a mistake, spelled as Azure spells it where Azure has a word for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Code {
            $($(#[$meta])* $code,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The code as interfaces show it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => stringify!($code),)*
                }
            }
        }
    };
}

codes! {
    // Azure's, and the Network Controller's.
    /// Inbound NAT rules and inbound NAT pools on one load balancer.
    AddingOrUpdatingNatRulesWhenNatPoolIsPresentOnLoadbalancerIsNotSupported,
    /// A HA-ports rule and an outbound rule on one frontend (HA-2).
    AnyPortProtocolNotAllowedWithOtherOutboundNatRules,
    /// Members of one load balancer in different virtual networks.
    BackendIPConfigurationsDontUseSameVnet,
    /// The SKU of a public address is not the load balancer's.
    DifferentSkuLoadBalancersAndPublicIPAddressNotAllowed,
    /// One address twice in a pool.
    DuplicateIpConfigurationReferenceOnBackendAddressPool,
    /// A frontend in a logical network that no pool of frontend addresses has.
    FrontEndIpNotInVipPool,
    /// A load balancer's frontend and members in different virtual networks.
    FrontendIPConfigAndBackendIPConfigsAreInDifferentVnets,
    /// A frontend that is neither internal nor public.
    FrontendIPConfigHasNoSubnetOrPublicIP,
    /// A frontend in a subnet that has no prefix.
    FrontendIpConfigSubnetNoAddrPrefix,
    /// An inbound NAT rule that leads to two members.
    InboundNatRuleInUse,
    /// Not JSON, or values that contradict each other.
    InvalidRequestFormat,
    /// A name against the rule for names.
    InvalidResourceName,
    /// A reference that leads nowhere.
    InvalidResourceReference,
    /// A floating HA-ports rule and one without floating IP lead to one member (HA-2).
    IpConfigCannotHaveFloatingIpAnyPortLbRulesWithNonFloatingIpRules,
    /// A HA-ports rule without floating IP and another one lead to one member (HA-2).
    IpConfigCannotHaveOtherLbRulesWithNonFloatingIpAnyPortRule,
    /// More rules lead to one member than it may have.
    LoadBalancerRuleCountLimitReachedForNic,
    /// Pools, rules or probes without any frontend.
    LoadBalancerWithoutFrontendIPCantHaveChildResources,
    /// A rule with implicit SNAT on a frontend that an outbound rule uses.
    LoadBalancingRuleMustDisableSNATSinceSameFrontendIPConfigurationIsReferencedByOutboundRule,
    /// Two outbound rules of overlapping protocols on one frontend.
    MoreThanOneOutboundRuleUsingSameFrontendIPConfigurationAndProtocolIsNotSupported,
    /// One address for two frontends.
    MultipleIpConfigsRequestSamePrivateIpAddress,
    /// A subnet that is not within its network.
    NetcfgInvalidSubnet,
    /// Two subnets of one network have an address in common.
    NetcfgSubnetRangesOverlap,
    /// An address that its subnet keeps for itself.
    PrivateIPAddressInReservedRange,
    /// An address of a network given twice.
    PrivateIPAddressInUse,
    /// An address outside its subnet.
    PrivateIPAddressNotInSubnet,
    /// A public address given twice, or used twice.
    PublicIPAddressInUse,
    /// Two rules of two load balancers of one kind lead to the same port of one member.
    RulesOfSameLoadBalancerTypeUseSameBackendPortProtocolAndIPConfig,
    /// Two rules lead to the same port of one member through different pools.
    RulesUseSameBackendPortProtocolAndIPConfig,
    /// Two rules lead to the same port of one pool.
    RulesUseSameBackendPortProtocolAndPool,
    /// Two security rules of one direction and priority.
    SecurityRuleConflict,
    /// More outbound ports than a rule may hand to each member.
    SpecifiedAllocatedOutboundPortsForOutboundRuleExceedsTotalNumberOfAllowedPortsPerRule,
    /// More outbound ports than the frontends supply.
    SpecifiedAllocatedOutboundPortsForOutboundRuleExceedsTotalNumberOfAvailablePorts,
    /// Outbound ports come in blocks of eight.
    SpecifiedAllocatedOutboundPortsForOutboundRuleIsNotAMultipleOfEight,
    /// No address of a subnet is free.
    SubnetIsFull,
    /// An address is to be found, and nobody says in which subnet.
    SubnetIsRequired,
    /// A pool of frontend addresses of more addresses than one may have.
    VipRangeTooLarge,

    // Ours.
    /// An address of the other IP version.
    AddressFamilyMismatch,
    /// An address no machine can be reached at.
    AddressNotUsable,
    /// Nothing says which address a frontend has.
    AddressUnknown,
    /// A name given twice.
    DuplicateName,
    /// Two floating rules yield one destination at a member (FIP-4).
    FloatingRulesUseSameDestination,
    /// HA ports on a public frontend (HA-1).
    HaPortsNeedInternalFrontend,
    /// More than a limit allows (LIM-1).
    LimitReached,
    /// A link-layer address given twice.
    MacAddressInUse,
    /// A member with the address of a frontend.
    MemberUsesFrontendAddress,
    /// A required field is not there.
    MissingField,
    /// Public and internal frontends on one load balancer.
    MixedFrontends,
    /// No public address is free.
    NoPublicAddressIsFree,
    /// The SKU does not have this.
    NotInThisSku,
    /// Valid, but this version does not do it.
    NotThereYet,
    /// A number outside its range.
    OutOfRange,
    /// A port HTTP probes may not use.
    ProbePortRefused,
    /// A floating rule that changes the port needs answers to pass the balancer (FIP-3).
    ReturnPathNeeded,
    /// Two rules listen at the same place (RULE-4).
    RulesUseSameFrontendPortProtocolAndIPConfig,
    /// A field no resource of this kind has.
    UnknownField,
    /// A word that is not one of the allowed ones.
    UnknownValue,
    /// A value of another JSON type than the field has.
    WrongType,
}

impl Code {
    /// Whether it says that something is absent, which is not true of what was there but could not be read.
    pub(crate) const fn is_absence(self) -> bool {
        matches!(
            self,
            Self::MissingField
                | Self::AddressUnknown
                | Self::FrontendIPConfigHasNoSubnetOrPublicIP
                | Self::LoadBalancerWithoutFrontendIPCantHaveChildResources
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A place in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    /// A place that is written out already.
    pub(crate) fn written(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The place of a field of what is here, or of an element by its name.
    pub(crate) fn field(&self, name: &str) -> Self {
        match self.0.is_empty() {
            true => Self(name.to_owned()),
            false => Self(format!("{}/{name}", self.0)),
        }
    }

    /// The place of an element: by its name, or by its number while it has none.
    pub(crate) fn element(&self, name: &str, index: usize) -> Self {
        match name {
            "" => self.field(&index.to_string()),
            name => self.field(name),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What is found out about one document.
#[derive(Debug)]
pub(crate) struct Report {
    document: String,
    problems: Vec<Problem>,
    shortfalls: Vec<Problem>,
}

impl Report {
    pub(crate) fn new(document: &str) -> Self {
        Self { document: document.to_owned(), problems: Vec::new(), shortfalls: Vec::new() }
    }

    pub(crate) fn add(&mut self, at: &Path, code: Code, message: impl Into<String>) {
        let problem = self.problem(at, code, message.into());
        self.problems.push(problem);
    }

    /// Reports what is valid and cannot be done yet.
    pub(crate) fn fall_short(&mut self, at: &Path, message: impl Into<String>) {
        let problem = self.problem(at, Code::NotThereYet, message.into());
        self.shortfalls.push(problem);
    }

    fn problem(&self, at: &Path, code: Code, message: String) -> Problem {
        Problem { document: self.document.clone(), path: at.0.clone(), code, message }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Puts it to what was found out about others.
    pub(crate) fn pour(self, problems: &mut Vec<Problem>, shortfalls: &mut Vec<Problem>) {
        problems.extend(self.problems);
        shortfalls.extend(self.shortfalls);
    }
}
