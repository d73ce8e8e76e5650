"""The sections of a run's report, each from the run's data to a piece of HTML; empty when there is nothing to say."""

from __future__ import annotations

import numpy as np

from robot_rl import report_plots as plots
from robot_rl.report_html import MISSING, amount, code, folded, panels, percent, strip, table, text
from robot_rl.run_data import Evaluation, RunData, column, guard_counts, mean
from robot_rl.stats import autonomous, helped, number, percentiles, success_summary, was_discarded

_COUNTERS = {"t_s", "kind", "env_steps", "updates"}


def evaluation(run: RunData, demo_s: float) -> list[str]:
    """Return each evaluation's numbers, its strip of outcomes and its episodes."""
    if not run.evaluations:
        return []
    rows = []
    # One limit for all, or the mean times of two evaluations could not be compared.
    limit_s = success_summary([e for evaluation in run.evaluations for e in evaluation.episodes]).time_limit_s
    for evaluation in run.evaluations:
        s = success_summary(evaluation.episodes, limit_s)
        ratio = s.median_time_to_success_s / demo_s
        rows.append(
            [
                evaluation.label,
                f"{s.successes} of {s.n}",
                f"{percent(s.rate)} ({100 * s.low:.0f} to {100 * s.high:.0f})",
                amount(s.median_time_to_success_s),
                amount(ratio, digits=2),
                amount(s.restricted_mean_time_s),
                amount(mean(column(evaluation.episodes, "return"))),
            ]
        )
    head = [
        "evaluation",
        "successes",
        "rate (95 % interval)",
        "median time [s]",
        "vs. demos",
        "mean time* [s]",
        "return",
    ]
    footnote = (
        '<p class="soft">* a failure counts as the longest episode of all; the median is over successes only.</p>'
    )
    return [table(head, rows), footnote, *(_outcomes(e) for e in run.evaluations)]


def _outcomes(evaluation: Evaluation) -> str:
    rows = [
        [
            str(i + 1),
            "success" if e.get("success") else "failure",
            amount(e.get("steps")),
            amount(e.get("duration_s")),
            amount(e.get("return")),
            str(e.get("reason") or ""),
        ]
        for i, e in enumerate(evaluation.episodes)
    ]
    details = table(["episode", "outcome", "steps", "time [s]", "return", "reason"], rows)
    heading = f"<h3>{text(evaluation.label)}</h3>"
    return heading + strip(evaluation.episodes) + folded(f"all {len(rows)} episodes", details)


def practice(run: RunData, demo_s: float) -> str:
    """Return the curves of practice against steps and against wall time."""
    shown = panels(
        [
            plots.panel("success-steps", "Success against steps", plots.success_curve(run, "env_steps")),
            plots.panel("success-time", "Success against time", plots.success_curve(run, "t_s")),
            plots.panel("return-steps", "Return against steps", plots.return_curve(run, "env_steps")),
            plots.panel("return-time", "Return against time", plots.return_curve(run, "t_s")),
            plots.panel("time-to-success", "Time to success", plots.time_to_success(run, demo_s)),
        ]
    )
    caption = (
        f'<p class="soft">Autonomous episodes with exploration noise; rate over the last {plots.WINDOW} with its 95 % '
        "interval. The grey strip is cloning, before practice.</p>"
    )
    return shown + caption if shown else ""


def interventions(run: RunData) -> str:
    """Return how often, how long and where a person helped, and how that changed; empty without help."""
    if not helped(run.episodes) and not any(was_discarded(e) for e in run.episodes):
        return ""
    rows = []
    for i, part in enumerate(np.array_split(np.arange(len(run.episodes)), 3)):
        episodes = [run.episodes[j] for j in part]
        h, s = helped(episodes), success_summary(episodes)
        counted = [e for e in h if number(e.get("human_steps")) > 0]
        took, human = sum(column(counted, "interventions")), sum(column(counted, "human_steps"))
        steps = sum(number(e.get("steps"), 0.0) for e in (*h, *autonomous(episodes)))
        rows.append(
            [
                ("first third", "second third", "last third")[i],
                f"{len(h)} of {len(episodes)}",
                amount(took) if counted or not h else MISSING,
                amount(human / took if took > 0 else None),
                percent(human / steps) if steps and (counted or not h) else MISSING,
                amount(mean(column(counted, "first_intervention"))),
                f"{s.intervened_successes} of {s.intervened}",
                f"{s.successes} of {s.n}",
                str(sum(was_discarded(e) for e in episodes)),
            ]
        )
    head = [
        "practice", "episodes with help", "take-overs", "mean length [steps]", "share of all steps", "first at step",
        "successes with help", "successes alone", "discarded",
    ]  # fmt: skip
    shown = panels(
        [
            plots.panel("help-steps", "Help against steps", plots.intervention_curve(run, "env_steps")),
            plots.panel("help-time", "Help against time", plots.intervention_curve(run, "t_s")),
        ]
    )
    note = (
        '<p class="soft">Every rate of success on this page is of autonomous episodes alone. Discarded episodes were '
        "not learnt from and count in none.</p>"
    )
    return shown + table(head, rows) + note


