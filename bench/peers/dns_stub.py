#!/usr/bin/env python3
"""A name server for the bench: s1._domainkey.sender.mss.test TXT from FILE, NXDOMAIN for the rest. dns_stub.py PORT FILE (loopback, UDP)."""

import socket
import struct
import sys

port, key = int(sys.argv[1]), open(sys.argv[2]).read().strip()
txt = f"v=DKIM1; k=rsa; p={key}".encode()
rdata = b"".join(bytes([len(txt[i : i + 255])]) + txt[i : i + 255] for i in range(0, len(txt), 255))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", port))
while True:
    q, peer = s.recvfrom(4096)
    end, labels = 12, []
    while end < len(q) and q[end]:
        labels.append(q[end + 1 : end + 1 + q[end]].lower())
        end += 1 + q[end]
    question = q[12 : end + 5]
    hit = b".".join(labels) == b"s1._domainkey.sender.mss.test" and question[-4:-2] == b"\0\x10"
    head = q[:2] + struct.pack(">HHHHH", 0x8580 if hit else 0x8583, 1, 1 if hit else 0, 0, 0)
    s.sendto(
        head + question + (b"\xc0\x0c\0\x10\0\x01\0\0\x0e\x10" + struct.pack(">H", len(rdata)) + rdata if hit else b""),
        peer,
    )
