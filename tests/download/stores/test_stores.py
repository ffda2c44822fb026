"""The suite of downloads on S3, Azure and SFTP."""

from __future__ import annotations

import pytest

from tests.download.suite import StoreSuite


class TestS3(StoreSuite):
    """S3, as moto serves it and s3fs writes it."""

    name = "s3"


# Azure's own client sends it.
@pytest.mark.filterwarnings("ignore:Sending a large body directly")
class TestAzure(StoreSuite):
    """Azure's blob storage, as Azurite serves it and adlfs writes it."""

    name = "azure"


class TestSftp(StoreSuite):
    """SFTP, as OpenSSH serves it and sshfs writes it."""

    name = "sftp"
