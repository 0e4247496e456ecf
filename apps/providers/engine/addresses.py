"""Which network addresses may send, and which address a request came from behind trusted proxies.

Pure text in, text out: which lists apply is kept with the endpoint, the trusted proxies with the settings.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def parse_networks(entries: Iterable[str]) -> list[Network]:
    """Networks from addresses and CIDR ranges, v4 and v6; ValueError names the entry that is neither."""
    return [_network(entry) for entry in entries]


def contains(networks: Sequence[Network], address: str) -> bool:
    """Whether the address lies in one of the networks. Text that is no address lies in none."""
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in networks)


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The address the request came from: the last one that a trusted proxy vouches for.

    X-Forwarded-For is written by every hop, and by the sender too. So it is read from the right, and only as
    long as the hop that handed it on is trusted; an entry that is no address ends the reading.
    """
    client = peer
    if not forwarded_for or not trusted:
        return client
    for hop in reversed(forwarded_for.split(",")):
        parsed = _address(hop)
        if parsed is None or not contains(trusted, client):
            break
        client = str(parsed)
    return client


def _network(entry: str) -> Network:
    try:
        network = ip_network(entry.strip())
    except ValueError as error:
        raise ValueError(f"{entry!r} is neither an address nor a network: {error}") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 address in IPv6 dress (::ffff:192.0.2.1, from dual-stack sockets) is the IPv4 address."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
