"""Execution of skills for a batch of episodes: decisions, plans, hand-overs."""

from collections import deque
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...data import rotations_of
from ...errors import RecipeError, ShapeError, at_least
from ...seeding import stream
from ...types import Observation, PrimitiveControllers
from .ends import Moment, any_holds
from .library import SkillLibrary
from .planning import SkillPlanner, Stint, decided
from .running import Running
from .selector import Selector
from .switching import Fading, Handover, prefix_of


class SkillExecutor:
    """Executor of a library of skills; see `SkillPolicy` for the arguments."""

    def __init__(
        self,
        library: SkillLibrary,
        planner: Selector | SkillPlanner,
        *,
        every: int | None,
        handover: Handover,
        selector: Selector | None,
        seed: int,
    ) -> None:
        if every is not None:
            at_least(1, every=every)
        self.library, self.planner, self.every, self.handover = library, planner, every, handover
        self.selector = planner if isinstance(planner, Selector) else selector
        if not isinstance(planner, Selector) and not callable(planner):
            raise RecipeError(f"expected a planner as a function or a Selector, got {type(planner).__name__}.")
        self._check_selector()
        horizon = min((skill.trained.spec.horizon for skill in library.skills if skill.trained), default=None)
        if horizon is not None and handover.overlap > horizon:
            raise RecipeError(
                f"expected an overlap of at most the {horizon} steps of a chunk, got {handover.overlap}: the old chunk "
                "cannot go on beyond its end."
            )
        steps = [skill.n_obs_steps for skill in library.skills]
        self.window: deque[Observation] = deque(
            maxlen=max(*steps, 1, self.selector.n_obs_steps if self.selector else 1)
        )
        first = library.first
        self.device = "cpu" if first is None else first.executor.device
        self.reset(seed)

    def _check_selector(self) -> None:
        selector, library = self.selector, self.library
        self.selector_order: list[int] | None = None
        if selector is None:
            if library.learned_ends:
                raise RecipeError(
                    "a skill has a learned termination condition, but no selector was given that learned it. Give "
                    "selector=…, or declare other conditions."
                )
            return
        if unknown := [name for name in selector.skills if name not in library.names]:
            raise RecipeError(
                f"the selector was trained to choose {', '.join(selector.skills)}, but the library has no skill "
                f"{unknown[0]}. Known: {', '.join(library.names)}."
            )
        if missing := [skill.name for skill in library.skills if skill.name not in selector.skills]:
            raise RecipeError(
                f"the selector was trained to choose {', '.join(selector.skills)}, and never chooses {missing[0]}. "
                "Remove this skill, or fit a selector to data that have it."
            )
        if library.spec is not None and library.spec.n_observed != selector.network.sizes.n_observed:
            raise ShapeError(
                f"the selector observes {selector.network.sizes.n_observed} numbers, the skills "
                f"{library.spec.n_observed}. Fit it to data of the same robot."
            )
        interface = library.interface
        known = None if interface is None else interface.observation.names
        self.selector_order = selector.order(known or ())

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a seed restarts the randomness, `None` continues it."""
        if seed is not None:
            self.rng = stream(seed, "policy", device=self.device)
        self.window.clear()
        self.running: Running | None = None
        self.fading: Fading | None = None
        self.runs = torch.zeros(0, dtype=torch.int64)
        self.since = torch.zeros(0, dtype=torch.int64)
        self.asked = torch.zeros(0, dtype=torch.int64)
        self.log = list[Tensor]()
        self.decisions = list[Tensor]()

    @property
    def chosen(self) -> Int[Tensor, "b t"]:
        """Number of the skill that ran in each episode and control step."""
        return torch.stack(self.log, dim=1) if self.log else torch.zeros(0, 0, dtype=torch.int64)

    def history(self, episode: int) -> list[Stint]:
        """The skills that an episode has run, oldest first.

        Raises:
            ShapeError: The batch has no such episode.
        """
        if self.log and not 0 <= episode < len(self.log[0]):
            count = len(self.log[0])
            raise ShapeError(
                f"expected an episode of the batch, from 0 to {count - 1}, got {episode}. history(episode) lists all "
                f"skills that an episode has run since reset(), here in {len(self.log)} control steps."
            )
        found = list[Stint]()
        for step, (skills, ended) in enumerate(zip(self.log, self.decisions, strict=True)):
            name = self.library.names[int(skills[episode])]
            if found and found[-1].skill == name:
                found[-1] = replace(found[-1], steps=found[-1].steps + 1)
                continue
            if found:
                found[-1] = replace(found[-1], ended="condition" if bool(ended[episode]) else "decision")
            found.append(Stint(name, step, 1))
        return found

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Next action of each episode."""
        self._observe(observation)
        begins = self.running is None
        if begins:
            self.runs = torch.zeros(len(state), dtype=torch.int64)
            self.since, self.asked = torch.zeros_like(self.runs), torch.zeros_like(self.runs)
        ended = torch.zeros(len(state), dtype=torch.bool) if begins else self._ended()
        asks = torch.ones_like(ended) if begins else ended | self._due()
        switched = self._decide(asks, ended) & (not begins)
        fresh = torch.ones_like(ended) if begins else switched
        self._plan(fresh, switched, state)
        self.log.append(self.runs.clone())
        self.decisions.append(ended)
        return self._action(state)

    def _observe(self, observation: Observation) -> None:
        if self.window and self.window[-1].vector.shape != observation.vector.shape:
            raise ShapeError(
                f"expected observations of shape {tuple(self.window[-1].vector.shape)} as before, got "
                f"{tuple(observation.vector.shape)}. Call reset() before an episode of another batch size."
            )
        self.window.append(observation)

    def _seen(self, steps: int) -> Observation:
        """The last observations `[b, o, ·]`; at the start of an episode, its first one is repeated."""
        seen = list(self.window)[-steps:]
        return Observation.stack([seen[0]] * (steps - len(seen)) + seen)

    def _shown(self, selector: Selector) -> Observation:
        """The readings `[b, o, ·]` that a selector observes, in its order."""
        vector, order = self._seen(selector.n_obs_steps).vector, self.selector_order
        return Observation(state=vector if order is None else vector[..., order])

    @property
    def _names(self) -> tuple[str, ...]:
        return self.library.observed or tuple(map(str, range(self.window[-1].vector.shape[-1])))

    def _ended(self) -> Bool[Tensor, " b"]:
        """Episodes in which a condition of the skill that runs holds."""
        newest, found = self.window[-1].vector, torch.zeros(len(self.runs), dtype=torch.bool)
        ending = None
        if self.selector is not None and self.library.learned_ends:
            place = self.selector.ordered(self.library.names).argsort()
            ending = self.selector.ending(self._shown(self.selector).vector, place[self.runs])
        for number, skill in enumerate(self.library.skills):
            rows = (self.runs == number).nonzero().flatten()
            if len(rows) and skill.ends:
                moment = Moment(newest[rows], self._names, self.since[rows], None if ending is None else ending[rows])
                found[rows] = any_holds(skill.ends, moment)
        return found

    def _due(self) -> Bool[Tensor, " b"]:
        return torch.zeros_like(self.asked, dtype=torch.bool) if self.every is None else self.asked >= self.every

    def _decide(self, asks: Bool[Tensor, " b"], ended: Bool[Tensor, " b"]) -> Bool[Tensor, " b"]:
        """Ask the planner about some episodes; returns those in which another skill runs now."""
        rows = asks.nonzero().flatten()
        before = self.runs.clone()
        if len(rows):
            function = not isinstance(self.planner, Selector)
            histories = [self.history(int(row)) if function else [] for row in rows]
            shown = self._shown(self.planner) if isinstance(self.planner, Selector) else self._seen(1)
            window = shown.at(rows)
            chosen = decided(
                self.planner,
                self.library,
                window,
                histories,
                self._names,
                episodes=[int(row) for row in rows],
                step=len(self.log),
            )
            self.runs[rows] = chosen
        switched = self.runs != before
        self.asked = torch.where(asks, 0, self.asked) + 1
        # a skill that ended and was chosen again begins anew
        self.since = torch.where(switched | ended, 0, self.since) + 1
        return switched

    def _plan(self, fresh: Bool[Tensor, " b"], switched: Bool[Tensor, " b"], state: Tensor) -> None:
        """New chunks where a skill begins, or has executed its steps of the last one."""
        old = self.running
        if old is not None and bool(switched.any()):
            self._fade(old, switched)
        running = old
        for number, skill in enumerate(self.library.skills):
            here = self.runs == number
            spent = here if running is None else here & (running.step >= skill.n_action_steps)
            continued = here & self._exact(switched)
            for rows, source in ((here & (fresh | spent) & ~continued, None), (continued, old)):
                if bool(rows.any()):
                    chunk = self._planned(number, rows, state, source)
                    running = (running or Running.none(len(state), chunk)).written(rows, chunk)
        self.running = running

    def _exact(self, switched: Bool[Tensor, " b"]) -> Bool[Tensor, " b"]:
        """Episodes that switch to a skill which continues the chunk in force."""
        return torch.zeros_like(switched) if self.fading is None else switched & self.fading.exact

    def _planned(
        self, number: int, rows: Bool[Tensor, " b"], state: Tensor, old: Running | None
    ) -> PrimitiveControllers:
        skill, order = self.library.skills[number], self.library.order(number)
        chosen = rows.nonzero().flatten()
        window = self._seen(skill.n_obs_steps).at(chosen)
        if order is not None:
            window = Observation(state=window.vector[..., order], images=window.images, task=window.task)
        held = None if self.fading is None else self.fading.lasting[chosen]
        prefix = None if old is None or held is None else prefix_of(old.at(chosen), held, skill)
        return skill.plan(window, state[chosen], rng=self.rng, prefix=prefix)

    def _fade(self, old: Running, switched: Bool[Tensor, " b"]) -> None:
        """Keep the chunks in force of the episodes that switch."""
        before, skills, handover = self.log[-1], self.library.skills, self.handover
        held = torch.zeros_like(before)
        for row in switched.nonzero().flatten():
            pair = skills[int(before[row])], skills[int(self.runs[row])]
            held[row] = handover.held(*pair, left=int(old.left[row]))
        lasting = torch.where(held > 0, held, 0 if handover.way == "naive" else handover.overlap)
        fading = self.fading or Fading.none(old)
        self.fading = fading.begun(switched, old, before, lasting, held > 0)

    def _action(self, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        assert self.running is not None
        action = self._limited(self.running.action(state), self.runs)
        self.running = self.running.advanced()
        if self.fading is None:
            return action
        old = self._limited(self.fading.running.action(state), self.fading.skills)
        rotations = () if self.library.spec is None else rotations_of(self.library.spec.codec)
        mixed = self.fading.mixed(action, old, rotations)
        self.fading = self.fading.advanced()
        return mixed

    def _limited(self, action: Tensor, skills: Int[Tensor, " b"]) -> Tensor:
        """Actions within the limits of each episode's skill."""
        for number, skill in enumerate(self.library.skills):
            rows = skills == number
            action = torch.where(rows[:, None], skill.limit(action).to(action), action)
        return action
