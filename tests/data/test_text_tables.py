"""Tables of text as spreadsheets, loggers and pandas write them: numbers compared with those that were written."""

import numpy as np
import pytest

from holdfast.data import Selection, read
from holdfast.data.unseen import Unseen
from holdfast.errors import DataError, UnknownNameError

HEADER = "episode,time,state_x,state_y,action_x"
ROWS = ["0,0.0,1.5,-2.25,0.5", "0,0.1,1.75,-2.5,0.25", "1,0.0,3.5,4.5,-0.5", "1,0.1,3.25,4.75,-0.75", "1,0.2,3,5,-1"]
STATES = [[1.5, -2.25], [1.75, -2.5], [3.5, 4.5], [3.25, 4.75], [3, 5]]
ACTIONS = [[0.5], [0.25], [-0.5], [-0.75], [-1]]
COMMA = [row.replace(",", ";").replace(".", ",") for row in ROWS]


def written(path, *lines, encoding="utf-8", end="\n"):
    (path / "log.csv").write_bytes((end.join(lines) + end).encode(encoding))
    return path / "log.csv"


def check(found, lengths=(2, 3)):
    assert found.states.tolist() == STATES
    assert found.actions.tolist() == ACTIONS
    assert found.lengths.tolist() == list(lengths)


def notes(found):
    return " ".join(found.meta.get("reading_notes", ()))


ONE_TABLE = {
    "plain": [HEADER, *ROWS],
    "semicolons": [HEADER.replace(",", ";"), *(row.replace(",", ";") for row in ROWS)],
    "tabs": [HEADER.replace(",", "\t"), *(row.replace(",", "\t") for row in ROWS)],
    "bars": [HEADER.replace(",", "|"), *(row.replace(",", "|") for row in ROWS)],
    "blanks": [HEADER.replace(",", "  "), *(row.replace(",", " ") for row in ROWS)],
    "decimal commas": [HEADER.replace(",", ";"), *COMMA],
    "a declared separator": ["sep=;", HEADER.replace(",", ";"), *COMMA],
    "quotes": [HEADER, *(",".join(f'"{cell}"' for cell in row.split(",")) for row in ROWS)],
    "comments before and between": ["# a robot", "# 2 episodes, by hand", HEADER, *ROWS[:3], "# moved", *ROWS[3:]],
    "names in the last comment": ["# a robot", f"# {HEADER}", *ROWS],
    "names in capitals": [HEADER.upper(), *ROWS],
    "a separator after each row": [HEADER, *(row + "," for row in ROWS)],
    "a separator after each line": [HEADER + ",", *(row + "," for row in ROWS)],
    "empty lines": ["", HEADER, *ROWS, "", "  "],
    "names of episodes": [HEADER, *(f"ep_{row}" for row in ROWS)],
    "an index without a name": ["," + HEADER, *(f"{place},{row}" for place, row in enumerate(ROWS))],
    "text with line ends": [HEADER + ",note", *(f'{row},"a\nb"' for row in ROWS)],
}


@pytest.mark.parametrize("kind", ONE_TABLE)
def test_the_same_numbers(tmp_path, kind):
    check(read(written(tmp_path, *ONE_TABLE[kind])))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_bytes_before_the_text(tmp_path, encoding):
    check(read(written(tmp_path, HEADER, *ROWS, encoding=encoding)))


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends(tmp_path, end):
    check(read(written(tmp_path, HEADER, *ROWS, end=end)))


def test_decimal_commas_are_said(tmp_path):
    found = read(written(tmp_path, HEADER.replace(",", ";"), *COMMA))
    assert "numbers have decimal commas: 0,0 is read as 0.0" in notes(found)
    # a comma beside decimal points stands for something else
    with pytest.raises(DataError, match=r"column state_x holds '1,750' in row 1"):
        read(written(tmp_path, "state_x;action_x", "1.5;2", "1,750;2", "3.5;2"))


def test_decimal_commas_between_commas_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"column state_x holds '1,5' in row 0\. Write decimal points"):
        read(written(tmp_path, HEADER, *('"' + row.replace(",", '","').replace(".", ",") + '"' for row in ROWS)))
    with pytest.raises(DataError, match=r"has 2 of 4 names, .*separate the columns by semicolons"):
        read(written(tmp_path, "state_x,action_x", "1,5,2,25", "1,75,2,5"))


