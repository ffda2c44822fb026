"""The gateway over HTTP: tokens, unknown accounts and routes, and the rate limit."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from airflow_provider_realtimekit.emulator.http.authentication import TokenState
from airflow_provider_realtimekit.emulator.http.rate_limit import RateLimiter
from tests.support.emulator import Clock, api_error, bearer, cases, gateway_error

VERIFY = "/client/v4/user/tokens/verify"
LIST = "/client/v4/accounts/account/realtime/kit/app/recordings"


def test_any_token_is_valid_unless_the_settings_name_one(http: httpx.Client, emulator: EmulatorServer) -> None:
    assert http.get(LIST, headers=bearer("anything")).status_code == 200
    emulator.settings.token = "the-one"
    assert http.get(LIST, headers=bearer("the-one")).status_code == 200
    assert gateway_error(http.get(LIST, headers=bearer("anything"))) == (401, 1000)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer"}], ids=str)
def test_a_request_without_a_token_is_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    assert gateway_error(http.get(LIST, headers=headers)) == (401, 10001)


def test_the_token_check_distinguishes_an_invalid_token_from_a_missing_permission(
    http: httpx.Client, emulator: EmulatorServer
) -> None:
    emulator.configure(token="good", denied_token=["weak"])
    verified = http.get(VERIFY, headers=bearer("good")).json()
    assert (verified["success"], verified["errors"], verified["result"]["status"]) == (True, [], "active")
    assert len(verified["result"]["id"]) == 32
    assert http.get(VERIFY, headers=bearer("weak")).json()["result"]["status"] == "active"
    assert gateway_error(http.get(LIST, headers=bearer("weak"))) == (403, 10000)
    assert gateway_error(http.get(VERIFY, headers=bearer("bad"))) == (401, 1000)


@pytest.mark.parametrize(("state", "status"), [("denied", 403), ("refused", 401), ("active", 200)])
def test_the_state_of_a_token_can_be_set(
    http: httpx.Client, emulator: EmulatorServer, state: TokenState, status: int
) -> None:
    emulator.settings.denied_token = ["token"]
    emulator.tokens.set_state("token", state)
    assert http.get(LIST, headers=bearer("token")).status_code == status


def test_other_accounts_and_apps_are_unknown_if_the_settings_name_one(
    http: httpx.Client, emulator: EmulatorServer
) -> None:
    emulator.configure(account="account", app="app")
    headers = bearer("token")
    assert http.get(LIST, headers=headers).status_code == 200
    assert gateway_error(http.get(LIST.replace("account/", "stranger/"), headers=headers)) == (404, 7003)
    assert api_error(http.get(LIST.replace("/app/", "/stranger/"), headers=headers)) == (404, "App not found")


@pytest.mark.parametrize(
    ("method", "path", "error"),
    cases(
        {
            "unknown path": ("GET", "/client/v4/nothing/here", (404, 7000)),
            "an extra slash": ("GET", f"{LIST}/", (404, 7000)),
            "unknown method": ("DELETE", LIST, (405, 7001)),
        }
    ),
)
def test_unknown_routes_and_methods_are_refused_by_the_gateway(
    http: httpx.Client, method: str, path: str, error: tuple[int, int]
) -> None:
    assert gateway_error(http.request(method, path, headers=bearer("token"))) == error


def test_an_unknown_path_outside_the_api_is_404(http: httpx.Client) -> None:
    assert http.get("/favicon.ico").status_code == 404


# The rate limit


@pytest.mark.parametrize("path", [LIST, f"{LIST}/unheard-of", VERIFY, "/client/v4/nothing"])
def test_every_answer_of_the_api_has_the_rate_limit_headers(http: httpx.Client, path: str) -> None:
    response = http.get(path, headers=bearer("token"))
    assert response.headers["ratelimit"] == '"default";r=1000000;t=300'
    assert response.headers["ratelimit-policy"] == '"default";q=1000000;w=300'


def test_an_answer_of_the_file_host_has_no_rate_limit_headers(http: httpx.Client) -> None:
    assert "ratelimit" not in http.get("/files/none/none").headers


def test_after_the_quota_every_request_of_the_token_is_refused(http: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.configure(quota=3, quota_window=60, quota_block=120)
    headers = bearer("token")
    left = [http.get(LIST, headers=headers).headers["ratelimit"] for _ in range(3)]
    assert [header.split(";")[1] for header in left] == ["r=2", "r=1", "r=0"]
    for path in (LIST, VERIFY, f"{LIST}/unheard-of"):
        response = http.get(path, headers=headers)
        assert gateway_error(response) == (429, 971), path
        assert 119 <= int(response.headers["retry-after"]) <= 120
        assert response.headers["ratelimit"].startswith('"default";r=0;')
        assert response.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert http.get(LIST, headers=bearer("another")).status_code == 200
    assert http.get("/_emulator/ledger").status_code == 200


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_quota_is_full_again_after_its_window(clock: Clock) -> None:
    limiter = RateLimiter(Settings(quota=2, quota_window=300), clock)
    assert [limiter.count_request("t").remaining for _ in range(2)] == [1, 0]
    clock.advance(299)
    assert limiter.count_request("u").remaining == 1
    clock.advance(1)
    assert limiter.count_request("t").remaining == 1


def test_a_block_begins_with_the_request_that_exceeds_the_quota(clock: Clock) -> None:
    limiter = RateLimiter(Settings(quota=1, quota_window=10, quota_block=300), clock)
    limiter.count_request("t")
    clock.advance(5)
    assert limiter.count_request("t").retry_after == 300
    clock.advance(299.5)
    assert limiter.count_request("t").retry_after == 1
    clock.advance(0.5)
    status = limiter.count_request("t")
    assert (status.retry_after, status.remaining, status.resets_in) == (None, 0, 10)
