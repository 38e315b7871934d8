"""The guide's Python script (requests and Pillow), with its missing last step: the picture is fetched.

guide.py URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL [CA_FILE]
"""
import base64
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import requests
from PIL import Image

url, picture, edits, in_flight, interval = sys.argv[1:6]
verify = sys.argv[6] if len(sys.argv) > 6 else True
headers = {"accept": "application/json", "x-key": "bench", "Content-Type": "application/json"}


def edit(_):
    buffered = BytesIO()
    Image.open(picture).save(buffered, format="JPEG")
    img_str = base64.b64encode(buffered.getvalue()).decode()
    request = requests.post(url + "/v1/flux-kontext-pro", headers=headers, verify=verify,
                            json={"prompt": "bench", "input_image": img_str}).json()
    while True:
        time.sleep(float(interval))
        result = requests.get(request["polling_url"], headers=headers, verify=verify,
                              params={"id": request["id"]}).json()
        if result["status"] == "Ready":
            break
    return len(requests.get(result["result"]["sample"], verify=verify).content)


with ThreadPoolExecutor(int(in_flight)) as pool:
    assert all(pool.map(edit, range(int(edits))))
