//! Pointers: `/loadBalancers/web/probes/alive` here, an id with subscription and group canonically. The Network
//! Controller has one flat name space, which is the home group; what is elsewhere goes by `group~name`.

use super::dictionary::Entry;

/// The group whose resources go by their plain names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its subscription.
    pub subscription: String,
    /// Its name.
    pub group: String,
}

/// Where a pointer leads, before anybody looks whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The canonical id.
    pub id: String,
    /// The collections on the way, as the Network Controller spells them: `loadBalancers/probes`.
    pub collections: String,
}

impl Home {
    /// The canonical id of a name at the top of paths.
    #[must_use]
    pub fn id(&self, segment: &str, name: &str) -> String {
        let (subscription, group, name) = self.parts(name);
        format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/{segment}/{name}"
        )
    }

    /// Subscription, group and name of a name that may say where it is.
    #[must_use]
    pub fn parts<'a>(&'a self, name: &'a str) -> (&'a str, &'a str, &'a str) {
        match name.rsplit_once('~') {
            None => (&self.subscription, &self.group, name),
            Some((place, name)) => match place.split_once('~') {
                None => (&self.subscription, place, name),
                Some((subscription, group)) => (subscription, group, name),
            },
        }
    }

    /// What a resource of some subscription and group is called here.
    #[must_use]
    pub fn name_of(&self, subscription: &str, group: &str, name: &str) -> String {
        match (subscription.eq_ignore_ascii_case(&self.subscription), group.eq_ignore_ascii_case(&self.group))
        {
            (true, true) => name.to_owned(),
            (true, false) => format!("{group}~{name}"),
            (false, _) => format!("{subscription}~{group}~{name}"),
        }
    }

    /// What a pointer means; `None` when it is none. Clients write it with and without the slash before, and with host
    /// and version.
    #[must_use]
    pub fn target(&self, pointer: &str) -> Option<Target> {
        let mut parts = path_of(pointer)?;
        let (collection, name) = (parts.next()?, parts.next().filter(|name| !name.is_empty())?);
        let mut entry = Entry::of(collection);
        // Resources of kinds that are not kept here can be pointed at all the same.
        let (mut id, mut collections) = match entry {
            Some(entry) => (self.id(entry.canonical, name), entry.name.to_owned()),
            None => (self.id(collection, name), collection.to_owned()),
        };
        while let Some(part) = parts.next() {
            let name = parts.next().filter(|name| !name.is_empty())?;
            let (here, canonical) = match entry {
                Some(outer) => {
                    let inner = outer.collection(part)?;
                    entry = Some(inner);
                    (inner.name, inner.canonical)
                }
                None => (part, part),
            };
            id = format!("{id}/{canonical}/{name}");
            collections = format!("{collections}/{here}");
        }
        (!collection.is_empty()).then_some(Target { id, collections })
    }

    /// The pointer for a canonical id. `owner` is the pointer of the resource in which the id stands, for the short
    /// form `probes/alive`.
    #[must_use]
    pub fn pointer(&self, id: &str, owner: &str) -> String {
        self.long_form(id).or_else(|| short_form(id, owner)).unwrap_or_else(|| id.to_owned())
    }

    /// A text with pointers where canonical ids are.
    #[must_use]
    pub fn retell(&self, text: &str) -> String {
        let is_of_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '(' | ')');
        let mut told = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("/subscriptions/") {
            let (before, id) = rest.split_at(at);
            let end = id.find(|c: char| !is_of_id(c)).unwrap_or(id.len());
            let (id, after) = id.split_at(end);
            let bare = id.trim_end_matches(['.', ')']);
            told += before;
            told += &self.pointer(bare, "");
            told += &id[bare.len()..];
            rest = after;
        }
        told + rest
    }

    fn long_form(&self, id: &str) -> Option<String> {
        let mut parts = id.trim_matches('/').split('/');
        let subscription = after(&mut parts, "subscriptions")?;
        let group = after(&mut parts, "resourceGroups")?;
        let _provider = after(&mut parts, "providers")?;
        let (segment, name) = (parts.next()?, parts.next()?);
        let mut entry = Entry::of_canonical(segment);
        let collection = entry.map_or(segment, |entry| entry.name);
        let mut pointer = format!("/{collection}/{}", self.name_of(subscription, group, name));
        while let (Some(part), Some(name)) = (parts.next(), parts.next()) {
            entry = entry.and_then(|entry| entry.canonical_collection(part));
            pointer = format!("{pointer}/{}/{name}", entry.map_or(part, |entry| entry.name));
        }
        Some(pointer)
    }
}

