"""Settings: the parameter dataclasses beside the code, made into one schema that hydra checks.

A key of the configuration is a field of `PipelineParams`, of an application's settings, or of a
dataclass in them; type and default are written there and nowhere else. The schema's classes are
twins of those dataclasses that may be written to, because omegaconf makes frozen ones read-only;
`build` turns the values into the frozen ones again, whose checks speak before any work is done.
"""

import dataclasses
import difflib
import functools
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xrt.applications import applications
from xrt.errors import ConfigError
from xrt.former_settings import replaced_by

HYDRA_VERSION_BASE = "1.3"
PIPELINE_PARAMS = "xrt.pipeline:PipelineParams"
OWN_SETTINGS = ("name", "paths")  # of the command line, not of the pipeline
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)
NULL_ABOVE = "Unexpected type for root: NoneType"
"""omegaconf's AssertionError where a setting's part is null."""


@dataclasses.dataclass
class PathsConfig:
    """Where things lie; relative paths count from the folder in which xrt is started."""

    data: str = MISSING
    """Folder of the data sets that the choices of `dataset` name."""
    runs: str = MISSING
    """Folder of all runs."""
    run: str = MISSING
    """Folder of this run: its stages, its model, its report."""
    stages: str | None = None
    """Folder in which runs share finished stages; null: `.stages` in the folder of all runs for the
    runs of a sweep, none for others. What lies there may be deleted at any time."""


@dataclasses.dataclass
class OwnSettings:
    """What the command line adds to the settings of a run."""

    name: str = "run"
    """Names the run's folder; the name of the data set where nothing is said."""
    paths: PathsConfig = dataclasses.field(default_factory=PathsConfig)


def pipeline_params() -> type:
    """The dataclass that holds all settings of a training run.

    Returns:
        The class.
    """
    module, name = PIPELINE_PARAMS.split(":")
    params: type = getattr(import_module(module), name)
    return params


def settings_types() -> tuple[type, ...]:
    """The dataclasses whose fields are the settings: the pipeline's, then each application's.

    Returns:
        The classes, the pipeline's first.
    """
    types_or_none = (application.settings_type() for application in applications())
    return pipeline_params(), *(one for one in types_or_none if one is not None)


@functools.cache
def settings_type() -> type:
    """One dataclass with the fields of all `settings_types`, to look names up; not to be made.

    Returns:
        A frozen dataclass, the same at each call.
    """
    first, *others = settings_types()
    return dataclasses.make_dataclass(
        "AllSettings", [], bases=(*reversed(others), first), frozen=True, kw_only=True
    )


def conf_folder() -> Path:
    """The folder of YAML files: inside the package in a wheel, beside it in a checkout.

    Returns:
        The folder that holds `train.yaml`.

    Raises:
        ConfigError: it is in neither place.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"no conf/train.yaml in {package} or {package.parent}; install xrt again")


def conf_folders() -> list[Path]:
    """All folders of YAML files: the package's own, then those of applications.

    Returns:
        The folders, the package's own first.
    """
    folders = (application.conf_folder for application in applications())
    return [conf_folder(), *(folder for folder in folders if folder is not None)]


def conf_groups() -> dict[str, list[str]]:
    """Groups of settings, each with the names of its files.

    Returns:
        Names without `.yaml`, sorted, by name of the group.
    """
    groups: dict[str, set[str]] = {}
    for folder in conf_folders():
        for file in folder.glob("*/*.yaml"):
            groups.setdefault(file.parent.name, set()).add(file.stem)
    return {group: sorted(names) for group, names in sorted(groups.items())}


class _ApplicationFolders(SearchPathPlugin):
    """Has hydra look into the folders of applications, too."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append them."""
        for folder in conf_folders()[1:]:
            search_path.append("xrt-applications", f"file://{folder}")


def _choice_of(group: str, *, _root_: Any) -> Any:
    """The file that is chosen of a group, also where a sweep is named before its first run."""
    hydra = OmegaConf.select(_root_, "hydra") or HydraConfig.get()
    return hydra.runtime.choices[group]


def register() -> None:
    """Make the schema and the groups of applications known to hydra, under the names that
    conf/train.yaml opens with.
    """
    OmegaConf.register_new_resolver("chosen", _choice_of, replace=True)
    Plugins.instance().register(_ApplicationFolders)
    defaults = [
        {group: choice}
        for application in applications()
        for group, choice in application.conf_groups.items()
    ]
    ConfigStore.instance().store(name="applications", node={"defaults": [*defaults, "_self_"]})
    root = dataclasses.make_dataclass(
        "Settings", [], bases=(schema_of(settings_type()), OwnSettings)
    )
    ConfigStore.instance().store(name="settings", node=root)


