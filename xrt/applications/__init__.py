"""The applications on top of the pipeline, each in a folder of its own.

Nothing outside its folder names an application: `applications` finds them all. A new one is a new
folder with a module `application` that exposes `APPLICATION`.
"""

import functools
import pkgutil
from importlib import import_module

from xrt.applications.application import Application, Command

__all__ = ["Application", "Command", "application_commands", "applications", "owner_of"]


@functools.cache
def applications() -> tuple[Application, ...]:
    """All applications, by name.

    Returns:
        One instance for each folder of `xrt.applications`, sorted by the folder's name.
    """
    folders = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    return tuple(
        import_module(f"{__name__}.{folder}.application").APPLICATION for folder in folders
    )


def application_commands() -> list[Command]:
    """The commands that applications add to `xrt`.

    Returns:
        The commands of all applications, in the order of `applications()`.
    """
    return [command for application in applications() for command in application.commands]


def owner_of(folder: str) -> Application | None:
    """The application whose kind a saved model is of.

    Args:
        folder: The folder of the model, or any text.

    Returns:
        The application; None for a model of labels, and where there is no model.
    """
    return next((one for one in applications() if one.owns_model(folder)), None)
