"""Fine-tuning: alternately play whole episodes and update policy and critic on them.

The random streams of iteration i are (seed, "finetune", purpose, i), so that a resumed fine-tuning draws what an
uninterrupted one draws, without any stored generator state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...envs import FIRST_TEST_SEED, Environment
from ...errors import DivergedError, RecipeError
from ...policy import Planner
from ...seeding import stream
from .advantages import RewardScale, advantages_of
from .critic import critic_size, initial_critic
from .experience import Experience, play
from .kinds import fine_tuned, process_of
from .losses import Transitions, policy_loss
from .options import FineTuning
from .process import clipped_mean

ROWS = 8192
"""Largest number of transitions whose densities are computed at once without a gradient."""


@dataclass(frozen=True)
class Iteration:
    """What an iteration saw and did.

    Attributes:
        mean_return: Mean over episodes of the sum of rewards, of the policy that explored.
        success: Share of solved episodes; `None` if the environment does not define it.
        kl: Largest estimated divergence of the updates from the policy that played.
        clipped: Share of transitions with clipped ratios in the last update.
        critic_loss: Mean squared error of the critic in the last update.
        explained: Share of the returns' variance that the critic explained before the updates.
        updates: Updates of the policy.
    """

    mean_return: float
    success: float | None
    kl: float
    clipped: float
    critic_loss: float
    explained: float
    updates: int


class Tuner:
    """Policy, critic and their optimisers between two iterations.

    Args:
        planner: Pre-trained policy; its weights are copied.
        options: Options of the fine-tuning.

    Attributes:
        iteration: Iterations done.
        control_steps: Control steps done, summed over episodes.
        last: The last iteration; `None` before the first.

    Raises:
        LikelihoodError: The densities of the sampling steps of the policy's family are not defined here.
        RecipeError: The policy cannot be fine-tuned with these options.
    """

    def __init__(self, planner: Planner, options: FineTuning) -> None:
        self.planner, self.options = planner, options
        self.process = process_of(planner, options)
        seed = stream(options.seed, "finetune", "critic").initial_seed()
        critic = initial_critic(critic_size(planner.spec), options.critic_widths, seed=seed)
        policy = list(self.process.model.parameters())
        self.critic = critic.to(policy[0].dtype)
        self.optimiser = torch.optim.AdamW(policy, lr=options.learning_rate, weight_decay=0.0)
        self.critic_optimiser = torch.optim.AdamW(
            self.critic.parameters(), lr=options.critic_learning_rate, weight_decay=0.0
        )
        self.scale = RewardScale()
        self.iteration, self.control_steps = 0, 0
        self.last: Iteration | None = None

    @property
    def done(self) -> bool:
        """Whether the asked number of control steps is reached."""
        return self.control_steps >= self.options.steps

    def tuned_planner(self) -> Planner:
        """The policy as it is deployed."""
        return fine_tuned(self.planner, self.process)

    def experience(self, environment: Environment) -> Experience:
        """The episodes of this iteration.

        Raises:
            RecipeError: No step of the first iteration had a reward.
        """
        options, rng = self.options, self._stream("starts")
        starts = [int(seed) for seed in torch.randint(FIRST_TEST_SEED, (options.episodes,), generator=rng)]
        seed = self._stream("policy").initial_seed()
        found = play(self.planner, self.process, environment, starts, seed=seed, warn=self.iteration == 0)
        if self.iteration == 0 and not bool(found.rewards.any()):
            raise RecipeError(
                f"{environment.name} gave no reward in any step of {options.episodes} episodes, so that no action is "
                "better than another. Fine-tune in an environment with rewards; where only success is rewarded, begin "
                "with a policy that succeeds at times."
            )
        return found

    def iterate(self, environment: Environment, experience: Experience | None = None) -> Iteration:
        """One iteration; `experience` is that of this iteration, where it was played already.

        Raises:
            DivergedError: A plan, a loss or a weight is not finite.
        """
        found = self.experience(environment) if experience is None else experience
        if self.options.scale_rewards:
            self.scale = self.scale.updated(found.rewards, found.running, gamma=self.options.gamma)
        data, explained = self._transitions(found)
        success = found.rollout.success
        self.last = Iteration(
            mean_return=float(found.rollout.returns.mean()),
            success=None if success is None else float(success.double().mean()),
            explained=explained,
            **self._update(data),
        )
        self.iteration += 1
        self.control_steps += found.control_steps
        return self.last

    @torch.no_grad()
    def _transitions(self, found: Experience) -> tuple[Transitions, float]:
        """All denoising transitions of an iteration, and the share of the returns that the critic explained."""
        options, steps = self.options, self.process.steps
        values, following = self.critic(found.states), self.critic(found.following)
        advantages = advantages_of(
            self.scale.scaled(found.rewards) if options.scale_rewards else found.rewards,
            values,
            following,
            terminated=found.terminated,
            truncated=found.truncated,
            gamma=options.gamma,
            gae_lambda=options.gae_lambda,
        )
        rows = found.running
        returns, count = (advantages + values)[rows], int(rows.sum())
        paths, each = found.paths[rows], torch.arange(count).repeat_interleave(steps)
        transitions = Transitions(
            seen=found.seen[rows][each],
            states=found.states[rows][each],
            before=paths[:, :-1].flatten(0, 1),
            after=paths[:, 1:].flatten(0, 1),
            index=torch.arange(steps).repeat(count),
            played=returns.new_zeros(count * steps),
            advantages=advantages[rows][each],
            returns=returns[each],
        )
        densities = [
            clipped_mean(self.process.log_densities(part.seen, part.before, part.after, part.index), options)
            for part in _parts(transitions, _split(count * steps))
        ]
        variance = float(returns.var(correction=0))
        error = float((returns - values[rows]).var(correction=0))
        played = Transitions(**{**vars(transitions), "played": torch.cat(densities)})
        return played, 1 - error / variance if variance > 0 else float("nan")

    def _update(self, data: Transitions) -> dict[str, Any]:
        """Epochs over the transitions; those of the policy end where it has moved too far."""
        options, largest, updates, clipped = self.options, 0.0, 0, 0.0
        learns = self.iteration >= options.critic_warmup
        critic_loss = torch.zeros(())
        for epoch in range(options.epochs):
            order = torch.randperm(len(data.index), generator=self._stream("epoch", epoch))
            for batch in _parts(data, order.tensor_split(options.batches)):
                critic_loss = self._update_critic(batch)
                if not learns:
                    continue
                found = policy_loss(self.process, batch, options)
                largest = max(largest, found.kl)
                clipped = found.clipped
                if options.target_kl is not None and found.kl > options.target_kl:
                    learns = False
                    continue
                self._step(self.optimiser, self.process.model, found.loss, bound=options.gradient_norm)
                updates += 1
        return {"kl": largest, "clipped": clipped, "critic_loss": float(critic_loss), "updates": updates}

    def _update_critic(self, batch: Transitions) -> Tensor:
        loss = (self.critic(batch.states) - batch.returns).square().mean()
        self._step(self.critic_optimiser, self.critic, loss, bound=None)
        return loss.detach()

    def _step(self, optimiser: torch.optim.Optimizer, model: nn.Module, loss: Tensor, *, bound: float | None) -> None:
        if not bool(loss.detach().isfinite()):
            raise DivergedError(
                f"a loss of iteration {self.iteration} is {float(loss)}. The last checkpoint is kept. Lower the "
                f"learning rate (now {self.options.learning_rate:g})."
            )
        optimiser.zero_grad()
        cast(Any, loss).backward()
        if bound is not None:
            nn.utils.clip_grad_norm_(model.parameters(), bound)
        cast(Any, optimiser).step()

    def _stream(self, purpose: str, *further: int) -> torch.Generator:
        return stream(self.options.seed, "finetune", purpose, self.iteration, *further)

    def stored(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that the next iterations depend on: numbers, and tensors by name."""
        tensors = {f"policy/{name}": value for name, value in self.process.state_dict().items()}
        tensors |= {f"critic/{name}": value for name, value in self.critic.state_dict().items()}
        tensors |= _moments("policy_moments", self.optimiser) | _moments("critic_moments", self.critic_optimiser)
        scale = [self.scale.mean, self.scale.variance, self.scale.count]
        numbers = {"iteration": self.iteration, "control_steps": self.control_steps}
        return numbers, {**tensors, "scale": torch.tensor(scale, dtype=torch.float64)}

    def restore(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue where a fine-tuning was stopped."""
        self.process.load_state_dict(_under("policy", tensors))
        self.critic.load_state_dict(_under("critic", tensors))
        _restore_moments(self.optimiser, _under("policy_moments", tensors))
        _restore_moments(self.critic_optimiser, _under("critic_moments", tensors))
        self.scale = RewardScale(*(float(number) for number in tensors["scale"]))
        self.iteration, self.control_steps = int(numbers["iteration"]), int(numbers["control_steps"])


def _parts(data: Transitions, rows: tuple[Tensor, ...]) -> list[Transitions]:
    """Some of the transitions, for each of several lists of rows; lists without any are left out."""
    return [Transitions(**{name: value[part] for name, value in vars(data).items()}) for part in rows if len(part)]


def _split(count: int) -> tuple[Tensor, ...]:
    """All rows, in parts whose densities fit into the memory."""
    return tuple(torch.arange(first, min(first + ROWS, count)) for first in range(0, count, ROWS))


def _moments(place: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = cast("dict[int, dict[str, Tensor]]", optimiser.state_dict()["state"])
    return {f"{place}/{one}/{name}": value for one, part in state.items() for name, value in part.items()}


def _restore_moments(optimiser: torch.optim.Optimizer, stored: Mapping[str, Tensor]) -> None:
    moments = dict[int, dict[str, Tensor]]()
    for path, value in stored.items():
        one, _, name = path.partition("/")
        moments.setdefault(int(one), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})


def _under(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(part) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{part}/")}
