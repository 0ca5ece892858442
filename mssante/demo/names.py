"""The DNS of the story: nothing but the operators' DKIM keys, which no static route can tell (RFC 6376 §3.6.2)."""

import socket
import threading
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from mssante.demo.operators import HOST
from mssante.mime.dkim import key_record, load_signing_key


class Names:
    """A name server on loopback: TXT records given by `publish`, and no such name for all else."""

    def __init__(self) -> None:
        self._records: dict[str, str] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self.address = f"{HOST}:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._answer, daemon=True).start()

    def publish(self, domain: str, key: Path) -> None:
        """Publish the DKIM key of a domain."""
        text = key_record(load_signing_key(key.read_bytes()))
        pieces = " ".join(f'"{text[start : start + 250]}"' for start in range(0, len(text), 250))
        self._records[f"mssante._domainkey.{domain}."] = pieces

    def close(self) -> None:
        """Stop answering."""
        self._socket.close()

    def _answer(self) -> None:
        while True:
            try:
                wire, client = self._socket.recvfrom(4096)
                query = dns.message.from_wire(wire)
                answer = dns.message.make_response(query)
                answer.flags |= dns.flags.RA
                text = self._records.get(query.question[0].name.to_text().lower())
                if text is None:
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                elif query.question[0].rdtype == dns.rdatatype.TXT:
                    answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", text))
                self._socket.sendto(answer.to_wire(), client)
            except OSError:
                return  # closed
