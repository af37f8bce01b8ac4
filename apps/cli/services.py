"""Flows as services: run one from a JSON request, list them, and serve them with schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.flow_commands import Changes, run_request
from apps.cli.output import console, say


def run(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(help="Name of a flow; `lipforcing flows` lists them.")],
    request: Annotated[
        Path | None, typer.Option(help="JSON or TOML file of the request; without it, a request of defaults.")
    ] = None,
    changes: Changes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, for machines.")] = False,
) -> None:
    """Run a flow from a request file: the entry point of Ray jobs, Kubernetes and other schedulers.

    A Prefect server records the run where PREFECT_API_URL names one; its work goes to the cluster of RAY_ADDRESS.
    """
    from apps.cli.show import show

    summary = run_request(context, flow, request, changes)
    if as_json:
        typer.echo(summary.model_dump_json())
    else:
        show(summary)


def flows(
    schema: Annotated[
        str | None, typer.Option(help="Print the JSON schema of the request of this flow.")
    ] = None,
) -> None:
    """List the flows that can be run, served and deployed, with the fields of their requests."""
    import json

    from flows.catalogue import FLOWS, flow_entry

    if schema is not None:
        typer.echo(json.dumps(flow_entry(schema).request.model_json_schema(), indent=2))
        return
    for entry in FLOWS.values():
        console.print(f"[bold]{entry.name}[/bold]")
        say(f"  {entry.about}")
        for name, field in entry.request.model_fields.items():
            needed = " (needed)" if field.is_required() else ""
            say(f"    {name:<16} {field.description}{needed}")


def serve(
    context: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option(help="Serve this deployment alone; may be given several times.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(help="A cron schedule for the deployment that --only names.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Folder or URI that the nightly curation reads; it is not served without."),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of the private Prefect server, where PREFECT_API_URL names none.")
    ] = 4200,
) -> None:
    """Serve the flows on this machine: schedules run, and each can be started from the page of Prefect.

    Where PREFECT_API_URL names no server, one is started on the loopback interface, guarded by a password.
    """
    from flows.deployments import chosen
    from tasks.environment import end_by_exceptions
    from tasks.request_path import is_uri
    from tasks.serving import prefect_server, serve_deployments

    end_by_exceptions()

    workspace = context.obj.workspace
    place = source if source is None or is_uri(source) else Path(source)
    wanted = chosen(workspace.root, only=only or [], cron=cron, source=place)
    with prefect_server(workspace, port) as server:
        say(f"Prefect: {server.url}")
        if server.password_file is not None:
            say(f"its page asks for the password in {server.password_file}")
        for deployment in wanted:
            say(f"  {deployment.name:<20} {deployment.cron or 'on demand':<14} {deployment.about}")
        serve_deployments(wanted)
