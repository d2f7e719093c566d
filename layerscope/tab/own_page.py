"""A request to the tab in, why it is refused out: the tab answers its own page and nobody else's.

A page of any web site may ask this machine's servers. It is not given the answer as long as the browser
knows that the answer is another site's; so its site lets its own name lead to 127.0.0.1 (DNS rebinding).
The request then names that site as its host. A number as host, or `localhost`, no site can take.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

# Further names under which the server is reached, behind a proxy of one's own, say; commas between.
HOSTS_VARIABLE = "LAYERSCOPE_VIEW_HOSTS"


class OwnPage:
    """Judges requests by their `Host`, `Origin` and `Sec-Fetch-Site` headers.

    Args:
        bound: the name that the server was told to listen on; "" for none.
    """

    def __init__(self, bound: str = "") -> None:
        told = os.environ.get(HOSTS_VARIABLE, "").split(",")
        names = (bound, socket.gethostname(), *told)
        self._names = {name.strip().lower() for name in names if name.strip()} | {"localhost"}

    def refusal(self, headers: Headers) -> str:
        """Why the request is not answered; "" where it is."""
        host = headers.get("Host", "")
        name = _name_of(host)
        if not self._is_ours(name):
            return (
                f"This server is not {name or 'that host'}. If it is reached by that name, start it "
                f"with the name in {HOSTS_VARIABLE}."
            )
        origin = headers.get("Origin")
        if origin is not None and _netloc_of(origin) != host.lower():
            return "Only the tab's own page is answered, and the request came from another."
        # A request without the header comes from no browser of the last years, or from none at all.
        if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return "Only the tab's own page is answered, and the request came from another."
        return ""

    def _is_ours(self, name: str) -> bool:
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _name_of(host: str) -> str:
    """The host without its port, lower case; "" for what is no host."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
    plain = host.lower().rstrip("0123456789").removesuffix(":")
    return name if plain in (name, f"[{name}]") or host.lower() in (name, f"[{name}]") else ""


def _netloc_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
