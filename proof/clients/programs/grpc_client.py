"""A gRPC client without generated code: one call that is allowed and one that is not."""
import sys

import grpc

with open(sys.argv[2], "rb") as roots:
    channel = grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials(roots.read()))
for path in ("/demo.Echo/Say", "/demo.Echo/Erase"):
    try:
        print("answer", channel.unary_unary(path)(b"spoken", timeout=20).decode())
    except grpc.RpcError as error:
        print(error.code().name, error.details())
