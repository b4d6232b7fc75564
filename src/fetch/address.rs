//! Which addresses of the internet may be asked for a picture.
//!
//! A job is a stranger's text: an address in it must not reach what only this machine or its network
//! can reach. IANA's registries of special-purpose addresses (RFC 6890 and its updates) say which
//! those are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What may be asked besides public addresses; nothing, in a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    also: Vec<SocketAddr>,
}

impl Policy {
    /// Public addresses, and these: for tests, which have none of their own.
    pub fn with(also: Vec<SocketAddr>) -> Self {
        Self { also }
    }

    /// Public addresses. A debug build adds those in `OURVIDZ_TEST_FETCH_ALLOW`, so that tests can
    /// run a server on this machine; a release build does not look.
    pub fn of_this_build() -> Self {
        #[cfg(debug_assertions)]
        if let Ok(list) = std::env::var("OURVIDZ_TEST_FETCH_ALLOW") {
            return Self::with(list.split(',').filter_map(|one| one.parse().ok()).collect());
        }
        Self::default()
    }

    pub fn allows(&self, address: SocketAddr) -> bool {
        is_public(address.ip()) || self.also.contains(&address)
    }
}

/// Whether an address belongs to one host of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|(network, bits)| in_v4(v4, network, *bits)),
        IpAddr::V6(v6) => {
            // Nothing outside 2000::/3 is a public host: loopback, mapped, compatible, NAT64, unique
            // local, link-local and multicast addresses all lie there.
            in_v6(v6, [0x2000, 0, 0], 3)
                && !SPECIAL_V6
                    .iter()
                    .any(|(network, bits)| in_v6(v6, *network, *bits))
        }
    }
}

const SPECIAL_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, metadata services
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// The first 48 bits of each.
const SPECIAL_V6: [([u16; 3], u32); 4] = [
    ([0x2001, 0, 0], 23),     // protocol assignments: Teredo, ORCHID, benchmarks
    ([0x2001, 0xdb8, 0], 32), // documentation
    ([0x2002, 0, 0], 16),     // 6to4, which hides an IPv4 address
    ([0x3fff, 0, 0], 20),     // documentation
];

fn in_v4(address: Ipv4Addr, network: &[u8; 4], bits: u32) -> bool {
    let shift = 32 - bits;
    address.to_bits() >> shift == u32::from_be_bytes(*network) >> shift
}

fn in_v6(address: Ipv6Addr, [a, b, c]: [u16; 3], bits: u32) -> bool {
    let network = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0);
    let shift = 128 - bits;
    address.to_bits() >> shift == network.to_bits() >> shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:169.254.169.254",
            "::ffff:8.8.8.8",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "3fff:fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn the_neighbours_of_special_ranges_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.1.1.1",
            "128.0.0.1",
            "169.253.1.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860::8888",
            "2001:200::1",
            "2003::1",
            "3ffe::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_test_allows_one_port_and_not_the_machine() {
        let policy = Policy::with(vec!["127.0.0.1:8443".parse().unwrap()]);
        assert!(policy.allows("127.0.0.1:8443".parse().unwrap()));
        assert!(!policy.allows("127.0.0.1:8444".parse().unwrap()));
        assert!(!policy.allows("127.0.0.2:8443".parse().unwrap()));
        assert!(policy.allows("8.8.8.8:443".parse().unwrap()));
    }
}
