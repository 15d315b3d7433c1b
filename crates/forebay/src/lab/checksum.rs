//! Are the checksums of a frame right? Everything is added up anew, nothing is taken from the code under test.

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Checks the IPv4 header's, TCP's, UDP's and ICMP's checksums of an Ethernet frame, as far as the frame has them.
///
/// The frame must be whole, and captured where the sender has not left the checksum to its device.
pub fn checksums_good(frame: &[u8]) -> Result<(), String> {
    let mut at = 12;
    let mut kind = word(frame, at).ok_or("shorter than an Ethernet header")?;
    at += 2;
    if kind == VLAN {
        kind = word(frame, at + 2).ok_or("shorter than a VLAN tag")?;
        at += 4;
    }
    match kind {
        IPV4 => ipv4(&frame[at..]),
        IPV6 => ipv6(&frame[at..]),
        _ => Ok(()),
    }
}

fn ipv4(packet: &[u8]) -> Result<(), String> {
    let header = usize::from(packet.first().ok_or("no IPv4 header")? & 0x0f) * 4;
    let total = usize::from(word(packet, 2).ok_or("no IPv4 length")?);
    if header < 20 || total < header || packet.len() < total {
        return Err(format!("IPv4: header {header}, total {total}, captured {}", packet.len()));
    }
    if add(0, &packet[..header]) != 0xffff {
        return Err(format!("IPv4 header checksum {:04x} is wrong", word(packet, 10).unwrap_or(0)));
    }
    let fragment = word(packet, 6).unwrap_or(0) & 0x3fff != 0;
    if fragment {
        // A part of a datagram cannot be summed up alone.
        return Ok(());
    }
    transport(packet[9], &packet[12..20], &packet[header..total], false)
}

fn ipv6(packet: &[u8]) -> Result<(), String> {
    let length = usize::from(word(packet, 4).ok_or("no IPv6 header")?);
    if packet.len() < 40 + length {
        return Err(format!("IPv6: payload {length}, captured {}", packet.len()));
    }
    let mut next = packet[6];
    let mut payload = &packet[40..40 + length];
    loop {
        match next {
            // Hop-by-hop, routing and destination options, which have a length in units of eight bytes.
            0 | 43 | 60 => {
                let [after, units, ..] = payload else { return Err("IPv6 extension is cut".to_owned()) };
                let size = (usize::from(*units) + 1) * 8;
                next = *after;
                payload = payload.get(size..).ok_or("IPv6 extension is cut")?;
            }
            44 => return Ok(()),
            _ => return transport(next, &packet[8..40], payload, true),
        }
    }
}

fn transport(protocol: u8, addresses: &[u8], segment: &[u8], v6: bool) -> Result<(), String> {
    let (name, at, pseudo) = match protocol {
        TCP => ("TCP", 16, true),
        UDP => ("UDP", 6, true),
        ICMP if !v6 => ("ICMP", 2, false),
        ICMPV6 if v6 => ("ICMPv6", 2, true),
        _ => return Ok(()),
    };
    let written = word(segment, at).ok_or_else(|| format!("{name} header is cut"))?;
    if protocol == UDP && written == 0 {
        // "No checksum" is allowed in IPv4 only.
        return if v6 { Err("UDP over IPv6 without a checksum".to_owned()) } else { Ok(()) };
    }
    let mut sum = 0;
    if pseudo {
        let length = u32::try_from(segment.len()).map_err(|_| "longer than any packet")?;
        sum = add(add(u16::from(protocol), addresses), &length.to_be_bytes());
    }
    if add(sum, segment) == 0xffff { Ok(()) } else { Err(format!("{name} checksum {written:04x} is wrong")) }
}

/// The ones' complement sum of RFC 1071.
fn add(start: u16, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(start);
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // The loop above leaves sixteen bits.
    u16::try_from(sum).unwrap_or(0)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_checksums_are_good_and_any_flipped_bit_is_found() {
        for (name, frame) in [("udp4", udp4(0x33e1)), ("udp6", udp6()), ("tcp4", tcp4())] {
            assert_eq!(checksums_good(&frame), Ok(()), "{name}");
            // What comes before, Ethernet and the first words of the IP header, steers the reading.
            for at in 22..frame.len() {
                let mut wrong = frame.clone();
                wrong[at] ^= 0x10;
                assert!(checksums_good(&wrong).is_err(), "{name}: byte {at}");
            }
        }
    }

    #[test]
    fn udp_without_a_checksum_is_good_over_ipv4_only() {
        assert_eq!(checksums_good(&udp4(0)), Ok(()));
        let mut frame = udp6();
        frame[14 + 40 + 6] = 0;
        frame[14 + 40 + 7] = 0;
        assert_eq!(checksums_good(&frame), Err("UDP over IPv6 without a checksum".to_owned()));
    }

    #[test]
    fn what_has_no_checksums_is_good_and_what_is_cut_is_not() {
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(checksums_good(&arp), Ok(()));
        for length in 0..udp4(0x33e1).len() {
            assert!(checksums_good(&udp4(0x33e1)[..length]).is_err(), "{length}");
        }
    }

    // 192.0.2.1:1000 -> 192.0.2.2:53, "hello".
    fn udp4(checksum: u16) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.extend([0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17, 0xb6, 0xc8, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([0x03, 0xe8, 0, 53, 0, 13]);
        frame.extend(checksum.to_be_bytes());
        frame.extend(b"hello");
        frame
    }

    fn udp6() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
        frame.extend([0x60, 0, 0, 0, 0, 12, 17, 64]);
        frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        let sum: u32 = 0xfd00 + 1 + 0xfd00 + 2 + 17 + 12 + 0x3e8 + 0x35 + 12 + 0x6162 + 0x6364;
        let folded = (sum & 0xffff) + (sum >> 16);
        let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
        frame.extend([0x03, 0xe8, 0, 53, 0, 12]);
        frame.extend(checksum.to_be_bytes());
        frame.extend(b"abcd");
        frame
    }

    /// A SYN that Linux sent from 10.20.1.100:40000 to 10.20.1.11:80.
    fn tcp4() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        let header: u32 = 0x4500 + 40 + 0x4000 + 0x4006 + 0x0a14 + 0x0164 + 0x0a14 + 0x010b;
        let segment: u32 =
            0x0a14 + 0x0164 + 0x0a14 + 0x010b + 6 + 20 + 0x9c40 + 80 + 0x1234 + 0x5678 + 0x5002 + 0xfaf0;
        let fold = |sum: u32| !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
        frame.extend(fold(header).to_be_bytes());
        frame.extend([10, 20, 1, 100, 10, 20, 1, 11, 0x9c, 0x40, 0, 80, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0]);
        frame.extend([0x50, 0x02, 0xfa, 0xf0]);
        frame.extend(fold(segment).to_be_bytes());
        frame.extend([0, 0]);
        frame
    }
}
