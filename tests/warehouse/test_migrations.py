"""Inboxes of earlier schemas: frozen ones must load for ever, and every kind of change is applied on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import BadInputError, WarehouseError
from tests.warehouse.freeze_inbox import hash_of
from warehouse.digest import digest
from warehouse.inbox import VERSION_KEY, read_rows, write_rows
from warehouse.loader import load, rebuild
from warehouse.migrations.catalogue import CURRENT_VERSION, MIGRATIONS
from warehouse.migrations.history import columns_at, upgrade
from warehouse.migrations.steps import AddColumn, AddTable, Derive, MapValues, Migration, RenameColumn
from warehouse.query import fetch
from warehouse.schema import SCHEMA_VERSION, Column, Relation, inbox_tables

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = range(1, SCHEMA_VERSION + 1)
FROZEN = {
    int(path.stem.removeprefix("inbox_v")): json.loads(path.read_text())
    for path in FIXTURES.glob("inbox_v*.json")
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for the warehouses of this module."""
    return tmp_path_factory.mktemp("frozen")


def snapshot_of(version: int, folder: Path) -> Path:
    """A warehouse loaded from the frozen inbox of a schema, once."""
    path = folder / f"v{version}.duckdb"
    if not path.exists():
        result = load(FIXTURES / f"inbox_v{version}", path)
        assert result.quarantined == ()
        expected = FROZEN[version]["num_rows"]
        assert {table: result.rows[table] for table in expected} == expected
    return path


@pytest.fixture(scope="module")
def snapshot_of_v1(folder: Path) -> Path:
    """A warehouse loaded from the frozen inbox of schema 1."""
    return snapshot_of(1, folder)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_schema_has_a_frozen_inbox_with_rows_of_every_table(version: int) -> None:
    assert version in FROZEN, (
        f"schema {version} has no frozen inbox. With the code that writes schema {version}, copy a few rows of every "
        f"table of a real run to tests/warehouse/fixtures/inbox_v{version}/, run `python -m "
        f"tests.warehouse.freeze_inbox {version}`, and commit both (git add --force: runs/ is ignored)"
    )
    assert FROZEN[version]["schema_version"] == version
    for table, rows in FROZEN[version]["num_rows"].items():
        assert rows > 0, table
        assert list((FIXTURES / f"inbox_v{version}" / table).rglob("*.parquet")), table


@pytest.mark.parametrize("version", FROZEN)
def test_a_frozen_inbox_says_what_it_said_then(version: int, folder: Path) -> None:
    entries = FROZEN[version]["digests"]
    columns = {table: entry["columns"] for table, entry in entries.items()}
    assert digest(snapshot_of(version, folder), columns=columns) == {
        table: entry["sha256"] for table, entry in entries.items()
    }


@pytest.mark.parametrize("version", FROZEN)
def test_no_column_of_a_frozen_inbox_has_changed_clocks_and_machines_included(
    version: int, folder: Path
) -> None:
    for table, entry in FROZEN[version]["all_columns"].items():
        assert hash_of(snapshot_of(version, folder), table, entry["columns"]) == entry["sha256"], table


@pytest.mark.parametrize("version", sorted(set(FROZEN) - {1}))
def test_the_files_of_a_frozen_inbox_say_their_version(version: int) -> None:
    for path in (FIXTURES / f"inbox_v{version}").rglob("*.parquet"):
        assert pq.read_metadata(path).metadata[VERSION_KEY] == str(version).encode(), path


def test_what_schema_1_did_not_know_is_null(snapshot_of_v1: Path) -> None:
    new = "device, device_count, cpu_seconds, gpu_seconds, python_version, cpu_model, cpu_count, memory_bytes"
    assert set(fetch(snapshot_of_v1, f"select {new} from runs")[1]) == {(None,) * 8}
    assert fetch(snapshot_of_v1, "select distinct cpu_seconds from stage_timings")[1] == [(None,)]
    assert fetch(snapshot_of_v1, "select count(*) from ratings")[1] == [(0,)]


def test_rights_of_old_rows_follow_the_licence(tmp_path: Path) -> None:
    load(FIXTURES / "inbox_v1_rights", tmp_path / "w.duckdb")
    expected = {
        ("CC-BY-NC 4.0", False),
        ("CC-BY-4.0", True),
        ("MIT", True),
        ("public domain", True),
        ("all rights reserved", False),
        (None, None),
        ("house footage", None),
        ("house footage", True),
        ("CC-BY-NC-SA-4.0", False),
        ("Apache-2.0", False),
    }
    clips = fetch(tmp_path / "w.duckdb", "select licence, commercial_ok from clips")[1]
    assert len(clips) == 10
    assert set(clips) == expected
    sets = fetch(tmp_path / "w.duckdb", "select licence, commercial_ok from datasets")[1]
    assert set(sets) == expected | {("CC-BY-4.0; CC-BY-NC-4.0", False), ("CC-BY-4.0; MIT", True)}


