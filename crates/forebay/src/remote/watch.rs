//! `forebay watch`: what changes, when it changes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use client::{Event, Resource};
use model::{Kind, ResourceId};
use serde_json::{Value, json};

use super::args::Told;
use super::diff::{self, Difference, What};
use super::{Asked, Server, args, place, plan};
use crate::command::{FAILED, complain, count};

pub(super) async fn run(args: args::Watch) -> Asked {
    let server = Server::of(args.server, args::Home::default())?;
    let kind = args.kind.as_deref().map(place::kind).transpose()?;
    let mut watch = server.client.watch(None).with_events();
    let mut known = Known::new(kind);
    while let Some(event) = watch.next().await {
        let event = event?;
        if let Event::Interrupted { why, pause } = &event {
            complain(why);
            eprintln!("  asking again in {} s", pause.as_secs_f32());
        }
        let text = match args.output {
            Told::Text => known.tell(event),
            Told::Json => line(kind, event),
        };
        if let Err(cause) = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
            // `forebay watch | head` has seen enough.
            return match cause.kind() == io::ErrorKind::BrokenPipe {
                true => Ok(ExitCode::SUCCESS),
                false => Err(format!("could not write: {cause}").into()),
            };
        }
    }
    Ok(ExitCode::from(FAILED))
}

/// What was seen last, to say what is different.
struct Known {
    kind: Option<Kind>,
    resources: BTreeMap<ResourceId, Resource>,
    /// While everything is told anew: what was known before that. `None` within: nothing was.
    before: Option<Option<BTreeMap<ResourceId, Resource>>>,
}

impl Known {
    fn new(kind: Option<Kind>) -> Self {
        Self { kind, resources: BTreeMap::new(), before: Some(None) }
    }

    fn tell(&mut self, event: Event) -> String {
        match event {
            Event::Reset { .. } if self.before.is_none() => {
                self.before = Some(Some(std::mem::take(&mut self.resources)));
                String::new()
            }
            Event::Reset { .. } => {
                self.resources.clear();
                String::new()
            }
            Event::Put { revision, resource } if self.is_wanted(&resource.id) => {
                let before = self.resources.insert(resource.id.clone(), resource.clone());
                match self.before {
                    Some(_) => String::new(),
                    // After a break the server tells again what it told just before.
                    None if before.as_ref() == Some(&resource) => String::new(),
                    None => put(revision, before.as_ref(), &resource),
                }
            }
            Event::Delete { revision, id } if self.is_wanted(&id) => match self.resources.remove(&id) {
                Some(_) if self.before.is_none() => head(revision, "delete", &id),
                Some(_) | None => String::new(),
            },
            Event::Synced { revision } => match self.before.take() {
                None => String::new(),
                Some(None) => {
                    let there = count(self.resources.len(), "resource");
                    format!("{there} at revision {revision}; changes from here on:\n")
                }
                Some(Some(before)) => self.missed(revision, &before),
            },
            Event::Happened(happened) if concerns(self.kind) => {
                format!("{} {}: {}\n", happened.at, happened.event, happened.message)
            }
            Event::Put { .. }
            | Event::Delete { .. }
            | Event::Alive { .. }
            | Event::Happened(_)
            | Event::Interrupted { .. } => String::new(),
        }
    }

    fn is_wanted(&self, id: &ResourceId) -> bool {
        self.kind.is_none_or(|kind| id.kind() == kind)
    }

    /// What has changed while the server could not be asked.
    fn missed(&self, revision: u64, before: &BTreeMap<ResourceId, Resource>) -> String {
        let gone = before.keys().filter(|id| !self.resources.contains_key(id));
        let mut text: String = gone.map(|id| head(revision, "delete", id)).collect();
        for (id, resource) in &self.resources {
            if before.get(id) != Some(resource) {
                text += &put(revision, before.get(id), resource);
            }
        }
        text
    }
}

fn put(revision: u64, before: Option<&Resource>, after: &Resource) -> String {
    let differences = match (before.map(Resource::document), after.document()) {
        (Some(Ok(before)), Ok(after)) => diff::between(&before, &after),
        (None, Ok(after)) => vec![Difference { path: String::new(), what: What::Added(diff::all(&after)) }],
        (_, _) => Vec::new(),
    };
    let mut text = head(revision, if before.is_some() { "update" } else { "create" }, &after.id);
    for difference in &differences {
        plan::write_difference(&mut text, difference);
    }
    text
}

fn head(revision: u64, verb: &str, id: &ResourceId) -> String {
    format!("{revision} {verb} {} in {}\n", place::name(id), id.group())
}

/// What happens to members and rules is told with all kinds, and with load balancers.
fn concerns(kind: Option<Kind>) -> bool {
    kind.is_none_or(|kind| kind == Kind::LoadBalancer)
}

