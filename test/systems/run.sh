#!/usr/bin/env bash
# The tests that need more than npm brings: real clients of other languages against a running node, and Apache Kafka's own tools on
# the files that the log wrote. Installs what it needs into a cache of its own; needs python3 with venv, Java 17 and Maven (for
# Kafka's jars), and nothing running beforehand.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache="${MILLRACE_SYSTEMS:-$HOME/.cache/millrace-systems}"
venv="$cache/python"
pika_version=1.3.2

if ! "$venv/bin/python" -c "import pika; assert pika.__version__ == '$pika_version'" 2>/dev/null; then
  echo "systems: installing pika $pika_version into $venv"
  mkdir -p "$cache"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "pika==$pika_version"
fi

[ -f dist/src/millrace.cjs ] || npm run build

work="$(mktemp -d)"
node_pid=""
cleanup() {
  if [ -n "$node_pid" ]; then kill "$node_pid" 2>/dev/null || true; wait "$node_pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

echo "systems: starting a node"
node dist/src/millrace.cjs start --data "$work/data" --listeners.amqp.port 0 --logging.level warn &
node_pid=$!
status() { node dist/src/millrace.cjs status --json --data "$work/data" 2>/dev/null; }
for _ in $(seq 100); do
  if status >"$work/status.json"; then break; fi
  kill -0 "$node_pid" 2>/dev/null || { echo "systems: the node ended by itself" >&2; exit 1; }
  sleep 0.2
done
address="$(node -p 'JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8")).addresses.amqp' "$work/status.json")"
echo "systems: node at $address"

MILLRACE_AMQP="$address" "$venv/bin/python" -m unittest discover --start-directory test/systems --pattern 'test_*.py' --verbose
