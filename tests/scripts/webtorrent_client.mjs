// Announces to one tracker with webtorrent's client, scrapes, and says what it is answered.
//
// Usage: webtorrent_client.mjs MODULES INFO_HASH URL PORT

const [modules, infoHash, announce, port] = process.argv.slice(2);
const { Client } = await import(`${modules}/bittorrent-tracker/index.js`);

const client = new Client({ infoHash, peerId: "2d5757303030302d".padEnd(40, "0"), announce: [announce], port: Number(port) });
client.on("error", (error) => console.log("error", error.message));
client.on("warning", (warning) => console.log("warning", warning.message));
client.on("peer", (address) => console.log("peer", address));
client.on("scrape", (swarm) => console.log("scraped", swarm.complete, swarm.incomplete));
client.once("update", (swarm) => {
  console.log("announced", swarm.complete, swarm.incomplete);
  client.scrape();
});
client.start({ left: 1 });
