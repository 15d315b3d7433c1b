//! What people mean by `lb`, `lb/web`, `lb/web/probes`, or a whole id.

use std::collections::BTreeSet;

use model::{ChildPath, Collection, Kind, ResourceId};

/// What each kind is called for short.
const SHORT: [(Kind, &str); 10] = [
    (Kind::LoadBalancer, "lb"),
    (Kind::PublicIpAddress, "pip"),
    (Kind::PublicIpPrefix, "prefix"),
    (Kind::VirtualNetwork, "vnet"),
    (Kind::NetworkInterface, "nic"),
    (Kind::NetworkSecurityGroup, "nsg"),
    (Kind::LogicalNetwork, "lnet"),
    (Kind::LoadBalancerManager, "slbm"),
    (Kind::LoadBalancerMux, "mux"),
    (Kind::VirtualServer, "vs"),
];

/// Something that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All of a kind.
    Kind(Kind),
    /// One resource.
    Resource(ResourceId),
    /// A child of one, by its id.
    Child(String),
    /// All children of one kind, by the id of the collection.
    Children(String),
}

impl Place {
    /// What was typed; `home` is the subscription and group of what says none.
    pub(super) fn read(what: &str, name: Option<&str>, home: (&str, &str)) -> Result<Self, String> {
        if what.starts_with('/') {
            return match name {
                None => Self::of_id(what),
                Some(name) => Self::of_id(&format!("{}/{name}", what.trim_end_matches('/'))),
            };
        }
        let mut words = what.split('/').filter(|word| !word.is_empty()).chain(name);
        let first = words.next().unwrap_or_default();
        let kind = kind(first)?;
        let Some(resource) = words.next() else { return Ok(Self::Kind(kind)) };
        let (subscription, group, resource) = match resource.split('~').collect::<Vec<_>>().as_slice() {
            [subscription, group, name] => (*subscription, *group, *name),
            [group, name] => (home.0, *group, *name),
            _ => (home.0, home.1, resource),
        };
        let id = ResourceId::new(subscription, group, kind, resource).map_err(|error| error.to_string())?;
        Self::within(&id, words)
    }

    fn of_id(id: &str) -> Result<Self, String> {
        let mut words: Vec<&str> = id.trim_matches('/').split('/').collect();
        let rest = words.split_off(words.len().min(8));
        let (id, _) = ResourceId::parse(&format!("/{}", words.join("/"))).ok_or_else(|| {
            let form = "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Network/loadBalancers/NAME";
            format!("`{id}` is no id of a resource known here: write {form}")
        })?;
        // What was read may hold what is no name, and a name like `..` would lead elsewhere.
        let id = ResourceId::new(id.subscription(), id.group(), id.kind(), id.name())
            .map_err(|error| error.to_string())?;
        Self::within(&id, rest.into_iter())
    }

    fn within<'a>(id: &ResourceId, mut words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut place = id.to_string();
        let mut collections = id.kind().collections();
        let mut is_child = false;
        while let Some(word) = words.next() {
            let collection = collection(collections, word)?;
            place = format!("{place}/{}", collection.name);
            let Some(child) = words.next() else { return Ok(Self::Children(place)) };
            if !child.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
                || child.chars().all(|c| c == '.')
            {
                return Err(format!("`{child}` is no name: a name has letters, digits, `.`, `-` and `_`"));
            }
            place = format!("{place}/{child}");
            collections = collection.collections;
            is_child = true;
        }
        Ok(if is_child { Self::Child(place) } else { Self::Resource(id.clone()) })
    }
}

/// The kind of this short word, segment, or singular.
pub(super) fn kind(word: &str) -> Result<Kind, String> {
    let is_short = |kind: &Kind| {
        let several = word.len().checked_sub(1).filter(|&at| word[at..].eq_ignore_ascii_case("s"));
        let short = short(*kind);
        short.eq_ignore_ascii_case(word) || several.is_some_and(|at| short.eq_ignore_ascii_case(&word[..at]))
    };
    let singular = |kind: &Kind| {
        let segment = kind.segment();
        let one = segment.strip_suffix("es").filter(|one| one.ends_with("ss") || one.ends_with('x'));
        one.or_else(|| segment.strip_suffix('s')).is_some_and(|one| one.eq_ignore_ascii_case(word))
    };
    let found = Kind::ALL.into_iter().find(is_short).or_else(|| Kind::of_segment(word));
    found.or_else(|| Kind::ALL.into_iter().find(singular)).ok_or_else(|| {
        let known: Vec<String> =
            SHORT.iter().map(|(kind, short)| format!("{short} ({})", kind.segment())).collect();
        format!("there is no kind `{word}`: write one of {}", known.join(", "))
    })
}

/// What a kind is called for short.
pub(super) fn short(kind: Kind) -> &'static str {
    SHORT.iter().find(|(known, _)| *known == kind).map_or(kind.segment(), |(_, short)| short)
}

fn collection(known: &'static [Collection], word: &str) -> Result<&'static Collection, String> {
    known.iter().find(|it| it.name.eq_ignore_ascii_case(word)).ok_or_else(|| match known {
        [] => format!("there is nothing inside that could be `{word}`"),
        known => {
            let known: Vec<&str> = known.iter().map(|it| it.name).collect();
            format!("there are no `{word}` inside: write one of {}", known.join(", "))
        }
    })
}

/// The name by which it is known among all resources: `web`, `other-group~web`, or `other-subscription~group~web`.
pub(super) fn flat(id: &ResourceId, home: (&str, &str)) -> String {
    let (subscription, group, name) = (id.subscription(), id.group(), id.name());
    match (subscription.eq_ignore_ascii_case(home.0), group.eq_ignore_ascii_case(home.1)) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{group}~{name}"),
        (false, _) => format!("{subscription}~{group}~{name}"),
    }
}

