"""What is read back from the SQL files, what a digest compares, and the paper's rows as they are shipped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from lipforcing_core.base.errors import BadInputError
from warehouse import dictionary, digest, schema
from warehouse.dictionary import described, meaning
from warehouse.digest import _comparable_columns
from warehouse.migrations.history import columns_at, upgrade
from warehouse.migrations.steps import AddColumn, Migration
from warehouse.published import published_rows
from warehouse.schema import Column, Relation, create_table, inbox_tables, relations, schema_sha256


@pytest.fixture
def own_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of SQL files in the place of the shipped one."""
    monkeypatch.setattr(schema, "SQL_FOLDER", tmp_path)
    for function in (relations, schema_sha256):
        function.cache_clear()
    (tmp_path / "020_later.sql").write_text(
        "create view later as select name from first; -- ü", encoding="utf-8"
    )
    (tmp_path / "003_first.sql").write_text(
        "create table first (id integer, name varchar not null, primary key (name, id));\n"
        "comment on table first is 'Ünder one; roof. [volatile]';\n"
        "comment on column first.name is 'A name.';\n",
        encoding="utf-8",
    )
    (tmp_path / "notes.sql").write_text("this is no SQL")
    yield tmp_path
    monkeypatch.undo()
    for function in (relations, schema_sha256):
        function.cache_clear()


def test_relations_are_read_back_in_the_order_of_their_files(own_sql: Path) -> None:
    found = relations()
    assert list(found) == ["first", "later"]
    assert found["first"] == Relation(
        name="first",
        is_view=False,
        comment="Ünder one; roof. [volatile]",
        columns=(
            Column(name="id", sql_type="INTEGER", nullable=False, comment=""),
            Column(name="name", sql_type="VARCHAR", nullable=False, comment="A name."),
        ),
        key=("name", "id"),
    )
    later = found["later"]
    assert (later.is_view, later.key, later.comment) == (True, (), "")
    assert [(c.name, c.sql_type) for c in later.columns] == [("name", "VARCHAR")]
    assert (found["first"].volatile, later.volatile) == (True, False)
    assert relations() is found, "read once in a process"
    assert list(inbox_tables()) == ["first"]


def test_one_table_can_be_made_alone(own_sql: Path) -> None:
    with duckdb.connect(":memory:") as connection:
        create_table(connection, "first")
        assert connection.execute("select table_name, comment from duckdb_tables()").fetchall() == [
            ("first", None)
        ]


def test_the_hash_of_the_schema_is_that_of_names_and_texts(own_sql: Path) -> None:
    parts = [b"003_first.sql", (own_sql / "003_first.sql").read_bytes()]
    parts += [b"020_later.sql", (own_sql / "020_later.sql").read_bytes()]
    expected = hashlib.sha256(b"".join(part + b"\0" for part in parts)).hexdigest()
    assert schema_sha256() == expected
    (own_sql / "020_later.sql").write_text("create view later as select id from first;")
    assert schema_sha256() == expected, "asked once in a process"
    schema_sha256.cache_clear()
    assert schema_sha256() != expected


def test_a_table_of_the_inbox_has_exact_types() -> None:
    assert [(f.name, f.type, f.nullable) for f in inbox_tables()["stage_timings"].arrow_schema] == [
        ("run_id", pa.string(), False),
        ("stage", pa.string(), False),
        ("item", pa.string(), False),
        ("position", pa.int32(), True),
        ("wall_s", pa.float64(), False),
        ("reused", pa.bool_(), True),
        ("started_at", pa.timestamp("us"), True),
        ("cpu_seconds", pa.float64(), True),
    ]
    assert inbox_tables()["training_steps"].key == ("run_id", "stage", "step", "name")
    assert not {"schema_version", "inbox_files", "published_results"} & set(inbox_tables())
    assert not any(relation.is_view for relation in inbox_tables().values())


def table(name: str, *names: str, is_view: bool = False, comment: str = "") -> Relation:
    """A relation whose columns are volatile where their name ends in an exclamation mark."""
    columns = tuple(
        Column(
            name=column.strip("!"),
            sql_type="VARCHAR",
            nullable=False,
            comment="c [volatile]" if column.endswith("!") else "c",
        )
        for column in names
    )
    return Relation(name=name, is_view=is_view, comment=comment, columns=columns, key=())


@pytest.mark.parametrize(
    ("ignore_run_id", "expected"),
    [
        (False, {"plain": ["run_id", "a"], "runs": ["run_id"]}),
        (True, {"plain": ["a"]}),
    ],
)
def test_a_digest_reads_what_no_clock_and_no_machine_decides(
    ignore_run_id: bool, expected: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        table("plain", "run_id", "a", "b!"),
        table("runs", "run_id", "host!"),
        table("clocks", "a!"),
        table("all", "a", comment="Of a machine. [volatile]"),
        table("view", "a", is_view=True),
    ]
    monkeypatch.setattr(digest, "relations", lambda: {relation.name: relation for relation in found})
    assert _comparable_columns(ignore_run_id) == expected


def test_a_digest_is_the_hash_of_names_and_rows(snapshot: Path) -> None:
    columns = {"runs": ["run_id", "flow"], "training_steps": ["name"]}
    found = digest.digest(snapshot, columns=columns)
    rows = repr(["run_id", "flow"]) + repr(("demo-0001", "demo"))
    assert found["runs"] == hashlib.sha256(rows.encode()).hexdigest()
    names = [("loss",)] * 600 + [("dmd_loss",)] * 120 + [("critic_loss",)] * 120 + [("reward",)] * 120
    rows = repr(["name"]) + "".join(repr(row) for row in sorted(names))
    assert found["training_steps"] == hashlib.sha256(rows.encode()).hexdigest(), "without step_s, a clock's"
    assert digest.digest(snapshot) == digest.digest(snapshot, ignore_run_id=False)
    assert digest.digest(snapshot) != digest.digest(snapshot, ignore_run_id=True)


