//! The ARM face: the schemas of all kinds, and the paths of their resources, children and lists.

use model::{Collection, Document, Kind};
use serde_json::{Value, json};

use super::parts::{Operation, Paths, Schemas, list_of, of};
use crate::api::status;

pub(super) const TAG: &str = "Resource Manager";

const SUBSCRIPTION: &str = "/subscriptions/{subscription}";
const GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{resourceGroup}";
const IN_SUBSCRIPTION: &[&str] = &["subscription", "api-version"];
const IN_GROUP: &[&str] = &["subscription", "resourceGroup", "api-version"];
/// The names of what is within each other, from the outside inwards.
const NAMES: [&str; 3] = ["name", "child", "grandchild"];

pub(super) fn describe(paths: &mut Paths, schemas: &mut Schemas) {
    schemas.add("ResourceSummary", summary());
    schemas.add("RuleHealth", rule_health());
    schemas.add("MemberHealth", member_health());
    health(paths);
    schemas.add("InboundNatRulePortMappings", port_mappings());
    ports(paths);
    for (scope, id, parameters) in [(SUBSCRIPTION, "list", IN_SUBSCRIPTION), (GROUP, "listInGroup", IN_GROUP)]
    {
        let parameters = [parameters, &["filter", "top"]].concat();
        let (id, words) = (format!("resources_{id}"), "Resources of all kinds, in few words each".to_owned());
        let operation = show(id, words, &parameters, list_of("ResourceSummary"), false);
        paths.add(&format!("{scope}/resources"), operation);
    }
    for kind in Kind::ALL {
        let segment = kind.segment();
        schema(segment, Document::schema(kind), kind.collections(), schemas);
        for (scope, id, parameters) in
            [(SUBSCRIPTION, "list", IN_SUBSCRIPTION), (GROUP, "listInGroup", IN_GROUP)]
        {
            let words = format!(
                "All `{segment}` of a {}",
                if scope == GROUP { "resource group" } else { "subscription" }
            );
            let operation = show(format!("{segment}_{id}"), words, parameters, list_of(segment), false);
            paths.add(&format!("{scope}/providers/{}", kind.type_name()), operation);
        }
        let place = format!("{GROUP}/providers/{}/{{name}}", kind.type_name());
        resource(paths, &place, segment, kind.in_words(), 1);
        tags(paths, &place, segment, kind.in_words());
        children(paths, &place, segment, kind.collections(), 1);
    }
}

/// Adds a schema, and those of its children apart.
fn schema(name: &str, mut schema: Value, collections: &[Collection], schemas: &mut Schemas) {
    let fields = &mut schema["properties"]["properties"]["properties"];
    fields["configurationState"] = of("ConfigurationState");
    if !name.contains('.') {
        fields["resourceGuid"] = json!({ "type": "string", "format": "uuid", "readOnly": true });
    }
    let mut apart = Vec::new();
    for collection in collections {
        let child = format!("{name}.{}", collection.name);
        let inner = std::mem::replace(&mut fields[collection.name]["items"], of(&child));
        apart.push((child, inner, collection.collections));
    }
    schemas.add(name, schema);
    for (child, inner, collections) in apart {
        self::schema(&child, inner, collections, schemas);
    }
}

fn children(paths: &mut Paths, place: &str, name: &str, collections: &[Collection], depth: usize) {
    let Some(parameter) = NAMES.get(depth) else { return };
    for collection in collections {
        let (name, place) = (format!("{name}.{}", collection.name), format!("{place}/{}", collection.name));
        let words = format!("All `{}` of it", collection.name);
        let parameters = [IN_GROUP, &NAMES[..depth]].concat();
        paths.add(&place, show(format!("{}_list", id(&name)), words, &parameters, list_of(&name), false));
        let place = format!("{place}/{{{parameter}}}");
        resource(paths, &place, &name, &format!("one of `{}`", collection.name), depth + 1);
        children(paths, &place, &name, collection.collections, depth + 1);
    }
}

/// GET, PUT and DELETE of what has `depth` names.
fn resource(paths: &mut Paths, place: &str, name: &str, words: &str, depth: usize) {
    let parameters = [IN_GROUP, &NAMES[..depth]].concat();
    let id = id(name);
    let shown = show(format!("{id}_get"), format!("Shows {words}"), &parameters, of(name), true);
    paths.add(place, shown);
    let put = [&parameters[..], &["If-Match", "If-None-Match"]].concat();
    paths.add(
        place,
        Operation {
            tag: TAG,
            method: "put",
            id: format!("{id}_put"),
            summary: format!("Creates or replaces {words}"),
            parameters: &put,
            body: Some(of(name)),
            done: status::OF_PUT,
            shown: Some(of(name)),
            tagged: true,
        },
    );
    paths.add(
        place,
        Operation {
            tag: TAG,
            method: "delete",
            id: format!("{id}_delete"),
            summary: format!("Removes {words}"),
            parameters: &[&parameters[..], &["If-Match"]].concat(),
            body: None,
            done: status::OF_DELETE,
            shown: None,
            tagged: false,
        },
    );
}

