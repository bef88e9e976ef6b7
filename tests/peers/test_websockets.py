"""The real server against Python's websockets: another implementation of RFC 6455 than our own and than Node's `ws`.

    python -m unittest discover -s tests/peers     (DAARION_BIN: the binary, default build/daarion)
"""
import asyncio
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest
import urllib.request

import websockets
from websockets.asyncio.client import connect

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = os.environ.get("DAARION_BIN", str(ROOT / "build" / "daarion"))


class Peers(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = tempfile.TemporaryDirectory()
        cls.env = dict(os.environ, DATA_DIR=cls.data.name, HOST="127.0.0.1", PORT="0", INTERNAL_PORT="0",
                       LOG_FORMAT="json", LIMIT_GUESTS_PER_S="0")
        cls.server = subprocess.Popen([BINARY, "up"], env=cls.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      text=True)
        for line in cls.server.stderr:
            event = json.loads(line)
            if event["event"] == "server.listening" and event["listener"] == "public":
                cls.port = event["port"]
            if event["event"] == "daarion.ready":
                break

    @classmethod
    def tearDownClass(cls):
        cls.server.send_signal(signal.SIGTERM)
        rest = cls.server.stderr.read()
        cls.server.stderr.close()
        code = cls.server.wait(timeout=30)
        cls.data.cleanup()
        assert code == 0, f"exit code {code}: {rest}"
        assert "Sanitizer" not in rest and "runtime error" not in rest, rest

    def guest(self, name):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/auth/guest",
                                         data=json.dumps({"display_name": name}).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def open(self, path, guest, **options):
        return connect(f"ws://127.0.0.1:{self.port}{path}",
                       additional_headers={"Authorization": f"Bearer {guest['access_token']}"}, **options)

    @staticmethod
    async def frame(socket, fits):
        while True:
            frame = json.loads(await asyncio.wait_for(socket.recv(), 10))
            if fits(frame):
                return frame

    async def test_two_people_talk(self):
        a, b = self.guest("Олена"), self.guest("Тарас")
        async with self.open("/ws/city/rooms/general", a) as one, self.open("/ws/city/rooms/general", b) as two:
            await one.send(json.dumps({"event": "room.join"}))
            await self.frame(two, lambda f: f["event"] == "room.join" and f["user_id"] == a["user"]["id"])
            await one.send(json.dumps({"event": "room.message.send", "body": "Привіт 🏙", "idempotency_key": "k"}))
            seen = await self.frame(two, lambda f: f["event"] == "room.message")
            self.assertEqual(seen["message"]["body"], "Привіт 🏙")
            self.assertEqual(seen["message"]["username"], "Олена")
            ack = await self.frame(one, lambda f: f["event"] == "room.message.ack")
            self.assertEqual(ack["message_id"], seen["message"]["id"])

    async def test_a_message_in_fragments_with_pings_between_is_one_message(self):
        guest = self.guest("Левко")
        async with self.open("/ws/city/rooms/welcome", guest) as socket:
            async def pieces():
                yield '{"event":"room.message.send","body":"пер'
                await (await socket.ping())
                yield "ший "
                yield 'і останній"}'
            await socket.send(pieces())
            seen = await self.frame(socket, lambda f: f["event"] == "room.message")
            self.assertEqual(seen["message"]["body"], "перший і останній")

    async def test_pings_are_answered_with_their_payload(self):
        async with self.open("/ws/city/presence", self.guest("Ярина")) as socket:
            self.assertGreaterEqual(await asyncio.wait_for(await socket.ping(b"\x00\xff" * 62), 10), 0)

    async def test_compression_is_offered_and_declined(self):
        async with self.open("/ws/city/presence", self.guest("Остап"), compression="deflate") as socket:
            self.assertEqual(socket.protocol.extensions, [])
            self.assertEqual(json.loads(await socket.recv())["type"], "snapshot")

    async def test_the_token_may_come_as_subprotocol(self):
        token = self.guest("Дарина")["access_token"]
        async with connect(f"ws://127.0.0.1:{self.port}/ws/city/presence",
                           subprotocols=["bearer", token]) as socket:
            self.assertEqual(socket.subprotocol, "bearer")

    async def test_close_codes_are_readable(self):
        async with connect(f"ws://127.0.0.1:{self.port}/ws/city/presence") as socket:
            with self.assertRaises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 10)
        self.assertEqual((closed.exception.rcvd.code, closed.exception.rcvd.reason), (4401, "unauthorized"))
        async with self.open("/ws/city/rooms/no-such-room", self.guest("Назар")) as socket:
            with self.assertRaises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 10)
        self.assertEqual(closed.exception.rcvd.code, 4404)

    async def test_a_frame_over_the_limit_is_1009_and_binary_is_1003(self):
        for data, code in (("x" * 70000, 1009), (b"\x01\x02", 1003)):
            async with self.open("/ws/city/presence", self.guest("Софія")) as socket:
                await socket.send(data)
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    while True:
                        await asyncio.wait_for(socket.recv(), 10)
            self.assertEqual(closed.exception.rcvd.code, code)

    async def test_a_clean_close_is_answered_with_its_code(self):
        socket = await self.open("/ws/city/presence", self.guest("Богдан"))
        await socket.close(1000, "бувай")
        self.assertEqual(socket.close_code, 1000)


if __name__ == "__main__":
    unittest.main()
