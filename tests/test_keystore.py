"""The encrypted key store: what goes in comes out for the trader alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pyrage
import pytest

from surefoot import keystore
from surefoot.api.anchors import check_all
from surefoot.config import ConfigError, load
from surefoot.keystore import FILE_NAME, KeyStoreError, StoredKey, key_for, read_keys, write_keys
from tests.e2e.test_commands import PATIENCE_S, command, environment

pytestmark = pytest.mark.timeout(300)  # each opening of the key store is work on purpose

PASSPHRASE = "a passphrase to test with"
KEY, SECRET = "the-key-of-the-venue", "the-secret-of-the-key"
KEYS = {"live": StoredKey(1, KEY, SECRET)}


def surefoot(folder: Path, *words: str, said: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """A command that reads `said` from stdin."""
    return subprocess.run(
        command(*words),
        input=said,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(**env),
        timeout=PATIENCE_S,
    )


@pytest.mark.spec("CFG-1")
def test_what_was_put_in_comes_out_with_the_passphrase_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept" / FILE_NAME
    assert read_keys(path, PASSPHRASE) == {}
    write_keys(path, PASSPHRASE, KEYS)
    assert read_keys(path, PASSPHRASE) == KEYS
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    sealed = path.read_bytes()
    assert sealed.startswith(b"age-encryption.org/v1")
    assert KEY.encode() not in sealed
    assert SECRET.encode() not in sealed
    with pytest.raises(KeyStoreError, match="passphrase is wrong"):
        read_keys(path, "another passphrase")
    path.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(KeyStoreError, match="passphrase is wrong, or the file is damaged"):
        read_keys(path, PASSPHRASE)
    assert KEY not in repr(KEYS)
    assert SECRET not in repr(KEYS)
    with pytest.raises(KeyStoreError, match="at least 12"):
        write_keys(path, "short", KEYS)


@pytest.mark.spec("CFG-1")
def test_a_busy_moment_is_waited_out_and_a_far_slower_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def decrypt(sealed: bytes, passphrase: str) -> bytes:
        nonlocal tries
        tries += 1
        if tries <= busy:
            raise pyrage.DecryptError("Excessive work parameter for passphrase.")
        return b"{}"

    (tmp_path / FILE_NAME).write_bytes(b"sealed")
    monkeypatch.setattr(pyrage.passphrase, "decrypt", decrypt)
    monkeypatch.setattr(keystore, "TRY_AGAIN_S", 0)
    busy = 3
    assert read_keys(tmp_path / FILE_NAME, PASSPHRASE) == {}
    assert tries == 4
    busy = 1_000
    with pytest.raises(KeyStoreError, match="too busy, or far slower"):
        read_keys(tmp_path / FILE_NAME, PASSPHRASE)


def test_a_key_of_just_this_market_comes_first() -> None:
    keys = {name: StoredKey(1, name, "s") for name in ("testnet", "testnet-futures", "live-spot")}
    found = [key_for(keys, mode, venue) for mode in ("testnet", "live") for venue in ("spot", "futures")]
    assert [each and each[0] for each in found] == ["testnet", "testnet-futures", "live-spot", None]


@pytest.mark.spec("CFG-1")
def test_the_settings_of_live_take_the_key_and_say_where_from(tmp_path: Path) -> None:
    write_keys(tmp_path / FILE_NAME, PASSPHRASE, KEYS)
    flags = {"mode": "live", "live_confirmed": "true", "store.journal_path": str(tmp_path / "surefoot.sqlite")}
    variable = {"SUREFOOT_KEYS_PASSPHRASE": PASSPHRASE}
    given = load(None, flags, variable)
    assert given.settings.api_key is not None
    assert given.settings.api_key.get_secret_value() == KEY
    assert given.sources["api_secret"] == f"key store {tmp_path / FILE_NAME} (live)"
    both = {"SUREFOOT_API_KEY": "mine", "SUREFOOT_API_SECRET": "mine too"}
    assert load(None, flags, variable | both).sources["api_key"] == "environment SUREFOOT_API_KEY"
    for env, told in (
        ({"SUREFOOT_KEYS_PASSPHRASE": "not the passphrase"}, "key store: .*passphrase is wrong"),
        ({}, "or put a key into the key store: surefoot keys add live"),
    ):
        with pytest.raises(ConfigError, match=told):
            load(None, flags, env)
    with pytest.raises(ConfigError, match="surefoot keys add testnet"):
        load(None, {**flags, "mode": "testnet"}, variable)
    assert load(None, {**flags, "mode": "paper"}, variable).settings.api_key is None
    assert load(None, flags, variable, keyless=True).settings.api_key is None


@pytest.mark.spec("CFG-1", "AUTH-4")
def test_keys_are_added_listed_and_removed_by_commands_and_it_is_in_the_trail(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(f"{PASSPHRASE}\n")
    env = {"SUREFOOT_KEYS_PASSPHRASE_FILE": str(passphrase)}
    assert surefoot(tmp_path, "keys", "list", **env).stdout == "no keys in var/keys.age\n"
    added = surefoot(tmp_path, "keys", "add", "live", said=f"{KEY}\n{SECRET}\n", **env)
    assert added.stdout == "the key live is in var/keys.age, encrypted; it is not shown again\n"
    listed = json.loads(surefoot(tmp_path, "keys", "list", "--json", **env).stdout)
    assert [each["name"] for each in listed] == ["live"]
    assert "there is no key testnet" in surefoot(tmp_path, "keys", "remove", "testnet", **env).stderr
    assert "a key is called" in surefoot(tmp_path, "keys", "add", "mine", said="a\nb\n", **env).stderr
    assert "nobody is here to ask" in surefoot(tmp_path, "keys", "list").stderr
    wrong = surefoot(tmp_path, "keys", "list", SUREFOOT_KEYS_PASSPHRASE="not the passphrase")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "passphrase is wrong" in wrong.stderr
    assert surefoot(tmp_path, "keys", "remove", "live", **env).returncode == 0
    assert read_keys(tmp_path / "var" / FILE_NAME, PASSPHRASE) == {}
    assert check_all(tmp_path / "var" / "surefoot.sqlite").trail.rows == 2
