from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tls.names import DN, DNError, dn_of_name, parse_dn

PLAIN = "CN=mx.clinique.example,OU=1750160012,O=CLINIQUE DU PARC,ST=Paris (75),C=FR"

SAME = [  # the departures of the real list (facts 1.4), contacts and names fictive
    ("double spaces, quoted", 'CN=mx.a.example,OU=1870000015,O="C H U  DE  LIMOGES",ST=X,C=FR', "C H U DE LIMOGES"),
    ("double spaces, bare", "CN=mx.a.example,OU=1870000015,O=C H U  DE  LIMOGES,ST=X,C=FR", "C H U DE LIMOGES"),
    ("inner quotes", 'CN=mx.a.example,OU=1670000033,O=CRLCC "PAUL STRAUSS",ST=X,C=FR', "CRLCC PAUL STRAUSS"),
    ("one inner quote", 'CN=mx.a.example,OU=1970300083,O=CENTRE "FRANCK-JOLY,ST=X,C=FR', "CENTRE FRANCK-JOLY"),
    ("no-break space", "CN=mx.a.example,OU=1750160012,O=CLCC\u00a0 INSTITUT,ST=X,C=FR", "CLCC INSTITUT"),
    ("comma and blank", "CN=mx.a.example, OU=343975235300037, O=APICEM, ST=Nord (59), C=FR", "APICEM"),
    ("L for ST", "CN=mx.a.example,OU=300000000099622,O=GIP - TEST9962,L=Paris (75),C=FR", "GIP - TEST9962"),
    ("trailing blank", "CN=mx.a.example ,OU=3000,O=GIP ,ST=X,C=FR", "GIP"),
    ("apostrophe", "CN=mx.a.example,OU=1,O=SSR CENTRE DE L'ARCHE,ST=Val d'Oise (95),C=FR", "SSR CENTRE DE L'ARCHE"),
    ("accents", "CN=mx.a.example,OU=1,O=HÔPITAL ÉLAN,ST=Rhône (69),C=FR", "hôpital élan"),
    ("decomposed accents", "CN=mx.a.example,OU=1,O=HO\u0302PITAL,ST=X,C=FR", "HÔPITAL"),
    ("escaped comma", "CN=mx.a.example,OU=1,O=DUPONT\\, MARTIN,ST=X,C=FR", "DUPONT, MARTIN"),
    ("quoted comma", 'CN=mx.a.example,OU=1,O="DUPONT, MARTIN",ST=X,C=FR', "DUPONT, MARTIN"),
    ("escaped octets", "CN=mx.a.example,OU=1,O=SANT\\C3\\89,ST=X,C=FR", "SANTÉ"),
    ("quoted with a quote in it", 'CN=mx.a.example,OU=1,O="A "B" C",ST=X,C=FR', "A B C"),
    ("escaped quote in quotes", 'CN=mx.a.example,OU=1,O="A \\"B\\"",ST=X,C=FR', "A B"),
    ("an escaped plus that looks like a second attribute", "CN=mx.a.example,OU=1,O=A\\+CN=B,C=FR", "A+CN=B"),
    ("a plus sign", "CN=mx.a.example,OU=1,O=A+ SANTE,ST=X,C=FR", "A+ SANTE"),
    (
        "cut at 40",
        "CN=mx.a.example,OU=1,O=AGENCE DES SYSTEMES D'INFORMATION PARTAG,ST=X,C=FR",
        "AGENCE DES SYSTEMES D'INFORMATION PARTAGES DE SANTE",
    ),
]


