"""`train --recipe FILE`: fields of a recipe from a JSON file, below the options."""

import json

import pytest

from holdfast.learn import load_recipe

QUICK = ["--steps", "3", "--batch-size", "4"]


@pytest.fixture
def trained(cli, demos_folder, tmp_path):
    """Train with a recipe file and options → the stored recipe."""

    def train(changes, *options):
        (tmp_path / "changes.json").write_text(json.dumps(changes))
        out = tmp_path / "run"
        status, said = cli("train", demos_folder, "--out", out, "--recipe", tmp_path / "changes.json", *QUICK, *options)
        assert status == 0, said
        return load_recipe(out)

    return train


def test_fields_without_an_option_of_their_own(trained):
    changes = {
        "seed": 7,
        "training": {"weight_decay": 0.25, "ema_decay": 0.5},
        "policy": {"model": {"network": {"widths": [16, 8]}}, "execution": {"clip_observation": 2.0}},
    }
    recipe = trained(changes)
    assert (recipe.seed, recipe.training.weight_decay, recipe.training.ema_decay) == (7, 0.25, 0.5)
    assert (recipe.policy.model.network.widths, recipe.policy.execution.clip_observation) == ((16, 8), 2.0)
    # the rest is the data's default
    assert (recipe.policy.horizon, type(recipe.synthesis).__name__, recipe.training.sigma_train) == (8, "Tvlqr", 0.1)


def test_options_override_the_file(trained):
    changes = {"seed": 7, "training": {"steps": 9, "learning_rate": 0.5}, "policy": {"horizon": 9}}
    recipe = trained(changes, "--seed", 2, "--horizon", 6)
    assert (recipe.seed, recipe.training.steps, recipe.training.learning_rate, recipe.policy.horizon) == (2, 3, 0.5, 6)


def test_another_kind_replaces_and_equal_kinds_are_changed(trained):
    changes = {"policy": {"model": {"kind": "Regression", "network": {"kind": "ResidualMlp", "width": 16}}}}
    model = trained(changes).policy.model
    assert (type(model).__name__, type(model.network).__name__, model.network.width) == (
        "Regression",
        "ResidualMlp",
        16,
    )


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({"training": {"sigma_train": 0.3}}, [], (0.3, 0.3)),
        ({"training": {"sigma_train": 0.3}, "policy": {"execution": {"sigma_deploy": 0.2}}}, [], (0.3, 0.2)),
        ({"policy": {"execution": {"sigma_deploy": 0.2}}}, ["--sigma-train", 0.4], (0.4, 0.2)),
        ({"training": {"sigma_train": 0.3}}, ["--sigma-deploy", 0.0], (0.3, 0.0)),
    ],
)
def test_noise_at_deployment_is_that_of_training_unless_given(trained, changes, options, expected):
    recipe = trained(changes, *options)
    assert (recipe.training.sigma_train, recipe.policy.execution.sigma_deploy) == expected


@pytest.mark.parametrize("changes", [{"policy": {"codec": {"kind": "Actions"}}}, {"synthesis": {"kind": "NoFeedback"}}])
def test_a_file_chooses_between_gains_and_actions(trained, changes):
    recipe = trained(changes)
    assert (type(recipe.policy.codec).__name__, type(recipe.synthesis).__name__) == ("Actions", "NoFeedback")
    assert recipe.policy.execution.n_action_steps == 1


def test_a_stored_recipe_gives_itself(cli, demos_folder, run_folder, tmp_path):
    status, said = cli("train", demos_folder, "--out", tmp_path / "run", "--recipe", run_folder / "recipe.json")
    assert status == 0, said
    assert load_recipe(tmp_path / "run") == load_recipe(run_folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "expected a JSON object with fields of a recipe, got [1]"),
        ('{"trainin": {}}', "recipe has no field 'trainin'. Known: policy, "),
        ('{"trainin": {}}', "Did you mean training?"),
        ('{"training": {"weight_deca": 1}}', "recipe.training has no field 'weight_deca'. Known: steps, "),
        ('{"training": {"weight_deca": 1}}', "Did you mean weight_decay?"),
        ('{"training": {"save_every": "many"}}', "recipe.training.save_every: expected int, got 'many'"),
        ('{"training": {"weight_decay": -1}}', "expected weight_decay of 0 or above, got -1"),
        ('{"policy": {"horizon": 1000000000000}}', "expected a chunk of at most 65536 steps"),
        ('{"policy": {"model": {"network": {"widths": [9, 99999999999]}}}}', "policy.model.network.widths of at most"),
        (
            '{"training": {"warmup_steps": 1000000000000}}',
            "expected training.warmup_steps of at most 4294967295, got 1",
        ),
        ('{"policy": {"model": {"kind": "Difusion"}}}', "Did you mean Diffusion?"),
        ('{"policy": {"model": {"kind": "Flow", "widths": 3}}}', "Flow has no field widths"),
        (
            '{"policy": {"codec": {"kind": "Affine"}}, "synthesis": {"kind": "NoFeedback"}}',
            "the codec affine and the synthesis none contradict each other",
        ),
    ],
)
def test_bad_files_are_one_line_and_leave_nothing(cli, demos_folder, tmp_path, text, message):
    (tmp_path / "changes.json").write_text(text)
    arguments = ("--out", tmp_path / "new", "--recipe", tmp_path / "changes.json")
    status, said = cli("train", demos_folder, *arguments, *QUICK)
    assert status == 1
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "new").exists()


def test_a_missing_file_is_named(cli, demos_folder, tmp_path):
    status, said = cli("train", demos_folder, "--out", tmp_path / "new", "--recipe", tmp_path / "none.json")
    assert status == 1
    assert "none.json cannot be read as JSON" in said


def test_prefix_delays_of_the_option_and_of_the_file(trained):
    recipe = trained({}, "--prefix-delays", 0, 1, 2)
    assert (recipe.training.prefix_delays, recipe.policy.model.clean_prefix) == ((0, 1, 2), True)
    changes = {"training": {"prefix_delays": [0, 3]}, "policy": {"model": {"clean_prefix": True}}}
    recipe = trained(changes, "--overwrite")
    assert (recipe.training.prefix_delays, recipe.policy.model.clean_prefix) == ((0, 3), True)
