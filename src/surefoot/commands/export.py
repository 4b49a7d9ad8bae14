"""`surefoot export`: the books of a journal as files for a spreadsheet, a notebook or a tax adviser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from surefoot.commands.options import EXIT_OK, AsJson, CommandError, ConfigFile, JournalFile, loaded, one_of

if TYPE_CHECKING:
    from surefoot.research.export import What
    from surefoot.research.tax_lots import Method

WHATS = ("fills", "round-trips", "ledger", "equity", "tax-lots", "all")
FORMATS = ("csv", "parquet")
METHODS = ("fifo", "lifo", "hifo")


def export(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the files go; made if it is not there.")],
    what: Annotated[str, typer.Option(metavar="|".join(WHATS), help="Which tables.")] = "all",
    format: Annotated[str, typer.Option(metavar="|".join(FORMATS), help="What kind of files.")] = "csv",
    method: Annotated[
        str | None, typer.Option(metavar="|".join(METHODS), help="Which lots a sale uses up first; default: fifo.")
    ] = None,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Write the books of a journal to files.

    Fills, round trips, ledger postings, equity, and tax lots with what each
    disposal gained. Money is text with all its digits. Files of the same name
    are replaced.

    \b
    examples:
      surefoot export --out books
      surefoot export --what fills --format parquet --out books
      surefoot export --what tax-lots --method hifo --out taxes --journal var/surefoot.sqlite
    """
    one_of("--what", what, *WHATS)
    one_of("--format", format, *FORMATS)
    if method is not None:
        one_of("--method", method, *METHODS)
        if what not in ("tax-lots", "all"):
            raise CommandError(f"--method {method}: it is about tax lots; give --what tax-lots")

    from surefoot.chronicle import journal_path
    from surefoot.research.export import Format, What, books_of
    from surefoot.research.tax_lots import Method

    settings = loaded(config, {}).settings
    path = journal_path(journal, settings)
    books = books_of(path, settings)
    try:
        answer = _write(books, What(what), Format(format), Method(method or "fifo"), out)
    except OSError as problem:
        raise CommandError(f"--out {out}: cannot be written: {problem.strerror}") from problem
    print(json.dumps({"journal": str(path), **answer}) if as_json else "\n".join(_lines(answer)))
    return EXIT_OK


def _write(books: Any, what: What, format: Any, method: Method, out: Path) -> dict[str, Any]:
    from surefoot.research.export import What, tables_of, tax_report, write_table

    report = tax_report(books, method) if what in (What.TAX_LOTS, What.ALL) else None
    out.mkdir(parents=True, exist_ok=True)
    files = [
        {"table": table.name, "file": str(write_table(table, out, format)), "rows": len(table.rows)}
        for table in tables_of(books, what, report)
    ]
    return {"files": files, "tax_lots": None if report is None else report.as_dict()}


def _lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{file['file']}: {file['rows']} rows" for file in answer["files"]]
    tax = answer["tax_lots"]
    if tax is None:
        return lines
    lines.append(f"tax lots, {tax['method']}: realised gain {tax['realised_gain']} over {tax['disposals']} disposals")
    lines.append(f"{tax['lots']} lots remain, which cost {tax['remaining_cost']}")
    if tax["cost_unknown"]:
        lines.append(f"{tax['cost_unknown']} disposals have no gain: their cost or their value is not known")
    if tax["fees_left_out"]:
        left_out = ", ".join(f"{fee} {asset}" for asset, fee in tax["fees_left_out"].items())
        lines.append(f"fees left out, since no price of their asset was known: {left_out}")
    return lines
