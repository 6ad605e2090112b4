#!/usr/bin/env bash
# Installs the provider into the directory given as the only argument.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cp "$here"/*.mjs "$here"/package.json "$here"/package-lock.json "$here"/.npmrc "$1"
cd "$1"
npm ci --omit=dev --ignore-scripts --prefer-offline
