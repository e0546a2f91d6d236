#!/bin/sh
# Builds the livekit-server that the live tests and `make run` use: the version in go.mod, as .tools/livekit-server.
set -eu

cd "$(dirname "$0")"
tools=$(cd ../.. && pwd)/.tools
wanted=$(sed -n 's|.*github.com/livekit/livekit-server v\([^ ]*\).*|\1|p' go.mod)

if [ -x "$tools/livekit-server" ]; then
    case $("$tools/livekit-server" --version 2>/dev/null) in
    *"version $wanted") exit 0 ;;
    esac
fi
if ! command -v go >/dev/null; then
    echo "cannot build livekit-server $wanted: go is not installed" >&2
    exit 3
fi

mkdir -p "$tools"
building=$(mktemp "$tools/livekit-server.XXXXXX")
trap 'rm -f "$building"' EXIT
echo "building livekit-server $wanted; this takes some minutes once" >&2
go build -o "$building" github.com/livekit/livekit-server/cmd/server
chmod 755 "$building"
mv "$building" "$tools/livekit-server"
