//! The hook `preferred subnet`: peers of the announcer's own subnet come first. It refuses nobody and
//! changes no response; it tells storage and kernel how to choose peers.

use crate::pipeline::{
    AnnounceRequest, AnnounceResponse, Offload, PreHook, PreferredSubnet as Bits, Refusal,
};

/// Why the hook cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreferredSubnetError {
    /// More bits than an IPv4 address has.
    #[error("`preferred_ipv4_subnet_mask_bits_set` is {0}: an IPv4 address has 32 bits")]
    Ipv4(u8),
    /// More bits than an IPv6 address has.
    #[error("`preferred_ipv6_subnet_mask_bits_set` is {0}: an IPv6 address has 128 bits")]
    Ipv6(u8),
}

/// The hook.
#[derive(Debug)]
pub struct PreferredSubnet {
    bits: Bits,
}

impl PreferredSubnet {
    /// Makes the hook.
    ///
    /// # Errors
    /// When there are more bits than an address has.
    pub fn new(bits: Bits) -> Result<Self, PreferredSubnetError> {
        match bits {
            Bits { ipv4_bits: 33.., .. } => Err(PreferredSubnetError::Ipv4(bits.ipv4_bits)),
            Bits { ipv6_bits: 129.., .. } => Err(PreferredSubnetError::Ipv6(bits.ipv6_bits)),
            _ => Ok(Self { bits }),
        }
    }
}

impl PreHook for PreferredSubnet {
    fn name(&self) -> &'static str {
        "preferred subnet"
    }

    fn announce(
        &self,
        _request: &AnnounceRequest,
        _response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    fn offload(&self) -> Offload {
        Offload::PreferredSubnet(self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::tests::announce_of;
    use tracker_common::id::InfoHash;

    fn make(ipv4_bits: u8, ipv6_bits: u8) -> Result<PreferredSubnet, PreferredSubnetError> {
        PreferredSubnet::new(Bits { ipv4_bits, ipv6_bits })
    }

    #[test]
    fn nobody_is_refused_and_no_response_changed() {
        let mut response = AnnounceResponse { interval_s: 7, ..Default::default() };
        let hook = make(8, 16).unwrap();
        assert_eq!(hook.announce(&announce_of(InfoHash([1; 20])), &mut response), Ok(()));
        assert_eq!(response.interval_s, 7);
    }

    #[test]
    fn storage_and_kernel_are_given_the_lengths_of_the_prefixes() {
        let Offload::PreferredSubnet(bits) = make(24, 64).unwrap().offload() else {
            panic!("not offloaded");
        };
        assert_eq!(bits, Bits { ipv4_bits: 24, ipv6_bits: 64 });
    }

    #[test]
    fn a_prefix_longer_than_an_address_is_an_error() {
        assert_eq!(make(33, 64).unwrap_err(), PreferredSubnetError::Ipv4(33));
        assert_eq!(make(32, 129).unwrap_err(), PreferredSubnetError::Ipv6(129));
        assert!(make(32, 128).is_ok());
    }
}
