"""Files that a step reads: none outside the build's directory, and none is repeated to whoever reads the log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from approval_resource.errors import ConfigError
from approval_resource.logs import Log
from approval_resource.steps.files import claim_id_in
from tests.builders import a_claim

SECRET = "AKIA-the-worker-s-own-secret"
ID = a_claim().id


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build's directory, with a get of a claim in it, and a worker's file outside."""
    directory = tmp_path / "build"
    (directory / "claim").mkdir(parents=True)
    (directory / "claim" / "id").write_text(f"{ID}\n")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "id").write_text(ID)
    return directory


def refused(directory: Path, name: str) -> None:
    """It is refused, and nothing of what a file holds is told."""
    with pytest.raises(ConfigError) as wrong:
        claim_id_in(directory, name)
    assert SECRET not in str(wrong.value)
    assert ID not in str(wrong.value)


def test_from_names_the_directory_of_a_get(build: Path) -> None:
    """Also by a link that stays in the build's directory; none where there is no such directory."""
    (build / "again").symlink_to(build / "claim")
    (build / "linked").mkdir()
    (build / "linked" / "id").symlink_to(build / "claim" / "id")
    assert [claim_id_in(build, name) for name in ("claim", "again", "linked", "none")] == [ID, ID, ID, None]


def test_from_follows_no_link_out_of_the_build_s_directory(build: Path) -> None:
    """Neither of the directory, nor of the file in it, nor through several."""
    (build / "away").symlink_to(build.parent / "outside")
    (build / "twice").symlink_to(build / "away")
    (build / "within").mkdir()
    (build / "within" / "id").symlink_to(build.parent / "outside" / "id")
    (build / "secret").mkdir()
    (build / "secret" / "id").symlink_to(build.parent / "secret")
    (build / "round").mkdir()
    (build / "round" / "id").symlink_to(build / "round" / "id")
    for name in ("away", "twice", "within", "secret", "round", "../outside", str(build.parent / "outside")):
        refused(build, name)


@pytest.mark.parametrize(
    "content", [SECRET, f"{SECRET}\n{ID}", f"{ID} {SECRET}", "", "\x00", ID.replace("1", "A"), f"{ID}x", "\u202e" + ID]
)
def test_from_repeats_nothing_of_a_file_that_holds_no_id(build: Path, content: str) -> None:
    """A file of that name may be anything."""
    (build / "claim" / "id").write_text(content)
    refused(build, "claim")


def test_the_build_log_hides_what_the_metadata_hides_of_mail_addresses() -> None:
    """Build pages may be public: in names, comments and reasons, several on a line too."""
    stream = io.StringIO()
    log = Log(stream)
    log.say("approved by aws:arn:aws:sts::1:assumed-role/dev/bob@corp.example: ann.b+c@corp.example said <ok@corp.example>")
    assert "corp.example" not in stream.getvalue()
    assert "assumed-role/dev/bob@…" in stream.getvalue()
