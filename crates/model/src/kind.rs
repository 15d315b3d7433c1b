//! The kinds of resources, and what is in each.

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `loadBalancers`
    LoadBalancer,
    /// `publicIPAddresses`
    PublicIpAddress,
    /// `publicIPPrefixes`
    PublicIpPrefix,
    /// `virtualNetworks`
    VirtualNetwork,
    /// `networkInterfaces`
    NetworkInterface,
    /// `networkSecurityGroups`
    NetworkSecurityGroup,
    /// `logicalNetworks`
    LogicalNetwork,
    /// `loadBalancerManagers`
    LoadBalancerManager,
    /// `loadBalancerMuxes`
    LoadBalancerMux,
    /// `virtualServers`
    VirtualServer,
}

/// The children of one kind that a resource has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    /// `subnets`
    pub name: &'static str,
    /// What each of these children has.
    pub collections: &'static [Collection],
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::LoadBalancer,
        Self::PublicIpAddress,
        Self::PublicIpPrefix,
        Self::VirtualNetwork,
        Self::NetworkInterface,
        Self::NetworkSecurityGroup,
        Self::LogicalNetwork,
        Self::LoadBalancerManager,
        Self::LoadBalancerMux,
        Self::VirtualServer,
    ];

    /// The word for it in ids.
    #[must_use]
    pub const fn segment(self) -> &'static str {
        match self {
            Self::LoadBalancer => "loadBalancers",
            Self::PublicIpAddress => "publicIPAddresses",
            Self::PublicIpPrefix => "publicIPPrefixes",
            Self::VirtualNetwork => "virtualNetworks",
            Self::NetworkInterface => "networkInterfaces",
            Self::NetworkSecurityGroup => "networkSecurityGroups",
            Self::LogicalNetwork => "logicalNetworks",
            Self::LoadBalancerManager => "loadBalancerManagers",
            Self::LoadBalancerMux => "loadBalancerMuxes",
            Self::VirtualServer => "virtualServers",
        }
    }

    /// The resource type, with the provider before it.
    #[must_use]
    pub fn type_name(self) -> String {
        format!("{PROVIDER}/{}", self.segment())
    }

    /// One of it, in words.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::LoadBalancer => "a load balancer",
            Self::PublicIpAddress => "a public IP address",
            Self::PublicIpPrefix => "a public IP prefix",
            Self::VirtualNetwork => "a virtual network",
            Self::NetworkInterface => "a network interface",
            Self::NetworkSecurityGroup => "a network security group",
            Self::LogicalNetwork => "a logical network",
            Self::LoadBalancerManager => "a load balancer manager",
            Self::LoadBalancerMux => "a load balancer mux",
            Self::VirtualServer => "a virtual server",
        }
    }

    /// The kind of this segment, in any case.
    #[must_use]
    pub fn of_segment(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.segment().eq_ignore_ascii_case(segment))
    }

    /// The kind of this resource type, in any case.
    #[must_use]
    pub fn of_type(name: &str) -> Option<Self> {
        let (provider, segment) = name.split_once('/')?;
        provider.eq_ignore_ascii_case(PROVIDER).then(|| Self::of_segment(segment)).flatten()
    }

    /// The children a resource of this kind has, by collection.
    #[must_use]
    pub const fn collections(self) -> &'static [Collection] {
        const fn plain(name: &'static str) -> Collection {
            Collection { name, collections: &[] }
        }
        const POOLS: &[Collection] = &[plain("ipPools")];
        match self {
            Self::LoadBalancer => {
                const {
                    &[
                        plain("frontendIPConfigurations"),
                        plain("backendAddressPools"),
                        plain("loadBalancingRules"),
                        plain("probes"),
                        plain("inboundNatRules"),
                        plain("outboundRules"),
                        plain("inboundNatPools"),
                    ]
                }
            }
            Self::VirtualNetwork => const { &[plain("subnets")] },
            Self::NetworkInterface => const { &[plain("ipConfigurations")] },
            Self::NetworkSecurityGroup => const { &[plain("securityRules")] },
            Self::LogicalNetwork => &[Collection { name: "subnets", collections: POOLS }],
            Self::PublicIpAddress
            | Self::PublicIpPrefix
            | Self::LoadBalancerManager
            | Self::LoadBalancerMux
            | Self::VirtualServer => &[],
        }
    }
}

/// The provider of all of them.
pub const PROVIDER: &str = "Microsoft.Network";
