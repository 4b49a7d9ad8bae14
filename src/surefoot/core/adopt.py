"""What an operator says of the account that the ledger cannot know: where a difference comes from, what is gone, what
is to be the bot's. From facts and their words to the event that books it, or to why nothing can be booked.
"""

from __future__ import annotations

from decimal import Decimal

from surefoot.core.exits import plan_for
from surefoot.core.facts import Books, Facts
from surefoot.core.messages import AdoptRequested
from surefoot.core.model import ZERO, Adoption, Instrument


def adoption(
    facts: Facts, what: Adoption, subject: str, amount: Decimal | None, price: Decimal | None, at_ms: int,
    who: str, reason: str,
) -> AdoptRequested | str:  # fmt: skip
    """The event that books what the operator says, whole and with its price; else why not, in words."""
    match what:
        case Adoption.TRANSFER:
            found = _transfer(facts, subject, amount)
        case Adoption.GONE:
            found = _gone(facts, subject, price)
        case Adoption.POSITION:
            found = _position(facts, subject, amount, price)
    if isinstance(found, str):
        return found
    quantity, price = found
    return AdoptRequested(at_ms, who, reason, what, subject, quantity, price)


def said(facts: Facts, event: AdoptRequested) -> str:
    """What was booked, and what still differs after it."""
    left = _offs(facts)
    rest = f"still off: {left}" if left else "nothing that was known to differ is left"
    amount, price = _text(event.amount), _text(event.price or ZERO)
    if event.what is Adoption.TRANSFER:
        return f"{amount} {event.subject} booked as a transfer; {rest}"
    if event.what is Adoption.GONE:
        return f"{amount} of {event.subject} booked as closed by hand at {price}; {rest}"
    return f"{amount} of {event.subject} is the bot's from now on, as entered at {price}; {rest}"


def _text(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _offs(facts: Facts) -> str:
    return ", ".join(f"{subject} by {_text(off)}" for subject, off in sorted(facts.off.items()))


def _differing(facts: Facts) -> str:
    known = _offs(facts) if facts.books is Books.DIFFER else ""
    if known:
        return f"what differs is {known}"
    return "they agree" if facts.books is Books.AGREE else "they have not been compared to the end: ask again soon"


def _transfer(facts: Facts, asset: str, amount: Decimal | None) -> tuple[Decimal, Decimal | None] | str:
    off = facts.off.get(asset)
    if facts.books is not Books.DIFFER or off is None or asset in facts.instruments:
        return f"no difference of {asset} between ledger and account is known: {_differing(facts)}"
    if amount != off:
        return f"{asset} differs by {_text(off)}, and that is what can be booked: {_differing(facts)}"
    return off, None


def _gone(facts: Facts, symbol: str, price: Decimal | None) -> tuple[Decimal, Decimal | None] | str:
    position = facts.portfolio.positions.get(symbol)
    if position is None:
        return f"nothing of {symbol} is held, so that nothing of it can be gone"
    subject = symbol if position.contract else facts.instruments[symbol].base
    gone = min(-facts.off.get(subject, ZERO) * position.direction, position.quantity)
    if facts.books is not Books.DIFFER or gone <= 0:
        held = _text(position.quantity)
        return f"{symbol}: nothing is known to lack in the account of the {held} in the ledger: {_differing(facts)}"
    price = price or facts.marks.get(symbol)
    return f"{symbol}: no price is known, name one" if price is None else (gone, price)


def _position(
    facts: Facts, symbol: str, amount: Decimal | None, price: Decimal | None
) -> tuple[Decimal, Decimal | None] | str:
    """`amount` is what of the account's coins is to be the bot's; of contracts it takes all, negative when short."""
    instrument, mark = facts.instruments.get(symbol), facts.marks.get(symbol)
    if instrument is None or symbol not in facts.settings.symbols or mark is None:
        return f"{symbol} is not among market.symbols, or has no price yet"
    if facts.involves(symbol):
        return f"something of {symbol} is the bot's already, or on its way"
    quantity = facts.off.get(symbol, ZERO) if instrument.reduces_only else _coins(facts, instrument, amount)
    if isinstance(quantity, str):
        return quantity
    if not quantity or (instrument.reduces_only and facts.books is not Books.DIFFER) or amount not in (None, quantity):
        return f"{symbol}: the account has {_text(quantity)} contracts that the ledger does not know"
    price, direction = price or mark, 1 if quantity > 0 else -1
    if not instrument.can_close(abs(quantity), mark):
        return f"{symbol}: {_text(quantity)} is too little to be sold"
    plan = plan_for(price, facts.settings.exits, instrument, direction=direction)
    low, high = sorted((plan.stop_price, plan.target_price))
    if not low < mark < high:
        at = f"entered at {_text(price)} its stop and target were {low:f} and {high:f}"
        return f"{symbol}: {at}, and at {_text(mark)} it is sold"
    return quantity, price


def _coins(facts: Facts, instrument: Instrument, amount: Decimal | None) -> Decimal | str:
    if facts.books is not Books.AGREE:
        return f"ledger and account have to agree first: {_differing(facts)}"
    dust = max(facts.portfolio.dust.get(instrument.symbol, ZERO), ZERO)  # the bot's already, and sold along
    free = facts.portfolio.wallet(instrument.base) - facts.locked.get(instrument.base, ZERO) - dust
    if amount is None or not 0 < amount <= free:
        return f"name how much of the {_text(free)} {instrument.base} that are free in the account"
    return amount
