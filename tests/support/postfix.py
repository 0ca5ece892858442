"""Postfix as another operator of a development trust space: an instance of its own, on loopback, with its own queue.

What must always hold: nothing of the machine's own Postfix is read or touched (own configuration, queue and data
directories); mail comes in from outside and goes out to other operators under mutual TLS only; whoever makes one ends
it (`close`) by its own configuration directory.
"""

import json
import os
import pwd
import shutil
import smtplib
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from espace_confiance.development import trust_space
from espace_confiance.liste_blanche import Entree, SignerPin, read_liste, sign_liste
from espace_confiance.routes import read_routes, write_routes
from tests.support.debian import require
from tests.support.operators import HOST, Network, Operator, free_ports
from tls.certificates import load_certificates
from tls.files import replace_file
from tls.names import dn_of_certificate

DOMAIN = "hopital.mssante.example"
READER, GONE = f"jean@{DOMAIN}", f"parti@{DOMAIN}"
"""Who has a mailbox there, and whose mail is taken first and comes back then."""
ENTRY = {"cn": f"mx.{DOMAIN}", "ou": "1750000018", "o": "Hôpital des Dunes"}

_MAIN = """
compatibility_level = 3.6
config_directory = {base}/etc
queue_directory = {base}/spool
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/maillog
maillog_file_prefixes = {base}
myhostname = mx.{domain}
myorigin = {domain}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_host_lookup = native
smtpd_peername_lookup = no
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps = texthash:{base}/etc/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
transport_maps = texthash:{base}/etc/transport
message_size_limit = 31457280
mailbox_size_limit = 0
biff = no
tls_append_default_CA = no
smtpd_tls_security_level = encrypt
smtpd_tls_req_ccert = yes
smtpd_tls_cert_file = {base}/etc/cert.pem
smtpd_tls_key_file = {base}/etc/cert.key
smtpd_tls_CAfile = {roots}
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_helo_required = yes
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unlisted_recipient
smtp_tls_security_level = secure
smtp_tls_policy_maps = texthash:{base}/etc/policy
smtp_tls_cert_file = {base}/etc/cert.pem
smtp_tls_key_file = {base}/etc/cert.key
smtp_tls_CAfile = {roots}
smtp_tls_mandatory_protocols = >=TLSv1.2
smtp_tls_loglevel = 1
"""
_MASTER = """
127.0.0.1:{outside} inet n - n - - smtpd
127.0.0.1:{inside} inet n - n - - smtpd
  -o smtpd_tls_security_level=none -o smtpd_tls_req_ccert=no
  -o mynetworks=127.0.0.0/8 -o smtpd_relay_restrictions=permit_mynetworks,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
gone unix - n n - - pipe flags=q user=nobody argv=/bin/sh -c {{exit 67}}
"""


