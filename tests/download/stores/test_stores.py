"""The tests of downloads on S3, Azure and SFTP."""

from __future__ import annotations

import pytest

from tests.download.suite import StoreSuite


class TestS3(StoreSuite):
    """S3: moto's server, written by s3fs."""

    name = "s3"


# Azure's client raises this warning.
@pytest.mark.filterwarnings("ignore:Sending a large body directly")
class TestAzure(StoreSuite):
    """Azure's blob storage: Azurite's server, written by adlfs."""

    name = "azure"


class TestSftp(StoreSuite):
    """SFTP: OpenSSH's server, written by sshfs."""

    name = "sftp"
