"""The page: self-contained, well-formed, and safe against what stands in the data."""

import base64
import re
from html.parser import HTMLParser

import pytest

from holdfast.errors import ShapeError, UnknownNameError
from holdfast.evaluation.intervals import Estimate
from holdfast.report import Facts, Picture, Table, Text, write_page

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Reader(HTMLParser):
    """Fails on a tag that is closed out of turn; gathers texts, classes and references."""

    def __init__(self):
        super().__init__()
        self.open, self.cells, self.references, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append((tag, dict(attrs).get("class", ""), ""))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.cells and {"td", "th"} & set(self.open):
            tag, names, text = self.cells[-1]
            self.cells[-1] = (tag, names, text + data)


def _read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def _page(tmp_path, *sections, title="Title", lead="Lead"):
    return write_page(tmp_path / "report.html", title=title, lead=lead, sections=sections)


@pytest.fixture
def table():
    rows = [
        ["raw", 3, Estimate(0.02, 0.01, 0.04), 12.5],
        ["HINT", 3, Estimate(0.89, 0.84, 0.93), 0.203],
        ["x", 1, None, 1.0],
    ]
    return Table("Scores", ["policy", "N", "score", "distance"], rows, "All.", highest=["score"], lowest=["distance"])


def test_all_sections_make_a_well_formed_page(tmp_path, table, picture):
    path = _page(
        tmp_path,
        Text("Words", ["One.", "Two."]),
        Picture("A picture", picture, "caption", "alt"),
        table,
        Facts("Facts", {"seed": 3, "wall time [s]": 1.25}),
    )
    reader = _read(path)
    assert [reader.tags.count(tag) for tag in ("h1", "section", "h2", "img", "table", "dt")] == [1, 4, 4, 1, 1, 2]
    assert [p.name for p in tmp_path.iterdir() if p != picture] == ["report.html"]


def test_nothing_is_asked_of_the_network(tmp_path, table, picture):
    path = _page(tmp_path, Picture("A picture", picture, "", ""), table, Text("", ["see https://example.org"]))
    assert all(reference.startswith("data:") for reference in _read(path).references)
    assert len(_read(path).references) == 1
    text = path.read_text(encoding="utf-8")
    assert re.search(r"url\(|@import|<script|<link|<iframe", text) is None


def test_the_picture_is_inside(tmp_path, picture):
    text = _page(tmp_path, Picture("", picture, "", "")).read_text(encoding="utf-8")
    content = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)
    assert content is not None
    assert base64.b64decode(content[1]) == picture.read_bytes()
    assert 'width="8" height="6"' in text


@pytest.mark.parametrize(
    "place", ["title", "lead", "heading", "paragraph", "alt", "caption", "column", "cell", "name", "item"]
)
def test_everything_is_escaped(tmp_path, picture, place):
    evil = '<b a="1">&'

    def at(name):
        return evil if name == place else "x"

    path = _page(
        tmp_path,
        Text(at("heading"), [at("paragraph")]),
        Picture("", picture, at("caption"), at("alt")),
        Table("", [at("column")], [[at("cell")]]),
        Facts("", {at("name"): at("item")}),
        title=at("title"),
        lead=at("lead"),
    )
    assert "b" not in _read(path).tags
    text = path.read_text(encoding="utf-8")
    assert evil not in text
    assert "&lt;b a=&quot;1&quot;&gt;&amp;" in text


def test_numbers_are_flushed_right_and_the_best_marked(tmp_path, table):
    cells = [(names, text) for tag, names, text in _read(_page(tmp_path, table)).cells if tag == "td"]
    assert cells == [
        ("", "raw"),
        ("number", "3"),
        ("number", "0.020[0.010, 0.040]"),
        ("number", "12.5"),
        ("", "HINT"),
        ("number", "3"),
        ("number best", "0.890[0.840, 0.930]"),
        ("number best", "0.203"),
        ("", "x"),
        ("number", "1"),
        ("number", "–"),
        ("number", "1"),
    ]


def test_light_and_dark_and_phone(tmp_path):
    text = _page(tmp_path).read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport" content="width=device-width' in text
    assert re.search(r"\.scroll \{ overflow-x: auto", text)


def test_refusals(tmp_path):
    with pytest.raises(ShapeError, match="expected 2 cells, one per column, got 1 in row 1"):
        Table("", ["a", "b"], [[1, 2], [1]])
    with pytest.raises(UnknownNameError, match="c"):
        Table("", ["a", "b"], [], highest=["c"])
    (tmp_path / "a.svg").write_text("<svg/>")
    with pytest.raises(UnknownNameError, match=r"'\.svg'.*Known: \.gif"):
        _page(tmp_path, Picture("", tmp_path / "a.svg", "", ""))