def compose(overrides: list[str]) -> DictConfig:
    """The configuration for these command-line settings, without running anything.

    Args:
        overrides: The settings, each `key=value` as hydra reads it.

    Returns:
        The configuration, not checked yet.
    """
    register()
    with initialize_config_dir(str(conf_folder()), version_base=HYDRA_VERSION_BASE):
        return hydra_compose("train", overrides)


def values_of(overrides: list[str]) -> dict[str, Any]:
    """The values of all settings for these command-line settings, before interpolation.

    Args:
        overrides: `key=value` and `group=choice`, as hydra takes them.

    Returns:
        Nested dicts of plain values.
    """
    values: Any = OmegaConf.to_container(compose(overrides), resolve=False)
    return dict(values)


def given_settings(words: Iterable[str], folders: Sequence[Path] | None = None) -> set[str]:
    """The settings that were given for a run: by name, by the choice of a group, by an experiment.

    Args:
        words: `key=value` and `group=choice` of the command line, for this run.
        folders: folders of YAML files; `conf_folders` when not given.

    Returns:
        Full names of settings, such as `ranker.threshold`; for the choice of a group its name, such
        as `tree`, which stands for all settings of that part.
    """
    folders = conf_folders() if folders is None else folders
    given: set[str] = set()
    for word in words:
        name, equals, value = word.partition("=")
        name = name.lstrip("+")
        if equals and name in _LAID_OVER:
            given |= _given_in(name, value, folders)
        elif equals:
            given.add(name)
    return given


_LAID_OVER = ("experiment", "debug")
"""Groups whose files are laid over all settings."""


def _given_in(group: str, choice: str, folders: Sequence[Path]) -> set[str]:
    """What a file of such a group gives, and the files that it begins with."""
    files = [folder / group / f"{choice}.yaml" for folder in folders]
    file = next((file for file in files if file.is_file()), None)
    content = None if file is None else OmegaConf.to_container(OmegaConf.load(file))
    if not isinstance(content, dict):
        return set()
    given = set(_names_in(content, ""))
    for entry in content.get("defaults", []):
        if isinstance(entry, str):
            given |= set() if entry == "_self_" else _given_in(group, entry, folders)
        else:
            given |= {str(name).split()[-1].lstrip("/") for name in entry}
    return given