@pytest.mark.parametrize("version", FROZEN)
def test_columns_of_every_released_schema_are_those_it_had(version: int) -> None:
    """A column added or renamed without a migration would make every file of that schema unreadable or wrong."""
    for name, relation in inbox_tables().items():
        then = columns_at(relation, version)
        frozen = FROZEN[version]["all_columns"].get(name, {}).get("columns")
        assert (None if then is None else list(then)) == frozen, (
            f"{name} of schema {version} is released: a change needs a migration of its own, in warehouse/migrations/"
        )


def test_the_catalogue_is_numbered_without_gaps_and_fits_the_schema() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(2, SCHEMA_VERSION + 1))
    assert SCHEMA_VERSION == CURRENT_VERSION
    for migration in MIGRATIONS:
        assert migration.summary
        for step in migration.steps:
            relation = inbox_tables()[step.table]
            if isinstance(step, AddColumn):
                added = next(
                    c for c in columns_at(relation, migration.version).values() if c.name == step.column
                )
                assert added.nullable or step.default is not None, step


def test_a_file_says_its_version_and_old_and_new_files_of_a_table_mix(tmp_path: Path) -> None:
    inbox = Path(shutil.copytree(FIXTURES / "inbox_v1", tmp_path / "inbox"))
    row = {"flow": "demo", "status": "completed", "device": "cpu", "device_count": 0, "cpu_seconds": 7200.0}
    path = write_rows(inbox, "runs", "demo-0003", "rows", [row | {"gpu_seconds": 1800.0}])
    assert pq.read_metadata(path).metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()
    assert load(inbox, tmp_path / "w.duckdb").quarantined == ()
    rows = fetch(tmp_path / "w.duckdb", "select run_id, cpu_hours, gpu_hours, wall_hours from compute_cost")[
        1
    ]
    assert {row[0]: row[1:3] for row in rows}["demo-0003"] == (2.0, 0.5)
    assert {row[0]: row[3] for row in rows}["curate-00ff"] == pytest.approx(
        (10 * 60 + 0.876544) / 3600, abs=1e-6
    )
    assert len(rows) == 5


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (SCHEMA_VERSION + 1, rf"newer version of lipforcing: schema {SCHEMA_VERSION + 1} with columns unknown here "
         r"\(colour, taste\), this version knows up to"),
        (SCHEMA_VERSION, r"unknown \['colour', 'taste'\]"),
        (None, r"unknown \['colour',( .*,)? 'taste'\].*read as version 1"),
    ],
)  # fmt: skip
def test_columns_of_a_newer_version_are_refused_by_name(
    tmp_path: Path, version: int | None, message: str
) -> None:
    relation = inbox_tables()["training_steps"]
    data = _steps(relation).append_column("taste", pa.array(["sour"])).append_column("colour", pa.array([1]))
    with pytest.raises(BadInputError, match=message):
        upgrade(relation, data, version)
    path = _written(tmp_path, data, version)
    result = load(tmp_path / "inbox", tmp_path / "w.duckdb")
    assert [item.path for item in result.quarantined] == ["training_steps/r/u.parquet"]
    assert result.rows["training_steps"] == 0
    assert path.exists()


def test_a_newer_file_is_refused_even_with_the_same_columns(tmp_path: Path) -> None:
    relation = inbox_tables()["training_steps"]
    with pytest.raises(BadInputError, match=r"newer version .* schema 99, this version .* update lipforcing"):
        upgrade(relation, _steps(relation), 99)


@pytest.mark.parametrize("text", [b"two", b"0", b"-1", b""])
def test_a_version_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    relation = inbox_tables()["training_steps"]
    path = _written(tmp_path, _steps(relation), text)
    with pytest.raises(BadInputError, match=r"lipforcing\.schema_version in its metadata is b'"):
        read_rows(relation, path)


def test_nullable_columns_may_be_missing_and_their_order_is_free(tmp_path: Path) -> None:
    relation = inbox_tables()["funnel"]
    row = {"dataset_id": "d", "stage": "s", "position": 0, "unit": "clips", "num_in": 3, "num_out": 2}
    path = write_rows(tmp_path, "funnel", "r", "u", [{**row, "seconds_in": 1.5}])
    data = pq.read_table(path)
    short = data.drop_columns(["seconds_out"]).select(["seconds_in", *data.column_names[:-2]])
    (row,) = upgrade(relation, short, 2).to_pylist()
    assert row["seconds_out"] is None
    assert row["seconds_in"] == 1.5
    assert upgrade(relation, short, 2).schema.names == relation.arrow_schema.names
    with pytest.raises(BadInputError, match=r"missing \['num_in'\]"):
        upgrade(relation, data.drop_columns(["num_in"]), 2)
    wide = data.set_column(data.column_names.index("num_in"), "num_in", data["num_in"].cast(pa.int64()))
    with pytest.raises(BadInputError, match="column num_in is int64, table funnel has int32"):
        upgrade(relation, wide, 2)
    with pytest.raises(BadInputError, match="two columns of the same name"):
        upgrade(relation, data.append_column("unit", data["unit"]), 2)


