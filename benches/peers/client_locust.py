"""Downloads by locust, one artifact over and over; a connection a request, as a device has it."""

import os

from locust import FastHttpUser, constant, task


class Device(FastHttpUser):
    wait_time = constant(0)

    @task
    def download(self):
        headers = {"Authorization": f"OtaSecret {os.environ['SECRET']}", "Connection": "close"}
        self.client.get(os.environ["IMAGE_PATH"], headers=headers, name="image")
