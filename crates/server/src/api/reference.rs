//! References, written out: a client may say `probes/alive` for a part of the same resource, and ids in any case.

use model::{Collection, ResourceId};
use serde_json::Value;

/// Makes whole and canonical ids of those in a resource, or a part of one. What clients keep for themselves stays as it is.
pub(super) fn complete(resource: &ResourceId, value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let is_kept = ["tags", "resourceMetadata"].iter().any(|kept| kept.eq_ignore_ascii_case(name));
                if is_kept {
                    continue;
                }
                match value.as_str().filter(|_| name.eq_ignore_ascii_case("id")) {
                    None => complete(resource, value),
                    Some(id) => {
                        if let Some(whole) = whole(resource, id) {
                            *value = whole.into();
                        }
                    }
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| complete(resource, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn whole(resource: &ResourceId, id: &str) -> Option<String> {
    let written = format!("/{}", id.trim_matches('/'));
    if let Some((id, path)) = ResourceId::parse(&written) {
        return Some(id.child(&path));
    }
    let (collection, name) = id.split_once('/')?;
    let of_it = |it: &&Collection| it.name.eq_ignore_ascii_case(collection);
    let collection = resource.kind().collections().iter().find(of_it)?;
    let is_name = !name.is_empty() && !name.contains('/');
    is_name.then(|| resource.child(&[(collection.name.to_owned(), name.to_owned())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WEB: &str = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadBalancers/web";

    #[test]
    fn references_are_written_out() {
        check("probes/alive", &format!("{WEB}/probes/alive"));
        check("FRONTENDipconfigurations/a", &format!("{WEB}/frontendIPConfigurations/a"));
        check(&format!("{}/PROBES/Alive", WEB.replace("Groups", "groups")), &format!("{WEB}/probes/Alive"));
        check(&WEB[1..], WEB);
        check("subnets/a", "subnets/a");
        check("probes/", "probes/");
        check("/subscriptions/S", "/subscriptions/S");
        check("alive", "alive");

        fn check(id: &str, wanted: &str) {
            let mut value =
                json!({ "properties": { "rules": [{ "properties": { "probe": { "Id": id } } }] } });
            complete(&ResourceId::parse(WEB).unwrap().0, &mut value);
            assert_eq!(value["properties"]["rules"][0]["properties"]["probe"]["Id"], wanted);
        }
    }

    #[test]
    fn what_clients_keep_stays_as_it_is() {
        let kept = json!({ "tags": { "id": "probes/a" }, "resourceMetadata": { "id": "probes/a" }, "name": "probes/a" });
        let mut value = kept.clone();
        complete(&ResourceId::parse(WEB).unwrap().0, &mut value);
        assert_eq!(value, kept);
    }
}
