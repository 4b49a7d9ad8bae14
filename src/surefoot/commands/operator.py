"""`surefoot pause`, `resume`, `flatten`, `close`, `cancel-all`, `kill`, `live`, `adopt`: what an operator asks of the
running trader."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.commands.options import EXIT_FAILED, EXIT_OK, AsJson, CommandError, ConfigFile, JournalFile, loaded

if TYPE_CHECKING:
    from surefoot.control import Wish

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the journal with your user name.")]


def pause(reason: Reason, config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """No entries until surefoot resume.

    Exits and resting protection go on. A restart does not end a pause.

    \b
    examples:
      surefoot pause --reason "news at 14:00"
    """
    return ask("pause", reason, config, journal, as_json)


def resume(reason: Reason, config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """Entries again, after a pause.

    It does not end a trip of the breaker: surefoot breaker reset does.

    \b
    examples:
      surefoot resume --reason "news are out"
    """
    return ask("resume", reason, config, journal, as_json)


def flatten(
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, sell it all.")] = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Sell everything that the bot holds, at the market.

    Entries on their way are canceled. Entries go on afterwards: to keep them
    off, pause first.

    \b
    examples:
      surefoot pause --reason "leaving" && surefoot flatten --reason "leaving" --yes
    """
    if not yes:
        raise CommandError("flatten sells everything that the bot holds, at the market: add --yes to do it")
    return ask("flatten", reason, config, journal, as_json)


