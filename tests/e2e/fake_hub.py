"""A Hugging Face hub on loopback, as far as `sparrow pull` asks one: revision, file list, files with
ranges and redirects. Each fault a test needs is a field; every request is kept in `requests`."""
import hashlib
import http.server
import json
import pathlib
import ssl
import threading
import urllib.parse

COMMIT = "ad9f0ae0864d7fbcd1cd905e3c6c5b069cc8b562"
ID = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"


def git_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def list_entry(path, content):
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
    if path.endswith((".safetensors", ".gguf")):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


class Hub:
    """One repository. Use as a context manager."""

    def __init__(self, folder, model_id=ID, tls=None):
        self.tls = tls            # (certificate, key) files: https
        self.id, self.commit = model_id, COMMIT
        self.files = {p.name: p.read_bytes() for p in pathlib.Path(folder).iterdir()} if folder else {}
        self.files["README.md"] = b"not needed by a server"
        self.entries = None       # the file list, when it shall not be that of `files`
        self.served = {}          # path -> other content than the list promises
        self.token = None         # only with this token: else gated
        self.ignore_range = False
        self.no_length = False    # chunked, without Content-Length
        self.cut_after = None     # bytes of a body before the connection breaks, each time
        self.cuts_left = 10**9
        self.status_for = []      # statuses that the next requests for files get
        self.cdn = None           # address that files are redirected to
        self.redirect_to = None   # function(path) -> Location of a file
        self.pages = 1            # pages of the file list
        self.pace = None          # called with the handler after each 64 KiB
        self.requests = []        # (path, headers)
        self.lock = threading.Lock()

    def list(self):
        return self.entries if self.entries is not None else [list_entry(p, c) for p, c in sorted(self.files.items())]

    def file_requests(self, name=""):
        return [(p, h) for p, h in self.requests if "/resolve/" in p and p.endswith(name)]

    def __enter__(self):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def do_GET(self):
                with hub.lock:
                    hub.requests.append((urllib.parse.unquote(self.path), dict(self.headers)))
                try:
                    answer(hub, self)
                except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                    pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # clients that are killed or refuse a certificate

        self.server = Server(("127.0.0.1", 0), Handler)
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def reply(handler, status, body=b"", headers=()):
    handler.send_response(status)
    for name, value in dict(headers).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def answer(hub, handler):
    url = urllib.parse.urlsplit(handler.path)
    path = urllib.parse.unquote(url.path)
    if path == "/api/models":
        found = [{"id": "someone/else"}] if "unheard" in url.query else []
        return reply(handler, 200, json.dumps(found).encode())
    if path.startswith("/cdn/"):
        return send_file(hub, handler, path[len("/cdn/"):])
    low, base = path.lower(), f"/api/models/{hub.id}".lower()
    if not (low.startswith(base + "/") or low.startswith(f"/{hub.id}/resolve/".lower())):
        return reply(handler, 401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
    if hub.token and handler.headers.get("Authorization") != f"Bearer {hub.token}":
        return reply(handler, 401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted\x1b[31m"})
    if low.startswith(base + "/revision/"):
        if path.rsplit("/", 1)[1] not in ("main", hub.commit):
            return reply(handler, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        return reply(handler, 200, json.dumps({"id": hub.id, "sha": hub.commit}).encode())
    if low.startswith(base + "/tree/"):
        entries, page = hub.list(), int(urllib.parse.parse_qs(url.query).get("cursor", ["0"])[0])
        if not isinstance(entries, list):
            return reply(handler, 200, json.dumps(entries).encode())
        size = -(-len(entries) // hub.pages)
        links = {"Link": f'<{hub.url}{url.path}?recursive=true&cursor={page + 1}>; rel="next"'} if page + 1 < hub.pages else {}
        return reply(handler, 200, json.dumps(entries[page * size:(page + 1) * size]).encode(), links)
    name = path.split(f"/resolve/{hub.commit}/", 1)[1]
    if hub.status_for:
        return reply(handler, hub.status_for.pop(0), b"no", {"Retry-After": "0"})
    if hub.redirect_to:
        return reply(handler, 302, b"", {"Location": hub.redirect_to(name)})
    if hub.cdn:
        return reply(handler, 302, b"", {"Location": f"{hub.cdn}/cdn/{name}?signature=x"})
    send_file(hub, handler, name)


def send_file(hub, handler, name):
    content = hub.served.get(name, hub.files.get(name))
    if content is None:
        return reply(handler, 404, b"", {"X-Error-Code": "EntryNotFound"})
    begin, status = 0, 200
    wanted = handler.headers.get("Range")
    if wanted and not hub.ignore_range:
        begin, status = int(wanted[len("bytes="):].split("-")[0]), 206
        if begin >= len(content):
            return reply(handler, 416)
    handler.send_response(status)
    if status == 206:
        handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
    if hub.no_length:
        handler.send_header("Transfer-Encoding", "chunked")
    else:
        handler.send_header("Content-Length", str(len(content) - begin))
    handler.end_headers()
    body = content[begin:]
    cut = hub.cut_after is not None and hub.cuts_left > 0 and len(body) > hub.cut_after
    if cut:
        hub.cuts_left -= 1
        body = body[:hub.cut_after]
    for at in range(0, len(body), 65536):
        piece = body[at:at + 65536]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if hub.no_length else piece)
        handler.wfile.flush()
        if hub.pace:
            hub.pace(handler)
    if hub.no_length and not cut:
        handler.wfile.write(b"0\r\n\r\n")
    handler.close_connection = handler.close_connection or cut
