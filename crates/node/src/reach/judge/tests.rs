//! Every way an address can be, and the words for it.

use super::*;

use super::super::netlink::Neighbour;
use plane::row::Mac;

#[test]
fn a_member_that_answers_is_adjacent() {
    check("10.0.0.4", through(2, "10.0.0.4"), "is at 02:00:00:00:00:04");
}

#[test]
fn a_member_behind_a_router_has_the_routers_station() {
    check("10.9.0.4", through(2, "10.0.0.4"), "is behind the router at 02:00:00:00:00:04");
}

#[test]
fn who_does_not_answer_is_named_with_the_mend() {
    check(
        "10.0.0.5",
        through(2, "10.0.0.5"),
        "does not answer ARP on eth0: is the host up and on this segment?",
    );
    check(
        "10.9.0.5",
        through(2, "fe80::1"),
        "is behind the router fe80::1, which does not answer neighbour solicitations on eth0: \
         is the router up and on this segment?",
    );
}

#[test]
fn a_full_neighbour_table_is_named_with_the_mend() {
    check(
        "10.0.0.6",
        through(2, "10.0.0.6"),
        "cannot be asked for on eth0: the kernel's neighbour table is full; \
         raise net.ipv4.neigh.default.gc_thresh3 above the number of members",
    );
}

#[test]
fn a_way_that_is_not_ours_is_named_with_the_mend() {
    check(
        "10.8.0.4",
        through(3, "10.8.0.4"),
        "is reached by tun0, which the balancer is not attached to: add tun0 to its interfaces, or change the route",
    );
    check(
        "10.7.0.4",
        Route::None,
        "has no route: is its link up? `ip route get` shows what the kernel knows",
    );
    check("10.0.0.1", Route::Local, "is an address of this host: a member must be another host");
}

#[test]
fn only_who_is_on_our_links_and_not_written_down_is_asked() {
    let routes = [
        through(2, "10.0.0.4"),
        through(2, "10.0.0.5"),
        through(2, "10.0.0.7"),
        through(3, "10.8.0.4"),
        Route::Local,
        Route::None,
    ];
    let asked = stations(&routes, &surroundings());
    assert_eq!(asked, BTreeMap::from([(station(2, "10.0.0.4"), true), (station(2, "10.0.0.5"), false)]));
}

fn check(address: &str, route: Route, words: &str) {
    assert_eq!(judge(address.parse().unwrap(), &route, &surroundings()).to_string(), words);
}

fn surroundings() -> Surroundings {
    let mac = |last| Mac::new([2, 0, 0, 0, 0, last]);
    let link = Link {
        name: "eth0".to_owned(),
        mac: mac(1),
        mtu: 1_500,
        addresses: Vec::new(),
        up: true,
        doorway: false,
    };
    Surroundings {
        links: BTreeMap::from([(2, link)]),
        names: BTreeMap::from([(2, "eth0".to_owned()), (3, "tun0".to_owned())]),
        neighbours: BTreeMap::from([
            (station(2, "10.0.0.4"), Neighbour { mac: Some(mac(4)), fixed: false, unconfirmed: false }),
            (station(2, "10.0.0.5"), Neighbour { mac: None, fixed: false, unconfirmed: false }),
            (station(2, "10.0.0.7"), Neighbour { mac: Some(mac(7)), fixed: true, unconfirmed: false }),
        ]),
        refused: BTreeSet::from([station(2, "10.0.0.6")]),
    }
}

fn through(link: u32, address: &str) -> Route {
    Route::Through(station(link, address))
}

fn station(link: u32, address: &str) -> Station {
    Station { link, address: address.parse().unwrap() }
}
