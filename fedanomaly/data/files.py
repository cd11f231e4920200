"""Data sets that lie in a file: where it is looked for, and what a person is told if it is nowhere."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import DataRequest, Dataset, Table
from fedanomaly.data.download import OfficialFile, fetch
from fedanomaly.data.places import cache_folder, data_folder, file_identity

_PREFERRED = (".parquet", ".pq", ".npz", ".csv", ".csv.gz", ".gz", ".zip")  # the quickest to read first


class FileDataset(Dataset):
    """A data set read from one file.

    The file is, in this order: the path given (a file, or a folder to look in), ``data/`` in the
    working directory, the folder ``$FEDANOMALY_DATA``, the official download. In a folder, both
    the files that match :attr:`patterns` and those of a sub-folder named like the data set count.
    """

    patterns: ClassVar[tuple[str, ...]]  # file names in circulation
    any_name: ClassVar[tuple[str, ...]] = ("*",)  # more patterns in a folder that holds nothing else
    homepage: ClassVar[str]  # where a person gets the file
    put: ClassVar[str]  # which file to put into data/
    official: ClassVar[OfficialFile | None] = None

    @abstractmethod
    def read(self, path: Path, request: DataRequest) -> Table:
        """Return the validated rows of one file."""

    def load(self, request: DataRequest) -> Table:
        """Return validated rows; see :class:`FileDataset` for where the file is looked for."""
        return self.read(self.locate(request), request)

    def cache_key(self, request: DataRequest) -> str:
        """Return what the rows depend on: the file and the options that change how it is read."""
        identity = file_identity(self.locate(request))
        return repr((identity, request.rows, request.variant, request.accept_variant))

    def wanted(self, request: DataRequest) -> tuple[str, ...]:
        """Return the file patterns to look for."""
        return self.patterns

    def locate(self, request: DataRequest) -> Path:
        """Return the file to read, downloading it if that is possible and nothing else is there.

        Raises
        ------
        UserError
            If there is none: one sentence that says which file to put where.
        """
        patterns = self.wanted(request)
        if request.path is not None:
            return self._at(request.path, patterns)
        for folder in (Path("data"), data_folder()):
            if folder is not None and (found := self._in(folder, patterns)):
                return found
        failure = ""
        if self.official is not None and request.download:
            folder = cache_folder(request.cache_dir) / "downloads" / self.name
            try:
                return fetch(self.official, folder, progress=request.progress)
            except UserError as error:
                failure = f"; {error}"
        raise UserError(
            f"no file of the data set {self.name!r} is in data/ or in the folder $FEDANOMALY_DATA{failure}: "
            f"get {self.put} from {self.homepage} and put it into data/, or name it with --data-path"
        )

    def _at(self, path: Path, patterns: tuple[str, ...]) -> Path:
        if path.is_file():
            return path
        if not path.is_dir():
            raise UserError(f"the data path {path} does not exist")
        if found := self._in(path, (*patterns, *self.any_name)):
            return found
        raise UserError(
            f"the folder {path} holds no file of the data set {self.name!r} "
            f"(looked for {', '.join(patterns)})"
        )

    def _in(self, folder: Path, patterns: tuple[str, ...]) -> Path | None:
        for place, further in ((folder, ()), (folder / self.name, self.any_name)):
            for pattern in (*patterns, *further):
                if found := _best([file for file in place.glob(pattern) if _is_data(file)]):
                    return found
        return None


def _is_data(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(_PREFERRED)


def _best(files: list[Path]) -> Path | None:
    def rank(path: Path) -> tuple[int, str]:
        endings = [place for place, ending in enumerate(_PREFERRED) if path.name.lower().endswith(ending)]
        return (endings[0], path.name)

    return min(files, key=rank, default=None)


__all__ = ["FileDataset"]
