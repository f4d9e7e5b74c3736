//! What other trackers write into Redis, and say on its channel.

use tracker_user::replication::{
    message,
    schema::{self, Group, Swarm},
};

/// The bytes are a message, a key, a field and a value.
pub fn run(data: &[u8]) {
    if let Ok((_, changes)) = message::decode(data) {
        for heard in changes {
            let ip = heard.peer.ip();
            assert!(heard.peer.port() != 0 && ip.to_canonical() == ip, "{heard:?}");
        }
    }
    if let Some(swarm) = Swarm::parse(data) {
        assert_eq!(swarm.key().as_bytes(), data);
    }
    for group in Group::ALL {
        if let Some(peer) = schema::parse_field(group, data) {
            assert_eq!(Group::of(&peer), group);
            let peer_id = tracker_common::id::PeerId(std::array::from_fn(|at| data[at]));
            assert_eq!(schema::field(&peer_id, &peer), data);
        }
    }
    let _ = schema::parse_time(data);
}
