"""The batch job on real files: stopped and continued, bad rows, other runs' outputs, failed rows again."""

from __future__ import annotations

import gzip
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irr.batch import Checkpoint, InputRow, Job, Price, Tally, forecast, local, run
from irr.cli.monitor import batch_monitor
from irr.errors import IrrError, UsageError
from irr.io.streams import LONGEST_LINE, _zstd
from irr.program.program import InferRetrieveRank
from irr.types import Costs, RowError, Usage
from tests.doubles.batch_process import program as hashing_program
from tests.doubles.batch_process import text, write_texts
from tests.doubles.kills import kill_often
from tests.doubles.slow_server import slow_server
from tests.support import read_jsonl, write_jsonl


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> InferRetrieveRank:
    return hashing_program(folder=tmp_path_factory.mktemp("index"))


class StoppedError(Exception):
    pass


def classify(program: InferRetrieveRank, job: Job, stop_after: int | None = None) -> Tally:
    def watch(tally: Tally, _share: float | None) -> None:
        if stop_after is not None and tally.texts >= stop_after:
            raise StoppedError

    return run(job, lambda: program, local(job), watch)


def refused(program: InferRetrieveRank, job: Job, says: str) -> None:
    with pytest.raises(IrrError, match=says) as caught:
        classify(program, job)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("served_by_model", [False, True])
def test_nothing_is_lost_or_doubled_however_often_it_is_killed(tmp_path: Path, served_by_model: bool) -> None:
    if served_by_model:
        with slow_server(0.02, 64) as address:
            assert kill_often(tmp_path, kills=2, rows=400, api_base=address, seed=1).kills == 2
    else:
        assert kill_often(tmp_path, kills=3, rows=1_500, api_base=None, seed=0).kills == 3


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(str(write_texts(tmp_path / "t.jsonl", 300)), str(tmp_path / "o.jsonl"))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_goes_on_where_it_was_and_leaves_nothing_behind(
    program: InferRetrieveRank, job: Job, tmp_path: Path
) -> None:
    whole = Job(job.input, str(tmp_path / "whole.jsonl"))
    assert classify(program, whole).texts == 300
    for stop in (70, 150):
        with pytest.raises(StoppedError):
            classify(program, job, stop_after=stop)
    part = Path(job.output + ".part")
    assert len(part.read_bytes().splitlines()) == 150
    with part.open("ab") as file:
        file.write(b'{"id": "t150", "lab')  # what a kill may leave
    asked: list[str] = []
    batch = InferRetrieveRank.batch

    def counted(self: InferRetrieveRank, texts: Iterable[str], *rest: Any, **named: Any) -> Any:
        return batch(self, (asked.append(text) or text for text in texts), *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InferRetrieveRank, "batch", counted)
        assert classify(program, job).texts == 300
    assert len(asked) == 150
    rows, scores = answers(Path(job.output).read_bytes())
    assert (rows, pytest.approx(scores, abs=1e-5)) == answers(Path(whole.output).read_bytes())
    assert files(tmp_path) == [
        *("o.jsonl", "o.jsonl.run.json", "t.jsonl", "whole.jsonl", "whole.jsonl.run.json")
    ]


def test_a_kill_between_the_last_steps_is_made_good(
    program: InferRetrieveRank, job: Job, tmp_path: Path
) -> None:
    classify(program, job)
    Path(job.output + ".run.json").rename(job.output + ".part.json")
    assert classify(program, job).texts == 300
    assert files(tmp_path) == ["o.jsonl", "o.jsonl.run.json", "t.jsonl"]

    other = Job(job.input, job.output, top_k=3, restart=True)
    with pytest.raises(StoppedError):
        classify(program, other, stop_after=100)
    Path(job.output + ".part").unlink()  # by hand; what is there is still the output of the first run
    assert classify(program, job).texts == 300
    assert len(read_jsonl(Path(job.output))[0]["labels"]) == 10


def test_what_is_in_the_way_is_not_removed(program: InferRetrieveRank, job: Job, tmp_path: Path) -> None:
    mine = tmp_path / "o.jsonl.part"
    mine.write_text("mine\n")
    for restart in (False, True):
        refused(program, Job(job.input, job.output, restart=restart), "is in the way, and was not written")
    assert mine.read_text() == "mine\n"


