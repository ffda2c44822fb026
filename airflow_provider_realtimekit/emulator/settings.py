"""Every setting of the emulator, for the command line, tests and the control API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0)]
Refusal = Literal["conflict", "bad-request", "accept"]


class Settings(BaseModel):
    """The behaviour of the emulated RealtimeKit. A change takes effect at once.

    Timestamps are real, so that none is in the future for a client's clock. `speed` shortens the phases of a
    recording and lengthens its media: at 60, ten real seconds of recording become ten minutes of video, and its
    `recording_duration` is 600. The settings of links, files and quota are in real seconds.
    """

    model_config = ConfigDict(validate_assignment=True, extra="forbid")

    token: str | None = Field(None, description="the only API token that is valid (default: any)")
    denied_token: list[str] = Field([], description="a token that is valid but lacks the permission; may be repeated")
    account: str | None = Field(None, description="the only account that exists (default: any)")
    app: str | None = Field(None, description="the only app that exists (default: any)")

    # The first two are shorter than in the real API, where an upload takes minutes. The third is documented.
    invoked_seconds: Seconds = Field(2, description="seconds from INVOKED to RECORDING")
    uploading_seconds: Seconds = Field(3, description="seconds from UPLOADING to UPLOADED")
    empty_seconds: Seconds = Field(60, description="seconds after which an empty meeting ends its recordings")
    speed: float = Field(1, gt=0, description="emulated seconds per real second")
    errored_below_seconds: Seconds = Field(0, description="recordings with fewer seconds end as ERRORED")
    hang_invoked: bool = Field(False, description="new recordings stay INVOKED")
    strict_meetings: bool = Field(False, description="a meeting must be opened before it can be recorded")

    # The answers to these two are not documented. 409 is HTTP's status for "not in this state", which differs from that
    # of a malformed request. The other choices are for tests of clients that must handle them, too.
    second_start: Refusal | Literal["start"] = Field(
        "conflict",
        description="the answer to a second start in a meeting that is being recorded: conflict (409), "
        "bad-request (400), accept (the first recording) or start (another one)",
    )
    idle_action: Refusal = Field(
        "conflict",
        description="the answer to an action that the status does not allow: conflict (409), bad-request (400) or "
        "accept (nothing changes)",
    )

    # 300 seconds each, as Cloudflare documents; its quota is 1,200 requests.
    quota: int | None = Field(None, ge=1, description="requests per token and window (default: any number)")
    quota_window: Seconds = Field(300, description="seconds in a window")
    quota_block: Seconds = Field(300, description="seconds for which a token is refused after it exceeded the quota")

    # Undocumented: the sizes of a page, and the number of the first one.
    per_page: int = Field(25, ge=1, description="recordings per page, unless the client says how many")
    max_per_page: int = Field(100, ge=1, description="the most recordings per page, whatever the client says")
    first_page: Literal[0, 1] = Field(1, description="the number of the first page")

    # 604,800 seconds are the documented 7 days.
    link_seconds: Seconds = Field(604_800, description="seconds for which a download link is valid")
    file_seconds: Seconds = Field(604_800, description="seconds after which the bucket deletes a file")
    keep_links: bool = Field(False, description="sign the links of a recording once, not at each request")

    media: Literal["real", "tiny"] = Field("real", description="real: files of true length; tiny: files of one second")
    hide_secrets: bool = Field(False, description="leave the credentials of a storage_config out of answers")
    undocumented_fields: bool = Field(False, description="add meeting_id and type to recordings")
    sparse_track_answers: bool = Field(False, description="leave the timestamps out of the answer to a track start")
