"""The command `irr show`: shows what a frozen program consists of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from irr.cli import display
from irr.cli.calibrate import calibration_lines
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.frozen.folder import Manifest, Scores

_SHOWN_METRICS = ("rp@5", "rp@10", "rp@50", "recall@50")


def show(program: Annotated[Path, Argument(help="A frozen program.", metavar="DIR")]) -> None:
    """Show what a frozen program is: labels, settings, models, prompts, scores."""
    from irr.frozen.folder import read_manifest

    manifest = read_manifest(program)
    display.table(("", ""), _facts(program, manifest).items(), str(program))
    if manifest.scores:
        show_scores(manifest.scores)
    _show_prompts(manifest)


def _facts(folder: Path, manifest: Manifest) -> dict[str, str]:
    from irr.frozen.folder import read_calibration

    spec = manifest.spec
    facts = {
        "labels": f"{manifest.labels:,}, fingerprint {manifest.fingerprint[:16]}",
        "encoder": f"{spec.encoder.name} ({spec.encoder.revision})",
    }
    for stage, model in (("infer", spec.infer), ("rank", spec.rank)):
        facts[stage] = f"{model.name} ({model.revision or 'served'})" if model else "no language model"
    facts["examples"] = f"{manifest.examples:,}, in examples.jsonl" if manifest.examples else "none"
    facts["settings changed"] = display.changed(spec.settings)
    if manifest.optimized:
        facts["optimized"] = _pairs(manifest.optimized)
    calibration = read_calibration(folder)
    lines = calibration_lines(calibration) if calibration else ["none: see irr calibrate"]
    return facts | {
        "calibration": "\n".join(lines),
        "versions": _pairs(manifest.versions),
        "digest": manifest.digest,
    }


def _pairs(values: Mapping[str, str | int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _show_prompts(manifest: Manifest) -> None:
    spec = manifest.spec
    if (task := spec.task) is None:
        return
    for stage, model, prompt, demos in (
        ("infer", spec.infer, task.infer, spec.settings.infer.demos),
        ("rank", spec.rank, task.rank, spec.settings.rank.demos),
    ):
        if model:
            display.stdout.rule(f"{stage}: the prompt")
            display.stdout.print(f"{prompt.instructions}\n{task.notes_of(prompt)}".strip())
            for demo in task.demos_of(prompt)[: task.count_of(prompt, demos)]:
                display.stdout.print(f"\n- {demo.text}\n  {'; '.join(demo.terms)}")


def show_scores(scores: Mapping[str, Scores]) -> None:
    """Shows the scores of programs on the valset, by name."""
    texts = next((scored.texts for scored in scores.values()), 0)
    rows = (
        (name, *(scored.metrics[metric].percent() for metric in _SHOWN_METRICS))
        for name, scored in scores.items()
    )
    display.table(("program", *_SHOWN_METRICS), rows, f"on {counted(texts, 'example')} of the valset")
