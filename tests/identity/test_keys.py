"""Keys: recognised by hash, refused when weak, kept in files that only their owner reads."""

import os
import stat
import threading
from pathlib import Path

import pytest

from headgate.core.errors import InvalidAuthorization, MissingAuthorization, StartupError
from headgate.identity.keys import KeyRing, is_weak, kept_secret, new_key, refuse_weak
from tests.requirements import covers

pytestmark = covers("109")


def test_each_key_is_its_holder() -> None:
    ring = KeyRing(b"pepper")
    admin, caller = ring.add("master-key", is_admin=True), ring.add("token")
    assert ring.recognise(b"master-key") == admin
    assert ring.recognise(b"token") == caller
    assert (admin.is_admin, caller.is_admin) == (True, False)
    assert admin.key_id != caller.key_id


def test_an_unknown_key_and_none_are_told_apart() -> None:
    ring = KeyRing(b"pepper")
    ring.add("key")
    with pytest.raises(MissingAuthorization):
        ring.recognise(None)
    for wrong in (b"", b"Key", b"key ", b"ke", b"key\x00", b"\xff", b"x" * 100_000):
        with pytest.raises(InvalidAuthorization) as caught:
            ring.recognise(wrong)
        assert "key\x00" not in caught.value.message


def test_where_none_is_required_anyone_comes_in() -> None:
    ring = KeyRing(b"pepper", required=False)
    holder = ring.add("key")
    assert ring.recognise(b"key") == holder
    assert ring.recognise(None) == ring.recognise(b"wrong")
    assert not ring.recognise(None).is_admin


@covers("109", "redaction")
def test_the_ring_holds_no_key_and_its_names_depend_on_the_pepper() -> None:
    one, other = KeyRing(b"pepper"), KeyRing(b"other")
    first, second = one.add("sk-very-secret"), other.add("sk-very-secret")
    assert first.key_id != second.key_id
    assert "secret" not in repr(vars(one)) + repr(first)


@pytest.mark.parametrize("key", ["", "sk-1234", "changeme", "short", "x" * 15, "sk-local-master"])
def test_short_and_well_known_keys_are_weak(key: str) -> None:
    assert is_weak(key)
    with pytest.raises(StartupError, match="The master key") as caught:
        refuse_weak([("The token", "x" * 16), ("The master key", key)])
    assert not key or f"'{key}'" not in caught.value.message


def test_new_keys_are_strong_and_differ() -> None:
    made = {new_key() for _ in range(1000)}
    assert len(made) == 1000
    assert not any(map(is_weak, made))
    assert all(key.startswith("sk-hg-") for key in made)


def test_a_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "master.key"
    before = os.umask(0)
    try:
        assert kept_secret(file, "first") == "first"
    finally:
        os.umask(before)
    assert kept_secret(file, "second") == "first"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in file.parent.iterdir()] == ["master.key"]


def test_starters_at_the_same_time_agree(tmp_path: Path) -> None:
    kept: list[str] = []
    gate = threading.Barrier(2)

    def start(number: int) -> None:
        gate.wait(5)
        kept.append(kept_secret(tmp_path / f"{number // 2}" / "key", f"secret-{number}"))

    pids = iter(range(10_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: next(pids))  # two starters are two processes
        for pair in range(30):
            threads = [threading.Thread(target=start, args=(pair * 2 + one,)) for one in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(5)
            assert kept[-1] == kept[-2]


def test_a_secret_that_cannot_be_kept_or_is_empty_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StartupError, match="cannot be kept"):
        kept_secret(tmp_path / "file" / "master.key", "secret")
    (tmp_path / "master.key").write_text("\n")
    with pytest.raises(StartupError, match="is empty"):
        kept_secret(tmp_path / "master.key", "secret")
