"""The group and its verbs: loaded when called, and options that take several values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from suite.cli.settings import Settings, shared_options
from suite.errors import Exit, unknown
from suite.plugins import load_plugins, refused

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class OneOf(click.ParamType[str]):
    """A word out of a few; anything else is refused with the nearest."""

    def __init__(self, what: str, words: Iterable[str]) -> None:
        self.name, self.words = what, list(words)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or raise SuiteError."""
        if value not in self.words:
            error = unknown(self.name, str(value), self.words, few=True)
            error.code = Exit.USAGE
            raise error
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the words, as help shows them."""
        return "|".join(self.words)


class Several(click.Option):
    """An option that takes several values: repeated, with commas, or one after another."""

    def __init__(self, names: Sequence[str], **settings: Any) -> None:
        super().__init__(names, **{**settings, "multiple": True})


class Verb(click.Command):
    """A verb: takes the shared options too, and spreads what follows a Several option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"context_settings": HELP, **kwargs})
        self.params = [*self.params, *shared_options()]

    def invoke(self, ctx: click.Context) -> Any:
        """Make the user's own methods known, and those of installed packages, before the verb works."""
        settings = ctx.ensure_object(Settings)
        load_plugins(settings.plugins)
        for line in refused():
            settings.warn(line)
        return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse with `-m a b` read as `-m a -m b`; only right after its option is a .toml file taken for a value."""
        several = {name for param in self.params if isinstance(param, Several) for name in param.opts}
        names = {name for param in self.params if isinstance(param, click.Option) for name in param.opts}
        spread: list[str] = []
        option, first = "", False
        for arg in [*args, "--"]:
            if first and arg in {*names, "--"}:
                raise click.BadOptionUsage(option, f"{option} needs a value", ctx)
            if arg in several:
                option, first = arg, True
            elif first:
                first = False
            elif arg.startswith("-") or arg.endswith(".toml"):
                option = ""
            elif option:
                spread.append(option)
            spread.append(arg)
        return super().parse_args(ctx, spread[:-1])


class Verbs(click.Group):
    """The command itself, or a verb of several kinds: `verbs` maps names to the module of each `command`, and help."""

    def __init__(self, *args: Any, verbs: Mapping[str, tuple[str, str]], what: str = "verb", **kwargs: Any) -> None:
        super().__init__(*args, context_settings=HELP, **kwargs)
        self.verbs, self.what = verbs, what
        self.params = [*self.params, *shared_options()]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of their use."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in self.verbs:
            return None
        command: click.Command = import_module(self.verbs[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or raise SuiteError with the nearest."""
        if args[0] not in self.verbs and not args[0].startswith("-"):
            error = unknown(self.what, args[0], self.verbs)
            error.code = Exit.USAGE
            raise error
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section(f"{self.what.capitalize()}s"):
            formatter.write_dl([(name, line) for name, (_, line) in self.verbs.items()])
