"""Works without a pause, and tries without a pause what is denied; one line per try in watch.log: from, to, what, what came of it."""
import http.client, os, ssl, sys, time

port = int(sys.argv[1])
context = ssl.create_default_context()
tries = [("allowed", "pages.desk.example", port, "GET"), ("denied", "pages.desk.example", port, "DELETE"), ("unknown", "elsewhere.example", 443, "GET"), ("address", "203.0.113.9", 443, "GET")]
with open("/workspace/watch.log", "a", buffering=1) as log:
    print(f"{time.time():.3f} pid {os.getpid()}", file=log)
    while True:
        for name, host, where, method in tries:
            began = time.time()
            try:
                connection = http.client.HTTPSConnection(host, where, timeout=1, context=context)
                connection.request(method, "/watched")
                outcome = str(connection.getresponse().status)
            except Exception as error:
                outcome = type(error).__name__
            finally:
                connection.close()
            print(f"{began:.3f} {time.time():.3f} {name} {outcome}", file=log)
        time.sleep(0.05)
