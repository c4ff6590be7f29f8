"""Links and special files among the parts of a data set."""

import os

import pytest

from holdfast.data.inside import check_inside
from holdfast.errors import DataError


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "set"
    (place / "data" / "deep").mkdir(parents=True)
    (place / "data" / "deep" / "file").write_text("a")
    (tmp_path / "secret").write_text("b")
    (tmp_path / "set-2").mkdir()
    return place


@pytest.mark.parametrize("target", ["../secret", "../../../secret", "../../../set-2", "/etc/hostname", "~", "../../.."])
def test_links_out_of_a_set_are_refused(folder, target):
    (folder / "data" / "deep" / "link").symlink_to(target)
    if target in ("../secret", "~"):  # which lead nowhere, but stay inside
        check_inside(folder)
        return
    with pytest.raises(DataError, match=r"deep/link is a link to .*, outside the data set"):
        check_inside(folder)


def test_links_behind_links(folder):
    (folder / "first").symlink_to("data")
    (folder / "data" / "second").symlink_to("..")
    check_inside(folder)
    (folder / "data" / "third").symlink_to("../first/../../secret")
    with pytest.raises(DataError, match="third is a link"):
        check_inside(folder)


def test_a_set_may_be_a_link(folder, tmp_path):
    (folder / "data" / "near").symlink_to("deep/file")
    (tmp_path / "link").symlink_to("set")
    check_inside(tmp_path / "link")


@pytest.mark.parametrize("kind", ["whole", "part"])
def test_the_cache_of_the_hub(tmp_path, kind):
    snapshot = tmp_path / "datasets--a--b" / "snapshots" / "01ab"
    (tmp_path / "datasets--a--b" / "blobs").mkdir(parents=True)
    (tmp_path / "datasets--a--b" / "blobs" / "77").write_text("a")
    (snapshot / "set" / "meta").mkdir(parents=True)
    (snapshot / "set" / "meta" / "info.json").symlink_to("../../../../blobs/77")
    read = snapshot if kind == "whole" else snapshot / "set"
    check_inside(read)
    (snapshot / "set" / "meta" / "other").symlink_to("../../../../../secret")
    with pytest.raises(DataError, match="other is a link"):
        check_inside(read)


def test_blobs_that_are_a_link(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "77").write_text("b")
    (tmp_path / "blobs").symlink_to("secrets")
    (tmp_path / "snapshots" / "01ab").mkdir(parents=True)
    (tmp_path / "snapshots" / "01ab" / "file").symlink_to("../../blobs/77")
    with pytest.raises(DataError, match="outside the data set"):
        check_inside(tmp_path / "snapshots" / "01ab")


def test_special_files(folder):
    os.mkfifo(folder / "data" / "deep" / "pipe")
    with pytest.raises(DataError, match=r"deep/pipe is a pipe"):
        check_inside(folder)


def test_what_fetched_a_set_is_not_a_part_of_it(folder):
    (folder / ".git").mkdir()
    os.mkfifo(folder / ".git" / "pipe")
    check_inside(folder)