/// These texts with short names for the ids in them; with their groups, where there are several.
pub(super) fn shortened(texts: &[&str]) -> Vec<String> {
    let ids = || texts.iter().flat_map(|text| text.split(' ')).filter_map(id_within).map(|(_, id, _)| id);
    let homes: BTreeSet<(String, String)> =
        ids().map(|id| (id.subscription().to_ascii_lowercase(), id.group().to_ascii_lowercase())).collect();
    let is_one = homes.len() < 2;
    let short_word = |word: &str| match id_within(word) {
        None => word.to_owned(),
        Some((text, id, within)) => {
            let name = if is_one { id.name().to_owned() } else { format!("{}~{}", id.group(), id.name()) };
            let within: String =
                within.iter().map(|(collection, child)| format!("/{collection}/{child}")).collect();
            word.replacen(text, &format!("{}/{name}{within}", short(id.kind())), 1)
        }
    };
    let short_text = |text: &&str| text.split(' ').map(short_word).collect::<Vec<_>>().join(" ");
    texts.iter().map(short_text).collect()
}

/// The id in a word, without the signs around it.
fn id_within(word: &str) -> Option<(&str, ResourceId, ChildPath)> {
    let text = word.trim_matches(['`', ':', ',', ';', '.', '(', ')']);
    ResourceId::parse(text).map(|(id, path)| (text, id, path))
}

/// `lb/web`
pub(super) fn name(id: &ResourceId) -> String {
    format!("{}/{}", short(id.kind()), id.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/web";

    #[test]
    fn a_kind_has_several_words() {
        for word in ["lb", "lbs", "LB", "loadBalancers", "loadbalancer"] {
            assert_eq!(read(word, None), Ok(Place::Kind(Kind::LoadBalancer)), "{word}");
        }
        for word in ["pip", "publicIPAddress", "publicIpAddresses"] {
            assert_eq!(read(word, None), Ok(Place::Kind(Kind::PublicIpAddress)), "{word}");
        }
        assert_eq!(read("publicIPPrefix", None), Ok(Place::Kind(Kind::PublicIpPrefix)));
        assert_eq!(read("loadBalancerMux", None), Ok(Place::Kind(Kind::LoadBalancerMux)));
        assert!(read("balancers", None).unwrap_err().contains("lb (loadBalancers), pip (publicIPAddresses)"));
    }

    #[test]
    fn one_resource_is_named_in_several_ways() {
        let web = Ok(Place::Resource(ResourceId::parse(WEB).unwrap().0));
        assert_eq!(read("lb", Some("web")), web);
        assert_eq!(read("lb/web", None), web);
        assert_eq!(read(WEB, None), web);
    }

    #[test]
    fn a_flat_name_may_say_its_group_and_its_subscription() {
        for (flat, id) in [
            ("web", WEB.to_owned()),
            ("h~web", WEB.replace("/g/", "/h/")),
            ("t~h~web", WEB.replace("/s/", "/t/").replace("/g/", "/h/")),
        ] {
            let id = ResourceId::parse(&id).unwrap().0;
            assert_eq!(super::flat(&id, ("s", "g")), flat);
            assert_eq!(read(&format!("lb/{flat}"), None), Ok(Place::Resource(id)));
        }
        assert!(read("lb/a~b~c~d", None).is_err());
    }

    #[test]
    fn children_are_inside() {
        assert_eq!(read("lb/web/probes", None), Ok(Place::Children(format!("{WEB}/probes"))));
        assert_eq!(read("lb/web/PROBES", Some("a")), Ok(Place::Child(format!("{WEB}/probes/a"))));
        assert_eq!(read(&format!("{WEB}/probes/a"), None), Ok(Place::Child(format!("{WEB}/probes/a"))));
        let pool = WEB.replace("loadBalancers/web", "logicalNetworks/n/subnets/a/ipPools");
        assert_eq!(read("lnet/n/subnets/a/ippools", None), Ok(Place::Children(pool)));
        assert!(read("lb/web/prob", None).unwrap_err().contains("backendAddressPools"));
    }

    #[test]
    fn ids_in_a_text_are_told_by_their_short_names() {
        let other = WEB.replace("/g/", "/h/");
        check(&format!("{WEB}: probes/a/port"), "lb/web: probes/a/port");
        check(&format!("`{WEB}/probes/a` refers to it."), "`lb/web/probes/a` refers to it.");
        check(&format!("{WEB} and {other}"), "lb/g~web and lb/h~web");
        check("web: probes/a:  no", "web: probes/a:  no");

        fn check(text: &str, wanted: &str) {
            assert_eq!(shortened(&[text]), [wanted]);
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_name() {
        for wrong in ["lb/..", "lb/web/probes/..", "lb/we b", "/subscriptions/s", &WEB.replace("web", "..")] {
            assert!(read(wrong, None).is_err(), "{wrong}");
        }
    }

    fn read(what: &str, name: Option<&str>) -> Result<Place, String> {
        Place::read(what, name, ("s", "g"))
    }
}