HOUSE = Relation(
    name="house",
    is_view=False,
    comment="",
    key=("street",),
    columns=(
        Column(name="street", sql_type="VARCHAR", nullable=False, comment=""),
        Column(name="height_m", sql_type="DOUBLE", nullable=True, comment=""),
        Column(name="colour", sql_type="VARCHAR", nullable=True, comment=""),
        Column(name="is_tall", sql_type="BOOLEAN", nullable=True, comment=""),
    ),
)
GROWTH = (
    Migration(
        version=2,
        summary="",
        steps=(
            RenameColumn(table="house", old="height", new="height_m"),
            AddColumn(table="house", column="colour", default="rot"),
        ),
    ),
    Migration(
        version=3,
        summary="",
        steps=(
            MapValues(table="house", column="colour", values={"rot": "red", None: "none"}),
            AddColumn(table="house", column="is_tall"),
            Derive(table="house", column="is_tall", inputs=("height_m",), rule=lambda m: m and m > 10),
            AddColumn(table="garden", column="height_m"),
        ),
    ),
)


def test_every_kind_of_change_is_applied_in_order() -> None:
    first = pa.table({"street": ["a", "b"], "height": [12.0, None]})
    assert upgrade(HOUSE, first, None, GROWTH).to_pylist() == [
        {"street": "a", "height_m": 12.0, "colour": "red", "is_tall": True},
        {"street": "b", "height_m": None, "colour": "red", "is_tall": None},
    ]
    second = pa.table(
        {"street": ["a", "b", "c"], "height_m": [12.0, 3.0, 4.0], "colour": ["rot", None, "blue"]}
    )
    assert upgrade(HOUSE, second, 2, GROWTH).to_pylist() == [
        {"street": "a", "height_m": 12.0, "colour": "red", "is_tall": True},
        {"street": "b", "height_m": 3.0, "colour": "none", "is_tall": False},
        {"street": "c", "height_m": 4.0, "colour": "blue", "is_tall": False},
    ]
    third = pa.table({"street": ["a"], "height_m": [12.0], "colour": ["rot"], "is_tall": [False]})
    assert upgrade(HOUSE, third, 3, GROWTH).to_pylist() == third.to_pylist()
    with pytest.raises(BadInputError, match=r"unknown \['height'\]"):
        upgrade(HOUSE, first, 2, GROWTH)
    with pytest.raises(BadInputError, match=r"unknown \['height_m'\]"):
        upgrade(HOUSE, second.drop_columns(["colour"]), 1, GROWTH)
    assert upgrade(HOUSE, first.drop_columns(["height"]), 1, GROWTH)["height_m"].to_pylist() == [None, None]


def test_columns_of_every_version() -> None:
    assert [list(columns_at(HOUSE, version, GROWTH) or ()) for version in (1, 2, 3)] == [
        ["street", "height"],
        ["street", "height_m", "colour"],
        ["street", "height_m", "colour", "is_tall"],
    ]


def test_a_table_does_not_exist_before_its_version() -> None:
    growth = (Migration(version=2, summary="", steps=(AddTable(table="house"),)),)
    assert columns_at(HOUSE, 1, growth) is None
    rows = pa.table({"street": ["a"], "height_m": [1.0], "colour": ["red"], "is_tall": [False]})
    with pytest.raises(BadInputError, match="schema 1, which the file was written with, has no table house"):
        upgrade(HOUSE, rows, None, growth)
    assert upgrade(HOUSE, rows, 2, growth).to_pylist() == rows.to_pylist()


def test_a_snapshot_of_an_earlier_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    import duckdb

    inbox, path = FIXTURES / "inbox_v1", tmp_path / "w.duckdb"
    rebuild(inbox, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("update schema_version set version = 1, content_key = 'of then'")
        connection.execute("drop view compute_cost")
        connection.execute("alter table stage_timings drop column cpu_seconds")
        connection.execute("drop view mos")
        connection.execute("drop table ratings")
    with pytest.raises(WarehouseError, match=r"of an earlier schema.*ratings.*warehouse rebuild"):
        digest(path)
    assert not load(inbox, path).reused
    assert "ratings" in digest(path)


def _steps(relation: Relation) -> pa.Table:
    return pa.Table.from_pylist(
        [{"run_id": "r", "stage": "teacher", "step": 1, "name": "loss", "value": 0.5}],
        schema=relation.arrow_schema,
    )


def _written(tmp_path: Path, data: pa.Table, version: int | bytes | None) -> Path:
    path = tmp_path / "inbox" / "training_steps" / "r" / "u.parquet"
    path.parent.mkdir(parents=True)
    with pq.ParquetWriter(path, data.schema) as writer:
        writer.write_table(data)
        if version is not None:
            text = version if isinstance(version, bytes) else str(version).encode()
            writer.add_key_value_metadata({VERSION_KEY: text})
    return path
