"""What has to be so before the first entry: one-way mode, margin type and leverage, set where needed and read back.

In the order in which the venue allows it: the position mode first, then the margin type, then the leverage; what was
set counts only when the venue says, asked again, that it is so. Setting the same twice changes nothing, so all of this
may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from surefoot.binance import codec as shared
from surefoot.binance.codec import RateLimit, VenueError
from surefoot.binance.dialect import Ask, Rules
from surefoot.binance.dialogue import SessionFailed
from surefoot.binance.futures import codec
from surefoot.core.model import Bracket, FeeRates, Instrument

EXCHANGE_INFO = "/fapi/v1/exchangeInfo"
BRACKETS = "/fapi/v1/leverageBracket"
FEES = "/fapi/v1/commissionRate"
POSITION_MODE = "/fapi/v1/positionSide/dual"
CONFIG = "/fapi/v1/symbolConfig"
MARGIN_TYPE = "/fapi/v1/marginType"
LEVERAGE = "/fapi/v1/leverage"

NO_SYMBOL = -1121
NO_NEED = {MARGIN_TYPE: -4046, POSITION_MODE: -4059}
ADVICE = {
    -4047: "close the open orders of this symbol, or choose the margin type that the account has",
    -4048: "close the position, or choose the margin type that the account has",
    -4028: "choose a leverage that the symbol allows: futures.leverage",
    -4161: "close the position, or choose a leverage that is not lower: futures.leverage",
    -4067: "the account is in hedge mode and has open orders: cancel them and switch to one-way mode",
    -4068: "the account is in hedge mode and has positions: close them and switch to one-way mode",
}


@dataclass(frozen=True, slots=True)
class MarginWishes:
    """How the account is to hold positions: `margin_type` is CROSSED or ISOLATED."""

    leverage: int
    margin_type: str


class FuturesPreparation:
    """Rules, fees and brackets of every symbol; then the account as it is wished. See the module's rules."""

    def __init__(
        self, symbols: Sequence[str], held: Sequence[str], wishes: MarginWishes, *, holds: bool = False
    ) -> None:
        """Where something is held (`holds`), how a symbol is held stays as it is where the venue lets nobody change it:
        the readings of the account tell so, and nothing of it is bought."""
        self._holds = holds
        self._gone: set[str] = set()  # symbols that the venue does not know any more
        self._symbols, self._all, self._wishes = symbols, (*symbols, *held), wishes
        self._instruments: tuple[Instrument, ...] | None = None
        self._brackets: dict[str, tuple[Bracket, ...]] | None = None
        self._fees: dict[str, FeeRates] = {}
        self._limits: tuple[RateLimit, ...] = ()
        self._to_set: list[Ask] = []
        self._set_mode = self._set_margin = self._verified = False

    def begin(self) -> Sequence[Ask]:
        fees = (Ask("GET", FEES, [("symbol", symbol)], 20) for symbol in self._all)
        mode = Ask("GET", POSITION_MODE, [], 30)
        return Ask("GET", EXCHANGE_INFO, [], 1, signed=False), Ask("GET", BRACKETS, []), *fees, mode

    def take(self, ask: Ask, body: bytes) -> Sequence[Ask]:
        match ask.path:
            case "/fapi/v1/exchangeInfo":
                wanted = set(self._all)
                self._instruments = tuple(each for each in codec.read_instruments(body) if each.symbol in wanted)
                self._limits = shared.read_rate_limits(body)
                self._check_symbols(self._instruments)
                return ()
            case "/fapi/v1/leverageBracket":
                self._brackets = codec.read_brackets(body)
                return ()
            case "/fapi/v1/commissionRate" if not body:
                self._gone.add(dict(ask.params)["symbol"])
                return ()
            case "/fapi/v1/commissionRate":
                symbol, rates = codec.read_fee_rates(body)
                self._fees[symbol] = rates
                return ()
            case "/fapi/v1/positionSide/dual":
                return self._on_mode(ask, body)
            case "/fapi/v1/symbolConfig":
                return self._on_config(codec.read_symbol_configs(body))
            case _:
                return self._next_to_set()

    def is_fine(self, ask: Ask, error: VenueError) -> bool:
        if error.code == NO_NEED.get(ask.path):
            return True
        if self._holds and (ask.path in (MARGIN_TYPE, LEVERAGE) or (ask.path == FEES and error.code == NO_SYMBOL)):
            return True
        if error.code in ADVICE:
            symbol = dict(ask.params).get("symbol", "")
            raise SessionFailed(f"{symbol} {ADVICE[error.code]} ({error.code} {error.text})".strip())
        return False

    def rules(self) -> Rules | None:
        if self._instruments is None or self._brackets is None or len(self._fees) + len(self._gone) < len(self._all):
            return None
        if not self._verified:
            return None
        brackets = self._brackets
        known = tuple(replace(each, brackets=brackets.get(each.symbol, ())) for each in self._instruments)
        return Rules(known, self._fees, self._limits)

    def _check_symbols(self, instruments: Sequence[Instrument]) -> None:
        missing = sorted(set(self._symbols) - {each.symbol for each in instruments})
        if missing and not self._holds:
            raise SessionFailed(f"no perpetual contract {', '.join(missing)}: check market.symbols")

    def _on_mode(self, ask: Ask, body: bytes) -> Sequence[Ask]:
        if ask.method == "POST":
            return (Ask("GET", POSITION_MODE, [], 30),)
        if not codec.read_is_hedged(body):
            return (Ask("GET", CONFIG, [], 5),)
        if self._set_mode:
            raise SessionFailed("the account stays in hedge mode: switch it to one-way mode at the venue")
        self._set_mode = True
        return (Ask("POST", POSITION_MODE, [("dualSidePosition", "false")]),)

    def _on_config(self, configs: dict[str, tuple[str, int]]) -> Sequence[Ask]:
        missing = [symbol for symbol in self._symbols if symbol not in configs]
        if missing and not self._holds:
            raise SessionFailed(f"the venue names no leverage of {', '.join(missing)}")
        self._to_set = [
            ask for symbol in self._symbols if symbol in configs for ask in self._settings(symbol, *configs[symbol])
        ]
        if self._holds and self._set_margin:
            self._to_set = []
        if self._to_set and self._set_margin:
            ask = self._to_set[0]
            raise SessionFailed(f"the venue took {ask.path} {dict(ask.params)}, and says it is not so")
        self._verified, self._set_margin = not self._to_set, True
        return self._next_to_set() if self._to_set else ()

    def _settings(self, symbol: str, margin_type: str, leverage: int) -> list[Ask]:
        wishes = self._wishes
        asks = []
        if margin_type != wishes.margin_type:
            asks.append(Ask("POST", MARGIN_TYPE, [("symbol", symbol), ("marginType", wishes.margin_type)]))
        if leverage != wishes.leverage:
            asks.append(Ask("POST", LEVERAGE, [("symbol", symbol), ("leverage", str(wishes.leverage))]))
        return asks

    def _next_to_set(self) -> Sequence[Ask]:
        """One after the other; when all are set, they are read back."""
        return (self._to_set.pop(0),) if self._to_set else (Ask("GET", CONFIG, [], 5),)
