"""What commands that go over many songs share."""
