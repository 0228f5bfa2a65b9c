"""Asks a running coordinator (`jury up`) for rewards, over gRPC.

    pip install grpcio grpcio-tools googleapis-common-protos
    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/jury/v1/*.proto
    PYTHONPATH=. python examples/score.py 127.0.0.1:7480

A template for other languages; in Python, jury-client is shorter. Do not run it in an environment with jury-client
installed: the stubs are in a folder `jury` without an `__init__.py`, and Python prefers the package of that name
wherever it is.
"""

import sys

import grpc
from jury.v1 import reward_pb2, reward_pb2_grpc, types_pb2

endpoint = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7480"
item = types_pb2.Item(
    id="capital",
    query=[types_pb2.Turn(role=types_pb2.ROLE_USER, content="What is the capital of France?")],
    responses=["It is Paris.", "It is Lyon."],
)
request = reward_pb2.ScoreRequest(item=item, settings=types_pb2.Settings(k=4), budget_ms=60_000)

# A proxy from the environment is for other machines, not this one.
is_loopback = endpoint.startswith(("127.", "localhost:", "[::1]:"))
options = [("grpc.enable_http_proxy", 0)] if is_loopback else []
with grpc.insecure_channel(endpoint, options) as channel:
    try:
        verdict = reward_pb2_grpc.RewardServiceStub(channel).Score(request, timeout=70).verdict
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")

print(reward_pb2.VerdictStatus.Name(verdict.status))
for index, reward in enumerate(verdict.rewards):
    # A missing reward is absent, never 0.
    value = f"{reward.value:.2f}" if reward.HasField("value") else f"none: {reward.reason.detail}"
    print(f"responses[{index}]: {value}")
