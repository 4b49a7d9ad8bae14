"""The audit trail: that everything is in it, and that nothing in it can be changed unseen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyotp
import pysqlite3.dbapi2 as sqlite
import pytest
from fastapi.routing import APIRoute

from surefoot.api.anchors import Anchors, check_all
from surefoot.api.audit import Trail
from surefoot.api.onetime import LINK_MS, fingerprint
from surefoot.api.parts import Parts
from surefoot.api.problems import Problem
from surefoot.api.roles import Role
from surefoot.api.routes import auth
from surefoot.api.webstore import WebStore, store_path
from surefoot.cli import main
from surefoot.core.messages import RecordAlarm, RunStarted
from surefoot.store.journal import Journal
from tests.api.desks import until
from tests.api.served import PASSWORD, Clock, code_of, place

ROWS = 6


def written(folder: Path) -> Path:
    """A trail of some rows; the path of the journal beside it."""
    journal = folder / "surefoot.sqlite"
    with WebStore(store_path(journal)) as store:
        trail = Trail(store, Clock())
        for number in range(1, ROWS + 1):
            trail.add("ann", f"action {number}", reason="why", number=number)
    return journal


def tamper(path: Path, statements: Sequence[str]) -> None:
    """As somebody would who may write the file, and knows how to take the triggers away."""
    with sqlite.connect(str(path)) as connection:
        for trigger in ("audit_keeps_its_rows", "audit_keeps_its_words", "journal_keeps_its_rows"):
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        connection.execute("DROP TRIGGER IF EXISTS journal_keeps_its_words")
        for statement in statements:
            assert connection.execute(statement).rowcount, statement
    connection.close()


@pytest.mark.spec("AUTH-4")
def test_a_whole_trail_is_found_whole_and_cannot_be_edited_by_mistake(tmp_path: Path) -> None:
    journal = written(tmp_path)
    checked = check_all(journal)
    assert (checked.trail.rows, checked.problem) == (ROWS, None)
    with WebStore(store_path(journal)) as store:
        for sql in ("DELETE FROM audit", "UPDATE audit SET who = 'bob'"):
            with pytest.raises(sqlite.IntegrityError, match="append-only"):
                store.run(sql)


@pytest.mark.spec("AUTH-4")
@pytest.mark.parametrize("column", ["at_ms = at_ms + 1", "who = 'bob'", "action = 'x'", "detail = '{}'"])
@pytest.mark.parametrize("seq", [1, 3, ROWS])
def test_a_changed_row_is_found(tmp_path: Path, column: str, seq: int) -> None:
    journal = written(tmp_path)
    tamper(store_path(journal), [f"UPDATE audit SET {column} WHERE seq = {seq}"])
    assert check_all(journal).problem == f"row {seq} was changed"


@pytest.mark.spec("AUTH-4")
@pytest.mark.parametrize("seq", range(1, ROWS + 1))
def test_a_removed_row_is_found_the_last_one_too(tmp_path: Path, seq: int) -> None:
    journal = written(tmp_path)
    tamper(store_path(journal), [f"DELETE FROM audit WHERE seq = {seq}"])
    problem = check_all(journal).problem
    assert problem is not None
    assert (
        ("missing" in problem)
        if seq < ROWS
        else (problem == "the trail ends with row 5, but row 6 was the last written")
    )


@pytest.mark.spec("AUTH-4")
def test_a_removed_row_whose_gap_was_closed_is_found(tmp_path: Path) -> None:
    journal = written(tmp_path)
    closed = [f"UPDATE audit SET seq = {n - 1} WHERE seq = {n}" for n in range(4, ROWS + 1)]
    tamper(store_path(journal), ["DELETE FROM audit WHERE seq = 3", *closed])
    assert check_all(journal).problem == "row 3 does not follow row 2: one of them was changed"


@pytest.mark.spec("AUTH-4")
def test_two_rows_that_changed_places_are_found(tmp_path: Path) -> None:
    journal = written(tmp_path)
    swapped = [f"UPDATE audit SET seq = {to} WHERE seq = {of}" for of, to in ((2, 99), (4, 2), (99, 4))]
    tamper(store_path(journal), swapped)
    assert check_all(journal).problem == "row 2 does not follow row 1: one of them was changed"


@pytest.mark.spec("AUTH-4")
def test_a_trail_that_was_written_anew_lacks_the_hash_that_was_noted(tmp_path: Path) -> None:
    journal = written(tmp_path)
    noted = check_all(journal).trail.head
    with WebStore(store_path(journal)) as store:
        Trail(store, Clock()).add("ann", "one more")
    assert check_all(journal, noted).problem is None
    for file in tmp_path.glob("web.sqlite*"):
        file.unlink()
    written(tmp_path)
    assert check_all(journal).problem is None
    assert check_all(journal, noted).problem == "no row has the hash that was noted: the trail was written anew"


# -- the journal ------------------------------------------------------------------------------------------------------


def traded(journal: Path, run: str, records: int) -> None:
    with Journal.open(journal) as opened:
        opened.append(RunStarted(1, run, "paper", ("BTCUSDT",), "digest", "0.1.0"))
        opened.append(*(RecordAlarm(2 + n, "kind", f"text {n}") for n in range(records - 1)))


async def anchored(journal: Path) -> None:
    with WebStore(store_path(journal)) as store:
        async with Anchors(Trail(store, Clock()), journal):
            pass


@pytest.mark.spec("AUTH-4")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET body = replace(body, 'text 3', 'text 9') WHERE seq = 5",
        "DELETE FROM journal WHERE seq = 5",
        "DELETE FROM journal WHERE seq = 10",
        "UPDATE journal SET at_ms = at_ms + 1 WHERE seq = 1",
    ],
)
async def test_a_record_of_the_journal_that_was_changed_or_removed_is_found(tmp_path: Path, statement: str) -> None:
    journal = tmp_path / "surefoot.sqlite"
    traded(journal, "aaa", 10)
    await anchored(journal)
    traded(journal, "bbb", 5)
    await anchored(journal)
    await anchored(journal)  # nothing new, no row
    checked = check_all(journal)
    assert (checked.trail.rows, checked.records, checked.problem) == (2, 15, None)
    tamper(journal, [statement])
    problem = check_all(journal).problem
    assert problem == "row 1: records 1 to 10 of surefoot.sqlite are not what they were"


@pytest.mark.spec("AUTH-4")
async def test_paper_journals_make_room_and_a_live_one_is_missed(tmp_path: Path) -> None:
    for name in ("paper-20250601-120000-000.sqlite", "surefoot.sqlite"):
        traded(tmp_path / name, "aaa", 3)
        await anchored(tmp_path / name)
    (tmp_path / "paper-20250601-120000-000.sqlite").unlink()
    checked = check_all(tmp_path / "surefoot.sqlite")
    assert (checked.gone, checked.records) == (("paper-20250601-120000-000.sqlite",), 3)
    assert checked.problem is None
    (tmp_path / "surefoot.sqlite").unlink()
    assert check_all(tmp_path / "surefoot.sqlite").problem == "row 2: the journal surefoot.sqlite is gone"


@pytest.mark.spec("AUTH-4")
async def test_records_that_an_older_version_wrote_are_not_told_as_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "surefoot.sqlite"
    traded(journal, "aaa", 10)
    with WebStore(store_path(journal)) as store:
        detail = {"file": journal.name, "first_seq": 1, "last_seq": 10, "version": 1, "sha256": "0" * 64}
        Trail(store, Clock()).add("surefoot", "journal", **detail)
    traded(journal, "bbb", 5)
    await anchored(journal)
    checked = check_all(journal)
    assert (checked.records, checked.not_compared, checked.problem) == (5, 10, None)
    assert main(["audit", "verify", "--journal", str(journal)]) == 0
    told = capsys.readouterr().out
    assert "5 records of journals are as they were written; 10 records not compared (written by an older" in told


async def test_the_last_records_of_an_earlier_journal_are_taken_up_at_the_next_start(tmp_path: Path) -> None:
    traded(tmp_path / "paper-1.sqlite", "aaa", 3)
    await anchored(tmp_path / "paper-1.sqlite")
    traded(tmp_path / "paper-1.sqlite", "bbb", 4)
    traded(tmp_path / "paper-2.sqlite", "ccc", 2)
    await anchored(tmp_path / "paper-2.sqlite")
    assert check_all(tmp_path / "paper-2.sqlite").records == 9


@pytest.mark.spec("AUTH-4")
async def test_the_journal_is_taken_up_again_after_the_trail_could_not_be_written(tmp_path: Path) -> None:
    journal = tmp_path / "surefoot.sqlite"
    traded(journal, "aaa", 3)
    with WebStore(store_path(journal)) as store:
        anchors = Anchors(Trail(store, Clock()), journal, every_s=0.01)
        store.row("PRAGMA query_only = ON")
        async with anchors:
            await until(lambda: anchors.problem)
            assert anchors.problem is not None
            assert "cannot be taken up in the audit trail" in anchors.problem
            store.row("PRAGMA query_only = OFF")
            await until(lambda: not anchors.problem)
            traded(journal, "bbb", 4)
            await until(lambda: check_all(journal).records == 7)
            journal.rename(tmp_path / "aside.sqlite")
            journal.write_text("no journal")
            await until(lambda: anchors.problem)
            (tmp_path / "aside.sqlite").rename(journal)
            await until(lambda: not anchors.problem)
            store.row("PRAGMA query_only = ON")
            await until(lambda: anchors.problem is None)
            traded(journal, "ccc", 2)
        # What came at the end is taken up at the next start; that it could not be now breaks nothing else.
    await anchored(journal)
    assert check_all(journal).records == 9


# -- what is in it ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTH-4")
async def test_sign_ins_and_acts_and_attempts_are_all_in_the_trail(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        root = await here.signed_in(Role.ADMIN, "root")
        await here.visitor().sign_in("root", "a wrong password")
        ann = await here.signed_in(Role.VIEWER, "ann")
        assert code_of(await ann.post("/users", json={"name": "x", "role": "admin", "password": PASSWORD}))
        await root.post("/auth/confirm", json={"password": PASSWORD})
        await root.post("/users", json={"name": "bob", "role": "trader", "password": PASSWORD})
        await root.patch("/users/bob", json={"role": "viewer", "on": False})
        await root.delete("/users/bob")
        await ann.post("/auth/logout")
        page = (await root.get("/audit")).json()
        told = [(row["who"], row["action"]) for row in reversed(page["items"])]
        assert told == [
            ("the test", "user added"),
            ("root", "signed in"),
            ("root", "sign-in failed"),
            ("the test", "user added"),
            ("ann", "signed in"),
            ("ann", "POST /api/v1/users"),
            ("root", "confirmed"),
            ("root", "user added"),
            ("root", "POST /api/v1/users"),
            ("root", "user's role changed"),
            ("root", "user switched off"),
            ("root", "PATCH /api/v1/users/bob"),
            ("root", "user removed"),
            ("root", "DELETE /api/v1/users/bob"),
            ("ann", "session ended"),
        ]
        assert [row["detail"]["status"] for row in page["items"] if row["action"] == "POST /api/v1/users"] == [201, 403]
        assert PASSWORD not in str(page)
        verdict = (await root.get("/audit/verify")).json()
        assert (verdict["rows"], verdict["problem"]) == (len(told), None)
        assert verdict["head"] == page["items"][0]["hash"]


async def test_the_trail_is_read_page_by_page_and_filtered(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        root = await here.signed_in(Role.ADMIN, "root")
        for number in range(25):
            here.clock.forward(1)
            here.parts.trail.add("ann" if number % 2 else "bob", "act", number=number)
        seen, cursor = [], ""
        while True:
            page = (await root.get(f"/audit?limit=10{cursor}")).json()
            seen += [row["seq"] for row in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == list(range(27, 0, -1))
        assert len((await root.get("/audit?who=ann&action=act")).json()["items"]) == 12
        since = here.clock() - 4_500
        assert len((await root.get(f"/audit?since_ms={since}")).json()["items"]) == 5
        assert code_of(await root.get("/audit?limit=0")) == "invalid_request"


# -- every way to fail at proving who one is --------------------------------------------------------------------------

GOOD, WRONG, NEW = PASSWORD, "a wrong password", "another good password"
NONE, LOCAL, FACTOR = "ann", "local", "bob"  # a password alone; a link alone; a password and a second factor

# Who asks (signed in, where the path needs that), whether they are confirmed, and what: refused with this code, and
# told in the trail as this.
FAILURES = [
    ("", False, "login", {"name": NONE, "password": WRONG}, "credentials_wrong", (NONE, "sign-in failed")),
    ("", False, "login", {"name": "nobody", "password": GOOD}, "credentials_wrong", ("unknown", "sign-in failed")),
    ("", False, "login", {"name": LOCAL, "password": GOOD}, "credentials_wrong", (LOCAL, "sign-in failed")),
    ("", False, "login", {"name": "off", "password": GOOD}, "credentials_wrong", ("off", "sign-in failed")),
    ("", False, "login", {"name": "locked", "password": GOOD}, "locked", ("locked", "sign-in failed")),
    ("", False, "login", {"name": FACTOR, "password": GOOD}, "second_factor_needed", (FACTOR, "sign-in failed")),
    (
        *("", False, "login", {"name": FACTOR, "password": GOOD, "code": "000000"}),
        *("credentials_wrong", (FACTOR, "sign-in failed")),
    ),
    ("", False, "link", {"token": "a guess"}, "link_used", ("unknown", "sign-in failed")),
    (NONE, False, "confirm", {}, "password_needed", (NONE, "confirmation failed")),
    (NONE, False, "confirm", {"password": WRONG}, "credentials_wrong", (NONE, "confirmation failed")),
    (FACTOR, False, "confirm", {"password": GOOD}, "second_factor_needed", (FACTOR, "confirmation failed")),
    (FACTOR, False, "confirm", {"code": "000000"}, "credentials_wrong", (FACTOR, "confirmation failed")),
    (LOCAL, False, "confirm", {"password": GOOD}, "second_factor_missing", (LOCAL, "confirmation failed")),
    (NONE, False, "password", {"old": WRONG, "new": NEW}, "credentials_wrong", (NONE, "password not changed")),
    (NONE, False, "password", {"old": GOOD, "new": "a" * 12}, "user_refused", (NONE, "password not changed")),
    (NONE, False, "password", {"new": NEW}, "password_needed", (NONE, "password not changed")),
    (LOCAL, False, "password", {"new": NEW}, "confirmation_needed", (LOCAL, "password not changed")),
    (NONE, False, "totp/enroll", None, "confirmation_needed", (NONE, "second factor not enrolled")),
    (FACTOR, True, "totp/enroll", None, "already_enrolled", (FACTOR, "second factor not enrolled")),
    (NONE, False, "totp/verify", {"code": "1"}, "confirmation_needed", (NONE, "second factor not enrolled")),
    (FACTOR, True, "totp/verify", {"code": "1"}, "not_enrolling", (FACTOR, "second factor not enrolled")),
    ("enrolling", True, "totp/verify", {"code": "1"}, "credentials_wrong", ("enrolling", "second factor not enrolled")),
]


def give_second_factor(parts: Parts, name: str, now_ms: int) -> None:
    secret = parts.accounts.second_factor.enrol(name).secret
    parts.accounts.second_factor.confirm_enrolment(name, pyotp.TOTP(secret).at(now_ms // 1_000))


@pytest.mark.spec("AUTH-4")
async def test_every_failure_to_prove_who_one_is_leaves_a_row_and_no_secret(tmp_path: Path) -> None:
    async with place(tmp_path, web__behind_proxy="true") as here:
        parts = here.parts
        for name in (NONE, FACTOR, "off", "locked", "enrolling"):
            parts.accounts.add(name, Role.TRADER, PASSWORD, "the test")
        parts.accounts.ensure_local()
        give_second_factor(parts, FACTOR, here.clock())
        parts.accounts.switch("off", on=False, by="the test")
        parts.accounts.second_factor.enrol("enrolling")
        for number, (who, is_confirmed, path, body, code, told) in enumerate(FAILURES):
            for _ in range(5):
                with suppress(Problem):
                    parts.accounts.count_attempt("locked")
            visitor = here.visitor()
            # The limit for an address is not what is tried here.
            visitor.headers["x-forwarded-for"] = f"10.0.0.{number}"
            if who:
                grant = parts.sessions.begin(who, "password", "127.0.0.1", "test", 10**6 * is_confirmed)
                visitor.headers["authorization"] = f"Bearer {grant.access_token}"
            before = parts.trail.rows(None, 1)[0].seq
            answer = await visitor.post(f"/auth/{path}", json=body)
            assert code_of(answer) == code, (who, path, body)
            (row,) = [row for row in parts.trail.rows(None, 10) if row.seq > before]
            assert (row.who, row.action, row.detail["code"]) == (*told, code), (who, path, body)
            said = [text for text in (body or {}).values() if text not in (NONE, LOCAL, FACTOR, "off", "locked", "1")]
            assert not [text for text in said if text in str(row)], row
            parts.accounts.clear_failures(who or str((body or {}).get("name")))


@pytest.mark.spec("AUTH-4")
async def test_a_link_without_its_users_code_leaves_a_row(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.accounts.ensure_local()
        give_second_factor(here.parts, LOCAL, here.clock())
        here.parts.sessions.offer_link(fingerprint("the link"), here.clock() + LINK_MS)
        for more, code in (({}, "second_factor_needed"), ({"code": "000000"}, "credentials_wrong")):
            assert code_of(await here.visitor().post("/auth/link", json={"token": "the link", **more})) == code
            row = here.parts.trail.rows(None, 1)[0]
            assert (row.who, row.action, row.detail["code"]) == (LOCAL, "sign-in failed", code)


@pytest.mark.spec("AUTH-4")
def test_every_route_that_proves_who_one_is_has_its_ways_to_fail_tried() -> None:
    cannot_fail = {
        "logout",
        "refresh",
    }  # a refresh token proves nothing new; one that is used twice has a row of its own
    posts = {route.path.removeprefix("/auth/") for route in auth.router.routes if isinstance(route, APIRoute)}
    assert {path for path in posts if not path.startswith("/")} - cannot_fail == {each[2] for each in FAILURES}