class Postfix:
    """The operator of `DOMAIN`, listed and routed in the trust space of ``network``; not serving yet."""

    def __init__(self, network: Network) -> None:
        if os.geteuid() != 0:
            pytest.skip("Postfix needs root")
        self._postfix = require("postfix", "postfix")
        self.outside, self.inside = (ports := free_ports(2)), ports + 1
        # Its delivery agent works as a user who may not look into the folders of the tests.
        self.base = Path(tempfile.mkdtemp(prefix="mssante-postfix-"))
        self.base.chmod(0o755)
        try:
            self._configure(network)
        except BaseException:
            shutil.rmtree(self.base)
            raise

    def _configure(self, network: Network) -> None:
        etc, first = self.base / "etc", network.cabinet
        for name in ("etc", "spool", "data", "mail"):
            (self.base / name).mkdir(mode=0o755)
        nobody = pwd.getpwnam("nobody")
        shutil.chown(self.base / "data", "postfix")
        shutil.chown(self.base / "mail", nobody.pw_uid, nobody.pw_gid)
        first.run("pki", "issue", *(f"--{name}={text}" for name, text in ENTRY.items()), "--out", str(etc))
        _list(first, etc / "cert.pem", self.outside)
        roots = etc / "roots.pem"
        roots.write_bytes((first.directory / "pki" / "ca.pem").read_bytes())
        values = {"base": self.base, "domain": DOMAIN, "roots": roots, "uid": nobody.pw_uid, "gid": nobody.pw_gid}
        (etc / "main.cf").write_text(_MAIN.format(**values))
        (etc / "master.cf").write_text(_MASTER.format(outside=self.outside, inside=self.inside))
        (etc / "mailboxes").write_text(f"{READER} jean/\n{GONE} parti/\n")
        (etc / "transport").write_text(
            f"{GONE} gone:\n"
            + "".join(f"{each.domain} smtp:[{HOST}]:{each.port_of('mx')}\n" for each in network.operators)
        )
        (etc / "policy").write_text(
            "".join(f"[{HOST}]:{each.port_of('mx')} secure match=mx.{each.domain}\n" for each in network.operators)
        )

    def start(self) -> None:
        """Serve; its ports answer when this returns."""
        self._do(self._postfix, "start")

    def stop(self) -> None:
        """Serve no more; what it has in its queue it keeps."""
        self._do(self._postfix, "stop")

    def flush(self) -> None:
        """Try again at once what waits in its queue."""
        self._do("/usr/sbin/postqueue", "-f")

    def close(self) -> None:
        """Ended, and nothing of it left."""
        if (self.base / "spool" / "pid" / "master.pid").exists():
            subprocess.run([self._postfix, "-c", self.base / "etc", "stop"], capture_output=True, check=False)
        shutil.rmtree(self.base)

    def waiting(self) -> list[dict[str, Any]]:
        """Its queue, as `postqueue -j` tells it."""
        done = subprocess.run(
            ["/usr/sbin/postqueue", "-c", self.base / "etc", "-j"], capture_output=True, text=True, check=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def session(self) -> smtplib.SMTP:
        """As a mail program of its house writes. To be closed by the caller."""
        return smtplib.SMTP(HOST, self.inside, "poste", timeout=120)

    def received(self) -> list[bytes]:
        """What is in the mailbox of `READER`, with the machine's own line ends."""
        return [file.read_bytes() for file in (self.base / "mail" / "jean" / "new").glob("*")]

    @property
    def log(self) -> str:
        """What it said."""
        file = self.base / "maillog"
        return file.read_text(errors="replace") if file.exists() else ""

    def _do(self, *command: str) -> None:
        # Its daemons keep the standard output of whoever started them: a pipe would never end.
        with (self.base / "commands").open("ab") as said:
            program, *arguments = command
            done = subprocess.run(
                [program, "-c", self.base / "etc", *arguments], stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        assert done.returncode == 0, (self.base / "commands").read_text() + self.log


def _list(operator: Operator, certificate: Path, port: int) -> None:
    """The domain in the shared white list and routes of ``operator``'s trust space."""
    shared, authority = trust_space(operator.directory), (operator.directory / "pki" / "authority").resolve()
    liste = read_liste(shared.liste_blanche.read_bytes(), SignerPin.from_pem(shared.signer))
    (signer,) = load_certificates(authority / "signataire.pem")
    key = load_pem_private_key((authority / "signataire.key").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    now_us = time.time_ns() // 1000
    dn = dn_of_certificate(load_certificates(certificate)[0].public_bytes(Encoding.DER))
    entry = Entree(DOMAIN, "Domaine d'un autre opérateur", dn, str(dn), "contact", "support", now_us)
    newer_us = max(now_us, liste.generated_us + 1_000_000)
    replace_file(shared.liste_blanche, sign_liste([*liste.entries, entry], key, signer, newer_us))
    write_routes(shared.routes, read_routes(shared.routes) | {DOMAIN: (HOST, port)})
