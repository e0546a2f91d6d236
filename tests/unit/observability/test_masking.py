"""Answers of the daemon, whoever wrote them: masked, and strict JSON."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mindbot_config.output.redaction import MASK, Redactor
from mindbot_supervisor.observability.logging.masking import masking

SECRET = 'can"ary-secret'


async def answer(make, path="/x"):
    async def page(_):
        return make()

    app = web.Application()
    app.router.add_get("/x", page)
    app.middlewares.append(masking(lambda: Redactor([SECRET, "12345678"])))
    async with TestClient(TestServer(app)) as client:
        got = await client.get(path)
        return got.status, got.headers, await got.text(errors="replace")


async def test_json_is_masked_by_its_texts_and_stays_json():
    told = {"problem": f"key {SECRET}", SECRET: [SECRET], "pid": 12345678, "uptime": 912345678.5}
    status, headers, text = await answer(lambda: web.json_response(told, status=409))
    assert (status, headers["Content-Type"]) == (409, "application/json; charset=utf-8")
    assert json.loads(text) == {"problem": f"key {MASK}", MASK: [MASK], "pid": MASK, "uptime": 912345678.5}
    assert int(headers["Content-Length"]) == len(text.encode())


async def test_a_number_that_json_lacks_is_null():
    _, _, text = await answer(lambda: web.json_response({"v": float("inf"), "text": "Infinity"}))
    assert json.loads(text, parse_constant=pytest.fail) == {"v": None, "text": "Infinity"}


async def test_text_is_masked_whatever_its_type():
    kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    line = f'mindbot_worker_errors_total{{kind="{SECRET}"}} 1'
    _, headers, text = await answer(lambda: web.Response(body=line.encode(), headers=kind))
    assert text == f'mindbot_worker_errors_total{{kind="{MASK}"}} 1' and headers["Content-Type"] == kind["Content-Type"]


async def test_an_error_is_masked_too():
    def fail():
        raise web.HTTPBadRequest(text=f"bad {SECRET}")

    assert (await answer(fail))[2] == f"bad {MASK}"


async def test_what_holds_no_secret_is_as_it_was():
    assert (await answer(lambda: web.json_response({"a": 1.0})))[2] == '{"a": 1.0}'
    assert (await answer(lambda: web.Response(body=b"\xff\x00", content_type="application/octet-stream")))[0] == 200
    assert (await answer(lambda: web.Response(status=204)))[0] == 204