@pytest.mark.parametrize(("text", "o"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_quirks_of_the_list_name_the_same_operator(text: str, o: str) -> None:
    dn = parse_dn(text)
    clean = DN((("CN", "MX.A.EXAMPLE"), ("OU", dn.ou), ("O", o)))
    assert dn.key == clean.key
    assert dn.complete


@pytest.mark.parametrize(
    "text",
    [
        "CN=mx.autre.example,OU=1750160012,O=CLINIQUE DU PARC,ST=Paris (75),C=FR",
        "CN=mx.clinique.example,OU=1750160013,O=CLINIQUE DU PARC,ST=Paris (75),C=FR",
        "CN=mx.clinique.example,OU=1750160012,O=CLINIQUE DU PORT,ST=Paris (75),C=FR",
        "CN=mx.clinique.example,OU=1750160012,OU=1750160012,O=CLINIQUE DU PARC,C=FR",
        "CN=mx.clinique.example,CN=mx.clinique.example,OU=1750160012,O=CLINIQUE DU PARC,C=FR",
        "CN=mx.clinique.example.evil,OU=1750160012,O=CLINIQUE DU PARC,C=FR",
        "CN=mx.clinique\u200b.example,OU=1750160012,O=CLINIQUE DU PARC,C=FR",
    ],
)
def test_another_name_has_another_key(text: str) -> None:
    assert parse_dn(text).key != parse_dn(PLAIN).key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "CN",
        "CN=a,,O=b",
        "CN=a,",
        "CN=a,O=DUPONT, MARTIN,C=FR",  # a comma that nothing protects
        "=a",
        "CN=a+OU=b,O=c",  # two attributes in one RDN
        "CN=a+ OU=b",
        "CN=a\x00.example,OU=1,O=b",
        "CN=a\\00.example,OU=1,O=b",  # the same, escaped
        "CN=a\\",
        "CN=\\FF",  # octets that are not UTF-8
        "C N=a",
        "CN=a;OU=b," * 500,
    ],
)
def test_ambiguous_text_is_refused(text: str) -> None:
    with pytest.raises(DNError):
        parse_dn(text)


def test_attributes_by_name() -> None:
    dn = parse_dn(PLAIN)
    assert (dn.cn, dn.ou, dn.o, dn.first("ST"), dn.first("L")) == (
        "mx.clinique.example",
        "1750160012",
        "CLINIQUE DU PARC",
        "Paris (75)",
        "",
    )
    assert str(dn) == PLAIN
    assert not parse_dn("CN=a,O=b").complete
    assert not parse_dn("CN=a,OU=,O=b").complete


def test_a_certificate_name_is_read_in_list_order() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Paris (75)"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "CLINIQUE DU PARC"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "1750160012"),
            x509.NameAttribute(NameOID.COMMON_NAME, "mx.clinique.example"),
        ]
    )
    assert str(dn_of_name(name)) == PLAIN


@pytest.mark.parametrize(
    "name",
    [
        x509.Name([]),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.a.example\x00.evil")]),
        x509.Name(
            [
                x509.RelativeDistinguishedName(
                    [
                        x509.NameAttribute(NameOID.COMMON_NAME, "mx.a.example"),
                        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "1"),
                    ]
                )
            ]
        ),
    ],
)
def test_an_ambiguous_certificate_name_is_refused(name: x509.Name) -> None:
    with pytest.raises(DNError):
        dn_of_name(name)


_values = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60)


@given(
    st.lists(st.tuples(st.sampled_from(["CN", "OU", "O", "ST", "L", "C", "1.2.3"]), _values), min_size=1, max_size=6)
)
def test_what_is_written_is_read_back(attributes: list[tuple[str, str]]) -> None:
    dn = DN(tuple(attributes))
    back = parse_dn(str(dn))
    assert back.key == dn.key
    assert [(kind, " ".join(value.split())) for kind, value in back.attributes] == [
        (kind, " ".join(value.split())) for kind, value in dn.attributes
    ]


@given(st.text(max_size=200) | st.text(alphabet='CNOU=,"\\+ab \u00a000F\n', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        dn = parse_dn(text)
    except DNError:
        return
    assert dn.attributes
    assert parse_dn(str(dn)).key == dn.key
