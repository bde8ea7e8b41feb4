"""Files that are there whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step: whoever reads it sees the old content or the new one, never a part.

    Folders that do not exist are made.

    Raises
    ------
    OSError
        If the file cannot be written, with the path that was asked for; nothing is left behind.
    """
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside the one that is asked for, which takes its place when all has been written.

    Folders that do not exist are made.

    Yields
    ------
    Path
        That is to be written, and closed, meanwhile.

    Raises
    ------
    OSError
        If the file cannot be written, with the path that was asked for; nothing is left behind.
    """
    # not named after the file, whose name may be as long as names can be
    temporary = path.parent / f".probmix-{secrets.token_hex(8)}"
    try:
        make_folder(path.parent)
        _refuse_folder(path)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        # the temporary file is none of the user's business
        raise OSError(error.errno, error.strerror, str(path)) from None


def check_can_be_written(path: Path) -> None:
    """Raise unless a file can be made there; the folder is made if it does not exist.

    Raises
    ------
    OSError
        As `replacing`.
    """
    try:
        make_folder(path.parent)
        _refuse_folder(path)
        temporary = path.parent / f".probmix-{secrets.token_hex(8)}"
        temporary.open("xb").close()
        temporary.unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name; name a file")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises
    ------
    NotADirectoryError
        If there is a file in its place, or in the place of one above it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        taken = next(one for one in (folder, *folder.parents) if one.exists())
        message = f"{str(taken)!r} is a file and no folder"
        raise NotADirectoryError(errno.ENOTDIR, message, str(folder)) from None
