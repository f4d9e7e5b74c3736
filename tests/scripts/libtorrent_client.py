"""Fetches one torrent with libtorrent and says what its trackers answer.

Usage: libtorrent_client.py METAINFO FOLDER IPV4 IPV6 PORT
"""

import sys

import libtorrent as lt
from libtorrent_session import alerts, open_session

metainfo, folder, ipv4, ipv6, port = sys.argv[1:]

session = open_session(ipv4, ipv6, port)
torrent = session.add_torrent({"ti": lt.torrent_info(metainfo), "save_path": folder})

for alert in alerts(session):
    if isinstance(alert, lt.tracker_reply_alert):
        print("announced", alert.url, alert.num_peers, flush=True)
        torrent.scrape_tracker()
    elif isinstance(alert, lt.scrape_reply_alert):
        print("scraped", alert.url, alert.complete, alert.incomplete, flush=True)
    elif isinstance(alert, lt.torrent_finished_alert):
        print("finished", flush=True)
    else:
        print("#", alert.message(), flush=True)
