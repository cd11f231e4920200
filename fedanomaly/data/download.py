"""Official downloads: resumed where they stopped, kept only if the checksum is right."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Progress
from fedanomaly.data.places import one_process_at_a_time

_BLOCK = 1 << 18
_ATTEMPTS = 3  # a broken connection is resumed at once, this many times in all
_NETWORK_ERRORS = (OSError, http.client.HTTPException)  # URLError and time-outs are OSErrors


@dataclass(frozen=True)
class OfficialFile:
    """A published file.

    Attributes
    ----------
    url : str
        Where it is published.
    filename : str
        What it is called in the cache.
    sha256 : str
        Of its content, hex.
    size : int
        Bytes; a longer answer is cut off and refused.
    """

    url: str
    filename: str
    sha256: str
    size: int


class _WrongContentError(Exception):
    """What arrived is not the published file."""


def fetch(
    file: OfficialFile, folder: Path, *, progress: Progress | None = None, timeout: float = 30.0
) -> Path:
    """Return the file in ``folder``, downloading what is missing of it.

    A download that was broken off is taken up with an HTTP range request. If the resumed file
    has the wrong checksum it is fetched once more from the start.

    Parameters
    ----------
    file : OfficialFile
        What to fetch.
    folder : Path
        Where it is kept; created if need be.
    progress : callable, optional
        Told the file's name, the bytes so far and the bytes in all after every block.
    timeout : float
        Seconds without an answer after which the connection is given up.

    Raises
    ------
    UserError
        If the network cannot be reached or what arrived is not the published file.
    """
    target = folder / file.filename
    if target.is_file() and target.stat().st_size == file.size:  # renamed only once it was verified
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_process_at_a_time(folder / f".{file.filename}.lock"):
            if not (target.is_file() and target.stat().st_size == file.size):
                _fetch_verified(file, target, progress, timeout)
    except _WrongContentError as error:
        raise UserError(f"what {file.url} sent is not the published file: {error}") from error
    except _NETWORK_ERRORS as error:
        raise UserError(f"{file.url} could not be downloaded ({_reason(error)})") from error
    return target


def _fetch_verified(file: OfficialFile, target: Path, progress: Progress | None, timeout: float) -> None:
    partial = target.with_name(target.name + ".partial")
    resumed = partial.exists() and partial.stat().st_size > 0
    _fetch_rest(file, partial, progress, timeout)
    if _sha256(partial) != file.sha256 and resumed:
        partial.unlink()
        _fetch_rest(file, partial, progress, timeout)
    if (found := _sha256(partial)) != file.sha256:
        partial.unlink()
        raise _WrongContentError(f"its SHA-256 is {found}, expected {file.sha256}")
    partial.replace(target)


def _fetch_rest(file: OfficialFile, partial: Path, progress: Progress | None, timeout: float) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _append(file, partial, progress, timeout)
        except _NETWORK_ERRORS:
            if attempt == _ATTEMPTS:
                raise
        else:
            if partial.stat().st_size == file.size:
                return
    raise http.client.HTTPException(
        f"the connection ended after {partial.stat().st_size:,} of {file.size:,} bytes"
    )


def _append(file: OfficialFile, partial: Path, progress: Progress | None, timeout: float) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if have >= file.size:
        if have == file.size:
            return
        partial.unlink()
        have = 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "fedanomaly"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=timeout) as response:
        resumes = response.status == 206 and str(response.headers.get("Content-Range", "")).startswith(
            f"bytes {have}-"
        )
        if have and not resumes:  # the server sends the whole file again
            have = 0
        with partial.open("ab" if have else "wb") as out:
            while block := response.read(_BLOCK):
                have += len(block)
                if have > file.size:
                    raise _WrongContentError(f"it is longer than the expected {file.size:,} bytes")
                out.write(block)
                if progress is not None:
                    progress(file.filename, have, file.size)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection: {error.reason}"
    return str(error) or type(error).__name__


__all__ = ["OfficialFile", "fetch"]
