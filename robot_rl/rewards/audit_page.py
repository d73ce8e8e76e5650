"""An audit as one HTML page that needs nothing but itself: plots, thresholds, and the worst mistakes to look at.

The pictures are in the page. On it, keys mark what is right and wrong, and a button copies the command that says so to
the set: a page in a browser writes no files.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.jsonl import write_text_atomic
from robot_rl.report_html import amount, cards, page, panels, remark, section, table, text
from robot_rl.report_plots import panel
from robot_rl.rewards.audit import Audit
from robot_rl.rewards.labels import WORDS, LabelledSet
from robot_rl.rewards.scoring import reliability, roc

MOST = 60  # suspects in the gallery

STYLE = """<style>
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 0.8rem; }
.gallery figure { margin: 0; padding: 0.4rem; border: 2px solid transparent; border-radius: 6px; cursor: pointer; }
.gallery figure.here { border-color: currentColor; }
.gallery figure.success { background: rgba(60, 160, 80, 0.25); }
.gallery figure.failure { background: rgba(200, 70, 60, 0.25); }
.gallery figure.none { background: rgba(128, 128, 128, 0.35); }
.gallery img { image-rendering: pixelated; width: 48%; margin-right: 1%; }
</style>"""

SCRIPT = """<script>
const figures = [...document.querySelectorAll(".gallery figure")], out = document.getElementById("command");
let here = 0;
const quoted = (s) => "'" + s.replaceAll("'", "'\\\\''") + "'";
function show() {
  figures.forEach((f, i) => f.classList.toggle("here", i === here));
  if (figures[here]) figures[here].scrollIntoView({ block: "nearest" });
  const parts = ["success", "failure", "none"].map((word) => [word, figures.filter((f) => f.classList.contains(word))]);
  out.textContent = parts.filter(([, fs]) => fs.length).map(([word, fs]) =>
    "robot-rl reward relabel " + quoted(out.dataset.set) + " " + fs.map((f) => f.dataset.frame).join(" ") +
    " --as " + word).join("\\n");
}
function mark(word) {
  const f = figures[here];
  if (!f) return;
  const had = f.classList.contains(word);
  f.classList.remove("success", "failure", "none");
  if (!had) f.classList.add(word);
  here = Math.min(here + 1, figures.length - 1);
  show();
}
figures.forEach((f, i) => f.addEventListener("click", () => { here = i; show(); }));
document.addEventListener("keydown", (e) => {
  const word = { s: "success", f: "failure", x: "none" }[e.key];
  if (word) mark(word);
  else if (e.key === "ArrowRight") { here = Math.min(here + 1, figures.length - 1); show(); e.preventDefault(); }
  else if (e.key === "ArrowLeft") { here = Math.max(here - 1, 0); show(); e.preventDefault(); }
});
document.getElementById("copy").addEventListener("click", () => navigator.clipboard.writeText(out.textContent));
show();
</script>"""


def write_audit(path: Path, frames: LabelledSet, found: Audit, wanted: float) -> Path:
    """Write the page.

    Args:
        path: Where to.
        frames: The set.
        found: What the audit found.
        wanted: The false-positive rate that was asked for.

    Raises:
        StorageError: The disk does not take it.
        MissingDependency: matplotlib is missing.
    """
    labels, p = found.judged.labels, found.judged.probability
    shown = found.suspects[:MOST]
    body = [
        STYLE,
        f"<h1>Audit of {text(frames.folder.name)}</h1>",
        remark(
            "Every frame was judged by classifiers that had seen no frame of its episode. What they contradict is "
            "either labelled wrongly or hard."
        ),
        cards([
            ("frames", str(len(labels)), f"{int((labels == 1).sum())} success, {int((labels == 0).sum())} failure"),
            ("episodes", str(len(set(found.judged.episodes))), "whole ones are left out in turn"),
            ("area under the ROC", amount(found.area, 4), "1 is perfect, 0.5 is guessing"),
            ("calibration error", amount(found.calibration_error, 2), "0 is honest"),
            ("suspects", str(len(found.suspects)), "labels that are probably wrong"),
        ]),
        section("How good it is", panels([
            panel("roc", "ROC", lambda axes: _roc(axes, labels, p, found.threshold)),
            panel("calibration", "Calibration", lambda axes: _calibration(axes, labels, p)),
            panel("scores", "Probabilities", lambda axes: _scores(axes, labels, p, found.threshold)),
        ])),
        section("Thresholds", _thresholds(found, wanted), remark(
            "Intervals are exact (Clopper and Pearson, 95 %), as if frames were independent; those of one episode lean "
            "on each other, so count the episodes too."
        )),
        section(
            "Labels that are probably wrong", _gallery(frames, found) if shown else "",
            empty="No label is contradicted by classifiers that did not see its episode.",
        ),
    ]  # fmt: skip
    return write_text_atomic(path, page(f"Audit of {frames.folder.name}", body))


def _thresholds(found: Audit, wanted: float) -> str:
    rows = []
    for point in found.points:
        c, fp, tp = point.counts, point.false_positive, point.true_positive
        mark = " (asked for)" if abs(point.wanted - wanted) < 1e-12 else ""
        rows.append([
            f"{100 * point.wanted:g} %{mark}", f"{point.threshold:.3f}",
            f"{c.false_positive} of {c.negatives} ({100 * fp.low:.2f} to {100 * fp.high:.2f} %)",
            f"{c.true_positive} of {c.positives} ({100 * tp.low:.1f} to {100 * tp.high:.1f} %)",
            f"{100 * c.accuracy:.1f} %",
        ])  # fmt: skip
    return table(
        ["false positives at most", "threshold", "failures that pass", "successes that pass", "accuracy"], rows
    )


def _gallery(frames: LabelledSet, found: Audit) -> str:
    figures = []
    for suspect in found.suspects[:MOST]:
        pictures = "".join(
            f'<img alt="{text(camera)}" title="{text(camera)}" src="data:image/png;base64,'
            f'{base64.b64encode(frames.png(suspect.name, camera)).decode()}">'
            for camera in frames.cameras
        )
        words = f"{suspect.name}: labelled {WORDS[suspect.label]}, looks like success with {suspect.probability:.3f}"
        figures.append(
            f'<figure data-frame="{text(suspect.name)}">{pictures}<figcaption><small>{text(words)}</small></figcaption>'
            "</figure>"
        )
    more = len(found.suspects) - len(figures)
    hint = "Keys: s success, f failure, x takes the frame out, arrows move." + (
        f" {more} more are left out." * bool(more)
    )
    where = text(str(frames.folder))
    return (
        f'{remark(hint)}<div class="gallery">{"".join(figures)}</div>'
        f'<p><button id="copy">copy the command</button></p><pre id="command" data-set="{where}"></pre>{SCRIPT}'
    )


def _roc(axes: Any, labels: np.ndarray, p: np.ndarray, threshold: float) -> bool:
    fpr, tpr, thresholds = roc(labels, p)
    axes.step(100 * fpr, 100 * tpr, where="post")
    at = int(np.flatnonzero(thresholds >= threshold)[-1])
    axes.plot(100 * fpr[at], 100 * tpr[at], "o", label=f"threshold {threshold:.2f}")
    axes.set(xlabel="failures that pass [%]", ylabel="successes that pass [%]", xlim=(-0.2, 10.0), ylim=(0.0, 101.0))
    axes.legend(loc="lower right")
    return True


def _calibration(axes: Any, labels: np.ndarray, p: np.ndarray) -> bool:
    bins = reliability(labels, p)
    axes.plot([0, 1], [0, 1], ":", linewidth=1.0)
    axes.plot([b.said for b in bins], [b.true for b in bins], "o-")
    axes.set(xlabel="probability that it gives", ylabel="share of successes (balanced)", xlim=(0, 1), ylim=(0, 1))
    return True


def _scores(axes: Any, labels: np.ndarray, p: np.ndarray, threshold: float) -> bool:
    edges = np.linspace(0.0, 1.0, 31)
    for value, word in ((0, "failure"), (1, "success")):
        axes.hist(p[labels == value], edges, alpha=0.6, label=word)
    axes.axvline(threshold, linewidth=1.0)
    axes.set(xlabel="probability of success", ylabel="frames", yscale="symlog")
    axes.legend(loc="upper center")
    return True