def guard(run: RunData) -> str:
    """Return what the guard changed or refused."""
    if not run.episodes:
        return ""
    counts: dict[str, list[float]] = {}
    for e in run.episodes:
        for rule, value in guard_counts(e).items():
            counts.setdefault(rule, []).append(value)
    if not counts:
        return '<p class="soft">The guard changed no command.</p>'
    steps = max(run.env_steps, 1)
    rows = [
        [rule, amount(sum(c)), amount(1000 * sum(c) / steps), amount(sum(x > 0 for x in c))]
        for rule, c in sorted(counts.items(), key=lambda item: -sum(item[1]))
    ]
    plot = plots.panel("guard", "What the guard changed", plots.guard_events(run))
    return panels([plot]) + table(["rule", "events", "per 1,000 steps", "episodes"], rows)


def learner(run: RunData) -> str:
    """Return losses, values and entropy, and every scalar's last value."""
    names = sorted(
        {key for row in run.train for key, value in row.items() if "/" in key and number(value) == number(value)}
    )

    def matching(*words: str, but: tuple[str, ...] = ()) -> list[str]:
        return [n for n in names if any(w in n for w in words) and not any(b in n for b in but)]

    q_names = matching("q_mean", "q_std", "target_mean", "/q", "q_min", "q_max", but=("loss", "entropy"))
    shown = panels(
        [
            plots.panel("critic-loss", "Critic loss", plots.scalars(run, matching("critic/loss", "critic_loss"))),
            plots.panel("q", "Values", plots.scalars(run, q_names[:5])),
            plots.panel("actor-loss", "Actor loss", plots.scalars(run, matching("actor/loss", "actor_loss", "bc_"))),
            plots.panel("entropy", "Entropy", plots.scalars(run, matching("entropy", but=("target",)))),
            plots.panel("temperature", "Temperature", plots.scalars(run, matching("temperature", "alpha"))),
        ]
    )
    rows = [[n, amount(run.train[-1].get(n), 4), plots.sparkline(run.train, n)] for n in names]
    return shown + folded(f"all {len(names)} scalars", table(["scalar", "last", "over the run"], rows, raw=[2]))


def timing(run: RunData) -> str:
    """Return rates, the age of the policy that acted, and latency histograms."""
    asked = number(run.facts.get("updates_per_step"))
    shown = panels(
        [
            plots.panel(
                "ratio",
                "Updates per environment step",
                plots.pace(run, "updates", "env_steps", target=asked, ylabel="updates per step"),
            ),
            plots.panel(
                "steps-s", "Environment steps a second", plots.pace(run, "env_steps", "t_s", ylabel="steps / s")
            ),
            plots.panel("updates-s", "Updates a second", plots.pace(run, "updates", "t_s", ylabel="updates / s")),
            plots.panel("age", "Age of the acting policy", plots.policy_age(run)),
            plots.panel("period", "Control period", plots.control_period(run)),
            *(
                plots.panel(f"latency-{i}", name.removeprefix("latency/").replace("_", " "), plots.histogram(samples))
                for i, (name, samples) in enumerate(sorted(run.latencies.items()))
            ),
        ]
    )
    rows = []
    for name, samples in sorted(run.latencies.items()):
        p = percentiles(samples, (50, 90, 99, 100))
        rows.append([name, amount(len(samples)), *(amount(p[k], 4) for k in ("p50", "p90", "p99", "p100"))])
    return shown + table(["latency [ms]", "samples", "median", "90 %", "99 %", "largest"], rows)


def provenance(run: RunData) -> list[str]:
    """Return what it takes to run it again: command, commit, configuration, machine, versions."""
    facts = run.facts
    commit = str(facts.get("commit") or "")
    lines = [f"git checkout {commit.partition('+')[0]}", "make setup"] if commit else []
    lines += [str(facts["command"])] if facts.get("command") else []
    note = " (files differed from this commit)" if "+" in commit else ""
    raw_machine, raw_versions = facts.get("machine"), facts.get("versions")
    machine = raw_machine if isinstance(raw_machine, dict) else {}
    versions = raw_versions if isinstance(raw_versions, dict) else {}
    rows = [[k, str(v)] for k, v in (*machine.items(), *versions.items())]
    practised, with_help = len(autonomous(run.episodes)), len(helped(run.episodes))
    left_out = len(run.episodes) - practised - with_help
    acted = f"{practised} autonomous, {with_help} helped" + (f", {left_out} discarded" if left_out else "")
    return [
        f'<p class="soft">To do it again{text(note)}:</p>{code(chr(10).join(lines))}' if lines else "",
        folded("configuration", code(run.config)) or '<p class="soft">No configuration was recorded.</p>',
        folded("machine and versions", table(["", ""], rows, raw=())),
        f'<p class="soft">{acted} and {len(run.demos)} demonstration episodes; all numbers on this page were computed '
        "from the files beside it.</p>",
    ]
