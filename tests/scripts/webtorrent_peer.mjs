// Fetches one torrent with WebTorrent, then seeds it, and says how that goes. It seeds at once where the
// folder has the file already.
//
// Usage: webtorrent_peer.mjs MODULES METAINFO URL FOLDER

const [modules, metainfo, announce, path] = process.argv.slice(2);
const { default: WebTorrent } = await import(`${modules}/webtorrent/index.js`);

// Nobody but the tracker can tell it of others, and no other server of its own addresses.
const client = new WebTorrent({
  dht: false,
  lsd: false,
  natPmp: false,
  natUpnp: false,
  utPex: false,
  utp: false,
  webSeeds: false,
  tracker: { rtcConfig: { iceServers: [] } },
});
client.on("error", (error) => console.log("error", error.message));

let replies = 0;
const torrent = client.add(metainfo, { announce: [announce], path });
torrent.on("warning", (warning) => console.log("warning", warning.message));
torrent.on("trackerAnnounce", () => console.log("announced", ++replies));
torrent.on("wire", (wire, address) => console.log("connected", wire.type, address));
torrent.on("done", () => console.log("finished"));
