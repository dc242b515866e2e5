"""`new protocol`: a file for a protocol, or for a dataset, of the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import click

import protocols
from grace.streams.catalogue import Augmentation, DatasetSpec
from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.words import command as typed
from suite.cli.words import program
from suite.errors import Exit, SuiteError
from suite.sweep import find_protocol, load_protocols

SMALL = 64  # pixels: up to there a net for small images is proposed
COLOUR = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's, the usual guess until one's own are known


@click.command(cls=Verb, name="protocol")
@click.argument("name", required=False, default="")
@click.option("--dataset", required=True, metavar="NAME", help="A known dataset, or the name of your own.")
@click.option(
    "--base", type=int, default=0, metavar="B", help="Classes of the first task (default: as many as the others)."
)
@click.option("--increment", type=int, required=True, metavar="I", help="Classes of every later task.")
@click.option("--memory", metavar="M", help="Exemplars in total, or per class as 20/class.")
@click.option("--backbone", metavar="NAME", help="A backbone (list backbones).")
@click.option("--folder", metavar="DIR", help="Your own dataset: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg.")
@click.option("--parquet", metavar="DIR", help="Your own dataset: shards as the Hugging Face hub lays them out.")
@click.option("--classes", type=click.IntRange(min=2), metavar="N", help="Classes of your own dataset.")
@click.option(
    "--size", type=click.IntRange(min=8), default=224, metavar="PIXELS", help="Side of its input (default 224)."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.toml", help="Default: NAME.toml.")
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.pass_obj
def command(
    settings: Settings,
    name: str,
    dataset: str,
    base: int,
    increment: int,
    memory: str | None,
    backbone: str | None,
    folder: str | None,
    parquet: str | None,
    classes: int | None,
    size: int,
    output: Path | None,
    force: bool,
) -> None:
    """A file for a protocol NAME of your own, on a known dataset or on yours.

    Without NAME it is called as its stream: DATASET-bBASEiINCREMENT.
    """
    load_protocols(settings.protocols)
    if folder and parquet:
        raise SuiteError("a dataset is a --folder or --parquet, not both", Exit.USAGE)
    place = folder or parquet
    own = None
    try:
        if place:
            own = _described(dataset, "folder" if folder else "parquet", place, classes, size)
            memory, backbone = memory or "2000", backbone or ("resnet32" if size <= SMALL else "resnet18")
        else:
            usual = protocols.get(f"{dataset}-b{base}i{increment}")
            memory, backbone = memory or str(usual.budget), backbone or usual.backbone
        text = protocols.template(name, dataset, base, increment, memory, backbone, own=own)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    path = output or Path(f"{name or f'{dataset}-b{base}i{increment}'}.toml".replace("/", "-"))
    written = _written(path, text, force)
    if settings.json:
        settings.emit({"file": str(path), "protocols": written})
        return
    for one in written:
        settings.out.print(f"{path}: {one}, {protocols.describe(protocols.get(one))}", soft_wrap=True)
    settings.note(f"next: {typed(program(), 'show', written[0], '--protocols', str(path))}")


def _described(name: str, kind: str, place: str, classes: int | None, size: int) -> DatasetSpec:
    """Return the user's own dataset as far as the command tells; the file is there to be completed."""
    if classes is None:
        raise SuiteError("how many classes? give --classes N", Exit.USAGE)
    view = Augmentation(padding=size // 8) if size <= SMALL else Augmentation(crop="resized", padding=0)
    mean, std = COLOUR
    return DatasetSpec(
        name=name,
        kind="folder" if kind == "folder" else "parquet",
        classes=classes,
        size=size,
        mean=mean,
        std=std,
        augmentation=view,
        path=place,
    )


def _written(path: Path, text: str, force: bool) -> list[str]:
    """Write a protocol file that loads, and return the names in it; raises SuiteError and leaves nothing otherwise."""
    if path.exists() and not force:
        raise SuiteError(f"{path} exists; give -o another name, or --force to replace it", Exit.USAGE)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    try:
        names = [protocol.name for protocol in protocols.load(beside)]
        for name in names:
            find_protocol(name)
        os.replace(beside, path)
    except ValueError as error:
        raise SuiteError(str(error).replace(str(beside), str(path))) from None
    finally:
        beside.unlink(missing_ok=True)
    return names
