//! Connect: a connection id for whoever asks.

use tracker_common::{
    abi::Verdict,
    wire::{ConnectReply, RequestHead, action},
};

use crate::{
    Answer,
    maps::Env,
    packet::{Datagram, Ip},
    reply::{self, Head},
};

#[inline(always)]
pub fn serve<F: Ip>(datagram: &Datagram<F>, now_ns: u64) -> Answer {
    let env = Env::get().ok_or(Verdict::NotOurs)?;
    let request: &RequestHead = datagram.payload_at(0).ok_or(Verdict::Unusual)?;
    let now_ns = now_ns.wrapping_add(env.wall_offset_ns);
    let reply = Head(ConnectReply {
        action: action::CONNECT,
        transaction_id: request.transaction_id,
        connection_id: env.config.connection_ids.issue::<F>(&F::source(datagram.ip), now_ns),
    });
    reply::send(datagram, &env, &reply, None).map(|()| Verdict::Connected)
}
