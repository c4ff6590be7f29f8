"""What every study has to have, over all folders of studies: a new one is tested without an edit here."""

import dataclasses
import json
import subprocess
import sys
import typing

import pytest

from holdfast.cli.study import run_study
from holdfast.errors import OutputError, RecipeError, UnknownNameError
from holdfast.report import Chart, Series
from holdfast.studies import load_study, study_names, study_summary
from holdfast.studies.engine.options import StudyCommand
from holdfast.studies.engine.result import StudyResult, Verdict, check_folder, write_study
from holdfast.studies.engine.rows import comparison_rows, measurement_rows
from holdfast.studies.engine.tables import ResultTable, column, estimate

MEASUREMENT = ["kind", "task", "arm", "sigma", "seeds", "episodes", "metric", "value", "low", "high"]
COMPARISON = ["kind", "of", "against", "sigma", "metric", "difference", "low", "high"]


def option_of(command, name):
    """The option of a field: the name given to tyro, or that of the field."""
    about = getattr(typing.get_type_hints(command, include_extras=True)[name], "__metadata__", ())
    given = [one.name for one in about if getattr(one, "name", None)]
    return (given or [name.replace("_", "-")])[0]


@pytest.mark.parametrize("name", study_names())
class TestEveryStudy:
    def test_has_a_summary_and_a_command(self, name):
        command = load_study(name)
        assert issubclass(command, StudyCommand)
        assert study_summary(name).endswith(".")
        assert command.__doc__.startswith(study_summary(name))
        assert command().preset == "quick"

    def test_describes_its_own_options_and_their_defaults(self, name, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "300")
        with pytest.raises(SystemExit) as stopped:
            run_study([name, "--help"])
        assert stopped.value.code == 0
        printed = capsys.readouterr().out
        assert "None" not in printed
        for field in dataclasses.fields(load_study(name)):
            assert f"--{option_of(load_study(name), field.name)}" in printed
        assert f"(default: {name})" in printed


def test_names_and_summaries_need_no_torch():
    code = "import sys, holdfast.studies as s; print(*map(s.study_summary, s.study_names()), 'torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert printed.endswith("False\n")


def test_unknown_studies_name_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown study 'pitfall'\. Known: .*Did you mean pitfalls\?"):
        load_study("pitfall")


def test_the_list_of_studies(capsys):
    with pytest.raises(SystemExit):
        run_study(["--help"])
    printed = capsys.readouterr().out
    assert all(study_summary(name) in printed for name in study_names())


def test_no_seeds_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="at least 1 seed, got 0"):
        run_study(["noise-grid", "--seeds", "0", "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def wide(**changed):
    return {"arm": "bc", "sigma": 0.1, "seeds": [0, 1], "episodes": 5, "score": 0.5, "score_low": 0.4} | changed


def test_rows_have_the_same_keys_everywhere():
    row, other = measurement_rows([wide(score_high=0.6, far=2.0)], ("score", "far"), task="push")
    assert list(row) == list(other) == MEASUREMENT
    assert (row["value"], row["low"], row["high"], row["seeds"]) == (0.5, 0.4, 0.6, 2)
    assert (other["metric"], other["value"], other["low"]) == ("far", 2.0, None)
    pair = {"arm": "bc", "against": "none", "sigma": 0.1, "gap": 0.2, "gap_low": 0.1, "gap_high": 0.3}
    pair["gap_side"] = "above"
    (row,) = comparison_rows([pair], {"gap": "score"})
    assert list(row) == COMPARISON
    assert (row["of"], row["against"], row["difference"], row["low"]) == ("bc", "none", 0.2, 0.1)


def test_columns_are_declared_once_for_page_and_terminal():
    columns = (column("σ", "sigma", "g"), estimate("score", "score"), column("far", "far", page_only=True))
    table = ResultTable("All", columns, [wide(score_high=0.6), {"sigma": 0.2}])
    assert table.on_page().rows[0] == ["0.1", "0.50 [0.40, 0.60]", None]
    assert table.in_terminal() == (["σ", "score"], [["0.1", "0.50 [0.40, 0.60]"], ["0.2", ""]])


def test_files_of_a_result(tmp_path):
    result = StudyResult(
        "Title", "Lead.", measurement_rows([wide()], ("score",)), [Verdict("It works.", "It scores 0.5.", "open")],
        figures={"curve": Chart("Curve", [Series("a", [0.0, 1.0], [1.0, 2.0])], "x", "y")}, values={"c": 1.5},
    )  # fmt: skip
    paths = write_study(tmp_path, "example", result, preset="full", seconds=2.0)
    assert [path.name for path in paths] == ["result.json", "curve.png", "index.html"]
    stored = json.loads(paths[0].read_text())
    assert {"study": "example", "preset": "full", "seconds": 2.0, "c": 1.5}.items() <= stored.items()
    assert stored["verdicts"] == [{"claim": "It works.", "seen": "It scores 0.5.", "holds": "open", "evidence": []}]
    assert stored["rows"][0]["metric"] == "score"
    assert "It scores 0.5." in paths[2].read_text()


class TestFolders:
    def test_unfinished_studies_continue(self, tmp_path):
        (tmp_path / "jobs").mkdir()
        check_folder(tmp_path, overwrite=False)
        check_folder(tmp_path / "new", overwrite=False)

    def test_finished_studies_are_protected(self, tmp_path):
        (tmp_path / "result.json").write_text("{}")
        with pytest.raises(OutputError, match="holds a finished study"):
            check_folder(tmp_path, overwrite=False)
        check_folder(tmp_path, overwrite=True)

    def test_other_folders_and_files_are_refused(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("")
        with pytest.raises(OutputError, match="not a study"):
            check_folder(tmp_path, overwrite=True)
        with pytest.raises(OutputError, match="is a file"):
            check_folder(tmp_path / "thesis.tex", overwrite=True)
