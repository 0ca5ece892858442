"""mkmaildir.py DIR N: a Maildir of N synthetic messages of about 3 KB (1 in 1000 holds the search word)."""

import base64
import os
import random
import sys
import time

d, n = sys.argv[1], int(sys.argv[2])
rnd = random.Random(7)
for s in ("cur", "new", "tmp"):
    os.makedirs(f"{d}/{s}", exist_ok=True)
W = [
    "patient",
    "compte-rendu",
    "hospitalisation",
    "bilan",
    "biologique",
    "tension",
    "traitement",
    "consultation",
    "ordonnance",
    "examen",
    "radiographie",
    "suivi",
    "clinique",
    "cardiologie",
]
if len(os.listdir(d + "/cur")) >= n:
    sys.exit()
for i in range(n):
    t = 1700000000 + i * 60
    text = "\r\n".join(" ".join(rnd.choices(W, k=8)) for _ in range(8)) + (
        "\r\nhypertension\r\n" if i % 1000 == 500 else "\r\n"
    )
    att = base64.encodebytes(b"%PDF-1.7\n" + rnd.randbytes(1200)).decode().replace("\n", "\r\n")
    m = (
        f'Return-Path: <dr.{i % 97}@sender.mss.test>\r\nReceived: from a by mx.mss.test; Sun, 22 Nov 2026 10:00:00 +0000\r\nFrom: "Dr Bench {i % 97}" <dr.{i % 97}@sender.mss.test>\r\nTo: big@mss.test\r\n'
        f"Subject: {'hypertension ' if i % 1000 == 7 else ''}Compte-rendu {i} {rnd.choice(W)}\r\nDate: {time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime(t))}\r\nMessage-ID: <big-{i}@sender.mss.test>\r\n"
        f'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="=_b{i}"\r\n\r\n--=_b{i}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--=_b{i}\r\n'
        f'Content-Type: application/pdf; name="CR_{i}.pdf"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="CR_{i}.pdf"\r\n\r\n{att}--=_b{i}--\r\n'
    )
    p = f"{d}/cur/{t}.M{i}P1.bench:2,{'S' if i % 3 else ''}"
    with open(p, "w", newline="") as f:
        f.write(m)
    os.utime(p, (t, t))
