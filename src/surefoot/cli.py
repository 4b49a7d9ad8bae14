"""The commands of `surefoot`: what they are told, which parts they put together, and what they answer.

Rules. What goes wrong is one line on stderr that says what to do, and an exit code; SUREFOOT_DEBUG=1 adds the
traceback. Answers go to stdout, `--json` makes them JSON. The parts are imported by the command that needs them, so
that help is there at once. Secrets are read from the environment, never from arguments, which every user can see.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from surefoot.commands.alerts import alerts_app
from surefoot.commands.audit import audit_app
from surefoot.commands.book import book
from surefoot.commands.breaker import breaker_app
from surefoot.commands.data import data_app
from surefoot.commands.doctor import doctor
from surefoot.commands.export import export
from surefoot.commands.guard import guard
from surefoot.commands.keys import keys_app
from surefoot.commands.operator import adopt_app, cancel_all, close, flatten, kill, live_app, pause, resume
from surefoot.commands.optimize import optimize
from surefoot.commands.options import (
    EXIT_DATA,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    AsJson,
    CommandError,
    ConfigFile,
    Gaps,
    JournalFile,
    ParentPid,
    Sets,
    ask_for_passphrase,
    begin_log,
    check_writable,
    end_with,
    gaps_of,
    keys_of,
    loaded,
    one_of,
    overrides_of,
)
from surefoot.commands.promote import promote
from surefoot.commands.settings import config_app
from surefoot.commands.strategy import strategy_app
from surefoot.commands.user import user_app
from surefoot.commands.web import web

if TYPE_CHECKING:
    from surefoot.core.view import View
    from surefoot.store.journal import Entry
    from surefoot.supervise import Ended, Job
    from surefoot.terminal import LiveScreen, PlainScreen

FOLLOW_EVERY_S = 0.5
BACKTEST_SEED = 1  # of what is drawn from a finished backtest: the same result has the same figures
JOURNAL_LINES = 100
STATUS_LINES_MAX = 40

# Options that take several values, as a shell gives them for a pattern: --candles data/*.parquet
SEVERAL = frozenset({"--candles", "--detail", "--funding", "--replay", "--set", "--kind", "--space"})

COMMANDS_WITH_HELP = frozenset(
    {
        "run",
        "trade",
        "backtest",
        "optimize",
        "status",
        "config",
        "show",
        "set",
        "unset",
        "journal",
        "data",
        "export",
        "strategy",
    }
    | {"breaker", "reset", "drill", "pause", "resume", "flatten", "close", "cancel-all", "kill"}
    | {"live", "on", "off", "promote", "adopt", "transfer", "gone", "position"}
    | {"web", "guard", "user", "add", "audit", "verify", "alerts", "doctor"}
)

EPILOG = """\b
examples:
  surefoot run                          paper trading on a simulated market, with a live view
  surefoot run --replay BTCUSDT.parquet --speed max --json
  surefoot backtest --candles data/*.parquet --strategy rsi --report report.html
  surefoot optimize --candles data/*.parquet --space rsi.period=5:30:1
  surefoot status
  surefoot pause --reason "news at 14:00"
  surefoot journal --kind OrderFilled --follow
  surefoot export --out books

\b
exit codes:
  0    as asked
  1    unexpected failure
  2    wrong use or settings
  3    port or journal in use
  4    venue not reachable, or it refuses the key
  5    candle file that cannot be used
  130  interrupted

SUREFOOT_DEBUG=1 in the environment shows the traceback of a failure.
"""


# To look for plugins of others takes as long as to load pydantic itself.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A Binance spot trading bot. Paper trading is what it does unless told otherwise.",
    epilog=EPILOG,
)
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")
app.command()(optimize)
app.add_typer(strategy_app, name="strategy")
app.add_typer(breaker_app, name="breaker")
app.add_typer(live_app, name="live")
app.add_typer(adopt_app, name="adopt")
app.add_typer(keys_app, name="keys")
app.add_typer(alerts_app, name="alerts")
app.add_typer(user_app, name="user")
app.add_typer(audit_app, name="audit")
for asking in (pause, resume, flatten, close, cancel_all, kill, promote, book, web, guard, doctor):
    app.command()(asking)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        code = app(args=_spread(words), prog_name="surefoot", standalone_mode=False)
        sys.stdout.flush()
        return code or EXIT_OK
    except KeyboardInterrupt:
        return _complain("interrupted", EXIT_INTERRUPTED)
    except (BrokenPipeError, SystemExit):
        # Whoever read us has read enough (Typer makes an exit of that); what Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_OK
    except Exception as error:
        if os.environ.get("SUREFOOT_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        return _explain(error, words)


# -- run and trade ----------------------------------------------------------------------------------------------------


@app.command()
def run(
    config: ConfigFile = None,
    sets: Sets = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Stop after 60s, 5m, 2h, 1d.")] = None,
    replay: Annotated[
        list[str] | None, typer.Option(metavar="FILE…", help="Candle files to replay, or SYMBOL=FILE.")
    ] = None,
    speed: Annotated[
        str | None, typer.Option(metavar="N|max", help="1 is real time; a replay's default is max.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="What the generated market is made from.")] = None,
    gaps: Gaps = "refuse",
    journal: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to keep the journal.")] = None,
    no_terminal: Annotated[bool, typer.Option("--no-terminal", help="Plain lines instead of the live view.")] = False,
    web: Annotated[
        bool | None, typer.Option("--web/--no-web", help="With the dashboard; default: unless speed is max.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Trade, with a live view.

    On a simulated exchange, unless the settings say otherwise. Stops cleanly
    on Ctrl-C: the trader first, with protection left resting at the venue.

    \b
    examples:
      surefoot run
      surefoot run --for 60s --seed 11 --speed 600
      surefoot run --replay data/BTCUSDT.parquet data/ETHUSDT.parquet --speed max --json
      surefoot run --set risk.risk_pct_of_equity=1 --no-terminal
      surefoot run --config testnet.toml
    """
    import asyncio

    from surefoot.outlet import unhurried
    from surefoot.supervise import LoggedScreen, Run
    from surefoot.terminal import summary_lines

    for_s = None if for_ is None else _seconds(for_)
    ask_for_passphrase(config, overrides_of(sets))
    job = _job(config, overrides_of(sets), for_s, tuple(replay or ()), speed, seed, gaps, journal, web)
    with unhurried():
        logs = begin_log(job.settings, "supervisor")
        with _screen(job.settings.mode, no_terminal=no_terminal, as_json=as_json) as screen:
            ended = asyncio.run(Run(job, LoggedScreen(screen) if logs else screen).go())
        summary = _summary(job, ended)
        print(json.dumps(summary) if as_json else "\n".join(summary_lines(summary)))
        if ended.code in (EXIT_OK, EXIT_INTERRUPTED):
            return ended.code
        return _complain(ended.why, ended.code)


@app.command()
def trade(
    config: ConfigFile = None,
    sets: Sets = None,
    rest: Annotated[str | None, typer.Option(metavar="URL", help="REST address (paper only).")] = None,
    stream: Annotated[str | None, typer.Option(metavar="URL", help="Stream address (paper only).")] = None,
    ws_api: Annotated[str | None, typer.Option(metavar="URL", help="WebSocket API address (paper only).")] = None,
    paced: Annotated[bool, typer.Option("--paced", help="Follow the exchange's own clock (paper only).")] = False,
    parent_pid: ParentPid = None,
) -> int:
    """The trader process alone.

    As `surefoot run` starts it; a container runs this. In paper mode the simulated
    exchange's demo key comes in SIMEX_API_KEY and SIMEX_API_SECRET; on testnet and
    live it is yours, in SUREFOOT_API_KEY and SUREFOOT_API_SECRET, or in the files
    that the same names with _FILE tell.

    \b
    examples:
      surefoot trade --config testnet.toml
      SIMEX_API_KEY=… SIMEX_API_SECRET=… surefoot trade --rest http://127.0.0.1:9443
    """
    from dataclasses import replace

    from surefoot.config import Mode, venue_for
    from surefoot.control import CONTROL_KEY, control_key
    from surefoot.live import run_trader
    from surefoot.outlet import unhurried

    settings = loaded(config, overrides_of(sets)).settings
    if settings.mode is not Mode.PAPER and (stream or ws_api or paced):
        raise CommandError(f"mode = {settings.mode}: --stream, --ws-api and --paced are for mode = paper only")
    if settings.mode is Mode.PAPER and rest is None:
        raise CommandError(
            "mode = paper: give the exchange's address with --rest, or use surefoot run, which starts one"
        )
    venue = venue_for(settings.mode, rest, settings.market.venue)
    venue = replace(
        venue, streams=_socket_address(stream or venue.streams), ws_api=_socket_address(ws_api or venue.ws_api)
    )
    keys, signed_with = keys_of(settings, os.environ), control_key(os.environ)
    with unhurried():
        begin_log(settings, "trader")
        os.environ.pop(CONTROL_KEY, None)
        if parent_pid is not None:
            end_with(parent_pid)
        return run_trader(settings, venue, keys, paced=paced, say=_say, control_key=signed_with)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def exchange(context: typer.Context) -> None:
    """The simulated exchange alone.

    All options are its own.

    \b
    examples:
      surefoot exchange --help
      surefoot exchange --seed 7 --port 9443
      surefoot exchange --faults plan.toml --admin-port 0
      surefoot exchange --scenario flash-crash --speed 60
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "simex", *context.args])


# -- backtest ---------------------------------------------------------------------------------------------------------


@app.command()
def backtest(
    candles: Annotated[list[str], typer.Option(metavar="FILE…", help="Parquet or Binance CSV, or SYMBOL=FILE.")],
    detail: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE…", help="Finer candles: they decide what happens inside the others."),
    ] = None,
    funding: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE…", help="Funding rates that were settled, for futures: Binance's, or SYMBOL=FILE."),
    ] = None,
    funding_gaps: Annotated[
        str, typer.Option(metavar="skip|constant", help="A settlement that no file has: none, or futures.funding_bps.")
    ] = "skip",
    strategy: Annotated[str | None, typer.Option(help="The strategy to test, by name or file.")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML report.")] = None,
    engine: Annotated[
        str, typer.Option(metavar="exact|fast|both", help="exact judges; fast is a compiled loop that must agree.")
    ] = "exact",
    band: Annotated[
        bool | None, typer.Option("--band/--no-band", help="Run twice, for what the path in a candle changes.")
    ] = None,
    gaps: Gaps = "refuse",
    as_json: AsJson = False,
) -> int:
    """Trade the past.

    The same engine on candle files, in virtual time. `--engine fast` is a compiled loop that makes the same round
    trips; `--engine both` runs the two and compares them (exit code 1 when they differ). A report has the band between
    the worst and the best path inside the candles, unless --no-band says otherwise.

    \b
    examples:
      surefoot backtest --candles data/BTCUSDT-15m.parquet --strategy rsi
      surefoot backtest --candles data/*.parquet --report report.html
      surefoot backtest --candles data/*-15m.parquet --detail data/*-1m.parquet
      surefoot backtest --candles data/*-1m.parquet --engine fast
      surefoot backtest --candles BTCUSDT-1h.csv --funding BTCUSDT-fundingRate-*.zip --set market.venue=futures
      surefoot backtest --candles BTCUSDT=prices.csv --set exits.stop_pct_of_price=1.5 --json
    """
    from surefoot.commands.engines import Runs
    from surefoot.terminal import backtest_lines

    overrides = overrides_of(sets) | {"mode": "backtest"} | ({} if strategy is None else {"strategy.name": strategy})
    settings = loaded(config, overrides).settings
    check_writable("--report", report)

    rates = None
    if funding:
        from surefoot.research.funding import load_funding

        rates = load_funding(funding, one_of("--funding-gaps", funding_gaps, "skip", "constant"))
    run = Runs(engine, candles, detail or (), gaps_of(gaps), rates)
    result = run(settings, with_band=report is not None if band is None else band, with_curve=as_json or bool(report))
    if report is not None or as_json:
        from surefoot.research.statistics import alternatives

        earned = [float(trip["pnl"]) for trip in result["round_trips"]]
        result["monte_carlo"] = alternatives(earned, float(result["initial_equity"]), BACKTEST_SEED)
    if report is not None:
        from surefoot.research.data import load_candles
        from surefoot.research.report import write_report

        loaded_files = (load_candles(file, gaps=gaps_of(gaps)) for file in candles)
        write_report(report, result, {file.symbol: file.columns for file in loaded_files})
    print(json.dumps(result) if as_json else "\n".join(backtest_lines(result, report)))
    return EXIT_OK


# -- status, journal ------------------------------------------------------------------------------------------


@app.command()
def status(config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """What the trader holds and does now.

    When it is not running: what its journal says.

    \b
    examples:
      surefoot status
      surefoot status --json
      surefoot status --journal var/surefoot.sqlite
    """
    from surefoot.chronicle import journal_path, view_from_journal
    from surefoot.control import encode_view, read_view, socket_path

    settings = loaded(config, {}).settings
    path = journal_path(journal, settings)
    view, running = read_view(socket_path(path)), True
    if view is None:
        view, running = view_from_journal(path, settings), False
    if as_json:
        answer = {"running": running, "journal": str(path), "view": json.loads(encode_view(view))}
        print(json.dumps(answer))
        return EXIT_OK
    if not running:
        print(f"The trader is not running. This is how {path} left it:")
    _print_view(view, settings.mode)
    return EXIT_OK


@app.command()
def journal(
    config: ConfigFile = None,
    journal: JournalFile = None,
    run: Annotated[str | None, typer.Option(metavar="NAME", help="Only this run; `last` is the newest.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND…", help="Only these kinds, such as OrderFilled.")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Only what is about this symbol.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="After this record number, or from this UTC time on.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0 is all.")] = JOURNAL_LINES,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is written from now on.")] = False,
    as_json: AsJson = False,
) -> int:
    """What happened and what was done.

    Oldest first; a record is an event or a command.

    \b
    examples:
      surefoot journal
      surefoot journal --kind OrderFilled RecordDecision --symbol BTCUSDT
      surefoot journal --run last --since 2025-06-01T12:00 --limit 0 --json
      surefoot journal --follow
    """
    from surefoot.chronicle import chooser, entry_json, entry_line, journal_path
    from surefoot.store.journal import JournalReader

    path = journal_path(journal, loaded(config, {}).settings)
    say = entry_json if as_json else entry_line
    with JournalReader(path) as reader:
        choose, seen_seq = chooser(reader, run, kind, symbol, since), reader.last_seq
        entries: Iterable[Entry] = choose(0)
        entries = deque(entries, maxlen=limit) if limit else entries
        seen_seq = _print_entries(entries, say, seen_seq)
        while follow:
            time.sleep(FOLLOW_EVERY_S)
            seen_seq = _print_entries(choose(seen_seq), say, seen_seq)
    return EXIT_OK


app.command()(export)


# -- what commands are told -------------------------------------------------------------------------------------------


def _spread(words: Sequence[str]) -> list[str]:
    """`--candles a b` as `--candles a --candles b`; the exchange reads its own words."""
    if words[0] == "exchange":
        return list(words)
    spread: list[str] = []
    several, is_first = "", False
    for word in words:
        if word.startswith("-"):
            several, is_first = (word if word in SEVERAL else ""), True
            spread.append(word)
        else:
            spread += [several, word] if several and not is_first else [word]
            is_first = False
    return spread


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit.isdigit():
        number, unit = text, "s"
    with suppress(ValueError, KeyError):
        seconds = float(number) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[unit]
        if 0 < seconds < float("inf"):
            return seconds
    raise CommandError(f"--for {text}: not a time; give one like 60s, 5m, 2h or 1d")


def _socket_address(url: str) -> str:
    if not url.startswith(("ws://", "wss://")):
        raise CommandError(f"{url}: not an address of a stream; it starts with ws://")
    return url


def _job(
    config: Path | None,
    overrides: dict[str, str],
    for_s: float | None,
    replay: tuple[str, ...],
    speed: str | None,
    seed: int | None,
    gaps: str,
    journal: Path | None,
    web: bool | None,
) -> Job:
    from surefoot.chronicle import fresh_journal, unused_journal
    from surefoot.config import Mode
    from surefoot.supervise import Job

    market = {"--replay": bool(replay), "--speed": speed is not None, "--seed": seed is not None}
    if seed is not None:
        overrides["paper.seed"] = str(seed)
    if speed is not None or replay:
        overrides["paper.speed"] = speed or "max"
    if replay:
        # Between two candles a file says nothing: that is no silent stream.
        overrides.setdefault("breaker.stale_data_max_s", "0")
    settings = loaded(config, overrides).settings
    if settings.mode is Mode.PAPER and settings.paper.market == "files" and not replay:
        replay = settings.paper.files
        overrides.setdefault("breaker.stale_data_max_s", "0")
    if settings.mode is Mode.PAPER and settings.paper.market == "relay" and not replay and speed not in (None, "1"):
        raise CommandError(f'--speed {speed}: paper.market = "relay" follows the real market, at speed 1')
    if settings.mode is Mode.BACKTEST:
        raise CommandError("mode = backtest: run trades in real time; use surefoot backtest")
    if settings.mode is not Mode.PAPER and any(market.values()):
        given = ", ".join(name for name, is_given in market.items() if is_given)
        raise CommandError(f"mode = {settings.mode}: {given} are about the simulated market of mode = paper")
    if settings.mode is Mode.PAPER:
        folder = settings.store.journal_path.parent
        journal = fresh_journal(folder, time.time()) if journal is None else unused_journal(journal)
    if journal is not None:
        overrides["store.journal_path"] = str(journal)
    in_force = loaded(config, overrides)
    job = Job(
        settings=in_force.settings,
        options=_as_options(config, overrides),
        symbols_are_default=in_force.sources["market.symbols"] == "default",
        env=dict(os.environ),
        replay=replay,
        gaps=gaps_of(gaps),
        for_s=for_s,
        # A replay as fast as it goes is over before anybody could sign in.
        web=in_force.settings.paper.speed != "max" if web is None else web,
        web_port_is_default=in_force.sources["web.port"] == "default",
    )
    if replay and not job.is_paced:
        raise CommandError("--speed 1: a replay does not run on the wall clock; give --speed max or a number above 1")
    return job


def _as_options(config: Path | None, overrides: Mapping[str, str]) -> tuple[str, ...]:
    file = () if config is None else ("--config", str(config))
    return file + tuple(word for key, value in overrides.items() for word in ("--set", f"{key}={value}"))


# -- what commands answer ---------------------------------------------------------------------------------------------


def _print_entries(entries: Iterable[Entry], say: Callable[[Entry], str], last_seq: int) -> int:
    for entry in entries:
        print(say(entry))
        last_seq = max(last_seq, entry.seq)
    sys.stdout.flush()
    return last_seq


def _screen(mode: str, *, no_terminal: bool, as_json: bool) -> LiveScreen | PlainScreen:
    from surefoot.terminal import LiveScreen, PlainScreen

    if as_json:
        return PlainScreen(lambda line: print(line, file=sys.stderr, flush=True))
    if no_terminal or not sys.stdout.isatty():
        return PlainScreen(lambda line: print(line, flush=True))
    return LiveScreen(mode)


def _summary(job: Job, ended: Ended) -> dict[str, Any]:
    from surefoot.chronicle import builtins_of, folded
    from surefoot.store.journal import StoreError

    path, view = job.settings.store.journal_path, ended.last_view
    trips: list[Any] = []
    positions: list[str] = []
    orders = 0
    with suppress(StoreError):  # a trader that never began has written none
        left = folded(path, job.settings)
        trips = [builtins_of(trip) for trip in left.engine.portfolio.round_trips]
        positions, orders = sorted(left.engine.portfolio.positions), left.orders
    milestones = {name.replace(" ", "_") + "_s": round(s, 3) for name, s in ended.milestones_s.items()}
    unreached = dict.fromkeys(("trader_up_s", "first_price_s", "first_order_s", "first_fill_s"))
    return {
        "mode": str(job.settings.mode),
        "ended": ended.why,
        "seconds": round(ended.seconds, 3),
        "final_equity": None if view is None or view.equity is None else f"{view.equity:f}",
        "round_trips": trips,
        "open_positions": positions,
        "orders": orders,
        "restarts": ended.restarts,
        "journal": str(path),
        **unreached,
        **milestones,
    }


def _print_view(view: View, mode: str) -> None:
    from rich.console import Console

    from surefoot.terminal import Surroundings, picture

    console = Console(soft_wrap=False)
    console.print(picture(view, Surroundings(mode), console.width, STATUS_LINES_MAX))


# -- what goes wrong --------------------------------------------------------------------------------------------------


def _complain(text: str, code: int) -> int:
    _say(text)
    return code


def _say(text: str) -> None:
    print("\n".join(f"surefoot: {line}" for line in text.splitlines()), file=sys.stderr, flush=True)


def _explain(error: Exception, words: Sequence[str]) -> int:
    """One line for an error of a kind that we know, and its exit code."""
    # Imported here: until something goes wrong, most commands need only some of these.
    from surefoot.chronicle import AskError
    from surefoot.config import ConfigError
    from surefoot.control import ControlError
    from surefoot.keystore import KeyStoreError
    from surefoot.research.data import DataError, EvaluationError
    from surefoot.store.journal import StoreError
    from surefoot.supervise import StartError

    match error:
        case CommandError() | StartError():
            return _complain(str(error), error.code)
        case typer.TyperException():
            return _complain(f"{_usage_text(error)}; see surefoot {_command_of(words)}--help", EXIT_USAGE)
        case ConfigError() | StoreError() | AskError() | KeyStoreError():
            return _complain(str(error), EXIT_USAGE)
        case DataError():
            return _complain(str(error), EXIT_DATA)
        case ControlError() | EvaluationError():
            return _complain(str(error), EXIT_FAILED)
        case _:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            return _complain(f"unexpected failure: {what}; SUREFOOT_DEBUG=1 shows where, please report it", EXIT_FAILED)


def _usage_text(error: typer.TyperException) -> str:
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return " ".join(str(text).split()).rstrip(".")


def _command_of(words: Sequence[str]) -> str:
    names = [word for word in words[:2] if word in COMMANDS_WITH_HELP]
    return "".join(f"{name} " for name in names)
