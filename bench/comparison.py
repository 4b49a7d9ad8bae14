"""Ours and the peers on the same rules and candles, run in turn, so that a change of the machine's speed hits both.

A peer's trades are compared with ours: their number, the first and the last five times of entry, final equity. Where a
peer's rules are known to differ, ours is run by its rules as well (`VARIANTS`), and only then compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.environments import NotMeasured, Process
from bench.figures import Figure
from bench.ground import COMBINATIONS, RULES, Ground, first_combinations

OURS = "surefoot"
Answer = dict[str, Any]

# What a peer's rules do that ours do not by default; ours has a setting for each, so that the work is the same.
VARIANTS: dict[tuple[str, str], dict[str, Any]] = {
    ("raptorbt", "single"): {"rearm_by_exit": True},
    ("raptorbt", "sweep"): {"rearm_by_exit": True},
}
DIFFERS = {
    "vectorbt": "a stop fills at its price; none on the candle of entry, and on others before a sale at the open",
    "raptorbt": "a stop fills at its price; with arrays no entry after a stop until an exit signal, ours so as well",
    "backtesting": "a stop fills at its price, and is measured from the close decided on",
    "nautilus_trader": "a stop fills at its price; entries at the close decided on, not at the next open",
    "freqtrade": "a stop fills at its price; the fee is on top of the 20 %, and the 7 % are after fees",
}


@dataclass(frozen=True)
class Contest:
    """A peer, what it does, and how often it does so against ours, which has `our_work` for it where that differs.

    A slow peer runs some `combinations` of a sweep instead of all.
    """

    peer: str
    rounds: int
    work: str = "single"
    our_work: str | None = None
    threads: int = 1
    combinations: int | None = None


def singles(group: str, ground: Ground, contests: Sequence[Contest]) -> list[Figure]:
    """The rules once over the candles, from columns to trades and equity."""

    def ask(process: Process, contest: Contest, variant: dict[str, Any]) -> Answer:
        work = contest.our_work if contest.our_work is not None and process.peer == OURS else contest.work
        return process.ask(work, ground.folder, RULES | variant)

    return _contests(f"{group} · {ground}", contests, ask, _single_figure)


def sweeps(group: str, ground: Ground, contests: Sequence[Contest]) -> list[Figure]:
    """Many combinations of the rules over the candles, from columns to trades and equity of each."""

    def ask(process: Process, contest: Contest, variant: dict[str, Any]) -> Answer:
        count = contest.combinations
        chosen = COMBINATIONS if count is None else first_combinations(count)
        return process.ask(contest.work, ground.folder, RULES | variant, chosen)

    return _contests(f"{group} · {ground}", contests, ask, _sweep_figure)


Ask = Callable[[Process, Contest, dict[str, Any]], Answer]


def _contests(group: str, contests: Sequence[Contest], ask: Ask, make: Callable[..., Figure]) -> list[Figure]:
    """One line for ours by itself, from the first contest; then one for each peer."""
    figures: list[Figure] = []
    for contest in contests:
        try:
            figures += _contest(group, contest, ask, make, with_ours=not figures)
        except NotMeasured as error:
            figures.append(Figure(group, contest.peer, "not measured", remark=str(error)))
    return figures


def _contest(group: str, contest: Contest, ask: Ask, make: Callable[..., Figure], *, with_ours: bool) -> list[Figure]:
    variant = VARIANTS.get((contest.peer, contest.work), {})
    figures = []
    with Process(contest.peer, threads=contest.threads) as theirs, Process(OURS, threads=contest.threads) as ours:
        their_first = ask(theirs, contest, {})
        our_first = ask(ours, contest, variant)
        agreed = agreement(our_first, their_first)
        pairs = [(ask(ours, contest, variant), ask(theirs, contest, {})) for _ in range(contest.rounds)]
        if with_ours:
            plain = [ask(ours, contest, {}) for _ in range(contest.rounds)]
            figures.append(make(group, OURS, ours.cold_s, plain, [], "", contest))
    ratios = [_seconds(b, contest) / _seconds(a, contest) for a, b in pairs]
    remark = f"{agreed}; {DIFFERS[contest.peer]}"
    figures.append(make(group, contest.peer, theirs.cold_s, [b for _, b in pairs], ratios, remark, contest))
    return figures


def _single_figure(
    group: str, who: str, cold_s: float | None, answers: Sequence[Answer], ratios: Sequence[float], remark: str,
    contest: Contest,
) -> Figure:  # fmt: skip
    last = answers[-1]
    seconds = [_seconds(answer, contest) for answer in answers]
    best = min(seconds)
    figure = f"{best / last['candles'] * 1e9:,.3g} ns a candle, {last['candles'] / best:,.0f}/s"
    outcome = f"{last['trades']:,} trades, {last['final_equity']:,.2f}"
    if last["engine_s"] is not None:
        core = min(answer["engine_s"] for answer in answers)
        outcome += f", its compiled core alone {core / last['candles'] * 1e9:.3g} ns a candle"
    return Figure(
        group, _named(who, last), figure, seconds, cold_s, ratios, _joined(outcome, remark),
        {"wall_s": [answer["seconds"] for answer in answers], **_kept(last)},
    )  # fmt: skip


def _sweep_figure(
    group: str, who: str, cold_s: float | None, answers: Sequence[Answer], ratios: Sequence[float], remark: str,
    contest: Contest,
) -> Figure:  # fmt: skip
    last = answers[-1]
    seconds = [_seconds(answer, contest) for answer in answers]
    count = len(last["equities"])
    figure = f"{count / min(seconds):,.0f} combinations/s"
    cores = "one core" if contest.threads == 1 else f"{contest.threads} cores"
    outcome = f"{count:,} combinations, {cores}, {sum(last['trades']):,} trades"
    return Figure(
        group, _named(who, last), figure, seconds, cold_s, ratios, _joined(outcome, remark),
        {"wall_s": [answer["seconds"] for answer in answers], "combinations": count, "threads": contest.threads,
         "trades": sum(last["trades"]), "versions": last["versions"], "peak_mib": last["peak_mib"]},
    )  # fmt: skip


def _seconds(answer: Answer, contest: Contest) -> float:
    """On one core the processor's time, which others on the machine lengthen little; on several the wall clock's."""
    return float(answer["cpu_s"] if contest.threads == 1 else answer["seconds"])


def agreement(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """How far two programs did the same, in words. Raises NotMeasured where they had not the same candles."""
    if ours["candles"] != theirs["candles"]:
        raise NotMeasured(f"has seen {theirs['candles']} candles, ours {ours['candles']}: not the same work")
    if "equities" in ours:
        return _sweeps_agree(ours, theirs)
    apart = abs(theirs["final_equity"] / ours["final_equity"] - 1)
    same = all(ours[key] == theirs[key] for key in ("trades", "first", "last"))
    if same:
        return f"same trades as ours, equity {apart:.1e} apart"
    ends = [a == b for key in ("first", "last") for a, b in zip(ours[key], theirs[key], strict=False)]
    some = f"{sum(ends)} of {len(ends)} first and last entries the same"
    return f"ours {ours['trades']:,} trades, {some}, equity {apart:.1e} apart"


def _sweeps_agree(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    pairs = list(zip(ours["trades"], theirs["trades"], strict=True))
    same = sum(a == b for a, b in pairs)
    apart = [abs(b / a - 1) for a, b in zip(ours["equities"], theirs["equities"], strict=True)]
    return (
        f"as many trades as ours in {same:,} of {len(pairs):,}, equity apart {median(apart):.1e} at the median,"
        f" {max(apart):.1e} at most"
    )


def _named(who: str, answer: Answer) -> str:
    return f"{who} {answer['versions'][who]}"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _kept(answer: Answer) -> dict[str, Any]:
    return {key: answer[key] for key in ("trades", "final_equity", "first", "last", "versions", "peak_mib", "candles")}