def _names_in(content: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    for name, value in content.items():
        if name == "defaults" and not prefix:
            continue
        if isinstance(value, dict) and value:
            yield from _names_in(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@functools.cache
def schema_of(params: type) -> type:
    """A twin of a parameter dataclass: same fields, types and defaults, writable, unchecked.

    Args:
        params: A dataclass; its fields may hold dataclasses.

    Returns:
        A dataclass, the same at each call. Fields without a default are missing in it.
    """
    hints = get_type_hints(params)
    fields = []
    for field in dataclasses.fields(params):
        if not field.init:
            continue
        twin = dataclasses.field(default=MISSING)
        if field.default is not dataclasses.MISSING:
            twin = _default(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            twin = _default(field.default_factory())
        fields.append((field.name, _twin_type(hints[field.name]), twin))
    return dataclasses.make_dataclass(params.__name__, fields)


def build(params: type, node: DictConfig) -> Any:
    """An instance of one frozen dataclass; of `settings_types`, the others are checked, too.

    Args:
        params: The dataclass.
        node: The configuration.

    Returns:
        An instance of `params`.

    Raises:
        ConfigError: settings are wrong or missing; the message holds the faults of all parts.
    """
    types = settings_types()
    if params not in types:
        return build_all([params], node)[0]
    return build_all(types, node)[types.index(params)]


def build_all(types: Sequence[type], node: DictConfig) -> list[Any]:
    """Instances of several frozen dataclasses whose fields share one configuration.

    Args:
        types: The dataclasses.
        node: The configuration; `OWN_SETTINGS` may stand in it besides.

    Returns:
        One instance of each.

    Raises:
        ConfigError: With the faults of all parts, among them required settings not given.
    """
    faults: list[str] = []
    values = [_build(params, node, "", faults) for params in types]
    names = [field.name for params in types for field in dataclasses.fields(params)]
    for name in sorted({str(key) for key in node} - {*names, *OWN_SETTINGS}):
        faults.append(f"{name}: {_unknown(name, _nearest_of(name, names))}")
    if faults:
        raise ConfigError("; ".join(faults))
    return values


def explain(error: Exception) -> str:
    """What hydra or omegaconf complain of, in one line that begins with the setting's full name.

    Args:
        error: What was raised.

    Returns:
        The line.
    """
    text = str(error)
    if isinstance(error, OverrideParseException):
        name, equals, value = error.override.partition("=")
        if not equals:
            return f"{error.override}: not a setting; write key=value"
        return f"{name}: {value!r} is no value; write a number, a word, or a text in quotes"
    if text.startswith("Error merging override") and error.__cause__ is not None:
        text = str(error.__cause__)  # the cause says what was wrong with the value
    match = re.search(r"full_key: (\S+)", text) or re.search(r"Could not override '([^']+)'", text)
    name = match[1] if match else ""
    if name and (
        re.search(r"Key '[^']+' (is )?not in", text) or "To append to your config" in text
    ):
        parent, _, last = name.rpartition(".")
        return no_such_setting(last, parent)
    lines = [
        re.sub(r"^In '[^']*': (\w+ raised while composing config:)?", "", line.strip())
        for line in text.splitlines()
        if not re.match(
            r"\s*(full_key|reference_type|object_type|provider=|Config search|See )", line
        )
    ]
    message = " ".join(" ".join(lines).split())
    return f"{name}: {message}" if name else message


def no_such_setting(name: str, parent: str) -> str:
    """What to say of a name that is no setting.

    Args:
        name: The last part of the setting's name.
        parent: What stands before it; '' for a setting at the top.

    Returns:
        A message that says what took its place, or names the nearest setting, or all that there
        are.
    """
    full = f"{parent}.{name}" if parent else name
    return f"{full}: {_unknown(full, _nearest(name, parent, settings_type()))}"


def _unknown(name: str, nearest: str) -> str:
    """What to say of a full name that is no setting; `nearest` is the half sentence on others."""
    instead = replaced_by(name)
    return f"no such setting{nearest}" if instead is None else f"no such setting now; {instead}"


def _nearest(name: str, parent: str, params: type) -> str:
    """What a name may have meant among the settings of `params`, or of the part `parent` of it."""
    for part in filter(None, parent.split(".")):
        inner = _dataclass_in(get_type_hints(params).get(part))
        if inner is None:
            return ""
        params = inner
    return _nearest_of(name, [field.name for field in dataclasses.fields(params)])


def _nearest_of(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"


def _twin_type(annotation: Any) -> Any:
    if dataclasses.is_dataclass(annotation):
        return schema_of(annotation)  # type: ignore[arg-type]
    if get_origin(annotation) in (Union, types.UnionType):
        choices = [part for part in get_args(annotation) if part is not types.NoneType]
        if len(choices) > 1 and any(get_origin(part) for part in choices):
            return (
                Any  # omegaconf knows no union with a list in it; the dataclass checks for itself
            )
        return Union[tuple(_twin_type(part) for part in get_args(annotation))]  # noqa: UP007
    if get_origin(annotation) in (list, tuple, dict):
        parts = tuple(part if part is ... else _twin_type(part) for part in get_args(annotation))
        return get_origin(annotation)[parts]
    return annotation


def _default(value: Any) -> Any:
    twin = _twin_value(value)
    return dataclasses.field(default_factory=lambda: twin)


def _twin_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return schema_of(type(value))(
            **{name: _twin_value(getattr(value, name)) for name in fields}
        )
    if isinstance(value, list | tuple):
        return [_twin_value(part) for part in value]
    return value


def _build(annotation: Any, node: Any, where: str, faults: list[str]) -> Any:
    params = _dataclass_in(annotation)
    if node is None:
        return None
    if params is None:
        value = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        allows_tuple = any(get_origin(a) is tuple for a in (annotation, *get_args(annotation)))
        return tuple(value) if allows_tuple and isinstance(value, list) else value
    hints = get_type_hints(params)
    values, before = {}, len(faults)
    if where:
        unknown = sorted(set(map(str, node)) - {field.name for field in dataclasses.fields(params)})
        full = {name: f"{where}.{name}" for name in unknown}
        faults += [
            f"{full[name]}: {_unknown(full[name], _nearest(name, '', params))}" for name in unknown
        ]
    for field in dataclasses.fields(params):
        if not field.init:
            continue
        name = f"{where}.{field.name}" if where else field.name
        if OmegaConf.is_missing(node, field.name):
            faults.append(f"{name}: not given, and it has no default")
            continue
        values[field.name] = _build(hints[field.name], node[field.name], name, faults)
    if len(faults) > before:
        return None
    try:
        return params(**values)
    except (ConfigError, ValueError) as err:
        faults.append(_with_place(str(err), where, values))
        return None


def _with_place(fault: str, where: str, fields: Iterable[str]) -> str:
    """A fault that begins with the full name of the setting, or at least names its part."""
    if not where or fault.startswith(f"{where.rpartition('.')[2]}."):
        return fault
    return f"{where}.{fault}" if fault.split(maxsplit=1)[0] in fields else f"{where}: {fault}"


def _dataclass_in(annotation: Any) -> Any:
    """The dataclass that an annotation is, or allows besides None."""
    for part in (annotation, *get_args(annotation)):
        if dataclasses.is_dataclass(part) and isinstance(part, type):
            return part
    return None
