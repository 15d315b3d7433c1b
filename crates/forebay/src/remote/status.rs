//! `forebay status`: how a server is, and whether its data path has followed.

use std::process::ExitCode;

use client::{Health, Status};

use super::{Asked, Server, args};
use crate::command::{NO, print, to_json};

/// The exit code is 1 while the data path does not do what was accepted.
pub(super) async fn run(args: args::Status) -> Asked {
    let server = Server::of(args.server, args::Home::default())?;
    let status = server.client.status().await?;
    print(&if args.json { to_json(&status)? } else { text(server.client.server(), &status) })?;
    Ok(if has_failed(&status) { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

fn has_failed(status: &Status) -> bool {
    status.realised.as_ref().is_some_and(|realised| realised.state == "Failure")
}

fn text(server: &str, status: &Status) -> String {
    let realised = match &status.realised {
        None => "nothing is known of it".to_owned(),
        Some(it) if it.has_not_begun() => it.message.clone(),
        Some(it) => {
            let since = it.since.as_ref().map(|since| format!(", since {since}")).unwrap_or_default();
            let why = if it.message.is_empty() { String::new() } else { format!(": {}", it.message) };
            format!("{} at revision {}{since}{why}", it.state, it.revision)
        }
    };
    let counts: Vec<String> = status
        .counts
        .iter()
        .filter(|(_, number)| number.as_u64() != Some(0))
        .map(|(kind, number)| format!("{kind} {number}"))
        .collect();
    let health = match status.health {
        None | Some(Health { up: 0, down: 0, unknown: 0 }) => String::new(),
        Some(Health { up, down, unknown }) => {
            let unknown = if unknown == 0 { String::new() } else { format!(", {unknown} not asked yet") };
            let why = if down == 0 { "" } else { ": `forebay show health` on that machine says why" };
            format!("members     {up} up, {down} down{unknown}{why}\n")
        }
    };
    let shortfalls = match status.shortfalls {
        0 => String::new(),
        number => {
            format!(
                "shortfalls  {number} accepted, and not there yet in the data path: `forebay get KIND NAME` says which\n"
            )
        }
    };
    let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    let role = status.role.as_deref().unwrap_or("unknown");
    format!(
        "server      {server}, version {}\n\
         balancer    {}\n\
         revision    {}\n\
         data path   {realised}\n\
         {health}\
         {shortfalls}\
         resources   {counts}\n\
         home        subscription {}, resource group {}\n\
         you         may {role}\n",
        status.version, status.name, status.revision, status.subscription, status.resource_group
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use client::Realised;

    use super::*;

    #[test]
    fn what_the_data_path_says_is_told_with_its_reason() {
        let realised =
            Realised { revision: 6, state: "Failure".into(), message: "no link `eth7`".into(), since: None };
        let status = Status {
            version: "0.1.0".into(),
            name: "default".into(),
            revision: 7,
            realised: Some(realised),
            health: Some(Health { up: 2, down: 1, unknown: 0 }),
            counts: BTreeMap::from([("loadBalancers".into(), 2.into()), ("virtualServers".into(), 0.into())]),
            shortfalls: 3,
            subscription: "s".into(),
            resource_group: "g".into(),
            role: Some("read".into()),
        };
        let text = text("https://b:8443", &status);
        assert!(text.contains("data path   Failure at revision 6: no link `eth7`\n"), "{text}");
        assert!(
            text.contains("resources   loadBalancers 2\n") && text.contains("you         may read\n"),
            "{text}"
        );
        assert!(text.contains("members     2 up, 1 down: `forebay show health`"), "{text}");
        assert!(text.contains("shortfalls  3 accepted, and not there yet"), "{text}");
        assert!(has_failed(&status));
    }
}
