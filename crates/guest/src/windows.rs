//! What an administrator of a Windows member runs.

use std::net::IpAddr;

use crate::wanted::{Destination, Wanted};

/// The commands, for a command prompt with an administrator's rights: `nic` is the interface by which the balancer reaches
/// the host, `loopback` that of the Microsoft KM-TEST Loopback Adapter.
#[must_use]
pub fn script(wanted: &Wanted, nic: &str, loopback: &str) -> String {
    let families = [("ipv4", true), ("ipv6", false)];
    let of_family =
        |v4: bool| wanted.addresses().into_iter().filter(move |it| it.is_ipv4() == v4).collect::<Vec<_>>();
    let mut lines = vec![
        format!(
            "rem In a command prompt, as an administrator. \"{nic}\" is the interface of the member's own address."
        ),
        format!(
            "rem \"{loopback}\" is a loopback adapter: `hdwwiz`, network adapters, Microsoft, Microsoft KM-TEST Loopback Adapter;"
        ),
        format!("rem then `netsh interface set interface name=\"NAME IT GOT\" newname=\"{loopback}\"`."),
    ];
    for (family, v4) in families {
        let addresses = of_family(v4);
        if addresses.is_empty() {
            continue;
        }
        lines.push(format!("netsh interface {family} show interface"));
        lines.push(format!("netsh interface {family} set interface \"{nic}\" weakhostreceive=enabled"));
        lines.extend(addresses.into_iter().map(|address| add(family, loopback, address)));
        lines.push(format!(
            "netsh interface {family} set interface \"{loopback}\" weakhostreceive=enabled weakhostsend=enabled"
        ));
    }
    lines.extend(wanted.destinations().iter().map(open));
    lines.into_iter().map(|line| line + "\n").collect()
}

fn add(family: &str, loopback: &str, address: IpAddr) -> String {
    let how = if address.is_ipv4() { format!("{address} 255.255.255.255") } else { format!("{address}/128") };
    format!("netsh interface {family} add addr \"{loopback}\" {how}")
}

fn open(destination: &Destination) -> String {
    let Destination { address, port, protocol } = destination;
    let name = protocol.name().to_ascii_uppercase();
    format!(
        "netsh advfirewall firewall add rule name=\"forebay {destination}\" protocol={name} localip={address} localport={port} \
            dir=in action=allow enable=yes"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_come_in_their_order_with_a_mask_of_one_address() {
        // GUEST-1
        let wanted = ["65.52.0.1:80/tcp", "65.52.0.2:53/udp", "[fd00:65::1]:80/tcp=8080"];
        let wanted = Wanted::new(wanted.map(|it| it.parse().unwrap()), [], []).unwrap();
        let script = script(&wanted, "Ethernet 2", "Loopback");
        let commands: Vec<&str> = script.lines().filter(|it| it.starts_with("netsh")).collect();
        assert_eq!(
            commands,
            [
                "netsh interface ipv4 show interface",
                "netsh interface ipv4 set interface \"Ethernet 2\" weakhostreceive=enabled",
                "netsh interface ipv4 add addr \"Loopback\" 65.52.0.1 255.255.255.255",
                "netsh interface ipv4 add addr \"Loopback\" 65.52.0.2 255.255.255.255",
                "netsh interface ipv4 set interface \"Loopback\" weakhostreceive=enabled weakhostsend=enabled",
                "netsh interface ipv6 show interface",
                "netsh interface ipv6 set interface \"Ethernet 2\" weakhostreceive=enabled",
                "netsh interface ipv6 add addr \"Loopback\" fd00:65::1/128",
                "netsh interface ipv6 set interface \"Loopback\" weakhostreceive=enabled weakhostsend=enabled",
                "netsh advfirewall firewall add rule name=\"forebay 65.52.0.1:80/tcp\" protocol=TCP localip=65.52.0.1 localport=80 \
                    dir=in action=allow enable=yes",
                "netsh advfirewall firewall add rule name=\"forebay 65.52.0.2:53/udp\" protocol=UDP localip=65.52.0.2 localport=53 \
                    dir=in action=allow enable=yes",
                "netsh advfirewall firewall add rule name=\"forebay [fd00:65::1]:8080/tcp\" protocol=TCP localip=fd00:65::1 \
                    localport=8080 dir=in action=allow enable=yes",
            ]
        );
    }
}
