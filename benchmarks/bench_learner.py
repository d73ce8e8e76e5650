"""How fast the learner updates, beside a plain one-update-at-a-time learner and the floor of the machine.

10 critics of 256x256, batch 256, state 32, action 7. Ours does 8 critic and 2 actor updates in a call. The baseline is
the same algorithm written the plain way: `jax.vmap` over the critics, optax, one jitted critic update a call and one
jitted actor update every fourth, values of all target critics before two are taken, nothing donated. The floor is the
rate of a large sgemm and the multiplications that cannot be left out; a nearer one is the sum of the parts that no
implementation can leave out, each alone: the products at their own sizes, LayerNorm and tanh there and back, and Adam
with Polyak averaging over the critics' weights. All take turns, and medians are compared, so that
a busy machine changes the rates but hardly the ratios. Run `python benchmarks/bench_learner.py`; `--quick` takes 20 s.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.agents.config import AgentConfig
from robot_rl.agents.rlpd import Agent
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import ActionSpec, ContinuousGroup, ObservationSpec, StateField

Row = dict[str, str | float | None]

GROUP, BATCH, STATE, ACTION, WIDTH, CRITICS, DRAWN, EVERY = 8, 256, 32, 7, 256, 10, 2, 4
OBSERVATION = ObservationSpec(state={"x": StateField(size=STATE, unit="1")})
ACTION_SPEC = ActionSpec(continuous={"a": ContinuousGroup(size=ACTION, unit="m", scale=0.01)})
SGEMM = 1024


def batches(groups: int) -> dict[str, np.ndarray]:
    """Return random transitions."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal((groups, BATCH, *shape)).astype(np.float32)  # noqa: E731
    return {
        "state": draw(STATE),
        "next_state": draw(STATE),
        "action": np.tanh(draw(ACTION)),
        "reward": draw(),
        "discount": np.full((groups, BATCH), 0.97, np.float32),
        "demo": (draw() > 0).astype(np.float32),
    }


def flop_per_update() -> float:
    """Count the multiply-adds (as 2) of the matrix products in one critic update and its share of an actor update.

    A layer costs its product forward, one for the gradient of its weights, and one for that of its inputs where that
    is needed: the critics' first layer needs none in the critic update, and no gradient of weights in the actor's.
    """
    first, second, head = (STATE + ACTION) * WIDTH, WIDTH * WIDTH, WIDTH
    critics = CRITICS * (2 * first + 3 * second + 3 * head)
    target = DRAWN * (first + second + head)
    actor_first, actor_head = STATE * WIDTH, 2 * ACTION * WIDTH
    next_action = actor_first + second + actor_head
    through_critics = CRITICS * (first + ACTION * WIDTH + 2 * second + 2 * head)
    actor = 2 * actor_first + 3 * second + 3 * actor_head
    return 2.0 * BATCH * (critics + target + next_action + (through_critics + actor) / EVERY)


