"""Which addresses the outgoing door may go to: those of the public internet, however they are written."""

import ipaddress

# Not private in the words of the standard library, and yet no place of a provider's page.
_CLOSED = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "fec0::/10",
        "::ffff:0:0/96",
        "64:ff9b:1::/48",
    )
]
# IPv6 with an IPv4 address in its last 32 bits, as translators write it (RFC 4291, 6052).
_EMBEDDING = [ipaddress.IPv6Network(text) for text in ("::/96", "64:ff9b::/96")]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(text: str) -> bool:
    """False for private, loopback, link-local, metadata, shared, multicast and reserved addresses, for IPv6 forms that
    hold one of them, and for what is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(_is_public(one) for one in (address, *_held_in(address)))


def _held_in(address: _Address) -> list[_Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    held = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _EMBEDDING):
        held.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in held if one is not None]


def _is_public(address: _Address) -> bool:
    closed = any(address.version == network.version and address in network for network in _CLOSED)
    return address.is_global and not (closed or address.is_multicast)
