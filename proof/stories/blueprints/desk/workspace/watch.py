"""Works without a pause, and tries without a pause what is denied, each in a thread of its own; one line per try in watch.log: from, to, what, what came of it."""
import http.client, ssl, sys, threading, time

port = int(sys.argv[1])
context = ssl.create_default_context()
tries = [("allowed", "pages.desk.example", port, "GET"), ("denied", "pages.desk.example", port, "DELETE"), ("unknown", "elsewhere.example", 443, "GET"), ("address", "203.0.113.9", 443, "GET")]
log = open("/workspace/watch.log", "a", buffering=1)
writing = threading.Lock()


def go_on(name, host, where, method):
    while True:
        began = time.time()
        connection = http.client.HTTPSConnection(host, where, timeout=1, context=context)
        try:
            connection.request(method, "/watched")
            outcome = str(connection.getresponse().status)
        except Exception as error:
            outcome = type(error).__name__
        finally:
            connection.close()
        with writing:
            print(f"{began:.3f} {time.time():.3f} {name} {outcome}", file=log)
        time.sleep(0.1)


for one in tries:
    threading.Thread(target=go_on, args=one).start()
