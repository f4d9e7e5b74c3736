//! Connect: a connection id for whoever asks.

use tracker_common::{
    abi::Verdict,
    wire::{ConnectReply, action},
};

use crate::{
    Answer,
    maps::Env,
    packet::{Datagram, Ip},
    reply::{self, Head},
};

#[inline(always)]
pub fn serve<F: Ip>(datagram: &Datagram<F>, env: &Env, now_ns: u64) -> Answer {
    let now_ns = now_ns.wrapping_add(env.wall_offset_ns);
    let reply = Head(ConnectReply {
        action: action::CONNECT,
        transaction_id: datagram.payload.transaction_id,
        connection_id: env.config.connection_ids.issue::<F>(&F::source(datagram.ip), now_ns),
    });
    reply::send(datagram, env, &reply, None).map(|()| Verdict::Connected)
}
