//! Probes.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::field;
use crate::Port;
use crate::desired::{self, Ask};
use crate::document::words::{NoHealthyBackendsBehavior, ProbeProtocol, SkuName};
use crate::document::{LoadBalancer, Probe};
use crate::problem::{Code, Path, Report};

/// Ports Azure refuses to ask over HTTP, because what listens there is something else.
const REFUSED: [u32; 9] = [19, 21, 25, 70, 110, 119, 143, 220, 993];

/// Between attempts, where they are closer together than Azure's (PROBE-2).
const MILLISECONDS: RangeInclusive<u32> = 100..=4_999;
/// What Azure takes when nothing is said, in seconds.
const INTERVAL: u32 = 15;

/// The probe as it is done; `None` where something of it is missing or wrong, which was said.
pub(super) fn desired(balancer: &str, probe: &Probe) -> Option<desired::Probe> {
    let path = || probe.request_path.clone().filter(|path| !path.is_empty());
    let ask = match probe.protocol? {
        ProbeProtocol::Tcp => Ask::Tcp,
        ProbeProtocol::Http => Ask::Http(path()?),
        ProbeProtocol::Https => Ask::Https(path()?),
    };
    let often = probe.forebay.as_ref().and_then(|extension| extension.interval_in_milliseconds);
    let seconds = Duration::from_secs(probe.interval_in_seconds.unwrap_or(INTERVAL).into());
    Some(desired::Probe {
        name: format!("{balancer}/{}", probe.name),
        ask,
        port: Port::new(probe.port?).ok()?,
        interval: often.map_or(seconds, |often| Duration::from_millis(often.into())),
        threshold: probe.probe_threshold.or(probe.number_of_probes).unwrap_or(1).clamp(1, 100),
        all_down: probe.no_healthy_backends_behavior.unwrap_or(NoHealthyBackendsBehavior::AllProbedDown),
    })
}

pub(super) fn examine(report: &mut Report, balancer: &LoadBalancer) {
    let array = Path::default().field("probes");
    for (index, probe) in balancer.probes.iter().enumerate() {
        let at = array.element(&probe.name, index);
        let protocol = field::required(report, &at, "protocol", probe.protocol);
        field::required(report, &at, "port", probe.port);
        let port = field::within(report, &at, "port", probe.port, 1..=65_535);
        field::within(report, &at, "intervalInSeconds", probe.interval_in_seconds, 5..=u32::MAX);
        let often = probe.forebay.as_ref().and_then(|extension| extension.interval_in_milliseconds);
        field::within(report, &at.field("forebay"), "intervalInMilliseconds", often, MILLISECONDS);
        field::within(report, &at, "probeThreshold", probe.probe_threshold, 1..=100);
        field::within(report, &at, "numberOfProbes", probe.number_of_probes, 1..=u32::MAX);
        match protocol {
            Some(ProbeProtocol::Tcp) => tcp(report, &at, probe),
            Some(ProbeProtocol::Http) => http(report, &at, probe, port),
            Some(ProbeProtocol::Https) => {
                if balancer.sku_name() == SkuName::Basic {
                    let message =
                        "Basic load balancers have no HTTPS probes: use Standard, or another protocol";
                    report.add(&at.field("protocol"), Code::NotInThisSku, message);
                }
                http(report, &at, probe, port);
            }
            None => {}
        }
    }
}

fn tcp(report: &mut Report, at: &Path, probe: &Probe) {
    if probe.request_path.as_ref().is_some_and(|path| !path.is_empty()) {
        let message = "a Tcp probe asks for no path: remove it, or make the probe Http";
        report.add(&at.field("requestPath"), Code::InvalidRequestFormat, message);
    }
}

fn http(report: &mut Report, at: &Path, probe: &Probe, port: Option<u32>) {
    let path = probe.request_path.as_deref().filter(|path| !path.is_empty());
    if let Some(path) = field::required(report, at, "requestPath", path)
        && path.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        let message = "a path has no spaces and no line breaks: encode them";
        report.add(&at.field("requestPath"), Code::InvalidRequestFormat, message);
    }
    if let Some(port) = port.filter(|port| REFUSED.contains(port)) {
        let message = format!("HTTP probes may not use port {port}: use another one");
        report.add(&at.field("port"), Code::ProbePortRefused, message);
    }
}
