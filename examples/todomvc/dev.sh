#!/usr/bin/env bash
# The app by its own Dockerfile, with the code of this folder mounted and reloaded when it changes, and a database for it.
# PORT chooses the port (5000). Ctrl-C ends both; nothing is kept.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
port=${PORT:-5000}
name=todomvc-dev-$port
container=()

if (echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "Port $port is in use; choose another one: PORT=5001 make dev" >&2
  exit 1
fi
echo "Building the images (the first time takes a minute)"
./build.sh todomvc:dev > /dev/null
docker build --quiet --tag todomvc-dev-database ${APT_PROXY:+--build-arg "APT_PROXY=$APT_PROXY"} dev > /dev/null

end() {
  trap - EXIT INT TERM
  docker rm --force "${container[@]}" > /dev/null 2>&1 || true
  docker network rm "$name" > /dev/null 2>&1 || true
}
trap end EXIT
trap 'exit 130' INT TERM
docker rm --force "$name" "$name-database" > /dev/null 2>&1 || true
docker network inspect "$name" > /dev/null 2>&1 || docker network create "$name" > /dev/null
container=("$name" "$name-database")
docker run --detach --name "$name-database" --network "$name" --network-alias database todomvc-dev-database > /dev/null
# Live code; the developer's own user reads it, and nobody writes.
run=(docker run --name "$name" --network "$name" --volume "$PWD/todomvc:/app/todomvc:ro"
  --env MASTER_DATABASE_URL=postgresql://todo@database/todo --env SESSION_SECRET=development --env "PAAS_HOST=$HOSTNAME")
for attempt in {1..30}; do
  if "${run[@]}" --rm todomvc:dev python3 -m todomvc.migrate; then break; fi
  if [[ $attempt == 30 ]]; then exit 1; fi
  sleep 1
done
echo "http://127.0.0.1:$port"
"${run[@]}" --rm --init --publish "127.0.0.1:$port:5000" todomvc:dev \
  gunicorn --config gunicorn.conf.py --reload --reload-extra-file todomvc/templates/index.html --graceful-timeout 1 'todomvc:create_app()' &
wait $!
