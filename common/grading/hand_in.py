"""Pack what a student hands in: `python -m common.grading.hand_in --name "Ada Lovelace"`, or `make submit NAME=…`."""

from __future__ import annotations

import re
import zipfile
import zlib
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from common.command_line.parser import Parser, start
from common.errors import UsageError

MANIFEST, ANSWERS, EXCHANGE = "manifest.json", "answers.md", "build_your_own_ddp.py"
MEMBER = re.compile(rf"results/(faults/)?[^/\\]+\.json|{re.escape(ANSWERS)}|{re.escape(EXCHANGE)}")
"""What is read of a zip; whatever else lies in it is passed over."""
MAX_BYTES = 512 * 2**20
"""Of all that is unpacked: a small zip may hold a file that fills the disk."""
MAX_FILES, MAX_MANIFEST_BYTES, MAX_NAME = 10_000, 2**24, 80


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
    parser = Parser(prog="python -m common.grading.hand_in", description=__doc__)
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


def unpack(archive: Path, folder: Path) -> tuple[Manifest, list[str]]:
    """Unpack a submission into an empty folder; its manifest, and what does not agree with it.

    Raises BrokenSubmissionError.
    """
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


if __name__ == "__main__":
    start(hand_in)
