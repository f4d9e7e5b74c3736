//! The hook `interval variation`: lengthens the interval of some clients, so that those that
//! arrived together spread out.

use tracker_common::policy;

use crate::{
    config::IntervalVariationConfig,
    pipeline::{AnnounceRequest, AnnounceResponse, Offload, PreHook, Refusal},
};

/// Why the hook cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum IntervalVariationError {
    /// Not a share.
    #[error("`modify_response_probability` is {0}: it must be above 0 and at most 1")]
    Probability(f32),
    /// Nothing, or more than an interval can hold.
    #[error("`max_increase_delta` is {0}: it must be from 1 to {INCREASE_MAX_S} seconds")]
    Increase(i64),
}

/// Clients read an interval as a signed number of 32 bits.
const INCREASE_MAX_S: u32 = i32::MAX as u32;

/// The hook.
#[derive(Debug)]
pub struct IntervalVariation {
    policy: policy::IntervalVariation,
}

impl IntervalVariation {
    /// Makes the hook.
    ///
    /// # Errors
    /// When an option is out of its range.
    pub fn new(config: &IntervalVariationConfig) -> Result<Self, IntervalVariationError> {
        let probability = config.modify_response_probability;
        // Written so that NaN is out of range.
        if !(probability > 0.0 && probability <= 1.0) {
            return Err(IntervalVariationError::Probability(probability));
        }
        let increase_max_s = u32::try_from(config.max_increase_delta)
            .ok()
            .filter(|increase| (1..=INCREASE_MAX_S).contains(increase))
            .ok_or(IntervalVariationError::Increase(config.max_increase_delta))?;
        let policy = policy::IntervalVariation {
            threshold: threshold(probability),
            increase_max_s,
            modify_min_interval: config.modify_min_interval.into(),
        };
        Ok(Self { policy })
    }
}

/// Chihaya compares a 24-bit draw over 2^24 with the probability. Scaling by a power of two is
/// exact, so comparing the draw with this instead chooses the same clients.
fn threshold(probability: f32) -> u32 {
    (probability * (1 << 24) as f32).ceil() as u32
}

impl PreHook for IntervalVariation {
    fn name(&self) -> &'static str {
        "interval variation"
    }

    fn announce(
        &self,
        request: &AnnounceRequest,
        response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        let increase_s = self.policy.increase_s(&request.info_hash, &request.peer_id);
        response.interval_s = response.interval_s.saturating_add(increase_s);
        if self.policy.modify_min_interval != 0 {
            response.min_interval_s = response.min_interval_s.saturating_add(increase_s);
        }
        Ok(())
    }

    fn offload(&self) -> Offload {
        Offload::IntervalVariation(self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::tests::announce_of;
    use proptest::prelude::*;
    use tracker_common::id::{InfoHash, PeerId};

    const ALWAYS: IntervalVariationConfig = IntervalVariationConfig {
        modify_response_probability: 1.0,
        max_increase_delta: 60,
        modify_min_interval: false,
    };

    /// The intervals that a peer is told whose announce would else be answered with 1800 and 900.
    fn intervals(options: &IntervalVariationConfig, peer_id: PeerId) -> (u32, u32) {
        let request = AnnounceRequest { peer_id, ..announce_of(InfoHash([1; 20])) };
        let mut response =
            AnnounceResponse { interval_s: 1800, min_interval_s: 900, ..Default::default() };
        let hook = IntervalVariation::new(options).unwrap();
        hook.announce(&request, &mut response).unwrap();
        (response.interval_s, response.min_interval_s)
    }

    fn error(probability: f32, increase_s: i64) -> IntervalVariationError {
        IntervalVariation::new(&IntervalVariationConfig {
            modify_response_probability: probability,
            max_increase_delta: increase_s,
            modify_min_interval: false,
        })
        .unwrap_err()
    }

    proptest! {
        #[test]
        fn with_probability_one_every_interval_grows_within_its_bound(peer_id: [u8; 20]) {
            let (interval_s, min_interval_s) = intervals(&ALWAYS, PeerId(peer_id));
            prop_assert!((1801..=1860).contains(&interval_s));
            prop_assert_eq!(min_interval_s, 900);
        }

        #[test]
        fn the_minimum_interval_grows_as_much_where_it_shall(peer_id: [u8; 20]) {
            let options = IntervalVariationConfig { modify_min_interval: true, ..ALWAYS };
            let (interval_s, min_interval_s) = intervals(&options, PeerId(peer_id));
            prop_assert_eq!(interval_s - 1800, min_interval_s - 900);
        }

        #[test]
        fn the_threshold_divides_as_a_comparison_with_the_probability_does(
            probability in f32::MIN_POSITIVE..=1.0, draw in 0..1u32 << 24,
        ) {
            let chosen = draw as f32 / (1 << 24) as f32;
            prop_assert_eq!(draw < threshold(probability), chosen < probability);
        }
    }

    #[test]
    fn the_probability_is_the_share_of_clients() {
        let options = IntervalVariationConfig { modify_response_probability: 0.25, ..ALWAYS };
        let lengthened = (0..1000_u32)
            .map(peer_id_of)
            .filter(|peer_id| intervals(&options, *peer_id).0 > 1800)
            .count();
        assert!((150..350).contains(&lengthened), "{lengthened} of 1000");
    }

    /// A peer id with its entropy where clients have it: after the name of the software.
    fn peer_id_of(client: u32) -> PeerId {
        let mut id = *b"-TR4050-abcdefghijkl";
        id[8..16]
            .copy_from_slice(&u64::from(client).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        PeerId(id)
    }

    #[test]
    fn a_probability_outside_its_range_is_an_error() {
        assert_eq!(error(0.0, 60), IntervalVariationError::Probability(0.0));
        assert_eq!(error(-0.5, 60), IntervalVariationError::Probability(-0.5));
        assert_eq!(error(1.5, 60), IntervalVariationError::Probability(1.5));
        assert!(matches!(error(f32::NAN, 60), IntervalVariationError::Probability(_)));
    }

    #[test]
    fn an_increase_outside_its_range_is_an_error() {
        for increase_s in [0, -1, 1 << 31, i64::MAX] {
            assert_eq!(error(0.5, increase_s), IntervalVariationError::Increase(increase_s));
        }
    }

    #[test]
    fn the_kernel_is_given_the_same_policy() {
        let Offload::IntervalVariation(policy) = IntervalVariation::new(&ALWAYS).unwrap().offload()
        else {
            panic!("not offloaded");
        };
        assert_eq!((policy.threshold, policy.increase_max_s), (1 << 24, 60));
    }
}
