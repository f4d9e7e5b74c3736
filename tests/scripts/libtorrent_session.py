"""What the scripts with a libtorrent session have in common."""

import time

import libtorrent as lt


def open_session(ipv4, ipv6, port):
    """A session that speaks to trackers and peers only, at these addresses."""
    return lt.session({
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


def alerts(session):
    """All alerts, without an end."""
    while True:
        # Not wait_for_alert: it returns an alert that libtorrent moves when it queues more, while the bindings read it.
        time.sleep(0.05)
        yield from session.pop_alerts()
