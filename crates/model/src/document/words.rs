//! The words fields may hold.

words! {
    /// Which packets of a client reach one member (DIST-1).
    Distribution {
        Default = "Default",
        SourceIp = "SourceIP",
        SourceIpProtocol = "SourceIPProtocol",
    }
}

words! {
    /// How the answers of a pool's members get back when the balancer rewrites packets: through the balancer
    /// because it put its own address in the client's place, or because it is the members' gateway.
    ReturnPath {
        Masquerade = "masquerade",
        Gateway = "gateway",
    }
}

words! {
    /// What a rule carries. Sctp is an extension: Azure balances it in rules for all protocols only.
    TransportProtocol {
        Tcp = "Tcp",
        Udp = "Udp",
        All = "All",
        Quic = "Quic",
        Sctp = "Sctp",
        Gre = "GRE",
        Esp = "ESP",
    }
}

words! {
    /// How a probe asks.
    ProbeProtocol {
        Tcp = "Tcp",
        Http = "Http",
        Https = "Https",
    }
}

words! {
    /// What happens when every probe fails (FLOW-2).
    NoHealthyBackendsBehavior {
        AllProbedDown = "AllProbedDown",
        AllProbedUp = "AllProbedUp",
    }
}

words! {
    /// A member's health by order (FLOW-4).
    AdminState {
        None = "None",
        Up = "Up",
        Down = "Down",
    }
}

words! {
    /// Who chooses an address.
    AllocationMethod {
        Static = "Static",
        Dynamic = "Dynamic",
        Unmanaged = "Unmanaged",
    }
}

words! {
    /// The IP version of an address.
    IpVersion {
        V4 = "IPv4",
        V6 = "IPv6",
    }
}

words! {
    /// The kind of a load balancer.
    SkuName {
        Basic = "Basic",
        Standard = "Standard",
        Gateway = "Gateway",
        Service = "Service",
    }
}

words! {
    /// The kind of a public address.
    PublicIpSkuName {
        Basic = "Basic",
        Standard = "Standard",
        StandardV2 = "StandardV2",
    }
}

words! {
    /// How far a resource reaches.
    SkuTier {
        Regional = "Regional",
        Global = "Global",
    }
}

words! {
    /// Whether a load balancer faces the public.
    Scope {
        Public = "Public",
        Private = "Private",
    }
}

words! {
    /// How the membership of a pool follows its network.
    SyncMode {
        Automatic = "Automatic",
        Manual = "Manual",
    }
}

words! {
    /// What a tunnel interface speaks.
    TunnelProtocol {
        None = "None",
        Native = "Native",
        Vxlan = "VXLAN",
    }
}

words! {
    /// Which side of an appliance a tunnel interface is.
    TunnelType {
        None = "None",
        Internal = "Internal",
        External = "External",
    }
}

words! {
    /// Whether a security rule is about packets that come or go.
    Direction {
        Inbound = "Inbound",
        Outbound = "Outbound",
    }
}

words! {
    /// What a security rule does with a packet.
    Access {
        Allow = "Allow",
        Deny = "Deny",
    }
}

words! {
    /// What a security rule is about.
    SecurityProtocol {
        Any = "*",
        Tcp = "Tcp",
        Udp = "Udp",
        Icmp = "Icmp",
        IcmpV6 = "Icmpv6",
        Esp = "Esp",
        Ah = "Ah",
        Gre = "Gre",
    }
}

words! {
    /// Whether matches of a security rule are written down.
    Logging {
        Enabled = "Enabled",
        Disabled = "Disabled",
    }
}

words! {
    /// How frontends are made known to the network around.
    MuxMode {
        BgpPeering = "BgpPeering",
        L2Forwarding = "L2Forwarding",
    }
}

words! {
    /// The kind of a public IP prefix.
    PublicIpPrefixSkuName {
        Standard = "Standard",
        StandardV2 = "StandardV2",
    }
}
