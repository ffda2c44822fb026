"""Everything about the emulator that can be set, from the command line, a test or the control API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0)]
Refusal = Literal["conflict", "bad-request", "accept"]


class Settings(BaseModel):
    """How the emulated RealtimeKit behaves. A change takes effect at once.

    Timestamps are always real ones, so that nothing lies in the future of a client's clock. `speed` shortens the
    phases of a recording's life and lengthens its media: at 60, ten real seconds of recording end as ten minutes
    of video, and `recording_duration` says 600. SignedLinks, retention and quota are in real seconds.
    """

    model_config = ConfigDict(validate_assignment=True, extra="forbid")

    token: str | None = Field(None, description="the only API token that is accepted (default: any)")
    denied_token: list[str] = Field([], description="a valid token without the permission; may be repeated")
    account: str | None = Field(None, description="the only account that exists (default: any)")
    app: str | None = Field(None, description="the only app that exists (default: any)")

    invoked_seconds: Seconds = Field(2, description="from INVOKED to RECORDING")
    uploading_seconds: Seconds = Field(3, description="from UPLOADING to UPLOADED")
    empty_seconds: Seconds = Field(60, description="after which an empty meeting ends its recordings")
    speed: float = Field(1, gt=0, description="emulated seconds in one real second")
    errored_below_seconds: Seconds = Field(0, description="recordings shorter than this end ERRORED")
    hang_invoked: bool = Field(False, description="new recordings never leave INVOKED")
    strict_meetings: bool = Field(False, description="meetings that nobody opened do not exist")

    # The API's answer to these two is documented nowhere. 409 is what HTTP has for "not in this state", and it
    # cannot be taken for a malformed request; the other choices let a client show that it copes with either.
    second_start: Refusal | Literal["start"] = Field(
        "conflict", description="a second start in a meeting that is being recorded; start: it starts another"
    )
    idle_action: Refusal = Field("conflict", description="an action that the recording's status does not allow")

    quota: int | None = Field(None, ge=1, description="requests that a token may make in a window")
    quota_window: Seconds = Field(300, description="the quota's window")
    quota_block: Seconds = Field(300, description="how long a token is refused once its quota is spent")

    per_page: int = Field(25, ge=1, description="recordings in a page when the client does not say")
    max_per_page: int = Field(100, ge=1, description="recordings in a page at most, whatever the client says")
    first_page: Literal[0, 1] = Field(1, description="number of the first page")

    link_seconds: Seconds = Field(604_800, description="how long a download link lives")
    file_seconds: Seconds = Field(604_800, description="how long the bucket keeps a file")
    keep_links: bool = Field(False, description="sign links once, not at each request")

    media: Literal["real", "tiny"] = Field("real", description="files of true length, or one second for all")
    hide_secrets: bool = Field(False, description="do not echo the credentials of a storage_config")
    undocumented_fields: bool = Field(False, description="add meeting_id and type to recordings")
    sparse_track_answers: bool = Field(False, description="leave the timestamps out of the answer to a track start")
