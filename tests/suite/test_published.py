"""Reading published numbers, and finding them by what a protocol is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import protocols
from suite.errors import SuiteError
from suite.published import FILE, Published, identity_of, load, of, on, relatives

TABLE = {
    "source": '"a figure"',
    "tag": '"G"',
    "error": "0.2",
    "head": '"linear"',
    "orders": '"1993"',
    "columns": '["avg cifar100-b0i10", "last cifar100-b0i10"]',
    "rows": '[{ method = "widen", values = "~60.1 50.25" }]',
}


def written(folder: Path, *, top: str = "approximate = 0.5\n", **changes: str | None) -> Path:
    """A file with one table, keys changed or left out."""
    keys = {**TABLE, **changes}
    path = folder / "numbers.toml"
    path.write_text(top + "[[table]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value))
    return path


def entry(**changes: object) -> Published:
    first = next(e for e in on(protocols.get("cifar100-b0i10")) if e.method == "replay")
    return replace(first, **changes)  # type: ignore[arg-type]


def test_a_row_becomes_an_entry_per_column(tmp_path: Path) -> None:
    avg, last = load(written(tmp_path))
    assert (avg.method, avg.metric, avg.values, avg.errors) == ("widen", "avg", (60.1,), (0.7,))
    assert (last.metric, last.values, last.errors, last.text) == ("last", (50.25,), (0.2,), "50.2 +- 0.2")
    assert (last.backbone, last.augmentation, last.exemplars) == ("resnet32", "crop and flip", "2000")
    assert (last.dataset, last.increments, last.verified) == ("cifar100", "10x10", True)
    assert last.plain() | {"source": "", "tag": "", "head": "", "orders": "", "augmentation": "", "backbone": ""} == {
        "method": "widen", "protocol": "cifar100-b0i10", "metric": "last", "value": 50.25, "error": 0.2, "source": "",
        "tag": "", "verified": True, "head": "", "orders": "", "augmentation": "", "backbone": "", "exemplars": "2000",
        "recipe": "", "note": "",
    }  # fmt: skip


def test_a_row_goes_over_its_table_and_a_dash_is_nothing(tmp_path: Path) -> None:
    rows = '[{ method = "widen", values = "- 50.0", suffix = "+aa", head = "nme", backbone = "unknown", error = 0 }]'
    (last,) = load(written(tmp_path, rows=rows, exemplars='"none"', note='"a note"'))
    assert (last.protocol.name, last.head, last.backbone) == ("cifar100-b0i10+aa", "nme", "unknown")
    assert (last.exemplars, last.note, last.augmentation) == ("none", "a note", "AutoAugment and Cutout")
    assert last.text == "50.00"


def test_a_curve_has_a_value_per_task(tmp_path: Path) -> None:
    rows = '[{ method = "widen", values = "~90 80.5 70" }]'
    (curve,) = load(written(tmp_path, columns='["curve cifar100-b50i25"]', rows=rows))
    assert (curve.values, curve.errors) == ((90, 80.5, 70), (0.7, 0.2, 0.2))
    assert curve.error == pytest.approx(1.1 / 3)
    assert curve.text == "90.0 80.5 70.0"
    assert curve.plain()["value"] == [90, 80.5, 70]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tag": '"M"'}, ["table 1, row 1", "tag", '"R", "C", "G", "A"']),
        ({"tag": '"A"'}, ["verified = false"]),
        ({"verified": "false"}, ["verified = false"]),
        ({"head": '"lienar"'}, ["head", '"linear"']),
        ({"orders": '"some"'}, ["orders", "a seed"]),
        ({"source": None}, ['"source" is missing']),
        ({"sorce": '"x"'}, ["table 1", 'unknown key "sorce"', '"source"']),
        ({"error": "-1"}, ["error", "0 to 100"]),
        ({"columns": '["avg cifar100-b0i10"]'}, ["row 1", "1 values are wanted", "not 2"]),
        ({"columns": '["avg cifar100-b0i10", "lst cifar100-b0i10"]'}, ["column", "lst", "last"]),
        ({"columns": '["avg cifar100-b0i10", "last cifr100-b0i10"]'}, ["row 1", "cifr100", '"cifar100-b0i10"']),
        ({"columns": '["curve cifar100-b0i10", "last cifar100-b0i10"]'}, ["curve", "only column"]),
        ({"columns": '["curve cifar100-b0i10"]'}, ["has 10 tasks, not 2"]),
        ({"rows": '[{ method = "widen", values = "60.1 fifty" }]'}, ["row 1", "percentages", '"fifty"']),
        ({"rows": '[{ method = "widen", values = "60.1 0.5e1" }]'}, ["percentages"]),
        ({"rows": '[{ method = "widen", values = "60.1 150" }]'}, ["percentages", '"150"']),
        ({"rows": '[{ values = "60.1 50.0" }]'}, ["row 1", '"method" is missing']),
        ({"rows": '[{ method = "widen", values = 60.1 }]'}, ["row 1", "values", "numbers with spaces"]),
        ({"top": "aproximate = 0.5\n"}, ['"approximate"']),
        ({"top": "approximate = \n"}, ["not TOML"]),
    ],
)
def test_a_fault_is_one_line_that_says_where(tmp_path: Path, changes: dict[str, str | None], words: list[str]) -> None:
    with pytest.raises(SuiteError) as fault:
        load(written(tmp_path, **changes))  # type: ignore[arg-type]
    assert [word for word in words if word not in str(fault.value)] == [], str(fault.value)
    assert "\n" not in str(fault.value)
    assert "numbers.toml" in str(fault.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"none\.toml: No such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize("spelling", ["CIFAR-100 Base0 Inc10", "cifar100 10 steps", "cifar100-b0i10+m=2000"])
def test_equivalent_spellings_find_the_same(spelling: str) -> None:
    assert on(protocols.get(spelling)) == on(protocols.get("cifar100-b0i10")) != []


def test_a_name_alone_is_not_what_is_looked_for() -> None:
    named = replace(protocols.get("cifar100-b0i10"), name="my-own")
    assert on(named) == on(protocols.get("cifar100-b0i10"))
    assert on(replace(named, name="cifar100-b0i10", backbone="resnet20")) == []
    assert on(protocols.get("cifar100-b0i10+m=20/class"), "replay") == []


def test_a_method_and_a_protocol_together() -> None:
    here = on(protocols.get("cifar100-b0i10"), "replay")
    assert {(e.metric, e.values[0]) for e in here} == {("last", 40.9), ("avg", 59.3), ("curve", 90.0)}
    assert [e for e in of("replay") if e.protocol.name == "cifar100-b0i10"] == here
    assert of("nobody") == []


def test_relatives_have_the_same_stream_of_the_same_images() -> None:
    names = relatives(protocols.get("cifar100-b0i10"))
    assert {"cifar100-b0i10+aa", "cifar100-b0i10+net=resnet18-3x3", "cifar100-b0i10+m=7431"} <= set(names)
    assert [name for name in names if not name.startswith("cifar100-b0i10+")] == []
    assert relatives(protocols.get("digits-b0i2")) == []


@pytest.mark.parametrize(
    ("protocol", "differing"),
    [
        ("cifar100-b0i10", []),
        ("cifar100-b0i20", ["increments"]),
        ("cifar100-b0i10+net=resnet20", ["backbone"]),
        ("cifar100-b0i10+aa", ["augmentation"]),
        ("cifar100-b0i10+m=20/class", ["exemplars"]),
        ("cifar100-b50i10+net=resnet8+aa+m=5", ["increments", "backbone", "augmentation", "exemplars"]),
        ("imagenet100-b0i10", ["dataset", "backbone", "augmentation"]),
    ],
)
def test_settings_that_differ_are_named_in_order(protocol: str, differing: list[str]) -> None:
    assert entry().differing(identity_of(protocols.get(protocol))) == differing


def test_what_a_source_leaves_open_differs_from_nothing() -> None:
    wide = identity_of(protocols.get("cifar100-b0i10+net=resnet18-3x3"))
    assert entry(backbone="unknown").differing(wide) == []
    assert entry(augmentation="TrivialAugment").differing(identity_of(protocols.get("cifar100-b0i10"))) == [
        "augmentation"
    ]


def test_a_method_without_exemplars_does_not_care_for_the_budget() -> None:
    other = identity_of(protocols.get("cifar100-b0i10+m=500"))
    assert entry(exemplars="none").differing(other, kept=False) == []
    assert entry(exemplars="none").differing(other, kept=True) == ["exemplars"]
    assert entry().differing(other, kept=False) == ["exemplars"]


def test_numbers_are_read_without_torch_ray_and_arrow() -> None:
    program = (
        "import sys; from suite.published import published; assert published();"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'ray', 'pyarrow', 'numpy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=FILE.parents[1]
    )
    assert done.stdout == "[]\n"