def test_another_run_is_refused_with_what_is_different(
    program: InferRetrieveRank, job: Job, tmp_path: Path
) -> None:
    other = Job(job.input, job.output, top_k=3)
    with pytest.raises(StoppedError):
        classify(program, job, stop_after=100)
    refused(program, other, r"top_k was 10, is 3.*restart")
    rows = Path(job.input).read_text().replace("number 20 ", "number twenty ")
    Path(job.input).write_text(rows)
    refused(program, job, "another input")
    assert classify(program, Job(**{**vars(other), "restart": True})).texts == 300
    assert len(read_jsonl(Path(job.output))[0]["labels"]) == 3

    before = Path(job.output).read_bytes()
    refused(program, job, "top_k was 3, is 10")
    with Path(job.input).open("a") as file:
        file.write('{"id": "one more", "text": "bread"}\n')
    refused(program, other, "another input")
    foreign = Job(job.input, str(tmp_path / "foreign.jsonl"))
    Path(foreign.output).write_text("mine\n")
    refused(program, foreign, "was not written by a run.*restart")
    assert Path(job.output).read_bytes() == before
    assert Path(foreign.output).read_text() == "mine\n"


def test_a_finished_run_is_left_alone(
    program: InferRetrieveRank, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    classify(program, job)
    stamp = Path(job.output).stat().st_mtime_ns
    assert classify(program, job).texts == 300
    assert "nothing to do" in caplog.text
    assert Path(job.output).stat().st_mtime_ns == stamp


def test_two_at_once_are_one_too_many(program: InferRetrieveRank, job: Job) -> None:
    def watch(tally: Tally, _share: float | None) -> None:
        if tally.texts == 1:
            refused(program, job, "is being written by another process")

    assert run(job, lambda: program, local(job), watch).texts == 300


def answers(content: bytes) -> tuple[list[dict[str, Any]], list[float]]:
    """The rows of an output, and their scores, whose last digit may differ with how texts are grouped."""
    rows = [json.loads(line) for line in content.splitlines()]
    return rows, [label.pop("score") for row in rows for label in row["labels"]]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_compressed_files_are_as_good(
    program: InferRetrieveRank, job: Job, tmp_path: Path, ending: str
) -> None:
    plain, packed = Path(job.input), tmp_path / ("packed.jsonl" + ending)
    pack = {"": bytes, ".gz": gzip.compress, ".zst": _zstd().compress}[ending]
    unpack = {"": bytes, ".gz": gzip.decompress, ".zst": _zstd().decompress}[ending]
    data = plain.read_bytes()
    packed.write_bytes(pack(data[:9_000]) + pack(data[9_000:]))  # two members, as files that were joined have
    two = Job(str(packed), str(tmp_path / ("two.jsonl" + ending)))
    with pytest.raises(StoppedError):
        classify(program, two, stop_after=100)
    classify(program, two)
    classify(program, job)
    rows, scores = answers(unpack(Path(two.output).read_bytes()))
    assert (rows, pytest.approx(scores, abs=1e-5)) == answers(Path(job.output).read_bytes())
    if ending:
        packed.write_bytes(pack(data)[:-50])
        refused(program, Job(str(packed), str(tmp_path / "cut.jsonl")), "the compressed data breaks off")


class Failing:
    """A program whose stages break on some texts, and do without their model on others."""

    def __init__(self, program: InferRetrieveRank, breaks: Sequence[str]) -> None:
        self._program = program
        self._infer = program.stages.inferer.infer
        self._breaks = breaks

    @contextmanager
    def at_work(self) -> Iterator[None]:
        def infer(texts: Sequence[str]) -> Any:
            if any(word in text for text in texts for word in self._breaks):
                raise RuntimeError("broken")
            return self._infer(texts)

        self._program.stages.inferer.infer = infer  # type: ignore[method-assign]
        try:
            yield
        finally:
            self._program.stages.inferer.infer = self._infer  # type: ignore[method-assign]


def test_a_text_that_breaks_the_program_costs_only_itself_and_can_be_retried(
    program: InferRetrieveRank, job: Job, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = Job(job.input, str(tmp_path / "whole.jsonl"))
    classify(program, whole)
    with Failing(program, ["number 17 ", "number 299 "]).at_work():
        assert classify(program, job).errors == 2
    assert "RuntimeError: broken" in caplog.text
    rows = read_jsonl(Path(job.output))
    assert [row["id"] for row in rows if row["error"]] == ["t17", "t299"]
    assert rows[17]["error"]["code"] == "internal"

    again = Job(job.input, job.output, retry_errors=True)
    with pytest.raises(StoppedError):
        classify(program, again, stop_after=40)
    refused(program, job, "retry_errors was True, is False")
    assert classify(program, again).errors == 0
    # Retried texts are encoded in other batches, which moves the last bit of a score on some processors.
    rows, scores = answers(Path(job.output).read_bytes())
    assert (rows, pytest.approx(scores, abs=1e-5)) == answers(Path(whole.output).read_bytes())
    assert classify(program, job).texts == 300  # nothing to do
    refused(program, Job(job.input, str(tmp_path / "none.jsonl"), retry_errors=True), "not a finished output")


def test_a_program_that_breaks_on_every_text_is_not_covered_up(program: InferRetrieveRank, job: Job) -> None:
    with Failing(program, ["bread"]).at_work(), pytest.raises(RuntimeError):
        classify(program, job)


def test_rows_corrected_in_the_input_can_be_retried(
    program: InferRetrieveRank, job: Job, tmp_path: Path
) -> None:
    source = Path(job.input)
    good = source.read_text().splitlines(keepends=True)
    source.write_text("".join(["{oops\n", *good[1:5]]))
    assert classify(program, job).errors == 1
    source.write_text("".join(good[:5]))
    assert classify(program, Job(job.input, job.output, retry_errors=True)).errors == 0
    assert [row["id"] for row in read_jsonl(Path(job.output))] == [f"t{i}" for i in range(5)]
    source.write_text("".join(good[1:6]))
    refused(program, Job(job.input, job.output, retry_errors=True), "row 1 does not answer this input")


BAD = {
    b"{oops": (None, "not JSON"),
    b'{"text": "x"}': (None, 'no "id"'),
    b'{"id": "a"}': ("a", 'no "text"'),
    b'{"id": "a", "text": null}': ("a", '"text"'),
    b'{"id": 7.5, "text": "x"}': (None, '"id"'),
    b'{"id": 8, "text": null}': (8, '"text"'),
    b'{"id": 1' + b"0" * 5_000 + b', "text": "x"}': (None, ""),
    b'{"id": "", "text": "x"}': (None, 'empty "id"'),
    b'"bread"': (None, "not a JSON object"),
    b'{"id": "a", "text": "caf\xe9"}': (None, "not UTF-8"),
    b'{"id": "a", "text": ' + b"[" * 100_000: (None, "not JSON"),
    b'{"id": "long", "text": "' + b"x" * LONGEST_LINE + b'"}': (None, "longer than"),
}


def test_bad_rows_say_what_is_wrong_and_stop_nothing(program: InferRetrieveRank, tmp_path: Path) -> None:
    good = b'{"id": "same", "text": "bake bread"}'
    source = tmp_path / "t.jsonl"
    source.write_bytes(
        b"\xef\xbb\xbf" + b"\r\n\n".join([good, *(line for bad in BAD for line in (bad, good))])
    )
    job = Job(str(source), str(tmp_path / "o.jsonl"))
    assert classify(program, job).errors == len(BAD)
    first, *rows = read_jsonl(Path(job.output))
    assert len(rows) == 2 * len(BAD)
    for number, (bad, fine) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        name, says = list(BAD.values())[number]
        assert bad["id"] == name
        assert bad["labels"] == []
        assert bad["error"]["code"] == "bad_row"
        assert f"row {4 * number + 3}: " in bad["error"]["message"]
        assert says in bad["error"]["message"]
        assert fine == first
        assert fine["id"] == "same"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
texts = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates too
rows_of_any_kind = st.one_of(
    st.builds(lambda i, t, m: json.dumps({"id": i, "text": t, "m": m}).encode(), texts, texts, json_values),
    st.builds(lambda i, t: json.dumps({"id": i, "text": t}).encode(), json_values, json_values),
    st.builds(lambda v: json.dumps(v).encode(), json_values),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b" ")),
    st.sampled_from(
        [b'{"id": 1e999, "text": "x"}', b'{"id": "n", "text": "\x00"}', b"\xef\xbb\xbf", b"\x00"]
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows_of_any_kind, max_size=30), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_whatever_the_rows_each_has_its_answer(
    program: InferRetrieveRank, tmp_path: Path, lines: list[bytes], end: bytes, last: bool
) -> None:
    good = b'{"id": "good", "text": "bake bread"}'
    source, output = tmp_path / "fuzz.jsonl", tmp_path / "fuzz.out.jsonl"
    source.write_bytes(
        end.join([*(part for line in lines for part in (good, line)), good]) + (end if last else b"")
    )
    tally = classify(program, Job(str(source), str(output), restart=True))
    answers = read_jsonl(output)
    blank = sum(not line.strip().removeprefix(b"\xef\xbb\xbf") for line in lines)
    assert tally.texts == len(answers) == 2 * len(lines) + 1 - blank
    assert sum(answer["id"] == "good" and not answer["error"] for answer in answers) >= len(lines) + 1
    for answer in answers:
        assert (answer["error"] is None) == bool(answer["labels"])
        assert answer["id"] is None or isinstance(answer["id"], str | int)
        json.dumps(answer, allow_nan=False).encode()


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(
    program: InferRetrieveRank, job: Job, tmp_path: Path
) -> None:
    whole = Job(job.input, str(tmp_path / "whole.jsonl"))
    classify(program, whole)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        refused(program, job, r"cannot be written \(File too large\): make room, and repeat the same call")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not Path(job.output).exists()
    assert Path(job.output + ".part").stat().st_size > 50_000
    assert classify(program, job).texts == 300
    rows, scores = answers(Path(job.output).read_bytes())
    assert (rows, pytest.approx(scores, abs=1e-5)) == answers(Path(whole.output).read_bytes())


def test_looking_at_a_checkpoint_changes_nothing(job: Job, tmp_path: Path) -> None:
    Path(job.output + ".part.json").write_text("anything")
    before = files(tmp_path)
    Checkpoint(Path(job.output))
    assert files(tmp_path) == before


def test_a_stopped_command_says_so(labels_file: Path, index_folder: Path, tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"Bake bread and wash {i} dishes" * 5} for i in range(3_000)]
    source, output = write_jsonl(tmp_path / "t.jsonl", rows), tmp_path / "o.jsonl"
    arguments = ["classify", "--labels", labels_file, "--input", source, "--output", output]
    command = [sys.executable, "-m", "irr", *map(str, arguments), "--index-folder", str(index_folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        part = Path(str(output) + ".part")
        end = time.monotonic() + 200
        while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "repeat the same call to go on" in said
    done = len(part.read_bytes().splitlines())
    assert 0 < done < 3_000
    assert part.read_bytes().endswith(b"\n")


def test_what_a_run_will_take_is_known_before_it(program: InferRetrieveRank) -> None:
    texts = [InputRow(f"t{i}", text(i), b"") for i in range(500)]
    bad = InputRow(None, "", b"", error=RowError(code="bad_row", message="row 1: not JSON"))
    with slow_server(0.0, 64) as address:
        expected = forecast(hashing_program(address), [bad, *texts], Price.parse("10,1000"))
    assert (expected.rows, expected.bad_rows, expected.sample) == (501, 1, 100)
    assert (expected.calls, expected.prompt_tokens, expected.completion_tokens) == (500, 150_000, 4_000)
    assert expected.price == 1.5 + 4.0
    assert expected.seconds > 0
    assert forecast(program, [], None).rows == 0


@pytest.mark.parametrize("wrong", ["1", "1,2,3", "a,b", "-1,2", "nan,1", ""])
def test_a_price_is_two_numbers(wrong: str) -> None:
    with pytest.raises(UsageError, match="is not a pair of prices"):
        Price.parse(wrong)


def test_a_log_gets_a_line_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("irr.cli.monitor.time.monotonic", lambda: now)
    usage = Usage(calls=1, prompt_tokens=900, cached_tokens=450, completion_tokens=100)
    tally = Tally()
    with batch_monitor(Price.parse("1,10")) as monitor:
        for i in range(1, 151):
            now = float(i)
            tally += Tally(texts=1, errors=i == 1, costs=Costs(rank=usage))
            monitor(tally, i / 600)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "61 texts, 1.0/s, 1 error, 1,000 tokens/s (50% cached), price 0.12, 9.0 min left"
    assert second.startswith("121 texts")
