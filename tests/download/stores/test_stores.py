"""The whole suite of downloads on stores of others, and what is each one's own."""

from __future__ import annotations

import pytest

from tests.download.suite import StoreSuite


class TestS3(StoreSuite):
    """S3, as moto serves it and s3fs writes it."""

    name = "s3"


# What Azure's own client does is its own affair.
@pytest.mark.filterwarnings("ignore:Sending a large body directly")
class TestAzure(StoreSuite):
    """Azure's blob storage, as Azurite serves it and adlfs writes it."""

    name = "azure"


class TestSftp(StoreSuite):
    """SFTP, as OpenSSH serves it and sshfs writes it."""

    name = "sftp"
