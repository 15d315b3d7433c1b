//! Why a request is refused, in the Network Controller's words: its codes, its names of fields, its pointers.

use model::Problem;
use serde_json::Map;

use super::answer::Answer;
use super::translate::dictionary::{Entry, Field};
use super::translate::finding::Finding;
use super::translate::reference::Home;
use crate::api::{self, Dialect, Said, status};
use crate::catalogue::{Fault, Refused};

/// Why a request is refused.
#[derive(Debug)]
pub enum Refusal {
    /// What is wrong with it, all of it.
    Findings(Vec<Finding>),
    /// What can happen in every dialect.
    Common(api::Refusal),
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Common(refused.into())
    }
}

impl From<api::Refusal> for Refusal {
    fn from(refusal: api::Refusal) -> Self {
        Self::Common(refusal)
    }
}

impl Refusal {
    /// One mistake.
    pub fn of(target: &str, code: &str, message: impl Into<String>) -> Self {
        Self::Findings(vec![Finding::at(target, "", code, message)])
    }

    /// What was found when the request was read, and what is wrong with the rest of it. What could not be read looks
    /// absent to the judge, so what he says there is left out.
    #[must_use]
    pub fn together(mut findings: Vec<Finding>, problems: &[Problem], home: &Home) -> Self {
        let places: Vec<String> = findings.iter().map(|finding| finding.target.to_lowercase()).collect();
        let is_news = |judged: &Finding| {
            let target = judged.target.to_lowercase();
            let is_within = |place: &String| {
                target.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            !judged.message.is_empty() && !places.iter().any(is_within)
        };
        let judged = problems.iter().map(|problem| finding(problem, home));
        findings.extend(judged.filter(is_news));
        Self::Findings(findings)
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self, home: &Home) -> Answer {
        let (said, refusal) = match self {
            Self::Findings(findings) => (said(findings), &of_findings(findings)),
            Self::Common(api::Refusal::Refused(Refused::Invalid(problems))) => {
                let findings: Vec<Finding> = problems.iter().map(|problem| finding(problem, home)).collect();
                (said(&findings), &of_findings(&findings))
            }
            Self::Common(refusal) => (retold(refusal.said(Dialect::Networking), home), refusal),
        };
        let body = Map::from_iter([("error".to_owned(), said.value())]);
        let answer = Answer::json(status::of_refusal(refusal, Dialect::Networking), &body.into());
        match self {
            Self::Common(api::Refusal::Method { allowed, .. }) => answer.allowing(allowed),
            Self::Findings(_) | Self::Common(_) => answer,
        }
    }
}

/// Whether it is the request that is wrong, or what it meets.
fn of_findings(findings: &[Finding]) -> api::Refusal {
    let meets = findings.first().is_some_and(|finding| is_conflict(&finding.code));
    let fault = Fault::new("ValidationError", "");
    api::Refusal::Refused(if meets { Refused::Conflict(fault) } else { Refused::Wrong(fault) })
}

fn is_conflict(code: &str) -> bool {
    code.starts_with("InUse")
        || code.starts_with("CannotUpdateMuxMode")
        || ["ResourceInUse", "NicInUse", "AnotherOperationInProgress", "ReferencedResourceNotProvisioned"]
            .contains(&code)
}

fn said(findings: &[Finding]) -> Said {
    let details: Vec<Said> = findings.iter().map(single).collect();
    let Some(first) = findings.first() else {
        return Said::new("ValidationError", "the request is not valid");
    };
    let code = match first.code.as_str() {
        // What it is in particular stands in the details.
        "InvalidJsonReferenceWrongType" => "InvalidRequestFormat",
        code => code,
    };
    let message = match findings.len() {
        1 => first.message.clone(),
        many => format!("there are {many} problems, each in `details`; the first: {}", first.message),
    };
    Said { target: first.target.clone(), details, ..Said::new(code, message) }
}

fn single(finding: &Finding) -> Said {
    Said { target: finding.target.clone(), ..Said::new(&finding.code, &finding.message) }
}

/// The same with pointers where canonical ids are.
fn retold(said: Said, home: &Home) -> Said {
    let Said { code, message, target, details } = said;
    let details = details.into_iter().map(|detail| retold(detail, home)).collect();
    Said { code, message: home.retell(&message), target: home.retell(&target), details }
}

/// A problem that was found in the canonical documents.
fn finding(problem: &Problem, home: &Home) -> Finding {
    let owner = home.pointer(&problem.document, "");
    let entry = Entry::of_pointer(&owner);
    let (path, field) = entry.map_or((problem.path.clone(), None), |entry| translated(entry, &problem.path));
    Finding {
        target: if path.is_empty() { owner } else { format!("{owner}/{path}") },
        code: code(problem, field).to_owned(),
        message: home.retell(&problem.message),
    }
}

/// The path of a problem as this dialect names it, and the field it ends at, if it is one that the dialect has.
fn translated(entry: &'static Entry, path: &str) -> (String, Option<&'static Field>) {
    if let Some((collection, rest)) = path.split_once('/')
        && let Some(inner) = entry.canonical_collection(collection)
    {
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (rest, field) = translated(inner, rest);
        let rest = if rest.is_empty() { rest } else { format!("/{rest}") };
        return (format!("{}/{name}{rest}", inner.name), field);
    }
    let fields = || entry.fields.iter().chain(entry.beside).filter(|field| !field.canonical.is_empty());
    let is_it = |field: &&Field| field.canonical.eq_ignore_ascii_case(path);
    let begins = |field: &&Field| {
        let head = path.get(..field.canonical.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(field.canonical))
            && path[field.canonical.len()..].starts_with('/')
    };
    let is_rest = |field: &&Field| field.other().is_some_and(|other| path.starts_with(other));
    match fields().find(is_it).or_else(|| fields().find(begins)).or_else(|| fields().find(is_rest)) {
        Some(field) => (field.name.to_owned(), Some(field)),
        None => (path.to_owned(), None),
    }
}

/// The Network Controller's code of a problem. Those that it has too are called the same.
fn code(problem: &Problem, field: Option<&Field>) -> &'static str {
    let is = |name: &str| field.is_some_and(|field| field.name == name);
    let of_address = is("privateIPAddress");
    match problem.code.as_str() {
        "MixedFrontends" => "LoadBalancerHasBothPublicAndInternalFrontends",
        "RulesUseSameFrontendPortProtocolAndIPConfig" => "RulesUseSameFrontendPort",
        "RulesUseSameBackendPortProtocolAndPool"
        | "RulesUseSameBackendPortProtocolAndIPConfig"
        | "RulesOfSameLoadBalancerTypeUseSameBackendPortProtocolAndIPConfig"
        | "FloatingRulesUseSameDestination" => "RulesUseSameBackendPort",
        "MultipleIpConfigsRequestSamePrivateIpAddress" | "PrivateIPAddressInUse" if is("publicIPAddress") => {
            "PublicIPAddressInUse"
        }
        "MultipleIpConfigsRequestSamePrivateIpAddress" | "MemberUsesFrontendAddress" => {
            "PrivateIPAddressInUse"
        }
        "LoadBalancerWithoutFrontendIPCantHaveChildResources" => "InvalidFrontendIPCount",
        "AddressNotUsable" if of_address => "PrivateIPAddressInReservedRange",
        "WrongType" if of_address => "InvalidPrivateIPAddressFormat",
        "MissingField" | "AddressUnknown" if of_address => "PrivateIPAddressMissing",
        "MissingField" => "RequiredParamMissing",
        "DuplicateName" if problem.path.contains("Rules/") => "RuleNameDuplicate",
        "DuplicateName" => "InvalidResourceName",
        "HaPortsNeedInternalFrontend" => "InvalidAnyPortAnyProtocolInboundRule",
        "NotThereYet" | "NotInThisSku" | "ReturnPathNeeded" => "OperationNotSupported",
        "OutOfRange" => field.and_then(Field::range_code).unwrap_or("InvalidParameterValue"),
        "NoPublicAddressIsFree" => "SubnetIsFull",
        "AddressFamilyMismatch"
        | "AddressNotUsable"
        | "AddressUnknown"
        | "MacAddressInUse"
        | "NetcfgInvalidSubnet"
        | "NetcfgSubnetRangesOverlap"
        | "ProbePortRefused"
        | "SecurityRuleConflict"
        | "UnknownField"
        | "UnknownValue"
        | "WrongType" => "InvalidParameterValue",
        "LimitReached" => "ValidationError",
        same => KNOWN.iter().find(|known| **known == same).copied().unwrap_or("ValidationError"),
    }
}

