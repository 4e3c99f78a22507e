"""Attachments are known by what they hold, kept under their digests, and bounded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from monitor.storage import attachments
from monitor.storage.attachments import AttachmentError, keep, media_type, path_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (PNG[:16], "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"\x1a\x45\xdf\xa3", "video/webm"),
        (b"<svg onload=", None),
        (b"%PDF-1.7", None),
        (b"MZ", None),
        (b"", None),
    ],
)
def test_the_content_says_the_type(head: bytes, expected: str | None) -> None:
    assert media_type(head) == expected


def test_a_file_is_kept_under_its_digest_once(tmp_path: Path) -> None:
    file = tmp_path / "shot.jpg"  # the name lies
    file.write_bytes(PNG)
    kept = keep(file, tmp_path)
    assert (kept.name, kept.media_type, kept.size_bytes) == ("shot.jpg", "image/png", len(PNG))
    assert kept.digest == "sha256:" + hashlib.sha256(PNG).hexdigest()
    assert path_of(kept, tmp_path).read_bytes() == PNG
    assert keep(file, tmp_path) == kept
    assert len(list((tmp_path / "attachments").iterdir())) == 1
    assert (tmp_path / "attachments").stat().st_mode & 0o777 == 0o700


def test_what_is_neither_picture_nor_video_or_too_large_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "shot.png"
    text.write_bytes(b"hello")
    with pytest.raises(AttachmentError, match="its content is none of image/png"):
        keep(text, tmp_path)
    monkeypatch.setattr(attachments, "MAX_BYTES", 2**20)
    text.write_bytes(PNG + bytes(2**20))
    with pytest.raises(AttachmentError, match="has more than 1 MiB"):
        keep(text, tmp_path)
    assert list((tmp_path / "attachments").iterdir()) == []
