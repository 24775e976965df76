"""The command that tells somebody what went wrong, and the ways of telling."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import click

from .options import common, length

if TYPE_CHECKING:
    from .alert_rules import Rule, Rules
    from .alerting import Alert

PATIENCE = 30.0
"""Seconds that a server or a program has to take an alert."""


@click.command(short_help="Tell somebody of failed, stuck and slow runs.")
@click.argument("config", type=click.Path(), metavar="CONFIG.yaml")
@click.option("--once", is_flag=True, help="Tell what is due and end, rather than wait for more.")
@click.option("--since", callback=length, default="0s", metavar="AGE",
              help="At the very first start, tell failures of this time before, too.")  # fmt: skip
@common
def alerts(config: str, once: bool, since: float, log: str | None, as_json: bool) -> int:
    """Follow the log and tell somebody, by the rules in CONFIG.yaml, of runs that fail, are stuck
    or slow: by a webhook (extra http) or a program, each of which gets a JSON object.

    Every occurrence has an id, the same however often it is sent: a webhook gets it as the header
    Idempotency-Key, a program as ALERT_ID. It is told until the receiver has answered (2xx, or exit
    status 0), and not again after that is recorded. With --once the exit status is 1 if somebody
    could not be told.

    \b
    Examples:
      semantica-pipeline alerts alerts.yaml
      semantica-pipeline alerts alerts.yaml --once --since 1h --log runs.db
    """
    import time
    from pathlib import Path

    from ..engine.subscribing import LOOK
    from .alert_rules import read_rules
    from .alerting import Alerts
    from .finding import opened

    rules = read_rules(Path(config))
    _prepare(rules)
    with opened(log) as opened_log, opened_log.store.subscriptions.hold(rules.name):
        begin = time.time_ns() - int(since * 1e9)
        sender = Alerts(opened_log.store, rules, tell, begin)
        while True:
            for alert, error in sender.turn(time.time_ns()):
                _show(alert, error, as_json)
            if once:
                return 1 if sender.state.outbox else 0
            time.sleep(LOOK)


def _prepare(rules: Rules) -> None:
    if any(rule.webhook for rule in rules.alerts):
        from ..engine.steps.errors import MissingExtra

        try:
            import httpx  # noqa: F401
        except ImportError:
            raise MissingExtra("a webhook", "http") from None


def _show(alert: Alert, error: str | None, as_json: bool) -> None:
    from .terminal import clean, complain, one_line, print_json

    if as_json:
        told = {"id": alert.id, "kind": alert.kind, "run": alert.run, "text": alert.text}
        print_json({**told, "tries": alert.tries, "error": error})
    elif error is None:
        click.echo(one_line(clean(f"told: {alert.text}")))
    else:
        complain("warning", one_line(clean(f"not told: {alert.text}: {error}")))


def tell(rule: Rule, alert: Alert) -> None:
    """Tell the receiver of a rule. Raises whatever says that it was not told."""
    import msgspec

    facts = ("id", "kind", "run", "pipeline", "at", "text")
    body = msgspec.json.encode({name: getattr(alert, name) for name in facts})
    if rule.webhook is not None:
        _post(rule, alert.id, body)
    else:
        _run(rule, alert.id, body)


def _post(rule: Rule, alert_id: str, body: bytes) -> None:
    import httpx

    from ..engine.steps.general.credentials import concealed, revealed, secrets_in

    given = {"webhook": rule.webhook, **rule.headers}
    told = revealed("alerts", "value", given)
    url = told.pop("webhook")
    headers = {**told, "Content-Type": "application/json", "Idempotency-Key": alert_id}
    try:
        httpx.post(url, content=body, headers=headers, timeout=PATIENCE).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = str(error) or type(error).__name__
        raise click.ClickException(concealed(text, secrets_in(given.values()))) from None


def _run(rule: Rule, alert_id: str, body: bytes) -> None:
    import os

    done = subprocess.run(
        rule.command,
        input=body,
        env={**os.environ, "ALERT_ID": alert_id},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-200:]
        raise click.ClickException(f"{rule.command[0]} ended with {done.returncode}: {said}")


COMMANDS = (alerts,)
