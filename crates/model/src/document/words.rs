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
    /// What a rule carries.
    TransportProtocol {
        Tcp = "Tcp",
        Udp = "Udp",
        All = "All",
        Quic = "Quic",
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
