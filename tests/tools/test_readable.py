"""HTML as Markdown, in time that grows with the page and no faster."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from headgate.tools.readable import readable, title_of
from tests.requirements import covers

pytestmark = covers("101", "107")
HERE = "https://x.test/a/"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<h2>Hi &amp; you</h2><p>one\n two</p>three", "## Hi & you\n\none two\n\nthree"),
        ("<a href='/b?x=1'>this <b>page</b></a>", "[this **page**](https://x.test/b?x=1)"),
        ("<a href='javascript:alert(1)'>x</a><a href='#top'>y</a><a>z</a>", "xyz"),
        ("<ul><li>one<li>two<ol><li>a<li>b</ol></ul>", "- one\n- two\n\n  1. a\n  2. b"),
        ("<pre>  a\n  b</pre>", "```\n  a\n  b\n```"),
        ("a<script>if (1 < 2) { '<p>no</p>' }</script>b<style>p{}</style>c", "abc"),
        ("a<svg><text>no</text><svg></svg></svg>b", "ab"),
        ("a<!-- <p>no</p> -->b<!doctype html>c<?php no ?>d", "abcd"),
        ("5 < 6 and <3 <", "5 < 6 and <3 <"),
        ("<img alt='a cat' src=x><br>under", "![a cat]\nunder"),
        ('<a href="/a)b c">x</a>', "[x](https://x.test/a%29b%20c)"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>", "| 1 | 2\n| 3"),
        ("&#x41;&#66;&nbsp;&bogus;&#" + "1" * 5000, "AB &bogus;\ufffd"),
        ("<p title='a > b'>quoted</p>", "quoted"),
        ("<P><STRONG>big</STRONG></P></div></b>", "**big**\n\n**"),
    ],
)
def test_pages_read_as_people_see_them(page: str, expected: str) -> None:
    assert readable(page, HERE, markdown=True) == expected


def test_plain_text_has_no_marks_of_markdown() -> None:
    page = "<h1>Title</h1><p><b>bold</b> <a href='/x'>link</a></p>"
    assert readable(page, HERE, markdown=False) == "Title\n\nbold link"
    assert title_of("<TITLE>\n A &amp;\n B </title>") == "A & B"
    assert title_of("<p>") == ""


MEGABYTE = 1_000_000
HOSTILE = [
    *("<", "<a ", "<!--", "<!", "<?", "</", "<a b='", '<a b="', "&", "&#", "<script>", "</script", "<div>", "<svg>"),
    *("<![CDATA[", "<a href='x'>", "<ul><li>", "<title>", "<b>", "\n", "<a b", "<pre>", "<a =", "<p", "'", '<"'),
    *("<a " + "x " * 1000 + ">", "<a '" + "x" * 8000 + "'", "<script><script", "<!-->", "&amp"),
]


@pytest.mark.parametrize("piece", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_page_takes_no_longer_than_its_size(piece: str) -> None:
    """Twice the page takes about twice the time; quadratic readers need a hundred times as long at this size."""
    page = piece * (MEGABYTE // len(piece))
    began = time.process_time()
    readable(page, HERE, markdown=True)
    assert time.process_time() - began < 6


@settings(max_examples=120, deadline=None)
@given(some.lists(some.one_of(some.sampled_from(HOSTILE[:26]), some.text(max_size=10))).map("".join))
def test_no_page_is_an_error(page: str) -> None:
    for markdown in (True, False):
        assert "\n\n\n" not in readable(page, HERE, markdown=markdown)
    title_of(page)
