#!/usr/bin/env bash
# Build the app's image: build.sh [TAG] [ARCHIVE]. With an ARCHIVE the image is also saved there, unless it is there already.
# $CERTIFICATES names a folder whose *.crt are trusted during the build, for a proxy that opens TLS (default: this machine's own).
# $APT_PROXY, $PIP_INDEX_URL and $PIP_EXTRA_INDEX_URL are handed on as build arguments.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
tag=${1:-todomvc:1}
archive=${2:-}
certificates=${CERTIFICATES:-/usr/local/share/ca-certificates}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp -a .dockerignore Dockerfile Procfile app.json gunicorn.conf.py requirements.txt certificates todomvc "$context"
find "$context" -name __pycache__ -prune -exec rm -rf {} +
find "$certificates" -name '*.crt' -exec cp -L --preserve=timestamps {} "$context/certificates/" \; 2>/dev/null || true
arguments=()
for name in APT_PROXY PIP_INDEX_URL PIP_EXTRA_INDEX_URL; do
  if [[ -n ${!name:-} ]]; then arguments+=(--build-arg "$name=${!name}"); fi
done
docker build --quiet --tag "$tag" "${arguments[@]}" "$context"
if [[ -n $archive ]]; then
  identifier=$(docker image inspect --format '{{.Id}}' "$tag")
  if [[ ! -s $archive || $(cat "$archive.id" 2>/dev/null) != "$identifier $tag" ]]; then
    mkdir -p "$(dirname "$archive")"
    docker save --output "$archive.part" "$tag"
    chmod 644 "$archive.part"
    mv "$archive.part" "$archive"
    echo "$identifier $tag" > "$archive.id"
  fi
fi
