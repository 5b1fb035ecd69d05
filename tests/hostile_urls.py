"""Addresses, hosts and URLs by which strangers try to reach the inside of a network."""

from __future__ import annotations

import ipaddress

from AntiSSRF import IPAddressRanges

_IPV4 = ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.100.100.200"]


def _halves(address: str) -> tuple[int, int]:
    number = int(ipaddress.IPv4Address(address))
    return number >> 16, number & 0xFFFF


def _in_ipv6(address: str) -> list[str]:
    """The ways in which IPv6 carries an address of IPv4: compatible to Teredo."""
    high, low = _halves(address)
    return [
        f"{before}{high:x}:{low:x}{after}"
        for before, after in (
            *(("::", ""), ("::ffff:", ""), ("::ffff:0:", ""), ("64:ff9b::", "")),
            *(("64:ff9b:1::", ""), ("2002:", "::1")),
        )
    ] + [f"2001:0:4136:e378:8000:63bf:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}"]


def _spelled_otherwise(address: str) -> list[str]:
    """An address of IPv4 as some readers of URLs understand it, and ours must not."""
    number = int(ipaddress.IPv4Address(address))
    parts = [int(part) for part in address.split(".")]
    return [
        *(str(number), hex(number), f"0{number:o}"),
        *(".".join(map(hex, parts)), ".".join(f"0{part:o}" for part in parts)),
        *(f"{parts[0]}.{number & 0xFFFFFF}", f"{parts[0]}.{parts[1]}.{number & 0xFFFF}"),
        *(f"[{one}]" for one in (f"::ffff:{address}", *_in_ipv6(address))),
    ]


# Addresses that a resolver may give, or fail to.
INSIDE = [
    *(range_.partition("/")[0] for range_ in IPAddressRanges.recommended_latest),
    *("127.0.0.1", "127.255.255.254", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.100.100.200", "100.64.0.1", "168.63.129.16", "0.0.0.0", "255.255.255.255", "224.0.0.1"),
    *("192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "240.0.0.1", "192.88.99.1"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1"),
    *("::ffff:100.100.100.200", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::a00:1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:db8::1", "fe80::1", "fe80::1%eth0"),
    *("fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1", "3fff::1", "5f00::1", "4000::1"),
    *("", "localhost", "not an address", "1.2.3", "01.2.3.4", "1.2.3.4.5"),
    *(one for address in _IPV4 for one in _in_ipv6(address)),
]

# Hosts of a URL.
SPELLINGS = [
    *("2130706433", "0x7f000001", "0x7f.1", "0x7F.0.0.1", "017700000001", "0177.0.0.1", "127.1"),
    *(
        "127.0.1",
        "127.0.0.1.",
        "127.0.0.01",
        "127.000.000.001",
        "0",
        "0.0",
        "1",
        "0x",
        "0xffffffff",
    ),
    *(
        "127.0.0.1%00.example",
        "127.0.0.1%2f",
        "\u2460\u2461\u2466.0.0.1",
        "127\u30020\u30020\u30021",
        "\uff11\uff12\uff17.0.0.1",
        "127.0.0.1\t",
    ),
    *(
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[::1%25lo]",
        "[fe80::1%lo]",
        "[::7f00:1]",
    ),
    *("[::ffff:7f00:1]", "[64:ff9b::127.0.0.1]", "[1.2.3.4]", "[]", "[", "[::1", "::1", "[::1]x"),
    *("localhost", "LOCALHOST", "localhost.", "metadata", "metadata.google.internal", "x.local"),
    *(
        "user@127.0.0.1",
        "pictures.example@127.0.0.1",
        "127.0.0.1@pictures.example",
        "a:b@c.example",
    ),
    *("127.0.0.1:80@pictures.example", "pictures.example\\@127.0.0.1", "pictures.example\\.evil"),
    *(
        "pictures.example#@127.0.0.1",
        "pictures.example:0",
        "pictures.example:65536",
        "pictures.example:",
    ),
    *(
        "pictures.example:22",
        "pictures.example:8080",
        "pictures.example:+80",
    ),
    *(
        "-a.example",
        "a-.example",
        "a..example",
        ".example",
        "example.",
        "a_b.example",
        "a" * 64 + ".b",
    ),
    *(
        "a." * 130 + "b",
        "pictures.example%",
        "pictures%2eexample",
        "xn--.example",
        "xn--zzzzzz99.",
        "",
    ),
    *(
        "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
        "\u2113ocalhost",
        "pictures.example:80:80",
        "*.example",
        "a b.example",
        "a\rb.example",
    ),
    *(
        "a\nb.example",
        "a\0b.example",
        "a\u202eb.example",
        "$(id).example",
        "a;b.example",
        "a|b",
        "{a}",
    ),
    *(one for address in _IPV4 for one in _spelled_otherwise(address)),
]

# Whole URLs.
SCHEMES = [
    *(
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "ftp://pictures.example/a",
        "gopher://a.b/",
    ),
    *(
        "dict://127.0.0.1:11211/",
        "ldap://a.example/",
        "jar:http://a.example!/",
        "javascript:alert(1)",
    ),
    *(
        "http:pictures.example/a",
        "http:/pictures.example/a",
        "http:///a",
        "http://",
        "http:",
        "://a",
    ),
    *(
        "//pictures.example/a",
        "pictures.example/a",
        "",
        " http://pictures.example/a",
        "ws://a.example",
    ),
    *(
        "http://pictures.example/a#b",
        "http://pictures.example/a\\b",
        "http://pictures.example/\x01",
    ),
    *(
        "http\t://pictures.example/",
        "ht\ntp://pictures.example/",
        "http://pictures.example/a b",
        "data:,",
    ),
    *(
        "oss://bucket/key",
        "oss://",
        "OSS://bucket/key",
        "unix:///run/x.sock",
        "netdoc:///etc/passwd",
    ),
    *(
        "http://pictures.example/\ud800",
        "https+unix://a/",
        "view-source:http://a.example/",
        "http://[v1.a]/",
    ),
]
