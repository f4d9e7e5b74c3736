"""Fetches one torrent with libtorrent and says what its trackers answer.

Usage: libtorrent_client.py METAINFO FOLDER IPV4 IPV6 PORT
"""

import sys
import time

import libtorrent as lt

metainfo, folder, ipv4, ipv6, port = sys.argv[1:]

session = lt.session({
    "listen_interfaces": f"{ipv4}:{port},[{ipv6}]:{port}",
    "outgoing_interfaces": ipv4,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_natpmp": False,
    "enable_upnp": False,
    "alert_mask": lt.alert.category_t.tracker_notification
    | lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification,
})
torrent = session.add_torrent({"ti": lt.torrent_info(metainfo), "save_path": folder})

while True:
    # Not wait_for_alert: it returns an alert that libtorrent moves when it queues more, and the bindings read it then.
    time.sleep(0.05)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.tracker_reply_alert):
            print("announced", alert.url, alert.num_peers, flush=True)
            torrent.scrape_tracker()
        elif isinstance(alert, lt.scrape_reply_alert):
            print("scraped", alert.url, alert.complete, alert.incomplete, flush=True)
        elif isinstance(alert, lt.torrent_finished_alert):
            print("finished", flush=True)
        else:
            print("#", alert.message(), flush=True)