def test_published_rows_are_those_of_the_file() -> None:
    rows = published_rows().to_pylist()
    assert rows[0] == {
        "row_number": 1,
        "paper_table": "main_hdtf",
        "dataset": "HDTF_short (33 clips)",
        "method": "Ground truth",
        "variant": None,
        "num_steps": None,
        "metric": "Sync-C",
        "value": 7.95,
        "value_printed": "7.95",
        "unit_printed": None,
        "unit_corrected": None,
        "higher_is_better": True,
        "source": "arXiv 2606.11180 Table 1",
    }
    assert rows[280] == {
        "row_number": 281,
        "paper_table": "long_video",
        "dataset": "HDTF_long (<=6 min)",
        "method": "Lip Forcing",
        "variant": "14B minus Wav2Lip (reduction)",
        "num_steps": 2,
        "metric": "FVD difference",
        "value": 253.5,
        "value_printed": "253.5",
        "unit_printed": None,
        "unit_corrected": None,
        "higher_is_better": None,
        "source": "arXiv 2606.11180 appendix text",
    }
    assert (rows[-1]["dataset"], rows[-1]["unit_printed"], rows[-1]["higher_is_better"]) == (
        None,
        "H200-hours",
        None,
    )
    assert [row["row_number"] for row in rows] == list(range(1, 289))


HOUSE = table("house", "street", "number", "door")


def test_columns_that_differ_are_named_in_order() -> None:
    data = pa.table({name: ["x"] for name in ("zone", "yard", "area", "wall", "door")})
    with pytest.raises(
        BadInputError,
        match=r"table house: unknown \['area', 'wall', 'yard', 'zone'\], missing \['number', 'street'\]$",
    ):
        upgrade(HOUSE, data, 1, ())
    with pytest.raises(BadInputError, match=r"read as version 1\)$"):
        upgrade(HOUSE, data, None, ())
    with pytest.raises(
        BadInputError,
        match=r"schema 2 with columns unknown here \(area, wall, yard, zone\), this version knows up to 1; update",
    ):
        upgrade(HOUSE, data, 2, ())
    whole = pa.table({name: ["x"] for name in ("door", "number", "street")})
    assert upgrade(HOUSE, whole, 1, ()).to_pylist() == [{"street": "x", "number": "x", "door": "x"}]
    assert list(columns_at(HOUSE, 1, ()) or ()) == ["street", "number", "door"]


def test_other_tables_of_a_migration_are_left_alone() -> None:
    growth = (
        Migration(
            version=2,
            summary="",
            steps=(
                AddColumn(table="garden", column="street"),
                AddColumn(table="house", column="door", default="oak"),
            ),
        ),
    )
    first = pa.table({"street": ["a", "b"], "number": ["1", "2"]})
    assert upgrade(HOUSE, first, 1, growth).to_pylist() == [
        {"street": "a", "number": "1", "door": "oak"},
        {"street": "b", "number": "2", "door": "oak"},
    ]


def test_the_dictionary_tells_what_a_relation_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"first": table("first", "a", "b!", comment="Pipes | here. [volatile]")}
    found["view"] = table("view", "a", is_view=True, comment="Seen.")
    found["loaders"] = table("loaders", "a", comment="Listed.")
    monkeypatch.setattr(dictionary, "relations", lambda: found)
    monkeypatch.setattr(dictionary, "inbox_tables", lambda: {"first": found["first"]})
    text = dictionary.data_dictionary()
    assert "**Tables:** [first](#first), [loaders](#loaders)\n\n**Views:** [view](#view)\n" in text
    assert (
        "### first\n\nPipes | here. *Volatile.*\n\n| column | type | null | meaning |\n| --- | --- | --- | --- |\n"
        "| a | varchar | no | c |\n| b | varchar | no | c *volatile* |\n\n"
    ) in text
    assert "### loaders\n\nListed. Written by the loader.\n\n" in text
    assert (
        "### view\n\nSeen.\n\n| column | type | meaning |\n| --- | --- | --- |\n| a | varchar | c |\n" in text
    )
    assert (
        text.index("## Tables") < text.index("### loaders") < text.index("## Views") < text.index("### view")
    )
    assert "| sync_c | Sync-C | - | higher |" in text
    assert "| fps_pipeline | FPS | frames/s | higher |" in text
    assert "| sync_d | Sync-D | - | lower |" in text
    assert text.endswith("|\n")


def test_names_and_meanings_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    assert meaning("Host. [volatile]") == "Host. (volatile: differs between equal runs)"
    assert meaning("Host.") == "Host."
    assert dictionary._meaning("a|b [volatile]") == "a\\|b *volatile*"
    assert described("runs").name == "runs"
    found = {name: table(name, "a") for name in ("leaderboard", "leaderboards", "runs")}
    monkeypatch.setattr(dictionary, "relations", lambda: found)
    with pytest.raises(
        BadInputError, match=r"^unknown table or view 'leaderbord' \(did you mean 'leaderboard'\?\); known: "
    ):
        described("leaderbord")
    with pytest.raises(
        BadInputError, match=r"^unknown table or view 'x'; known: leaderboard, leaderboards, runs$"
    ):
        described("x")
