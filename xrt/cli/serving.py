"""`xrt serve`: the options are checked and the port is taken before anything heavy is imported."""

import argparse
import os
import sys
from pathlib import Path

from xrt.errors import ConfigError


def serve(arguments: argparse.Namespace) -> int:
    """Serve models until a signal ends it; returns the exit code.

    Args:
        arguments: What `xrt serve` was called with.

    Returns:
        0: all requests in flight were answered.

    Raises:
        ConfigError: An option cannot be used, or the extra `serve` is not installed.
    """
    from xrt.serve.logs import set_up_logs
    from xrt.serve.options import ServeOptions, bind_socket, name_models, read_key
    from xrt.threads import default_num_threads

    _require_extra()
    set_up_logs(arguments.log_format)
    threads = arguments.threads or max(1, default_num_threads() // arguments.workers)
    options = ServeOptions(
        folders=name_models(arguments.models),
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        threads=threads,
        key=read_key(arguments.key_file),
        max_body=arguments.max_body,
        queue_length=arguments.queue_length,
        deadline=arguments.deadline,
        grace=arguments.grace,
        decisions=None if arguments.decisions is None else Path(arguments.decisions),
        queue=None if arguments.queue is None else Path(arguments.queue),
        allow_reload=arguments.allow_reload,
        cors=tuple(arguments.cors or ()),
        root_path=arguments.root_path,
        log_texts=arguments.log_texts,
        log_format=arguments.log_format,
        compute=arguments.compute,
    )
    bound = bind_socket(options.host, options.port)
    # before torch is imported, here or in a worker: it sizes its pool once
    os.environ["XRT_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
    host, port = bound.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}{options.root_path}"
    names = ", ".join(options.folders)

    def tell_ready() -> None:
        print(f"xrt: serving {names} at {address}", file=sys.stderr, flush=True)

    if options.workers == 1:
        from xrt.serve.worker import run_alone

        run_alone(options, bound, tell_ready)
    else:
        from xrt.serve.supervisor import Supervisor

        Supervisor(options, bound, tell_ready).run()
    return 0


def _require_extra() -> None:
    """Raise ConfigError where a library of the extra is missing."""
    from importlib.util import find_spec

    for module in ("fastapi", "uvicorn", "httptools", "prometheus_client", "python_multipart"):
        if find_spec(module) is None:
            raise ConfigError(
                f"xrt serve needs {module}, which is not installed; pip install 'xrt-xmc[serve]'"
            )
