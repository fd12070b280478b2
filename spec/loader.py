"""Finds and parses what a policy imports: `load(parsed, folder)` -> `Loaded`.

`std.NAME` is a file of the standard library in `spec/std`; any other name is a path below the folder of the importing
file, `house.tone` for `house/tone.bylaw` or `house/tone.bylaw.md`. Nothing outside the folder of the main file is ever
read, links included, and nothing is fetched. Each file is read and parsed once; its offsets follow those of the files
before it (`spec/source.py`), so that every span says which file it lies in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity, SourceError
from bylaw.spec.parser import ParseResult, parse
from bylaw.spec.source import LITERATE_SUFFIX, Source, SourceMap, behind, read_text

MOST_FILES = 100
"""How many files one policy may import, those of imported files among them."""
DEEPEST_IMPORT = 16
"""How many imports may lead from the main file to another one."""
MOST_CHARACTERS = 4_000_000
"""How long all the files of a policy may be together."""
LIBRARY = "std"
SUFFIXES = (".bylaw", LITERATE_SUFFIX)


class Refused(Exception):
    """A file that a policy names cannot be used: `reason` completes "`x` cannot be used: ..."."""

    def __init__(self, reason: str, *notes: str) -> None:
        """Carry the reason and what can be done about it."""
        self.reason, self.notes = reason, notes
        super().__init__(reason)


class Missing(Refused):
    """There is no such file."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of a policy file: `here` and `root`, the folder that nothing may lead out of, both without links;
    `shown` is how to call `here` in messages."""

    root: Path
    here: Path
    shown: str

    @classmethod
    def of(cls, path: Path) -> Folder:
        """The folder of a main file."""
        here = path.resolve().parent
        return cls(here, here, _joined(path.parent.as_posix(), ""))

    def find(self, relative: str) -> tuple[Path, str]:
        """A file below the folder: the path to read and the one to show. Raises Refused."""
        parts = relative.split("/")
        if relative.startswith("/") or PureWindowsPath(relative).drive or "\\" in relative or "\0" in relative:
            raise Refused("only a path below the folder of this file can be used", "write it with `/` between folders")
        if any(part in ("", ".", "..") for part in parts):
            raise Refused("a path goes down from the folder of this file, without `.` and `..`")
        try:
            path = self.here.joinpath(*parts).resolve()
            is_file = path.is_file()
        except (OSError, RuntimeError, ValueError):
            raise Refused("it cannot be read") from None
        if not path.is_relative_to(self.root):
            raise Refused("it leads out of the folder of the policy")
        if not is_file:
            raise Missing("there is no such file", f"looked for `{_joined(self.shown, relative)}`")
        return path, _joined(self.shown, relative)

    def read(self, relative: str) -> tuple[str, str]:
        """The text of a file below the folder, and the path to show for it. Raises Refused."""
        path, shown = self.find(relative)
        try:
            return read_text(path), shown
        except SourceError as error:
            raise Refused(_reason(error, str(path)), *error.diagnostics[0].notes) from None


@dataclass(frozen=True, eq=False)
class File:
    """A parsed file with what it imports. `key` tells files apart; `folder` is None for a text that is not in a file.

    An import whose file cannot be used has None for it; the reason is among the diagnostics.
    """

    key: str
    source: Source
    module: ast.Module
    folder: Folder | None = None
    imports: tuple[tuple[ast.ImportDecl, File | None], ...] = ()
    is_library: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """The main file, the source that all spans point into, and what is wrong with imports and imported files."""

    main: File
    source: Source
    diagnostics: tuple[Diagnostic, ...] = ()


def load(parsed: ParseResult, path: Path | None) -> Loaded:
    """Load all that a parsed file imports. `path` is where it lies; without one, only the standard library is found."""
    is_file = path is not None and any(isinstance(item, _READING) for item in parsed.module.items)
    folder = Folder.of(path) if is_file and path is not None else None
    if not any(isinstance(item, ast.ImportDecl) for item in parsed.module.items):
        return Loaded(File("", parsed.source, parsed.module, folder), parsed.source)
    key = "" if path is None else str(path.resolve())
    loader = _Loader(parsed.source.text, [parsed.source], [(key, parsed.source.path)])
    main = loader.file(key, parsed, folder)
    return Loaded(main, SourceMap.joining(loader.sources), tuple(loader.found))


_READING = (ast.ImportDecl, ast.LexiconDecl, ast.SuiteDecl)


@dataclass
class _Loader:
    """What has been read so far; `chain` leads from the main file to the one that is being read."""

    text: str
    sources: list[Source]
    chain: list[tuple[str, str]]
    files: dict[str, File | None] = field(default_factory=dict)
    found: list[Diagnostic] = field(default_factory=list)

    def file(self, key: str, parsed: ParseResult, folder: Folder | None, is_library: bool = False) -> File:
        """A parsed file, with all that it imports."""
        imports = tuple(
            (item, self._imported(item, folder)) for item in parsed.module.items if isinstance(item, ast.ImportDecl)
        )
        return File(key, parsed.source, parsed.module, folder, imports, is_library)

    def _imported(self, item: ast.ImportDecl, folder: Folder | None) -> File | None:
        name = item.name.text
        try:
            path, shown, below = _locate(item.name, folder)
        except Refused as refused:
            return self._error("P113", f"`{name}` cannot be imported: {refused.reason}", item, notes=refused.notes)
        except _Unknown as unknown:
            self.found.append(unknown.diagnostic)
            return None
        key = str(path)
        keys = [each for each, _ in self.chain]
        if key in keys:
            circle = [where for _, where in self.chain[keys.index(key) :]]
            note = " -> ".join((*circle, circle[0]))
            return self._error("P114", f"importing `{name}` goes round in a circle", item, notes=(note,))
        if key not in self.files:
            self.files[key] = self._read(item, key, path, shown, below)
        elif self.files[key] is None:
            self._unsound(item, None)
        return self.files[key]

    def _read(self, item: ast.ImportDecl, key: str, path: Path, shown: str, below: Folder) -> File | None:
        name = item.name.text
        if len(self.files) >= MOST_FILES or len(self.chain) > DEEPEST_IMPORT:
            note = f"a policy imports at most {MOST_FILES} files, through at most {DEEPEST_IMPORT} others"
            return self._error("P006", f"`{name}` is one import too many", item, notes=(note,))
        try:
            text = read_text(path)
        except SourceError as error:
            notes = error.diagnostics[0].notes
            reason = _reason(error, key)
            return self._error("P113", f"`{name}` cannot be imported: {reason}", item, notes=notes)
        if len(self.text) + len(text) > MOST_CHARACTERS:
            note = f"the files of a policy hold at most {MOST_CHARACTERS:,} characters together"
            return self._error("P006", f"the policy becomes too large with `{name}`", item, notes=(note,))
        before = len(self.found)
        source = behind(self.text, shown, text)
        self.text = source.text
        self.sources.append(source)
        parsed = parse(source)
        self.found += parsed.diagnostics
        self.chain.append((key, shown))
        file = self.file(key, parsed, below, name.startswith(f"{LIBRARY}."))
        self.chain.pop()
        wrong = [diagnostic for diagnostic in self.found[before:] if diagnostic.is_error]
        if not wrong:
            return file
        return self._unsound(item, wrong[0])

    def _unsound(self, item: ast.ImportDecl, first: Diagnostic | None) -> File | None:
        self.found.append(unsound(item, first))
        return None

    def _error(self, code: str, message: str, item: ast.ImportDecl, *, notes: tuple[str, ...] = ()) -> File | None:
        self.found.append(Diagnostic(code, Severity.ERROR, message, Label(item.name.span), notes=notes))
        return None


def unsound(item: ast.ImportDecl, first: Diagnostic | None) -> Diagnostic:
    """What to say at an import whose file has mistakes of its own; `first` is one of them."""
    message = f"`{item.name.text}` is not sound, so nothing of it can be used"
    where = () if first is None else (Label(first.primary.span, "wrong here"),)
    return Diagnostic("P115", Severity.ERROR, message, Label(item.name.span, "imported here"), where)


class _Unknown(Exception):
    """There is no such file; `diagnostic` says so."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(diagnostic.message)


