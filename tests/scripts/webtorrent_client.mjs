// Announces to one tracker with webtorrent's client, scrapes, and says what it is answered.
//
// Usage: webtorrent_client.mjs MODULES INFO_HASH URL PORT LEFT

import { randomBytes } from "node:crypto";

const [modules, infoHash, announce, port, left] = process.argv.slice(2);
const { Client } = await import(`${modules}/bittorrent-tracker/index.js`);

// Its own, for over WebSocket it ignores what others with the same one send.
const peerId = Buffer.concat([Buffer.from("-WW0000-"), randomBytes(12)]).toString("hex");
const rtcConfig = { iceServers: [] };
const client = new Client({ infoHash, peerId, announce: [announce], port: Number(port), rtcConfig });
client.on("error", (error) => console.log("error", error.message));
client.on("warning", (warning) => console.log("warning", warning.message));
client.on("scrape", (swarm) => console.log("scraped", swarm.complete, swarm.incomplete));
client.on("peer", (peer) => {
  if (typeof peer === "string") {
    console.log("peer", peer);
    return;
  }
  // Over WebSocket: a connection that begins.
  console.log("peer", Buffer.from(peer.id, "hex").toString("latin1"));
  peer.on("connect", () => console.log("connected"));
  peer.on("error", (error) => console.log("error", error.message));
});
client.once("update", (swarm) => {
  console.log("announced", swarm.complete, swarm.incomplete);
  client.scrape();
});
client.start({ left: Number(left) });
