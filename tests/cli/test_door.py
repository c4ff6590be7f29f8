"""The way in: verbs are listed without importing them, mistakes name what was meant, a closed pipe is quiet."""

import ast
import inspect
import itertools
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from holdfast import __version__, default_recipe, episodes_from_arrays
from holdfast.cli import VERBS, main
from holdfast.cli.train import Train
from holdfast.data import Frames
from holdfast.learn import estimator_recipe, vision_of
from holdfast.models import FAMILIES, tokenizer_options
from holdfast.nn import NETWORKS, ResidualMlp
from holdfast.tokens import TOKENIZERS


def holdfast(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdfast", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_version():
    done = holdfast("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"holdfast {__version__}\n", "")


@pytest.mark.parametrize("collects", [True, False])
def test_imports_are_not_collected_and_leave_the_collector_as_it_was(collects):
    """A collection visits all that was imported, and finds nothing."""
    code = (
        "import gc, sys\n"
        f"{'' if collects else 'gc.disable()'}\n"
        "from holdfast.cli import main\n"
        "seen = {}\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        seen.setdefault(name, gc.isenabled())\n"
        "sys.meta_path.insert(0, Finder())\n"
        "assert main(['inspect', 'missing']) == 1\n"
        "assert seen['torch'] is False, 'collected'\n"
        f"assert gc.isenabled() is {collects}, 'not as it was'\n"
        "first = gc.get_freeze_count()\n"
        "assert first > 100_000, first\n"
        "main(['inspect', 'missing'])\n"
        "assert gc.get_freeze_count() <= first, 'frozen twice'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["holdfast.cli.running", "holdfast.cli"])
def test_ctrl_c_while_modules_are_imported_is_no_traceback(module):
    """A finder of modules that is interrupted stands for a signal at this moment."""
    code = (
        "import runpy, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['holdfast', 'inspect', 'nothing']\n"
        "runpy.run_module('holdfast', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_overview_lists_every_verb(capsys, arguments):
    assert main(arguments) == 0
    listed = re.findall(r"^  (\w+) {3,}[A-Z]", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(VERBS)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "trian",
            "unknown verb 'trian'. Known: demo, demonstrate, inspect, replay, convert, train, pretrain, skills, "
            "finetune, evaluate, runs, compare, diagnose, serve, export, study. ",
        ),
        ("trian", "Did you mean train?"),
        ("--versoin", "unknown option '--versoin'. Known: --help, --version. Did you mean --version?"),
        ("xyz", "unknown verb 'xyz'. Known: "),
    ],
)
def test_what_is_unknown_names_the_nearest(capsys, argument, message):
    assert main([argument]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert not said.out


def test_an_unknown_option_of_a_verb_names_the_nearest():
    done = holdfast("train", "--setps", "4")
    assert done.returncode == 2
    assert "--setps" in done.stderr
    assert "--steps INT" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_a_closed_pipe_is_no_traceback(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "holdfast", *arguments]
    with os.fdopen(writer, "w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (1, "")


def hints() -> dict[str, str]:
    """Option of `train` → its default in the help."""
    (train,) = ast.parse(inspect.getsource(Train)).body
    pairs = [(a.target.id, b.value.value) for a, b in itertools.pairwise(train.body) if isinstance(a, ast.AnnAssign)]
    return {name: " ".join(text.split()).partition(" Default: ")[2] for name, text in pairs}


def recipes() -> list[dict]:
    """Default recipes with gains, for actions on a built-in system, and for other data."""
    arrays = ([torch.randn(5, 1).numpy()], [torch.randn(5, 1).numpy()])
    built_in, other = episodes_from_arrays(*arrays, system="scalar"), episodes_from_arrays(*arrays)
    return [default_recipe(built_in), default_recipe(built_in, gains=False), default_recipe(other)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", lambda recipe: recipe.training.steps),
        ("batch_size", lambda recipe: recipe.training.batch_size),
        ("learning_rate", lambda recipe: recipe.training.learning_rate),
        ("held_out", lambda recipe: recipe.held_out),
        ("sigma_train", lambda recipe: recipe.training.sigma_train),
        ("sigma_deploy", lambda recipe: recipe.policy.execution.sigma_deploy),
        ("horizon", lambda recipe: recipe.policy.horizon),
        ("n_action_steps", lambda recipe: recipe.policy.execution.n_action_steps),
        ("n_obs_steps", lambda recipe: recipe.policy.n_obs_steps),
        ("save_every", lambda recipe: recipe.training.save_every),
    ],
)
def test_defaults_in_the_help_of_train_are_those_of_the_recipes(option, value):
    """In the order: with gains, actions on a built-in system, other data; equal neighbours once."""
    values = [float(value(recipe)) for recipe in recipes()]
    distinct = [number for place, number in enumerate(values) if place == 0 or number != values[place - 1]]
    without_pictures = re.sub(r"[\d.]+ with --(images|estimate), ", "", hints()[option])
    assert [float(number) for number in re.findall(r"\d+(?:\.\d+)?", without_pictures)] == distinct


def test_defaults_for_pictures_in_the_help_of_train_are_those_of_the_recipes():
    numbers = [torch.randn(5, 2)]
    bare = episodes_from_arrays(numbers, numbers)
    shown = replace(bare, cameras={"top": Frames(torch.zeros(5, 96, 96, 3, dtype=torch.uint8))})
    vision = vision_of(shown, ["top"])
    eyes = estimator_recipe(shown, vision)
    policy, estimator = default_recipe(shown, vision=vision).training, eyes.training
    assert hints()["held_out"].startswith(f"{eyes.held_out} with --estimate, ")
    assert hints()["horizon"].startswith(f"{eyes.policy.horizon} with --estimate, ")
    assert hints()["steps"].startswith(f"{policy.steps} with --images, {estimator.steps} with --estimate, ")
    assert hints()["batch_size"].startswith(f"{policy.batch_size} with --images, ")
    assert estimator.batch_size == policy.batch_size


def test_named_defaults_in_the_help_of_train_are_those_of_the_recipes():
    named, (gains, actions, other) = hints(), recipes()
    classes = {name: type(options) for name, options in NETWORKS.items()}
    for recipe, name in ((gains, "film-mlp"), (actions, "film-mlp"), (other, "residual-mlp")):
        assert isinstance(recipe.policy.model, type(FAMILIES["diffusion"](ResidualMlp())))
        assert isinstance(recipe.policy.model.network, classes[name])
    assert named["network"] == "film-mlp for a built-in system or with gains, else residual-mlp."
    assert named["family"] == "diffusion."
    assert [type(recipe.policy.codec).__name__ for recipe in (gains, actions, other)] == [
        "Affine",
        "Actions",
        "Actions",
    ]
    assert named["codec"] == "affine for a built-in system or if --synthesis selects a method, else actions."
    kinds = [type(recipe.synthesis).__name__ for recipe in (gains, actions, other)]
    assert kinds == ["Tvlqr", "NoFeedback", "NoFeedback"]
    assert named["synthesis"] == (
        "none with --codec actions; otherwise tvlqr for a built-in system or with --codec affine, and none for other "
        "data."
    )
    assert {gains.training.precision, actions.training.precision} == {"float32"}
    for family, tokenizer in re.findall(r"(\S+) for (\S+?)[,.]", named["tokenizer"]):
        assert isinstance(tokenizer_options(FAMILIES[tokenizer](ResidualMlp())), type(TOKENIZERS[family]))


def test_the_help_of_a_verb_is_that_verb_alone(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    said = capsys.readouterr().out
    assert "--filter-key" in said
    assert "--learning-rate" not in said