def library_files() -> tuple[str, ...]:
    """The names of the files of the standard library: `std.format`, ..."""
    found = Path(__file__).parent.joinpath(LIBRARY).glob("*.bylaw")
    return tuple(sorted(f"{LIBRARY}.{path.stem}" for path in found))


def _locate(name: ast.Name, folder: Folder | None) -> tuple[Path, str, Folder]:
    """The path of an import, the one to show, and the folder that its own imports start from.

    Raises Refused, or _Unknown where there is no such file.
    """
    root, _, rest = name.text.partition(".")
    if root == LIBRARY:
        known = library_files()
        if name.text not in known:
            raise _unknown(name, known, f"the standard library has {', '.join(f'`{each}`' for each in known)}")
        here = Path(__file__).parent.resolve() / LIBRARY
        return here / f"{rest}.bylaw", f"{LIBRARY}/{rest}.bylaw", Folder(here, here, LIBRARY)
    if folder is None:
        note = "write the policy to a file, beside the files that it imports"
        raise Refused("only the standard library can be imported into a text that is not a file", note)
    relative = name.text.replace(".", "/")
    found: list[tuple[Path, str]] = []
    for suffix in SUFFIXES:
        try:
            found.append(folder.find(relative + suffix))
        except Missing:
            continue
    if len(found) > 1:
        raise Refused(f"there is both `{found[0][1]}` and `{found[1][1]}`", "remove or rename one of them")
    if not found:
        near = sorted(path.name.split(".")[0] for path in folder.here.glob("*.bylaw*"))
        looked = " and ".join(f"`{_joined(folder.shown, relative + suffix)}`" for suffix in SUFFIXES)
        raise _unknown(name, (*near, *library_files()), f"looked for {looked}")
    path, shown = found[0]
    return path, shown, Folder(folder.root, path.parent, shown.rpartition("/")[0])


def _unknown(name: ast.Name, known: tuple[str, ...], note: str) -> _Unknown:
    nearest = catalog.nearest(name.text, known)
    fix = None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest)
    message = f"there is no file for `{name.text}`"
    return _Unknown(Diagnostic("P113", Severity.ERROR, message, Label(name.span), notes=(note,), fix=fix))


def _reason(error: SourceError, path: str) -> str:
    """What is wrong with a file, without its absolute path."""
    message = error.diagnostics[0].message.removeprefix(f"`{path}` ")
    return f"it {message}"


def _joined(folder: str, name: str) -> str:
    folder = "" if folder in ("", ".") else folder
    return "/".join(part for part in (folder, name) if part) if folder != "/" else f"/{name}"
