"""The report of a run: whole, self-contained, right, and possible at any moment of a run."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.jsonl import JsonlFile, update_json
from robot_rl.metrics import Latencies, MetricsWriter
from robot_rl.report import EMBED_BYTES, findings, write_comparison, write_report
from robot_rl.report_compare import common_grid
from robot_rl.run_data import load_run, without_rolled_back
from robot_rl.runs import create_run
from robot_rl.stats import success_summary
from robot_rl.video import VideoWriter, episode_caption

pytest.importorskip("matplotlib")

VOID = {"meta", "br", "img", "link", "input", "hr"}


def make_run(
    root: Path, name: str = "demo", *, seed: int = 0, n: int = 220, group: str = "rlpd", shift: float = 0.0
) -> Path:
    """Write a run as a training of pick_cube would: cloned start at 60 %, then better and faster."""
    rng = np.random.default_rng(seed)
    run = create_run(
        root,
        name,
        task="pick_cube",
        seed=seed,
        config_yaml='task: pick_cube\nagent:\n  critics: 10\n  note: <b>&amp; quotes "\n',
        command=["robot-rl", "train", "task=pick_cube", f"seed={seed}"],
        group=group,
        updates_per_step=4.0,
        total_env_steps=6000,
    )
    env_steps, t_s = 0, 8.0
    with MetricsWriter(run, sinks=()) as writer:
        for i in range(20):
            writer.episode(
                0, {"source": "demo", "success": True, "episode": i, "duration_s": rng.uniform(3, 5)}, t_s=0.5
            )
        for i in range(10):
            writer.write(0, 0, {"actor/bc_nll": 2.0 - 0.15 * i}, kind="clone", t_s=1.0 + 0.7 * i)
        for i in range(n):
            progress = min(max(env_steps - 500 * shift, 0) / 3000, 1.0)
            ok = bool(rng.random() < 0.6 + 0.4 * progress)
            steps = int((18 + 20 * (1 - progress)) * rng.uniform(0.8, 1.2)) if ok else 60
            env_steps, t_s = env_steps + steps, t_s + steps / 42
            record = {
                "episode": i,
                "actor": "actor0",
                "success": ok,
                "steps": steps,
                "return": float(ok),
                "reason": "lifted" if ok else "time limit",
                "intervened": bool(i < 120 and rng.random() < 0.12),
                "policy_version": 4 * env_steps,
                "policy_age_steps": float(rng.uniform(0, 60)),
                "duration_s": steps / 10,
                "guard/workspace": int(rng.poisson(2 * (1 - progress))),
                "guard/step": int(rng.poisson(0.3)),
            }
            writer.episode(env_steps, record, t_s=t_s)
            q = 1.2 * progress + 0.1 * rng.standard_normal()
            values = {
                "critic/loss": 0.02 * np.exp(-2 * progress) * rng.uniform(0.7, 1.4),
                "critic/q_mean": q,
                "critic/target_mean": q - 0.05,
                "critic/q_std": 0.1 * rng.uniform(0.5, 1.5),
                "actor/loss": -q,
                "actor/entropy": -2 - progress + 0.1 * rng.standard_normal(),
                "temperature/value": 0.01 * np.exp(-progress),
            }
            writer.write(env_steps, int(3.9 * env_steps), values, t_s=t_s)
    latencies = Latencies()
    for _ in range(3000):
        latencies.add("act_ms", float(rng.gamma(4, 0.05)))
        latencies.add("period_ms", float(100 + rng.exponential(0.3)))
    latencies.save(run, "actor0")
    return run


def evaluate(run: Path, label: str, results: list[bool], duration_s: float = 2.2) -> None:
    file = JsonlFile(run / f"eval-{label}.jsonl")
    for i, ok in enumerate(results):
        row = {"episode": i, "success": ok, "duration_s": duration_s + 0.02 * i if ok else 6.0, "return": float(ok)}
        file.append(row | {"source": "policy", "steps": 22, "reason": "lifted" if ok else "time limit"})
    file.close()


def copied(run: Path, target: Path, *names: str) -> Path:
    """Return a run that has only some of another's files."""
    target.mkdir()
    for name in ("run.json", *names):
        shutil.copy(run / name, target / name)
    return target


