"""The Hub, which is not reached here: what it answers is played."""

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors

from holdfast.data import read
from holdfast.data.hub import fetch
from holdfast.errors import DataError


@pytest.fixture
def hub(monkeypatch):
    asked = []

    def answer(reply):
        def snapshot_download(repo_id, **options):
            asked.append((repo_id, options))
            if isinstance(reply, Exception):
                raise reply
            return reply

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return asked

    return answer


def test_download(hub, tmp_path):
    asked = hub(str(tmp_path))
    assert fetch("lerobot/pusht") == Path(tmp_path)
    assert fetch("lerobot/pusht", revision="v3.0") == Path(tmp_path)
    assert asked[0] == ("lerobot/pusht", {"repo_type": "dataset", "revision": None, "local_files_only": False})
    assert asked[1][1]["revision"] == "v3.0"


def test_a_name_that_nobody_typed_is_read_from_the_cache_alone(hub):
    asked = hub(errors.LocalEntryNotFoundError("nothing cached"))
    with pytest.raises(DataError, match="nothing is downloaded because a file refers to it"):
        read("lerobot/pusht", download=False)
    assert asked[0][1]["local_files_only"] is True


@pytest.mark.parametrize(
    "reply", [errors.LocalEntryNotFoundError("nothing cached"), ConnectionError("no route"), TimeoutError("slow")]
)
def test_offline(hub, reply):
    hub(reply)
    expected = (
        r"lerobot/pusht is not an existing path, and the Hub cannot be reached \(.+\)\. Check the spelling, or "
        r"download it on a machine that is online: hf download lerobot/pusht --repo-type dataset --local-dir pusht"
    )
    with pytest.raises(DataError, match=expected):
        fetch("lerobot/pusht")


def test_no_name_of_the_hub():
    # the name is checked before any connection is made
    with pytest.raises(DataError, match=r"'a/b/c/d' is neither an existing path nor a name on the Hub"):
        fetch("a/b/c/d")


def test_no_such_set(hub):
    reply = errors.RepositoryNotFoundError.__new__(errors.RepositoryNotFoundError)
    hub(reply)
    with pytest.raises(DataError, match=r"no such data set for you \(RepositoryNotFoundError\)"):
        fetch("lerobot/nothing")
