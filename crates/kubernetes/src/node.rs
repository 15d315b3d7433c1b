//! Which nodes are members, and of which set each is. Whether they are ready does not count: probes find that out. It counts for the taint
//! of those that were shut down.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::config::{Config, PoolType};
use crate::service::Family;

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
const MANAGED: &str = "kubernetes.azure.com/managed";
const GROUP: &str = "kubernetes.azure.com/resource-group";
/// The set that a node belongs to, the more common label first.
const SETS: [&str; 2] = ["agentpool", "kubernetes.azure.com/agentpool"];
const CONTROL_PLANE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
const ROLE: &str = "kubernetes.io/role";

/// What the one who shut a node down says of it.
const SHUT_DOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";
/// What lets a cluster take pods and volumes off a node that cannot say that they have ended.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
const NO_EXECUTE: &str = "NoExecute";

/// Labels of anything.
pub type Labels = BTreeMap<String, String>;

/// A node that can be a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node's name.
    pub name: String,
    /// The set of nodes that it is one of.
    pub set: String,
    /// Its internal addresses.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: Labels,
}

impl Member {
    /// Its first internal address of a family.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }
}

/// Those of the nodes that load balancers may be told of at all.
#[must_use]
pub fn handed_over(nodes: &[core::Node]) -> Vec<&core::Node> {
    nodes.iter().filter(|node| is_handed_over(node)).collect()
}

/// The members of a cluster's pools.
#[must_use]
pub fn members(config: &Config, nodes: &[core::Node]) -> Vec<Member> {
    let nodes = handed_over(nodes).into_iter().filter(|node| is_member(config, node));
    nodes.map(member).collect()
}

/// Whether the labels fit. Without a selector nothing is asked for; an empty one fits everything.
#[must_use]
pub fn fits(selector: &LabelSelector, labels: &Labels) -> bool {
    let pairs = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    pairs.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && expressions.into_iter().all(|it| {
            let value = labels.get(&it.key);
            let listed = value.is_some_and(|value| it.values.iter().flatten().any(|one| one == value));
            match it.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// Whether a selector asks for nothing.
#[must_use]
pub fn is_empty(selector: Option<&LabelSelector>) -> bool {
    selector.is_none_or(|it| {
        it.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && it.match_expressions.as_ref().is_none_or(Vec::is_empty)
    })
}

/// The set that a node is one of.
#[must_use]
pub fn set_of(node: &core::Node) -> &str {
    SETS.iter().find_map(|label| label_of(node, label)).unwrap_or_default()
}

/// The taints that a node should have, where it has others: one that was shut down is out of service as long as it is not ready.
#[must_use]
pub fn taints_instead(node: &core::Node) -> Option<Vec<core::Taint>> {
    let taints = taints(node);
    let is_out = |taint: &core::Taint| taint.key == OUT_OF_SERVICE && taint.effect == NO_EXECUTE;
    let has_it = taints.iter().any(is_out);
    let wants_it = !is_ready(node) && (has_it || taints.iter().any(|taint| taint.key == SHUT_DOWN));
    if has_it == wants_it {
        return None;
    }
    let mut instead: Vec<core::Taint> = taints.iter().filter(|taint| !is_out(taint)).cloned().collect();
    if wants_it {
        let (key, effect) = (OUT_OF_SERVICE.to_owned(), NO_EXECUTE.to_owned());
        instead.push(core::Taint { key, effect, ..core::Taint::default() });
    }
    Some(instead)
}

fn taints(node: &core::Node) -> &[core::Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn is_ready(node: &core::Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn is_handed_over(node: &core::Node) -> bool {
    // A value that is no boolean excludes.
    let excluded = label_of(node, EXCLUDED).is_some_and(|value| !is_false(value));
    node.metadata.deletion_timestamp.is_none()
        && !excluded
        && !taints(node).iter().any(|taint| taint.key == TO_BE_DELETED)
}

/// The words for false that the original knows.
fn is_false(value: &str) -> bool {
    matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

fn is_member(config: &Config, node: &core::Node) -> bool {
    let is_unmanaged = label_of(node, MANAGED).is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let in_mode = match config.pools {
        PoolType::NodeIp => !is_control_plane(node),
        PoolType::NodeIpConfiguration => {
            let foreign =
                label_of(node, GROUP).is_some_and(|group| !group.eq_ignore_ascii_case(&config.group));
            let excluded = label_of(node, EXCLUDED).is_some();
            let skipped = is_control_plane(node) && config.exclude_control_plane && config.is_standard();
            !foreign && !excluded && !skipped
        }
    };
    !is_unmanaged && in_mode
}

fn is_control_plane(node: &core::Node) -> bool {
    CONTROL_PLANE.iter().any(|label| label_of(node, label).is_some())
        || label_of(node, ROLE).is_some_and(|role| role == "master")
}

fn member(node: &core::Node) -> Member {
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let internal = addresses.iter().filter(|address| address.type_ == "InternalIP");
    Member {
        name: node.metadata.name.clone().unwrap_or_default(),
        set: set_of(node).to_owned(),
        addresses: internal.filter_map(|address| address.address.parse().ok()).collect(),
        labels: node.metadata.labels.clone().unwrap_or_default(),
    }
}

fn label_of<'n>(node: &'n core::Node, label: &str) -> Option<&'n str> {
    node.metadata.labels.as_ref()?.get(label).map(String::as_str)
}
