"""What all tests share: the Kafka that they run on. Fixtures of one folder live in that folder."""

pytest_plugins = ["tests.kafka.fixtures"]
