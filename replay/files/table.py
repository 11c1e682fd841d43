"""A file, a zip or a folder -> tables: CSV with any usual separator, Parquet, or the feed's JSON, packed or not.

What a file is, its first bytes say and not its name. Cells of text stay text: the columns' readers know what they should be.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import zstandard

from replay.show import ReplayError

if TYPE_CHECKING:
    import polars

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".json", ".gz", ".zst", ".zip")
SEPARATORS = (",", ";", "\t", "|")
MEMBERS_MAX = 10_000


class Table(NamedTuple):
    """One table and what people call it: the file's name, with the member's where it lies in a zip or a folder."""

    name: str
    frame: polars.DataFrame


def tables(path: Path) -> list[Table]:
    """The tables of a file or folder. ReplayError says why there is none."""
    try:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.is_file() and file.name.lower().endswith(ENDINGS))
            if not found:
                raise ReplayError(f"{path} is a folder without a table ({', '.join(ENDINGS)})")
            return [table for file in found for table in unpacked(str(file), file.read_bytes())]
        return unpacked(str(path), path.read_bytes())
    except FileNotFoundError:
        raise ReplayError(f"{path} is not there") from None
    except OSError as fault:
        raise ReplayError(f"{path} cannot be read: {fault.strerror or fault}") from None


def unpacked(name: str, data: bytes, depth: int = 0) -> list[Table]:
    """The tables in these bytes."""
    if depth > 3:
        raise ReplayError(f"{name} cannot be read: packed more than three times")
    try:
        if data.startswith(b"\x1f\x8b"):
            return unpacked(name, gzip.decompress(data), depth + 1)
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            return unpacked(name, zstandard.ZstdDecompressor().stream_reader(data).read(), depth + 1)
        if data.startswith(b"PK\x03\x04"):
            return members(name, data, depth)
    except (
        OSError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
        zstandard.ZstdError,
    ) as fault:
        raise ReplayError(f"{name} cannot be read: {fault}") from None
    return [Table(name, frame_of(name, data))]


def members(name: str, data: bytes, depth: int) -> list[Table]:
    """The tables of a zip's files."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        names = packed.namelist()
        if "[Content_Types].xml" in names:
            raise ReplayError(f"{name} is a workbook: save its sheet as CSV, the times as text")
        wanted = [one for one in sorted(names) if one.lower().endswith(ENDINGS) and not one.startswith("__MACOSX/")]
        if not 0 < len(wanted) <= MEMBERS_MAX:
            raise ReplayError(f"{name} is a zip of {len(wanted)} tables")
        return [table for one in wanted for table in unpacked(f"{name}, {one}", packed.read(one), depth + 1)]


def frame_of(name: str, data: bytes) -> polars.DataFrame:
    """The table in these bytes, its columns named in small letters. ReplayError where it is none, or has no rows."""
    import polars

    try:
        if data.startswith(b"PAR1"):
            frame = polars.read_parquet(io.BytesIO(data))
        else:
            text = text_of(name, data)
            frame = of_json(name, text) if text.lstrip()[:1] in (b"{", b"[") else of_csv(name, text)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as fault:
        lines = str(fault).strip().splitlines() or [type(fault).__name__]
        raise ReplayError(f"{name} cannot be read: {lines[0]}") from None
    if not len(frame):
        raise ReplayError(f"{name} has no rows")
    return frame.rename(named(frame.columns))


def named(columns: list[str]) -> dict[str, str]:
    """Names in small letters without blanks; one that is there in small letters already keeps its column."""
    plain = {name: name.strip().strip('"').lower().replace(" ", "_") for name in columns}
    exact = {name for name in columns if plain[name] == name}
    taken: set[str] = set()
    found = {}
    for name in columns:
        short = plain[name] if name in exact or plain[name] not in exact | taken else name
        taken.add(short)
        found[name] = short
    return found


def text_of(name: str, data: bytes) -> bytes:
    """UTF-8 without a mark at its beginning."""
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16").encode()
        text = data.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in text[:4096]:
            raise ReplayError(f"{name} is no table: neither CSV nor Parquet")
        text.decode()
    except UnicodeError:
        raise ReplayError(f"{name} is no text in UTF-8: save it as CSV in UTF-8") from None
    if not text.strip():
        raise ReplayError(f"{name} has no rows")
    return text


def of_csv(name: str, text: bytes) -> polars.DataFrame:
    """Every cell as text, blanks around it cut off; where the separator is no comma, a comma is a decimal point."""
    import polars

    text = text.lstrip(b"\r\n")
    head = text.split(b"\n", 1)[0].decode()
    separator = max(SEPARATORS, key=head.count)
    if not any(character.isalpha() for character in head):
        raise ReplayError(f"{name} has no line of column names")
    frame = polars.read_csv(text, separator=separator, infer_schema=False)
    cells = polars.col(polars.String).str.strip_chars()
    if separator != ",":
        number = cells.str.contains(r"^[-+]?\d+,\d+$")
        cells = polars.when(number).then(cells.str.replace(",", ".", literal=True)).otherwise(cells)
    return frame.with_columns(cells).filter(~polars.all_horizontal(polars.all().fill_null("") == ""))


def of_json(name: str, text: bytes) -> polars.DataFrame:
    """An answer of the feed's REST (`results`), or a list of rows."""
    import polars

    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        raise ReplayError(f"{name} cannot be read: no JSON") from None
    rows = found.get("results") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReplayError(f"{name} is no table: a JSON list of rows, or an answer with `results`")
    if isinstance(found, dict) and isinstance(found.get("ticker"), str):
        rows = [{"ticker": found["ticker"], **row} for row in rows]
    return polars.DataFrame(rows, infer_schema_length=None, strict=False)


def numbers(column: polars.Series) -> polars.Series:
    """A column as float64; what is no number is null, and so is NaN."""
    import polars

    if column.dtype.is_nested() or column.dtype.is_temporal() or column.dtype == polars.Boolean:
        return polars.Series(column.name, [None] * len(column), dtype=polars.Float64)
    return column.cast(polars.Float64, strict=False).fill_nan(None)
