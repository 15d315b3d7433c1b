//! Probes: kube-proxy's health port for the Local policy, one for all where the config says so, else one for each TCP port.

use model::document::Probe;
use model::document::words::ProbeProtocol;

use super::Translation;
use crate::annotation::{
    self, Annotations, PLS_CREATE, PLS_PROXY, PREFIX, PROBE_COUNT, PROBE_INTERVAL, PROBE_PATH, PROBE_PROTOCOL,
};
use crate::event::Event;
use crate::failure::{Class, Failure};
use crate::name;
use crate::service::{Family, Port, Service, Transport};

const LOCAL_PATH: &str = "/healthz";
const DEFAULT_PATH: &str = "/";
const INTERVAL: i32 = 5;
const COUNT: i32 = 2;
/// A member must be found down before this many seconds have passed.
const TOO_LONG: i32 = 120;

/// The probe of a whole Service.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Common {
    /// There is none: each port has its own.
    None,
    /// Nodes with endpoints are asked; a port may still have its own.
    Local(Probe),
    /// The one probe of all Services.
    Shared(Probe),
}

impl Common {
    pub(super) const fn probe(&self) -> Option<&Probe> {
        match self {
            Self::None => None,
            Self::Local(probe) | Self::Shared(probe) => Some(probe),
        }
    }
}

impl Translation<'_> {
    /// The probe of a Service as a whole.
    pub(super) fn common_probe(&self, service: &Service<'_>, family: Family) -> Result<Common, Failure> {
        let annotations = service.annotations;
        let proxied = annotations.flag(PLS_CREATE) && annotations.flag(PLS_PROXY);
        if service.is_local() && !proxied {
            let port = service.health_port();
            let (interval, count) = pace(annotations, port)?;
            return Ok(Common::Local(Probe {
                name: name::rule(service, Transport::Tcp, port, family),
                protocol: Some(ProbeProtocol::Http),
                port: u32::try_from(port).ok(),
                request_path: Some(LOCAL_PATH.to_owned()),
                interval_in_seconds: Some(interval),
                probe_threshold: Some(count),
                ..Probe::default()
            }));
        }
        match &self.config.shared_probe {
            Some(shared) if !service.is_local() => Ok(Common::Shared(Probe {
                name: name::SHARED_PROBE.to_owned(),
                protocol: Some(ProbeProtocol::Http),
                port: Some(shared.port),
                request_path: Some(shared.path.clone()),
                interval_in_seconds: Some(INTERVAL.unsigned_abs()),
                probe_threshold: Some(COUNT.unsigned_abs()),
                ..Probe::default()
            })),
            Some(_) | None => Ok(Common::None),
        }
    }

    /// The probe of one port, if it has its own.
    pub(super) fn own_probe(
        &mut self,
        service: &Service<'_>,
        port: &Port<'_>,
        common: &Common,
        name: String,
    ) -> Result<Option<Probe>, Failure> {
        let annotations = service.annotations;
        let asked = annotations.get(&annotation::of_port(port.number, "health-probe_port"));
        let is_common = match common {
            Common::Shared(_) => true,
            Common::Local(_) => asked.is_none(),
            Common::None => false,
        };
        if is_common || port.transport != Transport::Tcp {
            return Ok(None);
        }
        let number = match asked {
            Some(asked) => asked_port(service, port, asked)?,
            None => node_port(port, "a health probe")?,
        };
        let (protocol, path) = self.manner(service, port);
        let (interval, count) = pace(annotations, port.number)?;
        Ok(Some(Probe {
            name,
            protocol: Some(protocol),
            port: Some(number),
            request_path: path,
            interval_in_seconds: Some(interval),
            probe_threshold: Some(count),
            ..Probe::default()
        }))
    }

    /// How it asks: what is said of the port counts more than `appProtocol`, and that more than what is said of the Service.
    fn manner(&mut self, service: &Service<'_>, port: &Port<'_>) -> (ProbeProtocol, Option<String>) {
        let annotations = service.annotations;
        let of_port = annotations.get(&annotation::of_port(port.number, "health-probe_protocol"));
        let said =
            of_port.or(port.app_protocol).or_else(|| annotations.get(PROBE_PROTOCOL)).unwrap_or_default();
        let protocol = match said.trim().to_ascii_lowercase().as_str() {
            "http" => ProbeProtocol::Http,
            "https" if self.config.is_standard() => ProbeProtocol::Https,
            _ => ProbeProtocol::Tcp,
        };
        if protocol == ProbeProtocol::Tcp {
            return (protocol, None);
        }
        let path = annotations.get(&annotation::of_port(port.number, "health-probe_request-path"));
        let path = path.or_else(|| annotations.get(PROBE_PATH));
        if of_port.is_none() && port.app_protocol.is_some() && path.is_none() {
            let message = format!(
                "appProtocol of port {} makes its health probe ask GET {DEFAULT_PATH}: say another path with \
                 {PREFIX}{PROBE_PATH} if that is not answered with 200",
                port.number
            );
            self.tell(Event::normal("HealthProbeFromAppProtocol", message));
        }
        (protocol, Some(path.unwrap_or(DEFAULT_PATH).to_owned()))
    }
}

