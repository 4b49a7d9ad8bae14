"""How an account trades: leverage, margin type, position mode, multi-assets mode, the margin of isolated positions."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Final

from simex.futures.accounts import STEP, Account, Position
from simex.orders import ZERO
from simex.refusal import Refusal

if TYPE_CHECKING:
    from simex.futures.engine import Engine

ADD: Final = 1


def set_leverage(engine: Engine, account: Account, symbol: str, leverage: int, now_ms: int) -> None:
    spec, setup = engine.books[symbol].spec, account.setup(symbol)
    if not 1 <= leverage <= spec.largest_leverage:
        raise Refusal(-4028, f"Leverage {leverage} is not valid")
    held = list(account.held(symbol))
    if setup.is_isolated and held and leverage < setup.leverage:
        raise Refusal(-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions.")
    notional = max((abs(engine.margins.notional(position)) for position in held), default=ZERO)
    if notional > spec.largest_notional(leverage):
        raise Refusal(-2027, "Exceeded the maximum allowable position at current leverage.")
    before, setup.leverage = setup.leverage, leverage
    balance = engine.margins.cross_balance(account, spec.margin_asset)
    if leverage < before and engine.margins.bound(account, spec.margin_asset) > balance:
        setup.leverage = before
        raise Refusal(-2028, "Leverage is smaller than permitted: insufficient margin balance.")
    engine.lifecycle.stir(account)
    engine.outlet.leverage(account, symbol, leverage, now_ms)


def set_margin_type(engine: Engine, account: Account, symbol: str, kind: str) -> None:
    isolated = kind == "ISOLATED"
    if account.setup(symbol).is_isolated == isolated:
        raise Refusal(-4046, "No need to change margin type.")
    if isolated and account.is_multi_asset:
        raise Refusal(-4168, "Unable to adjust to isolated-margin mode under the Multi-Assets mode.")
    if account.open_on(symbol) or account.algos_on(symbol):
        raise Refusal(-4047, "Margin type cannot be changed if there exists open orders.")
    if any(account.held(symbol)):
        raise Refusal(-4048, "Margin type cannot be changed if there exists position.")
    account.setup(symbol).is_isolated = isolated


def set_dual(account: Account, is_dual: bool) -> None:
    if account.is_dual == is_dual:
        raise Refusal(-4059, "No need to change position side.")
    if account.open or account.open_algos:
        raise Refusal(-4067, "Position side cannot be changed if there exists open orders.")
    if any(account.held()):
        raise Refusal(-4068, "Position side cannot be changed if there exists position.")
    account.is_dual = is_dual


def set_multi_asset(engine: Engine, account: Account, is_multi_asset: bool, now_ms: int) -> None:
    if account.is_multi_asset == is_multi_asset:
        raise Refusal(-4171, "No need to change the margin mode.")
    if is_multi_asset and any(account.setup(symbol).is_isolated for symbol in engine.books):
        raise Refusal(-4167, "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M under isolated-margin mode.")
    if account.open or account.open_algos:
        raise Refusal(-4169, "Unable to adjust Multi-Assets Mode with open orders.")
    if any(account.held()):
        raise Refusal(-4170, "Unable to adjust Multi-Assets Mode with positions.")
    account.is_multi_asset = is_multi_asset
    engine.lifecycle.stir(account)
    engine.outlet.multi_asset(account, now_ms)


def move_margin(engine: Engine, account: Account, position: Position, amount: Decimal, kind: int, now_ms: int) -> None:
    """Add to (1) or take from (2) an isolated position's own wallet."""
    if not account.is_isolated(position):
        raise Refusal(-4050, "Add margin only support for isolated position.")
    if not position.amount:
        raise Refusal(-4054, "Cannot add position margin: position is 0.")
    margins, asset = engine.margins, engine.books[position.symbol].spec.margin_asset
    if kind == ADD and amount > margins.available(account, asset):
        raise Refusal(-4051, "Isolated balance insufficient.")
    if kind != ADD:
        needed = margins.initial(account, position).quantize(STEP, ROUND_UP)
        if amount > margins.isolated_balance(position) - needed or amount > position.isolated:
            raise Refusal(-4051, "Isolated balance insufficient.")
    change = amount if kind == ADD else -amount
    position.isolated += change
    position.updated_ms = now_ms
    account.margin_changes.append((position.symbol, position.side, change, now_ms))
    engine.lifecycle.stir(account)
    engine.outlet.account(account, "MARGIN_TRANSFER", {asset: -change}, [position], now_ms)