def close(
    symbol: Annotated[str, typer.Argument(help="The symbol to leave.")],
    reason: Reason,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Sell what is held of one symbol, at the market.

    An entry of it on its way is canceled. Other symbols go on, and later
    entries of this one too.

    \b
    examples:
      surefoot close BTCUSDT --reason "enough of it"
    """
    return ask("close", reason, config, journal, as_json, symbol.upper())


def cancel_all(reason: Reason, config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """Cancel all entries that have not filled.

    Stops and targets stay: what is held remains protected, what an entry has
    bought so far is protected too. Later entries go on: to keep them off,
    pause first.

    \b
    examples:
      surefoot cancel-all --reason "spreads are odd"
    """
    return ask("cancel-all", reason, config, journal, as_json)


def kill(
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, sell it all and stop.")] = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Kill switch: sell everything, and no entries until surefoot resume.

    Pause and flatten in one. A restart does not end it.

    \b
    examples:
      surefoot kill --reason "something is wrong" --yes
    """
    if not yes:
        raise CommandError("kill sells everything that the bot holds, at the market, and stops entries: add --yes")
    return ask("kill", reason, config, journal, as_json)


live_app = typer.Typer(rich_markup_mode=None, help="Entries with real money: on and off. A live run begins with off.")


@live_app.command("on")
def live_on(
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, trade real money.")] = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Open positions with real money from now on.

    A run with mode = "live" begins with this off: it reads the account, decides
    on every candle and says what it refuses, and buys nothing. Look at that
    first. What is switched stays over a restart.

    \b
    examples:
      surefoot live on --reason "books agree, limits checked" --yes
    """
    if not yes:
        raise CommandError("live on lets the bot open positions with real money: add --yes to do it")
    return ask("live-on", reason, config, journal, as_json)


@live_app.command("off")
def live_off(reason: Reason, config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """No entries with real money until surefoot live on.

    Exits and resting protection go on. A restart does not switch it on again.

    \b
    examples:
      surefoot live off --reason "away for a week"
    """
    return ask("live-off", reason, config, journal, as_json)


adopt_app = typer.Typer(
    rich_markup_mode=None, help="Tell the books what the account went through without the bot: each says what it books."
)
Price = Annotated[
    str | None, typer.Option(metavar="PRICE", help="What it was closed or bought at; else the last price.")
]
NEGATIVE = {"ignore_unknown_options": True}  # an amount may begin with a minus


@adopt_app.command("transfer", context_settings=NEGATIVE)
def adopt_transfer(
    asset: Annotated[str, typer.Argument(help="The asset that differs.")],
    amount: Annotated[str, typer.Argument(help="By how much the account has more; negative when it has less.")],
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, book it.")] = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Book a difference as money that came or went without a trade.

    For a deposit, a withdrawal, interest or a fee that nobody told the bot of.
    The alarm books-differ names the amount; another one is refused. Then
    surefoot breaker reset lets entries on again.

    \b
    examples:
      surefoot adopt transfer USDT 0.01 --reason "interest, told while restarting" --yes
      surefoot adopt transfer BTC -0.5 --reason "moved to the cold wallet" --yes
    """
    if not yes:
        raise CommandError("adopt transfer books a difference as neither profit nor loss: add --yes to do it")
    return _adopt("transfer", asset, amount, None, reason, config, journal, as_json)


@adopt_app.command("gone")
def adopt_gone(
    symbol: Annotated[str, typer.Argument(help="The symbol of the position.")],
    reason: Reason,
    price: Price = None,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, book it.")] = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Take a position out of the books that you closed by hand.

    What the account lacks of it is booked as closed at the price. The bot's
    orders of the symbol are canceled; what is left of it gets a new stop. Fees
    and another price leave a difference of the quote asset, which is named:
    book it with surefoot adopt transfer.

    \b
    examples:
      surefoot adopt gone BTCUSDT --price 59950.5 --reason "sold it on the site" --yes
    """
    if not yes:
        raise CommandError("adopt gone takes a position out of the books and cancels its stop: add --yes to do it")
    return _adopt("gone", symbol, None, price, reason, config, journal, as_json)


@adopt_app.command("position", context_settings=NEGATIVE)
def adopt_position(
    symbol: Annotated[str, typer.Argument(help="One of market.symbols of which the bot holds nothing.")],
    reason: Reason,
    quantity: Annotated[str | None, typer.Argument(help="How much; of futures all that is there.")] = None,
    price: Price = None,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, let the bot have it.")] = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Let the bot have a position that you opened by hand.

    It gets a stop and a target at once, measured from the price, and ends by
    the bot's exit rules like any other. Limits for entries are not asked.

    \b
    examples:
      surefoot adopt position BTCUSDT 0.05 --reason "bought by hand, guard it" --yes
    """
    if not yes:
        raise CommandError("adopt position lets the bot sell what you bought, by its rules: add --yes to do it")
    return _adopt("position", symbol, quantity, price, reason, config, journal, as_json)


def _adopt(
    what: str, subject: str, amount: str | None, price: str | None, reason: str,
    config: Path | None, journal: Path | None, as_json: bool,
) -> int:  # fmt: skip
    from surefoot.control import Wish

    wish = Wish(f"adopt-{what}", reason.strip(), subject.upper(), amount=_number(amount), price=_number(price))
    return _send(wish, config, journal, as_json)


def _number(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        raise CommandError(f"{text!r} is no number") from None


def ask(kind: str, reason: str, config: Path | None, journal: Path | None, as_json: bool, symbol: str = "") -> int:
    """Ask the running trader and say what it answers; the exit code. Raises ControlError when none is running."""
    from surefoot.control import Wish

    return _send(Wish(kind, reason.strip(), symbol), config, journal, as_json)


def _send(wish: Wish, config: Path | None, journal: Path | None, as_json: bool) -> int:
    from surefoot.chronicle import journal_path
    from surefoot.control import ask_trader, refusal_of, socket_path

    refusal = refusal_of(wish)
    if refusal is not None:
        raise CommandError(f"--reason: {refusal}" if "reason" in refusal else refusal)
    path = journal_path(journal, loaded(config, {}).settings)
    answer = ask_trader(socket_path(path), wish)
    print(json.dumps({"taken": answer.taken, "text": answer.text}) if as_json else answer.text)
    return EXIT_OK if answer.taken else EXIT_FAILED
