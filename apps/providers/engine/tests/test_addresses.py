"""Addresses: ranges of both families, and whom to believe about a client behind proxies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.engine.addresses import client_address, contains, parse_networks, sender

PROXIES = parse_networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("entry", "address", "inside"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        (" 192.0.2.0/24 ", " 192.0.2.255 ", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("0.0.0.0/0", "198.51.100.1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("2001:db8::/32", "2001:DB8:0:0::5", True),
        ("2001:db8::/32", "2001:db9::5", False),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("192.0.2.0/24", "::ffff:192.0.3.9", False),
        ("::ffff:192.0.2.0/120", "192.0.2.9", True),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.3.9", False),
        ("::/0", "2001:db8::1", True),
        ("192.0.2.0/24", "", False),
        ("0.0.0.0/0", "unknown", False),
        ("0.0.0.0/0", "192.0.2.7:443", False),
        ("0.0.0.0/0", "192.0.2", False),
        ("0.0.0.0/0", "192.0.2.007", False),
        ("0.0.0.0/0", "١٩٢.0.2.7", False),
        ("0.0.0.0/0", "1\x00", False),
        ("fe80::/10", "fe80::7%eth0", True),
        ("fe80::7", "fe80::7%<any text>", True),
        ("fe80::/10", "fe80::7%", False),
        ("::ffff:0:0/96", "192.0.2.7", True),
        ("::/0", "192.0.2.7", False),
        ("::/0", "::ffff:192.0.2.7", False),
        ("\t2001:db8::/32\n", "\t2001:db8::7 ", True),
        ("2001:db8::/32", "[2001:db8::7]", False),
        ("2001:db8::/32", "2001:db8::7/128", False),
    ],
)
def test_an_address_lies_in_a_network(entry, address, inside):
    assert contains(parse_networks([entry]), address) is inside


def test_no_network_contains_nothing_and_each_is_tried():
    assert not contains(parse_networks([]), "192.0.2.7")
    assert contains(parse_networks(["2001:db8::1", "198.51.100.0/24", "192.0.2.7"]), "192.0.2.7")


@pytest.mark.parametrize(
    "entry", ["", "example.test", "192.0.2.0/33", "192.0.2.1/24", "192.0.2.1-9", "2001:db8::g", "*", "fe80::1%eth0"]
)
def test_an_entry_that_is_no_network_is_named(entry):
    with pytest.raises(ValueError, match="is neither an address nor a network") as refused:
        parse_networks(["192.0.2.7", entry])
    assert repr(entry) in str(refused.value)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),  # a stranger may write what he likes
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.1", "198.51.100.1"),  # the left one is the stranger's word
        ("10.0.0.1", "198.51.100.1,10.0.0.2 , 10.0.0.3", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),  # all ours: the farthest
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:DB8::1", "2001:db8::1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "10.0.0.1"),
        ("", "198.51.100.1", ""),  # a Unix socket has no address; whoever trusts it must say so elsewhere
        ("unix:", "198.51.100.1", "unix:"),
        ("fd00::1", "2001:db8::1, fd00::2, fd00::3", "2001:db8::1"),
        ("fd00::1", "198.51.100.1, 2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "fe80::1%<script>", "fe80::1"),
        ("10.0.0.1", "[2001:db8::1]:443", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1" + ", 10.0.0.1" * 1000, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1\x00", "10.0.0.1"),
    ],
)
def test_the_client_is_the_first_hop_that_is_not_ours(peer, forwarded_for, client):
    assert client_address(peer, forwarded_for, PROXIES) == client


def test_without_trusted_proxies_the_peer_is_the_client():
    assert client_address("10.0.0.1", "198.51.100.1", []) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:DB8::ffff:8", "2001:db8::/64"),
        ("fe80::7%eth0", "fe80::/64"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_who_a_sender_is(address, whose):
    assert sender(address) == whose


@given(st.text(), st.none() | st.text())
def test_a_stranger_cannot_choose_his_address(peer, forwarded_for):
    assert client_address(peer, forwarded_for, []) == peer
    assert client_address("192.0.2.7", forwarded_for, PROXIES) == "192.0.2.7"