/// The event as the server says it.
fn line(kind: Option<Kind>, event: Event) -> String {
    let is_wanted = |id: &ResourceId| kind.is_none_or(|kind| id.kind() == kind);
    let value = match event {
        Event::Put { revision, resource } if is_wanted(&resource.id) => {
            let Resource { id, etag, value } = resource;
            json!({ "action": "put", "revision": revision, "id": id.to_string(), "etag": etag, "document": value })
        }
        Event::Delete { revision, id } if is_wanted(&id) => {
            json!({ "action": "delete", "revision": revision, "id": id.to_string() })
        }
        Event::Reset { revision } => json!({ "action": "reset", "revision": revision }),
        Event::Synced { revision } => json!({ "action": "synced", "revision": revision }),
        Event::Happened(happened) if concerns(kind) => {
            let mut value = json!({ "action": "event" });
            if let (Some(line), Ok(Value::Object(said))) =
                (value.as_object_mut(), serde_json::to_value(happened))
            {
                line.extend(said);
            }
            value
        }
        Event::Put { .. }
        | Event::Delete { .. }
        | Event::Alive { .. }
        | Event::Happened(_)
        | Event::Interrupted { .. } => return String::new(),
    };
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/web";

    #[test]
    fn only_changes_are_told_and_each_field_of_them() {
        let mut known = Known::new(None);
        assert_eq!(known.tell(Event::Reset { revision: 4 }), "");
        assert_eq!(known.tell(put_event(2, 80)), "");
        assert_eq!(
            known.tell(Event::Synced { revision: 4 }),
            "1 resource at revision 4; changes from here on:\n"
        );
        assert_eq!(known.tell(put_event(5, 81)), "5 update lb/web in g\n  ~ probes/alive/port: 80 -> 81\n");
        assert_eq!(known.tell(put_event(5, 81)), "", "nor is a put that comes again told twice");
        assert_eq!(known.tell(delete_event(6)), "6 delete lb/web in g\n");
        assert_eq!(known.tell(delete_event(6)), "", "a write that comes again is told once");
    }

    #[test]
    fn what_was_missed_is_told_when_the_server_is_there_again() {
        let mut known = Known::new(Some(Kind::LoadBalancer));
        for event in
            [put_event(2, 80), Event::Synced { revision: 4 }, Event::Reset { revision: 9 }, put_event(8, 81)]
        {
            known.tell(event);
        }
        let told = known.tell(Event::Synced { revision: 9 });
        assert_eq!(told, "9 update lb/web in g\n  ~ probes/alive/port: 80 -> 81\n");
        known.tell(Event::Reset { revision: 12 });
        assert_eq!(known.tell(Event::Synced { revision: 12 }), "12 delete lb/web in g\n");
    }

    #[test]
    fn other_kinds_are_not_told() {
        let mut known = Known::new(Some(Kind::VirtualServer));
        known.tell(Event::Synced { revision: 4 });
        assert_eq!(known.tell(put_event(5, 80)), "");
        assert_eq!(line(Some(Kind::VirtualServer), put_event(5, 80)), "");
        assert!(line(None, put_event(5, 80)).starts_with("{\"action\":\"put\",\"revision\":5,"));
    }

    #[test]
    fn what_happens_to_members_is_a_line() {
        let more = json!({ "number": 7, "member": "10.0.0.5" });
        let happened = client::Happened {
            event: "memberDown".into(),
            at: "2026-11-21T06:38:44.125Z".into(),
            message: "member 10.0.0.5 is down for probe web/alive: connection refused".into(),
            more: more.as_object().unwrap().clone(),
        };
        let event = || Event::Happened(happened.clone());
        assert_eq!(
            Known::new(None).tell(event()),
            "2026-11-21T06:38:44.125Z memberDown: member 10.0.0.5 is down for probe web/alive: connection refused\n"
        );
        assert_eq!(Known::new(Some(Kind::VirtualServer)).tell(event()), "");
        assert!(line(None, event()).starts_with("{\"action\":\"event\",\"event\":\"memberDown\",\"at\":"));
        assert!(line(None, event()).contains("\"number\":7"));
    }

    fn put_event(revision: u64, port: u16) -> Event {
        let value = json!({ "id": WEB, "name": "web", "type": "Microsoft.Network/loadBalancers", "properties": {
            "probes": [{ "name": "alive", "properties": { "protocol": "Tcp", "port": port } }] } });
        let id = ResourceId::parse(WEB).unwrap().0;
        Event::Put { revision, resource: Resource { id, etag: format!("W/\"{port}\""), value } }
    }

    fn delete_event(revision: u64) -> Event {
        Event::Delete { revision, id: ResourceId::parse(WEB).unwrap().0 }
    }
}
