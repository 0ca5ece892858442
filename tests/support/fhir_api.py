"""The FHIR API of the Annuaire Santé as documented (facts 2.2, 2.3), on loopback: pages, the key, FHIR Patch by
condition. Resources are kept as dictionaries; `answers` gives the next answers instead, when there are any."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "cle-de-test"


@dataclass
class Api:
    """`page`: resources of one page. `calls`: method, path and query of each call."""

    resources: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    calls: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)
    page: int = 2
    url: str = ""
    elsewhere: str = ""
    """When set, the next page is there."""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        self.calls.append((method, path, query))
        if self.answers:
            return self.answers.pop(0)
        if headers.get("ESANTE-API-KEY") != KEY:
            return 401, {}, b"{}"
        kind = path.rsplit("/", 1)[-1]
        found = self.resources.get(kind, [])
        if "identifier" in query:
            system, _, value = query["identifier"][0].partition("|")
            wanted = {"system": system, "value": value}
            found = [one for one in found if wanted in one.get("identifier", [])]
        if "_lastUpdated" in query:
            since = query["_lastUpdated"][0].removeprefix("ge")
            found = [one for one in found if one["meta"]["lastUpdated"] >= since]
        if method == "PATCH":
            if len(found) != 1:
                return (412 if found else 404), {}, b"{}"
            self._patch(found[0], kind, json.loads(body))
            return 200, {}, json.dumps(found[0]).encode()
        start = int(query.get("_page_token", ["0"])[0])
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
        bundle["entry"] = [{"resource": one} for one in found[start : start + self.page]]
        if start + self.page < len(found):
            more = f"&_page_token={start + self.page}"
            base = self.elsewhere or self.url
            before = target.partition("&_page_token")[0].rsplit("/", 1)[-1]
            bundle["link"] = [{"relation": "next", "url": f"{base}/{before}{more}"}]
        return 200, {}, json.dumps(bundle).encode()

    def _patch(self, resource: dict[str, Any], kind: str, parameters: dict[str, Any]) -> None:
        (operation,) = parameters["parameter"]
        part = {one["name"]: next(value for name, value in one.items() if name != "name") for one in operation["part"]}
        telecoms = resource.setdefault("telecom", [])
        if part["type"] == "insert":
            assert (part["path"], part["index"]) == (f"{kind}.telecom", 0)
            telecoms.insert(0, part["value"])
            return
        (place,) = [
            number
            for number, telecom in enumerate(telecoms)
            if part["path"] == f"{kind}.telecom.where(value = '{telecom['value']}')"
        ]
        telecoms[place : place + 1] = [part["value"]] if part["type"] == "replace" else []


@contextmanager
def serving() -> Iterator[Api]:
    """The API, ready to be called."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = api.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_PATCH = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}/fhir/v2"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


def telecom(address: str, kind: str = "PER", *, form: int = 0, rouge: bool = False) -> dict[str, Any]:
    """A mailbox as the drafts write it, in one of three forms of the type."""
    from annuaire.fhir import KIND, METADATA

    r256 = "https://mos.esante.gouv.fr/NOS/TRE_R256-TypeMessagerie/FHIR/TRE-R256-TypeMessagerie"
    r257 = "https://mos.esante.gouv.fr/NOS/TRE_R257-TypeBAL/FHIR/TRE-R257-TypeBAL"
    said: dict[str, Any] = (
        {"valueCodeableConcept": {"coding": [{"system": r257, "code": kind}]}},
        {"valueCodeableConcept": {"coding": [{"system": r256, "code": kind}]}},
        {"valueCode": kind},
    )[form]
    metadata = [{"url": "type", **said}, {"url": "listeRouge", "valueBoolean": rouge}]
    return {
        "system": "email",
        "value": address,
        "extension": [
            {"url": KIND, "valueCoding": {"system": r256, "code": "MSSANTE"}},
            {"url": METADATA, "extension": metadata},
        ],
    }
