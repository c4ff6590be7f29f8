"""Small files from other people: what is no regular file, too large, too deep or too long is one sentence."""

import os
import re
import socket
from pathlib import Path

import pytest

from holdfast.errors import DataError, RunError
from holdfast.files import as_object, check_regular, open_regular, parse_json, read_bytes, read_json, read_text, shown


@pytest.fixture(params=["pipe", "socket", "device"])
def special(request, tmp_path, monkeypatch):
    """A path on which reading waits forever, or never ends."""
    place = tmp_path / "info.json"
    if request.param == "pipe":
        os.mkfifo(place)
    elif request.param == "device":
        place.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(tmp_path)  # the name of a socket must be short
        with socket.socket(socket.AF_UNIX) as door:
            door.bind("info.json")
    return place, request.param


def test_only_regular_files_are_opened(special):
    place, kind = special
    with pytest.raises(DataError, match=rf"info\.json is a {kind}, expected a regular file"):
        check_regular(place)
    if kind != "socket":  # which the system itself refuses to open
        with pytest.raises(RunError, match=f"is a {kind}"):
            read_json(place, error=RunError)


def test_what_is_missing_is_left_to_the_reader(tmp_path):
    check_regular(tmp_path / "none")
    check_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    # not the number of the open file, as Python's own message does
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        open_regular(tmp_path)


def test_errors_while_reading_name_the_file():
    if not Path("/proc/self/mem").exists():
        pytest.skip("no file here that is opened and cannot be read")
    with pytest.raises(OSError, match="/proc/self/mem"):
        read_bytes(Path("/proc/self/mem"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested more than 64 deep"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("1" * 101, "a whole number of 101 digits"),
        ("1" * 10_000, "a whole number of 10000 digits"),
        (r'["\ud800"]', "surrogates not allowed"),
        (b'"\xff"', "can't decode byte 0xff"),
        ('{"a": 1,}', "double quotes"),
    ],
)
def test_json_beyond_the_limits(text, reason):
    with pytest.raises(RunError, match=rf"^recipe\.json is damaged \(.*{reason}.*Train again\.$"):
        parse_json(text, "recipe.json", error=RunError, way_out="Train again.")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * 64 + "]" * 64, None),
        (" [1e400, -Infinity] ", [float("inf"), float("-inf")]),
        ("[0." + "1" * 200 + "]", [1 / 9]),
        ("9" * 100, int("9" * 100)),
        (r'"\ud83d\ude00"', "😀"),
        ('"' + "[" * 500 + '"', "[" * 500),
    ],
)
def test_json_within_the_limits(text, value):
    found = parse_json(text, "x")
    assert value is None or found == value


def test_no_more_is_read_than_expected(tmp_path):
    place = tmp_path / "info.json"
    place.write_bytes(b'"' + b"a" * 100 + b'"')
    assert len(read_text(place, largest=102)) == 102
    with pytest.raises(DataError, match=r"larger than 101 bytes, expected a small file\. Copy or download"):
        read_json(place, largest=101)
    with place.open("ab") as file:
        file.truncate(1 << 40)  # holds nothing, and takes no room
    with pytest.raises(DataError, match="is larger than"):
        read_json(place)


def test_objects():
    assert as_object({"a": 1}, "x") == {"a": 1}
    with pytest.raises(DataError, match=r"x is damaged: it is not a JSON object: .* got \[0, 0.*…\. Copy"):
        as_object([0] * 1000, "x")
    assert len(shown("a" * 1000)) == 60
