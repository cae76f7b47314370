"""Pack what a student hands in: `python -m lessons.grading.hand_in --name "Ada Lovelace"`, or `make submit NAME=…`.

And read it again: what is not the file that was packed, and what does not add up in a record.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from common.command_line.parser import Parser, start
from common.errors import UsageError
from common.records import Record

MANIFEST, ANSWERS, EXCHANGE = "manifest.json", "answers.md", "build_your_own_ddp.py"
MEMBER = re.compile(rf"results/(faults/)?[^/\\]+\.json|{re.escape(ANSWERS)}|{re.escape(EXCHANGE)}")
"""What is read of a zip; whatever else lies in it is passed over."""
MAX_BYTES = 512 * 2**20
"""Of all that is unpacked: a small zip may hold a file that fills the disk."""
MAX_FILES, MAX_MANIFEST_BYTES, MAX_NAME = 10_000, 2**24, 80
BLANK = "____"
"""In the handout, where an answer belongs."""
GIVE = "give the folder with the zips that make submit has written"
CLOCKS_DIFFER, CLOCKS_DIFFER_SECONDS = 0.03, 0.02
"""By more than both, the steps of an epoch and the host's clock disagree: in 550 epochs' times of the examples they
differ by 0.06 % at most, and on a host with three jobs for each core by 1.2 %, 6 ms."""
DIGITS = 7
"""Decimals of a step time, to which the lab rounds."""
A_SECOND = 1.5
"""Dates of a record are whole seconds."""


class Manifest(BaseModel):
    """Who hands in what."""

    model_config = ConfigDict(extra="forbid")
    name: str
    made_at: str
    """UTC, ISO 8601."""
    files: dict[str, str]
    """SHA-256 of each file, in hexadecimal digits, by its name in the zip."""


class BrokenSubmissionError(Exception):
    """A zip that cannot be graded. The message is the reason, in words."""


def hand_in() -> None:
    """Read the command line, write the zip and say where."""
    parser = Parser(prog="python -m lessons.grading.hand_in", description=__doc__.partition("\n")[0])
    parser.add_argument("--name", default="", help="the student's")
    parser.add_argument("--answers", type=Path, default=Path(ANSWERS), metavar="FILE", help="the handout, filled in")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR", help="the records")
    parser.add_argument("--exchange", type=Path, default=Path("lessons") / EXCHANGE, metavar="FILE",
                        help="the exchange that was written")  # fmt: skip
    options = parser.parse_args()
    path = pack(options.name, options.results_dir, options.answers, options.exchange)
    print(f"{path}: hand in this file. It contains the host's name, the commands and the times of every run.")


def pack(name: str, results: Path, answers: Path, exchange: Path) -> Path:
    """Write `submission-<name>.zip` in the current folder: records, answers and the exchange that they wrote, with a
    manifest of hashes. Its path. Raises `UsageError` where something is missing."""
    name = " ".join(name.split())
    if not _is_name(name):
        raise UsageError(f'whose is it? NAME="Ada Lovelace", at most {MAX_NAME} letters')
    if not answers.is_file():
        raise UsageError(f"no answers in {answers}: fill in a copy of docs/teaching/handout.md; ANSWERS=file names it")
    paths = [path for folder in (results, results / "faults") for path in sorted(folder.glob("[!.]*.json"))]
    records = {f"results/{path.relative_to(results).as_posix()}": path for path in paths if path.is_file()}
    if not records:
        raise UsageError(f"no records in {results}/: run make lab first")
    sources = records | {ANSWERS: answers} | ({EXCHANGE: exchange} if exchange.is_file() else {})
    target = Path("submission-" + re.sub(r"[^\w.-]+", "-", name) + ".zip")
    hashes = {}
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, path in sources.items():
                content = path.read_bytes()
                hashes[member] = sha256(content).hexdigest()
                archive.writestr(member, content)
            archive.writestr(MANIFEST, Manifest(name=name, made_at=_now(), files=hashes).model_dump_json(indent=1))
    except OSError as error:
        raise UsageError(f"cannot write {target} ({error.strerror})") from None
    return target


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_name(text: str) -> bool:
    return 0 < len(text.strip()) <= len(text) <= MAX_NAME and text.isprintable()


def submissions_in(folder: Path) -> list[Path]:
    """The zips of a folder and of the folders in it, by name. Raises `UsageError` where there is none."""
    try:
        next(folder.iterdir(), None)
        archives = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".zip" and path.is_file())
    except OSError as error:
        raise UsageError(f"cannot read {folder} ({error.strerror}): {GIVE}") from None
    if not archives:
        raise UsageError(f"no zip in {folder}: {GIVE}")
    return archives


def unpack(archive: Path, folder: Path) -> tuple[Manifest, list[str]]:
    """Unpack a submission into an empty folder, records into `results`; its manifest, and what does not agree with it.

    Raises BrokenSubmissionError.
    """
    (folder / "results").mkdir()
    try:
        with zipfile.ZipFile(archive) as content:
            members = {info.filename: info for info in content.infolist() if MEMBER.fullmatch(info.filename)}
            if sum(info.file_size for info in members.values()) > MAX_BYTES:
                raise BrokenSubmissionError(f"more than {MAX_BYTES // 2**20} MiB when unpacked")
            if len(members) > MAX_FILES:
                raise BrokenSubmissionError(f"more than {MAX_FILES:,} records")
            if content.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
                raise BrokenSubmissionError("a manifest without end")
            manifest = Manifest.model_validate_json(content.read(MANIFEST))
            if not _is_name(manifest.name):
                raise BrokenSubmissionError("its name is not one that make submit takes")
            changed = [f"{name} is missing" for name in sorted(manifest.files.keys() - members.keys())]
            for name, info in members.items():
                data = content.read(info)
                if name not in manifest.files:
                    changed.append(f"{name} is not in the manifest")
                elif sha256(data).hexdigest() != manifest.files[name]:
                    changed.append(f"{name} is not the file that was packed")
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    except KeyError:
        raise BrokenSubmissionError(f"no {MANIFEST}: not made by make submit") from None
    except ValidationError:
        raise BrokenSubmissionError(f"{MANIFEST} is not one that make submit writes") from None
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError, zlib.error) as error:
        raise BrokenSubmissionError(f"cannot be unpacked ({error or type(error).__name__})") from None
    return manifest, changed


def doubts(record: Record, file: str) -> Iterator[str]:
    """Of a record in a file of this name: what does not add up, in words. A doubt is a question to the student, and no
    proof of anything."""
    for rank in record.ranks:
        for epoch, part, host in zip(record.epochs, record.epoch_slices, rank.host_epoch_seconds, strict=True):
            steps = sum(rank.step_seconds[part])
            if abs(steps - host) > max(CLOCKS_DIFFER * host, CLOCKS_DIFFER_SECONDS):
                where = f"epoch {epoch.epoch}, rank {rank.rank}"
                yield f"{where}: the steps add up to {steps:.2f} s, the clock says {host:.2f} s"
        if any(round(seconds, DIGITS) != seconds for seconds in rank.step_seconds):
            yield f"rank {rank.rank}: step times with more than {DIGITS} decimals, which the lab does not write"
    yield from _of_dates(record)
    for number, epoch in enumerate(record.epochs):
        seen = sum(rank.samples[number] for rank in record.ranks)
        checksum = sum(int(rank.checksums[number], 16) for rank in record.ranks) % 2**64
        if record.status == "completed" and (seen, f"{checksum:016x}") != (epoch.samples, epoch.expected_checksum):
            yield f"epoch {epoch.epoch}: {seen} samples of {epoch.samples}, or others than these"
    if file != f"{record.run_id}.json":
        yield f"its name in the record is {record.run_id}"


def _of_dates(record: Record) -> Iterator[str]:
    try:
        started, finished = map(datetime.fromisoformat, (record.started_at, record.finished_at))
        lasted = (finished - started).total_seconds()
        stamp = record.run_id.rpartition("_")[2].partition("-")[0]
        named = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=started.tzinfo)
        measured = max((sum(rank.host_epoch_seconds) for rank in record.ranks), default=0.0)
        if measured > lasted + A_SECOND:
            yield f"epochs of {measured:.1f} s in a run of {lasted:.0f} s"
        if abs((named - started).total_seconds()) > A_SECOND:
            yield f"called {stamp}, but started at {record.started_at}"
    except (TypeError, ValueError):
        yield "dates that the lab does not write"


if __name__ == "__main__":
    start(hand_in)
