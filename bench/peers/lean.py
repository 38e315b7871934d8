"""Python without the guide's detour over Pillow, and with one session.

lean.py URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL [CA_FILE]
"""
import base64
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import requests

url, picture, edits, in_flight, interval = sys.argv[1:6]
session = requests.Session()
session.headers.update({"accept": "application/json", "x-key": "bench"})
session.verify = sys.argv[6] if len(sys.argv) > 6 else True


def edit(_):
    with open(picture, "rb") as file:
        coded = base64.b64encode(file.read()).decode()
    task = session.post(url + "/v1/flux-kontext-pro",
                        json={"prompt": "bench", "input_image": coded}).json()
    while True:
        time.sleep(float(interval))
        result = session.get(task["polling_url"]).json()
        if result["status"] == "Ready":
            return len(session.get(result["result"]["sample"]).content)


with ThreadPoolExecutor(int(in_flight)) as pool:
    assert all(pool.map(edit, range(int(edits))))
