"""pika, the Python AMQP client, against a running node. MILLRACE_AMQP is the node's address."""

import os
import unittest
import uuid

import pika
from pika.exceptions import ChannelClosedByBroker, NackError, ProbableAuthenticationError, UnroutableError

ADDRESS = os.environ["MILLRACE_AMQP"]
PERSISTENT = pika.BasicProperties(delivery_mode=2, content_type="application/json", headers={"n": 7, "text": "żółw"})


def connect(address=ADDRESS):
    return pika.BlockingConnection(pika.URLParameters(address))


class PikaTest(unittest.TestCase):
    def setUp(self):
        self.connection = connect()
        self.channel = self.connection.channel()
        self.queue = "pika-" + uuid.uuid4().hex

    def tearDown(self):
        if self.connection.is_open:
            self.connection.close()

    def test_publish_with_confirms_and_consume_with_acks(self):
        self.channel.queue_declare(self.queue, durable=True)
        self.channel.confirm_delivery()
        bodies = [f'{{"id":{n}}}'.encode() for n in range(500)]
        for body in bodies:
            self.channel.basic_publish("", self.queue, body, PERSISTENT, mandatory=True)
        seen = []
        self.channel.basic_qos(prefetch_count=50)
        for method, properties, body in self.channel.consume(self.queue, inactivity_timeout=10):
            self.assertIsNotNone(method, f"only {len(seen)} messages came")
            self.assertEqual((properties.headers, properties.delivery_mode), ({"n": 7, "text": "żółw"}, 2))
            self.assertFalse(method.redelivered)
            seen.append(body)
            self.channel.basic_ack(method.delivery_tag)
            if len(seen) == len(bodies):
                break
        self.assertEqual(seen, bodies)
        self.channel.cancel()
        self.assertEqual(self.channel.queue_declare(self.queue, passive=True).method.message_count, 0)

    def test_what_was_not_acknowledged_comes_again_and_says_so(self):
        self.channel.queue_declare(self.queue, durable=True)
        self.channel.confirm_delivery()
        self.channel.basic_publish("", self.queue, b"once", PERSISTENT)
        method, _, _ = self.channel.basic_get(self.queue)
        self.assertFalse(method.redelivered)
        self.connection.close()
        self.connection = connect()
        self.channel = self.connection.channel()
        method, _, body = self.channel.basic_get(self.queue)
        self.assertEqual((method.redelivered, body), (True, b"once"))
        self.channel.basic_ack(method.delivery_tag)

    def test_a_topic_exchange_routes_by_pattern(self):
        exchange = "pika-" + uuid.uuid4().hex
        self.channel.exchange_declare(exchange, "topic", durable=True)
        self.channel.queue_declare(self.queue, durable=True)
        self.channel.queue_bind(self.queue, exchange, "SFO.*")
        self.channel.confirm_delivery()
        for key in ("SFO.JFK", "JFK.SFO", "SFO.LAX"):
            self.channel.basic_publish(exchange, key, key.encode(), PERSISTENT)
        got = [self.channel.basic_get(self.queue, auto_ack=True)[2] for _ in range(3)]
        self.assertEqual(got, [b"SFO.JFK", b"SFO.LAX", None])

    def test_a_body_larger_than_a_frame(self):
        self.channel.queue_declare(self.queue, durable=True)
        self.channel.confirm_delivery()
        body = bytes(range(256)) * 4096
        self.channel.basic_publish("", self.queue, body, PERSISTENT)
        self.assertEqual(self.channel.basic_get(self.queue, auto_ack=True)[2], body)

    def test_a_mandatory_message_that_nobody_takes_comes_back(self):
        self.channel.confirm_delivery()
        with self.assertRaises((UnroutableError, NackError)):
            self.channel.basic_publish("", "nobody-" + self.queue, b"x", PERSISTENT, mandatory=True)

    def test_an_unknown_exchange_closes_the_channel_with_404_and_the_connection_goes_on(self):
        self.channel.confirm_delivery()
        with self.assertRaises(ChannelClosedByBroker) as caught:
            self.channel.basic_publish("no-such-exchange", "key", b"x", PERSISTENT)
        self.assertEqual(caught.exception.reply_code, 404)
        self.assertIn("no-such-exchange", caught.exception.reply_text)
        self.connection.channel().queue_declare(self.queue, exclusive=True)

    def test_a_wrong_password_is_refused_as_such(self):
        parameters = pika.URLParameters(ADDRESS)
        parameters.credentials = pika.PlainCredentials("guest", "wrong")
        with self.assertRaises(ProbableAuthenticationError):
            pika.BlockingConnection(parameters)


if __name__ == "__main__":
    unittest.main()
