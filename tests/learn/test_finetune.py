"""Fine-tuning in environments: experience, learning, run folders, stops, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

import holdfast
from holdfast.cli import main
from holdfast.data import Actions, Affine, MinMax
from holdfast.envs import Environment, Step, make_environment, rollout
from holdfast.errors import DivergedError, Interrupted, LikelihoodError, OutputError, RecipeError, RunError, ShapeError
from holdfast.learn.checkpoint import load_recipe, save_recipe
from holdfast.learn.finetune import FineTuning, Tuner, continue_fine_tuning, fine_tune, process_of, tunable_steps
from holdfast.learn.finetune.experience import play
from holdfast.models import Energy, Mip, Streaming, Tuned
from holdfast.policy import Ensemble, Policy, build_model, save_planner
from holdfast.recipe import Recipe
from holdfast.rotations import Rotation
from holdfast.types import Observation

from .tunable import FAMILIES, NET, changed, diffusion, flow, planner

STATE = "finetune_state/state.safetensors"
BOUNDED = diffusion(levels=4, prediction="sample", clip=1.0)


class Line(Environment):
    """A point on a line: x' = x + u, reward −(x' − 0.5)²; the first episode ends by itself at x' > 1."""

    def __init__(self, count, *, steps=5, reward=True):
        self.name, self.dt, self.steps, self.n_actions = "line", 0.1, steps, 1
        self.count, self.pays = count, reward

    def reset(self, starts):
        self.x, self.done = torch.zeros(self.count, 1, dtype=torch.float64), 0
        self.ended = torch.zeros(self.count, dtype=torch.bool)
        return self.shown(torch.zeros(self.count, dtype=torch.float64))

    def step(self, actions):
        moves = ~self.ended & torch.tensor(self.done < self.steps)
        self.x = torch.where(moves[:, None], self.x + actions, self.x)
        self.done += 1
        self.ended = self.ended | (moves & (self.x[:, 0] > 1) & (torch.arange(self.count) == 0))
        reward = torch.where(moves, -((self.x[:, 0] - 0.5) ** 2), 0.0)
        return self.shown(reward if self.pays else torch.zeros_like(reward))

    def shown(self, reward):
        over = torch.full((self.count,), self.done >= self.steps)
        return replace(
            Step.first(Observation(state=self.x.clone()), self.x.clone()),
            reward=reward,
            terminated=self.ended,
            truncated=over & ~self.ended,
        )


# --- experience


class Constant(torch.nn.Module):
    """A process whose paths lead to one chunk."""

    steps = 1

    def __init__(self, chunk):
        super().__init__()
        self.chunk = chunk

    def path(self, window, *, rng):
        return torch.stack([torch.zeros_like(self.chunk), self.chunk], 1)

    def executed(self, chunk):
        return chunk


