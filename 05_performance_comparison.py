"""Step 5: compare what steps 2, 3 and 4 measured.

Reads every record in a folder, puts runs that may be compared side by side, and writes one HTML page that needs
nothing else: no network, no GPU, no torch. A folder of records copied to a laptop is enough.

    python 05_performance_comparison.py --results-dir ./results --generate-plots --output-report comparison_report.html
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0] or ".")  # where `python -I` and PYTHONSAFEPATH leave it out
import common  # noqa: F401 the first to be imported: it names what keeps Python from importing the rest

# isort: split

import logging
from pathlib import Path

from common.command_line.parser import Parser, otherwise, positive_float, positive_int, start
from common.errors import UsageError
from common.formats import plural, printable
from common.sentences import LANGUAGES, language_of

ADVICE = "run 02_baseline_single_gpu.py, then 03_dataparallel_training.py and 04_ddp_training.py (or `make lab`)"
MAX_LIMIT = 10
"""Of --fail-below."""
BASIS = (
    "it takes a run of 02 whose steps were timed phase by phase, and the all-reduce of step 01 on the same devices or "
    "--link 25GB/s,10us"
)


def main() -> int:
    options = parse_arguments()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of the temporary folder that stands in for its own
    # Imported after parsing, so that --help answers at once.
    from common.analysis.before_after.before_after_section import before_after_section, limit_lines
    from common.analysis.before_after.side_by_side import compare_folders
    from common.analysis.page.charts import HAS_CHINESE_FONT
    from common.analysis.page.rendering import page_files, write_figures, write_pages
    from common.analysis.page.summary import print_lines, print_summary, print_verdict
    from common.analysis.predicting.forecast import prediction_record
    from common.analysis.predicting.inputs import read_question
    from common.analysis.reading.folder import read_folder
    from common.analysis.sections.report import build_report
    from common.console.screen import open_console
    from common.sentences import Sentences

    question = read_question(options.predict, options.link, options.inter_node, options.per_node)
    files = page_files(options.output_report, options.lang)
    spoken = language_of() if options.lang == "both" else next(iter(files))
    console, words = open_console(quiet=options.quiet), Sentences(spoken)
    with console.status("Reading records …"):
        folder = read_folder(options.results_dir)
        check_runs(folder, options.results_dir)
        earlier = read_folder(options.against, "--against") if options.against else None
        if earlier:
            check_runs(earlier, options.against)
    with console.status("Comparing, drawing figures, writing the report …"):
        report = build_report(folder, question)
        sides = compare_folders(earlier, folder, (options.against, options.results_dir)) if earlier else None
        report.before_after = before_after_section(sides, options.against, options.results_dir) if sides else None
        if question.is_asked and not report.forecasts:
            raise UsageError(f"nothing to predict from in {options.results_dir}: {BASIS}")
        written, figures = write_pages(report, files, spoken if options.generate_plots else None)
    if question.counts and not (question.link or question.between):
        keep_prediction(options.results_dir, prediction_record(report.forecasts))
    if not options.brief:
        print_summary(console, report, words, with_forecasts=question.is_asked)
    if "zh-TW" in files and not HAS_CHINESE_FONT:
        print("no font with Chinese characters is installed here (fonts-noto-cjk has one): files of figures show "
              "boxes; the page's own figures take the reader's fonts", file=sys.stderr)  # fmt: skip
    written += write_csv_files(options.results_dir, report, sides, words)
    if options.generate_plots:
        plots = write_figures(options.results_dir / "plots", figures)
        written.append(words.translate("console.plots", folder=options.results_dir / "plots", count=plots))
    console.out("\n" + words.translate("console.written", files=words.listed(written)))
    print_verdict(console, report, words)
    if not options.fail_below:
        return 0
    below, others = limit_lines(sides, options.fail_below)
    print_lines(console, words, others, most=len(others))
    for line in below:
        print(printable(words.text(line)), file=sys.stderr)
    return int(bool(below))


def keep_prediction(folder: Path, record) -> None:
    """With its time, so that the exercise knows who predicted before the run. No error where nobody can write."""
    from common.records.disk import write_record

    if not record.steps:  # one device alone: nothing to find out
        return
    try:
        write_record(folder, record)
    except UsageError as error:
        print(f"the prediction is not kept beside the runs: {error}", file=sys.stderr)


def check_runs(folder, path: Path) -> None:
    """UsageError where a folder has no record of a run."""
    if not folder.runs:
        skipped = [f"{one.file}: {one.reason}" for one in folder.skipped]
        reason = f" ({plural(len(skipped), 'file')} skipped; {skipped[0]})" if skipped else ""
        raise UsageError(f"no run records in {path}{reason}: {ADVICE}")


def write_csv_files(folder: Path, report, sides, words) -> list[str]:
    """The tables, beside the records; returns their names. Records may be where nobody can write: the report is what
    was asked for, so that is no error."""
    from common.analysis.before_after.before_after_section import before_after_table
    from common.analysis.comparing.csv_files import write_tables

    try:
        tables, foreign = write_tables(folder, report.csv_tables | {"against.csv": before_after_table(sides)})
    except OSError as error:
        print(f"no CSV tables: cannot write to {folder} ({error.strerror})", file=sys.stderr)
        return []
    if foreign:
        print(printable(words.translate("console.foreign", files=words.listed(foreign))), file=sys.stderr)
    return tables


def parse_arguments():
    parser = Parser(description="Compare the runs of steps 02, 03 and 04: a table, figures and an HTML report.")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR",
                        help="folder with the records of 02, 03 and 04")  # fmt: skip
    parser.add_argument("--generate-plots", action="store_true",
                        help="also write each figure as SVG and PNG to DIR/plots")  # fmt: skip
    parser.add_argument("--output-report", type=Path, default=Path("comparison_report.html"), metavar="FILE",
                        help="where the page goes (default: %(default)s)")  # fmt: skip
    predict = parser.add_argument_group("what N devices would do (docs/prediction.md)")
    add = predict.add_argument
    add("--predict", metavar="1,2,4,8", help="numbers of devices" + otherwise("those that were run, and 2, 4, 8"))
    add("--link", metavar="RATE,LATENCY", help="link between devices: 25GB/s,10us, or a known name such as nvlink4"
                                               + otherwise("what step 01 measured"))  # fmt: skip
    add("--inter-node", metavar="RATE,LATENCY", help="link of each node to the others" + otherwise("one node"))
    add("--per-node", type=positive_int, metavar="N", help="devices in a node" + otherwise("1, with --inter-node"))
    against = parser.add_argument_group("before and after (docs/before_and_after.md)")
    add = against.add_argument
    add("--against", type=Path, metavar="DIR", help="earlier records: the same configurations before and after")
    add("--fail-below", type=positive_float, metavar="RATIO",
        help="end with exit code 1 where one is shown below RATIO times its old speed, 0.95, or missing")  # fmt: skip
    parser.add_argument("--lang", choices=[*LANGUAGES, "both"],
                        help="language of page and console; both: two pages that link to each other, FILE in English"
                        + otherwise("the locale's"))  # fmt: skip
    parser.add_argument(
        "--brief", action="store_true", help="print the verdict, why and what to do next, without tables"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_args()
    if options.fail_below and not options.against:
        parser.error("--fail-below needs --against: the records before")
    if options.fail_below and options.fail_below > MAX_LIMIT:
        parser.error(f"--fail-below {options.fail_below:g} is no percentage but a ratio, 0.95")
    if options.against and options.against.resolve() == options.results_dir.resolve():
        parser.error("--against is --results-dir itself: give the folder with the records before")
    return options


if __name__ == "__main__":
    start(main)
