"""Seeds one of the two files of a torrent with libtorrent, and says what its tracker answers.

It announces more often than a client does, as fast as its tracker answers, but at most once in two seconds.

Usage: libtorrent_partial_seed.py FOLDER TRACKER IPV4 IPV6 PORT
"""

import os
import sys
import time

import libtorrent as lt
from libtorrent_session import alerts, open_session

folder, tracker, ipv4, ipv6, port = sys.argv[1:]

PIECE_BYTES = 65536
PAUSE_S = 2

content = os.path.join(folder, "two files")
os.makedirs(content)
for name in ["wanted", "unwanted"]:
    with open(os.path.join(content, name), "wb") as file:
        # Whole pieces, so that no piece has bytes of both.
        file.write(os.urandom(4 * PIECE_BYTES))
files = lt.file_storage()
lt.add_files(files, content)
created = lt.create_torrent(files, PIECE_BYTES, lt.create_torrent.v1_only)
created.add_tracker(tracker)
created.set_priv(True)
lt.set_piece_hashes(created, folder)
metainfo = lt.torrent_info(created.generate())
files = metainfo.files()
wish = [4 if files.file_name(index) == "wanted" else 0 for index in range(files.num_files())]
os.remove(os.path.join(content, "unwanted"))
print("torrent", metainfo.info_hash(), flush=True)

session = open_session(ipv4, ipv6, port)
torrent = session.add_torrent({"ti": metainfo, "save_path": folder, "file_priorities": wish})

answered = 0
is_paused = False
for alert in alerts(session):
    if isinstance(alert, lt.tracker_announce_alert):
        is_paused = alert.event == lt.event_t.paused
    elif isinstance(alert, lt.tracker_reply_alert) and is_paused:
        answered += 1
        print(f"answered {answered}.", flush=True)
        time.sleep(PAUSE_S)
        torrent.force_reannounce(0, -1, lt.reannounce_flags_t.ignore_min_interval)
    else:
        print("#", alert.message(), flush=True)
