//! Which ports of inbound NAT rules' ranges lead to a member, in the words of azure-arm.md 1.10.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use model::{ChildPath, Code, Inventory, NatMapping, ResourceId};
use serde_json::{Map, Value, json};

use crate::api::{self, Refusal, answer, body, status};
use crate::catalogue::{Fault, Refused};

/// The ports of a member of a pool; none for who is no member.
pub(super) async fn of_pool(
    state: &api::State,
    id: ResourceId,
    path: ChildPath,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = body::read_object(request, &state.settings).await?;
    let snapshot = state.catalogue.snapshot();
    let balancer = snapshot.get(&id).ok_or_else(|| Refused::ParentNotFound { id: id.to_string() })?;
    let member = member(&asked, snapshot.inventory())?;
    let pool = path.last().map_or("", |(_, name)| name);
    let ports = snapshot.desired.nat_ports();
    let mappings = snapshot.inventory().nat_mappings(&balancer.document, pool, member, ports);
    let mappings = mappings.ok_or_else(|| Refused::NotFound { id: id.child(&path) })?;
    let mappings: Vec<Value> = mappings.iter().map(shown).collect();
    let told = json!({ "inboundNatRulePortMappings": mappings });
    Ok(answer::json(status::ANSWERED, HeaderMap::new(), &told))
}

/// Who is asked about: `ipAddress`, or the id of an `ipConfiguration`.
fn member(asked: &Map<String, Value>, inventory: &Inventory) -> Result<IpAddr, Refusal> {
    let wrong = |code: Code, at: &str, message: String| {
        Refusal::from(Refused::Wrong(Fault::new(code.as_str(), message).at(at)))
    };
    let field =
        |name: &str| asked.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    match (field("ipAddress"), field("ipConfiguration")) {
        (Some(address), None) => address.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
            wrong(Code::WrongType, "ipAddress", format!("{address} is no address: write one, as text"))
        }),
        (None, Some(configuration)) => {
            let id = configuration["id"].as_str().unwrap_or_default();
            inventory.address_of(id).ok_or_else(|| {
                let message =
                    format!("there is no ip configuration `{id}` with an address: write the id of one");
                wrong(Code::InvalidResourceReference, "ipConfiguration", message)
            })
        }
        (None, None) | (Some(_), Some(_)) => {
            let message = "say which member: either its `ipAddress`, or `ipConfiguration` with an `id`";
            Err(wrong(Code::InvalidRequestFormat, "", message.to_owned()))
        }
    }
}

fn shown(mapping: &NatMapping) -> Value {
    json!({
        "inboundNatRuleName": mapping.rule,
        "protocol": mapping.protocol.map(|protocol| protocol.as_str()),
        "frontendPort": mapping.frontend_port,
        "backendPort": mapping.backend_port,
    })
}