def test_names_of_columns_that_pandas_writes(tmp_path):
    lines = ["0,1,2", "1.5,2.5,3.5", "4.5,5.5,6.5"]
    chosen = Selection(state=("0-1",), action=("2",))
    for more in ([], ["", "0", "1"]):
        shift = bool(more)
        rows = [f"{mark},{line}" for mark, line in zip(more, lines, strict=True)] if more else lines
        chosen = Selection(state=(f"{shift + 0}-{shift + 1}",), action=(f"{shift + 2}",))
        found = read(written(tmp_path, *rows), selection=chosen)
        assert found.states.tolist() == [[1.5, 2.5], [4.5, 5.5]]
        assert found.actions.tolist() == [[3.5], [6.5]]
        assert "the first line counts the columns" in notes(found)
    # two columns may hold these numbers
    found = read(written(tmp_path, "0,1", "2,3"), selection=Selection(state=("0",), action=("1",)))
    assert found.states.tolist() == [[0], [2]]


def test_numbers_of_columns_count_those_of_text(tmp_path):
    lines = ["who,x,mark,y,u", "ann,1,a,2,3", "ann,4,b,5,6"]
    found = read(written(tmp_path, *lines), selection=Selection(state=("1", "3"), action=("4",)))
    assert found.states.tolist() == [[1, 2], [4, 5]]
    assert found.actions.tolist() == [[3], [6]]
    with pytest.raises(UnknownNameError, match=r"key for state 'mark'"):
        read(written(tmp_path, *lines), selection=Selection(state=("1-3",), action=("4",)))


def test_texts_of_episodes(tmp_path):
    head, marks = HEADER + ",task,operator,phase", ["put it, left,ann,a", "put it, left,ann,b", *["open,bob,a"] * 3]
    marks = [mark.replace("put it, left", '"put it, left"') for mark in marks]
    found = read(written(tmp_path, head, *(f"{row},{mark}" for row, mark in zip(ROWS, marks, strict=True))))
    check(found)
    assert found.tasks == ("put it, left", "open")
    assert found.episode_columns["operator"] == ("ann", "bob")
    assert found.meta["features_left_out"] == ["phase (text)"]


def test_texts_of_episodes_in_files(tmp_path):
    (tmp_path / "set").mkdir()
    for episode, (rows, task) in enumerate(((ROWS[:2], "left"), (ROWS[2:], "right"))):
        lines = ["time,state_x,state_y,action_x,task", *(f"{row[2:]},{task}" for row in rows)]
        (tmp_path / "set" / f"ep{episode}.csv").write_text("\n".join(lines))
    found = read(tmp_path / "set")
    check(found)
    assert found.tasks == ("left", "right")
    chosen = read(tmp_path / "set", selection=Selection(state=("1-2",), action=("3",)))
    check(chosen)


def test_no_number_is_made_of_text(tmp_path):
    with pytest.raises(DataError, match=r"column state_x holds '1_750' in row 1"):
        read(written(tmp_path, HEADER, ROWS[0], ROWS[1].replace("1.75", "1_750"), *ROWS[2:]))
    with pytest.raises(DataError, match=r"holds 'm' in row 0.* If that row holds units, remove it"):
        read(written(tmp_path, HEADER, "-,s,m,m,N", *ROWS))


def test_what_is_no_table_of_utf_8(tmp_path):
    with pytest.raises(DataError, match=r"no text in UTF-8 \(byte 0xf6 at position 18\)\. .*CSV UTF-8"):
        read(written(tmp_path, "episode,time,state" + "ö,action_x", *ROWS, encoding="latin-1"))
    with pytest.raises(DataError, match=r"several columns are called state_x"):
        read(written(tmp_path, HEADER.replace("state_y", "state_x"), *ROWS))


def test_nothing_has_a_usual_name(tmp_path):
    with pytest.raises(DataError, match=r"named as states usually are, and none as actions\. It holds 0, 1, 2, 3, 4\."):
        read(written(tmp_path, *ROWS))
    with pytest.raises(DataError, match=r"named as actions usually are.*--action KEY"):
        read(written(tmp_path, *ROWS), selection=Selection(state=("2-3",)))
    with pytest.raises(DataError, match=r"It holds 0, 1, .* The first line has 2 of 5 names"):
        read(written(tmp_path, "episode,time", *ROWS))


def test_everything_read_is_named(tmp_path):
    found = read(written(tmp_path, "," + HEADER, *(f"{place},{row}" for place, row in enumerate(ROWS))))
    assert Unseen.of(found).columns == ("unnamed_0",)
    assert np.array_equal(found.columns["unnamed_0"].numpy(), np.arange(5.0))