/// The parts of a path without host, version and slashes around.
fn path_of(pointer: &str) -> Option<std::str::Split<'_, char>> {
    let pointer = pointer.trim();
    let path = match pointer.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => pointer,
    };
    let path = path.trim_matches('/');
    let path = match path.split_once('/') {
        Some((first, rest)) if first.eq_ignore_ascii_case("networking") => rest.split_once('/')?.1,
        Some(_) | None => path,
    };
    Some(path.split('/'))
}

fn after<'a>(parts: &mut impl Iterator<Item = &'a str>, word: &str) -> Option<&'a str> {
    parts.next().filter(|part| part.eq_ignore_ascii_case(word))?;
    parts.next()
}

fn short_form(id: &str, owner: &str) -> Option<String> {
    let (part, name) = id.trim_matches('/').split_once('/')?;
    let mut parts = owner.trim_matches('/').split('/');
    let (collection, resource) = (parts.next()?, parts.next()?);
    let inner = Entry::of(collection)?.canonical_collection(part)?;
    Some(format!("/{collection}/{resource}/{}/{name}", inner.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network";

    #[test]
    fn pointers_are_read_however_clients_write_them() {
        check("/loadBalancers/web/probes/alive", Some("/loadBalancers/web/probes/alive"));
        check("loadbalancers/web/PROBES/alive/", Some("/loadBalancers/web/probes/alive"));
        check("https://host/networking/v1/loadBalancers/web", Some("/loadBalancers/web"));
        check(
            "/Networking/v7.1/accessControlLists/a/aclRules/r",
            Some("/networkSecurityGroups/a/securityRules/r"),
        );
        check("/logicalNetworks/l/subnets/s/ipPools/p", Some("/logicalNetworks/l/subnets/s/ipPools/p"));
        check("/loadBalancers/web/outboundNatRules/o", Some("/loadBalancers/web/outboundRules/o"));
        check("/routeTables/r/routes/x", Some("/routeTables/r/routes/x"));
        check("", None);
        check("/", None);
        check("/loadBalancers", None);
        check("/loadBalancers/web/probes", None);
        check("/loadBalancers/web/sheep/dolly", None);
        check("/loadBalancers//probes/alive", None);

        fn check(pointer: &str, wanted: Option<&str>) {
            let id = home().target(pointer).map(|target| target.id);
            assert_eq!(id, wanted.map(|wanted| format!("{ROOT}{wanted}")), "{pointer}");
        }
    }

    #[test]
    fn resources_of_other_groups_say_where_they_are() {
        check("web", "s", "g");
        check("blue~web", "s", "blue");
        check("other~blue~web", "other", "blue");

        fn check(name: &str, subscription: &str, group: &str) {
            let pointer = format!("/loadBalancers/{name}/probes/alive");
            let id = format!(
                "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/loadBalancers/web/probes/alive"
            );
            assert_eq!(home().target(&pointer).map(|it| it.id).as_deref(), Some(id.as_str()));
            assert_eq!(home().pointer(&id, ""), pointer);
        }
    }

    #[test]
    fn short_ids_are_of_the_resource_they_stand_in() {
        assert_eq!(
            home().pointer("outboundRules/o", "/loadBalancers/web"),
            "/loadBalancers/web/outboundNatRules/o"
        );
        assert_eq!(home().pointer("what?", "/loadBalancers/web"), "what?");
    }

    #[test]
    fn texts_are_told_again_with_pointers() {
        check(
            "there is no /subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/web/probes/a.",
            "there is no /loadBalancers/web/probes/a.",
        );
        check(
            "`/subscriptions/s/resourceGroups/h/providers/Microsoft.Network/networkSecurityGroups/a`, and more",
            "`/accessControlLists/h~a`, and more",
        );
        check("nothing of that", "nothing of that");

        fn check(text: &str, wanted: &str) {
            assert_eq!(home().retell(text), wanted);
        }
    }

    fn home() -> Home {
        Home { subscription: "s".to_owned(), group: "g".to_owned() }
    }
}
