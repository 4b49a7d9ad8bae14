"""`surefoot web`: the web process alone."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Annotated

import typer

from surefoot.commands.options import (
    EXIT_IN_USE,
    EXIT_OK,
    AsJson,
    CommandError,
    ConfigFile,
    ParentPid,
    Sets,
    begin_log,
    end_with,
    loaded,
    overrides_of,
)

NICENESS = 5  # beside a trader, which comes first where the machine is short of time


def web(
    config: ConfigFile = None,
    sets: Sets = None,
    any_port: Annotated[bool, typer.Option("--any-port", help="Take a free port when web.port is taken.")] = False,
    parent_pid: ParentPid = None,
    as_json: AsJson = False,
) -> int:
    """Dashboard and API, for a trader that runs or has run.

    It holds no key of the exchange: it reads the journal, and asks the trader
    over its local socket. `surefoot run` starts one; a container runs this.

    \b
    examples:
      surefoot web
      surefoot web --set web.port=8080
      surefoot web --config live.toml --set web.host=0.0.0.0 --set web.behind_proxy=true
    """
    from surefoot.api.serving import ServingError, check_tls, listener, serve, url_of
    from surefoot.outlet import unhurried

    given = loaded(config, overrides_of(sets), keyless=True)
    settings = given.settings
    with unhurried():
        if not begin_log(settings, "web"):
            logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="surefoot web: %(message)s")
        try:
            check_tls(settings.web)
            bound = listener(settings.web, any_port)
        except ServingError as problem:
            raise CommandError(str(problem), EXIT_IN_USE) from None
        if parent_pid is not None:
            end_with(parent_pid)
            os.nice(NICENESS)
        url = url_of(bound, settings.web)

        def say_ready() -> None:
            told = {"event": "listening", "url": url}
            print(json.dumps(told) if as_json else f"surefoot web listens at {url}", flush=True)

        serve(given, bound, say_ready)
    return EXIT_OK