class PlainLearner:
    """The baseline: SAC with an ensemble, one jitted update at a time."""

    def __init__(self) -> None:
        import jax
        import optax

        self.jax, self.adam, self.count = jax, optax.adam(3e-4), 0
        keys = jax.random.split(jax.random.PRNGKey(0), CRITICS + 2)
        self.critic = jax.vmap(lambda k: self.draw(k, STATE + ACTION, 1))(keys[:CRITICS])
        self.actor = self.draw(keys[-1], STATE, 2 * ACTION)
        self.log_alpha = jax.numpy.log(0.01)
        self.target, self.key = self.critic, keys[-2]
        self.critic_opt, self.actor_opt = self.adam.init(self.critic), self.adam.init(self.actor)
        self.alpha_opt = self.adam.init(self.log_alpha)
        self.critic_step, self.actor_step = jax.jit(self._critic_step), jax.jit(self._actor_step)

    def draw(self, key: Any, inputs: int, outputs: int) -> list[dict[str, Any]]:
        """Draw a network."""
        jnp, layers = self.jax.numpy, []
        for k, (i, o) in zip(
            self.jax.random.split(key, 3), ((inputs, WIDTH), (WIDTH, WIDTH), (WIDTH, outputs)), strict=True
        ):
            w = self.jax.random.normal(k, (i, o)) / i**0.5
            layers.append({"w": w, "b": jnp.zeros(o), "scale": jnp.ones(o), "shift": jnp.zeros(o)})
        return layers

    def net(self, layers: list[dict[str, Any]], x: Any) -> Any:
        """Evaluate one network."""
        jnp = self.jax.numpy
        for layer in layers[:-1]:
            x = x @ layer["w"] + layer["b"]
            x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
            x = jnp.tanh(x * layer["scale"] + layer["shift"])
        return x @ layers[-1]["w"] + layers[-1]["b"]

    def values(self, critic: Any, state: Any, action: Any) -> Any:
        """Return (CRITICS, B)."""
        x = self.jax.numpy.concatenate([state, action], axis=-1)
        return self.jax.vmap(self.net, in_axes=(0, None))(critic, x)[..., 0]

    def sample(self, actor: Any, state: Any, key: Any) -> tuple[Any, Any]:
        """Return actions and their log probabilities."""
        jnp = self.jax.numpy
        mean, log_std = jnp.split(self.net(actor, state), 2, axis=-1)
        log_std = jnp.clip(log_std, -4.0, 1.0)
        noise = self.jax.random.normal(key, mean.shape)
        u = mean + jnp.exp(log_std) * noise
        log_prob = -0.5 * noise**2 - log_std - 0.919 - 2.0 * (0.693 - u - self.jax.nn.softplus(-2.0 * u))
        return jnp.tanh(u), log_prob.sum(-1)

    def _critic_step(self, critic: Any, target: Any, opt: Any, actor: Any, batch: Any, key: Any) -> Any:
        jax, jnp = self.jax, self.jax.numpy
        action_key, subset_key = jax.random.split(key)
        action, _ = self.sample(actor, batch["next_state"], action_key)
        drawn = jax.random.choice(subset_key, CRITICS, (DRAWN,), replace=False)
        y = batch["reward"] + batch["discount"] * self.values(target, batch["next_state"], action)[drawn].min(axis=0)
        loss = lambda c: jnp.square(self.values(c, batch["state"], batch["action"]) - y).mean(1).sum()  # noqa: E731
        updates, opt = self.adam.update(jax.grad(loss)(critic), opt)
        critic = jax.tree.map(jnp.add, critic, updates)
        return critic, jax.tree.map(lambda t, c: 0.995 * t + 0.005 * c, target, critic), opt

    def _actor_step(self, actor: Any, opt: Any, alpha: Any, alpha_opt: Any, critic: Any, batch: Any, key: Any) -> Any:
        jax, jnp = self.jax, self.jax.numpy

        def loss(a: Any) -> tuple[Any, Any]:
            action, log_prob = self.sample(a, batch["state"], key)
            q = self.values(critic, batch["state"], action).mean(axis=0)
            return (jnp.exp(alpha) * log_prob - q).mean(), log_prob.mean()

        grads, log_prob = jax.grad(loss, has_aux=True)(actor)
        updates, opt = self.adam.update(grads, opt)
        step, alpha_opt = self.adam.update(jnp.exp(alpha) * (0.5 * ACTION - log_prob), alpha_opt)
        return jax.tree.map(jnp.add, actor, updates), opt, alpha + step, alpha_opt

    def update(self, batch: dict[str, Any]) -> None:
        """Do one critic update, and every fourth time an actor update, and wait for them."""
        self.key, critic_key, actor_key = self.jax.random.split(self.key, 3)
        self.critic, self.target, self.critic_opt = self.critic_step(
            self.critic, self.target, self.critic_opt, self.actor, batch, critic_key
        )
        self.count += 1
        if self.count % EVERY == 0:
            self.actor, self.actor_opt, self.log_alpha, self.alpha_opt = self.actor_step(
                self.actor, self.actor_opt, self.log_alpha, self.alpha_opt, self.critic, batch, actor_key
            )
        self.jax.block_until_ready((self.critic, self.actor))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that `work` takes, on the wall and of all cores together."""
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - cpu


def parts() -> dict[str, Callable[[], object]]:
    """Return the parts of a critic update, each as a compiled call on its own.

    "products" are three square products a critic, as many as its hidden layer needs; "norms" are LayerNorm and tanh of
    both hidden layers with their gradients; "adam" is the optimiser's step and the Polyak average of all weights.
    """
    import jax
    import jax.numpy as jnp

    draw = np.random.default_rng(1).standard_normal
    x, w = (draw((CRITICS, BATCH, WIDTH)).astype(np.float32) for _ in range(2))
    size = CRITICS * ((STATE + ACTION) * WIDTH + WIDTH * WIDTH + WIDTH)

    @jax.jit
    def products(x: Any, w: Any) -> Any:
        return [(x[i] @ w[i], x[i].T @ w[i], x[i] @ w[i].T) for i in range(CRITICS)]

    def norm(x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return jnp.tanh(centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6))

    @jax.jit
    def norms(x: Any, w: Any) -> Any:
        return [jax.vjp(norm, layer)[1](w) for layer in (x, w)]

    @partial(jax.jit, donate_argnums=(0, 1, 2, 3))
    def adam(p: Any, target: Any, m: Any, v: Any, g: Any) -> Any:
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - 3e-4 * m / (jnp.sqrt(v) + 1e-8)
        return p, 0.995 * target + 0.005 * p, m, v

    flat = [jnp.asarray(abs(draw(size)).astype(np.float32)) for _ in range(5)]

    def step() -> None:
        flat[:4] = jax.block_until_ready(adam(*flat))

    return {
        "products": lambda: jax.block_until_ready(products(x, w)),
        "norms": lambda: jax.block_until_ready(norms(x, w)),
        "adam": step,
    }


def measure(rounds: int) -> dict[str, np.ndarray]:
    """Return (rounds, 2) seconds, wall and CPU: "ours", "held", "plain" per critic update, "sgemm" per product.

    The parts of an update, alone, are there under their own names.

    "first" is the first update, compilation included.
    """
    import jax

    agent = Agent(OBSERVATION, ACTION_SPEC, AgentConfig(hidden=(WIDTH, WIDTH), critics=CRITICS, target_subset=DRAWN))
    group, plain = batches(GROUP), PlainLearner()
    single = [{k: v[g] for k, v in group.items()} for g in range(GROUP)]
    square = np.random.default_rng(0).standard_normal((SGEMM, SGEMM)).astype(np.float32)
    product = jax.jit(lambda a: a @ a)
    state = agent.init(0)

    def ours(actor_scale: float) -> None:
        nonlocal state
        state, _ = agent.update(state, group, {"actor_scale": actor_scale})
        jax.block_until_ready(state)

    def theirs() -> None:
        for batch in single:
            plain.update(batch)

    works: dict[str, tuple[Callable[[], object], int]] = {
        "ours": (lambda: ours(1.0), GROUP),
        "held": (lambda: ours(0.0), GROUP),
        "plain": (theirs, GROUP),
        "sgemm": (lambda: jax.block_until_ready(product(square)), 1),
        **{name: (work, 1) for name, work in parts().items()},
    }
    seconds: dict[str, list[NDArray[np.float64]]] = {name: [] for name in works}
    first = timed(works["ours"][0])
    for name in ("plain", "sgemm", "products", "norms", "adam"):
        works[name][0]()
    for _ in range(rounds):
        for name, (work, count) in works.items():
            seconds[name].append(np.array(timed(work)) / count)
    return {name: np.array(v) for name, v in seconds.items()} | {"first": np.array([first])}


def acting_seconds(calls: int) -> np.ndarray:
    """Return the seconds of single calls of the numpy policy, sampled."""
    agent = Agent(OBSERVATION, ACTION_SPEC, AgentConfig(hidden=(WIDTH, WIDTH)))
    policy = NumpyPolicy(OBSERVATION, ACTION_SPEC, agent.policy(agent.init(0)))
    rng, state = np.random.default_rng(0), np.zeros(STATE, np.float32)
    policy.act(state, rng)
    return np.array([timed(lambda: policy.act(state, rng))[0] for _ in range(calls)])


def row(name: str, value: float, unit: str, baseline: float | None, note: str) -> Row:
    """Return one line of the table."""
    ratio = None if baseline is None else value / baseline
    return {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "note": note}


def run(quick: bool = False) -> list[Row]:
    """Measure and return one row per number."""
    seconds = measure(10 if quick else 40)
    middle = {k: float(np.median(v[:, 0])) for k, v in seconds.items()}
    least = {k: v.min(axis=0) for k, v in seconds.items()}
    rate, plain, held = 1.0 / middle["ours"], 1.0 / middle["plain"], 1.0 / middle["held"]
    gflop, work = 2.0 * SGEMM**3 / 1e9, flop_per_update() / 1e9
    # The fastest sgemm bounds what the cores can do; the median one says what they could do in this run.
    floors = {"median": gflop / middle["sgemm"] / work, "best": gflop / float(least["sgemm"][0]) / work}
    square_gflop = 3 * CRITICS * 2.0 * BATCH * WIDTH * WIDTH / 1e9
    alone = {"products": middle["products"] * work / square_gflop, "norms": middle["norms"], "adam": middle["adam"]}
    bound = 1.0 / sum(alone.values())
    each = ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in alone.items())
    cpu_share = float(least["sgemm"][1] / gflop * work / least["ours"][1])
    best = 1.0 / float(least["ours"][0])
    act = acting_seconds(500 if quick else 3000) * 1e6
    note = f"baseline: sgemm rate over {work:.2f} GFLOP an update"
    return [
        row("critic updates", rate, "1/s", plain, f"{GROUP} a call; baseline: plain vmap, one a call"),
        row("critic updates, actor held", held, "1/s", plain, "as while the critics warm up"),
        row("critic updates, of the floor", rate, "1/s", floors["median"], note),
        row("critic updates, of the parts alone", rate, "1/s", bound, f"baseline: {each}, one after another"),
        row("critic updates, best call", best, "1/s", floors["best"], f"{note}, best call"),
        row("share of the floor in CPU time", cpu_share, "", None, "says the same on a busy machine"),
        row("sgemm 1024", gflop / middle["sgemm"], "GFLOP/s", None, "median, all cores"),
        row("first update", float(seconds["first"][0, 0]), "s", None, "compilation included"),
        row("policy, one action", float(np.median(act)), "us", None, f"numpy, p99 {np.quantile(act, 0.99):.0f} us"),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    for r in run(parser.parse_args().quick):
        baseline = "" if r["baseline"] is None else f"{r['baseline']:10.2f}"
        ratio = "" if r["ratio"] is None else f"{r['ratio']:6.2f}x"
        print(f"{r['name']:32} {r['value']:10.2f} {r['unit']:8} {baseline:>10} {ratio:>7}  {r['note']}")


if __name__ == "__main__":
    main()
