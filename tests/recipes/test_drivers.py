"""The recipes for drivers whose callbacks cannot await."""

import asyncio
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from confluent_kafka import Producer

from okta_tokens.errors import ProviderStateError
from tests.recipes.broker import TOPIC, run_broker
from tests.recipes.support import recipe, replace_texts, run_code, run_in_thread, run_source


async def send(producer: Producer, value: bytes) -> None:
    """Send a message, and wait in a thread until the broker has confirmed it."""
    producer.produce(TOPIC, value)
    assert await asyncio.to_thread(producer.flush, 10) == 0


async def test_confluent_kafka_gets_a_token_on_any_thread() -> None:
    """A producer is made in a thread without a token, and on the event loop's with a token held."""
    async with run_source() as (okta, _, orders), run_broker(okta) as kafka:
        replacements = {
            "kafka.acme.com:9093": f"127.0.0.1:{kafka.port}",
            "SASL_SSL": "SASL_PLAINTEXT",
        }
        code = replace_texts(recipe("confluent_kafka"), replacements)
        before = okta.token_requests
        for names in (await run_in_thread(code), run_code(code)):
            await send(names.pop("producer"), b"late")

        token = await orders.get_token()
        assert {*kafka.authorizations} == {token.authorization}
        assert (kafka.batches, kafka.rejections) == (2, 0)
        assert (before, okta.token_requests) == (0, 1)


async def test_sqlalchemy_connects_with_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each connection of an async engine has the held token as its password."""
    passwords = []

    def connect(*arguments: Any, password: str, **options: Any) -> object:  # noqa: ANN401
        passwords.append(password)  # SQLite has none
        return sqlite(*arguments, **options)

    sqlite = aiosqlite.connect
    monkeypatch.setattr("aiosqlite.connect", connect)
    async with run_source() as (okta, _, _):
        url = f"sqlite+aiosqlite:///{tmp_path / 'orders.db'}"
        replacements = {"postgresql+psycopg://orders@db.acme.com/orders": url}
        code = replace_texts(recipe("sqlalchemy"), replacements)
        await run_in_thread(code)
        assert capsys.readouterr().out == "7\n"
        assert [bool(okta.tokens.find(password)) for password in passwords] == [True]
        assert okta.token_requests == 1

        okta.latency = 30
        without_warm = {"await provider.warm(orders, timeout=10)": "pass"}
        with pytest.raises(ProviderStateError, match=r"await provider\.warm"):
            await run_in_thread(replace_texts(code, without_warm))