fn tags(paths: &mut Paths, place: &str, name: &str, words: &str) {
    let text = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    paths.add(
        place,
        Operation {
            tag: TAG,
            method: "patch",
            id: format!("{}_updateTags", id(name)),
            summary: format!("Replaces the tags of {words}"),
            parameters: &[IN_GROUP, &["name", "If-Match"]].concat(),
            body: Some(
                json!({ "type": "object", "properties": { "tags": text }, "additionalProperties": false }),
            ),
            done: status::OF_READING,
            shown: Some(of(name)),
            tagged: true,
        },
    );
}

/// What Azure has as an action: who of a rule's members is well.
fn health(paths: &mut Paths) {
    let place = format!(
        "{GROUP}/providers/{}/{{name}}/loadBalancingRules/{{child}}/health",
        Kind::LoadBalancer.type_name()
    );
    let id = "loadBalancers_loadBalancingRules_health".to_owned();
    let summary = "Says which members of a rule are well, and why; the rule has a probe".to_owned();
    let parameters = [IN_GROUP, &NAMES[..2]].concat();
    paths
        .add(&place, Operation { method: "post", ..show(id, summary, &parameters, of("RuleHealth"), false) });
}

/// And which ports lead to one of its members.
fn ports(paths: &mut Paths) {
    let action = "queryInboundNatRulePortMapping";
    let place = format!(
        "{GROUP}/providers/{}/{{name}}/backendAddressPools/{{child}}/{action}",
        Kind::LoadBalancer.type_name()
    );
    let id = format!("loadBalancers_backendAddressPools_{action}");
    let summary = "Says which ports of inbound NAT rules' ranges lead to a member of a pool".to_owned();
    let parameters = [IN_GROUP, &NAMES[..2]].concat();
    let reference = json!({ "type": "object", "properties": { "id": { "type": "string" } } });
    let asked = json!({
        "type": "object",
        "description": "One of both.",
        "properties": { "ipAddress": { "type": "string" }, "ipConfiguration": reference },
    });
    let shown = of("InboundNatRulePortMappings");
    let operation =
        Operation { method: "post", body: Some(asked), ..show(id, summary, &parameters, shown, false) };
    paths.add(&place, operation);
}

fn port_mappings() -> Value {
    let number = || json!({ "type": "integer" });
    let mapping = json!({
        "type": "object",
        "properties": {
            "inboundNatRuleName": { "type": "string" },
            "protocol": { "type": "string" },
            "frontendPort": number(),
            "backendPort": number(),
        },
        "required": ["inboundNatRuleName", "protocol", "frontendPort", "backendPort"],
    });
    json!({
        "type": "object",
        "properties": { "inboundNatRulePortMappings": { "type": "array", "items": mapping } },
        "required": ["inboundNatRulePortMappings"],
    })
}

fn rule_health() -> Value {
    json!({
        "type": "object",
        "properties": {
            "up": { "type": "integer", "description": "How many take new flows." },
            "down": { "type": "integer", "description": "How many do not." },
            "loadBalancerBackendAddresses": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "ipAddress": { "type": "string" },
                        "networkInterfaceIPConfigurationId": { "type": "string", "description": "Empty for a member by its address." },
                        "state": { "type": "string", "enum": ["Up", "Down"] },
                        "reason": { "type": "string", "description": "Azure's word for why; `NA` before the first result." },
                        "forebay": of("MemberHealth"),
                    },
                    "required": ["ipAddress", "networkInterfaceIPConfigurationId", "state", "reason"],
                },
            },
        },
        "required": ["up", "down", "loadBalancerBackendAddresses"],
    })
}

/// A member as one probe sees it.
fn member_health() -> Value {
    let (text, when) =
        (|| json!({ "type": "string" }), || json!({ "type": "string", "format": "date-time" }));
    let turn = json!({
        "type": "object",
        "properties": { "at": when(), "from": text(), "to": text(), "because": text() },
        "required": ["at", "from", "to", "because"],
    });
    json!({
        "type": "object",
        "description": "A member as one probe sees it, in words.",
        "properties": {
            "member": text(),
            "address": text(),
            "weight": { "type": "integer", "description": "Its share of new flows beside those of the others: 1 to 100." },
            "state": { "type": "string", "enum": ["up", "down", "unknown"], "description": "What the probe found." },
            "since": when(),
            "takesNewFlows": { "type": "boolean" },
            "because": { "type": "string", "description": "Why that is not what the probe found, where it is not." },
            "last": { "type": "string", "description": "The newest result; empty before the first." },
            "lastAt": when(),
            "inARow": { "type": "integer", "description": "How many results like it there were in a row." },
            "history": { "type": "array", "items": turn, "description": "The changes of state, newest first; at most 16." },
        },
        "required": ["member", "address", "weight", "state", "since", "takesNewFlows", "last", "inARow", "history"],
    })
}

fn show<'a>(
    id: String,
    summary: String,
    parameters: &'a [&'static str],
    shown: Value,
    tagged: bool,
) -> Operation<'a> {
    let (tag, done) = (TAG, status::OF_READING);
    Operation { tag, method: "get", id, summary, parameters, body: None, done, shown: Some(shown), tagged }
}

fn id(name: &str) -> String {
    name.replace('.', "_")
}

fn summary() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "name": { "type": "string" },
            "type": { "type": "string" },
            "location": { "type": "string" },
            "tags": { "type": "object", "additionalProperties": { "type": "string" } },
            "sku": { "type": "object" },
        },
        "required": ["id", "name", "type"],
    })
}
