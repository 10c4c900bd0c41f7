"""Apache Kafka's own DumpLogSegments reads the segments and indexes that the log wrote: an oracle that nobody here wrote."""

import json
import pathlib
import re
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
KAFKA = HERE / "kafka" / "kafka.sh"


def dump(files, *options):
    command = ["bash", str(KAFKA), "tool", "DumpLogSegments", *options, "--files", ",".join(map(str, files))]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


class LogFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory()
        written = subprocess.run(
            ["node", str(HERE / "writeLog.mjs"), cls.work.name], check=True, capture_output=True, text=True, timeout=120
        )
        said = json.loads(written.stdout)
        cls.end = said["end"]
        cls.latest = said["latest"]
        cls.folder = pathlib.Path(cls.work.name) / "topics" / "events-0"
        cls.compacted = pathlib.Path(cls.work.name) / "topics" / "state-0"
        cls.transactions = pathlib.Path(cls.work.name) / "topics" / "transactions-0"

    @classmethod
    def tearDownClass(cls):
        cls.work.cleanup()

    def files(self, ending):
        found = sorted(self.folder.glob(f"*.{ending}"))
        self.assertGreater(len(found), 3)
        return found

    def test_segments_hold_every_record_once_in_valid_batches(self):
        text = dump(self.files("log"), "--print-data-log", "--deep-iteration")
        self.assertNotIn("isvalid: false", text)
        self.assertNotRegex(text, "(?i)non-consecutive|mismatch|invalid bytes")
        batches = re.findall(r"^baseOffset: (\d+) lastOffset: (\d+) .*producerId: (-?\d+) producerEpoch: (-?\d+).*isvalid: true", text, re.M)
        self.assertEqual(batches[0][0], "0")
        self.assertIn(("4711", "3"), {(producer, epoch) for _, _, producer, epoch in batches})
        offsets = [int(offset) for offset in re.findall(r"^\| offset: (\d+) ", text, re.M)]
        self.assertEqual(offsets, list(range(self.end)))
        values = re.findall(r"key: (key-\d+) payload: value (\d+) ", text)
        self.assertEqual(values, [(f"key-{i % 17}", str(i)) for i in range(self.end)])

    def test_offset_indexes_point_to_where_the_batches_are(self):
        text = dump(self.files("index"))
        self.assertGreater(len(re.findall(r"^offset: \d+ position: \d+", text, re.M)), 20)
        self.assertNotRegex(text, "(?i)mismatch")

    def test_time_indexes_name_the_batch_with_the_latest_record_so_far(self):
        text = dump(self.files("timeindex"))
        self.assertGreater(len(re.findall(r"^timestamp: \d+ offset: \d+", text, re.M)), 5)
        self.assertNotRegex(text, "(?i)mismatch|not found|out of order")

    def test_a_compacted_partition_holds_what_its_keys_say(self):
        logs = sorted(self.compacted.glob("*.log"))
        text = dump(logs, "--print-data-log", "--deep-iteration")
        self.assertNotIn("isvalid: false", text)
        self.assertNotRegex(text, "(?i)mismatch|invalid bytes")
        self.assertRegex(text, r"deleteHorizonMs: OptionalLong\[\d+\]")
        self.assertRegex(text, r"lastOffset: \d+ count: 0 .*producerId: 471[23] ")
        records = re.findall(r"^\| offset: (\d+) .* key: (key-\d+)(?: payload: (.*))?$", text, re.M)
        offsets = [int(offset) for offset, _, _ in records]
        self.assertEqual(offsets, sorted(set(offsets)))
        self.assertLess(len(offsets), 1000)
        state = {}
        for _, key, payload in records:
            if payload:
                state[key] = payload
            else:
                state.pop(key, None)
        self.assertEqual(state, self.latest)

    def test_indexes_of_a_compacted_partition_fit(self):
        files = sorted(self.compacted.glob("*.index")) + sorted(self.compacted.glob("*.timeindex"))
        text = dump(files)
        self.assertGreater(len(re.findall(r"^(?:offset|timestamp): \d+", text, re.M)), 5)
        self.assertNotRegex(text, "(?i)mismatch|not found|out of order")
    def test_markers_are_control_records_that_commit_or_abort(self):
        logs = sorted(self.transactions.glob("*.log"))
        self.assertGreater(len(logs), 3)
        text = dump(logs, "--print-data-log", "--deep-iteration")
        self.assertNotIn("isvalid: false", text)
        markers = re.findall(r"endTxnMarker: (\w+) coordinatorEpoch: (\d+)", text)
        self.assertEqual(len(markers), 60)
        self.assertEqual({epoch for _, epoch in markers}, {"7"})
        self.assertEqual(sum(kind == "ABORT" for kind, _ in markers), 20)
        self.assertEqual(len(re.findall(r"isTransactional: true isControl: false", text)), 240)
        self.assertEqual(len(re.findall(r"isTransactional: true isControl: true", text)), 60)

    def test_the_index_of_aborted_transactions_says_from_their_first_batch_to_their_marker(self):
        first, expected = {}, []
        text = dump(sorted(self.transactions.glob("*.log")), "--print-data-log", "--deep-iteration")
        producer = None
        for line in text.splitlines():
            if found := re.match(r"baseOffset: (\d+) .*producerId: (-?\d+) ", line):
                producer = found[2]
                if "isControl: false" in line:
                    first.setdefault(producer, found[1])
            elif found := re.search(r"offset: (\d+) .*endTxnMarker: (\w+) ", line):
                begin = first.pop(producer)
                if found[2] == "ABORT":
                    expected.append((producer, begin, found[1]))
        indexes = sorted(self.transactions.glob("*.txnindex"))
        self.assertGreater(len(indexes), 2)
        found = re.findall(r"producerId: (\d+) firstOffset: (\d+) lastOffset: (\d+) lastStableOffset: \d+", dump(indexes))
        self.assertEqual(found, expected)
        self.assertEqual(len(expected), 20)

    def test_a_wrong_index_would_be_seen(self):
        index = self.files("index")[0]
        good = index.read_bytes()
        index.write_bytes(good[:7] + bytes([good[7] ^ 1]) + good[8:])
        try:
            command = ["bash", str(KAFKA), "tool", "DumpLogSegments", "--files", str(index)]
            found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
            self.assertRegex(found.stdout + found.stderr, "(?i)mismatch|exception")
        finally:
            index.write_bytes(good)


if __name__ == "__main__":
    unittest.main()
