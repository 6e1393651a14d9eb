"""A server with the APIs of Amazon SQS and S3 and their permissions (moto); it keeps nothing on disk."""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from tools.servers.process import Server

REGION = "eu-west-1"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


class SqsServer(Server):
    """A private SQS and S3; after a stop, a kill or a restart it is empty, without its queues and buckets."""

    name = "sqs"

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self.host}:{self.port}"

    def queue_url(self, name: str) -> str:
        """The URL of a queue, whether it is there or not."""
        return f"{self.url}/123456789012/{name}"

    def client(self, service: str = "sqs") -> Any:
        """A client of boto3 with all permissions, until `enforce` is called."""
        once = Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1, "mode": "standard"})
        return boto3.Session(**KEYS).client(service, endpoint_url=self.url, region_name=REGION, config=once)

    def create(self, name: str, **attributes: str) -> str:
        """Make a queue and return its URL."""
        url: str = self.client().create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def create_bucket(self, name: str) -> str:
        """Make a bucket of S3 and return its name."""
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def account(self, *actions: str) -> dict[str, str]:
        """Make a user with permissions, and return the environment that names its keys."""
        iam = self.client("iam")
        name = f"user-{len(iam.list_users()['Users'])}"
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def enforce(self) -> None:
        """Check keys and permissions from now on."""
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", b"0", headers, method="POST")
        urllib.request.urlopen(request, timeout=5).close()

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", self.host, "-p", str(self.port)]

    def _answers(self) -> bool:
        try:
            self.client().list_queues()
        except BotoCoreError:
            return False
        return True
