"""What stands before the operations: tokens, unknown accounts and routes, and the quota."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from airflow_provider_realtimekit.emulator.http.rate_limit import RateLimiter
from tests.support.emulator import Clock

VERIFY = "/client/v4/user/tokens/verify"
LIST = "/client/v4/accounts/account/realtime/kit/app/recordings"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def gateway_refusal(response: httpx.Response) -> tuple[int, int]:
    """Return status and code of an error in the gateway's shape."""
    body: dict[str, Any] = response.json()
    assert body["success"] is False
    assert body["messages"] == []
    ((error),) = body["errors"]
    assert set(error) == {"code", "message"}
    return response.status_code, error["code"]


def test_any_token_is_good_unless_one_is_named(http: httpx.Client, emulator: EmulatorServer) -> None:
    assert http.get(LIST, headers=bearer("anything")).status_code == 200
    emulator.settings.token = "the-one"
    assert http.get(LIST, headers=bearer("the-one")).status_code == 200
    assert gateway_refusal(http.get(LIST, headers=bearer("anything"))) == (401, 1000)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer"}])
def test_calls_without_a_token_are_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    assert gateway_refusal(http.get(LIST, headers=headers)) == (401, 10001)


def test_the_token_check_tells_a_bad_token_from_a_missing_permission(
    http: httpx.Client, emulator: EmulatorServer
) -> None:
    emulator.configure(token="good", denied_token=["weak"])
    verified = http.get(VERIFY, headers=bearer("good")).json()
    assert (verified["success"], verified["errors"], verified["result"]["status"]) == (True, [], "active")
    assert len(verified["result"]["id"]) == 32
    assert http.get(VERIFY, headers=bearer("weak")).json()["result"]["status"] == "active"
    assert gateway_refusal(http.get(LIST, headers=bearer("weak"))) == (403, 10000)
    assert gateway_refusal(http.get(VERIFY, headers=bearer("bad"))) == (401, 1000)


def test_tokens_can_change_their_state(http: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.tokens.set_state("token", "denied")
    assert http.get(LIST, headers=bearer("token")).status_code == 403
    emulator.tokens.set_state("token", "refused")
    assert http.get(LIST, headers=bearer("token")).status_code == 401
    emulator.tokens.set_state("token", "active")
    assert http.get(LIST, headers=bearer("token")).status_code == 200


def test_another_account_or_app_is_unknown_once_they_are_named(http: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.configure(account="account", app="app")
    headers = bearer("token")
    assert http.get(LIST, headers=headers).status_code == 200
    assert gateway_refusal(http.get(LIST.replace("account/", "stranger/"), headers=headers)) == (404, 7003)
    unknown_app = http.get(LIST.replace("/app/", "/stranger/"), headers=headers)
    assert unknown_app.status_code == 404
    assert unknown_app.json() == {"success": False, "error": {"code": 404, "message": "App not found"}}


def test_unknown_routes_and_methods_are_refused_by_the_gateway(http: httpx.Client) -> None:
    headers = bearer("token")
    assert gateway_refusal(http.get("/client/v4/nothing/here", headers=headers)) == (404, 7000)
    assert gateway_refusal(http.get(LIST + "/", headers=headers)) == (404, 7000)
    assert gateway_refusal(http.delete(LIST, headers=headers)) == (405, 7001)
    assert http.get("/favicon.ico").status_code == 404


def test_every_answer_of_the_api_says_what_is_left_of_the_quota(http: httpx.Client) -> None:
    for path in (LIST, f"{LIST}/unheard-of", VERIFY, "/client/v4/nothing"):
        response = http.get(path, headers=bearer("token"))
        assert response.headers["ratelimit"] == '"default";r=1000000;t=300'
        assert response.headers["ratelimit-policy"] == '"default";q=1000000;w=300'
    assert "ratelimit" not in http.get("/files/none/none").headers


def test_past_the_quota_every_call_of_the_token_is_refused(http: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.configure(quota=3, quota_window=60, quota_block=120)
    headers = bearer("token")
    left = [http.get(LIST, headers=headers).headers["ratelimit"] for _ in range(3)]
    assert [header.split(";")[1] for header in left] == ["r=2", "r=1", "r=0"]
    for path in (LIST, VERIFY, f"{LIST}/unheard-of"):
        response = http.get(path, headers=headers)
        assert gateway_refusal(response) == (429, 971)
        assert 119 <= int(response.headers["retry-after"]) <= 120
        assert response.headers["ratelimit"].startswith('"default";r=0;')
        assert response.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert http.get(LIST, headers=bearer("another")).status_code == 200
    assert http.get("/_emulator/ledger").status_code == 200


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_quota_is_whole_again_when_its_window_is_over(clock: Clock) -> None:
    limiter = RateLimiter(Settings(quota=2, quota_window=300), clock)
    assert [limiter.count_request("t").remaining for _ in range(2)] == [1, 0]
    clock.pass_by(299)
    assert limiter.count_request("u").remaining == 1
    clock.pass_by(1)
    assert limiter.count_request("t").remaining == 1


def test_a_block_lasts_its_full_time_from_the_call_that_was_too_many(clock: Clock) -> None:
    limiter = RateLimiter(Settings(quota=1, quota_window=10, quota_block=300), clock)
    limiter.count_request("t")
    clock.pass_by(5)
    assert limiter.count_request("t").retry_after == 300
    clock.pass_by(299.5)
    assert limiter.count_request("t").retry_after == 1
    clock.pass_by(0.5)
    allowance = limiter.count_request("t")
    assert (allowance.retry_after, allowance.remaining, allowance.resets_in) == (None, 0, 10)
