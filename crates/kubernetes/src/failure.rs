//! Why a Service could not be served, in words and as a class for programs.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub class: Class,
    /// What is wrong: it names the annotation, address or port.
    pub message: String,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

macro_rules! classes {
    ($($(#[$meta:meta])* $class:ident = $word:literal, $retry:ident;)*) => {
        /// The kind of a failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Class {
            $($(#[$meta])* $class,)*
        }

        impl Class {
            /// Its word, as programs read it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$class => $word,)*
                }
            }

            /// What has to happen before trying again can help.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self {
                    $(Self::$class => Retry::$retry,)*
                }
            }
        }
    };
}

/// What has to happen before trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Somebody has to change the Service: trying now and then is enough.
    WhenChanged,
    /// It is about something else that may come, go or change: time may mend it.
    Soon,
}

classes! {
    /// A whole number is wanted.
    NotAnInteger = "annotation.not-an-integer", WhenChanged;
    /// A number outside its range.
    OutOfRange = "annotation.out-of-range", WhenChanged;
    /// Interval times threshold.
    ProbeTooLong = "probe.total-too-long", WhenChanged;
    /// Probing more often than is allowed.
    ProbeIntervalTooSmall = "probe.interval-too-small", WhenChanged;
    /// Fewer failures than are needed.
    ProbeCountTooSmall = "probe.count-too-small", WhenChanged;
    /// No port of the Service has this name.
    ProbePortUnknown = "probe.port-unknown", WhenChanged;
    /// No port has this number.
    ProbePortOutOfRange = "probe.port-out-of-range", WhenChanged;
    /// What is no address is to be one.
    InvalidAddress = "address.invalid", WhenChanged;
    /// An address that nobody can call from outside.
    NotPublic = "address.not-public", WhenChanged;
    /// No public IP has this address.
    AddressNotFound = "address.not-found", Soon;
    /// No public IP has this name.
    PublicIpNotFound = "public-ip.not-found", Soon;
    /// The label is another Service's.
    DnsLabelTaken = "dns-label.taken", Soon;
    /// No subnet has this name.
    SubnetNotFound = "subnet.not-found", Soon;
    /// No set of nodes has this name.
    SetNotFound = "vm-set.not-found", Soon;
    /// A load balancer has as many rules as it may.
    TooManyRules = "limit.rules", Soon;
    /// Security rules beyond what one group may have.
    TooManySecurityRules = "limit.security-rules", Soon;
    /// No load balancer may have the Service.
    NoBalancer = "placement.none-eligible", Soon;
    /// The choice of a load balancer contradicts itself.
    PlacementConflict = "placement.conflict", Soon;
    /// The cloud config cannot be used.
    Config = "config.invalid", WhenChanged;
    /// Somebody else has that port of the frontend.
    PortConflict = "port.conflict", Soon;
    /// The frontend is used by others.
    FrontendInUse = "frontend.in-use", Soon;
    /// SCTP where it cannot be.
    Sctp = "sctp.unsupported", WhenChanged;
    /// A node port is needed and not there.
    NoNodePort = "port.no-node-port", WhenChanged;
    /// Two lists of ranges where one is allowed.
    RangesConflict = "ranges.conflict", WhenChanged;
    /// There is no address yet.
    NoAddress = "address.missing", Soon;
    /// The store refused what was written.
    Refused = "store.refused", Soon;
    /// The server cannot be asked.
    Server = "server.away", Soon;
    /// The cluster refused what was written, or cannot be asked.
    Cluster = "cluster.refused", Soon;
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Serialize for Class {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