def test_experience_of_an_end_within_a_plan_and_of_a_time_limit():
    """Plans of 2 steps, 5 in all; moves of 0.45 pass 1 in step 3, moves of 0.1 never do."""
    chunk = torch.tensor([0.45, 0.1], dtype=torch.float64)[:, None, None].expand(2, 2, 1)
    policy = planner(BOUNDED, n_action_steps=2, n_obs_steps=2)
    found = play(policy, Constant(chunk), Line(2), [0, 1], seed=0)
    squares = [[-((0.45 * k - 0.5) ** 2) for k in (1, 2, 3)], [-((0.1 * k - 0.5) ** 2) for k in range(1, 6)]]
    first, second = squares
    expected = [[first[0] + first[1], second[0] + second[1]], [first[2], second[2] + second[3]], [0, second[4]]]
    torch.testing.assert_close(found.rewards, torch.tensor(expected, dtype=torch.float64))
    assert found.running.tolist() == [[True, True], [True, True], [False, True]]
    assert found.terminated.tolist() == [[False, False], [True, False], [False, False]]
    assert found.truncated.tolist() == [[False, False], [False, False], [False, True]]
    assert found.control_steps == 3 + 5
    # windows of two observations; the first is repeated at the start
    states = [[[0, 0], [0, 0]], [[0.45, 0.9], [0.1, 0.2]]]
    torch.testing.assert_close(found.states[:2], torch.tensor(states, dtype=torch.float64))
    torch.testing.assert_close(found.following[0], found.states[1])
    ends = torch.tensor([[0.9, 1.35], [0.4, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(found.following[1, 0], ends[0])
    torch.testing.assert_close(found.following[2, 1], ends[1])


@pytest.mark.parametrize(
    ("model", "horizon", "n_action_steps", "sigma"), [(FAMILIES["gaussian"], 3, 2, 0.0), (BOUNDED, 100, 100, 0.05)]
)
def test_episodes_are_played_as_rollouts_play_them(model, horizon, n_action_steps, sigma):
    """Without exploration, the states are those of `rollout`: the same plans, gains, limits and noise.

    A path draws noise at its last step too, so that only a policy without noise, or with one plan, draws alike.
    """
    policy = gains_policy(model, horizon, n_action_steps, sigma_deploy=sigma, action_low=(-0.2,) * 2)
    steps = model.sampler.steps if model is BOUNDED else 1
    process = process_of(policy, FineTuning(sampling_std=1e-12, noise_clip=None, denoising_steps=steps))
    environment = make_environment("double_integrator", 3)
    assert environment.steps == 100
    found = play(policy, process, environment, [3, 4, 5], seed=11)
    flown = rollout(Policy(policy), environment, starts=[3, 4, 5], seed=11)
    torch.testing.assert_close(found.rollout.trajectory.states, flown.trajectory.states, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found.rewards.sum(0), flown.returns, rtol=1e-6, atol=1e-6)
    assert float(flown.trajectory.actions.min()) == -0.2


def gains_policy(model=BOUNDED, horizon=3, n_action_steps=2, **execution):
    """Plans of actions, reference states and gains on the double integrator."""
    plain = planner(model, n_observed=4, n_actions=2, horizon=horizon, n_action_steps=n_action_steps, **execution)
    spec = replace(plain.spec, codec=Affine())
    scale = MinMax(low=-torch.ones(14), high=torch.ones(14))
    return replace(plain, spec=spec, code_scale=scale, model=build_model(spec).double().eval())


def test_gains_and_reference_states_are_tuned_with_the_actions():
    policy = gains_policy()
    tuner = Tuner(policy, FineTuning(episodes=8, critic_warmup=0, learning_rate=1e-3, critic_widths=(8,)))
    assert tuner.process.counted.sum() == 2 * 14
    tuner.iterate(make_environment("double_integrator", 8))
    window = Observation(state=torch.tensor([[[0.3, -0.2, 0.1, 0.0]]], dtype=torch.float64))
    plans = [one.plan(window, rng=torch.Generator().manual_seed(0)) for one in (policy, tuner.tuned_planner())]
    for part in ("actions", "states", "gains"):
        before, after = (getattr(plan, part) for plan in plans)
        assert bool((before != after).all()), part


# --- learning


@pytest.mark.parametrize("name", ["diffusion-sample", "flow-sample", "gaussian", "mixture"])
def test_the_mean_action_moves_to_where_the_reward_is(name):
    """One step, reward −(u − 0.5)²: every family comes closer to 0.5."""
    policy = planner(FAMILIES[name], horizon=1)
    options = FineTuning(
        episodes=64, learning_rate=5e-3, critic_learning_rate=1e-2, critic_widths=(16,), epochs=4, target_kl=None
    )
    tuner, environment = Tuner(policy, options), Line(64, steps=1)
    returns = [tuner.iterate(environment).mean_return for _ in range(20)]
    assert returns[-1] > returns[0]
    floor = -(0.1**2)
    # of what can be won, most is
    assert (floor - sum(returns[-3:]) / 3) < 0.35 * (floor - returns[0]), returns


class Turning(Line):
    """The same point, which turns as it moves: beside its position it shows the quaternion of a rotation about z."""

    def shown(self, reward):
        half, none = self.x / 2, torch.zeros_like(self.x)
        state = torch.cat([self.x, half.cos(), none, none, half.sin()], dim=1)
        return replace(super().shown(reward), observation=Observation(state=state), state=state.clone())


def test_policy_and_critic_see_rotations_as_six_numbers():
    plain = planner(BOUNDED, n_observed=5, n_obs_steps=2)
    spec = replace(plain.spec, observed_rotations=(Rotation(1, "quaternion"),))
    scale = MinMax(low=-torch.ones(7), high=torch.ones(7))
    policy = replace(plain, spec=spec, observation_scale=scale, model=build_model(spec).double().eval())
    tuner = Tuner(policy, FineTuning(episodes=3, critic_warmup=0, critic_widths=(8,)))
    found = tuner.experience(Turning(3))
    assert found.states.shape[-1] == 2 * 7
    assert tuner.iterate(Turning(3), found).updates == 20


def test_zero_advantages_leave_the_policy_and_teach_the_critic():
    tuner = Tuner(planner(BOUNDED), FineTuning(episodes=6, critic_warmup=0, critic_widths=(8,)))
    data, _ = tuner._transitions(tuner.experience(Line(6)))
    before = {name: value.clone() for name, value in tuner.process.state_dict().items()}
    critic = [value.clone() for value in tuner.critic.parameters()]
    done = tuner._update(replace(data, advantages=torch.zeros_like(data.advantages)))
    assert done["updates"] == 20
    assert all(torch.equal(value, before[name]) for name, value in tuner.process.state_dict().items())
    assert not any(map(torch.equal, critic, tuner.critic.parameters()))


def test_only_the_last_steps_weights_change_and_the_first_iterations_teach_the_critic_alone():
    policy = planner(BOUNDED)
    original = {name: value.clone() for name, value in policy.model.state_dict().items()}
    tuner = Tuner(policy, FineTuning(episodes=6, critic_warmup=1, critic_widths=(8,)))
    assert tuner.iterate(Line(6)).updates == 0
    assert all(torch.equal(value, original[name]) for name, value in tuner.process.model.state_dict().items())
    assert tuner.iterate(Line(6)).updates == 20
    assert not any(torch.equal(value, original[name]) for name, value in tuner.process.model.named_parameters())
    for kept in (tuner.process.pretrained, policy.model, tuner.tuned_planner().model.pretrained):
        assert all(torch.equal(value, original[name]) for name, value in kept.state_dict().items())


def test_updates_end_where_the_policy_has_moved_too_far():
    options = FineTuning(episodes=6, critic_warmup=0, critic_widths=(8,), learning_rate=0.1, target_kl=1e-3)
    tuner = Tuner(planner(BOUNDED), options)
    done = tuner.iterate(Line(6))
    assert 1 <= done.updates < 20
    assert done.kl > 1e-3


# --- run folders


def stored(folder, model=None):
    """The run folder of a policy that was never trained."""
    policy = planner(model or BOUNDED, horizon=10, n_action_steps=10)
    policy = replace(policy, model=policy.model.float())
    save_recipe(folder, Recipe(policy=policy.spec, environment="scalar"))
    save_planner(folder, policy)
    return folder


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return stored(tmp_path / "run")


SMALL = FineTuning(episodes=4, steps=900, epochs=2, critic_widths=(8,), learning_rate=1e-3)


def files(folder):
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "recipe.json", STATE)}


def test_the_result_is_a_run_like_any_other(run, tmp_path):
    out = tmp_path / "out"
    seen = list[int]()
    tuner = fine_tune(run, "scalar", out, SMALL, on_iteration=lambda tuner, done: seen.append(tuner.iteration))
    per_iteration = 4 * make_environment("scalar", 4).steps
    count = -(-900 // per_iteration)
    assert (tuner.control_steps, seen) == (count * per_iteration, list(range(1, count + 1)))
    policy = holdfast.load(out)
    assert isinstance(policy.spec.model, Tuned)
    assert policy.spec.model.steps == 2
    torch.testing.assert_close(policy.planner.model.tuned.state_dict(), tuner.process.model.state_dict())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == seen
    assert [line["control_steps"] for line in lines] == [per_iteration * number for number in seen]
    assert (load_recipe(out).environment, load_recipe(out).policy) == ("scalar", policy.spec)
    flown = rollout(policy, make_environment("scalar", 2), starts=[1, 2], seed=0)
    assert bool(flown.trajectory.actions.isfinite().all())
    with pytest.raises(OutputError, match="--overwrite"):
        fine_tune(run, "scalar", out, SMALL)
    again = fine_tune(run, "scalar", out, SMALL, overwrite=True)
    torch.testing.assert_close(again.stored()[1], tuner.stored()[1], rtol=0, atol=0)


def test_all_steps_fine_tuned_are_a_policy_of_the_base_family(run, tmp_path):
    fine_tune(run, "scalar", tmp_path / "out", replace(SMALL, steps=1, denoising_steps=4))
    assert holdfast.load(tmp_path / "out").spec.model == BOUNDED


@pytest.mark.parametrize(
    ("signum", "model"),
    [(signal.SIGINT, "diffusion-sample"), (signal.SIGTERM, "flow-sample"), (signal.SIGTERM, "mixture")],
)
def test_a_signal_loses_nothing(tmp_path, signum, model):
    """The iteration is completed and stored; what follows is what an uninterrupted fine-tuning does, bit for bit."""
    (tmp_path / "run").mkdir()
    run = stored(tmp_path / "run", FAMILIES[model])
    fine_tune(run, "scalar", tmp_path / "whole", SMALL)

    def stop(tuner, done):
        if tuner.iteration == 2:
            os.kill(os.getpid(), signum)

    options = replace(SMALL, save_every=100)
    whole = fine_tune(run, "scalar", tmp_path / "rare", options)
    with pytest.raises(Interrupted, match=r"stopped after iteration 2, .* finetune --resume .*part"):
        fine_tune(run, "scalar", tmp_path / "part", options, on_iteration=stop)
    tuner = continue_fine_tuning(tmp_path / "part")
    assert files(tmp_path / "part") == files(tmp_path / "rare")
    torch.testing.assert_close(tuner.stored()[1], whole.stored()[1], rtol=0, atol=0)
    # checkpoints change nothing
    assert files(tmp_path / "whole")["model.safetensors"] == files(tmp_path / "rare")["model.safetensors"]
    assert continue_fine_tuning(tmp_path / "part").last is None


def iterations(folder):
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_kill_9_then_resume_gives_the_same_bits(run, tmp_path):
    command = [sys.executable, "-m", "holdfast", "finetune"]
    options = ["--episodes", "4", "--steps", "4000", "--epochs", "1", "--save-every", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    done = subprocess.run([*command, run, *options, "--out", tmp_path / "whole"], check=False, timeout=300, **quiet)
    assert done.returncode == 0
    part = tmp_path / "part"
    process = subprocess.Popen([*command, run, *options, "--out", part], **quiet)
    deadline = time.monotonic() + 200
    while iterations(part) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline, "no iteration was done"
        time.sleep(0.002)
    process.kill()
    process.wait(timeout=60)
    assert 5 <= iterations(part) < iterations(tmp_path / "whole")
    assert files(part) != files(tmp_path / "whole")
    done = subprocess.run([*command, "--resume", part], check=False, timeout=300, **quiet)
    assert done.returncode == 0
    assert files(part) == files(tmp_path / "whole")
    assert iterations(part) == iterations(tmp_path / "whole")


def test_a_state_that_was_changed_is_refused(run, tmp_path):
    out = tmp_path / "out"
    fine_tune(run, "scalar", out, replace(SMALL, steps=1))
    about = json.loads((out / "finetune.json").read_text())
    (out / "finetune.json").write_text(json.dumps(about | {"options": about["options"] | {"clip": 0.2}}))
    with pytest.raises(RunError, match=r"finetune.json was changed since"):
        continue_fine_tuning(out)
    wide = about["options"] | {"critic_widths": [10**9]}
    (out / "finetune.json").write_text(json.dumps(about | {"options": wide}))
    with pytest.raises(RunError, match="its critic has other layers"):
        continue_fine_tuning(out)
    (out / "finetune.json").write_text(json.dumps(about))
    content = bytearray((out / STATE).read_bytes())
    content[-3] ^= 1
    (out / STATE).write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        continue_fine_tuning(out)
    (out / STATE).unlink()
    with pytest.raises(RunError, match="no state to continue from"):
        continue_fine_tuning(out)


def test_an_environment_of_another_package_is_imported_only_if_it_is_typed(run, tmp_path):
    out = tmp_path / "out"
    fine_tune(run, "scalar", out, replace(SMALL, steps=1))
    about = json.loads((out / "finetune.json").read_text())
    (out / "finetune.json").write_text(json.dumps(about | {"environment": "gym:some_module:Name-v0"}))
    with pytest.raises(RecipeError, match="would import the module 'some_module'"):
        continue_fine_tuning(out)
    with pytest.raises(RecipeError, match="was fine-tuned in gym:some_module:Name-v0, not in scalar"):
        continue_fine_tuning(out, environment="scalar")


def test_training_does_not_continue_a_fine_tuned_run(run, tmp_path, capsys):
    recipe = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps(recipe | {"data": "demos"}))
    fine_tune(run, "scalar", tmp_path / "out", replace(SMALL, steps=1))
    assert main(["train", "--resume", str(tmp_path / "out")]) == 1
    assert "holdfast finetune --resume" in " ".join(capsys.readouterr().err.split())


# --- refusals


@pytest.mark.parametrize("model", [Mip(NET), Energy(NET), Streaming(NET)], ids=lambda model: type(model).__name__)
def test_families_without_densities_of_their_steps_are_refused_with_those_that_have(model):
    expected = rf"a {type(model).__name__} cannot be fine-tuned .* diffusion and flow .* regression .* and mixture"
    with pytest.raises(LikelihoodError, match=expected):
        tunable_steps(model, FineTuning())


@pytest.mark.parametrize(
    ("model", "most"), [(diffusion(levels=20, steps=5), 5), (flow(), 4), (FAMILIES["gaussian"], 1)]
)
def test_more_fine_tuned_steps_than_there_are_are_refused(model, most):
    assert tunable_steps(model, FineTuning(denoising_steps=most)) == most
    with pytest.raises(RecipeError, match=rf"at most {most} fine-tuned .* samples in {most}, got {most + 1}"):
        tunable_steps(model, FineTuning(denoising_steps=most + 1))


def test_an_environment_without_rewards_is_refused_before_anything_is_written(run, tmp_path):
    tuner = Tuner(planner(BOUNDED), FineTuning(episodes=3))
    with pytest.raises(RecipeError, match="line gave no reward in any step of 3 episodes"):
        tuner.iterate(Line(3, reward=False))
    (tmp_path / "avoids").mkdir()
    avoids = tmp_path / "avoids"
    policy = planner(BOUNDED, n_observed=4, n_actions=2)
    spec = replace(policy.spec, n_states=6, codec=Actions())
    policy = replace(policy, spec=spec, model=build_model(spec))
    save_recipe(avoids, Recipe(policy=spec, environment="avoid"))
    # actions of micrometres reach nothing
    save_planner(avoids, replace(policy, code_scale=MinMax(low=-1e-6 * torch.ones(2), high=1e-6 * torch.ones(2))))
    with pytest.raises(RecipeError, match="avoid gave no reward"):
        fine_tune(avoids, "avoid", tmp_path / "out", replace(SMALL, steps=1))
    assert not (tmp_path / "out").exists()


def test_episodes_beyond_the_memory_are_refused_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.learn.finetune.running.available_memory", lambda: 10**4)
    with pytest.raises(RecipeError, match="Choose fewer episodes"):
        fine_tune(run, "scalar", tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_a_policy_that_does_not_fit_is_refused_before_anything_is_written(run, tmp_path):
    with pytest.raises(ShapeError, match="trained on 1"):
        fine_tune(run, "avoid-m1", tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_other_policies_are_refused(run, tmp_path):
    with pytest.raises(RecipeError, match="averages or continues its plans"):
        Tuner(planner(BOUNDED, ensemble=Ensemble()), FineTuning())
    fine_tune(run, "scalar", tmp_path / "out", replace(SMALL, steps=1))
    with pytest.raises(RecipeError, match="fine-tuned already"):
        fine_tune(tmp_path / "out", "scalar", tmp_path / "again", SMALL)


def test_a_policy_that_is_no_longer_finite_is_refused():
    tuner = Tuner(planner(BOUNDED), FineTuning(episodes=3))
    changed(tuner.process.model, size=float("inf"))
    with pytest.raises(DivergedError, match="Lower the learning rate"):
        tuner.iterate(Line(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps of at least 1"),
        ({"gamma": 1.5}, "gamma from 0 to 1"),
        ({"sampling_std": 0.0}, "sampling_std above 0"),
        ({"noise_clip": -1.0}, "noise_clip above 0"),
        ({"log_density_low": 3.0}, "log_density_low below"),
        ({"critic_widths": ()}, "at least one hidden layer"),
        ({"clip_rate": 90.0}, "clip_rate from 0 to 50, got 90"),
    ],
)
def test_options_outside_their_ranges_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        FineTuning(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected RUN and --out RUN2"),
        (["{run}", "--out", "{run}"], "are the same"),
        (["{run}", "--out", "{out}", "--denoising-steps", "5"], "at most 4 fine-tuned denoising steps"),
        (["{run}", "--out", "{out}", "--environment", "avoid-m4"], "avoid-m4"),
        (["--resume", "{run}"], "holds no fine-tuning"),
        (
            ["--resume", "{run}", "--steps", "3"],
            "Remove --steps. Only --threads and --environment may be given besides.",
        ),
        (["{run}", "--resume", "{run}"], "Remove RUN."),
    ],
)
def test_the_verb_refuses_in_one_sentence(run, tmp_path, capsys, arguments, message):
    status = main(["finetune", *(part.format(run=run, out=tmp_path / "out") for part in arguments)])
    said = " ".join(capsys.readouterr().err.split())
    assert status == 1
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