class Page(html.parser.HTMLParser):
    """Collects text, addresses and tags, and insists that tags are balanced."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.stack == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.stack.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "action")]
        self.ids += [v or "" for k, v in attrs if k == "id"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] not in ("style", "text"):
            self.words.append(data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("runs"))
    evaluate(run, "bc", [i % 3 > 0 for i in range(50)], 3.9)
    evaluate(run, "final", [i != 7 for i in range(50)])
    with VideoWriter(run / "video.mp4", 20) as video:
        for i in range(40):
            frame = np.full((240, 320, 3), 60 + i, np.uint8)
            frame[100:140, 4 * i : 4 * i + 40] = (210, 80, 60)
            video.write(episode_caption(frame, episode=0, t_s=i / 20, success=True if i > 30 else None))
    update_json(run / "summary.json", successes=49, n=50)
    write_report(run)
    return run


def test_the_headline_says_what_the_evaluation_proved(finished: Path) -> None:
    page = Page(finished / "report.html")
    assert "49 of 50 autonomous successes (98 %, 95 % interval 90 to 100 %)" in page.text
    assert "bc" in page.text
    assert "33 of 50" in page.text
    demos = load_run(finished).demos
    median = float(np.median([d["duration_s"] for d in demos]))
    assert f"demonstrations {median:.3g} s" in page.text


def test_the_page_needs_no_network_and_no_script(finished: Path) -> None:
    page = Page(finished / "report.html")
    assert "script" not in page.tags
    assert [a for a in page.addresses if not a.startswith(("#", "data:"))] == []
    assert "url(http" not in page.source
    assert "@import" not in page.source
    assert len(page.ids) == len(set(page.ids))
    assert page.source.count('<svg class="plot"') >= 12
    assert "#0a0b0c" not in page.source  # the plots' ink follows the page's


def test_every_reference_inside_the_page_leads_somewhere(finished: Path) -> None:
    page = Page(finished / "report.html")
    wanted = {a[1:] for a in page.addresses if a.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", page.source))
    assert wanted <= set(page.ids)


def test_the_video_is_inside_and_a_large_one_is_linked(finished: Path, tmp_path: Path) -> None:
    assert "data:video/mp4;base64," in (finished / "report.html").read_text()
    run = copied(finished, tmp_path / "big", "video.mp4")
    with open(run / "video.mp4", "ab") as file:
        file.truncate(EMBED_BYTES)
    page = Page(write_report(run))
    assert "video.mp4" in page.addresses
    assert "data:video" not in page.source


def test_text_from_a_run_is_escaped(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path / "evil", "config.yaml")
    update_json(run / "run.json", task="<script>alert(1)</script>", command="a && b <c>", versions={"<i>": '"'})
    rows = [{"success": False, "reason": '"><script>x</script>', "source": "policy", "duration_s": 1.0}]
    (run / "eval-x.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    page = Page(write_report(run))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text


@pytest.mark.parametrize("keep", [(), ("metrics.jsonl",), ("episodes.jsonl",), ("config.yaml", "latency-actor0.json")])
def test_a_half_finished_run_has_a_report_that_says_what_is_missing(
    finished: Path, tmp_path: Path, keep: tuple[str, ...]
) -> None:
    run = copied(finished, tmp_path / "half", *keep)
    for path in run.glob("*.jsonl"):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
    page = Page(write_report(run))
    assert "Not evaluated yet" in page.text
    assert "No video was recorded" in page.text
    assert ("No practice episode is finished yet" in page.text) == ("episodes.jsonl" not in keep)
    assert ("The learner has written no metrics yet" in page.text) == ("metrics.jsonl" not in keep)


def test_strange_rows_do_not_stop_a_report(tmp_path: Path) -> None:
    run = create_run(tmp_path, "odd", task="reach", seed=0)
    rows = [{}, {"success": None, "env_steps": "x", "t_s": None}, {"success": True, "duration_s": None, "guard": None}]
    rows.append({"success": 1, "return": None, "t_s": 1e300, "env_steps": 5, "guard": {"a": "b"}})
    rows.append({"success": True, "guard": [1], "intervened": "yes", "source": 3})
    (run / "episodes.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\nnot json\n{"succ')
    (run / "metrics.jsonl").write_text('{"kind":"train","env_steps":1}\n{"a/b":null}\n[]\n{"a/b":1e400,"updates":3}\n')
    (run / "eval-x.jsonl").write_text("{}\n")
    (run / "run.json").write_text('{"task": "rea')
    page = Page(write_report(run))
    assert "run.json is damaged" in page.text


def test_findings_warn_where_a_headline_alone_would_mislead(tmp_path: Path) -> None:
    run = make_run(tmp_path, "warn", n=160)
    evaluate(run, "final", [i % 2 == 0 for i in range(50)])
    update_json(run / "run.json", updates_per_step=8.0)
    data = load_run(run)
    assert data.final is not None
    found = " ".join(findings(data, success_summary(data.final.episodes)))
    assert "is below the last practice episodes" in found
    assert "3.90 updates per environment step, 8 were asked for" in found


def test_what_a_resume_rolled_back_is_left_out() -> None:
    updates = [0, 100, 200, 300, 150, 250, 350]
    kept = without_rolled_back([{"updates": u} for u in updates], "updates")
    assert [r["updates"] for r in kept] == [0, 100, 150, 250, 350]


def test_a_missing_run_is_answered_with_those_that_exist(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"demp does not exist\. Did you mean 'demo'\? Runs in .*: demo"):
        write_report(finished.parent / "demp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty holds no run\. No runs in"):
        write_report(tmp_path / "empty")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("seeds")
    runs = [make_run(root, f"rlpd-{i}", seed=i, n=150 + 20 * i) for i in range(3)]
    runs += [make_run(root, f"scratch-{i}", seed=i, n=120, group="no demonstrations", shift=20) for i in range(2)]
    for i, run in enumerate(runs[:3]):
        evaluate(run, "clone", [j % 5 > 1 for j in range(50)])
        evaluate(run, "final", [j >= i for j in range(50)])
    return write_comparison(runs, root / "out" / "compare.html", "Seeds & settings")


def test_a_comparison_shows_every_run_and_the_worst_seed(compared: Path) -> None:
    page = Page(compared)
    for name in ("rlpd-0", "rlpd-2", "scratch-1", "no demonstrations", "Seeds & settings"):
        assert name in page.text
    assert "48 of 50" in page.text
    assert "not evaluated" in page.text
    assert "not reached" in page.text
    assert page.source.count('<svg class="plot"') == 2
    assert [a for a in page.addresses if not a.startswith("#")] == []


def test_the_numbers_of_a_comparison_are_those_of_its_runs(compared: Path) -> None:
    groups = json.loads(compared.with_suffix(".json").read_text())["groups"]
    ours, scratch = groups["rlpd"], groups["no demonstrations"]
    steps = sorted(r["env_steps_to_level"] for r in ours["runs"])
    assert (ours["env_steps_to_level_median"], ours["env_steps_to_level_worst"]) == (steps[1], steps[2])
    assert (ours["rate_median"], ours["rate_worst"]) == (0.98, 0.96)
    assert ours["runs"][0]["clone"]["rate"] == pytest.approx(0.6)
    worst = [r["worst_window_rate"] / 0.6 for r in ours["runs"]]
    assert ours["worst_window_against_clone"] == pytest.approx(min(worst))
    assert scratch["env_steps_to_level_worst"] is None
    assert scratch["rate_median"] is None


def test_a_comparison_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one run"):
        write_comparison([], tmp_path / "c.html")
    with pytest.raises(ConfigError, match="does not exist"):
        write_comparison([tmp_path / "gone"], tmp_path / "c.html")


def test_curves_meet_on_a_grid_as_far_as_the_shortest_reaches() -> None:
    a = (np.array([0.0, 10.0, 20.0]), np.array([1.0, 2.0, 3.0]))
    b = (np.array([5.0, 12.0]), np.array([4.0, 5.0]))
    grid, values = common_grid([a, b], points=8)
    np.testing.assert_allclose(grid, np.linspace(5, 12, 8))
    np.testing.assert_allclose(values, [[1, 1, 1, 1, 1, 2, 2, 2], [4, 4, 4, 4, 4, 4, 4, 5]])