/// Codes that both have.
const KNOWN: &[&str] = &[
    "BackendIPConfigurationsDontUseSameVnet",
    "FrontEndIpNotInVipPool",
    "FrontendIPConfigAndBackendIPConfigsAreInDifferentVnets",
    "FrontendIPConfigHasBothSubnetAndPublicIP",
    "FrontendIPConfigHasNoSubnetOrPublicIP",
    "FrontendIpConfigSubnetNoAddrPrefix",
    "InboundNatRuleInUse",
    "InvalidFrontendIPCount",
    "InvalidParameterValue",
    "InvalidRequestFormat",
    "InvalidResourceName",
    "InvalidResourceReference",
    "IpConfigCannotHaveFloatingIpAnyPortLbRulesWithNonFloatingIpRules",
    "IpConfigCannotHaveOtherLbRulesWithNonFloatingIpAnyPortRule",
    "LoadBalancerHasBothPublicAndInternalFrontends",
    "PrivateIPAddressInReservedRange",
    "PrivateIPAddressInUse",
    "PrivateIPAddressNotInSubnet",
    "PublicIPAddressInUse",
    "RuleNameDuplicate",
    "StaticAllocationMethodNotSupported",
    "SubnetIsFull",
    "SubnetIsRequired",
    "VipRangeTooLarge",
];
