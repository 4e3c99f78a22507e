"""The cookies of one run go back to whom they came from, and to nobody else."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from probes._cookies import MAX_COOKIES, Jar

NOW_NS = 5_000_000_000


def sent(set_cookie: str, *, by: str, to: str, after_s: int = 0, date: str | None = None) -> str:
    jar = Jar()
    headers = [(b"Set-Cookie", set_cookie.encode())]
    if date:
        headers.append((b"Date", date.encode()))
    jar.store(urlsplit(by), headers, NOW_NS)
    return jar.header(urlsplit(to), NOW_NS + after_s * 1_000_000_000)


A = "https://a.example.id/x/y"


@pytest.mark.parametrize(
    ("set_cookie", "to"),
    [
        ("n=v", "https://a.example.id/x/z"),
        ("n=v", "https://a.example.id:8443/x/"),
        ("n=v; Path=/", "http://a.example.id/"),
        ("n=v; Path=/x", "https://a.example.id/x"),
        ("n=v; Path=/x", "https://a.example.id/x/deep"),
        ("n=v; Domain=example.id; Path=/", "https://b.example.id/"),
        ("n=v; Domain=.Example.ID; Path=/", "https://example.id/"),
        ("n=v; Secure; Path=/", "https://a.example.id/"),
        ("n=v; Max-Age=10; Path=/", "https://a.example.id/"),
        ("n=v; Max-Age=nonsense; Path=/", "https://a.example.id/"),
        ("n = v ; HttpOnly; SameSite=Lax; Path=/", "https://a.example.id/"),
    ],
)
def test_it_goes_back(set_cookie: str, to: str) -> None:
    assert sent(set_cookie, by=A, to=to) == "n=v"


@pytest.mark.parametrize(
    ("set_cookie", "to"),
    [
        ("n=v", "https://a.example.id/"),
        ("n=v", "https://b.example.id/x/"),
        ("n=v; Path=/", "https://b.a.example.id/"),
        ("n=v; Path=/x", "https://a.example.id/xy"),
        ("n=v; Domain=other.id; Path=/", "https://other.id/"),
        ("n=v; Domain=b.a.example.id; Path=/", "https://b.a.example.id/"),
        ("n=v; Domain=id; Path=/", "https://other.id/"),
        ("n=v; Secure; Path=/", "http://a.example.id/"),
        ("n=v; Max-Age=0; Path=/", A),
        ("n=v; Max-Age=-1; Path=/", A),
        ("n=v; Expires=Thu, 01-Jan-1970 00:00:01 GMT; Path=/", A),
        ("novalue; Path=/", A),
        ("=v; Path=/", A),
        ("n=v\r\nX-Evil: 1; Path=/", A),
        ("n=" + "v" * 5000 + "; Path=/", A),
    ],
)
def test_it_does_not(set_cookie: str, to: str) -> None:
    assert sent(set_cookie, by=A, to=to) == ""


def test_ages_count_on_the_runs_clock_and_dates_against_the_answers_own() -> None:
    assert sent("n=v; Max-Age=10; Path=/", by=A, to=A, after_s=9) == "n=v"
    assert sent("n=v; Max-Age=10; Path=/", by=A, to=A, after_s=10) == ""
    expires = "n=v; Path=/; Expires=Wed, 21 Oct 2015 07:28:10 GMT"
    assert sent(expires, by=A, to=A, date="Wed, 21 Oct 2015 07:28:00 GMT", after_s=9) == "n=v"
    assert sent(expires, by=A, to=A, date="Wed, 21 Oct 2015 07:28:00 GMT", after_s=10) == ""
    assert sent(expires, by=A, to=A, date="Wed, 21 Oct 2015 07:28:10 GMT") == ""
    assert sent(expires, by=A, to=A) == "n=v"


def test_an_address_has_no_domain_cookies() -> None:
    assert sent("n=v; Domain=0.0.1; Path=/", by="http://127.0.0.1/", to="http://127.0.0.1/") == ""
    assert sent("n=v; Path=/", by="http://127.0.0.1/", to="http://127.0.0.1/") == "n=v"


def test_a_secure_cookie_set_over_http_is_not_kept() -> None:
    assert sent("n=v; Secure; Path=/", by="http://a.example.id/", to=A) == ""


def test_longer_paths_go_first_and_the_same_cookie_is_replaced() -> None:
    jar = Jar()
    lines = [b"a=1; Path=/", b"a=2; Path=/x", b"a=3; Path=/"]
    jar.store(urlsplit(A), [(b"set-cookie", line) for line in lines], NOW_NS)
    assert jar.header(urlsplit(A), NOW_NS) == "a=2; a=3"


def test_the_jar_is_bounded() -> None:
    jar = Jar()
    jar.store(urlsplit(A), [(b"Set-Cookie", b"c%d=1; Path=/" % n) for n in range(1000)], NOW_NS)
    kept = jar.header(urlsplit(A), NOW_NS).split("; ")
    assert len(kept) == MAX_COOKIES
    assert kept[-1] == "c999=1"