/// The node port of a Service port.
pub(super) fn node_port(port: &Port<'_>, what: &str) -> Result<u32, Failure> {
    match u32::try_from(port.node_port) {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => {
            let message = format!(
                "port {} has no node port, and {what} needs one: set allocateLoadBalancerNodePorts or nodePort",
                port.number
            );
            Err(Failure::new(Class::NoNodePort, message))
        }
    }
}

/// The port that is asked for: the name or number of a port of the Service means its node port.
fn asked_port(service: &Service<'_>, port: &Port<'_>, asked: &str) -> Result<u32, Failure> {
    let ports = service.ports();
    let annotation = || format!("{PREFIX}{}", annotation::of_port(port.number, "health-probe_port"));
    let by_name = ports.iter().find(|it| it.name.is_some_and(|name| name.eq_ignore_ascii_case(asked)));
    if let Some(named) = by_name {
        return node_port(named, &format!("annotation {}", annotation()));
    }
    let Ok(number) = asked.parse::<i64>() else {
        let message = format!("annotation {}: no port of the Service is named `{asked}`", annotation());
        return Err(Failure::new(Class::ProbePortUnknown, message));
    };
    if let Some(numbered) = ports.iter().find(|it| i64::from(it.number) == number) {
        return node_port(numbered, &format!("annotation {}", annotation()));
    }
    match u16::try_from(number) {
        Ok(number) => Ok(number.into()),
        Err(_) => {
            let message = format!("annotation {}: {number} is not a port: 0 to 65535 are", annotation());
            Err(Failure::new(Class::ProbePortOutOfRange, message))
        }
    }
}

/// Interval and threshold: of a port, else of the Service, else the defaults.
fn pace(annotations: Annotations<'_>, port: i32) -> Result<(u32, u32), Failure> {
    let value = |what: &str, global: &str, default: i32| {
        let of_port = annotation::of_port(port, what);
        let name = if annotations.get(&of_port).is_some() { of_port } else { global.to_owned() };
        annotations.integer(&name).map(|value| (value.unwrap_or(default), name))
    };
    let (count, count_name) = value("health-probe_num-of-probe", PROBE_COUNT, COUNT)?;
    if count < COUNT {
        let message = format!("annotation {PREFIX}{count_name}: {count} is too small: at least {COUNT}");
        return Err(Failure::new(Class::ProbeCountTooSmall, message));
    }
    let (interval, interval_name) = value("health-probe_interval", PROBE_INTERVAL, INTERVAL)?;
    if interval < INTERVAL {
        let message =
            format!("annotation {PREFIX}{interval_name}: {interval} is too small: at least {INTERVAL}");
        return Err(Failure::new(Class::ProbeIntervalTooSmall, message));
    }
    if interval.saturating_mul(count) >= TOO_LONG {
        let message = format!(
            "annotations {PREFIX}{interval_name} and {PREFIX}{count_name}: {interval} s times {count} is too long: less than {TOO_LONG} s"
        );
        return Err(Failure::new(Class::ProbeTooLong, message));
    }
    Ok((interval.unsigned_abs(), count.unsigned_abs()))
}
