"""Which addresses belong to strangers' networks, and may be connected to.

What does not is a list of microsoft-antissrf's, which is kept up to date with the registries. Two
ways to spell an IPv4 address in IPv6 are missing there. IPv6 is only believed in 2000::/3, out of
which all public addresses are given.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

from AntiSSRF import IPAddressRanges

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(texts: Iterable[str]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NOT_PUBLIC: Final = _networks(
    (
        *IPAddressRanges.recommended_latest,
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
    )
)
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")

# Nobody has pictures there, whatever an exception says: metadata of the machine's own cloud, and
# what is not one machine's address.
_NEVER: Final = _networks(
    (
        "0.0.0.0/8",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/128",
        "fd00:ec2::254/128",
        "fe80::/10",
        "ff00::/8",
    )
)


def is_public(text: str) -> bool:
    """Whether an address, as the resolver gave it, is one of the public network."""
    address = _parse(text)
    if address is None or any(address in network for network in _NOT_PUBLIC):
        return False
    return address.version == 4 or address in _GLOBAL_UNICAST


def is_possible(text: str) -> bool:
    """Whether an address may be connected to where an exception was made for the host."""
    address = _parse(text)
    return address is not None and not any(address in network for network in _NEVER)


def _parse(text: str) -> Address | None:
    """Read an address; one of IPv4 that IPv6 wraps is that of IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # with a zone, too, which is link-local
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address
