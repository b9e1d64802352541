"""Reads a backup from its directory, which may be read-only, and believes nothing whose checksum does not say so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from google_crc32c import extend

from broker.base.errors import DataCorrupt, InvalidArgument
from broker.storage.backup_files import (
    FORMAT,
    HEAD,
    MAGIC,
    MANIFEST,
    PIECE,
    SUFFIX,
    GroupFile,
    Head,
    Manifest,
    checksum_of,
)
from broker.storage.disk import DiskFile, SystemFile
from broker.storage.layout import PART
from broker.storage.segment import checksum

_READ_BYTES = 1024 * 1024
_LONGEST = 64 * 1024 * 1024
"""Bytes of a piece: what says more is damaged."""


class _Format(msgspec.Struct, frozen=True):
    format: int


class BackupReader:
    def __init__(self, directory: Path) -> None:
        """Raises InvalidArgument when there is no backup, an unfinished, or a newer one; DataCorrupt."""
        self._directory = directory
        self.manifest = self._read_manifest()

    def verify(self, group: GroupFile) -> None:
        """Reads a whole file. Raises DataCorrupt unless it is as it was written."""
        file = self._open(group.file)
        try:
            size = file.size()
            if size != group.bytes:
                raise self._damaged(group.file, f"it has {size} bytes and should have {group.bytes}")
            crc = offset = 0
            while offset < size:
                data = file.read_at(_READ_BYTES, offset)
                crc = extend(crc, data)
                offset += len(data)
        finally:
            file.close()
        if f"{crc:08x}" != group.checksum:
            raise self._damaged(group.file, "checksum mismatch")

    def pieces(self, group: GroupFile) -> Iterator[bytes]:
        """In order, each verified. Raises DataCorrupt."""
        file = self._open(group.file)
        try:
            offset = self._skip_head(file, group)
            while offset < group.bytes:
                length, crc = PIECE.unpack(self._exactly(file, group, PIECE.size, offset))
                piece = self._exactly(file, group, min(length, _LONGEST), offset + PIECE.size)
                if checksum(piece) != crc:
                    raise self._damaged(group.file, f"checksum mismatch at offset {offset}")
                offset += PIECE.size + length
                yield piece
        finally:
            file.close()

    def damaged(self, group: GroupFile, what: str) -> DataCorrupt:
        """For what no checksum tells."""
        return self._damaged(group.file, what)

    # --- inside

    def _read_manifest(self) -> Manifest:
        names = sorted(os.listdir(self._directory)) if self._directory.is_dir() else []
        if MANIFEST not in names:
            if any(name.removesuffix(PART).endswith((SUFFIX, MANIFEST)) for name in names):
                raise InvalidArgument(
                    f"the backup in {self._directory} was not finished, {MANIFEST} is missing: make another one"
                )
            raise InvalidArgument(f"there is no backup in {self._directory}: {MANIFEST} is missing")
        raw = (self._directory / MANIFEST).read_bytes()
        try:
            found = msgspec.json.decode(raw, type=_Format).format
            if found > FORMAT:
                raise InvalidArgument(
                    f"the backup in {self._directory} has format {found}, this version reads up to {FORMAT}: use the "
                    "version that made it, or a newer one"
                )
            manifest = msgspec.json.decode(raw, type=Manifest)
        except msgspec.MsgspecError as error:
            raise self._damaged(MANIFEST, f"it cannot be read: {error}") from None
        if checksum_of(manifest) != manifest.checksum:
            raise self._damaged(MANIFEST, "checksum mismatch")
        return manifest

    def _skip_head(self, file: DiskFile, group: GroupFile) -> int:
        magic, length, crc = HEAD.unpack(self._exactly(file, group, HEAD.size, 0))
        encoded = self._exactly(file, group, min(length, _READ_BYTES), HEAD.size)
        if magic != MAGIC or checksum(encoded) != crc:
            raise self._damaged(group.file, "its head is damaged")
        head = msgspec.msgpack.decode(encoded, type=Head)
        if head != Head(bytes.fromhex(self.manifest.backup), group.group, group.index, group.term):
            raise self._damaged(group.file, f"it holds group {head.group} of backup {head.backup.hex()}")
        return HEAD.size + len(encoded)

    def _open(self, name: str) -> DiskFile:
        path = str(self._directory / name)
        try:
            return SystemFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path, lambda: 0)
        except FileNotFoundError:
            raise self._damaged(name, "the file is missing") from None

    def _exactly(self, file: DiskFile, group: GroupFile, size: int, offset: int) -> bytes:
        data = file.read_at(size, offset)
        if len(data) < size:
            raise self._damaged(group.file, f"it ends {size - len(data)} bytes too early")
        return data

    def _damaged(self, name: str, what: str) -> DataCorrupt:
        return DataCorrupt(f"{name} of the backup in {self._directory} is damaged: {what}; use another backup")
