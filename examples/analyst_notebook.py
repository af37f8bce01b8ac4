"""A marimo notebook for analysts: `marimo edit examples/analyst_notebook.py`, or run it as a script.

`LIPFORCING_WORKSPACE` names the workspace; without it, the folder in which the notebook is started.
"""

import marimo

app = marimo.App(width="medium")


@app.cell
def open_warehouse():
    import os
    from pathlib import Path

    import duckdb
    import marimo as mo

    from warehouse.loader import rebuild

    workspace = Path(os.environ.get("LIPFORCING_WORKSPACE", "."))
    snapshot = workspace / "state" / "warehouse" / "warehouse.duckdb"
    if not snapshot.is_file():  # the published numbers alone, until something has run here
        rebuild(workspace / "state" / "warehouse" / "inbox", snapshot)
    warehouse = duckdb.connect(str(snapshot), read_only=True)
    mo.md(f"# The warehouse of `{workspace.resolve().name}`")
    return mo, warehouse


@app.cell
def main_table(mo, warehouse):
    table = warehouse.sql("from paper_main_hdtf").df()
    mo.vstack([mo.md("## The paper's main table, published and measured"), mo.ui.table(table)])
    return (table,)


@app.cell
def speed_and_quality(mo, table):
    import matplotlib.pyplot as plt

    # A plot for each origin, since Sync-C of different experts does not compare.
    groups = dict(list(table.dropna(subset=["fps", "sync_c"]).groupby("origin")))
    figure, plots = plt.subplots(1, len(groups), figsize=(6 * len(groups), 4), squeeze=False)
    for axes, (origin, rows) in zip(plots[0], groups.items(), strict=True):
        axes.scatter(rows["fps"], rows["sync_c"])
        for _, row in rows.iterrows():
            axes.annotate(row["method"], (row["fps"], row["sync_c"]), fontsize=7)
        axes.set(title=origin, xscale="log", xlabel="frames per second", ylabel="Sync-C")
    note = "The plots must not be read across: measured rows of the embedded tier carry a puppet SyncNet."
    mo.vstack([mo.md("## Speed and lip sync"), figure, mo.md(note)])
    return (figure,)


@app.cell
def curation(mo, warehouse):
    reasons = warehouse.sql("from reject_reasons").df()
    mo.vstack([mo.md("## Why footage was turned away"), mo.ui.table(reasons)])
    return (reasons,)


if __name__ == "__main__":
    app.run()
